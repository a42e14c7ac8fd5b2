"""A load balancer of Octavia: how it is found, read and changed.

Which call comes next is model.py's; what the answers mean, reading.py's. Octavia takes one change of a load
balancer at a time and refuses others meanwhile, so every call waits for the one before.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from repave_agent.balancers.cloud.load_balancer import StaleError
from repave_agent.balancers.octavia.model import (
    NO_TLS,
    OURS,
    Call,
    State,
    Tls,
    next_call,
    state_after,
    wanted_state,
)
from repave_agent.balancers.octavia.reading import Lists, routes_in, state_of, structure_in
from repave_agent.balancers.shares import application_of
from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import (
    BackendView,
    BalancerError,
    Clock,
    Frontend,
    RefusedError,
    Route,
    Structure,
    TransientError,
)
from repave_protos.protocol.values import GroupName

SERVICE = "load-balancer"
OWNER = "repave-owner="
"""How the tag of the load balancer begins that says which agent owns it."""
SETTLE_SECONDS = 120.0
"""So long a change may be under way; an amphora takes seconds."""
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.2, 2.0
NO_CERTIFICATE = "could not retrieve certificate"
DOWN = "ERROR"
"""What Octavia says of a member that its checks find down."""


class OctaviaLoadBalancer:
    """Implements LoadBalancer. `named`: a name or an id. `tls`: by the ports that have it."""

    kind, vendor = "octavia", "Octavia"
    sees_idle = False
    """An amphora asks only the servers of pools that a listener sends to."""

    def __init__(
        self, api: Api, named: str, *, clock: Clock, subnet: str = "", tls: Mapping[int, Tls] = NO_TLS
    ) -> None:
        self._api, self.named, self._subnet, self._clock, self._tls = api, named, subnet, clock, tls
        self._id = self.address = ""

    # ---------------------------------------------------------------------------------------- which, whose

    async def find(self) -> None:
        if self._id:
            return
        if not self.named:
            raise BalancerError("octavia.load_balancer is not set: name a load balancer by its name or id")
        there = await self._api.list_all(SERVICE, "/lbaas/loadbalancers", "loadbalancers")
        found = [each for each in there if self.named in (each["id"], each["name"])]
        if len(found) != 1:
            names = ", ".join(sorted(each["name"] for each in there)) or "none"
            problem = "there is none" if not found else f"{len(found)} are called so: name one by its id"
            raise BalancerError(f"octavia.load_balancer: {self.named}: {problem}; the project has: {names}")
        if found[0]["provider"] == "ovn":
            raise BalancerError(
                f"octavia.load_balancer: {self.named} is of provider ovn, which knows neither HTTP nor "
                "weights: make one of provider amphora"
            )
        self._id, self.address = str(found[0]["id"]), str(found[0]["vip_address"])

    @property
    def _there(self) -> str:
        """Its id. Raises StaleError where it was deleted meanwhile."""
        if not self._id:
            raise StaleError(f"the load balancer {self.named} was deleted: it is looked for again")
        return self._id

    async def owners(self) -> list[str]:
        return [tag.removeprefix(OWNER) for tag in await self._tags() if tag.startswith(OWNER)]

    async def own(self, owner: str) -> None:
        await self._mark(f"{OWNER}{owner}")

    async def disown(self) -> None:
        await self._mark()

    def how_to_disown(self, owner: str) -> str:
        return f"openstack loadbalancer unset --tag {OWNER}{owner} {self._there}"

    async def _tags(self) -> list[str]:
        return list((await self._get(""))["loadbalancer"]["tags"])

    async def _mark(self, *marks: str) -> None:
        """In place of those that say whose it is."""
        others = [tag for tag in await self._tags() if not tag.startswith(OWNER)]
        await self.settle()
        body = {"loadbalancer": {"tags": [*others, *marks]}}
        await self._api.call(SERVICE, "PUT", f"/lbaas/loadbalancers/{self._there}", body)
        await self.settle()

    # ------------------------------------------------------------------------------------------- looking

    async def read(self) -> State:
        tree = await self._settled()
        of_ours = {"loadbalancer_id": self._there}
        listeners, pools = await asyncio.gather(
            self._list("listeners", **of_ours), self._list("pools", **of_ours)
        )
        ids = [pool["id"] for pool in pools]
        members = await asyncio.gather(*(self._list(f"pools/{each}/members", "members") for each in ids))
        has_monitors = any(pool.get("healthmonitor_id") for pool in pools)
        monitors = await self._list("healthmonitors") if has_monitors else []
        policies = [
            policy
            for listener in listeners
            if listener["l7policies"]
            for policy in await self._list("l7policies", listener_id=listener["id"])
        ]
        rules = {
            policy["id"]: await self._list(f"l7policies/{policy['id']}/rules", "rules") for policy in policies
        }
        lists = Lists(listeners, pools, dict(zip(ids, members, strict=True)), monitors, policies, rules)
        return state_of(lists, tree)

    async def is_current(self, state: State, *, settles: bool) -> bool:
        """By Octavia's own short form of all states."""
        tree = await (self._settled() if settles else self._tree())
        return tree == state.tree or (not settles and tree["provisioning_status"] != "ACTIVE")

    def is_empty(self, state: State) -> bool:
        return not state.listeners and not state.pools

    def structure_in(self, state: State, known: Structure) -> Structure:
        return structure_in(state, known)

    def routes_in(self, state: State, structure: Structure, known: tuple[Route, ...]) -> tuple[Route, ...]:
        return routes_in(state, structure, known)

    async def backends(
        self, state: State, structure: Structure, leaving: Collection[GroupName]
    ) -> tuple[BackendView, ...]:
        """Octavia counts connections by listener, not by pool: of a group that leaves, as many as there can
        be."""
        connections = {group: await self._connections(state, group) for group in leaving}
        return tuple(
            BackendView(each.group, _up(state, each.group), connections.get(each.group, 0), is_exact=False)
            for each in structure.backends
        )

    async def _connections(self, state: State, group: GroupName) -> int:
        listener = state.listeners.get(application_of(group))
        if listener is None:
            return 0
        answer = await self._api.call(SERVICE, "GET", f"/lbaas/listeners/{listener.id}/stats")
        return int(answer["stats"]["active_connections"])

    def misfit(self, frontend: Frontend) -> str:
        if frontend.split.by == "request":
            return ""
        return (
            f"{frontend.application}: Octavia can't split by {frontend.split.by}: leave out traffic.split, or"
            " use a balancer with HAProxy"
        )

    async def taken(self, frontend: Frontend) -> str:
        for listener in await self._list("listeners", loadbalancer_id=self._there):
            if listener["protocol_port"] == frontend.port and OURS not in listener["tags"]:
                taken = f"port {frontend.port} of {self.named} is that of the listener {listener['name']}"
                return f"{frontend.application}: {taken}: give the application another traffic.port"
        return ""

    async def troubles(self) -> list[str]:
        """Whether Octavia answers, and whether the load balancer is in order there."""
        await self.find()
        found = (await self._get(""))["loadbalancer"]
        states = {each: str(found.get(f"{each}_status", "")) for each in ("provisioning", "operating")}
        return [
            f"Octavia: {self.named} has {each}_status ERROR. Do: openstack loadbalancer failover {self.named}"
            for each, state in states.items()
            if state == "ERROR"
        ]

    # ------------------------------------------------------------------------------------------ changing

    def wanted(self, structure: Structure, routes: tuple[Route, ...]) -> State:
        return wanted_state(structure, routes, self._tls)

    def next_call(
        self, present: State, wanted: State, without: Collection[str], *, is_hurried: bool
    ) -> Call | None:
        return next_call(present, wanted, self._there, self._subnet, without, is_hurried=is_hurried)

    def after(self, present: State, wanted: State, call: Call) -> State | None:
        return state_after(present, wanted, call)

    async def perform(self, call: Call) -> None:
        try:
            await self._api.call(SERVICE, call.method, f"/lbaas{call.path}", call.body)
        except RefusedError as error:
            if NO_CERTIFICATE not in str(error).lower():
                raise
            raise RefusedError(
                f"octavia.default_tls_container_ref, octavia.sni_container_refs: {error}. Let the user of "
                "Octavia read them: openstack acl user add --user octavia REFERENCE"
            ) from error
        except TransientError as error:
            if ": 409: " not in str(error):
                raise
            kind = StaleError if "immutable" in str(error) else RefusedError
            raise kind(str(error)) from error

    async def settle(self) -> None:
        await self._settled()

    async def _settled(self) -> dict[str, Any]:
        """The tree of all states once nothing is under way. Raises BalancerError when it stays so."""
        deadline, pause = self._clock.monotonic() + SETTLE_SECONDS, LOOK_SECONDS
        while True:
            tree = await self._tree()
            status = tree["provisioning_status"]
            if status == "ACTIVE":
                return tree
            if status == "ERROR":
                raise BalancerError(
                    f"load balancer {self.named} is in ERROR: openstack loadbalancer failover {self._there}"
                )
            if self._clock.monotonic() > deadline:
                raise BalancerError(f"load balancer {self.named} is {status} for {SETTLE_SECONDS:g} s")
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, LOOK_SECONDS_MAX)

    async def _tree(self) -> dict[str, Any]:
        return dict((await self._get("/status"))["statuses"]["loadbalancer"])

    async def _get(self, path: str) -> dict[str, Any]:
        """Of the load balancer. One that was deleted is looked for by its name at the next call."""
        try:
            return await self._api.call(SERVICE, "GET", f"/lbaas/loadbalancers/{self._there}{path}")
        except GoneError as gone:
            self._id = ""
            raise BalancerError(f"the load balancer {self.named} was deleted") from gone

    async def _list(self, path: str, what: str = "", **query: str) -> list[dict[str, Any]]:
        return await self._api.list_all(SERVICE, f"/lbaas/{path}", what or path, **query)

    async def close(self) -> None:
        await self._api.close()


def _up(state: State, group: GroupName) -> int:
    """Of those that the agent finds healthy, for only they are enabled, all but what Octavia finds down.
    OFFLINE is no finding: an amphora checks a pool only while a listener sends requests to it."""
    everywhere = (member for pool in state.pools.values() for member in pool.members)
    down = {member.host for member in everywhere if member.status == DOWN}
    return sum(member.weight > 0 and member.host not in down for member in state.pools[str(group)].members)
