"""Disks that are full to the last byte in the middle of a release: nothing is half done, the user is told
why, and with space it goes on. Real file systems of their own."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import asking
from tests.support.faults import Moment, SmallDisk, is_connected, small_disk
from tests.support.journals import journal_of
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
SIZE = "16m"
PLACES = (("paris", 8000), ("oslo", 8000))
TOLD = re.compile(r"the store does not take decisions.*controller\.db: the disk is full", re.DOTALL)


def test_a_controller_whose_disk_is_full_refuses_commands_and_its_release_waits_for_space(
    directory: Path,
) -> None:
    with small_disk(directory / "controller", SIZE) as disk, staged(directory) as stage:
        released(stage, "v1")
        with asking(stage, PLACES) as results:
            moment = Moment(stage, "step.entered", "verify")
            stage.release("v2", min_healthy="2s", warm="0s")
            moment.wait()
            disk.fill()
            before = history(stage)
            queued = ("release", "--file", str(stage.directory / "v1.yaml"), "--queue", "--detach")
            for command in (("abort", "hello", "--detach"), ("rollback", "hello", "--detach"), queued):
                refused = stage.repave(*command)
                assert refused.returncode == 1, refused
                assert "the disk is full; nothing of this was saved. Free some space." in refused.stderr
            stage.wait(lambda: TOLD.search(why(stage)), "the reason")  # told at each try to save
            assert history(stage) == before
            assert [each["queued"] for each in stage.get("applications")["items"]] == [0]
            disk.make_room()
            assert stage.ended()["phase"] == "succeeded", stage.rollout()
        assert history(stage) == [("release", "v2", "succeeded"), ("release", "v1", "succeeded")]
        for region, _ in PLACES:
            result = results[region, 8000]
            assert result.failures == (), result.summary()
            assert result.answered_by("v1") > 0
            assert result.answered_by("v2") > 0


def test_an_agent_whose_disk_is_full_launches_nothing_says_so_and_goes_back_by_itself(
    directory: Path,
) -> None:
    """Its journal needs no space to write over what it has."""
    with small_disk(directory / "paris", SIZE) as disk, staged(directory) as stage:
        released(stage, "v1")
        hosts = stage.hosts()["paris"]
        with asking(stage, PLACES) as results:
            disk.fill()
            stage.release("v2", warm="0s")
            reason = re.compile(r"the image cache at .*/paris/images is full: .*No space left on device")
            stage.wait(lambda: still_full(disk) and reason.search(why(stage)), "the reason")
            stage.wait(lambda: still_full(disk) and "rolled-back" in phases(stage), "the way back")
            assert is_connected(stage, "paris")
            assert stage.hosts()["paris"] == hosts
            assert [each["weight_bp"] for each in accepted(stage)["groups"]] == [10_000], "saved as well"
            disk.make_room()
            released(stage, "v3")
        for region, _ in PLACES:
            result = results[region, 8000]
            assert result.failures == (), result.summary()
            assert result.answered_by("v1") > 0
            assert result.answered_by("v2") == 0
            assert result.answered_by("v3") > 0


def still_full(disk: SmallDisk) -> bool:
    """What the agent has tidied up since would be room."""
    disk.fill()
    return True


def released(stage: Stage, version: str) -> None:
    stage.release(version, warm="0s")
    assert stage.ended()["phase"] == "succeeded", stage.rollout()


def why(stage: Stage) -> str:
    return stage.repave("why", "hello").stdout


def history(stage: Stage) -> list[tuple[str, str, str]]:
    items = stage.get("applications/hello/history")["items"]
    return [(each["kind"], each["version"], each["phase"]) for each in items]


def phases(stage: Stage) -> list[str]:
    return [phase for _, _, phase in history(stage)]


def accepted(stage: Stage) -> dict[str, Any]:
    state: dict[str, Any]
    (state,) = journal_of(stage.directory / "paris")["desired"]
    return state
