"""What a load balancer of Azure says of itself: as a model, and in the agent's own words. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from repave_agent.balancers.azure_lb.model import (
    FRONTENDS,
    OURS,
    POOLS,
    PROBES,
    PROBING,
    RULES,
    Check,
    Json,
    Member,
    Place,
    Pool,
    Rule,
    State,
    Taken,
    check_of,
    reached,
)
from repave_agent.balancers.cloud.reading import in_order
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe

PORT_MAX = 65_535
UDP = {"quic": "udp"}
NONE_IS_UP = "Up_Probe_AllDownIsUp"
SHOWN_MAX = 3


def state_of(body: Json, place: Place) -> State:
    """Names and ids come back in letters of any case; ours have small ones only. A group is asked after as
    long as it has both a probe and a rule for it."""
    probes, rules = _ours(body, PROBES), _ours(body, RULES)
    pools = {
        GroupName(name): Pool(
            frozenset(_members(each["properties"])),
            _check(probes[name]["properties"]) if {name, f"{name}{PROBING}"} <= {*probes, *rules} else None,
            str(each.get("etag", "")),
        )
        for name, each in _ours(body, POOLS).items()
    }
    applications = {
        ApplicationName(name): _rule(each["properties"])
        for name, each in rules.items()
        if "_" not in name
        and _refers(each["properties"], "frontendIPConfiguration") == place.frontend.lower()
    }
    left = {name for name in (*probes, *rules) if name.removesuffix(PROBING) not in pools}
    left -= {str(name) for name in applications}
    state = body.get("properties", {}).get("provisioningState", "")
    return State(
        pools,
        applications,
        tuple(_taken(body, place)),
        state == "Failed",
        frozenset(f"{OURS}{name}" for name in left),
        body,
    )


def _ours(body: Json, collection: str) -> dict[str, Json]:
    """By their names, without the mark that they are repave's."""
    return {name: each for each in _children(body, collection) if (name := _own_name(each))}


def _children(body: Json, collection: str) -> list[Json]:
    found: list[Json] = body.get("properties", {}).get(collection) or []
    return [{"properties": {}, **each} for each in found]


def _own_name(child: Json) -> str:
    """Without the mark that it is repave's; "" for a stranger's."""
    name = str(child.get("name", "")).lower()
    return name.removeprefix(OURS) if name.startswith(OURS) else ""


def _id(child: Json) -> str:
    return str(child.get("id", "")).lower()


def _refers(properties: Json, name: str) -> str:
    return _id(properties.get(name) or {})


def _members(properties: Json) -> Iterator[Member]:
    """Ours only, which have the port in their names; an operator's address among them is put out again."""
    for address in properties.get("loadBalancerBackendAddresses") or []:
        host, _, port = str(address.get("name", "")).partition("_")
        inner = address.get("properties", {})
        number = int(port) if port.isdecimal() else 0
        is_enabled = str(inner.get("adminState") or "None").lower() != "down"
        yield Member(HostName(host), str(inner.get("ipAddress", "")), number, is_enabled)


def _check(properties: Json) -> Check:
    return Check(
        str(properties.get("protocol", "")).capitalize(),
        int(properties.get("port", 0)),
        int(properties.get("intervalInSeconds", 0)),
        int(properties.get("probeThreshold") or 1),
        str(properties.get("requestPath") or ""),
    )


def _rule(properties: Json) -> Rule:
    group = _named(properties, "backendAddressPool")
    return Rule(
        int(properties.get("frontendPort", 0)),
        int(properties.get("idleTimeoutInMinutes") or 0),
        group,
        _named(properties, "probe"),
        int(properties.get("backendPort") or 0) if group else 0,
    )


def _named(properties: Json, name: str) -> str:
    return _refers(properties, name).rpartition("/")[2].removeprefix(OURS)


def _taken(body: Json, place: Place) -> Iterator[Taken]:
    """By rules of others at the same frontend. One for all ports (of a protocol All) has port 0."""
    for collection, what in (
        (RULES, "rule"),
        ("inboundNatRules", "NAT rule"),
        ("inboundNatPools", "NAT pool"),
    ):
        for each in _children(body, collection):
            inner = each["properties"]
            is_elsewhere = _refers(inner, "frontendIPConfiguration") != place.frontend.lower()
            if is_elsewhere or (collection == RULES and _own_name(each)):
                continue
            port = int(inner.get("frontendPort") or 0)
            first = int(inner.get("frontendPortRangeStart") or port)
            last = int(inner.get("frontendPortRangeEnd") or port) or PORT_MAX
            protocol = str(inner.get("protocol", "")).lower()
            yield Taken(first, last, f"the {what} {each.get('name', '')}", UDP.get(protocol, protocol))


# ------------------------------------------------------------------------------------------ which it is


def frontend_in(body: Json, named: str) -> tuple[str, Json]:
    """The id and the properties of the frontend with that name, or of the only one. Raises LookupError with
    what is wrong, in words."""
    there = _children(body, FRONTENDS)
    names = ", ".join(str(each.get("name", "")) for each in there) or "none"
    found = [each for each in there if not named or str(each.get("name", "")).lower() == named.lower()]
    if len(found) == 1:
        return str(found[0].get("id", "")), dict(found[0]["properties"])
    if named:
        raise LookupError(f"azure_lb.frontend: {named}: there is no such frontend; it has: {names}")
    raise LookupError(f"azure_lb.frontend is not set: name one of the load balancer's frontends: {names}")


# ------------------------------------------------------------------------------------------ our own words


def structure_in(state: State, known: Structure) -> Structure:
    """As it is there. What Azure can't hold (order, the whole probe, time-outs) is as `known` where that is
    what was made there."""
    frontends = (
        _frontend(name, rule, known.frontend(name))
        for name, rule in in_order(state.rules, [each.application for each in known.frontends])
    )
    backends = (
        _backend(group, pool, known.backend(group))
        for group, pool in in_order(state.pools, [each.group for each in known.backends])
    )
    return Structure(tuple(frontends), tuple(backends))


def _frontend(name: ApplicationName, rule: Rule, known: Frontend | None) -> Frontend:
    return replace(known, port=rule.port) if known is not None else Frontend(name, rule.port)


def _backend(group: GroupName, pool: Pool, known: Backend | None) -> Backend:
    members = {member.host: member for member in pool.members}
    order = [server.host for server in known.servers] if known is not None else []
    servers = tuple(
        Server(host, member.address, member.port, member.is_enabled)
        for host, member in in_order(members, order)
    )
    check = pool.check
    port = next((server.port for server in servers), check.port if check is not None else 0)
    if known is None:
        return Backend(group, servers, _probe(check, port))
    is_as_known = check is None or check == check_of(known.probe, check.port)
    return replace(known, servers=servers, probe=known.probe if is_as_known else _probe(check, port))


def _probe(check: Check | None, port: int) -> Probe:
    if check is None or check.kind != "Http":
        return Probe("tcp", port)
    return Probe("http", port, check.path, interval_seconds=check.interval, unhealthy_after=check.threshold)


def routes_in(state: State, known: tuple[Route, ...]) -> tuple[Route, ...]:
    """As they are given there; one that does what was asked for is exactly what was asked for."""
    asked = {route.application: route for route in known}
    found = []
    for name, rule in state.rules.items():
        if not rule.group:
            continue
        route = asked.get(name)
        is_as_asked = route is not None and reached(route) == rule.group
        found.append(route if route is not None and is_as_asked else Route(name, GroupName(rule.group)))
    return tuple(found)


def up_in(health: Json) -> int:
    """How many servers Azure's own probes find up. It also calls those up that get connections only since it
    finds none."""
    return sum(_state(each) == "up" for each in _rows(health))


def wrong_in(health: Json, pool: Pool, group: GroupName) -> str:
    """What Azure's own probes find of the servers that are to have connections, in words; "" when all is
    well."""
    enabled = {member.address for member in pool.members if member.is_enabled}
    asked = [each for each in _rows(health) if each.get("ipAddress") in enabled]
    down = [each for each in asked if _state(each) == "down"]
    if not down:
        return ""
    shown = ", ".join(f"{each.get('ipAddress')} ({each.get('reason')})" for each in down[:SHOWN_MAX])
    return (
        f"Azure's own probes find {len(down)} of {len(asked)} servers of {group} down: {shown}. Do their "
        "network security group and firewall let AzureLoadBalancer (168.63.129.16) in?"
    )


def _rows(health: Json) -> list[Json]:
    return list(health.get("loadBalancerBackendAddresses") or [])


def _state(row: Json) -> str:
    """ "" of one that was not asked yet."""
    if row.get("reason") == "NA":
        return ""
    return "down" if row.get("reason") == NONE_IS_UP else str(row.get("state", "")).lower()
