"""The real HAProxy under load, when it dies, and when somebody meddles with it."""

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from repave_agent.balancers.haproxy import balancer as haproxy_balancer
from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.core.ports import Route, Structure, UnfitError
from repave_protos.protocol.values import ApplicationName, GroupName, Timeouts
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend, frontend, get, needs_haproxy
from tests.fakes.agent.haproxy_site import BLUE, GREEN, SHOP, TO_BLUE, TO_GREEN, UPGRADE, Site
from tests.fakes.waiting import until, until_async
from tests.fakes.web import Web
from tests.support.load import Load
from tests.support.ports import free_port

pytestmark = needs_haproxy


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
    monkeypatch.setattr(haproxy_balancer, "check_structure", lambda *_: None)
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


async def test_hosts_join_a_backend_and_are_checked_without_a_reload(site: Site) -> None:
    """With one that was arranged before there was any; only to leave takes a reload."""
    joined = backend("shop-v003", *(site.rig.webs[1].port for _ in range(3)))
    with_room = Structure(site.structure.frontends, (*site.structure.backends, replace(joined, servers=())))
    await site.balancer.arrange(with_room)
    assert (await site.balancer.observe()).structure == with_room
    before = site.process.socket.workers(), site.second_process.socket.workers()
    for count in (2, 3):
        some = replace(joined, servers=joined.servers[:count])
        wanted = Structure(site.structure.frontends, (*site.structure.backends, some))
        await site.balancer.arrange(wanted)
        assert (await site.balancer.observe()).structure == wanted

        async def are_up(count: int = count) -> bool:
            view = (await site.balancer.observe()).backend(joined.group)
            return view is not None and view.servers_up == count

        await until_async(are_up)
    assert (site.process.socket.workers(), site.second_process.socket.workers()) == before
    await site.balancer.route((Route(SHOP, joined.group),))
    assert await get(site.port) == "green"
    site.process.end()
    assert (await site.balancer.observe()).structure == wanted, "a restart forgot them"
    elsewhere = replace(joined, servers=(replace(joined.servers[0], port=site.rig.webs[0].port),))
    await site.balancer.arrange(Structure(site.structure.frontends, (*site.structure.backends, elsewhere)))
    assert await get(site.port) == "blue"


async def test_a_host_that_did_not_join_is_not_told_to_be_there(site: Site) -> None:
    """As after a crash between the disk and HAProxy: also the next agent has it join."""
    wider = backend(GREEN, *(site.rig.webs[1].port for _ in range(2)))
    structure = Structure(site.structure.frontends, (site.structure.backends[0], wider))
    await site.balancer.arrange(structure)
    worker = site.process.socket.workers().newest
    assert worker is not None
    gone = f"{GREEN}/{wider.servers[1].host}"
    site.process.socket.ask(f"@!{worker} set server {gone} state maint;@!{worker} del server {gone}")
    assert (await site.balancer.observe()).structure == site.structure
    await site.balancer.close()
    successor = site.rig.balancer(redispatch=False)
    await successor.start()
    assert (await successor.observe()).structure == site.structure
    await successor.arrange(structure)
    assert (await successor.observe()).structure == structure
    assert site.process.socket.workers().newest == worker


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
