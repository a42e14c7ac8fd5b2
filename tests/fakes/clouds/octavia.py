"""Octavia's API in memory: objects, PENDING_UPDATE, 409 while it lasts, 409 for what is in use, weights that
send requests somewhere. Answers as the real one did when it was asked (API 2.28)."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

Json = dict[str, Any]
KINDS = {
    "listener": "listeners",
    "pool": "pools",
    "healthmonitor": "healthmonitors",
    "l7policy": "l7policies",
}


DEFAULT_TIMEOUTS = {
    "timeout_client_data": 50_000,
    "timeout_member_connect": 5_000,
    "timeout_member_data": 50_000,
    "timeout_tcp_inspect": 0,
}
TIMEOUT_MAX = 365 * 24 * 3600 * 1000
"""A year of milliseconds."""
ONLY_AT_BIRTH = frozenset({"loadbalancer_id", "protocol", "protocol_port"})
LISTENER_FIELDS = ONLY_AT_BIRTH | {
    "name",
    "default_pool_id",
    "insert_headers",
    "tags",
    "default_tls_container_ref",
    "sni_container_refs",
    *DEFAULT_TIMEOUTS,
}


@dataclass
class FakeOctavia:
    """`pending_for`: so many looks at the load balancer see each change under way. `lost`: so many changes
    are made and never answered. `is_reporting`: there is an amphora, which tells of health; `down`: addresses
    that it finds down. `certificates`: what Barbican lets it read. `connections`: by listener. `served`:
    after each change, who serves each port."""

    pending_for: int = 1
    lost: int = 0
    is_reporting: bool = False
    provider: str = "amphora"
    down: set[str] = field(default_factory=set)
    certificates: set[str] = field(default_factory=set)
    connections: Counter[str] = field(default_factory=Counter)
    balancers: dict[str, Json] = field(default_factory=dict)
    things: dict[str, dict[str, Json]] = field(init=False)
    rules: dict[str, list[Json]] = field(default_factory=dict)
    served: list[dict[int, set[str]]] = field(default_factory=list)
    changes: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.things = {kind: {} for kind in KINDS}

    def add(self, name: str) -> Json:
        made: Json = {
            "id": self._new_id(),
            "name": name,
            "tags": [],
            "provider": self.provider,
            "vip_address": "198.51.100.1",
            "pending": 0,
        }
        self.balancers[made["id"]] = made
        return made

    def forget_all(self) -> None:
        """As if somebody had made the load balancer anew."""
        for things in self.things.values():
            things.clear()
        self.rules.clear()

    def add_listener(self, port: int) -> Callable[[], None]:
        """A stranger's, on the first load balancer; gives what takes it away."""
        key, (balancer, *_) = self._new_id(), self.balancers
        self.things["listener"][key] = {
            "id": key,
            "name": "theirs",
            "tags": [],
            "created_at": "2026-01-01T00:00:00",
            "port": port,
            "default_pool_id": None,
            "loadbalancer_id": balancer,
            **DEFAULT_TIMEOUTS,
        }
        return partial(self.things["listener"].__delitem__, key)

    def connect(self, router: web.UrlDispatcher) -> None:
        path = "/load-balancer/v2/lbaas"
        router.add_get(f"{path}/loadbalancers", self._balancers)
        router.add_get(f"{path}/loadbalancers/{{id}}", self._balancer)
        router.add_put(f"{path}/loadbalancers/{{id}}", self._tag)
        router.add_get(f"{path}/loadbalancers/{{id}}/status", self._status)
        router.add_get(f"{path}/listeners/{{id}}/stats", self._stats)
        router.add_get(f"{path}/pools/{{id}}/members", self._members)
        router.add_put(f"{path}/pools/{{id}}/members", self._set_members)
        router.add_get(f"{path}/l7policies/{{id}}/rules", self._rules)
        router.add_post(f"{path}/l7policies/{{id}}/rules", self._add_rule)
        router.add_get(f"{path}/{{kinds}}", self._list)
        router.add_post(f"{path}/{{kinds}}", self._create)
        router.add_put(f"{path}/{{kinds}}/{{id}}", self._update)
        router.add_delete(f"{path}/{{kinds}}/{{id}}", self._delete)

    # ------------------------------------------------------------------------------------------- requests

    def takers(self, port: int, headers: Mapping[str, str] = {}) -> dict[str, int]:  # read only
        """Hosts that get such requests, with their weights."""
        listener = next((each for each in self.things["listener"].values() if each["port"] == port), None)
        pool = listener["default_pool_id"] if listener is not None else None
        for policy in self.things["l7policy"].values():
            rules = self.rules.get(policy["id"], [])
            is_ours = listener is not None and policy["listener_id"] == listener["id"]
            if is_ours and rules and all(_matches(rule, headers) for rule in rules):
                pool = policy["redirect_pool_id"]
        members = self.things["pool"][pool]["members"] if pool else []
        return {each["name"]: each["weight"] for each in members if each["weight"]}

    def ask(self, port: int, headers: Mapping[str, str]) -> str:
        """The host that answers one request; "" when none does."""
        takers = self.takers(port, headers)
        return random.choices(list(takers), list(takers.values()))[0] if takers else ""

    # ------------------------------------------------------------------------------------------- balancers

    async def _balancers(self, _: web.Request) -> web.Response:
        return web.json_response({"loadbalancers": [self._shown(each) for each in self.balancers.values()]})

    async def _balancer(self, request: web.Request) -> web.Response:
        found = self.balancers.get(request.match_info["id"])
        return web.json_response({"loadbalancer": self._shown(found)}) if found else _missing()

    async def _tag(self, request: web.Request) -> web.StreamResponse:
        found = self.balancers[request.match_info["id"]]
        if refusal := self._busy(found):
            return refusal
        found["tags"] = (await request.json())["loadbalancer"]["tags"]
        return await self._changed(request, found, {"loadbalancer": self._shown(found)})

    async def _status(self, request: web.Request) -> web.Response:
        found = self.balancers.get(request.match_info["id"])
        if found is None:
            return _missing()
        found["pending"] -= found["pending"] > 0
        pools = [
            {
                **each,
                "members": [
                    {**member, "operating_status": self._health(each, member)} for member in each["members"]
                ],
            }
            for each in self.things["pool"].values()
        ]
        listeners = [each["id"] for each in self.things["listener"].values()]
        tree = {**self._shown(found), "pools": pools, "listeners": listeners}
        return web.json_response({"statuses": {"loadbalancer": tree}})

    def _shown(self, balancer: Json) -> Json:
        status = "PENDING_UPDATE" if balancer["pending"] else "ACTIVE"
        health = "ONLINE" if self.is_reporting else "OFFLINE"
        shown = {key: value for key, value in balancer.items() if key != "pending"}
        return {"provisioning_status": status, "operating_status": health, **shown}

    def _busy(self, balancer: Json) -> web.Response | None:
        if not balancer["pending"]:
            return None
        return _refused(f"Load Balancer {balancer['id']} is immutable and cannot be updated.")

    async def _changed(self, request: web.Request, balancer: Json, answer: Json) -> web.StreamResponse:
        balancer["pending"] = self.pending_for
        self.changes += 1
        ports = (each["port"] for each in self.things["listener"].values())
        self.served.append({port: set(self.takers(port)) for port in ports})
        if self.lost:
            self.lost -= 1
            assert request.transport is not None
            request.transport.close()
        return web.json_response(answer, status=202)

    # ---------------------------------------------------------------------------------------------- things

    async def _list(self, request: web.Request) -> web.Response:
        kinds = request.match_info["kinds"]
        wanted = dict(request.query)
        found = [
            self._pool_shown(each) if kinds == "pools" else self._thing_shown(each)
            for each in self._of(kinds).values()
            if all(each.get(name) == value for name, value in wanted.items())
        ]
        return web.json_response({kinds: found})

    def _of(self, kinds: str) -> dict[str, Json]:
        return self.things[next(kind for kind, many in KINDS.items() if many == kinds)]

    def _pool_shown(self, pool: Json) -> Json:
        shown = {**pool, "members": [{"id": each["id"]} for each in pool["members"]]}
        monitors = self.things["healthmonitor"].values()
        monitor = next((each["id"] for each in monitors if each["pool_id"] == pool["id"]), None)
        return {**shown, "healthmonitor_id": monitor} if monitor else shown

    def _thing_shown(self, thing: Json) -> Json:
        policies = [each for each in self.things["l7policy"].values() if each["listener_id"] == thing["id"]]
        return {
            **thing,
            "protocol_port": thing.get("port"),
            "l7policies": [{"id": x["id"]} for x in policies],
        }

    async def _create(self, request: web.Request) -> web.StreamResponse:
        asked: Json = await request.json()
        ((kind, body),) = asked.items()
        balancer = self._balancer_of(body)
        if refusal := self._busy(balancer):
            return refusal
        made = {"tags": [], **body, "id": self._new_id(), "created_at": f"2026-01-01T00:00:{self.changes:04}"}
        made["loadbalancer_id"] = balancer["id"]
        if kind == "pool":
            made["members"] = []
        if kind == "listener":
            if fault := _listener_fault(body) or self._tls_fault(body):
                return _refused(fault, 400)
            made = {**DEFAULT_TIMEOUTS, **made}
            made["port"] = body["protocol_port"]
            if any(each["port"] == made["port"] for each in self.things["listener"].values()):
                return _refused(f"Another Listener on this Load Balancer is already using {made['port']}")
        self.things[kind][made["id"]] = made
        return await self._changed(request, balancer, {kind: self._thing_shown(made)})

    def _tls_fault(self, listener: Json) -> str:
        """In Octavia's words."""
        refs = [listener.get("default_tls_container_ref"), *(listener.get("sni_container_refs") or ())]
        refs = [each for each in refs if each]
        if listener.get("protocol") != "TERMINATED_HTTPS":
            return "Certificate container references are only allowed on listeners" if refs else ""
        if not refs:
            return "An SNI or default certificate container reference must be provided"
        unknown = [each for each in refs if each not in self.certificates]
        return f"Could not retrieve certificate: {unknown}" if unknown else ""

    def _balancer_of(self, body: Json) -> Json:
        if "pool_id" in body:
            body = self.things["pool"][body["pool_id"]]
        elif "listener_id" in body:
            body = self.things["listener"][body["listener_id"]]
        return self.balancers[body["loadbalancer_id"]]

    async def _update(self, request: web.Request) -> web.StreamResponse:
        found = self._of(request.match_info["kinds"]).get(request.match_info["id"])
        if found is None:
            return _missing()
        if refusal := self._busy(self.balancers[found["loadbalancer_id"]]):
            return refusal
        ((kind, body),) = (await request.json()).items()
        fault = _listener_fault(body, ONLY_AT_BIRTH) or self._tls_fault({**found, **body})
        if kind == "listener" and fault:
            return _refused(fault, 400)
        found.update(body)
        balancer = self.balancers[found["loadbalancer_id"]]
        return await self._changed(request, balancer, {kind: self._thing_shown(found)})

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        things, name = self._of(request.match_info["kinds"]), request.match_info["id"]
        if name not in things:
            return _missing()
        users = [
            *(each["default_pool_id"] for each in self.things["listener"].values()),
            *(each["redirect_pool_id"] for each in self.things["l7policy"].values()),
        ]
        balancer = self.balancers[things[name]["loadbalancer_id"]]
        if refusal := self._busy(balancer):
            return refusal
        if name in users:
            return _refused(f"Pool {name} is in use and cannot be modified.")
        del things[name]
        for kind, owner in (("healthmonitor", "pool_id"), ("l7policy", "listener_id")):
            mine = [key for key, each in self.things[kind].items() if each[owner] == name]
            for key in mine:
                del self.things[kind][key]
        return await self._changed(request, balancer, {})

    async def _members(self, request: web.Request) -> web.Response:
        pool = self.things["pool"].get(request.match_info["id"])
        if pool is None:
            return _missing()
        members = [{**each, "operating_status": self._health(pool, each)} for each in pool["members"]]
        return web.json_response({"members": members})

    def _health(self, pool: Json, member: Json) -> str:
        """An amphora's HAProxy has the pools alone to which a listener sends requests."""
        used = {each.get("default_pool_id") for each in self.things["listener"].values()}
        used |= {each.get("redirect_pool_id") for each in self.things["l7policy"].values()}
        if not self.is_reporting or pool["id"] not in used:
            return "OFFLINE"
        if member["weight"] == 0:
            return "DRAINING"
        return "ERROR" if member["address"] in self.down else "ONLINE"

    async def _set_members(self, request: web.Request) -> web.StreamResponse:
        pool = self.things["pool"][request.match_info["id"]]
        balancer = self.balancers[pool["loadbalancer_id"]]
        if refusal := self._busy(balancer):
            return refusal
        wanted = (await request.json())["members"]
        places = Counter((each["address"], each["protocol_port"]) for each in wanted)
        if any(count > 1 for count in places.values()):
            return _refused("Member must be updated only once in the same request.", 400)
        if any(not 0 <= each["weight"] <= 256 for each in wanted):
            return _refused("Invalid input for field/attribute weight.", 400)
        pool["members"] = [{**each, "id": self._new_id()} for each in wanted]
        return await self._changed(request, balancer, {})

    async def _rules(self, request: web.Request) -> web.Response:
        return web.json_response({"rules": self.rules.get(request.match_info["id"], [])})

    async def _add_rule(self, request: web.Request) -> web.StreamResponse:
        policy = self.things["l7policy"][request.match_info["id"]]
        balancer = self.balancers[policy["loadbalancer_id"]]
        if refusal := self._busy(balancer):
            return refusal
        rule = (await request.json())["rule"]
        self.rules.setdefault(policy["id"], []).append(rule)
        return await self._changed(request, balancer, {"rule": rule})

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"stats": {"active_connections": self.connections[request.match_info["id"]]}}
        )

    def _new_id(self) -> str:
        return f"00000000-0000-0000-0000-{next(self._numbers):012}"


def _listener_fault(body: Json, fixed: frozenset[str] = frozenset()) -> str:
    """What Octavia's schema of a listener has against it."""
    for name, value in body.items():
        if name not in LISTENER_FIELDS - fixed:
            return f"Unknown attribute for argument listener_: {name}"
        if name in DEFAULT_TIMEOUTS and not (type(value) is int and 0 <= value <= TIMEOUT_MAX):
            return f"Invalid input for field/attribute {name}. Value: '{value}'."
    return ""


def _matches(rule: Json, headers: Mapping[str, str]) -> bool:
    if rule["type"] == "HEADER":
        return headers.get(rule["key"]) == str(rule["value"])
    pairs = (pair.strip().partition("=") for pair in headers.get("Cookie", "").split(";"))
    return any((name, value) == (rule["key"], rule["value"]) for name, _, value in pairs)


def _missing() -> web.Response:
    return _refused("not found", 404)


def _refused(said: str, status: int = 409) -> web.Response:
    return web.json_response({"faultcode": "Client", "faultstring": said}, status=status)
