"""Two HAProxys on one address: what one of them takes with it when it dies, and what the other does then."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.balancers.haproxy.process import HaproxyProcess
from repave_agent.balancers.haproxy.socket import Workers
from repave_agent.core.ports import Backend, BalancerError, Route, Structure
from repave_protos.protocol.values import GroupName
from tests.fakes.agent.haproxy_rig import backend, frontend, haproxy_rig, needs_haproxy
from tests.fakes.agent.haproxy_site import BLUE, GREEN, SHOP, TO_BLUE, TO_GREEN, Site
from tests.fakes.waiting import until, until_async
from tests.support.clients import lost
from tests.support.load import Load
from tests.support.ports import free_port

pytestmark = needs_haproxy

CONNECTIONS = 16
"""Of a load: so many requests can be in flight at most."""


@dataclass
class Pair(Site):
    """The same, with both HAProxys looked at."""

    @property
    def processes(self) -> list[HaproxyProcess]:
        return [self.process, self.second_process]

    def workers(self) -> list[int]:
        found = [process.look_up() for process in self.processes]
        return [workers.newest or 0 for workers in found if workers is not None]

    async def load(self) -> Load:
        load = Load(f"http://127.0.0.1:{self.port}/", rate=500, keepalive=8, closing=CONNECTIONS - 8)
        await load.start()
        await _more_answers(load, 50)
        return load


@pytest.fixture
async def site() -> AsyncIterator[Pair]:
    async with haproxy_rig() as rig:
        balancer = rig.balancer(redispatch=False)
        await balancer.start()
        port = free_port()
        blue, green = await rig.web("blue"), await rig.web("green")
        backends = (backend(BLUE, blue.port), backend(GREEN, green.port))
        structure = Structure((frontend("shop", port),), backends)
        await balancer.arrange(structure)
        await balancer.route((TO_BLUE,))
        yield Pair(rig, balancer, port, structure)


@pytest.mark.parametrize("is_agent_there", [True, False], ids=["agent", "no-agent"])
async def test_workers_killed_one_after_the_other_lose_what_they_had_in_flight_and_nothing_else(
    site: Pair, is_agent_there: bool
) -> None:
    if not is_agent_there:
        await site.balancer.close()
    load = await site.load()
    deaths: list[tuple[float, float]] = []  # it takes connections until the kernel has closed its sockets
    for side in (0, 1, 0):
        worker = site.workers()[side]
        killed_at = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        await until(partial(_is_gone, worker))
        deaths.append((killed_at, time.monotonic()))
        await until_async(partial(_are_back, site, worker))
        await _more_answers(load, 50)
    result = await load.stop()
    assert lost(result, *deaths) == ()
    assert len(result.failures) <= len(deaths) * CONNECTIONS
    assert result.answered_by("blue") == len(result.requests) - len(result.failures)


async def test_both_serve(site: Pair) -> None:
    connections = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(24)]
    assert all([await _has_connection(process) for process in site.processes])
    for _, writer in connections:
        writer.close()


@pytest.mark.parametrize("side", [0, 1])
async def test_one_that_can_not_be_started_does_not_hold_up_the_other(site: Pair, side: int) -> None:
    """A change is complete without it, and it has the change as soon as it runs again."""
    broken = site.processes[side]
    load = await site.load()
    program, broken_program = site.balancer._sides[side].instance.process, "/bin/false"
    program.program = broken_program
    await asyncio.to_thread(broken.end)
    newcomer = await site.rig.web("newcomer")
    group = GroupName("shop-v003")
    wanted = Structure(
        (*site.structure.frontends, frontend("blog", free_port())),
        (*site.structure.backends, backend(group, newcomer.port)),
    )
    await site.balancer.arrange(wanted)
    await until_async(lambda: _is_up(site.balancer, group))
    await site.balancer.route((Route(SHOP, group),))
    switched = time.monotonic()
    view = await site.balancer.observe()
    assert (view.is_running, view.structure, view.routes) == (True, wanted, (Route(SHOP, group),))
    (told,) = await site.balancer.troubles()
    assert told.startswith("balancer: one of two HAProxys does not run, the other serves alone: /bin/false ")
    program.program = "haproxy"
    view = await site.balancer.observe()
    assert (view.structure, view.routes) == (wanted, (Route(SHOP, group),))
    assert await site.balancer.troubles() == []
    assert len(site.workers()) == 2
    await _more_answers(load, 100)
    result = await load.stop()
    assert len(result.failures) <= CONNECTIONS
    assert result.answered_by("blue", after=switched) == 0
    assert result.answered_by("newcomer", after=switched) > 0


async def test_what_only_one_of_them_has_has_not_happened(site: Pair) -> None:
    """Its configuration is refused by one: the change fails, and what was shown is what both had."""
    second = site.balancer._sides[1].instance.process
    second.program = "/bin/false"
    third = asked_at("/other", backend("shop-v003", free_port()))
    wanted = Structure(
        site.structure.frontends, (*site.structure.backends[1:], third, site.structure.backends[0])
    )
    with pytest.raises(BalancerError, match="/bin/false is not HAProxy"):
        await site.balancer.arrange(wanted)
    assert (await site.balancer.observe()).structure == site.structure
    second.program = "haproxy"
    await site.balancer.arrange(wanted)
    assert (await site.balancer.observe()).structure == wanted


def asked_at(path: str, backend: Backend) -> Backend:
    """With another check than the others."""
    return replace(backend, probe=replace(backend.probe, path=path))


async def test_the_program_reads_what_is_of_a_new_kind_and_once_for_both(
    site: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = HaproxyProcess.check

    def check(self: HaproxyProcess, configuration: Path) -> None:
        read.append(configuration)
        real(self, configuration)

    monkeypatch.setattr(HaproxyProcess, "check", check)
    same = Structure(site.structure.frontends, (*site.structure.backends, backend("shop-v003", free_port())))
    other = replace(same, backends=(*same.backends, asked_at("/other", backend("shop-v004", free_port()))))
    door = replace(other, frontends=(*other.frontends, frontend("blog", free_port())))
    for wanted, times in ((same, 0), (site.structure, 0), (other, 1), (same, 0), (door, 1)):
        read.clear()
        await site.balancer.arrange(wanted)
        assert (await site.balancer.observe()).structure == wanted
        assert len(read) == times


async def test_a_reload_that_failed_has_the_program_read_and_say_why(
    site: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Structure(
        site.structure.frontends, (*site.structure.backends, backend("shop-v003", free_port()))
    )

    def fail(self: HaproxyProcess, before: Workers) -> Workers:
        raise BalancerError("HAProxy could not reload")

    def complain(self: HaproxyProcess, configuration: Path) -> None:
        raise BalancerError("too many of them")

    with monkeypatch.context() as patch:
        patch.setattr(HaproxyProcess, "reload", fail)
        patch.setattr(HaproxyProcess, "check", complain)
        for why in ("could not reload", "too many of them"):
            with pytest.raises(BalancerError, match=why):
                await site.balancer.arrange(wanted)
    await site.balancer.arrange(wanted)
    assert (await site.balancer.observe()).structure == wanted


async def test_a_program_that_was_replaced_and_does_not_work_ends_nothing(tmp_path: Path) -> None:
    """As by an update that was cut off: a reload would start it, and the master be gone, its workers too."""
    program = tmp_path / "haproxy"
    shutil.copy(shutil.which("haproxy") or "", program)
    async with haproxy_rig() as rig:
        balancer = rig.balancer(program=str(program))
        await balancer.start()
        port, blue = free_port(), await rig.web("blue")
        structure = Structure((frontend("shop", port),), (backend(BLUE, blue.port),))
        await balancer.arrange(structure)
        site = Pair(rig, balancer, port, structure)
        masters = [process.look_up() for process in site.processes]
        more = replace(structure, backends=(*structure.backends, backend(GREEN, free_port())))
        program.rename(program.with_suffix(".old"))
        program.write_text("#!/bin/sh\nexit 127\n")
        program.chmod(0o755)
        with pytest.raises(BalancerError, match="is not HAProxy"):
            await balancer.arrange(more)
        assert [process.look_up() for process in site.processes] == masters
        program.with_suffix(".old").replace(program)
        await balancer.arrange(more)
        assert (await balancer.observe()).structure == more


async def test_an_agent_that_died_between_the_two_is_made_up_for_by_the_next(site: Pair) -> None:
    await site.balancer.close()
    path = site.processes[1].configuration_path
    path.write_text(path.read_text().replace(f"{GREEN}-0", f"{GREEN}-9"))
    site.processes[1].map_path.write_text(f"shop {BLUE}|{GREEN}|5000\n")
    second = site.rig.balancer(redispatch=False)
    await second.start()
    view = await second.observe()
    assert (view.structure, view.routes) == (site.structure, (TO_BLUE,))


async def test_switches_while_workers_are_killed_send_nothing_back(site: Pair) -> None:
    load = await site.load()
    spans: list[tuple[str, float, float]] = []  # side off, acknowledged, flipped back from
    for flip in range(6):
        route, off = ((TO_GREEN, "blue"), (TO_BLUE, "green"))[flip % 2]
        switch = asyncio.create_task(site.balancer.route((route,)))
        os.kill(site.workers()[flip % 2], signal.SIGKILL)
        await switch
        acknowledged = time.monotonic()
        await _more_answers(load, 30)
        spans.append((off, acknowledged, time.monotonic()))
        await until_async(partial(_are_back, site, 0))
    result = await load.stop()
    for off, acknowledged, before in spans:
        assert result.answered_by(off, after=acknowledged, before=before) == 0


@pytest.mark.parametrize("processes", [(1, 2), (2, 1)], ids=str)
async def test_the_number_of_processes_can_be_changed_under_load(processes: tuple[int, int]) -> None:
    before, after = processes
    async with haproxy_rig() as rig:
        first = rig.balancer(processes=before)
        await first.start()
        port, blue = free_port(), await rig.web("blue")
        structure = Structure((frontend("shop", port),), (backend(BLUE, blue.port),))
        await first.arrange(structure)
        await first.route((TO_BLUE,))
        site = Pair(rig, first, port, structure)
        load = await site.load()
        await first.close()
        second = rig.balancer(processes=after)
        await second.start()
        assert len(site.workers()) == after
        view = await second.observe()
        assert (view.structure, view.routes) == (structure, (TO_BLUE,))
        await _more_answers(load, 50)
        result = await load.stop()
        assert len(result.failures) <= (CONNECTIONS if after == 1 else 0)


@pytest.mark.parametrize("share", [10_000, 5_000], ids=["soak", "canary"])
async def test_the_spare_answers_while_no_host_of_the_new_group_is_up(site: Pair, share: int) -> None:
    """HAProxy does it by itself, and each worker knows from the one before it who is down. What got an error
    was on its way before a check had failed."""
    split = Route(SHOP, GREEN) if share == 10_000 else Route(SHOP, BLUE, GREEN, share)
    fallback, green = replace(split, spare=BLUE), site.rig.webs[1]
    await site.balancer.route((fallback,))
    await until_async(lambda: _is_up(site.balancer, GREEN))
    load = await site.load()
    await green.stop()
    await until_async(lambda: _is_down(site, GREEN))
    down_at = time.monotonic()
    await _more_answers(load, 100)
    relief = replace(site.structure.backends[1], group=GroupName("shop-v003"))
    await site.balancer.arrange(replace(site.structure, backends=(*site.structure.backends, relief)))
    await _more_answers(load, 200)
    healing_at = time.monotonic()
    assert await _fallen_back(site) >= 50
    await green.start()
    await until_async(lambda: _is_up(site.balancer, GREEN))
    up_at = time.monotonic()
    await _more_answers(load, 200)
    counted = await _fallen_back(site)
    await _more_answers(load, 100)
    view, result = await site.balancer.observe(), await load.stop()
    assert [each for each in result.failures if each.begun > down_at] == []
    assert result.answered_by("blue", after=down_at, before=healing_at) >= 100
    assert result.answered_by("green", after=up_at, before=time.monotonic()) > 0
    assert view.route(SHOP) == fallback
    assert await _fallen_back(site) == counted, "it still falls back, though a host is up"


async def _more_answers(load: Load, count: int) -> None:
    wanted = load.answers + count
    await until(lambda: load.answers >= wanted)


def _is_gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


async def _are_back(site: Pair, dead: int) -> bool:
    workers = await asyncio.to_thread(site.workers)
    return len(workers) == 2 and dead not in workers


async def _is_up(balancer: HaproxyBalancer, group: GroupName) -> bool:
    view = (await balancer.observe()).backend(group)
    return view is not None and view.servers_up > 0


async def _fallen_back(site: Pair) -> int:
    """How many requests for the new group the old one has answered."""
    (counted,) = (await site.balancer.observe()).fallen_back
    assert (counted.application, counted.group, counted.spare) == (SHOP, GREEN, BLUE)
    return counted.requests


async def _is_down(site: Pair, group: GroupName) -> bool:
    """In the eyes of both, for themselves: their views together take the fewest."""
    views = [await asyncio.to_thread(_servers_up, process, group) for process in site.processes]
    return views == [0, 0]


def _servers_up(process: HaproxyProcess, group: GroupName) -> int:
    worker = process.socket.workers().newest
    state = process.socket.worker_state(worker or 0)
    return sum(each.is_up for each in state.servers if each.group == group)


async def _has_connection(process: HaproxyProcess) -> bool:
    worker = process.socket.workers().newest
    answer = process.socket.ask(f"@!{worker} show stat 2 1 -1")
    return any(int(row.split(",")[4]) > 0 for row in answer.splitlines() if row.startswith("shop,"))
