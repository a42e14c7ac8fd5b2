"""Plaintext stays on this machine, herds spread out, and links carry bytes both ways over real gRPC."""

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_protos.protocol import channel
from repave_protos.protocol.channel import (
    InsecureAddressError,
    Link,
    Shown,
    bind,
    changes_of,
    dial,
    full_jitter,
    join,
    loopback_only,
)
from tests.fakes.waiting import until_async


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:7443", ("127.0.0.1", 7443)),
        ("127.8.9.10:1", ("127.8.9.10", 1)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:7443", ("::1", 7443)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_loopback_addresses_are_taken_apart(address: str, expected: tuple[str, int]) -> None:
    assert loopback_only(address, "grpc.listen") == expected
    assert join(*expected) == address


@pytest.mark.parametrize(
    "address", ["0.0.0.0:7443", "10.0.0.1:7443", "[::]:7443", "*:7443", "example.org:7443", "128.0.0.1:1"]
)
def test_an_address_that_others_can_reach_is_refused_with_what_to_do(address: str) -> None:
    with pytest.raises(InsecureAddressError) as caught:
        loopback_only(address, "grpc.listen")
    text = str(caught.value)
    assert text.startswith("grpc.listen: ")
    assert address in text
    assert "127.0.0.1" in text
    assert "SSH tunnel" in text


@pytest.mark.parametrize(
    "address",
    [
        "",
        "7443",
        "127.0.0.1",
        "127.0.0.1:",
        ":7443",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "::1:7443",
        "http://127.0.0.1:7443",
        "127.0.0.1:７",
        "unix:/run/repave",
        "127.0.0.1:7443/",
        "127.0.0.1:" + "9" * 5000,
    ],
)
def test_what_is_no_address_is_told_apart_from_what_is_insecure(address: str) -> None:
    with pytest.raises(ValueError, match=r"^agent\.controller: .* is no address; give host:port") as caught:
        loopback_only(address, "agent.controller")
    assert not isinstance(caught.value, InsecureAddressError)


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_a_reconnect_delay_is_never_longer_than_the_cap(attempt: int, chance: float) -> None:
    assert 0.0 <= full_jitter(attempt, chance) <= 5.0


def test_reconnect_delays_grow_from_the_base_to_the_cap_and_use_the_whole_range() -> None:
    assert [full_jitter(attempt, 1.0) for attempt in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert full_jitter(7, 0.0) == 0.0
    assert full_jitter(2, 0.5, base_seconds=1.0, cap_seconds=60.0) == 2.0


@pytest.mark.parametrize("patience_seconds", [5.0, 10.0, 60.0])
def test_clients_never_ping_more_often_than_the_server_permits(patience_seconds: float) -> None:
    client, server = dict(channel.keepalive(patience_seconds)), dict(channel.SERVER_OPTIONS)
    permitted_ms = server["grpc.http2.min_recv_ping_interval_without_data_ms"]
    assert int(client["grpc.keepalive_time_ms"]) > int(permitted_ms)


@pytest.mark.parametrize(
    ("options", "within_ms"),
    [
        (channel.keepalive(channel.PATIENCE_SECONDS), 5_000),
        (channel.keepalive(channel.PATIENCE_MAX_SECONDS), 60_000),
        (channel.SERVER_OPTIONS, 30_000),
    ],
)
def test_both_ends_notice_a_frozen_peer(options: channel.Options, within_ms: int) -> None:
    chosen = {name: int(value) for name, value in options}
    for timeout in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):  # gRPC waits for the longer
        assert chosen["grpc.keepalive_time_ms"] + chosen[timeout] <= within_ms


# --------------------------------------------------------------------------------------------- over gRPC


async def test_bytes_go_both_ways_and_the_stream_ends_when_its_handler_returns() -> None:
    async def echo_twice(link: Link, __: bytes | None) -> None:
        messages = link.receive()
        for _ in range(2):
            await link.send(b"> " + await anext(messages))

    server, port = bind(echo_twice, "127.0.0.1:0", "grpc.listen")
    await server.start()
    link = await dial(f"127.0.0.1:{port}")
    await link.send(b"one")
    await link.send(bytes(3_000_000))
    received = [message async for message in link.receive()]
    assert received == [b"> one", b"> " + bytes(3_000_000)]
    with pytest.raises(ConnectionError):
        await link.send(b"three")
    await link.close()
    await server.stop(None)


def test_a_peer_of_grpc_is_its_address() -> None:
    assert channel._peer_of("ipv4:10.0.0.1:5555") == "10.0.0.1"
    assert channel._peer_of("ipv6:%5B2001:db8::1%5D:5555") == "2001:db8::/64"
    assert channel._peer_of("ipv6:%5B::1%5D:5555") == channel._peer_of("unix:") == ""


async def test_one_peer_has_so_many_streams_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_peer_of", lambda _: "10.0.0.1")
    monkeypatch.setattr(channel, "STREAMS_OF_ONE_PEER_MAX", 1)

    async def serve(link: channel.Link, _: bytes | None) -> None:
        async for _ in link.receive():
            pass

    async def is_let_in() -> bool:
        try:
            await (await dialled()).close()
        except ConnectionError:
            return False
        return True

    async def dialled() -> channel.Link:
        """It outlives a stall of the machine."""
        return await channel.dial(f"127.0.0.1:{port}", patience_seconds=60.0)

    server, port = channel.bind(serve, "127.0.0.1:0", "grpc.listen")
    await server.start()
    try:
        first = await dialled()
        with pytest.raises(ConnectionError, match=r"10\.0\.0\.1 has 1 streams already"):
            async for _ in (await dialled()).receive():  # gRPC may tell it after the first headers
                pass
        await first.close()
        await until_async(is_let_in)
    finally:
        await server.stop(0)


async def test_dialling_a_closed_port_fails_as_a_connection_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        with pytest.raises(ConnectionError, match="unavailable"):
            await dial(f"127.0.0.1:{taken.getsockname()[1]}")


async def test_dialling_something_that_never_answers_gives_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectionError):
        await dial(f"127.0.0.1:{silent.getsockname()[1]}", patience_seconds=0.2)


@pytest.mark.parametrize(
    "address", ["0.0.0.0:7443", "[::]:7443", "controller.example:7443", "192.0.2.1:7443"]
)
def test_with_tls_any_address_will_do_and_without_it_loopback_only(address: str) -> None:
    host, port = channel.address_of(address, "grpc.listen", is_secured=True)
    assert channel.join(host, port) == address
    with pytest.raises(InsecureAddressError):
        channel.address_of(address, "grpc.listen", is_secured=False)
    with pytest.raises(ValueError, match="is no address"):
        channel.address_of("nonsense", "grpc.listen", is_secured=True)


async def test_dialling_elsewhere_is_refused_before_a_packet_is_sent() -> None:
    with pytest.raises(InsecureAddressError, match=r"^agent\.controller: 192\.0\.2\.1:7443"):
        await dial("192.0.2.1:7443", "agent.controller")


async def test_a_taken_port_and_an_open_address_are_refused_by_the_server() -> None:
    async def nobody(_: Link, __: bytes | None) -> None: ...

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=r"^grpc\.listen: can't listen on .* is another controller running"):
            bind(nobody, address, "grpc.listen")
    with pytest.raises(InsecureAddressError):
        bind(nobody, "0.0.0.0:0", "grpc.listen")


async def test_a_dying_server_ends_the_other_ends_reading_and_writing() -> None:
    async def forever(link: Link, _: bytes | None) -> None:
        await asyncio.Event().wait()

    server, port = bind(forever, "127.0.0.1:0", "grpc.listen")
    await server.start()
    link = await dial(f"127.0.0.1:{port}")
    await server.stop(None)
    with pytest.raises(ConnectionError):
        async for _ in link.receive():
            pass
    with pytest.raises(ConnectionError):
        await link.send(b"late")
    await link.close()


async def test_the_server_sees_an_agent_go_away() -> None:
    gone = asyncio.Event()

    async def until_gone(link: Link, _: bytes | None) -> None:
        try:
            async for _ in link.receive():
                pass
        finally:
            gone.set()

    server, port = bind(until_gone, "127.0.0.1:0", "grpc.listen")
    await server.start()
    link = await dial(f"127.0.0.1:{port}")
    await link.send(b"here")
    await link.close()
    await asyncio.wait_for(gone.wait(), 10)
    await server.stop(None)


async def test_a_link_closed_by_its_own_end_fails_its_reader_without_cancelling_it() -> None:
    async def forever(link: Link, _: bytes | None) -> None:
        async for _ in link.receive():
            pass

    server, port = bind(forever, "127.0.0.1:0", "grpc.listen")
    await server.start()
    link = await dial(f"127.0.0.1:{port}")

    async def read() -> str:
        try:
            async for _ in link.receive():
                pass
        except ConnectionError as error:
            return str(error)
        return "no error"

    reader = asyncio.create_task(read())
    await asyncio.sleep(0)
    await link.close()
    assert "closed at this end" in await asyncio.wait_for(reader, 10)
    await server.stop(None)


def test_a_certificate_is_given_to_grpc_only_when_it_has_changed() -> None:
    first, second = (Shown(f"key {each}", f"chain {each}", "authorities") for each in "12")
    now = first  # read by the lambda
    changes = changes_of(lambda: now, first)
    assert changes() is None
    now = second
    assert changes() is not None
    assert changes() is None
