"""The scenarios: what is released, what goes wrong, what people do. Each makes a transcript named after it.

The docstring is the transcript's title; "ask N" is the number of what users of other tools have asked for.
"""

import textwrap
from collections.abc import Callable

from repave_controller.core.commands.promotion import request_override, request_promote
from repave_controller.core.commands.rollback import request_abort, request_rollback
from repave_controller.core.commands.steering import (
    request_abort_region,
    request_pause,
    request_resume,
    request_retry,
    request_size,
    request_step_back,
)
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.freezes import Freezes, FullFreeze
from repave_controller.core.domain.limits import Limits, Load
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.rules.guards import Constraints
from repave_controller.core.steps import Approve
from repave_controller.spec.loader import load
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.world import Region, World

HOUR = 3600
PARIS, OSLO, ROME, LIMA = (RegionName(name) for name in ("paris", "oslo", "rome", "lima"))
OLD, NEW = GroupName("shop-v001"), GroupName("shop-v002")

Play = Callable[[str], World]
PLAYS: dict[str, Play] = {}

WAVES = """\
waves:
  - {regions: [lima], bake: 5m}
  - {regions: [paris, oslo], bake: 2m}
  - {regions: rest}
"""
FOUR = "lima:2, paris:4, oslo:4, rome:4"


def play(made: Play) -> Play:
    PLAYS[made.__name__] = made
    return made


def serving(title: str, text: str, now: int = 0) -> World:
    """A world in which the first release serves; the transcript begins after it."""
    world = World(text, title)
    world.now = now
    world.release("1.1")
    roles = {step.role for step in world.rollout.steps if isinstance(step, Approve)}
    if roles:
        world.ask("", lambda app, now: request_promote(app, "ann", max(roles), "", now, is_full=True))
    assert world.until_over() is Phase.SUCCEEDED
    world.lines = [
        *textwrap.wrap(title, 100),
        "",
        *(f"    {line}" for line in world.spec_text.splitlines()[7:]),
        "",
    ]
    return world


def title_of(made: Play) -> str:
    return " ".join((made.__doc__ or "").split())


# --------------------------------------------------------------------------------------------- presets


@play
def blue_green(title: str) -> World:
    """Blue/green: the whole new group beside the old one, one flip in all regions together, a soak."""
    world = serving(title, spec("{blue_green: {warm: 2m}}", extra="rollback: {keep: {for: 10m}}\n"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_told("group.destroyed")
    return world


@play
def canary(title: str) -> World:
    """Canary: at each share of the traffic the new group has the hosts for it and 20 % more; all regions have
    a share before any takes the next (ask 1)."""
    steps = "[{traffic: 1%, hold: 5m}, {traffic: 25%, hold: 5m, approve: sre}]"
    world = serving(title, spec(f"{{canary: {{steps: {steps}}}}}"))
    world.release("1.2")
    world.until(lambda each: "approve" in str(each.rollout.steps[each.rollout.cursor].kind))
    world.why()
    world.ask("bob: repave promote", lambda app, now: request_promote(app, "bob", "", "", now))
    world.ask(
        "bob: repave promote --role sre",
        lambda app, now: request_promote(app, "bob", "sre", "looks good", now),
    )
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def rolling(title: str) -> World:
    """Rolling: old hosts go as new ones come; the floor is kept."""
    steps = "[{traffic: 25%}, {traffic: 50%, hold: 1m}, {traffic: 100%}]"
    world = serving(title, spec(f"{{rolling: {{steps: {steps}}}}}", extra="guards: {max_surge: 50%}\n"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    return world


@play
def rolling_on_two_hosts(title: str) -> World:
    """Rolling on two hosts that are all there is: old ones go first, one always serves; it stops after the
    first host for a person (ask 6)."""
    strategy = "{rolling: {first: old, steps: [{traffic: 50%, approve: ''}, {traffic: 100%}]}}"
    strategy = strategy.replace("''", "anybody")
    extra = "guards: {min_capacity: 50%, max_surge: 0%}\n"
    world = serving(title, spec(strategy, "paris:2", extra))
    world.release("1.2")
    world.until(lambda each: "approve" in str(each.rollout.steps[each.rollout.cursor].kind))
    world.run(30)
    world.ask(
        "bob: repave promote --role anybody",
        lambda app, now: request_promote(app, "bob", "anybody", "", now),
    )
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    return world


@play
def phased(title: str) -> World:
    """Phased: all new hosts first, then growing shares of the traffic."""
    world = serving(title, spec("{phased: {steps: [{traffic: 10%, hold: 1m}, {traffic: 50%, hold: 1m}]}}"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def highlander(title: str) -> World:
    """Highlander: as blue/green, and nothing of the old group is kept; a rollback builds it again from its
    image (ask 9)."""
    world = serving(title, spec("{highlander: {warm: 1m}}"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def own_steps(title: str) -> World:
    """A list of one's own: one host first, half of the traffic, the old group kept for a while, then gone."""
    steps = (
        "\n  steps:\n    - scale: 1\n    - verify: {}\n    - soak: 30s\n    - scale: 100%\n    - verify: {}\n"
        "    - weight: 50%\n    - soak: 1m\n    - weight: 100%\n    - keep: 2m\n    - retire: 0%"
    )
    world = serving(title, spec(steps, "paris:4"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    return world


# ----------------------------------------------------------------------------------------------- waves


@play
def waves_bake_from_completion(title: str) -> World:
    """Waves: the next one begins when the one before was watched for its bake time, counted from the end of
    its last region (asks 3, 4)."""
    world = serving(title, spec("{blue_green: {warm: 30s}}", FOUR, WAVES))
    world.release("1.2")
    world.until_told("region.done")
    world.why()
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def an_ill_region_in_its_bake_undoes_the_release(title: str) -> World:
    """A region that falls ill while its wave is watched takes all regions back, finished ones too (ask 2)."""
    world = serving(title, spec("{blue_green: {warm: 30s}}", FOUR, WAVES))
    world.release("1.2")
    world.until_told("oslo is done")
    world.run(30)
    world.happens("1.2 falls ill in lima, which had finished long ago")
    world.regions[LIMA].sick.add(NEW)
    assert world.until_over() is Phase.ROLLED_BACK
    world.until_cleaned()
    return world


@play
def scope_region_with_a_failure_budget(title: str) -> World:
    """One region may fail: it goes back by itself, the others go on; a second one stops the release."""
    extra = "rollback: {scope: region, failures: 1}\nwaves:\n  - {regions: rest, parallel: 1}\n"
    world = serving(title, spec("{blue_green: {warm: 10s}}", FOUR, extra))
    world.regions[PARIS].broken.add(NEW)
    world.regions[OSLO].broken.add(NEW)
    world.release("1.2")
    assert world.until_over() is Phase.HELD
    world.until_cleaned()
    return world


@play
def scope_wave(title: str) -> World:
    """Scope wave: the wave of the region that fails goes back, earlier waves stay, later ones never begin."""
    world = serving(title, spec("{blue_green: {warm: 30s}}", FOUR, f"rollback: {{scope: wave}}\n{WAVES}"))
    world.regions[OSLO].broken.add(NEW)
    world.release("1.2")
    assert world.until_over() is Phase.HELD
    return world


@play
def hold_on_failure(title: str) -> World:
    """Hold instead of going back: nothing moves until a person decides (ask 10); a retry begins the step anew
    and leaves what runs (asks 11, 31)."""
    extra = "rollback: {on: []}\n"
    world = serving(title, spec("{canary: {steps: [{traffic: 25%, hold: 1m}]}}", "paris:4, oslo:4", extra))
    world.release("1.2")
    world.until(lambda each: each.weights("oslo").get("shop-v002", 0) > 0)
    world.run(10)
    world.happens("1.2 falls ill in oslo")
    world.regions[OSLO].sick.add(NEW)
    world.until_told("release.held")
    world.run(600)
    world.why()
    world.happens("somebody mends its database")
    world.regions[OSLO].sick.clear()
    world.ask("ann: repave retry", lambda app, now: request_retry(app, "ann", "database mended", now))
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def neither_group_is_whole(title: str) -> World:
    """Both groups are judged before a region goes back: where neither is whole the one with more hosts up has
    the traffic, and the release is held."""
    world = serving(title, spec("{blue_green: {warm: 10m}}", "paris:10, oslo:10"))
    world.release("1.2")
    world.until(lambda each: each.weights("paris").get("shop-v002") == 10_000)
    world.run(60)
    world.happens("in paris 8 of the 10 old hosts fall ill; a little later 2 of the new ones")
    world.regions[PARIS].ill[OLD] = 8
    world.run(5)
    world.regions[PARIS].ill[NEW] = 2
    world.until_told("release.held")
    assert world.weights("paris") == {"shop-v002": 10_000}
    world.run(60)
    world.why()
    world.happens("all hosts are well again")
    world.regions[PARIS].ill.clear()
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.ROLLED_BACK
    return world


@play
def the_old_group_dies_at_a_quarter(title: str) -> World:
    """The old group dies while the new one has a quarter of the traffic and is well: the new one gets all of
    it, and the release is held until a person decides. It then goes on without giving the old one any."""
    world = serving(title, spec("{canary: {steps: [{traffic: 25%, hold: 10m}]}}", "paris:8, oslo:4"))
    world.release("1.2")
    world.until(lambda each: each.weights("paris").get("shop-v002") == 2500)
    world.run(60)
    world.happens("every host of 1.1 dies in paris, and what starts in their place as well")
    world.regions[PARIS].sick.add(OLD)
    world.until_told("release.held")
    assert world.weights("paris") == {"shop-v002": 10_000}
    assert world.counts("paris")["shop-v002"] == 8
    assert world.weights("oslo") == {"shop-v001": 7500, "shop-v002": 2500}
    world.run(60)
    world.why()
    world.ask("ann: repave retry", lambda app, now: request_retry(app, "ann", "1.2 is fine", now))
    world.until_told("traffic.moved")
    assert world.weights("paris") == {"shop-v002": 10_000}
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def the_new_group_dies_while_everything_is_paused(title: str) -> World:
    """Nothing of a paused rollout moves, but traffic still leaves a group that can't serve it; resumed, the
    new group begins again before its first share."""
    world = serving(title, spec("{canary: {steps: [{traffic: 25%, hold: 10m}]}}", "paris:8"))
    world.release("1.2")
    world.until(lambda each: each.weights("paris").get("shop-v002") == 2500)
    world.run(10)
    world.ask("ann: repave pause", lambda app, now: request_pause(app, "ann", "lunch", now))
    world.run(60)
    world.happens("every host of 1.2 falls ill")
    world.regions[PARIS].sick.add(NEW)
    world.until_told("traffic.protected")
    world.run(60)
    world.why()
    world.happens("they are well again")
    world.regions[PARIS].sick.clear()
    world.ask("ann: repave resume", lambda app, now: request_resume(app, "ann", "", now))
    assert world.until_over() is Phase.SUCCEEDED
    return world


# ------------------------------------------------------------------------------------------- rollbacks


@play
def rollback_skips_the_canary(title: str) -> World:
    """A rollback is immediate and skips the canary (ask 7). A second one says where to; to roll forward
    again is one command as well."""
    world = serving(title, spec("{canary: {steps: [{traffic: 5%, hold: 10m}]}}"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    world.run(60)
    world.ask("ann: repave rollback", rollback(world))
    world.ask("ann: repave rollback --to 1.2", rollback(world, to="1.2"))
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def each_region_goes_back_to_its_own(title: str) -> World:
    """Three regions with three pasts: 1.2 failed in oslo, and rome is new with 1.3. Each goes back to what
    served there before; rome, where nothing did, gets what is newest of that."""
    world = serving(
        title, spec("{blue_green: {warm: 10s}}", "paris:4, oslo:4", "rollback: {scope: region}\n")
    )
    world.regions[OSLO].broken.add(GroupName("shop-v002"))
    world.release("1.2")
    assert world.until_over() is Phase.HELD
    world.spec, _ = load(spec("{blue_green: {warm: 10s}}", "paris:4, oslo:4, rome:2"), "repave.yaml")
    world.regions[ROME] = Region()
    world.release("1.3")
    assert world.until_over() is Phase.SUCCEEDED
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    assert (world.weights("paris"), world.weights("oslo"), world.weights("rome")) == (
        {"shop-v002": 10_000},
        {"shop-v001": 10_000},
        {"shop-v002": 10_000},
    )
    return world


@play
def a_larger_release_goes_back(title: str) -> World:
    """The release has twice the hosts of the group before: that one grows to this size before it gets the
    traffic. Who is in a hurry says so, also while it grows."""
    world = serving(title, spec("{blue_green: {warm: 10s}}", "paris:4"))
    world.spec, _ = load(spec("{blue_green: {warm: 10s}}", "paris:8"), "repave.yaml")
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.ask("ann: repave rollback", rollback(world))
    world.run(5)
    world.why()
    assert world.weights("paris") == {"shop-v002": 10_000}
    world.ask("ann: repave rollback --now", rollback(world, at_once=True))
    assert world.until_over() is Phase.SUCCEEDED
    world.run(20)
    return world


@play
def the_way_back_is_open_when_nothing_else_is(title: str) -> World:
    """Nothing of the old group is left, the window is shut and everything is frozen: a rollback launches it
    anew and brings it back all the same."""
    extra = "windows:\n  - {from: '09:00', to: '10:00', zone: UTC}\n"
    world = serving(title, spec("{highlander: {warm: 10s}}", "paris:4", extra), 9 * HOUR)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.run(2 * HOUR)
    world.happens("bob: repave freeze --all --reason 'the network is ill'")
    world.constraints = Constraints(Freezes(FullFreeze("bob", "the network is ill", Instant(world.now))))
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    assert world.rollout.version == "1.1"
    return world


@play
def a_rollback_ends_with_a_region_away(title: str) -> World:
    """A region that is away follows by itself when it returns: the rollback ends without it, and says so."""
    world = serving(title, spec("{blue_green: {warm: 10s}}"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    away(world, OSLO)
    world.ask("ann: repave rollback", rollback(world))
    world.run(2)
    world.why()
    assert world.until_over() is Phase.SUCCEEDED
    world.why()
    back(world, OSLO)
    world.run(2)
    world.why()
    return world


@play
def rollback_grows_the_old_group_first(title: str) -> World:
    """A rolling release that is turned round half way: the old group grows to its full size before it gets
    all of the traffic back."""
    world = serving(title, spec("{rolling: {steps: [{traffic: 50%, hold: 10m}]}}", "paris:8"))
    world.release("1.2")
    world.until(lambda each: each.counts("paris").get("shop-v001") == 4)
    world.run(20)
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.ROLLED_BACK
    return world


@play
def a_smaller_warm_group(title: str) -> World:
    """The old group is kept at half of its size (ask 8); a rollback launches the rest first."""
    extra = "rollback: {keep: {size: 50%}}\n"
    world = serving(title, spec("{blue_green: {warm: 10s}}", "paris:8", extra))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    return world


def rollback(world: World, **options):  # type: ignore[no-untyped-def]
    return lambda app, now: request_rollback(app, world.observed, "ann", "", False, now, **options)


# ----------------------------------------------------------------------------------------------- people


@play
def pause_and_step_back(title: str) -> World:
    """Pause stops the clock of the soak as well; a step back gives the share of the step before."""
    steps = "[{traffic: 10%, hold: 2m}, {traffic: 50%, hold: 2m}]"
    world = serving(title, spec(f"{{canary: {{steps: {steps}}}}}", "paris:10"))
    world.release("1.2")
    world.until(lambda each: each.weights("paris").get("shop-v002") == 5000)
    world.run(30)
    world.ask("ann: repave pause", lambda app, now: request_pause(app, "ann", "lunch", now))
    world.run(3600)
    world.why()
    world.ask("ann: repave resume", lambda app, now: request_resume(app, "ann", "", now))
    world.run(30)
    world.ask("ann: repave step-back", lambda app, now: request_step_back(app, "ann", "too slow", now))
    world.run(60)
    world.ask("ann: repave resume", lambda app, now: request_resume(app, "ann", "", now))
    world.ask(
        "ann: repave promote --skip", lambda app, now: request_promote(app, "ann", "", "", now, skips=True)
    )
    world.run(10)
    world.ask(
        "ann: repave promote --skip",
        lambda app, now: request_promote(app, "ann", "", "seen enough", now, skips=True),
    )
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def one_region_is_left_out(title: str) -> World:
    """One region is aborted, the others go on."""
    world = serving(title, spec("{blue_green: {warm: 1m}}", FOUR, WAVES))
    world.release("1.2")
    world.run(5)
    world.ask(
        "ann: repave abort --region rome",
        lambda app, now: request_abort_region(app, ROME, "ann", "its data centre moves", now),
    )
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def abort_works_with_a_region_away(title: str) -> World:
    """Abort ends at any moment, also with a region away; that one is told when it returns (ask 12)."""
    world = serving(title, spec("{blue_green: {warm: 1m}}"))
    world.release("1.2")
    world.run(10)
    away(world, OSLO)
    world.ask("ann: repave abort", lambda app, now: request_abort(app, "ann", "", now))
    assert world.until_over() is Phase.ABORTED
    world.why()
    back(world, OSLO)
    world.until_told("group.destroyed")
    return world


@play
def a_region_that_is_away_is_skipped_and_caught_up(title: str) -> World:
    """A region that is away is skipped and listed; it gets the release when it returns (ask 11)."""
    extra = f"guards: {{unreachable_region: skip}}\n{WAVES}"
    world = serving(title, spec("{blue_green: {warm: 30s}}", FOUR, extra))
    away(world, ROME)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.run(600)
    back(world, ROME)
    world.until(lambda each: each.weights("rome") == {"shop-v002": 10_000})
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def a_region_that_is_lost_before_its_traffic_moves_is_skipped(title: str) -> World:
    """A region that is lost when its wave has begun and its traffic has not moved is skipped like one that
    was away: waves that are done stay, and it is caught up when it returns."""
    extra = f"guards: {{unreachable_region: skip}}\n{WAVES}"
    world = serving(title, spec("{blue_green: {warm: 30s}}", FOUR, extra))
    world.release("1.2")
    world.until(lambda each: each.counts("oslo").get("shop-v002") == 4)
    world.run(5)
    away(world, OSLO)
    world.run(10)
    world.why()
    assert world.until_over() is Phase.SUCCEEDED
    assert world.weights("lima") == {"shop-v002": 10_000}
    world.run(60)
    back(world, OSLO)
    world.until(lambda each: each.weights("oslo") == {"shop-v002": 10_000})
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    return world


@play
def sizes_change_while_a_release_runs(title: str) -> World:
    """The size of a region changes in the middle of a release: every group follows, each at its share
    (asks 14, 15, 19)."""
    world = serving(title, spec("{canary: {steps: [{traffic: 25%, hold: 5m}]}}", "paris:8"))
    world.release("1.2")
    world.until(lambda each: each.weights("paris").get("shop-v002") == 2500)
    world.ask(
        "ann: repave scale paris=16", lambda app, now: request_size(app, ((PARIS, 16),), "ann", "sale", now)
    )
    assert world.until_over() is Phase.SUCCEEDED
    world.ask(
        "ann: repave scale paris=4",
        lambda app, now: request_size(app, ((PARIS, 4),), "ann", "sale over", now),
    )
    world.until_cleaned()
    return world


@play
def windows_freezes_and_overrides(title: str) -> World:
    """Nothing begins or goes on outside a window or while everything is frozen (ask 5); the guard says until
    when; it can be overridden with a reason; a rollback is always possible."""
    extra = "windows:\n  - {from: '09:00', to: '10:00', zone: UTC}\n"
    world = serving(title, spec("{canary: {steps: [{traffic: 25%, hold: 50m}]}}", "paris:4", extra), 9 * HOUR)
    world.run(10 * HOUR - 900 - world.now)
    world.release("1.2")
    world.until(lambda each: each.weights("paris").get("shop-v002") == 2500)
    world.run(HOUR)
    world.why()
    world.ask(
        "ann: repave promote --override window",
        lambda app, now: request_override(app, "window", "ann", "sre", "", now),
    )
    world.ask(
        "ann: repave promote --override window --reason ...",
        lambda app, now: request_override(app, "window", "ann", "sre", "a security fix", now),
    )
    world.run(1)
    world.happens("bob: repave freeze --all --reason 'the network is ill'")
    world.constraints = Constraints(Freezes(FullFreeze("bob", "the network is ill", Instant(world.now))))
    world.run(60)
    world.why()
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.ROLLED_BACK
    return world


@play
def limits_over_all_applications(title: str) -> World:
    """No more regions of all applications together are in flight than the controller allows (ask 23)."""
    world = serving(title, spec("{blue_green: {warm: 10s}}", "paris:4, oslo:4"))
    world.happens("another application is being released to rome; two regions may be in flight")
    others = Load((ApplicationName("cart"),), frozenset({ROME}), hosts_in_flight=4, hosts=8, extra_hosts=4)
    world.constraints = Constraints(limits=Limits(regions_in_flight=2), others=others)
    world.release("1.2")
    world.run(5)
    world.why()
    world.happens("the release of the other application ends")
    world.constraints = Constraints(limits=Limits(regions_in_flight=2))
    assert world.until_over() is Phase.SUCCEEDED
    return world


def away(world: World, region: RegionName) -> None:
    world.happens(f"the agent of {region} is cut off")
    world.regions[region].is_connected, world.regions[region].since = False, world.now


def back(world: World, region: RegionName) -> None:
    world.happens(f"the agent of {region} is back")
    world.regions[region].is_connected, world.regions[region].since = True, world.now
    world.decide()
    for name, state in world.application.desired:
        if name == region:
            world.regions[region].desired = state
