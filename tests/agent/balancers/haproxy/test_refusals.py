"""What stands in the way of the real HAProxy: ports that are taken, files and programs that will not do."""

import asyncio
import shutil
import socket
from pathlib import Path

import pytest

from repave_agent.balancers.haproxy import process as processes
from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.clock import SystemClock
from repave_agent.core.ports import BalancerError, Structure
from tests.fakes.agent.haproxy_rig import backend, frontend, get, haproxy_rig, needs_haproxy
from tests.fakes.agent.haproxy_site import GREEN, TO_BLUE, TO_GREEN, Site
from tests.fakes.waiting import until_async
from tests.support.ports import free_port

pytestmark = needs_haproxy


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
