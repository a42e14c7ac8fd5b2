"""Plays: people who stop, steer and resize, and the rules that stand in their way."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from repave_controller.core.commands.promotion import request_override, request_promote
from repave_controller.core.commands.release import request_release
from repave_controller.core.commands.steering import (
    request_pause,
    request_resume,
    request_size,
    request_step_back,
)
from repave_controller.core.domain.application import Application, Instant, Outcome, ReleaseOrder
from repave_controller.core.domain.freezes import Freezes, FullFreeze
from repave_controller.core.domain.limits import Limits, Load
from repave_controller.core.domain.reasons import Reason, Rule, reason_of
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.planning.plan import plan_release
from repave_controller.core.rollout.room import with_room
from repave_controller.core.rules.guards import Constraints
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.values import ApplicationName, Digest, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import HOUR, PARIS, ROME, play, rollback, serving
from tests.scenarios.world import World


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


@play
def a_size_that_a_region_lacks_is_refused(title: str) -> World:
    """A spec asks for a size that only one of its regions has: nothing begins, forced or not; with a size
    that both have it is a release like any other."""
    world = serving(title, spec("{blue_green: {warm: 10s}}", "paris:2, oslo:2"))
    why = (
        "host.size: there is no machine type xxl here, and no such word among gcp.sizes in the agent's "
        "settings; there: l, xl"
    )
    misfit = {RegionName("oslo"): reason_of(Rule.MISFIT, region="oslo", why=why)}
    for size, flag, lacks in (("xxl", "", misfit), ("xxl", " --force", misfit), ("xl", "", {})):
        order = compile_order(world.spec, Digest("2" * 64), "1.2", "ann")
        order = replace(order, template=replace(order.template, machine_sizes=(size,)), is_forced=bool(flag))
        if not lacks:
            changes = ", ".join(plan_release(world.application, order).changes)
            world.happens(f"repave plan, of host.size: {size}: {changes}")
        world.ask(
            f"ann: repave release --version 1.2{flag}, of host.size: {size}",
            _releasing(order, lacks),
        )
    assert world.until_over() is Phase.SUCCEEDED
    return world


def _releasing(
    order: ReleaseOrder, lacks: Mapping[RegionName, Reason]
) -> Callable[[Application, Instant], Outcome]:
    return lambda app, now: request_release(app, with_room(app, order, lacks), False, now)
