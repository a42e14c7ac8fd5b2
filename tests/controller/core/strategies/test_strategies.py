"""Promises of every strategy, over any waves and failure policies, with regions that need time and may fail:
floors, shares, lock-step, waves, deadlines, and that what runs is what the plan foretold."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from repave_controller.core.domain.application import Policy, hosts_of
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import Phase, TrackPhase
from repave_controller.core.planning.plan import plan_release
from repave_controller.core.rules.guards import check_shares, precision
from repave_controller.core.steps import Soak, Weight
from repave_controller.core.strategies.checks import moments, objection
from repave_controller.core.strategies.presets import (
    Pace,
    Stage,
    blue_green,
    canary,
    highlander,
    phased,
    rolling,
)
from repave_controller.spec.loader import SpecError
from repave_controller.spec.spec import compile_order
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import Digest, GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.world import World

NAMES = ("paris", "oslo", "rome")
NEW = GroupName("shop-v002")
PACE = Pace(60.0, 5.0, 5.0)

shares = st.lists(st.integers(1, 9_999), unique=True, max_size=3).map(lambda found: [*sorted(found), 10_000])


own_shares = st.sampled_from(["0%", "25%", "33.3%", "50%", "75%", "100%"])
own_steps = st.lists(
    st.one_of(
        st.integers(1, 9).map(lambda count: f"scale: {count}"),
        own_shares.map(lambda share: f"scale: {share}"),
        own_shares.map(lambda share: f"weight: {share}"),
        own_shares.map(lambda share: f"retire: {share}"),
        st.sampled_from(["verify: {}", "verify: {}", "verify: {}", "soak: 5s", "keep: 5s"]),
    ),
    max_size=6,
)
WHOLE = ["scale: 100%", "verify: {}", "weight: 100%"]


@st.composite
def strategies(draw: st.DrawFn) -> str:
    """A strategy as a person would write it."""
    kind = draw(
        st.sampled_from(["blue_green", "canary", "rolling", "rolling", "phased", "highlander", "own"])
    )
    if kind == "own":
        own = [*draw(own_steps), *draw(st.sampled_from([WHOLE, WHOLE, []])), *draw(own_steps)]
        return f"{{steps: [{', '.join(f'{{{each}}}' for each in own)}]}}"
    if kind in ("blue_green", "highlander"):
        return f"{{{kind}: {{warm: {draw(st.integers(0, 60))}s}}}}"
    steps = ", ".join(
        f"{{traffic: {share / 100:g}%, hold: {draw(st.integers(0, 30))}s}}" for share in draw(shares)
    )
    more = ""
    if kind == "rolling":
        more = f"first: {draw(st.sampled_from(['new', 'old']))}, "
    elif kind == "canary":
        more = f"headroom: {draw(st.integers(0, 100))}%, "
    return f"{{{kind}: {{{more}steps: [{steps}]}}}}"


@st.composite
def specs(draw: st.DrawFn) -> str:
    """A whole spec: sizes, strategy, waves, failure policy, floors."""
    places = ", ".join(f"{name}:{draw(st.integers(1, 9))}" for name in NAMES)
    scope = draw(st.sampled_from(["region", "wave", "release"]))
    extra = f"rollback: {{scope: {scope}, failures: {draw(st.integers(0, 1))}}}\n"
    guards = {
        "min_capacity": draw(st.sampled_from(["", "100%", "75%", "50%", "25%", "0%"])),
        "max_surge": draw(st.sampled_from(["", "", "0%", "25%", "100%"])),
        "min_hosts": str(draw(st.sampled_from([0, 0, 1, 4, 8]))),
    }
    extra += f"guards: {{{', '.join(f'{name}: {value}' for name, value in guards.items() if value)}}}\n"
    extra += draw(
        st.sampled_from(
            [
                "",
                "waves:\n  - {regions: [rome], bake: 20s}\n  - {regions: rest}\n",
                "waves:\n  - {regions: rest, parallel: 1, bake: 5s}\n",
                "waves:\n  - {regions: [paris]}\n  - {regions: [oslo], bake: 10s}\n  - {regions: [rome]}\n",
            ]
        )
    )
    return spec(draw(strategies()), places, extra)


REFUSALS = (
    "guards.min_capacity",
    "guards.min_hosts",
    "max_surge",
    "begin with a smaller share",
    "not verified",
    "end with - weight: 100%",
    "would end with",
    "strategy.steps: ",
)


def released_once(text: str) -> World:
    try:
        world = World(text, "a property")
    except SpecError as error:
        refused = str(error)
        assume(not any(known in refused for known in REFUSALS))
        raise
    world.release("1.1")
    assert world.until_over() is Phase.SUCCEEDED
    world.run(3)
    return world


def check_now(world: World) -> None:
    """What must be so at every second of a release."""
    for name in world.regions:
        check_region(world, name)
    rollout = world.application.running
    for track in rollout.tracks if rollout is not None and rollout.phase is Phase.RUNNING else ():
        assert rollout is not None
        wave = rollout.waves[track.wave]
        if track.has_begun:
            assert all(other.is_settled for other in rollout.tracks if other.wave < track.wave)
        if wave.is_lockstep and track.phase is TrackPhase.RUNNING and not rollout.is_stopped:
            others = [each for each in rollout.tracks if each.wave == track.wave]
            assert all(each.cursor == track.cursor for each in others if each.phase is TrackPhase.RUNNING)


def check_region(world: World, name: RegionName) -> None:
    region = world.regions[name]
    state = region.desired
    weights = {group.name: group.weight_bp for group in state.groups if group.weight_bp} if state else {}
    if state is None or not weights:
        return
    assert sum(weights.values()) == 10_000
    assert len(weights) <= 2
    size = next(each.hosts for each in world.spec.regions if each.name == name)
    ready = {
        group: sum(world.now >= born + 20 for born in region.hosts[group].born)
        for group in weights
        if group in region.hosts and group not in region.sick
    }
    if not region.sick:
        policy = world.application.policy
        assert sum(ready.values()) >= policy.floor(size), world.transcript()
        for group, weight_bp in weights.items():
            assert ready[group] >= policy.carrying(size, weight_bp), world.transcript()
        there = sum(len(region.hosts[each.name].born) for each in state.groups if each.name in region.hosts)
        surge = world.spec.guards.max_surge
        assert surge is None or there <= size + hosts_of(size, surge), world.transcript()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=specs())
def test_a_release_keeps_its_floors_and_order_and_does_what_its_plan_foretold(text: str) -> None:
    world = released_once(text)
    order = compile_order(world.spec, Digest("2" * 64), "1.2", "ann")
    foretold = plan_release(world.application, order)
    world.release("1.2")
    assert world.rollout.steps == foretold.steps
    assert world.rollout.waves == foretold.waves
    seen: dict[str, list[tuple[int, int, int]]] = {name: [] for name in NAMES}
    while world.application.running is not None:
        for name in NAMES:
            now = (*_counts(world, name), world.weights(name).get(NEW, 0))
            if now[0] and seen[name][-1:] != [now]:
                seen[name].append(now)
        check_now(world)
        world.tick()
        assert world.now < 5_000, world.transcript()
    assert world.rollout.phase is Phase.SUCCEEDED
    for region in foretold.regions:
        told = [(each.new_hosts, each.old_hosts, each.weight_bp) for each in region.moments]
        told = [each for index, each in enumerate(told) if each[0] and told[index - 1 : index] != [each]]
        assert seen[region.name] == told or seen[region.name] == told[: len(seen[region.name])]
        assert max(sum(each[:2]) for each in seen[region.name]) <= region.peak


def _counts(world: World, name: str) -> tuple[int, int]:
    counts = world.counts(name)
    return counts.get(NEW, 0), counts.get("shop-v001", 0)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=specs(),
    sick=st.sets(st.sampled_from(NAMES), min_size=1),
    broken=st.sets(st.sampled_from(NAMES)),
    after=st.integers(0, 120),
)
def test_a_release_that_fails_ends_with_its_scope_on_the_old_group_and_nothing_left_behind(
    text: str, sick: set[str], broken: set[str], after: int
) -> None:
    world = released_once(text)
    for name in broken:
        world.regions[RegionName(name)].broken.add(NEW)
    world.release("1.2")
    world.run(after)
    for name in sick:
        world.regions[RegionName(name)].sick.add(NEW)
    while world.application.running is not None:
        world.tick()
        assert world.now < 20_000, world.transcript()
    world.run(30)
    rollout = world.rollout
    serving = {name: next(iter(world.weights(name))) for name in NAMES}
    assert all(world.weights(name) == {serving[name]: 10_000} for name in NAMES)
    for track in rollout.tracks:
        is_new = track.phase in (TrackPhase.DONE, TrackPhase.HELD)
        expected = NEW if is_new else "shop-v001"
        assert serving[track.region] == expected, world.transcript()
    if rollout.phase is Phase.ROLLED_BACK:
        assert set(serving.values()) == {"shop-v001"}
    if rollout.phase is Phase.ROLLED_BACK and world.spec.rollback.scope == "release":
        assert NEW not in {group.name for group in world.application.groups}
    for name in NAMES:
        assert (
            world.counts(name)[serving[name]]
            == world.regions[RegionName(name)]
            .desired.group(  # type: ignore[union-attr]
                GroupName(serving[name])
            )
            .count
        ), world.transcript()
        assert world.counts(name).get("shop-v001", 1) > 0


@given(found=shares, headroom=st.integers(0, 100), holds=st.integers(0, 100), size=st.integers(1, 60))
def test_every_preset_keeps_the_promises_in_a_region_of_any_size(
    found: list[int], headroom: int, holds: int, size: int
) -> None:
    stages = [Stage(share, float(holds)) for share in found]
    paris = [(RegionName("paris"), size)]
    for made in (
        blue_green(PACE, 10.0),
        highlander(PACE, 10.0),
        canary(PACE, stages, headroom),
        phased(PACE, stages),
    ):
        assert objection(made, Policy(min_hosts=size), paris) is None
        assert [step.weight_bp for step in made if isinstance(step, Weight)][-1] == 10_000
    largest = max(after - before for before, after in pairwise([0, *found])) / 100
    new_first, old_first = (rolling(PACE, stages, is_old_first=each) for each in (False, True))
    assert objection(new_first, Policy(min_hosts=size), paris, largest) is None
    assert all(each.hosts <= size for each in moments(old_first, *paris[0], before=size))


@pytest.mark.parametrize(
    ("size", "least"), [(4, 75), (8, 75), (40, 75), (100, 75), (9, 66), (2, 50), (3, 66)]
)
def test_rolling_old_hosts_first_in_quarters_needs_what_stays_of_them(size: int, least: int) -> None:
    """8 hosts are 6 in between, whichever group has them: 75 % of the capacity, not half of it."""
    stages = [Stage(2500), Stage(5000), Stage(7500), Stage(10_000)]
    steps, paris = rolling(PACE, stages, is_old_first=True), [(RegionName("paris"), size)]
    assert objection(steps, Policy(min_capacity_percent=float(least)), paris, 0.0) is None
    refused = objection(steps, Policy(min_capacity_percent=least + 13.0), paris, 0.0)
    assert refused is not None
    assert refused.option == "min_capacity"


def test_shares_of_the_traffic_only_grow() -> None:
    steps = canary(PACE, [Stage(100), Stage(2_500), Stage(10_000)], 20.0)
    weights = [step.weight_bp for step in steps if isinstance(step, Weight)]
    assert all(before < after for before, after in pairwise(weights))
    with pytest.raises(SpecError, match=r"shares must grow: 5% comes after 5%"):
        World(spec("{canary: {steps: [{traffic: 5%}, {traffic: 5%}]}}"), "")


@pytest.mark.parametrize(
    ("steps", "guards", "told"),
    [
        ("[{weight: 100%}]", "", "goes to hosts that are not verified"),
        (
            "[{scale: 50%}, {verify: {}}, {weight: 100%}]",
            "",
            "step 3: paris, 8 hosts: 100% of the traffic takes 8 hosts (guards.min_capacity 100%), and the "
            "new group has 4 verified: scale further and verify before",
        ),
        (
            "[{scale: 100%}, {verify: {}}, {retire: 50%}, {weight: 100%}]",
            "",
            "100% of the traffic takes 8 hosts (guards.min_capacity 100%), and the old group has 4: move",
        ),
        (
            "[{scale: 100%}, {verify: {}}, {weight: 50%}]",
            "",
            "the last weight is 50%: end with - weight: 100%",
        ),
        ("[{scale: 100%, verify: {}}]", "", "a step is exactly one of"),
        (
            "[{scale: 1}, {verify: {}}, {weight: 25%}, {scale: 100%}, {verify: {}}, {weight: 100%}]",
            "",
            "step 3: paris, 8 hosts: 25% of the traffic takes 2 hosts (guards.min_capacity 100%), and the "
            "new group has 1 verified",
        ),
        (
            "[{scale: 8}, {verify: {}}, {weight: 100%}]",
            "max_surge: 0%",
            "step 1: paris, 8 hosts: 8 old and 8 new hosts are 16 at once, max_surge 0% allows 8",
        ),
        (
            "[{scale: 8}, {verify: {}}, {weight: 100%}, {retire: 0%}, {weight: 50%}, {weight: 100%}]",
            "min_capacity: 0%",
            "step 5: paris, 8 hosts: 50% of the traffic takes 1 host",
        ),
        (
            "[{scale: 100%}, {verify: {}}, {weight: 50%}, {retire: 50%}, {retire: 0%}, {weight: 100%}]",
            "min_capacity: 0%, min_hosts: 3",
            "the old group has 0",
        ),
        (
            "[{scale: 100%}, {soak: 5m}, {verify: {}}, {weight: 100%}]",
            "",
            "step 2: soak watches hosts that are not verified yet: put verify: {} before",
        ),
        (
            "[{scale: 7}, {verify: {}}, {weight: 100%}]",
            "min_capacity: 50%",
            "the new group would end with 7 of 8 hosts verified: add scale: 100%",
        ),
    ],
)
def test_a_list_of_steps_that_would_break_a_promise_is_refused_with_the_way_out(
    steps: str, guards: str, told: str
) -> None:
    extra = f"guards: {{{guards}}}\n" if guards else ""
    with pytest.raises(SpecError) as refused:
        World(spec(f"{{steps: {steps}}}", "paris:8, oslo:4", extra), "")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("strategy", "regions", "guards", "told"),
    [
        (
            "{rolling: {first: old, steps: [{traffic: 50%}]}}",
            "paris:9",
            "min_capacity: 25%, min_hosts: 8",
            "step 1: paris, 9 hosts: 4 hosts would serve, guards.min_hosts 8 asks for 8: take smaller steps",
        ),
        (
            "{rolling: {first: old, steps: [{traffic: 50%}]}}",
            "paris:1",
            "min_capacity: 0%, max_surge: 0%",
            "step 1: paris, 1 host: 100% of the traffic takes 1 host",
        ),
        (
            "{rolling: {steps: [{traffic: 50%}]}}",
            "oslo:4, paris:40",
            "max_surge: 25%",
            "step 1: oslo, 4 hosts: 4 old and 2 new hosts are 6 at once, max_surge 25% allows 5",
        ),
        (
            "{blue_green: {}}",
            "paris:3",
            "max_surge: 50%",
            "3 old and 3 new hosts are 6 at once, max_surge 50%",
        ),
    ],
)
def test_a_spec_that_can_not_be_satisfied_is_refused_with_its_arithmetic(
    strategy: str, regions: str, guards: str, told: str
) -> None:
    with pytest.raises(SpecError) as refused:
        World(spec(strategy, regions, f"guards: {{{guards}}}\n"), "")
    assert told in str(refused.value)


def test_a_step_without_progress_fails_at_its_deadline_and_the_pause_does_not_count() -> None:
    world = released_once(spec("{blue_green: {warm: 10s}}"))
    world.release("1.2")
    world.regions[RegionName("oslo")].sick.add(NEW)
    start = world.now
    assert world.until_over() is Phase.ROLLED_BACK
    assert "verify: no progress for 95 s" in text_of(world.rollout.undo_reason)
    assert world.now - start < 130


def test_soaks_add_up_in_the_plan_and_a_first_release_has_no_canary() -> None:
    text = spec("{canary: {steps: [{traffic: 5%, hold: 10m}, {traffic: 50%, hold: 5m}]}}")
    world = World(text, "")
    order = compile_order(world.spec, Digest("1" * 64), "1.1")
    assert [step.kind for step in plan_release(world.application, order).steps] == [
        "scale",
        "verify",
        "weight",
    ]
    world.release("1.1")
    world.until_over()
    foretold = plan_release(world.application, replace(order, digest=Digest("2" * 64)))
    assert sum(step.seconds for step in foretold.steps if isinstance(step, Soak)) == 900
    assert foretold.at_least_seconds >= 900


def test_an_approval_that_nobody_gives_fails_the_step_when_it_expires() -> None:
    text = spec("{blue_green: {warm: 1s, approve: sre}}", extra="guards: {approval_expires: 10m}\n")
    world = World(text, "")
    world.release("1.1")
    began = world.now
    assert world.until_over() is Phase.ROLLED_BACK
    assert text_of(world.rollout.undo_reason).endswith("no approval within 600 s")
    assert 600 <= world.now - began < 700


def test_a_plan_says_which_shares_a_balancer_can_not_give_exactly() -> None:
    world = World(spec("{canary: {steps: [{traffic: 5%}]}}"), "")
    order = compile_order(world.spec, Digest("1" * 64), "1.1")
    paris, oslo = RegionName("paris"), RegionName("oslo")
    told = [text_of(guard.reason) for guard in precision(order, {paris: 1, oslo: 200})]
    assert told == ["oslo: its balancer gives 4 % or 6 %, not 5 %"]
    assert list(precision(order, {})) == []


SWITCHES = (
    "the balancer of oslo, rome (azure_lb) only switches: a group gets all of the traffic there or none"
)


@pytest.mark.parametrize(
    ("strategy", "share"),
    [
        ("{canary: {steps: [{traffic: 5%}, {traffic: 50%}]}}", "5 %"),
        ("{phased: {steps: [{traffic: 25%}]}}", "25 %"),
        ("{rolling: {steps: [{traffic: 50%}]}}", "50 %"),
        ("{steps: [{scale: 100%}, {verify: {}}, {weight: 0.01%}, {weight: 100%}]}", "0.01 %"),
    ],
)
def test_a_balancer_that_only_switches_is_asked_for_no_share(strategy: str, share: str) -> None:
    paris, oslo, rome = map(RegionName, ("paris", "oslo", "rome"))
    world = World(spec(strategy, "paris:4, oslo:4, rome:4"), "")
    order = compile_order(world.spec, Digest("1" * 64), "1.1")
    exact, switches = {paris: 1}, {paris: 1, oslo: 10_000, rome: 10_000}
    check_shares(order, exact, {})
    check_shares(order, {}, {})
    with pytest.raises(Refused) as refused:
        check_shares(order, switches, {paris: "haproxy", oslo: "azure_lb", rome: "azure_lb"})
    text = text_of(refused.value.reason)
    assert f"{SWITCHES}, not {share}" in text
    assert "use blue_green" in text
    assert 'balancer = "haproxy"' in text
    assert list(precision(order, switches)) == []


@pytest.mark.parametrize("strategy", ["{blue_green: {warm: 1m}}", "{highlander: {}}", "{red_black: {}}"])
def test_a_balancer_that_only_switches_can_switch(strategy: str) -> None:
    world = World(spec(strategy), "")
    order = compile_order(world.spec, Digest("1" * 64), "1.1")
    check_shares(order, {RegionName("paris"): 10_000, RegionName("oslo"): 10_000}, {})


def test_a_canary_has_at_least_so_many_hosts_in_each_region() -> None:
    text = spec(
        "{canary: {min_hosts: 3, steps: [{traffic: 1%}, {traffic: 50%}]}}", "paris:8, oslo:2, rome:40"
    )
    world = released_once(text)
    foretold = plan_release(world.application, compile_order(world.spec, Digest("2" * 64), "1.2", "ann"))
    hosts = {each.name: [moment.new_hosts for moment in each.moments] for each in foretold.regions}
    assert {name: found[0] for name, found in hosts.items()} == {"oslo": 2, "paris": 3, "rome": 3}
    assert {name: found[3] for name, found in hosts.items()} == {"oslo": 2, "paris": 5, "rome": 24}
    assert "scale: 1.2 %, at least 3, of the new hosts" in foretold.steps[0].describe()  # type: ignore[attr-defined]
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
