"""Worn hosts on real processes: a host that somebody changed, one that a person taints, a whole group that is
renewed, and hosts that are too old are all replaced while clients lose nothing."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
WATCHFUL = {
    "regions": ("paris",),
    "agent_environment": {
        "REPAVE_AGENT_LIMITS__INSPECT_SECONDS": "0.2",
        "REPAVE_AGENT_HAPROXY__REDISPATCH": "false",
    },
}
GROUP = "hello-v001"
QUICK = {"interval": "200ms", "drain": "1s", "warm": "0s"}


def told(stage: Stage, kind: str) -> list[str]:
    events: list[dict[str, Any]] = stage.get("events?newest=1&limit=1000")["items"]
    return [event["host"] for event in events if event["kind"] == kind]


def is_replaced(stage: Stage, *numbers: int, size: int) -> bool:
    hosts = stage.hosts()["paris"]
    gone = {f"{GROUP}-{number}" for number in numbers}
    return gone <= set(told(stage, "host.replaced")) and len(hosts) == size and not gone & set(hosts)


@pytest.mark.parametrize("stage", [WATCHFUL], indirect=True, ids=["paris"])
async def test_changed_and_tainted_hosts_are_replaced_and_no_request_is_lost(stage: Stage) -> None:
    await asyncio.to_thread(stage.release, "v1", size=3, upkeep=("drift: taint",), **QUICK)
    assert (await asyncio.to_thread(stage.ended))["phase"] == "succeeded"
    load = Load(f"http://{stage.traffic_address('paris')}:8000/", rate=200, keepalive=4, closing=4)
    await load.start()
    try:
        await asyncio.to_thread(change_taint_and_renew, stage)
    finally:
        result = await load.stop()
    assert result.failures == (), result.summary()
    assert result.answered_by("v1") == len(result.requests) > 300


def change_taint_and_renew(stage: Stage) -> None:
    page = stage.directory / "paris" / "hosts" / f"{GROUP}-2" / "app" / "version.txt"
    page.chmod(0o644)
    page.write_text("v1\n\n")  # it goes on answering as before
    stage.wait(lambda: is_replaced(stage, 2, size=3), "the end of the changed host")
    assert told(stage, "host.worn") == told(stage, "host.tainted") == [f"{GROUP}-2"]

    tainted = stage.repave("taint", f"{GROUP}-1", "--reason", "odd disk")
    assert tainted.returncode == 0, tainted.stderr
    assert f"{GROUP}-1 in paris is tainted" in tainted.stderr
    stage.wait(lambda: is_replaced(stage, 1, size=3), "the end of the tainted host")
    missing = stage.repave("taint", f"{GROUP}-1")
    assert missing.returncode == 2
    assert f"it has: {GROUP}-3, {GROUP}-4, {GROUP}-5" in missing.stderr

    assert stage.repave("renew", "hello", "--reason", "new kernel").returncode == 0
    stage.wait(lambda: is_replaced(stage, 3, 4, 5, size=3), "the end of the renewal")
    (item,) = json.loads(stage.repave("ages", "hello", "-o", "json").stdout)["items"]
    assert (item["hosts"], item["worn"], item["outdated"], item["tainted"]) == (3, [], 0, 0)
    assert stage.weights() == {"paris": {GROUP: 10_000}}


@pytest.mark.parametrize("stage", [WATCHFUL], indirect=True, ids=["paris"])
def test_hosts_that_are_too_old_are_replaced_one_after_the_other(stage: Stage) -> None:
    stage.release("v1", size=3, upkeep=("max_age: 3s",), **QUICK)
    assert stage.ended()["phase"] == "succeeded"
    seen: set[int] = set()

    def all_are_replaced() -> bool:
        seen.add(len(stage.hosts()["paris"]))
        return set(told(stage, "host.replaced")) >= {f"{GROUP}-{number}" for number in (1, 2, 3)}

    stage.wait(all_are_replaced, "the end of the first hosts")
    assert seen <= {3, 4}, "one at a time, and never one too few"
    assert {f"{GROUP}-{number}" for number in (1, 2, 3)} <= set(told(stage, "host.worn"))
    shown = stage.repave("ages", "hello")
    assert shown.stdout.splitlines()[0].split()[:5] == ["APP", "REGION", "GROUP", "STATE", "HOSTS"]
