"""Hosts that nobody asked for, on real processes: found, shown and ended. Those of strangers are not, nor
those of an agent that has lost its journal."""

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from repave_agent.clock import SystemClock
from repave_agent.core.ports import HostSpec
from repave_agent.providers.local import processes
from repave_agent.providers.local.provider import LocalProvider
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName, RegionName
from tests.fakes.templates import a_template
from tests.support.faults import leader_of
from tests.support.journals import journal_of
from tests.support.stage import Stage

GRACE = {"REPAVE_AGENT_LIMITS__ORPHAN_GRACE_SECONDS": "4"}
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.parametrize(
        "stage", [{"regions": ("paris",), "agent_environment": GRACE}], indirect=True, ids=["paris"]
    ),
]
DROPPED, GHOST, STRANGER = HostName("hello-v099-1"), HostName("ghost-v001-1"), HostName("rome-v001-1")


def make_host(stage: Stage, name: HostName, installation: str, region: str = "paris") -> None:
    """As an agent does that is killed right after it."""
    group = GroupName(name.rpartition("-")[0])
    spec = HostSpec(
        name, group, ApplicationName(group.partition("-")[0]), Digest("0" * 64), a_template(("sleep", "600"))
    )

    async def make() -> None:
        provider = local_provider(stage, installation, region)
        await provider.launch(spec, stage.directory / "v1.tgz")
        await provider.close()

    asyncio.run(make())


def local_provider(stage: Stage, installation: str, region: str) -> LocalProvider:
    addresses = stage.agent_settings("paris")["REPAVE_AGENT_LOCAL__ADDRESSES"]
    return LocalProvider(
        stage.directory / "paris",
        RegionName(region),
        lambda: installation,
        clock=SystemClock(),
        address_range=addresses,
        isolation="none",
    )


def version(stage: Stage) -> str:
    with urllib.request.urlopen(f"http://{stage.traffic_address('paris')}:8000/", timeout=5) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def states(stage: Stage) -> dict[str, str]:
    return {item["name"]: item["state"] for item in stage.get("orphans")["items"]}


def lose_the_journal(stage: Stage) -> str:
    """The agent is gone and its journal is lost; the installation that it worked for."""
    journal = stage.directory / "paris" / "journal.json"
    stage.kill_agent("paris")
    installation = str(journal_of(journal.parent)["installation"])
    journal.unlink()
    return installation


def test_orphans_are_shown_and_ended_and_nobody_else_is(stage: Stage) -> None:
    for number in ("v1", "v2"):
        stage.release(number, size=1, warm="0s")
        assert stage.ended()["phase"] == "succeeded"
    before = stage.hosts()["paris"]
    assert before == ["hello-v001-1", "hello-v002-1"], "one serves, one is warm"
    served = version(stage)
    installation = lose_the_journal(stage)
    for name in (DROPPED, GHOST):
        make_host(stage, name, installation)
    make_host(stage, STRANGER, installation, "rome")
    leaders = {name: leader_of(stage, "paris", name) for name in (DROPPED, GHOST, STRANGER)}

    stage.kill_controller()
    log = stage.directory / "paris.log"
    log.unlink()
    stage.start_agent("paris")
    stage.wait(lambda: "session.lost" in log.read_text(), "the agent that finds no controller")
    for _ in range(100):
        assert version(stage) == served, "traffic goes on by what the balancer has"
    assert set(stage.hosts()["paris"]) == {*before, DROPPED, GHOST, STRANGER}

    stage.start_controller()
    stage.wait(lambda: set(states(stage)) == {DROPPED, GHOST}, "the orphans")
    shown = stage.repave("orphans")
    assert shown.returncode == 0
    assert {line.split()[1] for line in shown.stdout.splitlines()[1:]} == {DROPPED, GHOST}, shown
    stage.wait(lambda: set(stage.hosts()["paris"]) == {*before, STRANGER}, "the end of the orphans")
    assert {name for name, leader in leaders.items() if processes.is_alive(leader)} == {STRANGER}
    assert version(stage) == served
    stage.wait(lambda: stage.weights() == {"paris": {"hello-v002": 10_000}}, "the report")

    stage.wait(lambda: told(stage, "host.destroyed") >= {DROPPED, GHOST}, "the events")
    assert told(stage, "host.orphaned") == {DROPPED, GHOST}
    assert stage.repave("orphans").stderr == "no orphans in paris: a release wants every host there\n"
    asyncio.run(local_provider(stage, installation, "rome").destroy(STRANGER))
    assert not Path(stage.directory / "paris" / "hosts" / STRANGER).exists()


def told(stage: Stage, kind: str) -> set[str]:
    events: list[dict[str, Any]] = stage.get("events?newest=1&limit=1000")["items"]
    return {event["host"] for event in events if event["kind"] == kind}
