"""What Google's load balancer shall look like, and the one call that brings it nearer. Pure.

A server group has a health check, a group of endpoints in each zone of its hosts, and a backend service. An
application has a URL map, a proxy and a forwarding rule. The map names every group of the application, with
weight 0 where it gets nothing: Google asks for the health of no backend service that is in no map. Another
share, a switch and a group for testers are each one patch of the map. While an application has no route all
its requests go to a backend service without backends, which answers 503.
"""

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from repave_agent.balancers.shares import application_of
from repave_agent.core.health_request import DEFAULT_HOST
from repave_agent.core.ports import Route, Server, Structure
from repave_protos.protocol.values import ApplicationName, HostName, Probe, Timeouts

NOWHERE = "nowhere"
"""The backend service without backends. No group is called so: a group's name has a version."""
WEIGHTS = 1000
"""What the weights of a map come to: Google's greatest weight, so shares are multiples of 10 basis points."""
STEP_BP = 10_000 // WEIGHTS
MATCHER = "all"
NAME_LENGTH_MAX = 63
CHECKS_MAX = 10
"""Google's own bound of how often a host is asked before it is believed."""
RATE_MAX = 10_000
"""Of requests a second and host. Google wants a number; none of them refuses a request."""
ENDPOINTS_MAX = 500
"""Of one call."""
HOST = "repave-host"
"""The annotation of an endpoint that says which host it is."""

Key = tuple[str, str]
"""A group and a zone."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where all of this is. `scope`: `global` or `regions/NAME`. `mark`: whose it is, by the name of the
    address, which one agent has at a time. `subnetwork`: for internal addresses."""

    scope: str
    mark: str
    address: str
    scheme: str
    network: str
    subnetwork: str = ""
    tier: str = ""

    @property
    def prefix(self) -> str:
        """How names of what is ours begin: none of these things has labels."""
        return f"repave-{hashlib.sha256(self.mark.encode()).hexdigest()[:8]}-"

    def name(self, key: str) -> str:
        """Of a group's or an application's things. Readable where Google takes it, and never another's."""
        plain = re.sub(r"[^a-z0-9-]+", "-", key.lower()).strip("-")
        if plain != key or len(self.prefix + plain) > NAME_LENGTH_MAX:
            digest = hashlib.sha256(key.encode()).hexdigest()[:8]
            plain = f"{plain[: NAME_LENGTH_MAX - len(self.prefix) - 9]}-{digest}"
        return self.prefix + plain

    def description(self, key: str) -> str:
        return json.dumps({"repave": self.mark, "name": key})

    def key(self, item: Mapping[str, Any]) -> str | None:
        """Which group's or application's it is; None of a stranger's."""
        if not str(item["name"]).startswith(self.prefix):
            return None
        try:
            told = json.loads(item.get("description", ""))
            return str(told["name"]) if told["repave"] == self.mark else None
        except (ValueError, KeyError, TypeError):
            return None

    def path(self, collection: str, key: str = "") -> str:
        return f"{self.scope}/{collection}" + (f"/{self.name(key)}" if key else "")

    def endpoints(self, key: Key) -> str:
        """The path of a group of endpoints."""
        return f"zones/{key[1]}/networkEndpointGroups/{self.name(key[0])}"


@dataclass(frozen=True, slots=True)
class Place:
    """Of an instance."""

    zone: str
    instance: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host that may get requests. `health`: what Google says of it."""

    host: HostName
    instance: str
    address: str
    port: int
    health: str = field(default="", compare=False)

    def body(self) -> dict[str, Any]:
        return {"instance": self.instance, "ipAddress": self.address, "port": self.port}


@dataclass(frozen=True, slots=True)
class Check:
    """How Google asks a host whether it is healthy. Whole seconds."""

    kind: str
    interval: int
    timeout: int
    healthy_after: int
    unhealthy_after: int
    path: str = ""
    host: str = ""

    def body(self) -> dict[str, Any]:
        of: dict[str, Any] = {"portSpecification": "USE_SERVING_PORT"}
        if self.kind == "HTTP":
            of |= {"requestPath": self.path, "host": self.host}
        return {
            "type": self.kind,
            "checkIntervalSec": self.interval,
            "timeoutSec": self.timeout,
            "healthyThreshold": self.healthy_after,
            "unhealthyThreshold": self.unhealthy_after,
            f"{self.kind.lower()}HealthCheck": of,
        }


@dataclass(frozen=True, slots=True)
class Service:
    """`zones`: of the groups of endpoints behind it. `timeout`: of an answer. `drain`: how long an endpoint
    that leaves keeps the connections that it has."""

    zones: frozenset[str]
    timeout: int
    drain: int
    fingerprint: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Testers:
    """Requests with this header go to that group."""

    header: str
    value: str
    group: str


@dataclass(frozen=True, slots=True)
class UrlMap:
    """`weights`: of groups and NOWHERE. They come to WEIGHTS."""

    weights: frozenset[tuple[str, int]]
    testers: Testers | None = None
    fingerprint: str = field(default="", compare=False)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.weights} | ({self.testers.group} if self.testers else set())

    @property
    def takers(self) -> set[str]:
        """Which get requests."""
        return {name for name, weight in self.weights if weight} | (
            {self.testers.group} if self.testers else set()
        )


@dataclass(frozen=True, slots=True)
class State:
    """All that is repave's at one address, by group or application. `rules`: ports of forwarding rules.
    `places`: of instances by their addresses, as they were read. `servers`: that are wanted in groups;
    `placed` says what follows."""

    checks: Mapping[str, Check] = field(default_factory=dict)
    endpoints: Mapping[Key, frozenset[Endpoint]] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    maps: Mapping[ApplicationName, UrlMap] = field(default_factory=dict)
    proxies: Collection[ApplicationName] = ()
    rules: Mapping[ApplicationName, frozenset[int]] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    servers: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)

    def zones(self, group: str) -> frozenset[str]:
        return frozenset(zone for name, zone in self.endpoints if name == group)


@dataclass(frozen=True, slots=True)
class Call:
    """One change. `path` begins below the project; `part`: the group or application that it is for."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    part: str = ""

    def __str__(self) -> str:
        """With the name of what is made, which is not in the path yet."""
        named = f" {self.body['name']}" if self.method == "POST" and self.body and "name" in self.body else ""
        return f"{self.method} {self.path}{named}"


# ---------------------------------------------------------------------------------------------- wanted


def wanted_state(structure: Structure, routes: tuple[Route, ...], drain: int) -> State:
    """What there shall be, but for the zones, which are known once instances are listed."""
    services = {
        str(each.group): Service(frozenset(), seconds_of(each.timeouts), drain) for each in structure.backends
    }
    given = {route.application: route for route in routes}
    maps = {}
    for frontend in structure.frontends:
        route = given.get(frontend.application)
        testers = None
        if route is not None and route.testers is not None:
            split = frontend.split
            testers = Testers(split.tester_name, split.tester_value, route.testers)
        maps[frontend.application] = UrlMap(weights_of(frontend.application, structure, route), testers)
    if maps:
        services[NOWHERE] = Service(frozenset(), seconds_of(Timeouts()), 0)
    rules = {each.application: frozenset((each.port,)) for each in structure.frontends}
    return State(
        checks={str(each.group): check_of(each.probe) for each in structure.backends},
        services=services,
        maps=maps,
        proxies=tuple(rules),
        rules=rules,
        servers={str(each.group): each.servers for each in structure.backends},
    )


def placed(wanted: State, places: Mapping[str, Place]) -> State:
    """With endpoints where instances are. A server of which there is no instance is left out. One that is not
    enabled is no endpoint: it ends what it has and gets nothing new."""
    found: dict[Key, set[Endpoint]] = {}
    for group, servers in wanted.servers.items():
        for server in servers:
            place = places.get(server.address)
            if place is None:
                continue
            there = found.setdefault((group, place.zone), set())
            if server.is_enabled:
                there.add(Endpoint(server.host, place.instance, server.address, server.port))
    endpoints = {key: frozenset(each) for key, each in found.items()}
    state = replace(wanted, endpoints=endpoints)
    services = {name: replace(each, zones=state.zones(name)) for name, each in wanted.services.items()}
    return replace(state, services=services)


def weights_of(
    application: ApplicationName, structure: Structure, route: Route | None
) -> frozenset[tuple[str, int]]:
    """500 for the second of two: {(first, 950), (second, 50), (nowhere, 0)}."""
    groups = [str(each.group) for each in structure.backends if application_of(each.group) == application]
    weights = {NOWHERE: 0 if route is not None else WEIGHTS, **dict.fromkeys(groups, 0)}
    if route is not None:
        second = round(route.second_bp / STEP_BP)
        weights[route.first] = WEIGHTS - second
        if route.second is not None:
            weights[route.second] = second
    return frozenset(weights.items())


def seconds_of(timeouts: Timeouts) -> int:
    return max(1, math.ceil(timeouts.server_seconds))


def check_of(probe: Probe) -> Check:
    """A probe by command is run by the agent alone, and so is a request that Google can't send: it takes only
    200 for an answer, and sends no headers but Host. It then looks whether the port answers."""
    is_http = probe.kind == "http" and not probe.headers and probe.expect_status == 200
    timeout = max(1, math.ceil(probe.timeout_seconds))
    return Check(
        kind="HTTP" if is_http else "TCP",
        interval=max(timeout, math.ceil(probe.interval_seconds)),
        timeout=timeout,
        healthy_after=min(probe.healthy_after, CHECKS_MAX),
        unhealthy_after=min(probe.unhealthy_after, CHECKS_MAX),
        path=probe.path if is_http else "",
        host=(probe.host or DEFAULT_HOST) if is_http else "",
    )


# ---------------------------------------------------------------------------------------------- the way


def next_call(
    present: State, wanted: State, site: Site, without: Collection[str] = (), *, is_hurried: bool = False
) -> Call | None:
    """The call that comes next; None when all is as wanted, but for the parts that are left out. What is
    named comes before what names it, and goes after it. In a hurry only what gives requests their way."""
    calls = _calls(present, placed(wanted, present.places), site, is_hurried=is_hurried)
    return next((call for call in calls if call.part not in without), None)


def _calls(present: State, wanted: State, site: Site, *, is_hurried: bool) -> Iterator[Call]:
    for group, service in wanted.services.items():
        if is_hurried and group in present.services:
            continue
        for call in _group_calls(group, service, present, wanted, site):
            yield replace(call, part="" if group == NOWHERE else group)
    for application in wanted.maps:
        for call in _door_calls(application, present, wanted, site):
            yield replace(call, part=application)
    if not is_hurried:
        yield from _removals(present, wanted, site)


def _group_calls(group: str, service: Service, present: State, wanted: State, site: Site) -> Iterator[Call]:
    """In the first steps all that the later ones name is there."""
    if group in wanted.checks and present.checks.get(group) != wanted.checks[group]:
        body = {**_named(group, site), **wanted.checks[group].body()}
        if group in present.checks:
            yield Call("PUT", site.path("healthChecks", group), body)
        else:
            yield Call("POST", site.path("healthChecks"), body)
    for key, endpoints in wanted.endpoints.items():
        if key[0] == group:
            yield from _endpoint_calls(key, present.endpoints.get(key), endpoints, site)
    for key in present.endpoints:
        if key[0] == group and key not in wanted.endpoints:
            yield from _endpoint_calls(key, present.endpoints[key], frozenset(), site)
    known, zones = present.services.get(group), service.zones | present.zones(group)
    body = {
        "backends": [_backend(site.endpoints((group, zone))) for zone in sorted(zones)],
        "timeoutSec": service.timeout,
        "connectionDraining": {"drainingTimeoutSec": service.drain},
    }
    if known is None:
        checks = {"healthChecks": [site.path("healthChecks", group)]} if group in wanted.checks else {}
        body |= {"protocol": "HTTP", "loadBalancingScheme": site.scheme, **checks, **_named(group, site)}
        yield Call("POST", site.path("backendServices"), body)
    elif known != replace(service, zones=zones):
        body["fingerprint"] = known.fingerprint
        yield Call("PATCH", site.path("backendServices", group), body)


def _named(key: str, site: Site) -> dict[str, Any]:
    return {"name": site.name(key), "description": site.description(key)}


def _backend(path: str) -> dict[str, Any]:
    return {"group": path, "balancingMode": "RATE", "maxRatePerEndpoint": RATE_MAX, "capacityScaler": 1.0}


def _endpoint_calls(
    key: Key, present: frozenset[Endpoint] | None, wanted: frozenset[Endpoint], site: Site
) -> Iterator[Call]:
    group, zone = key
    if present is None:
        body = {
            **_named(group, site),
            "networkEndpointType": "GCE_VM_IP_PORT",
            "network": f"global/networks/{site.network}",
            **({"subnetwork": site.subnetwork} if site.subnetwork else {}),
        }
        yield Call("POST", f"zones/{zone}/networkEndpointGroups", body)
        present = frozenset()
    if more := sorted(wanted - present, key=_by_host)[:ENDPOINTS_MAX]:
        listed = [{**each.body(), "annotations": {HOST: each.host}} for each in more]
        yield Call("POST", f"{site.endpoints(key)}/attachNetworkEndpoints", {"networkEndpoints": listed})
    if less := sorted(present - wanted, key=_by_host)[:ENDPOINTS_MAX]:
        listed = [each.body() for each in less]
        yield Call("POST", f"{site.endpoints(key)}/detachNetworkEndpoints", {"networkEndpoints": listed})


def _by_host(endpoint: Endpoint) -> str:
    return endpoint.host


def _door_calls(application: ApplicationName, present: State, wanted: State, site: Site) -> Iterator[Call]:
    known, ports = present.maps.get(application), wanted.rules[application]
    there = present.rules.get(application, frozenset())
    url_map = _possible(wanted.maps[application], present)
    if url_map is None:  # a group that it needs was refused
        return
    if known is None:
        body = {**_named(application, site), **map_body(url_map, site)}
        yield Call("POST", site.path("urlMaps"), body)
    elif known != url_map:
        body = {"fingerprint": known.fingerprint, **map_body(url_map, site)}
        yield Call("PATCH", site.path("urlMaps", application), body)
    if application not in present.proxies:
        body = {**_named(application, site), "urlMap": site.path("urlMaps", application)}
        yield Call("POST", site.path("targetHttpProxies"), body)
    for port in sorted(ports - there):  # a rule can't move: the other one goes once this one is there
        yield Call("POST", site.path("forwardingRules"), _rule(application, port, site))
    for port in sorted(there - ports):
        yield Call("DELETE", site.path("forwardingRules", rule_key(application, port)))


def _possible(wanted: UrlMap, present: State) -> UrlMap | None:
    """With the groups that are there; None when one that is to get requests is not."""
    if not wanted.takers <= present.services.keys():
        return None
    return replace(wanted, weights=frozenset(each for each in wanted.weights if each[0] in present.services))


def map_body(url_map: UrlMap, site: Site) -> dict[str, Any]:
    """All hosts have one matcher: a rule by a header can be in nothing else, and lists are replaced whole."""
    weighted = [
        {"backendService": site.path("backendServices", name), "weight": weight}
        for name, weight in sorted(url_map.weights)
    ]
    rules = []
    if url_map.testers is not None:
        testers = url_map.testers
        mark = {"headerName": testers.header, "exactMatch": testers.value}
        rules.append(
            {
                "priority": 1,
                "matchRules": [{"prefixMatch": "/", "headerMatches": [mark]}],
                "service": site.path("backendServices", testers.group),
            }
        )
    matcher = {
        "name": MATCHER,
        "defaultRouteAction": {"weightedBackendServices": weighted},
        "routeRules": rules,
    }
    return {
        "defaultService": site.path("backendServices", NOWHERE),
        "hostRules": [{"hosts": ["*"], "pathMatcher": MATCHER}],
        "pathMatchers": [matcher],
    }


def rule_key(application: str, port: int) -> str:
    return f"{application}-{port}"


def _rule(application: ApplicationName, port: int, site: Site) -> dict[str, Any]:
    inside = {"network": f"global/networks/{site.network}"} if site.scope != "global" else {}
    if site.scheme == "INTERNAL_MANAGED" and site.subnetwork:
        inside["subnetwork"] = site.subnetwork
    return {
        "name": site.name(rule_key(application, port)),
        "description": site.description(application),
        "IPAddress": site.address,
        "IPProtocol": "TCP",
        "portRange": str(port),
        "loadBalancingScheme": site.scheme,
        "target": site.path("targetHttpProxies", application),
        **({"networkTier": site.tier} if site.tier else {}),
        **inside,
    }


def _removals(present: State, wanted: State, site: Site) -> Iterator[Call]:
    for application in present.rules:
        for port in present.rules[application] if application not in wanted.rules else ():
            yield Call("DELETE", site.path("forwardingRules", rule_key(application, port)))
    kinds: tuple[tuple[str, Collection[str], Collection[str]], ...] = (
        ("targetHttpProxies", present.proxies, wanted.proxies),
        ("urlMaps", present.maps, wanted.maps),
        ("backendServices", present.services, wanted.services),
    )
    for collection, there, needed in kinds:
        for key in there:
            if key not in needed:
                yield Call("DELETE", site.path(collection, key))
    for group_and_zone in present.endpoints:
        if group_and_zone[0] not in wanted.services:
            yield Call("DELETE", site.endpoints(group_and_zone))
    for name in present.checks:
        if name not in wanted.checks:
            yield Call("DELETE", site.path("healthChecks", name))
