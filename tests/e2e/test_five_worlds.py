"""One release over five worlds: an SSH pool, a real OpenStack control plane, and stand-ins for AWS, Google
Cloud and Azure with their own load balancers, in three waves and under load. In the last region the new
version never gets healthy, and all five go back to the group before. docs/worlds.md shows what people see of
it, and is held to it here.

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
from urllib.parse import urlsplit

import pytest

from tests.e2e import test_cloud_balancers, test_clouds, test_openstack, test_ssh_pool
from tests.support.azure_front import AzureFront
from tests.support.example import Example
from tests.support.paths import ROOT
from tests.support.releases import clients, release
from tests.support.rigs import CloudRig, cloud_rig, on_both_addresses, reachable, why_no_cloud
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
NETS = {"gcp": 85, "azure": 86, "aws": 87}
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
STEP = re.compile(r"\[[ >+-](\w+)\]")
PAGE = ROOT / "docs" / "worlds.md"


@dataclass(frozen=True, slots=True)
class Worlds:
    machines: Pool
    clouds: dict[str, CloudRig]

    def settings(self) -> dict[str, dict[str, str]]:
        """Of the agents; the clouds' load balancers are made for it."""
        return {
            "berlin": test_ssh_pool.settings(self.machines),
            "paris": test_openstack.settings(7491),
            "dublin": self._by_a_front("aws"),
            "antwerp": self._by_a_front("gcp"),
            "amsterdam": {
                **test_clouds.settings("azure", self.clouds["azure"], "paris"),
                "REPAVE_AGENT_AZURE__PREPARE": on_both_addresses(),
                "REPAVE_AGENT_BALANCER": "azure_lb",
                "REPAVE_AGENT_AZURE_LB__LOAD_BALANCER": "front",
            },
        }

    def _by_a_front(self, name: str) -> dict[str, str]:
        return test_cloud_balancers.settings(name, self.clouds[name])

    def fronts(self) -> dict[str, str]:
        """Where clients reach the clouds' load balancers, once these listen."""
        urls = {name: [urlsplit(each["url"]) for each in rig.fronts()] for name, rig in self.clouds.items()}
        return {
            region: next(str(url.hostname) for url in urls[name] if url.port == 8000)
            for region, name in PROVIDERS.items()
            if name in urls
        }


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
    front = AzureFront(worlds.clouds["azure"])
    await front.make()
    with staged(directory / "s", regions=tuple(PROVIDERS), region_environment=worlds.settings()) as stage:
        ended, _ = await release(stage, "v1", 240, **WANTED, warm="0s")
        assert ended["phase"] == "succeeded", stage.logs()
        stage.fronts |= worlds.fronts()
        async with clients(stage, rate=100, keepalive=0) as results:  # docs/azure.md: kept ones stay
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
        assert name == "azure" or test_cloud_balancers.FRONTS[name].left(cloud) == []
        assert name == "aws" or cloud.state()["violations"] == []
    await test_openstack.nothing_is_left(stage)
    compare(shown)


async def a_bad_release(stage: Stage) -> str:
    """What people see who release it: their commands, each with its answer."""
    Example(**WANTED, sick_in="amsterdam").write(stage.directory, "v3")
    seen = []
    for command in COMMANDS:
        done = await asyncio.to_thread(stage.repave, *shlex.split(command), timeout=300)
        said = (done.stdout + done.stderr).replace("  | ready\n", "")  # of the relay on the machine
        seen.append(f"```console\n$ repave {command}\n{stages(said) if 'release' in command else said}```\n")
    return "\n".join(seen)


def stages(said: str) -> str:
    """Of a release's progress, the beginning of each wave and the end: what is between is seen by looks, and
    how many these are depends on the machine."""
    lines = [re.sub(r"^ +[\d.]+ s  ", "", line) for line in said.splitlines(keepends=True)]
    found = ((re.search(r"running, wave \d", line), line) for line in reversed(lines))
    first = {wave[0]: line for wave, line in found if wave}
    end = next(number for number, line in enumerate(lines) if "rolled-back" in line)
    return "".join([lines[0], *(first[name] + "...\n" for name in sorted(first)), *lines[end:]])


def compare(shown: str) -> None:
    """Holds the page to what was seen, times and numbers aside."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    kept, _, after = rest.partition(END)
    if os.environ.get("REPAVE_TEST_RECORD") == "1":
        PAGE.write_text(f"{before}{BEGIN}{shown}{END}{after}")
    else:
        assert shape(kept) == shape(shown)


def shape(text: str) -> list[str]:
    known = (line for line in text.splitlines() if "is not known" not in line)  # no quotas on a stand-in
    return [re.sub(r"\s+", " ", STEP.sub(r"\1", VARIES.sub("N", line))) for line in known]
