"""What a load balancer of Octavia shall look like, and the one call that brings it nearer. Pure.

Each group has a pool. A listener's default pool is that of the group which has all the traffic, so that a
switch is one call. Where an application has several groups it also has a pool for shares, with the servers of
all of them and their weights: another share is one call too. Nothing is remembered between two calls: what is
there is compared with what is wanted, again and again, so that it does not matter where the last one ended.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from repave_agent.balancers.shares import application_of, weights_of
from repave_agent.core.health_request import DEFAULT_HOST
from repave_agent.core.ports import Backend, Frontend, Route, Structure
from repave_protos.protocol.values import USUAL_TIMEOUTS, ApplicationName, HostName, Probe

OURS = "repave"
"""The tag of all that is repave's. Names alone would take a stranger's for ours."""
SHARES = "-shares"
"""How the pool for shares is called, after its application. No group ends so."""
TESTERS = "testers"
PLAIN, WITH_TLS, TCP = "HTTP", "TERMINATED_HTTPS", "TCP"
_DOMAIN = re.compile(
    r"(?!\d+\.)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]*[A-Za-z]{2}"
)
"""What Octavia takes for a domain: no port, no address."""
RETRIES_MAX = 10
"""Octavia's own bound of how often a server is asked before it is believed."""


@dataclass(frozen=True, slots=True)
class Member:
    """One server in one pool. `status`: what Octavia says of its health."""

    host: HostName
    address: str
    port: int
    weight: int
    status: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Monitor:
    """How Octavia asks a server whether it is healthy. Whole seconds."""

    kind: str
    delay: int
    timeout: int
    healthy_after: int
    unhealthy_after: int
    path: str = ""
    expect: str = ""
    host: str = ""
    id: str = field(default="", compare=False)

    def body(self) -> dict[str, Any]:
        http = {
            "http_version": 1.1,
            "domain_name": self.host,
            "url_path": self.path,
            "expected_codes": self.expect,
        }
        return {
            "type": self.kind,
            "delay": self.delay,
            "timeout": self.timeout,
            "max_retries": self.healthy_after,
            "max_retries_down": self.unhealthy_after,
            **(http if self.kind == "HTTP" else {}),
        }


@dataclass(frozen=True, slots=True)
class Pool:
    name: str
    members: frozenset[Member]
    monitor: Monitor | None = None
    id: str = ""
    is_tcp: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Requests with this mark go to that pool. `kind`: COOKIE or HEADER; "" as long as it has no rule."""

    kind: str
    key: str
    value: str
    pool: str
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Silences:
    """How long a listener lets a client and a host say nothing, in milliseconds."""

    client: int
    host: int

    def body(self) -> dict[str, Any]:
        return {"timeout_client_data": self.client, "timeout_member_data": self.host}


@dataclass(frozen=True, slots=True)
class Tls:
    """Barbican's references of certificates with their keys: the default one, and those that go by the name
    that a client asks for. In the order of the settings, which Octavia does not keep."""

    default: str
    by_name: tuple[str, ...] = ()

    def body(self) -> dict[str, Any]:
        return {"default_tls_container_ref": self.default, "sni_container_refs": list(self.by_name)}

    def is_as(self, other: "Tls | None") -> bool:
        return other is not None and (self.default, {*self.by_name}) == (other.default, {*other.by_name})


@dataclass(frozen=True, slots=True)
class Listener:
    """`pool` is the name of its default pool, "" when it has none. With `is_tcp` it passes connections on;
    without `tls` it speaks plain HTTP."""

    application: ApplicationName
    port: int
    silences: Silences
    pool: str = ""
    policy: Policy | None = None
    id: str = field(default="", compare=False)
    tls: Tls | None = None
    is_tcp: bool = False

    @property
    def protocol(self) -> str:
        if self.is_tcp:
            return TCP
        return PLAIN if self.tls is None else WITH_TLS


@dataclass(frozen=True, slots=True)
class State:
    """All of one load balancer that is repave's. `doubles`: paths of what is there twice, since an answer was
    lost. `tree`: Octavia's own short form of all states, as read."""

    pools: dict[str, Pool] = field(default_factory=dict)
    listeners: dict[ApplicationName, Listener] = field(default_factory=dict)
    doubles: tuple[str, ...] = ()
    tree: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to Octavia. `path` begins after /lbaas; `part`: the group or application that it is for."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    part: str = ""

    def __str__(self) -> str:
        """With the name of what is made, which is not in the path yet."""
        made = next(iter((self.body or {}).values()), None) if self.method == "POST" else None
        named = f" {made['name']}" if isinstance(made, dict) and "name" in made else ""
        return f"{self.method} {self.path}{named}"


# ---------------------------------------------------------------------------------------------- wanted

NO_TLS: Mapping[int, Tls] = MappingProxyType({})


def wanted_state(structure: Structure, routes: tuple[Route, ...], tls: Mapping[int, Tls] = NO_TLS) -> State:
    """What Octavia shall have, without ids. `tls`: by the ports that have it."""
    given = {route.application: route for route in routes}
    pools = {}
    for backend in structure.backends:
        pools[str(backend.group)] = Pool(
            backend.group,
            frozenset(_members(backend)),
            monitor_of(backend.probe),
            is_tcp=_is_tcp(backend),
        )
    for application in {application_of(backend.group) for backend in structure.backends}:
        shares = _shares(application, structure, given.get(application))
        if shares is not None:
            pools[shares.name] = shares
    listeners = {}
    for frontend in structure.frontends:
        route = given.get(frontend.application)
        policy = None
        if route is not None and route.testers is not None:
            split = frontend.split
            policy = Policy(split.tester_by.upper(), split.tester_name, split.tester_value, route.testers)
        listeners[frontend.application] = Listener(
            frontend.application,
            frontend.port,
            silences(frontend, structure.backends),
            _default_pool(route),
            policy,
            tls=None if _is_tcp(frontend) else tls.get(frontend.port),
            is_tcp=_is_tcp(frontend),
        )
    return State(pools, listeners)


def _is_tcp(part: Frontend | Backend) -> bool:
    return any(front.is_tcp for front in part.fronts)


def silences(frontend: Frontend, backends: Iterable[Backend]) -> Silences:
    """A listener has one patience with the hosts of all groups: that of the most patient one."""
    ours = (each for each in backends if application_of(each.group) == frontend.application)
    host_seconds = max((each.timeouts.server_seconds for each in ours), default=USUAL_TIMEOUTS.server_seconds)
    return Silences(_milliseconds(frontend.client_seconds), _milliseconds(host_seconds))


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def shares_pool(application: ApplicationName) -> str:
    return f"{application}{SHARES}"


def _default_pool(route: Route | None) -> str:
    if route is None:
        return ""
    return route.first if route.second is None else shares_pool(route.application)


def _members(backend: Backend) -> Iterator[Member]:
    """A server that is not enabled stays with weight 0: it ends what it has and gets nothing new."""
    for server in backend.servers:
        yield Member(server.host, server.address, server.port, int(server.is_enabled))


def _shares(application: ApplicationName, structure: Structure, route: Route | None) -> Pool | None:
    """It is there, with the present split, before a share is given: then that is one call."""
    backends = [each for each in structure.backends if application_of(each.group) == application]
    if len(backends) < 2:
        return None
    weights = weights_of(route, structure) if route is not None else {}
    members = frozenset(
        Member(server.host, server.address, server.port, weights.get(server.host, 0))
        for backend in backends
        for server in backend.servers
    )
    newest = backends[-1]
    return Pool(shares_pool(application), members, monitor_of(newest.probe), is_tcp=_is_tcp(newest))


def monitor_of(probe: Probe) -> Monitor:
    """A probe by command is run by the agent alone, and so is a request that Octavia can't send: it knows no
    headers but Host, and no Host but a name. It then looks whether the port answers."""
    host = probe.host or DEFAULT_HOST
    is_http = probe.kind == "http" and not probe.headers and _DOMAIN.fullmatch(host) is not None
    return Monitor(
        kind="HTTP" if is_http else "TCP",
        delay=max(1, math.ceil(probe.interval_seconds)),
        timeout=max(1, math.ceil(probe.timeout_seconds)),
        healthy_after=min(probe.healthy_after, RETRIES_MAX),
        unhealthy_after=min(probe.unhealthy_after, RETRIES_MAX),
        path=probe.path if is_http else "",
        expect=str(probe.expect_status) if is_http else "",
        host=host if is_http else "",
    )


# ---------------------------------------------------------------------------------------------- the way


def next_call(
    present: State,
    wanted: State,
    load_balancer: str,
    subnet: str = "",
    without: Collection[str] = (),
    *,
    is_hurried: bool = False,
) -> Call | None:
    """The call that comes next; None when all is as wanted, but for the parts that are left out. A pool comes
    before what sends to it and goes after it; what no request waits for comes last, or not at all where it is
    hurried."""
    if is_hurried:
        wanted = replace(wanted, pools={**wanted.pools, **_idle(present, wanted)})
    calls = _calls(present, wanted, load_balancer, subnet)
    return next((call for call in calls if call.part not in without), None)


def state_after(present: State, wanted: State, call: Call) -> State | None:
    """What is there once Octavia has done a call that gives traffic a new way; None for other calls, of which
    only Octavia knows what came of them."""
    for application, listener in present.listeners.items():
        if call == _to_pool(listener, wanted.listeners.get(application), present.pools):
            moved = replace(listener, pool=wanted.listeners[application].pool)
            return replace(present, listeners={**present.listeners, application: moved})
    for name, pool in present.pools.items():
        if call.method == "PUT" and call.path == f"/pools/{pool.id}/members":
            shared = replace(pool, members=wanted.pools[name].members)
            return replace(present, pools={**present.pools, name: shared})
    return None


def _to_pool(present: Listener, wanted: Listener | None, pools: dict[str, Pool]) -> Call | None:
    """A switch."""
    if wanted is None or wanted.pool not in pools:
        return None
    body = {"listener": {"default_pool_id": pools[wanted.pool].id}}
    return Call("PUT", f"/listeners/{present.id}", body, present.application)


def _calls(present: State, wanted: State, load_balancer: str, subnet: str) -> Iterator[Call]:
    for path in present.doubles:
        yield Call("DELETE", path)
    idle = _idle(wanted, wanted)
    for name, pool in wanted.pools.items():
        if name not in idle:
            yield from _for(name, _pool_calls(present.pools.get(name), pool, load_balancer, subnet))
    for application, listener in wanted.listeners.items():
        known = present.listeners.get(application)
        calls = _listener_calls(known, listener, present.pools, load_balancer)
        yield from _for(application, calls)
    for name in sorted(idle):
        calls = _pool_calls(present.pools.get(name), wanted.pools[name], load_balancer, subnet)
        yield from _for(name, calls)
    for application, listener in present.listeners.items():
        if application not in wanted.listeners:
            yield Call("DELETE", f"/listeners/{listener.id}")
    for name, pool in present.pools.items():
        if name not in wanted.pools:
            yield Call("DELETE", f"/pools/{pool.id}")


def _idle(present: State, wanted: State) -> dict[str, Pool]:
    """The pools for shares that are there and that no listener is to use, as they are."""
    used = {listener.pool for listener in wanted.listeners.values()}
    shares = (name for name in wanted.pools if name.endswith(SHARES) and name not in used)
    return {name: present.pools[name] for name in shares if name in present.pools}


def _for(name: str, calls: Iterator[Call]) -> Iterator[Call]:
    """A pool for shares is the application's."""
    part = f"{name.removesuffix(SHARES)}/shares" if name.endswith(SHARES) else name
    return (replace(call, part=part) for call in calls)


def _pool_calls(present: Pool | None, wanted: Pool, load_balancer: str, subnet: str) -> Iterator[Call]:
    if present is None:
        body = {
            "name": wanted.name,
            "loadbalancer_id": load_balancer,
            "protocol": TCP if wanted.is_tcp else PLAIN,
            "lb_algorithm": "ROUND_ROBIN",
            "tags": [OURS],
        }
        yield Call("POST", "/pools", {"pool": body})
        return
    if present.members != wanted.members:
        members = [_body_of(member, subnet) for member in sorted(wanted.members, key=_by_host)]
        yield Call("PUT", f"/pools/{present.id}/members", {"members": members})
    yield from _monitor_calls(present, wanted)


def _monitor_calls(present: Pool, wanted: Pool) -> Iterator[Call]:
    monitor = wanted.monitor
    if monitor is None or present.monitor == monitor:
        return
    if present.monitor is None:
        body = {"pool_id": present.id, "name": wanted.name, **monitor.body()}
        yield Call("POST", "/healthmonitors", {"healthmonitor": body})
    elif present.monitor.kind != monitor.kind:
        yield Call("DELETE", f"/healthmonitors/{present.monitor.id}")
    else:
        changed = {key: value for key, value in monitor.body().items() if key != "type"}
        yield Call("PUT", f"/healthmonitors/{present.monitor.id}", {"healthmonitor": changed})


def _by_host(member: Member) -> str:
    return member.host


def _body_of(member: Member, subnet: str) -> dict[str, Any]:
    place = {"subnet_id": subnet} if subnet else {}
    return {
        "name": member.host,
        "address": member.address,
        "protocol_port": member.port,
        "weight": member.weight,
        **place,
    }


def _listener_calls(
    present: Listener | None, wanted: Listener, pools: dict[str, Pool], load_balancer: str
) -> Iterator[Call]:
    if wanted.pool and wanted.pool not in pools:  # it was refused
        return
    pool = pools[wanted.pool].id if wanted.pool else None
    if present is None:
        body = {
            "name": wanted.application,
            "loadbalancer_id": load_balancer,
            "protocol_port": wanted.port,
            "default_pool_id": pool,
            "tags": [OURS],
            **_protocol(wanted),
            **wanted.silences.body(),
        }
        yield Call("POST", "/listeners", {"listener": body})
        return
    has_moved = (present.port, present.protocol) != (wanted.port, wanted.protocol)
    if has_moved:  # a listener can change neither its port nor its protocol
        yield Call("DELETE", f"/listeners/{present.id}")
    if wanted.tls is not None and not wanted.tls.is_as(present.tls):
        yield Call("PUT", f"/listeners/{present.id}", {"listener": wanted.tls.body()})
    if present.pool != wanted.pool:
        yield Call("PUT", f"/listeners/{present.id}", {"listener": {"default_pool_id": pool}})
    if present.silences != wanted.silences:
        yield Call("PUT", f"/listeners/{present.id}", {"listener": wanted.silences.body()})
    yield from _policy_calls(present, wanted.policy, pools)


def _protocol(listener: Listener) -> dict[str, Any]:
    """Hosts are spoken to in plain HTTP, and told how their client came; or get what the client sends."""
    protocol, headers = {"protocol": listener.protocol}, {"X-Forwarded-For": "true"}
    if listener.is_tcp:
        return protocol
    if listener.tls is None:
        return {**protocol, "insert_headers": headers}
    return {**protocol, "insert_headers": {**headers, "X-Forwarded-Proto": "true"}, **listener.tls.body()}


def _policy_calls(listener: Listener, wanted: Policy | None, pools: dict[str, Pool]) -> Iterator[Call]:
    present = listener.policy
    if present == wanted:
        return
    if present is None:
        assert wanted is not None, "they differ"
        body = {
            "name": TESTERS,
            "listener_id": listener.id,
            "action": "REDIRECT_TO_POOL",
            "redirect_pool_id": pools[wanted.pool].id,
            "position": 1,
            "tags": [OURS],
        }
        yield Call("POST", "/l7policies", {"l7policy": body})
    elif wanted is not None and not present.kind and present.pool == wanted.pool:
        rule = {"type": wanted.kind, "compare_type": "EQUAL_TO", "key": wanted.key, "value": wanted.value}
        yield Call("POST", f"/l7policies/{present.id}/rules", {"rule": rule})
    else:
        yield Call("DELETE", f"/l7policies/{present.id}")
