"""Chooses what the balancer shall look like: frontends, backends, servers, and the split between groups.

Pure. A host takes requests only once it is verified; a group only while the balancer sees some of its hosts
up; and a host that has traffic is never taken away, only a whole group that no route names any more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from repave_agent.core.fronts import fronts_of
from repave_agent.core.observation import HostFact, Observation, judged_once
from repave_agent.core.ports import Backend, BalancerView, Frontend, Route, Server, Structure
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredGroup,
    DesiredState,
    GroupName,
    HostName,
    HostPhase,
    Probe,
)

PANIC_PERCENT = 50
"""Below this share of verified hosts a group's unhealthy hosts take requests as well."""
RUNNING = (HostPhase.STARTING, HostPhase.HEALTHY, HostPhase.VERIFIED, HostPhase.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class Held:
    """A route that is not given because it would send requests where no host answers. `groups` share it."""

    state: DesiredState
    why: str
    groups: tuple[GroupName, ...]
    is_blind: bool = False  # nor is its present route known: any change of routes would lose it


@dataclass(frozen=True, slots=True)
class Share:
    """What the balancer shall have of one application, as far as that may be had now."""

    route: Route | None
    held: tuple[Held, ...]
    frontends: tuple[Frontend, ...]
    backends: tuple[Backend, ...]

    def is_had(self, state: DesiredState, balancer: BalancerView) -> bool:
        """Whether the balancer has it, and nothing else of the application's groups."""
        there = (balancer.structure.backend(group.name) for group in state.groups)
        frontend = balancer.structure.frontend(state.application)
        return (
            self.route == balancer.route(state.application)
            and self.frontends == (() if frontend is None else (frontend,))
            and self.backends == tuple(each for each in there if each is not None)
        )


Shares = Mapping[ApplicationName, Share]


def shares_of(observation: Observation) -> dict[ApplicationName, Share]:
    """Those of the applications that are observed."""
    return {state.application: _share(state, observation) for state in observation.desired}


def _share(state: DesiredState, observation: Observation) -> Share:
    if state.is_worker:
        return Share(None, (), (), ())
    route, held = _wanted_route(state, observation)
    frontends, backends = _wanted_parts(state, route, observation)
    return Share(route, held, frontends, backends)


# ---------------------------------------------------------------------------------------------- routes


def wanted_routes(
    observation: Observation, shares: Shares | None = None
) -> tuple[tuple[Route, ...], tuple[Held, ...]]:
    """The split of every application that may be had now; the present one stays where the new one is held.
    `shares`: of all applications, where some are not observed."""
    every = (shares_of(observation) if shares is None else shares).values()
    routes = [share.route for share in every if share.route is not None]
    held = [each for share in every for each in share.held]
    # The controller has not said that these should end: a lost journal proves nothing against them.
    routes += [each for each in observation.balancer.routes if _is_unspoken_of(each.application, observation)]
    return tuple(routes), tuple(held)


def _wanted_route(state: DesiredState, observation: Observation) -> tuple[Route | None, tuple[Held, ...]]:
    held = []
    present = observation.balancer.route(state.application)
    wanted = _route(state)
    reason = _reason_to_hold(state, wanted, present, observation) if wanted is not None else ""
    given = present if state.frontend_port else None
    if wanted is not None and not reason:
        given = wanted
    if reason:
        shared = tuple(group.name for group in state.groups if group.weight_bp > 0)
        is_blind = present is None and _had_traffic(state, observation)
        held.append(Held(state, reason, shared, is_blind))
    if given is not None:
        testers, reason = _testers(state, present, observation)
        given = replace(given, testers=testers, spare=_spare(state, given, observation))
        held += [Held(state, f"testers wait: {reason}", _takers(state))] if reason else []
    return given, tuple(held)


def _is_unspoken_of(application: ApplicationName, observation: Observation) -> bool:
    return application not in observation.claims.accepted


def _route(state: DesiredState) -> Route | None:
    shares = [group for group in state.groups if group.weight_bp > 0 and not group.is_baseline]
    match shares:
        case []:
            return None
        case [only]:
            return Route(state.application, only.name)
        case _:
            first, second = shares[:2]
            route = Route(state.application, first.name, second.name, second.weight_bp)
            return _beside(route, state)


def _beside(route: Route, state: DesiredState) -> Route:
    """With the baseline's share, which the first group has less."""
    for group in state.groups:
        if group.is_baseline and group.weight_bp > 0:
            return replace(route, baseline=group.name, baseline_bp=group.weight_bp)
    return route


def _takers(state: DesiredState) -> tuple[GroupName, ...]:
    return tuple(group.name for group in state.groups if group.takes_testers)


def _testers(
    state: DesiredState, present: Route | None, observation: Observation
) -> tuple[GroupName | None, str]:
    """The group that testers reach, and why it is not yet the wanted one. One that they reach already stays
    when its hosts go down: an error says more to them than the answer of another group."""
    for name in _takers(state):
        frontend = observation.balancer.structure.frontend(state.application)
        if frontend is None or frontend.split != state.split:
            return None, "the balancer does not know their mark yet"
        if present is not None and present.testers == name:
            return name, ""
        reason = _why_unanswered(name, 1, observation)
        return (None if reason else name), reason
    return None, ""


def _had_traffic(state: DesiredState, observation: Observation) -> bool:
    return any(observation.group(group.name).was_routed for group in state.groups)


def _spare(state: DesiredState, given: Route, observation: Observation) -> GroupName | None:
    """Only for the split that it was named for, and only where the balancer can fall back."""
    name, wanted = state.spare, _route(state)
    if name is None or wanted is None or not observation.balancer.falls_back:
        return None
    is_given = all(given.weight_bp(each) == wanted.weight_bp(each) for each in wanted.groups)
    return name if is_given and observation.balancer.structure.backend(name) is not None else None


def _reason_to_hold(
    state: DesiredState, wanted: Route, present: Route | None, observation: Observation
) -> str:
    """A group that would get more than now must be up behind the balancer; "" when each is."""
    shut = observation.left_out.get(state.application)
    if shut is not None and observation.balancer.structure.frontend(state.application) is None:
        return shut.why
    if wanted.baseline is not None and not observation.balancer.takes_baselines:
        return (
            f"the balancer splits in two, and has no share for {wanted.baseline}, a baseline: an operator's "
            "own HAProxy needs what `repave-agent balancer snippet` prints now"
        )
    for name in (wanted.first, wanted.second, wanted.baseline):
        if name is None or wanted.weight_bp(name) <= (present.weight_bp(name) if present else 0):
            continue
        group = state.group(name)
        reason = _why_unanswered(name, group.ready_count if group is not None else 1, observation)
        if reason:
            return reason
    return ""


def _why_unanswered(name: GroupName, ready_count: int, observation: Observation) -> str:
    """Why the group can't take requests; "" when `ready_count` of its hosts, and one at least, are up."""
    backend, needed = observation.balancer.backend(name), max(1, ready_count)
    if backend is None:
        return f"{name} is not behind the balancer yet"
    if backend.servers_up >= needed:
        return ""
    if not backend.servers_up:
        return f"no host of {name} is verified and up behind the balancer"
    return f"only {backend.servers_up} of {needed} hosts of {name} are up behind the balancer"


# ------------------------------------------------------------------------------------------- structure


def wanted_structure(observation: Observation, shares: Shares | None = None) -> Structure:
    """Frontends and backends; changes of membership are gathered, since each may cost a reload. `shares`: of
    all applications, where some are not observed."""
    every = (shares_of(observation) if shares is None else shares).values()
    present = observation.balancer.structure.frontends
    frontends = [each for share in every for each in share.frontends]
    backends = [each for share in every for each in share.backends]
    frontends += [known for known in present if _stays_open(known.application, observation)]
    named = {backend.group for backend in backends}
    # Routes first: a backend that has traffic stays even when no desired state names its group any more.
    for backend in observation.balancer.structure.backends:
        if backend.group not in named and _stays_behind(backend.group, observation):
            backends.append(backend)
    return Structure(tuple(frontends), tuple(backends))


def _wanted_parts(
    state: DesiredState, given: Route | None, observation: Observation
) -> tuple[tuple[Frontend, ...], tuple[Backend, ...]]:
    frontends = []
    behind = list(_backends(state, observation))
    known = observation.balancer.structure.frontend(state.application)
    client_seconds = max((each.template.timeouts.client_seconds for each in state.groups), default=60.0)
    fronts = fronts_of(state, known, observation.balancer.route(state.application), given)
    wanted = Frontend(state.application, state.frontend_port, state.split, client_seconds, fronts)
    if _is_left_out(state.application, wanted, observation):
        frontends += [known] if known is not None else []
        behind = [each for each in behind if known or _is_behind(each.group, observation)]
    elif state.frontend_port and (behind or known):
        frontends.append(wanted)
    elif known and observation.balancer.route(state.application) is not None:
        frontends.append(known)  # closed once no route needs it any more
    return tuple(frontends), tuple(behind)


def _stays_open(application: ApplicationName, observation: Observation) -> bool:
    """The door of an application without an accepted state: open until it is known to be needless."""
    if not _is_unspoken_of(application, observation):
        return False
    is_routed = observation.balancer.route(application) is not None
    return is_routed or not observation.claims.is_forgotten(application)


def _stays_behind(group: GroupName, observation: Observation) -> bool:
    """A backend that no desired state asks for: it has traffic, or its group may yet be wanted."""
    if has_traffic(group, observation):
        return True
    claims, hosts = observation.claims, observation.hosts_of(group)
    if group in claims.groups:
        return False
    if not hosts:  # whose it was is not known
        return claims.named is None and not claims.accepted
    return any(not claims.why_unclaimed(host.application, group) for host in hosts)


def _backends(state: DesiredState, observation: Observation) -> Iterator[Backend]:
    for group in state.groups:
        present = observation.balancer.structure.backend(group.name)
        if group.count == 0 and may_detach(group, state, observation):
            continue
        probe = group.template.probe
        if _is_left_out(group.name, probe, observation):
            if present is not None:
                yield present
            continue
        servers = _servers(group, present, observation)
        if servers or _begins_empty(group, state, observation):
            yield Backend(group.name, servers, probe, group.template.timeouts, group.template.fronts)


def _begins_empty(group: DesiredGroup, state: DesiredState, observation: Observation) -> bool:
    """Whether the balancer makes room for the group while its hosts are still being launched. The first group
    waits for them: with it clients' way in is opened. So does one with fronts of its own."""
    if group.count == 0 or group.template.fronts or not observation.balancer.takes_hosts:
        return False
    return not state.frontend_port or observation.balancer.structure.frontend(state.application) is not None


def _is_behind(group: GroupName, observation: Observation) -> bool:
    return observation.balancer.structure.backend(group) is not None


def _is_left_out(name: str, thing: Frontend | Probe, observation: Observation) -> bool:
    """Whether the balancer is known to refuse it: it stays as it is, or away, and holds up no others."""
    known = observation.left_out.get(name)
    return known is not None and known.is_still(thing, observation.now)


def why_left_out(group: DesiredGroup, state: DesiredState, observation: Observation) -> str:
    """What of the group or its application the balancer can't take; "" when it takes all."""
    found = (observation.left_out.get(name) for name in (str(state.application), str(group.name)))
    return "; ".join(each.why for each in found if each is not None)


def left_out_since(group: DesiredGroup, state: DesiredState, observation: Observation) -> float | None:
    """Since when no request can reach the group for it; None when some can."""
    structure, left_out = observation.balancer.structure, observation.left_out
    away = [
        left_out.get(state.application) if structure.frontend(state.application) is None else None,
        left_out.get(group.name) if structure.backend(group.name) is None else None,
    ]
    return min((each.since for each in away if each is not None), default=None)


def _servers(group: DesiredGroup, present: Backend | None, observation: Observation) -> tuple[Server, ...]:
    """Present servers keep their place, the gone ones disabled; new ones join once no launch is under way."""
    reached = (host for host in observation.hosts_of(group.name, *RUNNING) if host.address)
    running = {host.name: host for host in reached}
    takers = enabled(group, observation)
    known = {server.host for server in present.servers} if present else set()
    joining = [host for name, host in running.items() if name not in known]
    is_launching = bool(observation.hosts_of(group.name, HostPhase.LAUNCHING))
    is_short = present is None and len(running) < group.count and not observation.group(group.name).is_proven
    may_join = joining and not is_launching and not is_short and group.count > 0
    if present is None and not may_join:
        return ()
    has_moved = any(
        server.host in running and running[server.host].address != server.address
        for server in (present.servers if present else ())
    )
    if present is None or may_join or has_moved:
        members = sorted(running.values(), key=lambda host: (host.launched_at, host.name))
        return tuple(Server(each.name, each.address, each.port, each.name in takers) for each in members)
    return tuple(
        Server(server.host, server.address, server.port, server.host in takers) for server in present.servers
    )


@judged_once
def enabled(group: DesiredGroup, observation: Observation) -> set[HostName]:
    """Those who take requests. With fewer verified ones than half of the group, the unhealthy ones too: a bad
    check must not end the service, nor leave it to the first fresh host. The balancer still asks each of them
    for its own opinion."""
    places = keepers(group, observation)
    if len(places) * 100 < group.count * PANIC_PERCENT or not places:
        unhealthy = observation.hosts_of(group.name, HostPhase.UNHEALTHY)
        places = places + [host for host in unhealthy if host.address]
    return {host.name for host in places} | _awaiting_relief(group, observation)


@judged_once
def keepers(group: DesiredGroup, observation: Observation) -> list[HostFact]:
    """The verified hosts that the group keeps: the oldest `count`, after those that are not being replaced;
    all of them while it retires."""
    verified = observation.hosts_of(group.name, HostPhase.VERIFIED)
    verified.sort(key=lambda host: (is_replaced(host, group), host.launched_at, host.name))
    return verified[: group.count or None]


def is_replaced(host: HostFact, group: DesiredGroup) -> bool:
    """Whether a fresh host shall take its place."""
    return group.count > 0 and host.name in group.replace


def _awaiting_relief(group: DesiredGroup, observation: Observation) -> set[HostName]:
    """Replaced hosts that could go by their fresh ones' health, but not yet by the balancer's own opinion.

    10 hosts, one replaced, its fresh one is verified and was enabled just now: 11 are enabled. While the
    balancer sees 10 of them up, one of these may be the replaced one: 10 - 1 < 10, so it stays. With 11 up
    it goes.
    """
    if group.template.is_worker:
        return set()
    kept = {host.name for host in keepers(group, observation)}
    verified = observation.hosts_of(group.name, HostPhase.VERIFIED)
    leaving = {host.name for host in verified if is_replaced(host, group)} - kept
    if not leaving:
        return leaving
    backend, view = (
        observation.balancer.structure.backend(group.name),
        observation.balancer.backend(group.name),
    )
    servers = backend.servers if backend is not None else ()
    taking = sum(server.is_enabled and server.host in leaving for server in servers)
    others_up = view.servers_up - taking if view is not None else 0
    return set() if others_up >= group.count else leaving


# ------------------------------------------------------------------------------------------------ drain


def is_routed(group: DesiredGroup, state: DesiredState, observation: Observation) -> bool:
    """Whether some worker of the balancer may still send requests to the group."""
    present = observation.balancer.route(state.application)
    if present is None:
        # Workers that do not agree, or no route at all: only a group that never had traffic is surely free.
        return observation.group(group.name).was_routed and state.frontend_port != 0
    return present.reaches(group.name) or group.weight_bp > 0 or group.takes_testers


def has_traffic(group: GroupName, observation: Observation) -> bool:
    """Whether the balancer is known to send requests to the group, of whichever application."""
    return any(route.reaches(group) for route in observation.balancer.routes)


def enabled_hosts(balancer: BalancerView) -> set[HostName]:
    """Those that take requests as soon as a route leads to them."""
    servers = (server for backend in balancer.structure.backends for server in backend.servers)
    return {server.host for server in servers if server.is_enabled}


def is_awaited(state: DesiredState, observation: Observation) -> bool:
    """Whether the balancer is about to change by itself: servers coming up, requests draining."""
    for group in state.groups:
        backend = observation.balancer.backend(group.name)
        if backend is None:
            continue
        present = observation.balancer.structure.backend(group.name)
        enabled = sum(server.is_enabled for server in present.servers) if present else 0
        if group.count == 0 or backend.servers_up < enabled:
            return True
    return False


def may_detach(group: DesiredGroup, state: DesiredState, observation: Observation) -> bool:
    """Whether a retiring group has been drained: nothing in flight, or its time to drain is over."""
    if is_routed(group, state, observation):
        return False
    backend, fact = observation.balancer.backend(group.name), observation.group(group.name)
    if backend is None or not needs_drain(group, observation):
        return True
    if fact.drain_since is None:
        return False
    return backend.in_flight == 0 or observation.now >= fact.drain_since + group.template.drain_seconds


def needs_drain(group: DesiredGroup, observation: Observation) -> bool:
    """It has had traffic, as far as the agent remembers, or still has: a journal may be lost."""
    backend = observation.balancer.backend(group.name)
    return observation.group(group.name).was_routed or (backend is not None and backend.in_flight > 0)
