"""Waves over three regions of real processes, under load: gates, lock-step, pause, a failure in the second
wave that takes the first one back, and a rolling release that keeps its floor."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.releases import clients, release
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
REGIONS = {"regions": ("paris", "oslo", "rome")}
WAVES = "waves: [{regions: paris}, {regions: rest, approve: sre}]\n"
CANARY = {"strategy": "{canary: {steps: [{traffic: 50%, hold: 1h}]}}", "more": WAVES, "warm": "0s"}
ROLLING = {
    "strategy": "{rolling: {steps: [{traffic: 50%}]}}",
    "more": "guards: {min_capacity: 100%, max_surge: 50%}\n",
}
SIZE = 2
SHARED = {"hello-v001": 5000, "hello-v002": 5000}


def steer(stage: Stage, verb: str, **body: object) -> None:
    stage.call("POST", f"applications/hello/{verb}", {"by": "test", **body})


def phases(stage: Stage) -> dict[str, str]:
    """Region to the step it is in, or to its phase where it is in none."""
    waves = stage.rollout()["waves"]
    return {track["region"]: track["kind"] or track["phase"] for wave in waves for track in wave["regions"]}


async def until(stage: Stage, condition: Callable[[], object], what: str) -> None:
    """Looks in a thread, so that clients go on."""
    await asyncio.to_thread(stage.wait, condition, what)


async def through_first_wave(stage: Stage, version: str, **options: Any) -> None:
    """To the gate of the second wave: paris has it all, nobody else has begun."""
    await asyncio.to_thread(stage.release, version, **CANARY, **options)
    await until(stage, lambda: phases(stage)["paris"] == "soak", "the soak of paris")


@pytest.mark.parametrize("stage", [REGIONS], indirect=True)
async def test_waves_are_steered_go_back_everywhere_and_rolling_keeps_its_floor(stage: Stage) -> None:
    await release(stage, "v1", warm="0s")
    async with clients(stage, rate=120) as results:
        await through_first_wave(stage, "v2")
        assert phases(stage) == {"paris": "soak", "oslo": "waiting", "rome": "waiting"}
        assert stage.weights() == {
            "paris": SHARED,
            "oslo": {"hello-v001": 10_000},
            "rome": {"hello-v001": 10_000},
        }
        steer(stage, "pause", reason="lunch")
        ran = await asyncio.to_thread(stage.repave, "promote", "hello", "--skip")
        assert (ran.returncode, ran.stderr) == (
            5,
            "repave: it is paused; repave resume hello lets it go on\n",
        )
        assert stage.rollout()["phase"] == "paused"
        steer(stage, "resume")
        steer(stage, "promote", skip=True)
        ran = await asyncio.to_thread(stage.repave, "watch", "hello", "--until-gate", "--timeout", "30s")
        assert ran.returncode == 6, ran.stderr
        assert "approval of wave 2 by sre" in ran.stderr
        assert phases(stage) == {"paris": "done", "oslo": "waiting", "rome": "waiting"}
        steer(stage, "promote", role="sre")
        await until(stage, lambda: set(phases(stage).values()) == {"done", "soak"}, "both soak")
        assert {region: stage.weights()[region] for region in ("oslo", "rome")} == {
            "oslo": SHARED,
            "rome": SHARED,
        }
        steer(stage, "promote", skip=True)
        ended = await asyncio.to_thread(stage.ended)
        assert ended["phase"] == "succeeded", ended["outcome"]

        await through_first_wave(stage, "v3", sick_in="rome", launch_deadline="8s")
        steer(stage, "promote", skip=True)
        await until(stage, lambda: stage.get("applications/hello")["gates"], "the gate")
        steer(stage, "promote", role="sre")
        ended = await asyncio.to_thread(stage.ended)
        assert ended["phase"] == "rolled-back", ended["outcome"]
        assert "rome" in ended["outcome"]
        assert stage.weights() == {region: {"hello-v002": 10_000} for region in stage.regions}

        await rolling(stage, "v4")
        assert stage.weights() == {region: {"hello-v004": 10_000} for region in stage.regions}

    for region, result in results.items():
        assert len(result.requests) > 100, region
        assert result.failures == (), (region, result.summary())
        assert result.answered_by("v4") > 0
    assert results["paris"].answered_by("v3") > 0
    assert results["rome"].answered_by("v3") == results["oslo"].answered_by("v3") == 0


async def rolling(stage: Stage, version: str) -> None:
    """Released to its end, without ever a host too few that serves or one too many."""
    seen: list[tuple[str, int, int]] = []
    await asyncio.to_thread(stage.release, version, **ROLLING)

    def is_over() -> bool:
        status = stage.get("applications/hello")
        seen.extend((region["name"], *counts(region, version)) for region in status["region_items"])
        return status["phase"] not in ("running", "undoing")

    await until(stage, is_over, "the end")
    assert stage.rollout()["phase"] == "succeeded", stage.rollout()["outcome"]
    assert {region for region, _, _ in seen} == set(stage.regions)
    assert min(up for _, up, _ in seen) >= SIZE
    assert max(there for _, _, there in seen) == SIZE + 1


def counts(region: dict[str, Any], version: str) -> tuple[int, int]:
    """Hosts that can serve; hosts of the release and of the group that it replaces."""
    up = sum(group["balancer_up"] for group in region["groups"] if group["weight_bp"])
    moving = [group for group in region["groups"] if group["version"] == version or group["weight_bp"]]
    return up, sum(group[each] for group in moving for each in ("starting", "healthy", "verified"))
