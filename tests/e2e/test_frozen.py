"""SIGSTOP of agents at every step of a release: their connections stay open, and nothing comes over them.

Three applications beside each other, each with an agent frozen at another step: they share the waiting."""

import time

import pytest

from tests.support.clients import asking
from tests.support.faults import Moment, freeze, is_connected, thaw
from tests.support.load_result import LoadResult
from tests.support.stage import Stage

EARLY, MIDDLE, LATE = "early", "middle", "late"
PORTS = {EARLY: 8001, MIDDLE: 8002, LATE: 8003}
REGIONS = {EARLY: ("bonn", "oslo"), MIDDLE: ("bonn", "paris"), LATE: ("kyiv", "rome")}
FROZEN = {EARLY: "oslo", MIDDLE: "paris", LATE: "rome"}
PLACES = tuple((region, PORTS[application]) for application, regions in REGIONS.items() for region in regions)
STAGE = {"regions": ("bonn", "kyiv", "oslo", "paris", "rome")}
ROME = ("rome", PORTS[LATE])
RATE = 10.0
ROME_RATE = 400.0
"""Once rome thaws: if it flipped before it hears that it shall not, that would be for a moment."""
UNDO_SECONDS = 90.0

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("stage", [STAGE], indirect=True, ids=["five-regions"]),
]


def test_an_agent_frozen_at_any_step_costs_no_request_and_no_host(stage: Stage) -> None:
    for application in REGIONS:
        release(stage, application, 1)
    for application in REGIONS:
        assert stage.ended(application=application)["phase"] == "succeeded", stage.rollout(application)
    with asking(stage, PLACES, RATE) as results:
        freeze_before_the_flip(stage)
        freeze_at(stage, EARLY, "host.launched", f" 127.{stage.octet('oslo')}.")
        freeze_at(stage, MIDDLE, "step.entered", "verify")
        for application in (LATE, EARLY, MIDDLE):
            check_waiting(stage, application)
        for application in (LATE, EARLY):
            aborted(stage, application)
        for application in (EARLY, LATE):
            check_undoing(stage, application)
        thaw(stage.agents["paris"])
        assert stage.ended(application=MIDDLE)["phase"] == "succeeded", stage.rollout(MIDDLE)
        flipped_at = time.monotonic()

        for application in (EARLY, LATE):
            assert stage.ended(UNDO_SECONDS, application)["phase"] == "aborted"
            check_left(stage, application)
        ended_at = time.monotonic()
        with asking(stage, (ROME,), ROME_RATE, name="thawed") as thawed:
            for application in (EARLY, LATE):
                thaw(stage.agents[FROZEN[application]])
            for application, version in ((EARLY, 1), (MIDDLE, 2), (LATE, 1)):
                check_converged(stage, application, version)
    for place, result in (*results.items(), *thawed.items()):
        assert result.failures == (), (place, result.summary())
        assert len(result.requests) > 100, place
    check_answers(results, flipped_at, ended_at)
    assert thawed[ROME].answered_by("late2") == 0


def release(stage: Stage, application: str, version: int) -> None:
    options = {"regions": REGIONS[application], "port": PORTS[application], "keep": "0s", "drain": "1s"}
    stage.release(f"{application}{version}", application=application, min_healthy="2s", warm="0s", **options)


def freeze_at(stage: Stage, application: str, kind: str, word: str) -> None:
    """Freezes the application's agent when its second release has got so far."""
    moment = Moment(stage, kind, word, application)
    release(stage, application, 2)
    moment.wait()
    freeze(stage.agents[FROZEN[application]])


def freeze_before_the_flip(stage: Stage) -> None:
    """Both regions are told to flip: kyiv does, and rome sleeps with the order in its socket."""
    verifying, moving = (
        Moment(stage, "step.entered", "verify", LATE),
        Moment(stage, "step.entered", "weight", LATE),
    )
    release(stage, LATE, 2)
    verifying.wait()
    freeze(stage.agents["kyiv"])
    stage.wait(lambda: group(stage, LATE, "rome")["balancer_up"] == 2, "rome's new hosts")
    freeze(stage.agents["rome"])
    thaw(stage.agents["kyiv"])
    moving.wait()
    stage.wait(lambda: stage.weights(LATE)["kyiv"] == {"late-v002": 10_000}, "kyiv's flip")


def group(stage: Stage, application: str, region: str) -> dict[str, int]:
    """The new group of the application there, as reported last."""
    regions = stage.get(f"applications/{application}")["region_items"]
    groups = next(each["groups"] for each in regions if each["name"] == region)
    found: dict[str, int] = next(each for each in groups if each["name"] == f"{application}-v002")
    return found


def aborted(stage: Stage, application: str) -> None:
    answer = stage.repave("abort", application, "--detach")
    assert answer.returncode == 0, answer


def why(stage: Stage, application: str) -> str:
    return stage.repave("why", application).stdout


def check_waiting(stage: Stage, application: str) -> None:
    region = FROZEN[application]
    stage.wait(lambda: not is_connected(stage, region), f"notice of {region}'s absence", 60)
    text = why(stage, application)
    assert f"the release of {application}-v002 is in step" in text
    assert f"waits for {region}: its agent is not connected" in text
    assert f"start or reconnect the agent of {region}; repave abort {application} gives up" in text


def check_undoing(stage: Stage, application: str) -> None:
    text, region = why(stage, application), FROZEN[application]
    assert f"the release of {application}-v002 is going back: aborted by" in text
    assert f"waits for {region}: its agent is not connected, at most" in text
    assert f"it is told when it returns: start or reconnect the agent of {region}" in text


def check_left(stage: Stage, application: str) -> None:
    """It has ended, and nobody says that everything is as it shall be."""
    text, region = why(stage, application), FROZEN[application]
    assert f"{application}: nothing is being rolled out; {application}-v001 serves" in text
    assert f"waits for {region}: its agent is not connected; hosts of {application}-v002 may be left" in text


def check_converged(stage: Stage, application: str, version: int) -> None:
    """Exactly that group's hosts in each region, with all the traffic; nothing else is left or waited for."""
    name = f"{application}-v{version:03d}"
    regions = REGIONS[application]

    def is_converged() -> bool:
        hosts = stage.hosts()
        own = [[each for each in hosts[region] if each.startswith(application)] for region in regions]
        return (
            all(len(each) == 2 and all(host.startswith(f"{name}-") for host in each) for each in own)
            and stage.weights(application) == {region: {name: 10_000} for region in regions}
            and stage.get(f"applications/{application}")["because"] == []
        )

    stage.wait(is_converged, f"{application}'s end: {stage.hosts()}")


def check_answers(results: dict[tuple[str, int], LoadResult], flipped_at: float, ended_at: float) -> None:
    for place in (("bonn", PORTS[EARLY]), ("oslo", PORTS[EARLY])):
        assert results[place].answered_by("early2") == 0
    for place in (("bonn", PORTS[MIDDLE]), ("paris", PORTS[MIDDLE])):
        assert results[place].answered_by("middle1", after=flipped_at) == 0
        assert results[place].answered_by("middle2", after=flipped_at) > 0
    assert results["kyiv", PORTS[LATE]].answered_by("late2") > 0, "it was at the flip"
    assert results["kyiv", PORTS[LATE]].answered_by("late2", after=ended_at) == 0
    assert results[ROME].answered_by("late2") == 0, "rome was told to flip, and then not to"
