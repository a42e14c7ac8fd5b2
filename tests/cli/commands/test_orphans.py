"""repave orphans: who, where, how old, and what becomes of them."""

import json

import pytest

from tests.fakes.agent.orphans import an_orphan
from tests.fakes.controller.scheduler import ServedController
from tests.support.cli_types import Run


def test_orphans_come_as_a_table_with_their_state_in_words(repave: Run, controller: ServedController) -> None:
    controller.sessions.unwanted["paris"] = [an_orphan(1), an_orphan(2)]
    ran = repave("orphans")
    titles, first, _ = ran.out.splitlines()
    assert titles.split() == ["REGION", "HOST", "GROUP", "APP", "AGE", "STATE"]
    assert first.split(maxsplit=6) == [
        "paris",
        "ghost-v001-1",
        "ghost-v001",
        "ghost",
        "2",
        "h",
        "seen once, looked at again in 4 s",
    ]
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("form", ["table", "wide", "json", "jsonl", "yaml", "name"])
def test_orphans_come_in_every_format(repave: Run, controller: ServedController, form: str) -> None:
    controller.sessions.unwanted["oslo"] = [an_orphan()]
    assert "ghost-v001-1" in repave("orphans", "-o", form).out


def test_no_orphans_is_said_and_is_no_failure(repave: Run) -> None:
    ran = repave("orphans")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "no orphans in oslo, paris: a release wants every host there\n"
    assert json.loads(repave("orphans", "-o", "json").out)["items"] == []


def test_a_region_that_could_not_be_asked_is_missed(repave: Run, controller: ServedController) -> None:
    controller.connect("oslo", False)
    ran = repave("orphans")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "no orphans in paris: a release wants every host there",
        "oslo: the agent of oslo is not connected; is repave-agent running there?",
    ]
    assert repave("orphans", "--region", "paris").code == 0


def test_doctor_points_at_orphans_that_stay(repave: Run, controller: ServedController) -> None:
    controller.sessions.unwanted["paris"] = [an_orphan(1, 300.0)]
    ran = repave("doctor")
    assert ran.code == 0
    assert "still there after 60 s, in paris  -> repave orphans says what keeps them" in ran.out
