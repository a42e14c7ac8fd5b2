"""Plays: what a failure does, by the rules of the spec and by the health of both groups."""

from repave_controller.core.commands.lifecycle import RetireGroup
from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.commands.steering import (
    request_pause,
    request_resume,
    request_retry,
)
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.rollout.step import after_suspension
from tests.scenarios.specs import spec
from tests.scenarios.stage import FOUR, HOUR, LIMA, NEW, OLD, OSLO, PARIS, WAVES, play, rollback, serving
from tests.scenarios.world import World


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


@play
def a_failed_group_is_kept_to_be_looked_at(title: str) -> World:
    """With rollback.keep_failed the hosts of a release that went back stay for a while, out of traffic. The
    next release begins beside them, no rollback goes to them, and a person may end them early."""
    extra = "rollback: {keep_failed: 1h}\n"
    world = serving(title, spec("{blue_green: {warm: 60s}}", "paris:4, oslo:4", extra))
    world.release("1.2")
    world.until(lambda each: each.weights("paris") == {NEW: 10_000})
    world.run(5)
    world.happens("every host of shop-v002 in oslo answers 500")
    world.regions[OSLO].sick.add(NEW)
    assert world.until_over() is Phase.ROLLED_BACK
    world.run(60)
    world.why()
    world.ask("ann: repave rollback --to 1.2", rollback(world, to="1.2"))
    world.release("1.3")
    assert world.until_over() is Phase.SUCCEEDED
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    world.until_told("group.destroyed: shop-v002")
    world.release("1.4")
    world.run(30)
    world.ask("ann: repave abort", lambda app, now: request_abort(app, "ann", "too slow", now))
    assert world.until_over() is Phase.ABORTED
    retire = RetireGroup("1.4")
    world.ask(
        "ann: repave groups retire shop 1.4",
        lambda app, now: retire.apply(app, world.observed, "ann", "seen enough", now),
    )
    world.until_told("group.destroyed: shop-v004")
    return world


@play
def a_soak_stands_still_without_a_controller(title: str) -> World:
    """Silence is no proof: while no controller looks a soak does not go on, whatever the clock says."""
    world = serving(title, spec("{blue_green: {warm: 5m}}", "paris:4"))
    world.release("1.2")
    world.until(lambda each: each.weights("paris") == {NEW: 10_000})
    world.run(100)
    world.why()
    world.happens("the controller is killed, and started again an hour later")
    world.now += HOUR
    world.application = after_suspension(world.application, Instant(world.now))
    world.run(1)
    world.why()
    assert world.until_over() is Phase.SUCCEEDED
    return world
