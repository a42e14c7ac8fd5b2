"""One release over five worlds: an SSH pool, a real OpenStack control plane and stand-ins for AWS, Google
Cloud and Azure, in three waves and under load. In the last region the new version never gets healthy, and all
five go back to the group before. docs/worlds.md shows what people see of it, and is held to it here.

With REPAVE_TEST_RECORD=1 what was seen is written into that page.
"""

import asyncio
import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import test_clouds, test_openstack, test_ssh_pool
from tests.support.example import Example
from tests.support.paths import ROOT
from tests.support.releases import clients, release
from tests.support.rigs import CloudRig, cloud_rig, reachable, why_no_cloud
from tests.support.sshd_hosts import Pool, pool, why_not
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.usefixtures("rig"), pytest.mark.timeout(900)]
PROVIDERS = {
    "berlin": "ssh_pool",
    "paris": "openstack",
    "dublin": "aws",
    "antwerp": "gcp",
    "amsterdam": "azure",
}
NETS = {"gcp": 95, "azure": 96, "aws": 97}
WAVES = """\
waves:
  - {regions: berlin, bake: 2s}
  - {regions: [paris, dublin], bake: 2s}
  - {regions: [antwerp, amsterdam]}
"""
WANTED: dict[str, Any] = {
    "regions": tuple(PROVIDERS),
    "provider": PROVIDERS,
    "size": 1,
    "environment": {},
    "launch_deadline": "60s",
    "more": WAVES,
}
COMMANDS = (
    "plan -f v3.yaml --version v3",
    "release -f v3.yaml --version v3",
    "why hello",
    "status hello",
    "history hello",
)
BEGIN, END = "<!-- what was seen -->\n", "<!-- end of what was seen -->\n"
VARIES = re.compile(r"\b[0-9a-f]{12}\b|plan [0-9A-F]{8}|--plan [0-9A-F]{8}|\w+@\w+|\d[\d.,]*( ms| s| min)?")
PAGE = ROOT / "docs" / "worlds.md"


@dataclass(frozen=True, slots=True)
class Worlds:
    machines: Pool
    clouds: dict[str, CloudRig]

    def settings(self) -> dict[str, dict[str, str]]:
        found = {"berlin": test_ssh_pool.settings(self.machines), "paris": test_openstack.settings(7491)}
        for region, provider in PROVIDERS.items():
            if provider in self.clouds:
                found[region] = test_clouds.settings(provider, self.clouds[provider], "paris")
        return found


@pytest.fixture
def worlds(directory: Path) -> Iterator[Worlds]:
    reasons = [why_not(), *(why_no_cloud(each) for each in NETS)]
    if reason := next(filter(None, reasons), ""):
        pytest.skip(reason)
    with ExitStack() as undo:
        machines = undo.enter_context(pool(directory / "pool", 3, 242))
        clouds = {}
        for name, net in NETS.items():
            undo.enter_context(reachable("172.31.0.0/16" if name == "aws" else f"10.{net}.0.0/16"))
            clouds[name] = undo.enter_context(cloud_rig(name, directory / name, net))
            clouds[name].reset(run_user_data=True, boot_seconds=0.2, operation_seconds=0.2)
        yield Worlds(machines, clouds)


async def test_a_failure_in_the_last_of_five_worlds_sends_all_of_them_back(
    directory: Path, worlds: Worlds
) -> None:
    with staged(directory / "s", regions=tuple(PROVIDERS), region_environment=worlds.settings()) as stage:
        ended, _ = await release(stage, "v1", 240, **WANTED, warm="0s")
        assert ended["phase"] == "succeeded", stage.logs()
        async with clients(stage, rate=100) as results:
            ended, _ = await release(stage, "v2", 240, **WANTED)
            assert ended["phase"] == "succeeded", stage.logs()
            shown = await a_bad_release(stage)
        for region, result in results.items():
            assert result.failures == (), result.summary()
            versions = {each.version for each in result.requests}
            assert versions == {"v1", "v2", *({"v3"} if region not in ("antwerp", "amsterdam") else ())}
        served = {region: {"hello-v002": 10_000} for region in PROVIDERS}
        assert stage.weights() == served
        orphans = await asyncio.to_thread(stage.repave, "orphans", "-o", "json")
        assert json.loads(orphans.stdout)["items"] == []
    for name, cloud in worlds.clouds.items():
        assert cloud.instances() == []
        assert name == "aws" or cloud.state()["violations"] == []
    await test_openstack.nothing_is_left(stage)
    compare(shown)


async def a_bad_release(stage: Stage) -> str:
    """What people see who release it: their commands, each with its answer."""
    Example(**WANTED, sick_in="amsterdam").write(stage.directory, "v3")
    seen = []
    for command in COMMANDS:
        done = await asyncio.to_thread(stage.repave, *shlex.split(command), timeout=300)
        said = done.stdout + done.stderr
        seen.append(f"```console\n$ repave {command}\n{stages(said) if 'release' in command else said}```\n")
    return "\n".join(seen)


def stages(said: str) -> str:
    """Of a release's progress, in what stage it is as a whole: how often hosts are looked at until each is
    reached depends on the machine."""
    told = [re.sub(r"^ +[\d.]+ s  ", "", line) for line in said.splitlines(keepends=True)]
    ahead = [line for line in told if line.startswith(("storing", "release of")) and "undoing" not in line]
    return "".join([*ahead[:-1], "...\n", *told[told.index(ahead[-1]) :]])


def compare(shown: str) -> None:
    """Holds the page to what was seen, times and numbers aside."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    kept, _, after = rest.partition(END)
    if os.environ.get("REPAVE_TEST_RECORD") == "1":
        PAGE.write_text(f"{before}{BEGIN}{shown}{END}{after}")
    else:
        assert shape(kept) == shape(shown)


def shape(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", VARIES.sub("N", line)) for line in text.splitlines()]
