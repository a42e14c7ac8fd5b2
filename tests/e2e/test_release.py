"""A release end to end on real processes: controller, two agents, two HAProxies, hosts, clients."""

import asyncio
import os
import signal
import time

import pytest

from tests.support.faults import leader_of
from tests.support.releases import clients, release
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
WITHOUT_REDISPATCH = {"agent_environment": {"REPAVE_AGENT_HAPROXY__REDISPATCH": "false"}}


@pytest.mark.parametrize("stage", [WITHOUT_REDISPATCH], indirect=True)
async def test_no_request_is_lost_over_releases_rollbacks_and_kills(stage: Stage) -> None:
    await release(stage, "v1")
    async with clients(stage) as results:
        ended, moved = await release(stage, "v2")
        assert ended["phase"] == "succeeded", ended["outcome"]

        stage.kill_controller()
        stage.kill_agent("paris")
        await asyncio.to_thread(stage.start_controller)
        stage.start_agent("paris")
        await asyncio.to_thread(stage.wait, lambda: connected(stage), "agents")

        asked = time.monotonic()
        await asyncio.to_thread(stage.rollback)
        ended = await asyncio.to_thread(stage.ended)
        back = time.monotonic()
        assert (ended["kind"], ended["phase"]) == ("rollback", "succeeded")

        ended, _ = await release(stage, "v3", environment={"HEALTH": "500 Oops"}, launch_deadline="6s")
        assert ended["phase"] == "rolled-back"
        assert "answered 500, expected 200" in str(ended["outcome"])
        await asyncio.sleep(0.3)  # a few requests more, to be judged below

    for region, result in results.items():
        assert len(result.requests) > 100, region
        assert result.failures == (), (region, result.summary())
        assert result.answered_by("v1", after=moved, before=asked) == 0
        assert result.answered_by("v2", after=back) == 0
        assert result.answered_by("v3") == 0
    assert stage.weights() == {region: {"hello-v001": 10_000} for region in stage.regions}


def connected(stage: Stage) -> bool:
    regions = stage.get("regions")["items"]
    return len(regions) == len(stage.regions) and all(each["connected"] for each in regions)


async def test_long_requests_finish_while_the_old_group_is_drained(stage: Stage) -> None:
    await release(stage, "v1", environment={"ANSWER_SECONDS": "1.5"}, keep="0s", drain="10s")
    async with clients(stage, rate=10) as results:
        await asyncio.sleep(0.5)  # so that requests are in flight
        ended, _ = await release(stage, "v2", keep="0s", drain="10s")
        assert ended["phase"] == "succeeded", ended["outcome"]
        await asyncio.to_thread(
            stage.wait,
            lambda: all("v001" not in each for hosts in stage.hosts().values() for each in hosts),
            "v1's end",
        )
    for result in results.values():
        assert result.failures == ()
        assert result.answered_by("v1") > 0


async def test_a_killed_balancer_comes_back_on_the_side_it_was_flipped_to(stage: Stage) -> None:
    await release(stage, "v1")
    await release(stage, "v2")
    os.kill(stage.haproxy_worker("paris"), signal.SIGKILL)
    async with clients(stage) as results:
        await asyncio.to_thread(stage.wait, lambda: restarted(stage), "the balancer's restart")
        again = time.monotonic()
        await asyncio.sleep(0.5)
    late = [each for each in results["paris"].failures if each.begun > again]
    assert late == []
    assert results["paris"].answered_by("v1") == 0
    assert results["paris"].answered_by("v2", after=again) > 0


def restarted(stage: Stage) -> bool:
    return any(each["kind"] == "balancer.restarted" for each in stage.get("events?newest=1")["items"])


async def test_a_killed_host_is_replaced_by_a_fresh_one(stage: Stage) -> None:
    await release(stage, "v1")
    before = stage.hosts()["paris"]
    os.kill(leader_of(stage, "paris", before[0]).pid, signal.SIGKILL)
    await asyncio.to_thread(
        stage.wait,
        lambda: (
            stage.hosts()["paris"] == ["hello-v001-2", "hello-v001-3"]
            and stage.get("applications/hello")["region_items"][1]["groups"][0]["verified"] == 2
        ),
        "a fresh host",
    )
    assert stage.hosts()["oslo"] == before
