"""The real HAProxy under load, when it dies, and when somebody meddles with it."""

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from repave_agent.balancers.haproxy import balancer as haproxy_balancer
from repave_agent.balancers.haproxy import instance
from repave_agent.balancers.haproxy import process as processes
from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.balancers.haproxy.process import HaproxyProcess
from repave_agent.clock import SystemClock
from repave_agent.core.host_health import ProbeResult
from repave_agent.core.ports import Backend, BalancerError, Route, Structure, UnfitError
from repave_agent.health.prober import probe
from repave_protos.protocol.health_requests import HEADER_LENGTH_MAX, HEADERS_MAX, PATH_LENGTH_MAX
from repave_protos.protocol.values import ApplicationName, GroupName, Timeouts
from tests.fakes.agent.haproxy_rig import (
    HaproxyRig,
    backend,
    free_port,
    frontend,
    get,
    haproxy_rig,
    needs_haproxy,
)
from tests.fakes.waiting import until, until_async
from tests.fakes.web import Web
from tests.support.load import Load

pytestmark = needs_haproxy

SHOP = ApplicationName("shop")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
UPGRADE = "Connection: Upgrade"
TO_BLUE, TO_GREEN = Route(SHOP, BLUE), Route(SHOP, GREEN)


@dataclass
class Site:
    """A balancer with one application, blue and green arranged, traffic at blue."""

    rig: HaproxyRig
    balancer: HaproxyBalancer
    port: int
    structure: Structure

    @property
    def process(self) -> HaproxyProcess:
        """A second pair of eyes on the first of the two HAProxys."""
        return HaproxyProcess(self.rig.directory, "haproxy", SystemClock().monotonic)

    @property
    def second_process(self) -> HaproxyProcess:
        return HaproxyProcess(self.rig.directory / "2", "haproxy", SystemClock().monotonic)


@pytest.fixture
async def rig() -> AsyncIterator[HaproxyRig]:
    async with haproxy_rig() as rig:
        yield rig


@pytest.fixture
async def site(rig: HaproxyRig) -> Site:
    balancer = rig.balancer(redispatch=False)
    await balancer.start()
    port = free_port()
    blue, green = await rig.web("blue"), await rig.web("green")
    structure = Structure((frontend("shop", port),), (backend(BLUE, blue.port), backend(GREEN, green.port)))
    await balancer.arrange(structure)
    await balancer.route((TO_BLUE,))
    return Site(rig, balancer, port, structure)


async def test_flips_and_reloads_under_load_lose_nothing_and_send_nothing_to_the_old_side(site: Site) -> None:
    load = Load(f"http://127.0.0.1:{site.port}/", rate=500)
    await load.start()
    sides = [(TO_GREEN, "green", "blue"), (TO_BLUE, "blue", "green")]
    spans: list[tuple[str, str, float, float]] = []  # side on, side off, acknowledged, flipped back from
    for flip in range(8):
        route, on, off = sides[flip % 2]
        await site.balancer.route((route,))
        acknowledged = time.monotonic()
        await _more_answers(load, 60)
        third = backend(f"other-v{flip:03}", free_port())
        await site.balancer.arrange(Structure(site.structure.frontends, (*site.structure.backends, third)))
        await _more_answers(load, 60)
        spans.append((on, off, acknowledged, time.monotonic()))
    result = await load.stop()
    assert result.failures == ()
    assert len(result.requests) >= 8 * 120
    for on, off, acknowledged, until_time in spans:
        assert result.answered_by(off, after=acknowledged, before=until_time) == 0
        assert result.answered_by(on, after=acknowledged, before=until_time) > 0


async def test_a_connection_left_on_an_old_worker_follows_a_flip_to_a_group_it_does_not_know(
    site: Site,
) -> None:
    """The newcomer is arranged after the connection was made; the worker that owns the connection never
    heard of it, and answers for it all the same."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    assert await _ask(reader, writer) == "blue"
    newcomer = await site.rig.web("newcomer")
    group = GroupName("shop-v003")
    await site.balancer.arrange(
        Structure(site.structure.frontends, (*site.structure.backends, backend(group, newcomer.port)))
    )
    assert (await site.balancer.observe()).old_workers == 1
    await site.balancer.route((Route(SHOP, group),))
    assert (await site.balancer.observe()).routes == (Route(SHOP, group),)
    assert await _ask(reader, writer) == "newcomer"
    writer.close()


@pytest.mark.parametrize("reloads", [1, 3])
async def test_a_host_is_told_the_clients_address_alone_before_and_after_reloads(
    site: Site, reloads: int
) -> None:
    """Also by an old worker, which passes the request on to the newest one; and by the second-oldest."""
    connections = []
    for number in range(reloads):
        source = f"127.0.0.{9 + number}"
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, local_addr=(source, 0))
        await _ask(reader, writer)
        assert _forwarded_for(site.rig.webs[0]) == [source]
        connections.append((source, reader, writer))
        other = backend(f"blog-v{number:03}", free_port())
        await site.balancer.arrange(Structure(site.structure.frontends, (*site.structure.backends, other)))
    assert (await site.balancer.observe()).old_workers == reloads
    for source, reader, writer in connections:
        await _ask(reader, writer)
        assert _forwarded_for(site.rig.webs[0]) == [source]
        writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    await _ask(reader, writer, "X-Forwarded-For: 192.0.2.7\r\n")
    assert _forwarded_for(site.rig.webs[0]) == ["192.0.2.7", "127.0.0.1"], "a proxy's own word is kept"
    writer.close()


async def test_a_websocket_and_a_long_request_outlive_other_applications_reloads(site: Site) -> None:
    """And their old workers end with them."""
    chat = await asyncio.start_server(_chat, "127.0.0.1", 0)
    chat_port = chat.sockets[0].getsockname()[1]
    talk = Structure(
        (*site.structure.frontends, frontend("chat", free_port())),
        (*site.structure.backends, backend("chat-v001", chat_port)),
    )
    await site.balancer.arrange(talk)
    await site.balancer.route((TO_BLUE, Route(ApplicationName("chat"), GroupName("chat-v001"))))
    reader, writer = await asyncio.open_connection("127.0.0.1", talk.frontends[1].port)
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    writer.write(f"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n{UPGRADE}\r\n{key}\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    long_request = asyncio.create_task(get(site.port, "/slow"))
    await until(lambda: site.rig.webs[0].waiting == 1)
    for number in range(4):
        other = backend(f"blog-v{number:03}", free_port())
        await site.balancer.arrange(Structure(talk.frontends, (*talk.backends, other)))
        writer.write(b"still there?\n")
        assert await reader.readline() == b"still there?\n"
    assert (await site.balancer.observe()).old_workers in (1, 2)
    site.rig.webs[0].release()
    assert await long_request == "blue"
    writer.close()
    await until_async(lambda: _has_no_old_worker(site.balancer))
    chat.close()


async def test_an_old_worker_is_ended_when_its_time_is_over(rig: HaproxyRig) -> None:
    balancer, port = rig.balancer(old_connections_hours=1 / 3600), free_port()
    await balancer.start()
    blue = await rig.web("blue")
    wanted = Structure((frontend("shop", port),), (backend(BLUE, blue.port),))
    await balancer.arrange(wanted)
    await balancer.route((TO_BLUE,))
    for_ever = asyncio.create_task(get(port, "/slow"))
    await until(lambda: blue.waiting == 1)
    await balancer.arrange(Structure(wanted.frontends, (*wanted.backends, backend("blog-v001", free_port()))))
    assert await for_ever == ""
    await until_async(lambda: _has_no_old_worker(balancer))


@pytest.mark.parametrize("victim", ["worker", "master"])
async def test_haproxy_killed_comes_back_by_itself_on_the_flipped_side(site: Site, victim: str) -> None:
    await site.balancer.route((TO_GREEN,))
    died = asyncio.Event()
    site.balancer.on_change(died.set)
    workers = site.process.socket.workers()
    process = workers.newest if victim == "worker" else workers.master
    assert process is not None
    os.kill(process, signal.SIGKILL)
    await asyncio.wait_for(died.wait(), 20)
    await until_async(lambda: get(site.port))
    assert await get(site.port) == "green"
    view = await site.balancer.observe()
    assert (view.is_running, view.restarts, view.structure) == (True, 1, site.structure)
    assert view.routes == (TO_GREEN,)


async def test_haproxy_that_died_while_the_agent_was_away_is_started_as_it_was(site: Site) -> None:
    await site.balancer.route((TO_GREEN,))
    await site.balancer.end()
    assert list(site.process.processes()) == []
    second = site.rig.balancer(redispatch=False)
    await second.start()
    assert await get(site.port) == "green"
    assert (await second.observe()).structure == site.structure


@pytest.mark.parametrize("is_next_agent", [False, True], ids=["the agent lives", "the next agent"])
async def test_a_port_that_was_taken_while_it_was_dead_takes_no_other_application_down(
    site: Site, is_next_agent: bool
) -> None:
    blog = frontend("blog", free_port())
    both = replace(site.structure, frontends=(*site.structure.frontends, blog))
    await site.balancer.arrange(both)
    if is_next_agent:
        await site.balancer.close()
    for process in (site.process, site.second_process):
        process.end()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await until(lambda: _is_bound(other, blog.port))
        other.listen()
        balancer = site.rig.balancer() if is_next_agent else site.balancer
        if is_next_agent:
            await balancer.start()
        await until_async(lambda: _serves(balancer, site.structure))
        assert await get(site.port) == "blue"
        with pytest.raises(UnfitError, match=f"blog: port {blog.port} .* is taken by another program"):
            await balancer.arrange(both)
    await balancer.arrange(both)
    assert (await balancer.observe()).structure == both


def _is_bound(other: socket.socket, port: int) -> bool:
    try:
        other.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


async def _serves(balancer: HaproxyBalancer, structure: Structure) -> bool:
    view = await balancer.observe()
    return view.is_running and view.structure == structure


@pytest.mark.parametrize("odd", [{"path": "/fine"}, {"kind": "tcp"}], ids=["http", "tcp"])
async def test_what_only_haproxy_itself_refuses_is_told_of_its_application_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    """Should a text get past all checks: here, since they are switched off."""
    monkeypatch.setattr(instance, "check_structure", lambda _: None)
    monkeypatch.setattr(haproxy_balancer, "check_structure", lambda _: None)
    bad = replace(backend("blog-v001", 1), probe=replace(backend(BLUE).probe, **odd))
    bad = replace(bad, servers=(replace(bad.servers[0], address="no address"),))
    more = backend("shop-v003", free_port())
    frontends = (*site.structure.frontends, frontend("blog", free_port()))
    with pytest.raises(UnfitError, match="HAProxy refuses the configuration") as refused:
        await site.balancer.arrange(Structure(frontends, (*site.structure.backends, more, bad)))
    assert (list(refused.value.frontends), list(refused.value.backends)) == (["blog"], ["blog-v001"])
    assert (await site.balancer.observe()).structure == site.structure


async def test_an_observer_starts_a_dead_haproxy_even_when_nothing_was_noticed(site: Site) -> None:
    site.process.end()
    view = await site.balancer.observe()
    assert (view.is_running, view.restarts, view.routes) == (True, 1, (TO_BLUE,))


async def test_nothing_is_reloaded_when_only_flags_or_nothing_changed(site: Site) -> None:
    before = site.process.socket.workers()
    await site.balancer.arrange(site.structure)
    off = backend(GREEN, site.rig.webs[1].port, is_enabled=False)
    changed = Structure(site.structure.frontends, (site.structure.backends[0], off))
    await site.balancer.arrange(changed)
    assert site.process.socket.workers() == before
    assert (await site.balancer.observe()).structure == changed
    site.process.end()
    assert (await site.balancer.observe()).structure == changed, "a restart forgot the flag"


async def test_an_edit_by_hand_is_shown_and_routed_away(site: Site) -> None:
    edited = {"shop": f"{BLUE}|{GREEN}|2500", "stray": "x|y|1"}
    for route, process in [(None, site.process), (Route(SHOP, BLUE, GREEN, 2500), site.second_process)]:
        worker = process.socket.workers().newest
        assert worker is not None
        process.socket.set_entries(worker, edited, are_all=True)
        assert (await site.balancer.observe()).route(SHOP) == route
    await site.balancer.route((TO_BLUE,))
    assert (await site.balancer.observe()).routes == (TO_BLUE,)


async def test_a_split_gives_second_its_share_and_nothing_at_zero(site: Site) -> None:
    load = Load(f"http://127.0.0.1:{site.port}/", rate=1000)
    await load.start()
    for share_bp in (0, 5_000, 10_000):
        await site.balancer.route((Route(SHOP, BLUE, GREEN, share_bp),))
        begun = time.monotonic()
        await _more_answers(load, 300)
        green = load.so_far().answered_by("green", after=begun)
        blue = load.so_far().answered_by("blue", after=begun)
        if share_bp == 5_000:
            assert 0.3 < green / (green + blue) < 0.7  # 300 rolls: seven standard deviations
        else:
            assert (green == 0, blue == 0) == (share_bp == 0, share_bp == 10_000)
    assert (await load.stop()).failures == ()


async def test_a_dead_host_is_hidden_from_clients_by_redispatch(rig: HaproxyRig) -> None:
    balancer = rig.balancer(redispatch=True)
    await balancer.start()
    port, alive, mortal = free_port(), await rig.web("blue"), await rig.web("blue")
    await balancer.arrange(Structure((frontend("shop", port),), (backend(BLUE, alive.port, mortal.port),)))
    await balancer.route((TO_BLUE,))
    load = Load(f"http://127.0.0.1:{port}/", rate=300)
    await load.start()
    await _more_answers(load, 50)
    await mortal.stop()
    await _more_answers(load, 150)
    assert (await load.stop()).failures == ()
    await until_async(lambda: _is_up(balancer, 1))


async def test_a_port_that_is_taken_is_told_and_the_former_structure_goes_on(site: Site) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = frontend("blog", squatter.getsockname()[1])
        with pytest.raises(BalancerError, match=f"blog: port {taken.port} .* is taken by another program"):
            await site.balancer.arrange(
                Structure((*site.structure.frontends, taken), site.structure.backends)
            )
    view = await site.balancer.observe()
    assert (view.structure, view.restarts) == (site.structure, 0)
    assert await get(site.port) == "blue"


async def test_a_reload_that_fails_leaves_the_former_worker_serving(site: Site) -> None:
    """Somebody takes the port after we looked: HAProxy tries for 2 s and gives up."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        path, port = site.process.configuration_path, squatter.getsockname()[1]
        path.write_text(path.read_text().replace(f"127.0.0.1:{site.port}", f"127.0.0.1:{port}"))
        before = site.process.socket.workers()
        with pytest.raises(BalancerError, match="could not reload: the former configuration stays in force"):
            await asyncio.to_thread(site.process.reload, before)
    await until_async(lambda: get(site.port))
    view = await site.balancer.observe()
    assert (view.structure, view.routes, view.restarts) == (site.structure, (TO_BLUE,), 0)


async def test_a_configuration_that_haproxy_refuses_is_told_in_its_words(site: Site, tmp_path: Path) -> None:
    (tmp_path / "bad.cfg").write_text("global\n  nonsense yes\n")
    with pytest.raises(BalancerError, match=r"refuses the configuration: .*unknown keyword 'nonsense'"):
        await asyncio.to_thread(site.process.check, tmp_path / "bad.cfg")


async def test_two_balancers_never_share_a_port_unnoticed(site: Site) -> None:
    async with haproxy_rig() as other:
        balancer = other.balancer()
        await balancer.start()
        with pytest.raises(BalancerError, match="taken by another program"):
            await balancer.arrange(site.structure)


async def test_a_reload_cut_off_by_a_crash_is_made_up_for_by_the_next_agent(site: Site) -> None:
    """The configuration was renamed into place, and then the agent died."""
    await site.balancer.close()
    path = site.process.configuration_path
    before = site.process.socket.workers().newest
    path.write_text(path.read_text().replace(f"{GREEN}-0", f"{GREEN}-9"))
    second = site.rig.balancer(redispatch=False)
    await second.start()
    assert site.process.socket.workers().newest != before
    green = (await second.observe()).structure.backends[1]
    assert [server.host for server in green.servers] == [f"{GREEN}-9"]
    assert await get(site.port) == "blue"


async def test_a_damaged_configuration_on_disk_does_not_disturb_what_runs(site: Site) -> None:
    await site.balancer.close()
    site.process.configuration_path.write_text("# structure {oops")
    second = site.rig.balancer(redispatch=False)
    await second.start()
    assert await get(site.port) == "blue"
    await second.arrange(site.structure)
    view = await second.observe()
    assert (view.structure, view.routes) == (site.structure, (TO_BLUE,))


async def test_haproxy_missing_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    balancer = HaproxyBalancer(tmp_path, HaproxyOptions(program="haproxy-is-not-here"), clock=SystemClock())
    with pytest.raises(BalancerError, match="is not installed: apt install haproxy"):
        await balancer.start()
    await balancer.close()


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (
            "HA-Proxy version 2.2.9-2 2023/08/19",
            "HA-Proxy version 2.2.9-2 is too old: repave needs 2.4",
        ),
        ("Hello", r"is not HAProxy: `.*` shows no version of it"),
        ("HAProxy version 2.4.0", "HAProxy refuses the configuration: that is too new for me"),
    ],
)
async def test_a_program_that_will_not_do_is_told_as_what_it_is(
    tmp_path: Path, printed: str, told: str
) -> None:
    program = tmp_path / "haproxy"
    program.write_text(f"#!/bin/sh\necho '{printed}'\necho 'that is too new for me' >&2\nexit 1\n")
    program.chmod(0o700)
    balancer = HaproxyBalancer(tmp_path / "s", HaproxyOptions(program=str(program)), clock=SystemClock())
    with pytest.raises(BalancerError, match=told):
        await balancer.start()
    await balancer.close()


async def test_a_directory_that_was_deleted_is_made_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """HAProxy can't be spoken to without its socket, so it is started afresh."""
    monkeypatch.setattr(processes, "SILENCE_SECONDS_MAX", 0.5)
    shutil.rmtree(site.rig.directory / "2")
    await site.balancer.route((TO_GREEN,))
    view = await site.balancer.observe()
    assert (view.structure, view.routes, view.restarts) == (site.structure, (TO_GREEN,), 1)
    assert {await get(site.port) for _ in range(10)} == {"green"}


async def test_a_directory_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    balancer = HaproxyBalancer(tmp_path / ("d" * 100), HaproxyOptions(), clock=SystemClock())
    with pytest.raises(BalancerError, match="shorter state directory"):
        await balancer.start()
    await balancer.close()


async def test_a_cancelled_caller_leaves_no_change_half_done(site: Site) -> None:
    wanted = Structure(
        site.structure.frontends, (*site.structure.backends, backend("shop-v009", free_port()))
    )
    arranging = asyncio.create_task(site.balancer.arrange(wanted))
    await asyncio.sleep(0)  # lets it begin
    arranging.cancel()
    await asyncio.wait((arranging,))
    assert (await site.balancer.observe()).structure == wanted


async def _more_answers(load: Load, count: int) -> None:
    wanted = load.answers + count
    await until(lambda: load.answers >= wanted)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: str = "") -> str:
    writer.write(f"GET / HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return (await reader.readline()).decode().strip()


async def _chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says everything back."""
    if b"websocket" not in (await reader.readuntil(b"\r\n\r\n")).lower():
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    else:
        accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        status = "HTTP/1.1 101 Switching Protocols"
        writer.write(f"{status}\r\n{UPGRADE}\r\nUpgrade: websocket\r\n{accept}\r\n\r\n".encode())
        while line := await reader.readline():
            writer.write(line)
    writer.close()


async def _has_no_old_worker(balancer: HaproxyBalancer) -> bool:
    return (await balancer.observe()).old_workers == 0


def _forwarded_for(web: Web) -> list[str]:
    """Every entry that the last request had, in order."""
    lines = web.last_request.decode().split("\r\n")
    named = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in named if name.lower() == "x-forwarded-for"]


async def _is_up(balancer: HaproxyBalancer, count: int) -> bool:
    return (await balancer.observe()).backends[0].servers_up == count


async def test_a_host_may_be_silent_as_long_as_its_application_says(site: Site, rig: HaproxyRig) -> None:
    """504 after its time, and the connections that are left are counted until they end."""
    blue, green = site.structure.backends
    hasty = replace(blue, timeouts=Timeouts(server_seconds=0.3))
    await site.balancer.arrange(replace(site.structure, backends=(hasty, green)))
    begun = time.monotonic()
    assert await get(site.port, "/slow") == ""
    assert 0.25 < time.monotonic() - begun < 10
    await site.balancer.route((TO_GREEN,))
    answering = asyncio.create_task(get(site.port, "/slow"))
    await until(lambda: rig.webs[1].waiting == 1)
    await site.balancer.route((TO_BLUE,))
    left = (await site.balancer.observe()).backend(GREEN)
    assert left is not None
    assert left.in_flight == 1
    for web in rig.webs:
        web.release()
    assert await answering == "green"


# ------------------------------------------------------------------------------------------- its checks


class Choosy(Web):
    """An application that answers only to what it likes: 400 otherwise. Keeps what it was asked."""

    def __init__(self, likes: bytes = b"") -> None:
        super().__init__("choosy")
        self.likes, self.asked = likes, list[bytes]()

    def say(self, request: bytes, transport: asyncio.Transport) -> None:
        self.asked.append(request)
        if self.likes in request:
            super().say(request, transport)
            return
        transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        transport.close()


LONGEST = tuple((f"X-{number}", "'" * HEADER_LENGTH_MAX) for number in range(HEADERS_MAX))
ODD = ' it\'s "$HOME" ${PATH} %[src] \\ # {a,b} <c> `d` | & ; % %% '.strip()


@pytest.mark.parametrize(
    "asks",
    [
        {},
        {"path": "/-/ready?full=1&of=a,b;c:@!*~%20%"},
        {"host": "shop.example:8443"},
        {"host": "[::1]:80"},
        {"headers": (("User-Agent", ODD), ("ACCEPT", "text/plain"), ("X-A.b_c", "1"))},
        {"path": "/" + "p" * (PATH_LENGTH_MAX - 1), "headers": LONGEST},
    ],
    ids=lambda each: " ".join(each) or "plain",
)
async def test_its_check_and_the_probe_send_the_same_request(rig: HaproxyRig, asks: dict[str, Any]) -> None:
    web = Choosy()
    rig.webs.append(web)
    await web.start()
    wanted = backend(BLUE, web.port)
    wanted = replace(wanted, probe=replace(wanted.probe, port=web.port, **asks))
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((frontend("shop", free_port()),), (wanted,)))
    await until(lambda: len(web.asked) > 0)
    by_haproxy = web.asked.pop()

    async def nothing(command: tuple[str, ...], timeout_seconds: float) -> int:
        raise AssertionError("no command is to be run")

    assert await probe(wanted.probe, "127.0.0.1", nothing) == ProbeResult(True)
    assert web.asked[-1] == by_haproxy
    await until_async(lambda: _are_up(balancer, 1))


@pytest.mark.parametrize("likes", [b"host: shop.example\r\n", b"user-agent: choosy\r\n"])
async def test_a_server_that_fails_its_check_never_counts_as_up(rig: HaproxyRig, likes: bytes) -> None:
    """Neither just enabled, nor enabled again, nor after a reload, nor to the next agent."""
    web = Choosy(likes)
    rig.webs.append(web)
    await web.start()
    plain = backend(BLUE, web.port)
    plain = replace(plain, probe=replace(plain.probe, interval_seconds=0.3, unhealthy_after=1))
    asks = replace(plain.probe, host="shop.example", headers=(("User-Agent", "choosy"),))
    liked = replace(plain, probe=asks)
    shop = frontend("shop", free_port())
    balancer = rig.balancer()
    await balancer.start()

    async def counts(wanted: Backend) -> set[int]:
        """How many were up at any look since it was arranged, until both HAProxys have checked twice."""
        web.asked.clear()
        await balancer.arrange(Structure((shop,), (wanted,)))
        seen = set[int]()
        while not seen or len(web.asked) < 4:
            seen |= {each.servers_up for each in (await balancer.observe()).backends}
        return seen

    assert await counts(plain) == {0}
    await balancer.arrange(Structure((shop,), (disabled(plain),)))
    assert await counts(plain) == {0}
    await balancer.arrange(Structure((shop,), (liked,)))
    await until_async(lambda: _are_up(balancer, 1))
    await balancer.arrange(Structure((shop,), (disabled(liked),)))
    web.likes = b"something else"
    assert await counts(liked) == {0}
    second = rig.balancer()
    await second.start()
    assert await _are_up(second, 0)


async def test_servers_with_traffic_stay_up_over_reloads_and_restarts(site: Site) -> None:
    """A new process has made no check yet; what it was told of them is still true."""
    await until_async(lambda: _are_up(site.balancer, 2))
    more = (*site.structure.frontends, frontend("blog", free_port()))
    await site.balancer.arrange(Structure(more, site.structure.backends))
    assert (await site.balancer.observe()).backends[0].servers_up == 1
    second = site.rig.balancer()
    os.kill(site.process.socket.workers().master, signal.SIGKILL)
    await second.start()
    view = await second.observe()
    assert [(each.group, each.servers_up) for each in view.backends if each.group == BLUE] == [(BLUE, 1)]


def disabled(backend: Backend) -> Backend:
    return replace(backend, servers=tuple(replace(each, is_enabled=False) for each in backend.servers))


async def _are_up(balancer: HaproxyBalancer, count: int) -> bool:
    return sum(each.servers_up for each in (await balancer.observe()).backends) == count
