"""Health: what probes say of slow, lying, silent and absent hosts; how answers add up; who is asked."""

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from repave_agent.core.host_health import SAMPLES_MAX, HealthRecord, ProbeResult, ProbeTarget
from repave_agent.core.ports import RefusedError
from repave_agent.health.prober import LISTENS_AFTER_SECONDS, Prober, phase_of, probe
from repave_protos.protocol.values import HostName, Probe
from tests.fakes.waiting import until
from tests.fakes.web import Web

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = HostName("shop-v001-1")
OK = ProbeResult(True)
BAD = ProbeResult(False, "answered 500")


@contextlib.asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[int]:
    """A server on loopback that answers each connection by `answer`; gives its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(text: str) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.encode())

    return answer


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def no_command(command: tuple[str, ...], timeout_seconds: float) -> int:
    raise AssertionError("no command is to be run")


def http(port: int, **more: object) -> Probe:
    return replace(Probe("http", port, path="/health", timeout_seconds=5.0), **more)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ one probe


async def test_the_expected_status_passes() -> None:
    async with listening(saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as port:
        assert await probe(http(port), "127.0.0.1", no_command) == OK


async def test_what_is_asked_is_one_plain_request() -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.0 204 \r\n\r\n")

    async with listening(answer) as port:
        plain = http(port, path="/health?q=1", expect_status=204)
        assert await probe(plain, "127.0.0.1", no_command) == OK
        named = replace(plain, host="shop.example", headers=(("User-Agent", "me"), ("X-Key", "a b")))
        assert await probe(named, "127.0.0.1", no_command) == OK
    assert asked == [
        b"GET /health?q=1 HTTP/1.1\r\nhost: localhost\r\nuser-agent: repave-health-check\r\naccept: */*\r\n"
        b"connection: close\r\n\r\n",
        b"GET /health?q=1 HTTP/1.1\r\nhost: shop.example\r\nuser-agent: me\r\naccept: */*\r\nx-key: a b\r\n"
        b"connection: close\r\n\r\n",
    ]


async def test_a_host_is_probed_at_an_address_of_ipv6_and_shown_with_brackets() -> None:
    web = Web("six")
    await web.start()
    assert await probe(http(web.port), "::1", no_command) == OK
    await web.stop()
    refused = await probe(http(web.port), "::1", no_command)
    assert refused.reason.startswith(f"connection refused: nothing listens on [::1]:{web.port} (")


@pytest.mark.parametrize(
    ("spoilt", "field"),
    [
        ({"path": "/a b\r\nX: y"}, "health.http.path"),
        ({"host": "a b"}, "health.http.host"),
        ({"headers": (("X", "y\r\nZ: 1"),)}, "health.http.headers"),
    ],
)
async def test_what_would_be_another_request_is_not_sent(spoilt: dict[str, object], field: str) -> None:
    result = await probe(http(1, **spoilt), "127.0.0.1", no_command)
    assert not result.ok
    assert result.reason.startswith(f"{field}: ")


async def test_another_status_is_told() -> None:
    async with listening(saying("HTTP/1.1 500 Oh\r\n\r\n")) as port:
        result = await probe(http(port), "127.0.0.1", no_command)
    assert result == ProbeResult(False, f"GET http://127.0.0.1:{port}/health answered 500, expected 200")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("database\n  is \x1b[31mdown\x00", ": database is [31mdown"),
        ("<!doctype html><title>x</title><style>a{}</style><h1>Oh</h1>\n<p>no</p>", ": Oh no"),
        ('{"error": "no such table"}', ': {"error": "no such table"}'),
        ("x" * 500, f": {'x' * 160}"),
        ("", ""),
    ],
)
async def test_the_body_of_a_bad_answer_is_shown(body: str, shown: str) -> None:
    async with listening(saying(f"HTTP/1.1 500 Oh\r\nContent-Length: {len(body)}\r\n\r\n{body}")) as port:
        result = await probe(http(port), "127.0.0.1", no_command)
    assert result.reason.endswith("answered 500, expected 200")
    assert result.aside == shown
    in_chunks = f"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    async with listening(saying(in_chunks if body else in_chunks[:-5])) as port:
        assert (await probe(http(port), "127.0.0.1", no_command)).aside == shown


async def test_a_host_that_a_person_has_named_is_not_quoted() -> None:
    """Its address may lead to what only this machine may read."""
    prober = Prober(lambda: 0.0, never_executes)
    async with listening(saying("HTTP/1.1 500 Oh\r\nContent-Length: 6\r\n\r\nsecret")) as port:
        target = ProbeTarget("127.0.0.1", http(port, interval_seconds=0.01), is_quoted=False)
        prober.watch_only({HOST: target})
        await until(lambda: (record := prober.record(HOST)) is not None and record.failed > 0)
    record = prober.record(HOST)
    assert record is not None
    assert record.reason.endswith("answered 500, expected 200")
    assert not any("secret" in str(each) for each in prober.samples(HOST, 10))
    await prober.close()


def test_a_body_that_differs_each_time_makes_no_other_trouble() -> None:
    record = HealthRecord.of(Probe("http", 80))
    first = record.after(ProbeResult(False, "answered 500", ": at 10:00"), 1.0)
    assert first.reason == "answered 500: at 10:00"
    assert first.after(ProbeResult(False, "answered 500", ": at 10:01"), 2.0).reason == first.reason
    assert first.after(ProbeResult(False, "answered 500"), 2.0).reason == first.reason
    assert first.after(ProbeResult(False, "answered 503", ": busy"), 2.0).reason == "answered 503: busy"
    plain = record.after(ProbeResult(False, "answered 500"), 1.0)
    assert plain.after(ProbeResult(False, "answered 500", ": why"), 2.0).reason == "answered 500: why"


async def test_where_a_silent_host_listens_instead_is_told_after_a_moment_and_seldom_looked_at() -> None:
    now, looks = [0.0], [0]

    async def listens(host: HostName) -> str:
        looks[0] += 1
        return ", but on 127.0.0.1:8000"

    prober = Prober(lambda: now[0], never_executes, listens=listens)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    prober.watch(HOST, "127.0.0.1", Probe("tcp", port, interval_seconds=0.01))
    await until(lambda: (record := prober.record(HOST)) is not None and record.failed > 2)
    assert looks == [0]
    now[0] = LISTENS_AFTER_SECONDS
    await until(lambda: (record := prober.record(HOST)) is not None and "8000" in record.reason)
    record = prober.record(HOST)
    assert record is not None
    assert record.reason.startswith(f"connection refused: nothing listens on 127.0.0.1:{port} ")
    seen = record.failed
    await until(lambda: (record := prober.record(HOST)) is not None and record.failed > seen + 2)
    assert looks == [1]
    await prober.close()


async def never_executes(host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
    raise AssertionError("no command is to be run")


async def test_a_slow_host_is_told() -> None:
    async with listening(silent) as port:
        result = await probe(http(port, timeout_seconds=0.05), "127.0.0.1", no_command)
    assert result == ProbeResult(False, f"GET http://127.0.0.1:{port}/health: no answer within 0.05 s")


async def test_a_host_that_drips_its_answer_is_slow_too() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with listening(drip) as port:
        result = await probe(http(port, timeout_seconds=0.1), "127.0.0.1", no_command)
    assert result.reason.endswith("no answer within 0.1 s")


async def test_an_absent_host_is_told() -> None:
    async with listening(silent) as port:
        pass
    for kind in (http(port), Probe("tcp", port)):
        result = await probe(kind, "127.0.0.1", no_command)
        assert not result.ok
        assert result.reason.startswith(f"connection refused: nothing listens on 127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "answered nothing and hung up"),
        ("SSH-2.0-OpenSSH\r\n", "answered 'SSH-2.0-OpenSSH', which is not HTTP/1.1"),
        ("HTTP/1.1 abc\r\n", "which is not HTTP/1.1"),
        ("x" * 5000, "which is not HTTP/1.1"),
    ],
)
async def test_what_is_no_http_is_told(said: str, words: str) -> None:
    async with listening(saying(said)) as port:
        result = await probe(http(port), "127.0.0.1", no_command)
    assert not result.ok
    assert words in result.reason


async def endless(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


async def test_a_page_may_be_long_and_is_not_read_to_its_end() -> None:
    hung_up = asyncio.Event()

    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            await endless(writer, b"x" * 10_000)
        except ConnectionError:
            hung_up.set()

    async with listening(long) as port:
        assert await probe(http(port), "127.0.0.1", no_command) == OK
        await asyncio.wait_for(hung_up.wait(), 10)


async def test_endless_headers_are_told_and_hung_up_on() -> None:
    hung_up = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            await endless(writer, b"X-More: and more\r\n" * 100)
        except ConnectionError:
            hung_up.set()

    async with listening(answer) as port:
        result = await probe(http(port), "127.0.0.1", no_command)
        await asyncio.wait_for(hung_up.wait(), 10)
    assert result.reason.endswith("/health answered 200 and more than 15360 bytes of headers")


@pytest.mark.parametrize(
    "said", ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"], ids=["head", "body"]
)
async def test_a_reset_after_the_first_line_is_told(said: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said.encode())
        await writer.drain()
        taken = writer.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with listening(answer) as port:
        result = await probe(http(port), "127.0.0.1", no_command)
    assert not result.ok
    assert result.reason.endswith("/health answered 200 and reset the connection")


@pytest.mark.parametrize(
    "piece", [b"X-More: and more\r\n", b"Content-Length: 5000\r\n\r\n1"], ids=["headers", "body"]
)
async def test_an_answer_that_takes_its_time_is_told(piece: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + piece)
        await writer.drain()
        await asyncio.Event().wait()

    async with listening(answer) as port:
        result = await probe(http(port, timeout_seconds=0.5), "127.0.0.1", no_command)
    assert result.reason.endswith("/health answered 200 and did not end its answer within 0.5 s")


async def test_a_host_may_end_its_answer_in_peace() -> None:
    ended = asyncio.Event()

    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 4\r\n\r\n", b"ab", b"cd"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        ended.set()

    async with listening(in_pieces) as port:
        assert await probe(http(port), "127.0.0.1", no_command) == OK
        await asyncio.wait_for(ended.wait(), 10)


async def test_tcp_passes_when_somebody_listens() -> None:
    async with listening(silent) as port:
        assert await probe(Probe("tcp", port), "127.0.0.1", no_command) == OK


async def test_a_command_passes_by_its_exit_code() -> None:
    asked = Probe("command", 80, command=("check", "it"), timeout_seconds=3.0)

    def ending(outcome: int | Exception) -> Callable[[tuple[str, ...], float], Awaitable[int]]:
        async def execute(command: tuple[str, ...], timeout_seconds: float) -> int:
            assert (command, timeout_seconds) == (("check", "it"), 3.0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return execute

    assert await probe(asked, "127.0.0.1", ending(0)) == OK
    failed = await probe(asked, "127.0.0.1", ending(2))
    assert failed.reason == "command 'check it' ended with exit code 2, expected 0"
    assert (await probe(asked, "", ending(TimeoutError()))).reason.endswith("no answer within 3 s")
    assert (await probe(asked, "", ending(RefusedError("no such host")))).reason == "no such host"


# ------------------------------------------------------------------------------------------------ the prober


async def unused(host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
    raise AssertionError("no command is to be run")


@pytest.fixture
async def prober() -> AsyncIterator[Prober]:
    made = Prober(asyncio.get_running_loop().time, unused)
    yield made
    await made.close()


async def test_a_fresh_host_is_noticed_long_before_its_interval(prober: Prober) -> None:
    changed: list[HostName] = []
    prober.on_change(changed.append)
    async with listening(saying("HTTP/1.1 200 OK\r\n\r\n")) as port:
        prober.watch(HOST, "127.0.0.1", http(port, interval_seconds=3600.0))
        await until(lambda: changed)
        record = prober.record(HOST)
    assert record is not None
    assert record.is_healthy
    assert changed == [HOST]


async def test_the_last_probes_of_a_host_are_kept_with_what_it_said(prober: Prober) -> None:
    statuses = itertools.chain(["503 Busy"], itertools.repeat("200 OK"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {next(statuses)}\r\nContent-Length: 4\r\n\r\nwait".encode())

    async with listening(answer) as port:
        prober.watch(HOST, "127.0.0.1", http(port, interval_seconds=0.01))
        await until(lambda: len(prober.samples(HOST, SAMPLES_MAX)) > 2)
        *good, bad = prober.samples(HOST, SAMPLES_MAX)
        await until(lambda: all(each.passed for each in prober.samples(HOST, SAMPLES_MAX)))
        assert len(prober.samples(HOST, SAMPLES_MAX + 9)) == SAMPLES_MAX
        assert len(prober.samples(HOST, 2)) == 2
    assert (bad.passed, bad.said.partition("answered")[2]) == (False, " 503, expected 200: wait")
    assert {(each.passed, each.said) for each in good} == {(True, "answered 200")}
    assert [each.ago_seconds for each in (*good, bad)] == sorted(each.ago_seconds for each in (*good, bad))
    assert prober.samples(HostName("shop-v001-2"), SAMPLES_MAX) == ()
    prober.forget(HOST)
    assert prober.samples(HOST, SAMPLES_MAX) == ()


async def test_a_host_that_comes_up_late_is_still_found(prober: Prober) -> None:
    async with listening(silent) as port:
        pass
    prober.watch(HOST, "127.0.0.1", http(port, interval_seconds=0.05))
    await until(lambda: "refused" in getattr(prober.record(HOST), "reason", ""))
    server = await asyncio.start_server(saying("HTTP/1.1 200 OK\r\n\r\n"), "127.0.0.1", port)
    try:
        await until(lambda: getattr(prober.record(HOST), "is_healthy", False))
    finally:
        server.close()


async def test_a_change_is_told_once_for_each_new_reason_or_turn(prober: Prober) -> None:
    answers = iter(["200", "200", "500", "500", "500", "200"])
    told: list[tuple[bool, str]] = []

    def take(host: HostName) -> None:
        record = prober.record(host)
        assert record is not None
        told.append((record.is_healthy, record.reason.partition("answered ")[2]))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {next(answers, '200')} x\r\n\r\n".encode())

    prober.on_change(take)
    async with listening(answer) as port:
        prober.watch(HOST, "127.0.0.1", http(port, interval_seconds=0.01))
        await until(lambda: len(told) >= 4)
    text = "500, expected 200"
    assert told[:4] == [(True, ""), (True, text), (False, text), (True, "")]


async def test_a_forgotten_host_is_asked_no_more(prober: Prober) -> None:
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    async with listening(answer) as port:
        prober.watch(HOST, "127.0.0.1", http(port, interval_seconds=0.01))
        prober.watch(HOST, "127.0.0.1", http(port, interval_seconds=0.01))
        await until(lambda: asked >= 3)
        prober.forget(HOST)
        prober.forget(HOST)
        assert prober.record(HOST) is None
        prober.watch(HOST, "127.0.0.1", http(port, path="/other"))
        record = prober.record(HOST)
        assert record is not None
        assert not record.is_healthy


async def test_a_probe_that_crashes_counts_as_failed_and_goes_on(prober: Prober) -> None:
    prober.watch(HOST, "127.0.0.1", Probe("command", 80, command=("x",), interval_seconds=0.01))
    await until(lambda: getattr(prober.record(HOST), "failed", 0) >= 3)
    record = prober.record(HOST)
    assert record is not None
    assert record.reason.startswith("the agent could not probe: AssertionError")


async def test_only_so_many_probes_are_in_flight() -> None:
    running = highest = 0
    release = asyncio.Event()

    async def execute(host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await release.wait()
        running -= 1
        return 0

    prober = Prober(asyncio.get_running_loop().time, execute)
    for number in range(130):
        prober.watch(HostName(f"h{number}"), "127.0.0.1", Probe("command", 80, command=("x",)))
    await until(lambda: running == 100)
    release.set()
    await until(
        lambda: all(getattr(prober.record(HostName(f"h{n}")), "is_healthy", False) for n in range(130))
    )
    await prober.close()
    assert highest == 100


def test_hosts_are_spread_over_the_interval() -> None:
    phases = sorted(phase_of(HostName(f"shop-v001-{number}")) for number in range(1000))
    gaps = [later - earlier for earlier, later in itertools.pairwise(phases)]
    assert phases[0] < 0.02
    assert phases[-1] > 0.98
    assert max(gaps) < 0.02


# ----------------------------------------------------------------------------------- what it costs, in counts


async def test_hosts_are_asked_without_a_task_for_each(prober: Prober) -> None:
    answered = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        answered += 1

    async with listening(answer) as port:
        for number in range(40):
            kind = (
                http(port, interval_seconds=0.02) if number % 2 else Probe("tcp", port, interval_seconds=0.02)
            )
            prober.watch(HostName(f"h{number}"), "127.0.0.1", kind)
        await until(lambda: answered >= 100)
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert not [name for name in names if name.startswith("probe")]
        assert all(getattr(prober.record(HostName(f"h{n}")), "is_healthy", False) for n in range(40))


async def test_silent_hosts_hold_up_others_for_no_longer_than_their_timeout(prober: Prober) -> None:
    async with listening(silent) as closed, listening(saying("HTTP/1.1 200 OK\r\n\r\n")) as port:
        for number in range(120):
            quiet = http(closed, timeout_seconds=0.1, interval_seconds=3600.0)
            prober.watch(HostName(f"quiet{number}"), "127.0.0.1", quiet)
        prober.watch(HOST, "127.0.0.1", http(port))
        await until(lambda: getattr(prober.record(HOST), "is_healthy", False))
        await until(
            lambda: all(getattr(prober.record(HostName(f"quiet{n}")), "failed", 0) for n in range(120))
        )
        record = prober.record(HostName("quiet0"))
    assert record is not None
    assert record.reason.endswith("no answer within 0.1 s")


async def test_a_host_that_is_forgotten_while_it_is_asked_says_nothing_more(prober: Prober) -> None:
    connected = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        connected.set()
        assert await reader.read() == b"", "it is hung up on"
        connected.clear()

    told: list[HostName] = []
    prober.on_change(told.append)
    async with listening(answer) as port:
        for number in range(101):  # one more than are asked at once
            prober.watch(HostName(f"h{number}"), "127.0.0.1", http(port))
        await connected.wait()
        for number in range(101):
            prober.forget(HostName(f"h{number}"))
        await until(lambda: not connected.is_set())
    async with listening(saying("HTTP/1.1 200 OK\r\n\r\n")) as port:
        prober.watch(HOST, "127.0.0.1", http(port))
        await until(lambda: told)
    assert told == [HOST]


async def test_a_host_may_have_a_name_instead_of_an_address(prober: Prober) -> None:
    async with listening(saying("HTTP/1.1 200 OK\r\n\r\n")) as port:
        prober.watch(HOST, "localhost", http(port))
        await until(lambda: getattr(prober.record(HOST), "is_healthy", False))
