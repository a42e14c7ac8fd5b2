"""kill -9 of an agent in the middle of making or removing a host: what is left is listed, or swept away, and
strangers that look alike are left alone."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from repave_agent.providers.local.host import Record, Tags
from repave_agent.providers.local.provider import HALF_MADE
from repave_protos.protocol.values import RegionName
from tests.fakes.agent.local_region import NAME, Region, is_living, pack_scripts, spec

OURS = Tags("ours", RegionName("kills"))
MOMENTS = {
    "the folder is there": "host._write = die",
    "its tags are half written": "host._write = half",
    "its tags are written": "Path.rename = die_if_making",
    "its name is there": "host.start = die",
    "its process runs": "Folder.save_session = die",
    "its files are to be removed": "host.shutil.rmtree = die",
    "only its tags are left": "Path.rename = die_if_removing",
    "its name is gone": "host.remove = die_if_last",
}
AGENT = """
import asyncio, os, signal, sys
from repave_agent.clock import SystemClock
from pathlib import Path
from repave_agent.core.ports import HostSpec
from repave_protos.protocol.values import HostTemplate, Probe
from repave_agent.providers.local import host
from repave_agent.providers.local.provider import LocalProvider
from repave_agent.providers.local.host import Folder

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
def half(path, raw):
    Path(path).write_text('{"version": 1, "ta')
    die()
rename, remove = Path.rename, host.remove
def die_if_making(path, target):
    die() if path.name == ".new-shop-v001-1" else rename(path, target)
def die_if_removing(path, target):
    die() if path.name == "shop-v001-1" else rename(path, target)
def die_if_last(path):
    die() if path.name.startswith(".new-") else remove(path)

async def main(root, package, moment, is_ending):
    provider = LocalProvider(
        Path(root), "kills", lambda: "ours", clock=SystemClock(), isolation="none", stop_grace_seconds=0.3
    )
    await provider.start()
    if not is_ending:
        exec(moment)
    template = HostTemplate(("./serve",), (), Probe("http", 18432), 1.0, 30.0, 10.0)
    spec = HostSpec("shop-v001-1", "shop-v001", "shop", "d" * 64, template)
    await provider.launch(spec, Path(package))
    exec(moment)
    await provider.destroy("shop-v001-1")
asyncio.run(main(*sys.argv[1:4], sys.argv[4:] == ["ending"]))
"""
ENDING = ("its files are to be removed", "only its tags are left", "its name is gone")


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[Region]:
    made = Region(tmp_path / "region", pack_scripts(tmp_path), "none", "kills")
    yield made
    await made.close()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_whatever_a_killed_agent_leaves_of_a_host_is_found_and_ended(
    region: Region, moment: str
) -> None:
    await killed(region, moment)
    running = region.members() if (region.hosts / NAME / "host.json").exists() else []
    listed = {host.name: host for host in await region.provider.list_hosts()}
    if listed:
        assert list(listed) == [NAME]
        assert not listed[NAME].is_running
        await region.provider.destroy(NAME)
    assert [path.name for path in region.hosts.iterdir()] == []
    assert [pid for pid in running if is_living(pid)] == []
    if moment == "its process runs":
        assert running, "there was something to end"
        assert listed[NAME].ended == HALF_MADE


async def killed(region: Region, moment: str) -> None:
    argv = [sys.executable, "-c", AGENT, str(region.root), str(region.package), MOMENTS[moment]]
    argv += ["ending"] if moment in ENDING else []
    agent = await asyncio.create_subprocess_exec(*argv)
    assert await agent.wait() == -signal.SIGKILL
    assert list(region.hosts.iterdir()), "something was left behind"


@pytest.mark.parametrize("tags", [Tags("theirs", RegionName("kills")), Tags("ours", RegionName("there"))])
async def test_what_another_owner_has_not_finished_is_left_alone(region: Region, tags: Tags) -> None:
    unfinished = region.hosts / f".new-{NAME}"
    unfinished.mkdir()
    record = Record(tags, spec("serve"), "127.81.9.9", 1.0)
    (unfinished / "host.json").write_text(json.dumps({"version": 1, **asdict(record)}))
    precious = region.hosts / ".new-something"
    precious.mkdir()
    (precious / "precious").write_text("mine")
    (region.hosts / ".new-file").write_text("mine")
    assert await region.provider.list_hosts() == []
    assert {path.name for path in region.hosts.iterdir()} == {unfinished.name, precious.name, ".new-file"}
    assert (unfinished / "host.json").exists()


async def test_nothing_is_swept_before_it_is_known_whose_region_this_is(region: Region) -> None:
    (region.hosts / f".new-{NAME}").mkdir()
    region.provider._installation = lambda: ""
    assert await region.provider.list_hosts() == []
    assert (region.hosts / f".new-{NAME}").exists()


async def test_listing_does_not_sweep_a_host_that_is_being_made(region: Region) -> None:
    launches = [asyncio.create_task(region.launch("serve", name=f"shop-v001-{n}")) for n in range(1, 7)]
    while not all(launch.done() for launch in launches):
        await region.provider.list_hosts()
        await asyncio.sleep(0)
    assert all(launch.result().is_running for launch in launches)
    assert len(await region.provider.list_hosts()) == 6
