"""Plays: which group each region goes back to, with how many hosts, and when."""

from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.freezes import Freezes, FullFreeze
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.rules.guards import Constraints
from repave_controller.spec.loader import load
from repave_protos.protocol.values import GroupName
from tests.scenarios.specs import spec
from tests.scenarios.stage import HOUR, OSLO, ROME, away, back, play, rollback, serving
from tests.scenarios.world import Region, World


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
