"""Regions that are left alone: with the controller frozen or gone an agent heals by itself, with its agent
gone a region's traffic goes on, and who returns finds everything as it shall be."""

import os
import signal
import time
import urllib.request

import pytest

from tests.support.clients import asking, lost
from tests.support.faults import Moment, freeze, is_connected, leader_of, thaw
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PLACES = (("paris", 8000), ("oslo", 8000))
LAUNCH_DEADLINE_SECONDS = 8.0
VERIFY_DEADLINE_SECONDS = LAUNCH_DEADLINE_SECONDS + 2.0 + 30.0


def test_a_release_survives_a_controller_that_is_frozen_for_longer_than_its_deadlines(stage: Stage) -> None:
    released(stage, "v1")
    with asking(stage, PLACES) as results:
        moment = Moment(stage, "step.entered", "verify")
        deadline = f"{LAUNCH_DEADLINE_SECONDS:g}s"
        stage.release("v2", min_healthy="2s", launch_deadline=deadline, warm="0s")
        moment.wait()
        assert stage.controller is not None
        freeze(stage.controller)
        frozen_at = time.monotonic()
        killed_at = kill_host(stage, "hello-v001-1")
        stage.wait(lambda: has(stage, "hello-v001", 2, without="hello-v001-1"), "healing, with nobody to ask")
        asked = stage.repave("why", "hello")
        assert asked.returncode == 1, asked
        assert f"cannot reach the controller at http://127.0.0.1:{stage.http_port}: timed out" in asked.stderr
        stage.wait(lambda: all(has_lost_controller(stage, region) for region in stage.regions), "notice", 60)
        until = frozen_at + VERIFY_DEADLINE_SECONDS + 1.0
        stage.wait(lambda: time.monotonic() > until, "more than the step's deadline", 60)
        thaw(stage.controller)
        ended = stage.ended()
        flipped_at = time.monotonic()
        assert ended["phase"] == "succeeded", ended["outcome"]
        stage.wait(lambda: stage.weights() == all_to(stage, "hello-v002"), "the report")
    for region, _ in PLACES:
        result = results[region, 8000]
        gaps = [(killed_at, killed_at)] if region == "paris" else []
        assert lost(result, *gaps) == (), result.summary()
        assert result.answered_by("v1", after=flipped_at) == 0
        assert result.answered_by("v2") > 0
    assert stage.hosts() == {
        "paris": ["hello-v001-2", "hello-v001-3", "hello-v002-1", "hello-v002-2"],
        "oslo": ["hello-v001-1", "hello-v001-2", "hello-v002-1", "hello-v002-2"],
    }


def test_a_region_without_controller_and_then_without_agent_goes_on_and_is_adopted(stage: Stage) -> None:
    released(stage, "v1")
    released(stage, "v2")
    with asking(stage, PLACES) as results:
        stage.kill_controller()
        killed_at = kill_host(stage, "hello-v002-1")
        stage.wait(lambda: has(stage, "hello-v002", 2, without="hello-v002-1"), "a fresh host")
        kept_at = kill_host(stage, "hello-v001-2")
        stage.wait(lambda: has(stage, "hello-v001", 2, without="hello-v001-2"), "a fresh warm host")
        worker, died_at = stage.haproxy_worker("paris"), time.monotonic()
        os.kill(worker, signal.SIGKILL)
        stage.wait(lambda: answers_by_another(stage, worker), "the balancer's restart")
        back_at = time.monotonic()

        stage.kill_agent("paris")
        for _ in range(100):
            assert answer(stage, "paris") == "v2"
        hosts = stage.hosts()
        leaders = {name: leader_of(stage, "paris", name) for name in hosts["paris"]}
        stage.start_agent("paris")
        stage.start_controller()
        stage.wait(lambda: all(is_connected(stage, region) for region in stage.regions), "agents")
        stage.wait(lambda: stage.weights() == all_to(stage, "hello-v002"), "the report")
        assert stage.hosts() == hosts, "nothing was made and nothing destroyed"
        assert {name: leader_of(stage, "paris", name) for name in hosts["paris"]} == leaders
        assert (
            stage.repave("why", "hello").stdout == "hello: nothing is being rolled out; hello-v002 serves\n"
        )
        released(stage, "v3")
        flipped_at = time.monotonic()
    for region, _ in PLACES:
        result = results[region, 8000]
        gaps = [(killed_at, killed_at), (kept_at, kept_at), (died_at, back_at)] if region == "paris" else []
        assert lost(result, *gaps) == (), result.summary()
        assert result.answered_by("v1") == 0
        assert result.answered_by("v2", after=flipped_at) == 0
        assert result.answered_by("v3") > 0


def released(stage: Stage, version: str) -> None:
    stage.release(version, warm="0s")
    assert stage.ended()["phase"] == "succeeded", stage.rollout()


def kill_host(stage: Stage, host: str) -> float:
    """In paris; returns when."""
    os.kill(leader_of(stage, "paris", host).pid, signal.SIGKILL)
    return time.monotonic()


def has(stage: Stage, group: str, count: int, without: str) -> bool:
    """The group has so many hosts in paris, and not that one."""
    names = [name for name in stage.hosts()["paris"] if name.startswith(f"{group}-")]
    return len(names) == count and without not in names


def has_lost_controller(stage: Stage, region: str) -> bool:
    return "session.lost" in (stage.directory / f"{region}.log").read_text()


def answers_by_another(stage: Stage, worker: int) -> bool:
    try:
        return stage.haproxy_worker("paris") != worker and answer(stage, "paris") == "v2"
    except (OSError, ValueError):
        return False


def answer(stage: Stage, region: str) -> str:
    with urllib.request.urlopen(f"http://{stage.traffic_address(region)}:8000/", timeout=5) as response:
        return str(response.read().decode()).strip()


def all_to(stage: Stage, group: str) -> dict[str, dict[str, int]]:
    return {region: {group: 10_000} for region in stage.regions}
