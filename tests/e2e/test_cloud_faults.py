"""Every fault of the stand-ins for clouds at every call that a release makes, one release after the other
under load: no request is lost, each host has one machine, no other is left, and what goes on for longer is
said by `repave why`. Minutes: `make test-rigs`.
"""

import asyncio
import itertools
import re
import urllib.error
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.agent.providers.cloud.test_faults import FAULTS
from tests.e2e.test_clouds import REGIONS, settings
from tests.support.clouds import CLOUDS
from tests.support.releases import clients, release
from tests.support.rigs import CloudRig
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.timeout(2400)]
SECONDS = 200.0
FORBIDDEN = "Required permission is missing"
LASTING: tuple[tuple[dict[str, Any], str], ...] = (
    ({"do": "error", "status": 403, "code": "forbidden", "message": FORBIDDEN}, FORBIDDEN),
    ({"do": "capacity"}, "sufficient .*capacity|enough resources"),
    ({"do": "quota"}, "quota|limit"),
    ({"do": "throttle", "seconds": 1}, "429|RequestLimitExceeded|throttl"),
    (
        {"do": "fail_late", "seconds": 0.1, "code": "InternalError", "message": "Disks are away"},
        "Disks are away|InternalError",
    ),
    ({"do": "stuck"}, "0 of 1 hosts run"),
)
"""Faults of the call that makes a machine which do not end by themselves, and what is said of each."""


def wanted(name: str) -> dict[str, Any]:
    return {
        "provider": name,
        "regions": ("paris",),
        "launch_deadline": "90s",
        "size": 1,
        "environment": {},
        "warm": "0s",
        "keep": "0s",
        "drain": "1s",
    }


@asynccontextmanager
async def serving_v1(name: str, rig: CloudRig, directory: Path) -> AsyncIterator[Stage]:
    """One region with one host; nothing of it may be left in the cloud afterwards."""
    environment = {"paris": settings(name, rig, "paris")}
    with staged(directory / "s", regions=("paris",), region_environment=environment) as stage:
        ended, _ = await release(stage, "v1", SECONDS, **wanted(name))
        assert ended["phase"] == "succeeded", stage.logs()
        yield stage
    assert rig.instances() == []
    assert not CLOUDS[name].tells_state or rig.state()["violations"] == []


@pytest.mark.parametrize("cloud", [*REGIONS], indirect=True)
async def test_no_fault_of_any_call_of_a_release_loses_a_request_or_leaves_a_machine(
    cloud: tuple[str, CloudRig], directory: Path
) -> None:
    name, rig = cloud
    async with serving_v1(name, rig, directory) as stage:
        async with clients(stage, rate=40) as results:
            versions = itertools.count(2)
            for call, fault in itertools.product(CLOUDS[name].calls, FAULTS):
                rig.fault(call, **fault)
                ended, _ = await release(stage, f"v{next(versions)}", SECONDS, **wanted(name))
                case = f"{call} {fault}: {ended['phase']}: {ended['outcome']}"
                print(case)
                has_group = ended["phase"] == "succeeded"
                assert has_group or str(fault.get("message", "?")) in str(ended["outcome"]), case
                rig.forget_faults()
                await one_machine_serves(stage, rig, str(ended["group" if has_group else "origin"]), case)
        for result in results.values():
            assert result.failures == (), result.summary()


@pytest.mark.parametrize("cloud", [*REGIONS], indirect=True)
async def test_a_fault_that_lasts_is_said_by_why_and_a_machine_that_is_lost_is_replaced(
    cloud: tuple[str, CloudRig], directory: Path
) -> None:
    name, rig = cloud
    async with serving_v1(name, rig, directory) as stage:
        async with clients(stage, rate=40) as results:
            for number, (fault, words) in enumerate(LASTING, 2):
                rig.fault(CLOUDS[name].create, **fault, times=0)
                await it_is_said_and_undone(stage, rig, f"v{number}", name, words)
        for result in results.values():
            assert result.failures == (), result.summary()
            assert {each.version for each in result.requests} == {"v1"}
        for what in ("die", "vanish"):
            await a_machine_is_replaced(stage, rig, what)


async def until(stage: Stage, condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    await asyncio.to_thread(stage.wait, condition, what, seconds)


async def one_machine_serves(stage: Stage, rig: CloudRig, group: str, case: str) -> None:
    """Of all groups, this one; no machine beside its host's is there."""

    def is_so() -> bool:
        return stage.weights() == {"paris": {group: 10_000}} and len(rig.instances()) == 1

    await until(stage, is_so, f"{case}: one machine of {group}")


async def it_is_said_and_undone(stage: Stage, rig: CloudRig, version: str, name: str, words: str) -> None:
    """While no machine can be made, the group before serves on, and `why` has the cloud's own words."""
    before, there = serving(stage), [each["name"] for each in rig.instances()]
    await asyncio.to_thread(stage.release, version, **wanted(name))

    def is_said() -> bool:
        return re.search(words, stage.repave("why", "hello").stdout, re.IGNORECASE) is not None

    await until(stage, is_said, f"{words}, as said by why")
    await asyncio.to_thread(stage.repave, "abort", "hello", "--detach")  # if it has not gone back by itself
    rig.forget_faults()
    for each in rig.instances():
        if each["name"] not in there:  # built for ever; an agent that starts anew does not wait for it
            with suppress(urllib.error.HTTPError):  # Azure's stand-in has it gone by then
                rig.act(each["name"], "vanish")
            await asyncio.to_thread(stage.kill_agent, "paris")
            await asyncio.to_thread(stage.start_agent, "paris")
    ended = await asyncio.to_thread(stage.ended, SECONDS)
    assert ended["phase"] in ("aborted", "rolled-back"), ended
    await one_machine_serves(stage, rig, before, words)


async def a_machine_is_replaced(stage: Stage, rig: CloudRig, what: str) -> None:
    """Nothing is left of one that died or vanished."""
    (before,) = rig.instances()
    rig.act(str(before["name"]), what)

    def is_healed() -> bool:
        there = rig.instances()
        return len(there) == 1 and there[0]["address"] != before["address"] and is_up()

    def is_up() -> bool:
        (region,) = stage.get("applications/hello")["region_items"]
        return any(each["weight_bp"] == 10_000 and each["verified"] == 1 for each in region["groups"])

    await until(stage, is_healed, f"a machine in place of one that did {what}")


def serving(stage: Stage) -> str:
    (group,) = stage.weights()["paris"]
    return group
