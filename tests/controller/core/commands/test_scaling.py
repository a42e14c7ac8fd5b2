"""What was chosen for a region becomes its number of hosts: once, upon the number in force, within its
bounds, and never at the cost of a rollout."""

from dataclasses import replace

import pytest

from repave_controller.core.commands.lifecycle import Delete
from repave_controller.core.commands.scaling import SECONDS_MAX, Scale
from repave_controller.core.commands.steering import Resize
from repave_controller.core.domain.application import Application, Instant, Tenure
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Refusal, Why, reason_of
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.safety import check
from repave_controller.core.rules.scaling import Choice
from repave_controller.spec.loader import load
from repave_protos.protocol.values import RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import done, serving
from tests.scenarios.world import World

PARIS = RegionName("paris")
BOUNDS = "size: {min: 2, max: 10, by: requests, target: 50}"
AT_MOST = reason_of(Why.SIZE_AT_MOST, needed=14, most=10)


def scaled_spec(strategy: str = "{blue_green: {warm: 40s}}", bounds: str = BOUNDS) -> str:
    return spec(strategy, "paris:8").replace("size: 8", bounds)


def world_of(title: str, **options: str) -> World:
    return serving(title, scaled_spec(**options))


def chosen(world: World, hosts: int, before: int | None = None, **options: object) -> Scale:
    had = hosts_of(world) if before is None else before
    return Scale(PARIS, had, Choice(hosts, float(hosts), **options), Instant(world.now))  # type: ignore[arg-type]


def hosts_of(world: World) -> int:
    group = world.application.serving_in(PARIS)
    assert group is not None
    return group.size(PARIS)


def sizes(application: Application) -> dict[str, int]:
    return {str(group.name): group.size(PARIS) for group in application.groups}


def test_a_first_release_begins_with_the_least_and_later_ones_with_the_number_in_force() -> None:
    world = world_of("number in force")
    assert hosts_of(world) == 2
    assert done(world, chosen(world, 5)) is None
    world.run(30)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    assert hosts_of(world) == 5
    world.spec, _ = load(scaled_spec(bounds="size: {min: 2, max: 4}"), "repave.yaml")
    world.release("1.3")
    assert world.until_over() is Phase.SUCCEEDED
    assert hosts_of(world) == 4


def test_a_choice_is_told_with_its_reason_and_remembered() -> None:
    world = world_of("told")
    reason = reason_of(Why.SIZE_BY_LOAD, by="requests", load=240.0, needed=4.8, target=50.0)
    scale = chosen(world, 5, reason=reason)
    changed, (event,) = scale.apply(world.application, world.observed, "", "", Instant(world.now))
    assert (event.kind, event.by, event.region) == ("region.scaled", "repave", "paris")
    sized = changed.sized.find(PARIS)
    assert sized is not None
    assert (sized.before, sized.hosts, sized.by, sized.reason) == (2, 5, "repave", reason)


def test_a_choice_upon_another_number_or_of_long_ago_changes_nothing() -> None:
    world = world_of("overtaken")
    for scale, later in ((chosen(world, 5, before=3), 0.0), (chosen(world, 5), SECONDS_MAX + 1)):
        now = Instant(world.now + later)
        assert scale.apply(world.application, world.observed, "", "", now) == (world.application, ())


def test_no_group_loses_hosts_while_a_rollout_is_under_way_and_both_get_more() -> None:
    world = world_of("in a rollout", strategy="{canary: {steps: [{traffic: 50%, hold: 10m}]}}")
    assert done(world, chosen(world, 6)) is None
    world.run(30)
    world.release("1.2")
    world.run(60)
    assert sizes(world.application) == {"shop-v001": 6, "shop-v002": 6}
    fewer = chosen(world, 3)
    assert fewer.apply(world.application, world.observed, "", "", Instant(world.now))[0] is world.application
    assert done(world, chosen(world, 9)) is None
    assert sizes(world.application) == {"shop-v001": 9, "shop-v002": 9}
    assert world.until_over() is Phase.SUCCEEDED
    assert hosts_of(world) == 9


def test_a_group_that_is_kept_warm_stays_as_large_as_the_one_that_serves() -> None:
    world = world_of("warm")
    world.release("1.2")
    world.until_over()
    assert done(world, chosen(world, 6)) is None
    assert sizes(world.application) == {"shop-v001": 6, "shop-v002": 6}


def test_a_number_beyond_bounds_that_are_newer_goes_no_further_than_the_load_lets_it() -> None:
    """As after the release that brought them has gone back."""
    world = world_of("narrower")
    assert done(world, chosen(world, 9)) is None
    policy = world.application.policy
    narrower = ByRegion(replace(each, most=4) for each in policy.scaling)
    world.application = replace(world.application, policy=replace(policy, scaling=narrower))
    assert done(world, chosen(world, 7)) is None
    assert hosts_of(world) == 7
    more = chosen(world, 8)
    assert more.apply(world.application, world.observed, "", "", Instant(world.now))[0] is world.application


def test_a_person_stays_within_the_bounds_of_the_spec() -> None:
    world = world_of("a person")
    refused = done(world, Resize(((PARIS, 11),)))
    assert refused is not None
    assert refused.kind is Refusal.SIZE_OUT_OF_BOUNDS
    assert done(world, Resize(((PARIS, 7),))) is None
    sized = world.application.sized.find(PARIS)
    assert sized is not None
    assert (sized.hosts, sized.by) == (7, "ann")


def test_only_those_who_ask_change_a_number_that_nothing_chooses() -> None:
    world = world_of("by command", bounds="size: {min: 2, max: 10}")
    assert chosen(world, 5).apply(world.application, world.observed, "", "", Instant(world.now)) == (
        world.application,
        (),
    )
    assert done(world, Resize(((PARIS, 5),))) is None
    assert hosts_of(world) == 5


def test_a_trouble_is_told_when_it_begins_and_when_it_ends() -> None:
    world = world_of("trouble")
    kinds = []
    for options in (
        {"trouble": AT_MOST},
        {"trouble": reason_of(Why.SIZE_AT_MOST, needed=15, most=10)},
        {"is_open": True},
        {},
        {},
    ):
        scale = chosen(world, 2, **options)
        world.application, told = scale.apply(world.application, world.observed, "", "", Instant(world.now))
        world.decide()
        waits = [each.reason.kind for each in world.because]
        kinds.append(([each.kind for each in told], waits))
    assert kinds == [
        (["scaling.held"], [Why.SIZE_AT_MOST]),
        ([], [Why.SIZE_AT_MOST]),
        ([], [Why.SIZE_AT_MOST]),
        (["scaling.goes_on"], []),
        ([], []),
    ]


@pytest.mark.parametrize(
    ("hosts", "before", "is_rolling", "text"),
    [
        (11, 2, False, "out of the bounds"),
        (5, 3, False, "upon 3 hosts"),
        (2, 4, True, "would lose hosts"),
    ],
)
def test_the_promise_is_checked_on_each_decision(
    hosts: int, before: int, is_rolling: bool, text: str
) -> None:
    world = world_of("checked", strategy="{canary: {steps: [{traffic: 50%, hold: 10m}]}}")
    if is_rolling:
        done(world, chosen(world, 4))
        world.run(30)
        world.release("1.2")
        world.run(60)
    was = world.application
    good, _ = replace(chosen(world, 3 if not is_rolling else 5)).apply(
        was, world.observed, "", "", Instant(world.now)
    )
    sized = good.sized.find(PARIS)
    assert sized is not None
    bad = replace(good, sized=good.sized.put(replace(sized, hosts=hosts, before=before)))
    if is_rolling:
        groups = tuple(
            group.with_part(replace(part, size=hosts))
            for group in bad.groups
            if (part := group.part(PARIS)) is not None
        )
        bad = replace(bad, groups=groups)
    decision = step(bad, world.observed, Instant(world.now), Tenure(1, 1))
    found = [each.text for each in check(was, decision, world.observed) if each.promise == 13]
    assert any(text in each for each in found), found


def test_an_adopted_or_deleted_application_is_not_scaled() -> None:
    world = world_of("deleted")
    scale = chosen(world, 5)
    serving_now = world.application.serving_in(PARIS)
    assert serving_now is not None
    adopted = world.application.with_group(replace(serving_now, is_adopted=True))
    assert scale.apply(adopted, world.observed, "", "", Instant(world.now)) == (adopted, ())
    deleted, _ = Delete().apply(world.application, world.observed, "ann", "", Instant(world.now))
    assert scale.apply(deleted, world.observed, "", "", Instant(world.now)) == (deleted, ())
