"""What a Standard Load Balancer of Azure shall look like, and the one call that brings it nearer. Pure.

Each group has a pool with its servers by address, and a probe. Each application has a rule, which sends what
comes in at its port to one pool: a switch is one PUT. There is no share of a rule. Azure asks only servers
that a rule sends to, so each group also has a rule for a UDP port, at which nothing listens: its servers are
known to be healthy before the switch, and before the way back. A PUT replaces the whole load balancer, so its
body is the one that was read, with no more than one part changed: what others have there stays as it is.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, GroupName, HostName, Probe

Json = dict[str, Any]

OURS = "repave_"
"""How the names of all that is repave's begin: pools, rules and probes can't be tagged. No application or
group has a _ in its name."""
PROBING = "_probe"
"""How the name of a group's UDP rule ends."""
UDP_PORTS = range(65_500, 64_500, -1)
"""Of the frontend: where groups have theirs."""
NAME_LENGTH_MAX = 80
INTERVAL_SECONDS_MIN = 5
THRESHOLD_MAX = 100
POOLS, RULES, PROBES, FRONTENDS = (
    "backendAddressPools",
    "loadBalancingRules",
    "probes",
    "frontendIPConfigurations",
)
READ_ONLY = frozenset(
    {
        "etag",
        "type",
        "provisioningState",
        "resourceGuid",
        "backendIPConfigurations",
        "outboundRule",
        "networkInterfaceIPConfiguration",
        "inboundNatRulesPortMapping",
    }
)
"""What Azure says of its own accord, and no PUT may change."""
BACK_REFERENCES = frozenset({RULES, "inboundNatRules", "inboundNatPools", "outboundRules"})
"""Read-only too, where they stand in a child of the load balancer."""


@dataclass(frozen=True, slots=True)
class Member:
    """One server in one pool. One that is not enabled ends the connections it has and gets no new ones."""

    host: HostName
    address: str
    port: int
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Check:
    """How Azure asks a server whether it is healthy: by HTTP for a 200, or whether the port answers."""

    kind: str
    port: int
    interval: int
    threshold: int
    path: str = ""

    def properties(self) -> Json:
        """While Azure finds no server healthy, all get connections: the agent has found them healthy, and to
        refuse everything helps no client."""
        return {
            "protocol": self.kind,
            "port": self.port,
            "intervalInSeconds": self.interval,
            "numberOfProbes": self.threshold,
            "probeThreshold": self.threshold,
            "noHealthyBackendsBehavior": "AllProbedUp",
            **({"requestPath": self.path} if self.path else {}),
        }


@dataclass(frozen=True, slots=True)
class Pool:
    """`check`: None where Azure does not ask its servers."""

    members: frozenset[Member]
    check: Check | None
    etag: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """Where clients come in, and which group they reach. `group` is "" as long as there is none; `probe` is
    the group whose probe it goes by."""

    port: int
    idle_minutes: int
    group: str = ""
    probe: str = ""
    backend_port: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """Ports of the frontend that are another's. `protocol`: tcp, udp or all."""

    first: int
    last: int
    by: str
    protocol: str


@dataclass(frozen=True, slots=True)
class State:
    """All of one load balancer that is repave's, and `body`: all of it, as it was read. `is_failed`: its last
    change has failed, whoever made it. `leftovers`: rules and probes of ours that belong to no pool or
    application any more."""

    pools: Mapping[GroupName, Pool] = field(default_factory=dict)
    rules: Mapping[ApplicationName, Rule] = field(default_factory=dict)
    taken: tuple[Taken, ...] = field(default=(), compare=False)
    is_failed: bool = field(default=False, compare=False)
    leftovers: frozenset[str] = field(default=frozenset(), compare=False)
    body: Json = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Which load balancer, which of its frontends, and the network of the servers: by their ids."""

    id: str
    frontend: str
    network: str


@dataclass(frozen=True, slots=True)
class Call:
    """One change. `path`: the id of what it is of; `etag`: as it was read. `group`: the one that gets the
    traffic by it. `refusal`: why Azure would refuse it, where that is known before."""

    method: str
    path: str
    body: Json | None = None
    etag: str = ""
    part: str = ""
    what: str = ""
    group: str = ""
    refusal: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('/loadBalancers/')[2]} ({self.what})"


# ---------------------------------------------------------------------------------------------- wanted


def wanted_state(structure: Structure, routes: tuple[Route, ...], idle_minutes: int) -> State:
    given = {route.application: route for route in routes}
    pools = {
        each.group: Pool(frozenset(map(_member, each.servers)), check_of(each.probe, port_of(each)))
        for each in structure.backends
    }
    rules = {}
    for frontend in structure.frontends:
        route = given.get(frontend.application)
        backend = structure.backend(reached(route)) if route is not None else None
        rules[frontend.application] = _rule(frontend, backend, idle_minutes)
    return State(pools, rules)


def _member(server: Server) -> Member:
    return Member(server.host, server.address, server.port, server.is_enabled)


def _rule(frontend: Frontend, backend: Backend | None, idle_minutes: int) -> Rule:
    if backend is None:
        return Rule(frontend.port, idle_minutes)
    return Rule(frontend.port, idle_minutes, backend.group, backend.group, port_of(backend))


def reached(route: Route) -> GroupName:
    """The group that has all of the traffic."""
    if route.second is not None and route.second_bp == FULL_WEIGHT_BP:
        return route.second
    return route.first


def port_of(backend: Backend) -> int:
    """Where a rule sends: one port for all servers of the group."""
    return next((server.port for server in backend.servers), backend.probe.port)


def check_of(probe: Probe, port: int) -> Check:
    """A probe by command is run by the agent alone, and so is a request that Azure can't send: it names the
    server's address as the host, sends no headers, and takes only a 200. It then looks whether the port
    answers."""
    is_http = probe.kind == "http" and not probe.headers and not probe.host and probe.expect_status == 200
    return Check(
        kind="Http" if is_http else "Tcp",
        port=port,
        interval=max(INTERVAL_SECONDS_MIN, math.ceil(probe.interval_seconds)),
        threshold=min(max(1, probe.unhealthy_after), THRESHOLD_MAX),
        path=probe.path if is_http else "",
    )


def lack_of_route(route: Route) -> str:
    """Why it can't be given; "" when it can."""
    if 0 < route.second_bp < FULL_WEIGHT_BP:
        return (
            f"{route.application}: Azure's load balancer only switches: it can't give {route.second} "
            f"{route.second_bp / 100:g} % of the traffic; have repave's HAProxy split it"
        )
    return ""


def lack_of_backend(backend: Backend) -> str:
    """Why it can't have such servers; "" when it can."""
    ports = sorted({server.port for server in backend.servers})
    if len(ports) > 1:
        shown = ", ".join(map(str, ports))
        return f"{backend.group}: Azure's load balancer sends to one port of all servers, not to {shown}"
    return lack_of_name(backend.group)


def lack_of_name(name: str) -> str:
    longest = NAME_LENGTH_MAX - len(OURS + PROBING)
    return f"{name}: Azure takes names of {longest} characters at most" if len(name) > longest else ""


# ---------------------------------------------------------------------------------------------- the way


def next_call(
    present: State, wanted: State, place: Place, without: Collection[str] = (), *, is_hurried: bool = False
) -> Call | None:
    """The call that comes next; None when all is as wanted, but for the parts that are left out. A pool comes
    before the rule that sends to it and goes after it. In a hurry only what requests wait for."""
    calls = _hurried(present, wanted, place) if is_hurried else _calls(present, wanted, place)
    return next((call for call in calls if call.part not in without), None)


def state_after(present: State, wanted: State, call: Call) -> State | None:
    """What is there once Azure has done the last switch that is wanted; None after other calls."""
    application = ApplicationName(call.part)
    if application not in wanted.rules:
        return None
    rules = {**present.rules, application: wanted.rules[application]}
    is_last = all(rules.get(name) == rule for name, rule in wanted.rules.items())
    return replace(present, rules=rules) if is_last else None  # the next one needs the new etag


def _hurried(present: State, wanted: State, place: Place) -> Iterator[Call]:
    used = {rule.group for rule in wanted.rules.values()}
    for group, pool in wanted.pools.items():
        known = present.pools.get(group)
        if group in used and (known is None or known.check is None):
            yield from _pool_calls(present, group, pool, place)
    for application, rule in wanted.rules.items():
        yield from _rule_calls(present, application, rule, place)


def _calls(present: State, wanted: State, place: Place) -> Iterator[Call]:
    for group, pool in wanted.pools.items():
        yield from _pool_calls(present, group, pool, place)
    for application, rule in wanted.rules.items():
        yield from _rule_calls(present, application, rule, place)
    yield from _last_calls(present, wanted, place)


def _pool_calls(present: State, group: GroupName, wanted: Pool, place: Place) -> Iterator[Call]:
    known, path = present.pools.get(group), f"{place.id}/{POOLS}/{OURS}{group}"
    if known is None or known.members != wanted.members:
        body = {
            "properties": {
                "virtualNetwork": {"id": place.network},
                "loadBalancerBackendAddresses": [
                    _address(member) for member in sorted(wanted.members, key=lambda each: each.host)
                ],
            }
        }
        etag = known.etag if known is not None else ""
        yield Call("PUT", path, body, etag, group, f"{len(wanted.members)} servers")
    elif known.check != wanted.check and wanted.check is not None:
        body = _with_probe(present, group, wanted.check, place)
        yield Call("PUT", place.id, body, _etag(present), group, f"probe of {group}")


def _address(member: Member) -> Json:
    return {
        "name": f"{member.host}_{member.port}",
        "properties": {"ipAddress": member.address, "adminState": "None" if member.is_enabled else "Down"},
    }


def _rule_calls(present: State, application: ApplicationName, wanted: Rule, place: Place) -> Iterator[Call]:
    if present.rules.get(application) == wanted:
        return
    pool = present.pools.get(GroupName(wanted.group))
    if wanted.group and (pool is None or pool.check is None):  # it was refused
        return
    name = f"{OURS}{application}"
    body = _changed(present.body, RULES, name, _rule_properties(wanted, place))
    what, lack = f"port {wanted.port} to {wanted.group or 'nothing'}", lack_of_port(present, wanted.port)
    is_served = pool is not None and any(member.is_enabled for member in pool.members)
    group = wanted.group if is_served else ""
    yield Call("PUT", place.id, body, _etag(present), application, what, group, lack)


def lack_of_port(present: State, port: int) -> str:
    """Who else has the port of the frontend, in words; "" when it is free or ours."""
    taken = (each for each in present.taken if each.protocol != "udp")
    found = next((each for each in taken if each.first <= port <= each.last), None)
    return f"port {port} is that of {found.by}: give the application another traffic.port" if found else ""


def _last_calls(present: State, wanted: State, place: Place) -> Iterator[Call]:
    """What no rule sends to any more, and what has failed."""
    gone = [group for group in present.pools if group not in wanted.pools]
    leftovers = set(present.leftovers)
    leftovers |= {f"{OURS}{name}" for name in present.rules if name not in wanted.rules}
    for group in gone:
        if present.pools[group].check is not None:
            leftovers |= {f"{OURS}{group}", f"{OURS}{group}{PROBING}"}
    if leftovers or present.is_failed:
        what = f"without {', '.join(sorted(leftovers))}" if leftovers else "again: its last change has failed"
        yield Call("PUT", place.id, _without(present.body, leftovers), _etag(present), what=what)
    for group in gone:
        path = f"{place.id}/{POOLS}/{OURS}{group}"
        yield Call("DELETE", path, etag=present.pools[group].etag, what="no longer wanted")


def _etag(present: State) -> str:
    return str(present.body.get("etag", ""))


# ------------------------------------------------------------------------------------------------ bodies


def writable(body: Json) -> Json:
    """All of it that a PUT may say: what others have there comes back as it was read."""
    plain = {key: value for key, value in body.items() if key not in READ_ONLY and key != "properties"}
    properties = {
        key: _children(value) for key, value in body.get("properties", {}).items() if key not in READ_ONLY
    }
    return {**plain, "properties": properties}


def _children(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [_child(each) if isinstance(each, dict) else each for each in value]


def _child(child: Json) -> Json:
    kept = {key: value for key, value in child.items() if key not in READ_ONLY}
    if isinstance(child.get("properties"), dict):
        inner = child["properties"]
        hidden = READ_ONLY | BACK_REFERENCES
        kept["properties"] = {key: _children(value) for key, value in inner.items() if key not in hidden}
    return kept


def _with_probe(present: State, group: GroupName, check: Check, place: Place) -> Json:
    """With the group's probe, and a rule by which Azure asks its servers."""
    known = next(
        (each for each in _of(present.body, RULES) if _same(each["name"], f"{OURS}{group}{PROBING}")), {}
    )
    port = known.get("properties", {}).get("frontendPort") or _free_port(present)
    rule = {
        "protocol": "Udp",
        "frontendIPConfiguration": {"id": place.frontend},
        "frontendPort": port,
        "backendPort": port,
        "disableOutboundSnat": True,
        **_sends_to(group, place),
    }
    made = _changed(present.body, PROBES, f"{OURS}{group}", check.properties())
    return _changed(made, RULES, f"{OURS}{group}{PROBING}", rule)


def _free_port(present: State) -> int:
    """Of UDP, at the frontend. With a thousand groups they are all taken: Azure will say so."""
    udp = [each for each in present.taken if each.protocol != "tcp"]
    ours = {
        each.get("properties", {}).get("frontendPort")
        for each in _of(present.body, RULES)
        if str(each.get("name", "")).lower().endswith(PROBING)
    }
    free = (
        port for port in UDP_PORTS if port not in ours and not any(t.first <= port <= t.last for t in udp)
    )
    return next(free, UDP_PORTS.start)


def _rule_properties(rule: Rule, place: Place) -> Json:
    return {
        "protocol": "Tcp",
        "frontendIPConfiguration": {"id": place.frontend},
        "frontendPort": rule.port,
        "backendPort": rule.backend_port or rule.port,
        "idleTimeoutInMinutes": rule.idle_minutes,
        "enableTcpReset": True,
        "disableOutboundSnat": True,
        **_sends_to(rule.group, place),
    }


def _sends_to(group: str, place: Place) -> Json:
    """None takes a property away."""
    if not group:
        return dict.fromkeys(("backendAddressPool", "backendAddressPools", "probe"))
    pool = {"id": f"{place.id}/{POOLS}/{OURS}{group}"}
    probe = {"id": f"{place.id}/{PROBES}/{OURS}{group}"}
    return {"backendAddressPool": pool, "backendAddressPools": [pool], "probe": probe}


def _without(body: Json, names: Collection[str]) -> Json:
    """Rules and probes."""
    made = writable(body)
    for name in names:
        for collection in (RULES, PROBES):
            made = _changed(made, collection, name, None)
    return made


def _of(body: Json, collection: str) -> list[Json]:
    return list(body.get("properties", {}).get(collection) or [])


def _changed(body: Json, collection: str, name: str, properties: Json | None) -> Json:
    """With one child that has these properties; None takes the child away, and so it does a property."""
    made = writable(body)
    children: list[Json] = made["properties"].get(collection) or []
    known = next((each for each in children if _same(each.get("name", ""), name)), None)
    others = [each for each in children if each is not known]
    if properties is not None:
        merged = {**(known or {}).get("properties", {}), **properties}
        kept = {key: value for key, value in merged.items() if value is not None}
        place = children.index(known) if known is not None else len(others)
        others.insert(place, {"name": name, "properties": kept})
    made["properties"] = {**made["properties"], collection: others}
    return made


def _same(one: str, other: str) -> bool:
    """Azure's names are the same in letters of any case."""
    return one.lower() == other.lower()
