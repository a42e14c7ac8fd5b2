"""The promises, checked on the truth at the moment of each effect. The numbers are those of ARCHITECTURE.md.

Checks know more than any agent can: what a host is, what was committed. Where an agent could not know yet
(a host that fell ill a moment ago) they forgive for the scenario's `blind_seconds`.
"""

from collections.abc import Collection

from repave_agent.core.ports import HostSpec, Route, Structure
from repave_controller.core.domain.application import UNWANTED, Application, ServerGroup
from repave_controller.core.domain.rollout import Phase, RolloutKind, TrackPhase
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredState,
    GroupName,
    RegionName,
    is_job_host,
)
from repave_simulation.scenarios.scenario import OURS
from repave_simulation.world.place import Machine, Place
from repave_simulation.world.world import World

# ------------------------------------------------------------------------------------- 1: capacity


def capacities(place: Place) -> dict[ApplicationName, int]:
    """Hosts that answer requests, by application."""
    return {route.application: _capacity(place, route, is_lenient=False) for route in place.balancer.routes}


def check_capacities(
    place: Place, before: dict[ApplicationName, int], what: str, *, left: Collection[GroupName] = ()
) -> None:
    """I1: nothing that is done to the balancer takes capacity below the floor, or below what there was.
    `left`: the groups that have lost all their traffic by it."""
    for application, had in before.items():
        decided = place.world.ledger.applications.get(application)
        route = place.balancer.route(application)
        if decided is None or route is None:
            continue
        parts = [
            part
            for name in _names(route)
            if (group := place.world.ledger.group(name)) is not None
            and (part := group.part(place.region)) is not None
        ]
        floor = min((decided.policy.floor(part.size) for part in parts), default=0)
        has = _capacity(place, route, is_lenient=True)
        if has < min(floor, had) and not (what == "routed" and _goes_back(decided, place.region, left)):
            text = f"{what}: {has} hosts of {application} answer, {had} did before, the floor is {floor}"
            place.world.broken(1, f"{place.region}: {text}")


def check_workers(place: Place, machine: Machine) -> None:
    """I1 of a worker: no host of it that works is stopped while fewer than the floor work beside it."""
    name = machine.host.application
    decided, state = place.world.ledger.applications.get(name), place.accepted.get(name)
    if decided is None or state is None or not state.is_worker or decided.deletion is not None:
        return
    group, now = place.world.ledger.group(machine.host.group), place.world.now
    if group is None or not is_known_well(place, machine):
        return
    parts = (each.part(place.region) for each in decided.groups)
    sizes = [part.size for part in parts if part is not None and part.weight_bp > 0]
    sizes += [each.count for each in state.groups if each.weight_bp > 0]
    floor = min((decided.policy.floor(size) for size in sizes), default=0)
    others = [each for each in place.ours() if each.host.application == name and each is not machine]
    works = sum(
        each.condemned_at is None
        and not is_job_host(each.host.name)
        and (each.is_well or is_unnoticed(place, each))
        and each.longest_well(now) >= place.min_healthy_seconds(each.host.group)
        for each in others
    )
    if works < floor and not _goes_back(decided, place.region, (machine.host.group,)):
        text = f"{machine.host.name} works and is stopped: {works} of {name} are left, the floor is {floor}"
        place.world.broken(1, f"{place.region}: {text}")


def _goes_back(decided: Application, region: RegionName, left: Collection[GroupName]) -> bool:
    """A way back, or away from a side that can't serve, is taken at once, with those hosts of the other group
    that are there: staying would be worse. A region that was away takes it when it is there again; the group
    it leaves was given up, whatever runs by now."""
    for group in decided.groups:
        part = group.part(region) if group.name in left else None
        if part is not None and part.state in UNWANTED:
            return True
    rollout = decided.rollout
    track = rollout.track(region) if rollout is not None else None
    return rollout is not None and (
        rollout.phase is not Phase.RUNNING
        or rollout.kind is RolloutKind.ROLLBACK
        or (track is not None and track.phase in (TrackPhase.UNDOING, TrackPhase.UNDONE))
        or (track is not None and track.refuge is not None)
    )


def _capacity(place: Place, route: Route, *, is_lenient: bool) -> int:
    count = 0
    for group in _names(route):
        for name in place.balancer.enabled(group):
            machine = place.machines.get(name)
            if machine is not None and machine.is_well:
                count += is_lenient or is_known_well(place, machine)
            elif is_lenient and (machine is None or is_unnoticed(place, machine)):
                count += 1
    return count


def is_known_well(place: Place, machine: Machine) -> bool:
    """Whether the agent has had the time to notice that the host is well again."""
    if machine.well_since is None:
        return False
    since = max(machine.well_since, machine.ill_since, place.watched_since)
    return place.world.now >= since + place.world.scenario.blind_seconds


def is_unnoticed(place: Place, machine: Machine) -> bool:
    """Whether the agent has had too little time to notice that the host is not well any more."""
    noticed_from = max(machine.ill_since, place.watched_since)
    noticed_by = noticed_from + place.world.scenario.blind_seconds
    return machine.ill_since > float("-inf") and place.world.now < noticed_by


def _names(route: Route) -> list[GroupName]:
    return [name for name in (route.first, route.second, route.baseline) if name and route.weight_bp(name)]


# --------------------------------------------------------------------- 2, 3: only to the verified


def check_arrange(place: Place, structure: Structure) -> None:
    balancer, now = place.balancer, place.world.now
    for backend in structure.backends:
        for server in backend.servers:
            machine = place.machines.get(server.host)
            if not server.is_enabled or machine is None:
                continue
            if machine.longest_well(now) < place.min_healthy_seconds(backend.group) or (
                machine.well_since is None and machine.ill_since == float("-inf")
            ):
                _broken(place, 2, f"{server.host} takes requests and was never verified")
    applications = {frontend.application for frontend in structure.frontends}
    for route in balancer.routes:
        if route.application not in applications:
            _broken(place, 1, f"{route.application} has traffic and loses its port")
    for backend in balancer.structure.backends:
        if structure.backend(backend.group) is None:
            _check_detach(place, backend.group)


def _check_detach(place: Place, group: GroupName) -> None:
    """The requests that a group still has are finished, or had drain_seconds for it."""
    balancer, now = place.balancer, place.world.now
    decided = place.world.ledger.group(group)
    left_at = balancer.left_at.get(group)
    if left_at is None or decided is None or not place.is_busy(group):
        return
    if now < left_at + decided.template.drain_seconds - 0.001:
        text = f"{group} is detached {now - left_at:.2f} s after its last requests came in, which still run"
        _broken(place, 1, text)


def check_routes(world: World, place: Place, routes: tuple[Route, ...], asked_at: float) -> None:
    """A split changes only to what the region accepted last; a group that gains is proven in all regions."""
    before = {route.application: route for route in place.balancer.routes}
    after = {route.application: route for route in routes}
    for application in before.keys() - after.keys():
        state = place.accepted.get(application)
        if state is None or state.frontend_port:
            _broken(place, 7, f"{application} loses its route")
    for application, route in after.items():
        known = before.get(application)
        if route == known:
            continue
        states = _accepted_since(place, application, asked_at)
        if known is None or _weights(route) != _weights(known):
            _check_wanted(place, route, states)
        for name in _names(route):
            if route.weight_bp(name) > (known.weight_bp(name) if known else 0):
                _check_gain(world, place, name)
        if route.testers is not None and (known is None or route.testers != known.testers):
            _check_testers(world, place, route.testers, states)


def _accepted_since(place: Place, application: ApplicationName, asked_at: float) -> list[DesiredState | None]:
    """What was the newest accepted state when the agent asked, or has been since; the newest one last."""
    superseded = (
        state for at, state in place.superseded if at >= asked_at and state.application == application
    )
    return [*superseded, place.accepted.get(application)]


def _weights(route: Route) -> dict[GroupName, int]:
    return {name: route.weight_bp(name) for name in _names(route)}


def _check_wanted(place: Place, route: Route, states: list[DesiredState | None]) -> None:
    for state in states:
        weights = {group.name: group.weight_bp for group in state.groups} if state else {}
        if all(weight_bp == weights.get(name, 0) for name, weight_bp in _weights(route).items()):
            return
    split = ", ".join(f"{name} {weight_bp} bp" for name, weight_bp in _weights(route).items())
    said = f"{states[-1].epoch}, which says otherwise" if states[-1] else "nothing"
    _broken(place, 3, f"routed to {split}; accepted last is {said}")


def _check_testers(world: World, place: Place, name: GroupName, states: list[DesiredState | None]) -> None:
    wanted = (state.group(name) for state in states if state is not None)
    if not any(group is not None and group.takes_testers for group in wanted):
        _broken(place, 3, f"testers are sent to {name}, and no accepted state says so")
    _check_gain(world, place, name)


def _check_gain(world: World, place: Place, name: GroupName) -> None:
    group = world.ledger.group(name)
    if group is None:
        _broken(place, 2, f"{name} gets traffic and was never decided")
        return
    decided = world.ledger.applications[_application_of(place, name)]
    if decided.is_watched:
        _broken(place, 2, f"{name} was adopted and is only to be watched, and gets traffic")
    for region in _together(decided, group, place.region):
        part, ever = group.part(region), len(world.places[region].proven.get(name, ()))
        if part is not None and ever < decided.policy.needed(part.judged):
            text = f"{name} gets traffic; in {region} {ever} of {part.judged} hosts were ever verified"
            _broken(place, 2, text)


def _together(decided: Application, group: ServerGroup, region: RegionName) -> set[RegionName]:
    """The region, and those that go with it in lock-step and were asked for hosts."""
    rollout = decided.running
    track = rollout.track(region) if rollout is not None and group.number in rollout.targets else None
    if rollout is None or track is None or not rollout.waves[track.wave].is_lockstep:
        return {region}
    moving = (TrackPhase.WAITING, TrackPhase.RUNNING)
    wave = [each for each in rollout.tracks if each.wave == track.wave]
    return {region, *(each.region for each in wave if each.phase in moving)}


def _application_of(place: Place, group: GroupName) -> ApplicationName:
    backend = next(
        (each.application for each in place.accepted.values() if each.group(group) is not None), None
    )
    return backend if backend is not None else ApplicationName(group.rpartition("-")[0])


# ------------------------------------------------------------------------------ 4, 5: hosts that end


def check_end(place: Place, machine: Machine) -> None:
    host = machine.host
    if machine.owner != OURS:
        _broken(place, 5, f"{host.name} belongs to {machine.owner!r} and is destroyed")
        return
    balancer = place.balancer
    is_forgotten = machine.condemned_at is not None and machine.condemned_at < place.forgot_at
    takes = balancer.reaches(host.group) and host.name in balancer.enabled(host.group)
    if host.is_running and takes and not is_forgotten:
        _broken(place, 1, f"{host.name} is destroyed while it takes requests")


def check_condemned(place: Place, machine: Machine) -> None:
    """No agent begins to destroy a host that is well and that its group, which serves or is kept, needs."""
    group, now = place.world.ledger.group(machine.host.group), place.world.now
    if group is not None and _is_looked_at(place, group):
        _broken(place, 4, f"{machine.host.name} is destroyed, and is kept to be looked at")
    wanted = place.world.ledger.kept(group, place.region) if group is not None else 0
    for state in place.accepted.values():  # a newer wish that is still on its way can't be known
        asked = state.group(machine.host.group)
        wanted = min(wanted, asked.count) if asked is not None else wanted
    if group is None or not wanted or not is_known_well(place, machine):
        return
    good = sum(
        (each.is_well or is_unnoticed(place, each)) and each.condemned_at is None
        for each in place.ours()
        if each.host.group == group.name
    )
    if good < wanted and machine.longest_well(now) > place.world.scenario.blind_seconds:
        _broken(place, 4, f"{machine.host.name} is well and wanted, and is destroyed: {good} are left")


def _is_looked_at(place: Place, group: ServerGroup) -> bool:
    """Whether it failed and is kept by the newest decision, and the agent has heard so."""
    part, decided = group.part(place.region), place.world.ledger.failed(group, place.region)
    asked = next((each for state in place.accepted.values() if (each := state.group(group.name))), None)
    return decided and part is not None and asked is not None and asked.count == 0 and asked.keeps_failed


# ---------------------------------------------------------------------------- 7, 8: what was decided


def check_accept(place: Place, state: DesiredState) -> None:
    known = place.accepted.get(state.application)
    if known is not None and state.epoch <= known.epoch:
        _broken(place, 7, f"{state.application}: {state.epoch} is accepted after {known.epoch}")
    saved = place.world.ledger.states.get((place.region, state.application, state.epoch))
    if saved != state:
        _broken(place, 7, f"{state.application}: {state.epoch} is accepted and was never saved")


def check_make(place: Place, spec: HostSpec, memory: int) -> None:
    """No name is used twice by agents that share a memory. One whose journal is lost can't know of a launch
    that is still under way, and gives its name to another host, whichever of both then comes first."""
    group = place.world.ledger.group(spec.group)
    if group is None:
        _broken(place, 5, f"{spec.name} is made and {spec.group} was never decided")
    elif group.is_adopted:
        _broken(place, 5, f"{spec.name} is made, and {spec.group} was adopted")
    elif spec.digest != group.digest:
        _broken(place, 8, f"{spec.name} is made from another image than {spec.group}")
    if (spec.name, memory) in place.names_used:
        _broken(place, 5, f"the name {spec.name} is used for a second host")


def _broken(place: Place, promise: int, text: str) -> None:
    place.world.broken(promise, f"{place.region}: {text}")
