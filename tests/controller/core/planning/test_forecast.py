"""What is said to follow is what the failure policy and the steps would do."""

from dataclasses import replace

import pytest

from repave_controller.core.domain.application import Application, Because, Expiry, Instant, Policy
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Reason, Why, reason_of
from repave_controller.core.domain.rollout import Phase, Rollout, RolloutKind, Step, Track, TrackPhase, Wave
from repave_controller.core.planning.forecast import Outlook
from repave_controller.core.planning.plan import never_released
from repave_controller.core.steps import Approve, Soak, Verify, Weight
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import serving
from tests.scenarios.world import World

PARIS, OSLO = RegionName("paris"), RegionName("oslo")
SHOP = ApplicationName("shop")
STEPS: tuple[Step, ...] = (Verify(60.0), Weight(500, 60.0), Soak(60.0, 90.0), Approve("sre"))
IT = reason_of(Why.UNCONFIRMED, refusal="")
UNTIL = Because(IT, "paris", until=Instant(9.0), expiry=Expiry.DEADLINE)


def waits(reason: Reason, region: str = "") -> Because:
    return Because(reason, region, expiry=Expiry.PROGRESS)


def an_application(cursor: int, policy: Policy, *others: Track, origin: int | None = 1) -> Application:
    rollout = Rollout(
        number=2,
        kind=RolloutKind.RELEASE,
        target=2,  # type: ignore[arg-type]  # a number
        steps=STEPS,
        tracks=ByRegion((Track(PARIS, 0, origin, TrackPhase.RUNNING, cursor), *others)),  # type: ignore[arg-type]
        phase=Phase.RUNNING,
        started_at=Instant(0.0),
        started_by="ann",
        waves=(Wave((PARIS,)), Wave((OSLO,), approve="sre")),
    )
    return replace(never_released(SHOP, "shop"), rollout=rollout, policy=policy)


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        (Policy(scope="release"), "every region goes back"),
        (Policy(scope="wave"), "wave 1 goes back"),
        (Policy(scope="region"), "paris goes back"),
        (Policy(failures_max=1), "paris goes back, the others go on"),
        (Policy(goes_back_on=("health",)), "it is held in place"),
    ],
)
def test_a_deadline_that_passes_does_what_the_policy_says(policy: Policy, what: str) -> None:
    said = text_of(Outlook(an_application(0, policy), {}).of(UNTIL))
    assert said == f"then weight 5 %; without progress until then: {what}"


def test_an_illness_in_the_soak_of_a_first_release_is_held() -> None:
    said = text_of(Outlook(an_application(2, Policy(), origin=None), {}).of(waits(IT, "paris")))
    assert said == "then approve; if it falls ill: it is held, for there is no older group to go back to"


def test_the_last_step_is_followed_by_the_end() -> None:
    assert text_of(Outlook(an_application(3, Policy()), {}).of(waits(IT, "paris"))) == "then it is done"


def test_a_bake_is_followed_by_the_next_wave_and_its_gate() -> None:
    application = an_application(3, Policy(), Track(OSLO, 1, None))
    assert (
        text_of(Outlook(application, {}).of(waits(reason_of(Why.BAKE, wave=1, waves=2))))
        == "then wave 2, once a person with the role sre has approved: oslo"
    )
    assert (
        text_of(Outlook(application, {}).of(waits(reason_of(Why.APPROVE_WAVE, role="sre", wave=2, waves=2))))
        == "then wave 2: oslo"
    )
    assert text_of(Outlook(application, {}).of(waits(IT, "oslo"))) == "then verify"


def test_a_region_of_a_first_release_that_has_no_traffic_yet_goes_back_alone() -> None:
    """The first wave has the traffic and keeps it; the second wave's region has nothing to lose."""
    done = Track(OSLO, 0, None, TrackPhase.DONE, len(STEPS) - 1)
    application = an_application(0, Policy(scope="region"), done, origin=None)
    assert (
        text_of(Outlook(application, {}).of(UNTIL))
        == "then weight 5 %; without progress until then: paris goes back"
    )


def test_where_the_old_group_lacks_hosts_as_well_it_is_said_to_stay_with_the_larger_one() -> None:
    world = serving("", spec("{blue_green: {warm: 10m}}", "paris:10, oslo:10"))
    world.release("1.2")
    world.until(lambda each: each.weights("paris").get("shop-v002") == 10_000)
    world.run(60)
    goes_back = "then it is done; if it falls ill: every region goes back"
    assert said(world) == {"oslo": goes_back, "paris": goes_back}
    world.regions[PARIS].ill[GroupName("shop-v001")] = 8
    world.run(2)
    stays = "paris stays with the larger group and it is held: the old one lacks hosts"
    assert said(world) == {
        "oslo": f"then it is done; if it falls ill: oslo goes back, {stays}",
        "paris": f"then it is done; if it falls ill: {stays}",
    }
    world.regions[PARIS].ill[GroupName("shop-v002")] = 3
    world.run(2)
    assert world.rollout.pause is not None
    assert world.weights("paris") == {"shop-v002": 10_000}


def said(world: World) -> dict[str, str]:
    return {
        each.region: text_of(Outlook(world.application, world.observed).of(each))
        for each in world.because
        if each.region
    }
