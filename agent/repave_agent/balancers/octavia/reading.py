"""What Octavia's lists say of one load balancer: as a model, and in the agent's own words. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from repave_agent.balancers.cloud.reading import fronts_at, in_order
from repave_agent.balancers.octavia.model import (
    OURS,
    SHARES,
    TCP,
    WITH_TLS,
    Listener,
    Member,
    Monitor,
    Policy,
    Pool,
    Silences,
    State,
    Tls,
    monitor_of,
    shares_pool,
    silences,
)
from repave_agent.balancers.shares import application_of, weights_of
from repave_agent.core.health_request import DEFAULT_HOST
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import (
    BY_REQUEST,
    FULL_WEIGHT_BP,
    USUAL_TIMEOUTS,
    ApplicationName,
    GroupName,
    HostName,
    Probe,
    Split,
    Timeouts,
)

Json = dict[str, Any]
SHARE_STEP_BP = 100
"""Weights alone give a share in whole percents."""


@dataclass(frozen=True, slots=True)
class Lists:
    """As the API gives them. `members` by the id of their pool, `rules` by that of their policy."""

    listeners: list[Json]
    pools: list[Json]
    members: Mapping[str, list[Json]]
    monitors: list[Json]
    policies: list[Json]
    rules: Mapping[str, list[Json]]


def state_of(lists: Lists, tree: Json) -> State:
    """Of two with one name the older one counts, for listeners may point to it already."""
    doubles: list[str] = []
    pools = _by_name(lists.pools, "/pools", doubles)
    listeners = _by_name(lists.listeners, "/listeners", doubles)
    names = {pool["id"]: name for name, pool in pools.items()}
    monitors = {monitor["id"]: monitor for monitor in lists.monitors}
    policies: dict[str, list[Json]] = defaultdict(list)
    for policy in lists.policies:
        policies[policy["listener_id"]].append(policy)
    return State(
        {name: _pool(pool, lists.members[pool["id"]], monitors) for name, pool in pools.items()},
        {
            ApplicationName(name): Listener(
                ApplicationName(name),
                listener["protocol_port"],
                Silences(listener["timeout_client_data"], listener["timeout_member_data"]),
                names.get(listener.get("default_pool_id") or "", ""),
                _policy(policies[listener["id"]], lists.rules, names, doubles),
                listener["id"],
                _tls(listener),
                listener.get("protocol") == TCP,
            )
            for name, listener in listeners.items()
        },
        tuple(doubles),
        tree,
    )


def _tls(listener: Json) -> Tls | None:
    if listener.get("protocol") != WITH_TLS:
        return None
    refs = listener.get("sni_container_refs") or ()
    return Tls(listener.get("default_tls_container_ref") or "", tuple(refs))


def _by_name(items: list[Json], path: str, doubles: list[str]) -> dict[str, Json]:
    chosen: dict[str, Json] = {}
    for item in _ours(items):
        if item["name"] in chosen:
            doubles.append(f"{path}/{item['id']}")
        else:
            chosen[item["name"]] = item
    return chosen


def _ours(items: list[Json]) -> list[Json]:
    """The oldest first."""
    ours = [item for item in items if OURS in item["tags"]]
    return sorted(ours, key=lambda item: (item["created_at"], item["id"]))


def _pool(pool: Json, members: list[Json], monitors: Mapping[str, Json]) -> Pool:
    found = frozenset(
        Member(
            HostName(member["name"]),
            member["address"],
            member["protocol_port"],
            member["weight"],
            member.get("operating_status", ""),
        )
        for member in members
    )
    monitor = monitors.get(pool.get("healthmonitor_id") or "")
    return Pool(
        pool["name"],
        found,
        _monitor(monitor) if monitor is not None else None,
        pool["id"],
        pool.get("protocol") == TCP,
    )


def _monitor(found: Json) -> Monitor:
    is_http = found["type"] == "HTTP"
    return Monitor(
        found["type"],
        found["delay"],
        found["timeout"],
        found["max_retries"],
        found["max_retries_down"],
        found["url_path"] if is_http else "",
        found["expected_codes"] if is_http else "",
        (found.get("domain_name") or "") if is_http else "",
        found["id"],
    )


def _policy(
    found: list[Json], rules: Mapping[str, list[Json]], names: Mapping[str, str], doubles: list[str]
) -> Policy | None:
    ours = _ours(found)
    doubles += [f"/l7policies/{policy['id']}" for policy in ours[1:]]
    if not ours:
        return None
    policy, pool = ours[0], names.get(ours[0].get("redirect_pool_id") or "", "")
    if not rules[policy["id"]]:
        return Policy("", "", "", pool, policy["id"])
    rule = rules[policy["id"]][0]
    return Policy(rule["type"], rule["key"], rule["value"], pool, policy["id"])


# ------------------------------------------------------------------------------------------ our own words


def structure_in(state: State, known: Structure) -> Structure:
    """As it is there. What Octavia can't hold (order, how requests are told apart, the whole probe) is as
    `known` where that is what was made there."""
    frontends = [
        _frontend(name, listener, known)
        for name, listener in in_order(state.listeners, [each.application for each in known.frontends])
    ]
    groups = {GroupName(name): pool for name, pool in state.pools.items() if not name.endswith(SHARES)}
    backends = [
        _backend(group, pool, known.backend(group), _timeouts(group, state, known))
        for group, pool in in_order(groups, [each.group for each in known.backends])
    ]
    return Structure(tuple(frontends), tuple(backends))


def _frontend(name: ApplicationName, listener: Listener, structure: Structure) -> Frontend:
    known = structure.frontend(name)
    seconds = listener.silences.client / 1000
    if known is not None and silences(known, ()).client == listener.silences.client:
        seconds = known.client_seconds
    fronts = fronts_at(listener.port, "tcp" if listener.is_tcp else "http", known)
    return Frontend(name, listener.port, _split(listener, known), seconds, fronts)


def _timeouts(group: GroupName, state: State, known: Structure) -> Timeouts:
    """Those of the group, as long as the listener has what follows from all groups."""
    application = application_of(group)
    listener, frontend = state.listeners.get(application), known.frontend(application)
    backend = known.backend(group)
    timeouts = backend.timeouts if backend is not None else USUAL_TIMEOUTS
    if listener is None:
        return timeouts
    if frontend is not None and silences(frontend, known.backends).host == listener.silences.host:
        return timeouts
    return replace(timeouts, server_seconds=listener.silences.host / 1000)


def _split(listener: Listener, known: Frontend | None) -> Split:
    if known is not None:
        return known.split
    policy = listener.policy
    match policy.kind if policy is not None else "":
        case "COOKIE" | "HEADER" as kind if policy is not None:
            by: Any = kind.lower()
            return Split(tester_by=by, tester_name=policy.key, tester_value=policy.value)
        case _:
            return BY_REQUEST


def _backend(group: GroupName, pool: Pool, known: Backend | None, timeouts: Timeouts) -> Backend:
    members = {member.host: member for member in pool.members}
    order = [server.host for server in known.servers] if known is not None else []
    servers = tuple(
        Server(host, member.address, member.port, member.weight > 0)
        for host, member in in_order(members, order)
    )
    fronts = known.fronts if known is not None else ()
    if known is not None and pool.monitor == monitor_of(known.probe):
        return Backend(group, servers, known.probe, timeouts, fronts)
    return Backend(group, servers, _probe(pool), timeouts, fronts)


def _probe(pool: Pool) -> Probe:
    port = next((member.port for member in pool.members), 0)
    monitor = pool.monitor
    if monitor is None or monitor.kind != "HTTP":
        return Probe("tcp", port)
    expect, host = int(monitor.expect[:3]), "" if monitor.host == DEFAULT_HOST else monitor.host
    return Probe("http", port, monitor.path, expect, (), monitor.delay, monitor.timeout, host=host)


def routes_in(state: State, structure: Structure, known: Iterable[Route]) -> tuple[Route, ...]:
    """As they are given there; one whose pool holds what was asked for is exactly what was asked for."""
    asked = {route.application: route for route in known}
    found = []
    for name, listener in state.listeners.items():
        route = Route(name, GroupName(listener.pool)) if listener.pool else None
        if listener.pool == shares_pool(name):
            route = _shared(name, state.pools[listener.pool], structure, asked.get(name))
        policy = listener.policy
        testers = GroupName(policy.pool) if policy is not None and policy.kind and policy.pool else None
        if route is not None:
            found.append(replace(route, testers=testers))
    return tuple(found)


def _shared(
    application: ApplicationName, pool: Pool, structure: Structure, asked: Route | None
) -> Route | None:
    """None when no group has any weight."""
    weights = {member.host: member.weight for member in pool.members if member.weight}
    if asked is not None and asked.second is not None:
        expected = weights_of(asked, structure)
        if weights == {host: weight for host, weight in expected.items() if weight}:
            return asked
    totals: dict[GroupName, int] = defaultdict(int)
    for backend in structure.backends:
        for server in backend.servers:
            totals[backend.group] += weights.get(server.host, 0)
    groups = sorted(group for group, total in totals.items() if total)
    if len(groups) < 2:
        return Route(application, groups[0]) if groups else None
    share_bp = totals[groups[-1]] * FULL_WEIGHT_BP / sum(totals.values())
    return Route(application, groups[0], groups[-1], round(share_bp / SHARE_STEP_BP) * SHARE_STEP_BP)
