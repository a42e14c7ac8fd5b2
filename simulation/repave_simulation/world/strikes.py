"""What happens to the world when something strikes."""

from functools import partial

from repave_protos.protocol.values import GroupName
from repave_simulation.kernel.timeline import KEEPALIVE_SECONDS
from repave_simulation.scenarios.scenario import STRIKES, Strike
from repave_simulation.world.place import Machine, Place
from repave_simulation.world.world import World

UNHEARD_SECONDS = 0.5


def prepare_strikes(world: World) -> None:
    """Puts what shall strike into the timeline."""
    for strike in world.scenario.strikes:
        world.when(strike.step, strike.at, partial(strike_now, world, strike))


def strike_now(world: World, strike: Strike) -> None:
    """Does it, unless nothing goes wrong any more."""
    if world.is_fair:
        return
    place = world.places[strike.region]
    world.tell("?", str(strike))
    world.met(strike.kind)
    until = world.now + strike.seconds
    match strike.kind:
        case "controller-killed":
            world.kill(_controller(world, strike), down_seconds=strike.seconds)
        case "agent-killed":
            world.kill(strike.region, down_seconds=strike.seconds)
        case "controller-frozen":
            world.freeze(_controller(world, strike), strike.seconds)
        case "agent-frozen":
            world.freeze(strike.region, strike.seconds)
        case "agent-loses-power":
            world.kill(strike.region, down_seconds=strike.seconds)
            place.lose_power()
        case "agent-loses-journal":
            world.kill(strike.region, down_seconds=strike.seconds)
            place.lose_journal()
        case "clock-set-back":
            world.clock_set_back_seconds += strike.seconds * 10
            world.kill(_controller(world, strike), down_seconds=1.0)
        case "store-full":
            world.store_full_until = until
        case "journal-full":
            place.journal_full_until = until
        case "provider-down":
            place.provider_down_until = until
        case "listing-lags":
            place.lag_seconds = strike.seconds
            world.later(strike.seconds * 2, lambda: setattr(place, "lag_seconds", 0.0))
        case "region-cut":
            _cut(world, place, strike.seconds)
        case "rack-dies-unheard":
            _cut(world, place, strike.seconds)
            world.later(UNHEARD_SECONDS, lambda: _strike_hosts(world, strike, place))
        case "old-message":
            world.tier.replay_old(strike.region)
        case "balancer-dies" | "balancer-forgets":
            place.balancer_dies(forgets=strike.kind == "balancer-forgets")
        case "workers-disagree":
            place.balancer.disagrees_until = until
            world.later(strike.seconds, place.on_balancer)
        case kind if kind in STRIKES:
            _strike_hosts(world, strike, place)
        case _:
            world.strike_otherwise(strike)


def _controller(world: World, strike: Strike) -> str:
    return world.controllers[strike.number % len(world.controllers)]


def _cut(world: World, place: Place, seconds: float) -> None:
    place.cut_until = world.now + seconds
    world.break_if_silent(place.region, seconds)


def _strike_hosts(world: World, strike: Strike, place: Place) -> None:
    chosen = (each for each in place.hosts() if strike.digest in (None, each.host.digest))
    machines = sorted(chosen, key=lambda each: each.host.name)
    if not machines:
        return
    one = machines[world.chance.number(0, len(machines) - 1, "struck", strike.number)]
    match strike.kind:
        case "host-dies":
            place.end_by_itself(one)
        case "host-falls-ill" | "host-hangs":
            _fall_ill(world, place, one, strike, "hangs" if strike.kind == "host-hangs" else "refuses")
        case "host-recovers":
            for machine in machines:
                if machine.behaviour.is_good:
                    place.fall_ill(machine, "")
        case "host-lies":
            one.lies = True
            place.check_servers_soon()
        case "rack-dies":
            _end_group(place, one.host.group)
        case "rack-dies-unheard":
            _end_group(place, max(machines, key=lambda each: each.host.launched_at).host.group)
        case "everybody-looks-ill":
            for machine in machines:
                _fall_ill(world, place, machine, strike, "refuses")
        case _:
            raise AssertionError(f"unknown strike: {strike.kind}")


def _end_group(place: Place, group: GroupName) -> None:
    for machine in [each for each in place.hosts() if each.host.group == group]:
        place.end_by_itself(machine)


def _fall_ill(world: World, place: Place, machine: Machine, strike: Strike, how: str) -> None:
    place.fall_ill(machine, how)
    if strike.seconds < KEEPALIVE_SECONDS and machine.behaviour.is_good:
        world.later(strike.seconds, lambda: place.fall_ill(machine, ""))
