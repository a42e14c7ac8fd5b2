"""The local provider beyond the contract: how hosts end, what outlives whom, who is a stranger."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.providers.local import host as local_host
from repave_agent.providers.local import processes
from repave_agent.providers.local.host import Folder
from repave_agent.providers.local.processes import Identity, Session
from repave_agent.providers.local.provider import HALF_MADE
from repave_protos.protocol.values import HostName, RegionName
from tests.fakes.agent.local_region import (
    NAME,
    Region,
    bubblewrap_or_skip,
    is_living,
    pack_scripts,
    spec,
)
from tests.fakes.waiting import until


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[Region]:
    made = Region(tmp_path / "region", pack_scripts(tmp_path), "none", "ends")
    yield made
    await made.close()


@pytest.fixture
async def sandboxed(tmp_path: Path) -> AsyncIterator[Region]:
    bubblewrap_or_skip(tmp_path)
    made = Region(tmp_path / "region", pack_scripts(tmp_path), "bwrap", "ends")
    yield made
    await made.close()


@pytest.fixture(params=["none", "bwrap"])
def either(request: pytest.FixtureRequest) -> Region:
    found = request.getfixturevalue("region" if request.param == "none" else "sandboxed")
    assert isinstance(found, Region)
    return found


# ------------------------------------------------------------------------------------------- how hosts end


async def test_how_a_host_ended_is_told_with_the_end_of_its_log(either: Region) -> None:
    await either.launch("./crash")
    host = await either.ended()
    assert re.match(
        r"exited with code 3 after \d\.\d s; its log ends: starting \| OSError: Address already in use "
        r"\(every host has its own",
        host.ended,
    )
    assert "listen on $HOST, not on 0.0.0.0" in host.ended


async def test_a_host_that_was_killed_is_told_so(region: Region) -> None:
    told = asyncio.Event()
    region.provider.on_change(told.set)
    await region.launch("serve")
    os.kill(region.session().leader.pid, signal.SIGKILL)
    await until(told.is_set)
    assert (await region.listed()).ended.startswith("was ended by SIGKILL after 0.")


async def test_an_adopted_host_that_is_killed_is_told_too(either: Region) -> None:
    await either.launch("serve")
    await either.provider.close()
    told = asyncio.Event()
    either.restart().on_change(told.set)
    assert (await either.listed()).is_running
    os.kill(either.session().group_leader.pid, signal.SIGKILL)
    await until(told.is_set)
    assert (await either.listed()).ended == "ended; its log is empty"


async def test_a_host_may_end_in_peace(either: Region) -> None:
    await either.launch("./graceful")
    await either.says("ready")
    log = either.hosts / NAME / "output.log"
    with log.open("rb") as kept_open:
        await either.provider.destroy(NAME)
        assert kept_open.read().endswith(b"bye\n")


async def test_a_host_that_ignores_its_end_is_killed_with_all_its_children(either: Region) -> None:
    await either.launch("./stubborn")
    await either.says("ready")
    members = either.members()
    assert len(members) >= 2
    await either.provider.destroy(NAME)
    assert [pid for pid in members if is_living(pid)] == []
    assert list(either.hosts.iterdir()) == []


async def test_children_of_a_host_end_with_it(region: Region) -> None:
    await region.launch("./parent")
    child = int((await region.says("child")).split()[1])
    assert is_living(child)
    await region.provider.destroy(NAME)
    assert not is_living(child)


async def test_a_child_that_outlives_its_host_is_found_by_its_output(either: Region) -> None:
    await either.launch("./leaver")
    await either.ended()
    left = either.members()
    await either.provider.destroy(NAME)
    assert [pid for pid in left if is_living(pid)] == []
    if either.isolation == "none":
        assert left, "there was something to find"


DAEMONS = {
    "leaves its session": "(setsid sleep 600 &)",
    "forks twice": "(setsid sh -c 'sleep 600 & exit' &)",
    "closes what it inherited": "(setsid sh -c 'exec sleep 600 <&- >&- 2>&-' &)",
    "prints elsewhere": "(setsid sh -c 'cd /; exec sleep 600 >/dev/null 2>&1' &)",
    "has an environment of its own": "(setsid env -i ./napper 600 >/dev/null 2>&1 &)",
    "ignores signals": "(setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' >/dev/null 2>&1 &)",
}


@pytest.mark.parametrize("way", DAEMONS)
@pytest.mark.parametrize("then", ["exec sleep 600", "exit 0"], ids=["host-runs", "host-ended"])
async def test_a_daemon_that_leaves_its_host_ends_with_it(either: Region, way: str, then: str) -> None:
    await either.launch("sh", "-c", f"{DAEMONS[way]}; sleep 0.1; echo ready; {then}")
    await either.says("ready")
    if then == "exit 0":
        await either.ended()
    left = either.members()
    assert left or either.isolation == "bwrap", "there is something to find"
    await either.restart().destroy(NAME)
    assert [pid for pid in left if is_living(pid)] == []
    assert list(either.hosts.iterdir()) == []


async def test_killing_the_outer_process_neither_hides_nor_keeps_the_inner_one(
    sandboxed: Region,
) -> None:
    await sandboxed.launch("serve")
    session = sandboxed.session()
    assert session.inner is not None
    os.kill(session.leader.pid, signal.SIGKILL)
    assert (await sandboxed.ended()).ended.startswith("was ended by SIGKILL")
    await sandboxed.provider.destroy(NAME)
    assert not processes.is_alive(session.inner)
    assert list(sandboxed.hosts.iterdir()) == []


async def test_killing_only_the_inner_process_ends_the_host(sandboxed: Region) -> None:
    await sandboxed.launch("serve")
    session = sandboxed.session()
    assert session.inner is not None
    os.kill(session.inner.pid, signal.SIGKILL)
    assert not (await sandboxed.ended()).is_running
    await until(lambda: not processes.is_alive(session.leader))


# ------------------------------------------------------------------------------------------- adoption

AGENT = """
import asyncio, sys
from pathlib import Path
from repave_agent.clock import SystemClock
from repave_agent.core.ports import HostSpec
from repave_protos.protocol.values import HostTemplate, Probe
from repave_agent.providers.local.provider import LocalProvider
async def main(root, package, isolation):
    provider = LocalProvider(Path(root), "ends", lambda: "ours", clock=SystemClock(), isolation=isolation)
    template = HostTemplate(("./serve",), (), Probe("http", 18432), 1.0, 30.0, 10.0)
    spec = HostSpec("shop-v001-1", "g", "shop", "d" * 64, template)
    await provider.launch(spec, Path(package))
    print("launched", flush=True)
    await asyncio.sleep(600)
asyncio.run(main(*sys.argv[1:]))
"""


async def test_hosts_outlive_an_agent_that_is_killed(either: Region) -> None:
    argv = [sys.executable, "-c", AGENT, str(either.root), str(either.package), either.isolation]
    agent = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert agent.stdout is not None
    while b"launched" not in (line := await agent.stdout.readline()):
        assert line, "the agent ended early"
    agent.kill()
    await agent.wait()
    assert (await either.listed()).is_running
    assert await either.provider.execute(NAME, ("true",), 10.0) == 0
    await either.provider.destroy(NAME)
    assert list(either.hosts.iterdir()) == []


async def test_a_pid_that_belongs_to_somebody_else_by_now_is_left_alone(region: Region) -> None:
    await region.launch("serve")
    folder = Folder(region.hosts / NAME)
    real = region.session()
    innocent = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    try:
        folder.save_session(Session(Identity(innocent.pid, 1, real.leader.boot)))
        region.restart()
        assert not (await region.listed()).is_running
        await region.provider.destroy(NAME)
        assert is_living(innocent.pid)
    finally:
        innocent.kill()
        await innocent.wait()
    assert not processes.is_alive(real.leader), "the real one was found by its output"


async def test_a_host_from_before_a_reboot_has_ended(region: Region) -> None:
    await region.launch("serve")
    real = region.session()
    Folder(region.hosts / NAME).save_session(Session(replace(real.leader, boot="another boot")))
    region.restart()
    assert not (await region.listed()).is_running


async def test_a_half_made_host_is_listed_as_ended_and_can_be_destroyed(either: Region) -> None:
    """The agent was killed after it started the processes, before it noted them down."""
    await either.launch("serve")
    session = either.session()
    (either.hosts / NAME / "process.json").unlink()
    either.restart()
    host = await either.listed()
    assert (host.is_running, host.ended) == (False, HALF_MADE)
    await either.provider.destroy(NAME)
    assert not processes.is_alive(session.leader)
    assert not processes.is_alive(session.inner)
    assert list(either.hosts.iterdir()) == []


async def test_a_half_made_host_can_be_launched_again(region: Region) -> None:
    record = local_host.Record(local_host.Tags("ours", RegionName("ends")), spec("serve"), "127.81.9.9", 1.0)
    Folder(region.hosts / NAME).create(record)
    (region.hosts / f".new-{NAME}").mkdir()
    host = await region.launch("serve")
    assert host.is_running
    assert host.address != "127.81.9.9"
    assert [path.name for path in region.hosts.iterdir()] == [NAME]


async def test_strangers_in_the_folder_are_left_alone(region: Region) -> None:
    for name, text in {"none": None, "broken": "{", "newer": '{"version": 99}', "list": "[]"}.items():
        (region.hosts / name).mkdir()
        if text is not None:
            (region.hosts / name / "host.json").write_text(text)
    await region.launch("serve")
    raw = json.loads((region.hosts / NAME / "host.json").read_text())
    (region.hosts / "renamed").mkdir()
    (region.hosts / "renamed" / "host.json").write_text(json.dumps(raw))
    (region.hosts / "a-file").write_text("")
    before = sorted(region.hosts.iterdir())
    assert [host.name for host in await region.provider.list_hosts()] == [NAME]
    for path in before:
        if path.name != NAME:
            await region.provider.destroy(HostName(path.name))
    assert sorted(region.hosts.iterdir()) == before
    (region.hosts / "a-file").unlink()


async def test_a_caller_who_gives_up_does_not_stop_a_launch_half_way(region: Region) -> None:
    launch = asyncio.create_task(region.launch("serve"))
    await until(lambda: (region.hosts / NAME).exists())
    launch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await launch
    assert (await region.launch("serve")).is_running
    assert len(await region.provider.list_hosts()) == 1
