"""A region whose network is cut from the controller's in the middle of a release: packets vanish.

The agent, its balancer, its hosts and the clients are in a network namespace of their own."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.clients import asking, lost
from tests.support.faults import Moment, is_connected, leader_of
from tests.support.network import own_network
from tests.support.stage import Stage, kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PLACES = (("paris", 8000), ("oslo", 8000))


def test_a_region_that_is_cut_off_heals_alone_and_its_release_ends_once_it_is_heard_again(
    directory: Path,
) -> None:
    stage = Stage(directory)
    with own_network(stage, "paris") as cable, kept(stage):
        stage.release("v1", warm="0s")
        assert stage.ended()["phase"] == "succeeded", stage.rollout()
        with asking(stage, PLACES) as results:
            moment = Moment(stage, "step.entered", "verify")
            stage.release("v2", min_healthy="4s", warm="0s")
            moment.wait()
            cable.cut()
            os.kill(leader_of(stage, "paris", "hello-v001-1").pid, signal.SIGKILL)
            killed_at = time.monotonic()
            healed = ["hello-v001-2", "hello-v001-3", "hello-v002-1", "hello-v002-2"]
            stage.wait(lambda: stage.hosts()["paris"] == healed, "healing, with nobody to ask")
            stage.wait(lambda: not is_connected(stage, "paris"), "the controller's notice", 60)
            log = stage.directory / "paris.log"
            stage.wait(lambda: "session.lost" in log.read_text(), "the agent's notice", 60)
            why = stage.repave("why", "hello").stdout
            assert "hello: the release of hello-v002 is in step verify" in why
            assert "waits for paris: its agent is not connected" in why
            assert "start or reconnect the agent of paris; repave abort hello gives up" in why
            assert stage.weights()["oslo"] == {"hello-v001": 10_000}, "no region goes ahead alone"
            mended_at = time.monotonic()
            cable.mend()
            assert stage.ended()["phase"] == "succeeded", stage.rollout()
            flipped_at = time.monotonic()
            stage.wait(
                lambda: all(value == {"hello-v002": 10_000} for value in stage.weights().values()), "v2"
            )
        assert stage.hosts()["paris"] == healed
    for region, gaps in (("paris", [(killed_at, killed_at)]), ("oslo", [])):
        result = results[region, 8000]
        assert lost(result, *gaps) == (), result.summary()
        assert result.answered_by("v2", before=mended_at) == 0
        assert result.answered_by("v1", after=flipped_at) == 0
        assert result.answered_by("v1", after=killed_at) > 0
        assert result.answered_by("v2") > 0
