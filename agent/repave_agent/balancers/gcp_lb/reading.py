"""What Google's listings say of one address: as a model, and in the agent's own words. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from repave_agent.balancers.cloud.reading import in_order
from repave_agent.balancers.gcp_lb.model import (
    HOST,
    NOWHERE,
    STEP_BP,
    Check,
    Endpoint,
    Place,
    Service,
    Site,
    State,
    Testers,
    UrlMap,
    check_of,
    seconds_of,
    weights_of,
)
from repave_agent.clients.gcp.compute import name_of
from repave_agent.core.health_request import DEFAULT_HOST
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import (
    BY_REQUEST,
    USUAL_TIMEOUTS,
    ApplicationName,
    GroupName,
    HostName,
    Probe,
    Split,
    Timeouts,
)

Json = dict[str, Any]
HEALTHY = "HEALTHY"


@dataclass(frozen=True, slots=True)
class Lists:
    """As the API gives them. `members`: of each group of endpoints, by its link."""

    checks: list[Json] = field(default_factory=list)
    groups: list[Json] = field(default_factory=list)
    services: list[Json] = field(default_factory=list)
    maps: list[Json] = field(default_factory=list)
    proxies: list[Json] = field(default_factory=list)
    rules: list[Json] = field(default_factory=list)
    members: Mapping[str, list[Json]] = field(default_factory=dict)


def state_of(lists: Lists, site: Site, places: Mapping[str, Place]) -> State:
    """What is ours."""
    services = dict(_ours(lists.services, site))
    keys = {each["name"]: key for key, each in services.items()}
    maps = {ApplicationName(key): _map(each, keys) for key, each in _ours(lists.maps, site)}
    rules: dict[ApplicationName, frozenset[int]] = {}
    for key, each in _ours(lists.rules, site):
        name = ApplicationName(key)
        rules[name] = rules.get(name, frozenset()) | {_port_of(each)}
    return State(
        {key: _check(each) for key, each in _ours(lists.checks, site)},
        {
            (key, name_of(each["zone"])): _endpoints(lists.members.get(each["selfLink"], ()))
            for key, each in _ours(lists.groups, site)
        },
        {key: _service(each) for key, each in services.items()},
        maps,
        tuple(ApplicationName(key) for key, _ in _ours(lists.proxies, site)),
        rules,
        places=places,
    )


def _ours(items: Iterable[Json], site: Site) -> Iterable[tuple[str, Json]]:
    return ((key, each) for each in items if (key := site.key(each)) is not None)


def _port_of(rule: Json) -> int:
    return int(str(rule.get("portRange", "0")).partition("-")[0])


def stranger_at(port: int, rules: Iterable[Json], site: Site) -> str:
    """Whose forwarding rule has this port of the address; "" when it is free or ours."""
    for rule in rules:
        first, _, last = str(rule.get("portRange", "0")).partition("-")  # Google gives one port as "80-80"
        has_it = rule.get("IPAddress") == site.address and int(first) <= port <= int(last or first)
        if has_it and site.key(rule) is None:
            return str(rule["name"])
    return ""


def _check(found: Json) -> Check:
    http = found.get("httpHealthCheck", {}) if found["type"] == "HTTP" else {}
    return Check(
        found["type"],
        found["checkIntervalSec"],
        found["timeoutSec"],
        found["healthyThreshold"],
        found["unhealthyThreshold"],
        http.get("requestPath", ""),
        http.get("host", ""),
    )


def _endpoints(members: Iterable[Json]) -> frozenset[Endpoint]:
    """Without those that were detached and end what they have."""
    return frozenset(_endpoint(each) for each in members if not _is_leaving(each))


def _is_leaving(found: Json) -> bool:
    return any(each.get("healthState") == "DRAINING" for each in found.get("healths") or ())


def _endpoint(found: Json) -> Endpoint:
    endpoint = found["networkEndpoint"]
    healths = [each.get("healthState", "") for each in found.get("healths") or ()]
    return Endpoint(
        HostName((endpoint.get("annotations") or {}).get(HOST, "")),
        name_of(endpoint.get("instance", "")),
        endpoint.get("ipAddress", ""),
        endpoint.get("port", 0),
        healths[0] if healths else "",
    )


def _service(found: Json) -> Service:
    zones = (each["group"].partition("zones/")[2].partition("/")[0] for each in found.get("backends") or ())
    draining = found.get("connectionDraining") or {}
    return Service(
        frozenset(zones),
        found.get("timeoutSec", 30),
        draining.get("drainingTimeoutSec", 0),
        found.get("fingerprint", ""),
    )


def _map(found: Json, keys: Mapping[str, str]) -> UrlMap:
    """A map that is not as this agent makes them has no weights, and is written again."""
    fingerprint = found.get("fingerprint", "")
    matchers = found.get("pathMatchers") or []
    if len(matchers) != 1 or [each["hosts"] for each in found.get("hostRules") or ()] != [["*"]]:
        return UrlMap(frozenset(), None, fingerprint)
    (matcher,) = matchers
    weighted = (matcher.get("defaultRouteAction") or {}).get("weightedBackendServices") or ()
    weights = {
        keys.get(name_of(each["backendService"]), each["backendService"]): each.get("weight", 0)
        for each in weighted
    }
    return UrlMap(frozenset(weights.items()), _testers(matcher, keys), fingerprint)


def _testers(matcher: Json, keys: Mapping[str, str]) -> Testers | None:
    for rule in matcher.get("routeRules") or ():
        for match in rule["matchRules"]:
            for header in match.get("headerMatches") or ():
                service = rule.get("service", "")
                group = keys.get(name_of(service), service)
                return Testers(header["headerName"], header.get("exactMatch", ""), group)
    return None


def places_of(instances: Iterable[Json], network: str) -> dict[str, Place]:
    """By their addresses in this network: in others the same may be another's."""
    return {
        card["networkIP"]: Place(name_of(each["zone"]), each["name"])
        for each in instances
        for card in each.get("networkInterfaces") or ()
        if card.get("networkIP") and name_of(card.get("network", "")) == network
    }


# ------------------------------------------------------------------------------------------ our own words


def structure_in(state: State, known: Structure) -> Structure:
    """As it is there. What Google can't hold (order, servers that are not enabled, the whole probe) is as
    `known` where that is what was made there."""
    frontends = [
        _frontend(name, ports, state.maps.get(name), known.frontend(name))
        for name, ports in in_order(state.rules, [each.application for each in known.frontends])
        if name in state.maps and name in state.proxies
    ]
    groups = {GroupName(name): each for name, each in state.services.items() if name != NOWHERE}
    backends = [
        _backend(group, service, state, known.backend(group))
        for group, service in in_order(groups, [each.group for each in known.backends])
    ]
    return Structure(tuple(frontends), tuple(backends))


def _frontend(
    name: ApplicationName, ports: frozenset[int], url_map: UrlMap | None, known: Frontend | None
) -> Frontend:
    if known is not None:
        return known if known.port in ports else replace(known, port=min(ports))
    testers = url_map.testers if url_map is not None else None
    split = BY_REQUEST
    if testers is not None:
        split = Split(tester_by="header", tester_name=testers.header, tester_value=testers.value)
    return Frontend(name, min(ports), split)


def _backend(group: GroupName, service: Service, state: State, known: Backend | None) -> Backend:
    there = {
        (each.host, each.address, each.port): each
        for key, endpoints in state.endpoints.items()
        if key[0] == group
        for each in endpoints
    }
    servers = [
        replace(server, is_enabled=(server.host, server.address, server.port) in there)
        for server in (known.servers if known is not None else ())
    ]
    named = {server.host for server in servers}
    servers += [Server(*key) for key in sorted(there) if key[0] not in named]
    probe, timeouts = _probe(state.checks.get(group), servers), USUAL_TIMEOUTS
    if known is not None:
        probe = known.probe if check_of(known.probe) == state.checks.get(group) else probe
        timeouts = known.timeouts
    if seconds_of(timeouts) != service.timeout:
        timeouts = Timeouts(timeouts.client_seconds, float(service.timeout), timeouts.tunnel_seconds)
    return Backend(group, tuple(servers), probe, timeouts, known.fronts if known is not None else ())


def _probe(check: Check | None, servers: list[Server]) -> Probe:
    port = servers[0].port if servers else 0
    if check is None or check.kind != "HTTP":
        return Probe("tcp", port)
    host = "" if check.host == DEFAULT_HOST else check.host
    return Probe("http", port, check.path, 200, (), check.interval, check.timeout, host=host)


def routes_in(state: State, structure: Structure, known: Iterable[Route]) -> tuple[Route, ...]:
    """As they are given there; one whose map holds what was asked for is exactly what was asked for."""
    asked = {route.application: route for route in known}
    found = []
    for name, url_map in state.maps.items():
        wanted = asked.get(name)
        testers = GroupName(url_map.testers.group) if url_map.testers is not None else None
        route = _route(name, url_map)
        if wanted is not None and weights_of(name, structure, wanted) == url_map.weights:
            route = wanted
        if route is not None:
            found.append(replace(route, testers=testers))
    return tuple(found)


def _route(application: ApplicationName, url_map: UrlMap) -> Route | None:
    """None when requests go nowhere, or to more than two groups, which no agent has made so."""
    shares = {GroupName(name): weight for name, weight in url_map.weights if weight}
    if NOWHERE in shares or not 1 <= len(shares) <= 2:
        return None
    first, *second = sorted(shares)
    if not second:
        return Route(application, first)
    share_bp = shares[second[0]] * 10_000 / sum(shares.values())
    return Route(application, first, second[0], round(share_bp / STEP_BP) * STEP_BP)


def healthy(state: State, group: GroupName, structure: Structure) -> int:
    """How many of the enabled servers Google finds healthy."""
    backend = structure.backend(group)
    enabled = {server.host for server in backend.servers if server.is_enabled} if backend else set()
    return sum(
        each.host in enabled and each.health == HEALTHY
        for key, endpoints in state.endpoints.items()
        if key[0] == group
        for each in endpoints
    )
