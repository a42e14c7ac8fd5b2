"""The balancer `octavia`: a load balancer of OpenStack that is there already, on which this agent makes
listeners, pools and members.

Which call comes next is model.py's; what the answers mean, reading.py's. Octavia takes one
change of a load balancer at a time and refuses others meanwhile, so there is one queue, and every call waits
for the one before. What was wanted last is on disk, for what Octavia can't hold.
"""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from repave_agent.balancers.checks import check_routes, check_structure, frontend_fault
from repave_agent.balancers.haproxy.config import structure_from
from repave_agent.balancers.octavia.model import (
    OURS,
    SHARES,
    Call,
    State,
    next_call,
    state_after,
    wanted_state,
)
from repave_agent.balancers.octavia.reading import Lists, routes_in, state_of, structure_in
from repave_agent.balancers.shares import application_of
from repave_agent.clients.faults import GoneError, LostError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import (
    BackendView,
    BalancerAwaitedError,
    BalancerError,
    BalancerView,
    Clock,
    Frontend,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    Route,
    Structure,
    TransientError,
    UnfitError,
    WayIn,
)
from repave_protos.daemon.files import read_file
from repave_protos.protocol.values import ApplicationName, GroupName

log = structlog.get_logger()

SERVICE = "load-balancer"
OWNER = "repave-owner="
"""How the tag of the load balancer begins that says which agent owns it."""
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.2, 2.0
SETTLE_SECONDS = 120.0
"""So long a change may be under way; an amphora takes seconds."""
VIEW_SECONDS = 2.0
"""A view is that old at most; between, health and state cost no call."""
WHOLE_SECONDS = 30.0
"""After so long all is read again although nothing seems to have changed."""
REPEATS_MAX = 5
"""A call that is needed so often again does not do what it should."""
UP = ("ONLINE", "NO_MONITOR")


@dataclass(frozen=True, slots=True)
class Wanted:
    """As it is on disk. `served`: groups that had traffic; connections may be theirs."""

    owner: str
    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    served: tuple[GroupName, ...] = ()
    is_known: bool = False  # False: nothing was ever wanted here, so what is there is adopted


@dataclass(frozen=True, slots=True)
class Reading:
    """All of the load balancer at one time. `tree`: its own short form of all states."""

    tree: dict[str, Any]
    state: State
    read_at: float


class OctaviaBalancer:
    """Implements ports.Balancer. `directory` is this balancer's alone; `load_balancer` is a name or an id."""

    name = "octavia"

    def __init__(
        self,
        directory: Path,
        api: Api,
        load_balancer: str,
        region: str,
        *,
        clock: Clock,
        subnet: str = "",
        traffic_address: str = "",
        has_lease: Callable[[], bool] = lambda: False,
    ) -> None:
        """`has_lease`: what another agent of the region has left here may be taken over."""
        self.traffic_address = traffic_address
        self._region, self._has_lease = region, has_lease
        self._clock = clock
        self._api, self._named, self._subnet = api, load_balancer, subnet
        self._file = directory / "octavia.json"
        self._queue = asyncio.Lock()
        self._id = ""
        self._restarts = 0
        self._reading: Reading | None = None
        self._is_unfinished = False  # what no request waits for is yet to be done
        self._view: tuple[float, BalancerView] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._wanted = _read(self._file) or Wanted(f"{region}-{secrets.token_hex(6)}")

    # ------------------------------------------------------------------------------------------ the port

    async def start(self) -> None:
        async with self._queue:
            try:
                await self._find()
                if await self._take_over() or not self._wanted.is_known:
                    await self._adopt()
                await self._apply()
            except TransientError as error:
                raise BalancerAwaitedError(str(error)) from error
            except ProviderError as error:
                raise BalancerError(str(error)) from error

    async def troubles(self) -> list[str]:
        """Whether Octavia answers, and whether the load balancer is in order there."""
        try:
            answer = await self._api.call("load-balancer", "GET", f"/lbaas/loadbalancers/{self._id}")
        except ProviderError as error:
            return [f"Octavia: {error}"]
        found = answer["loadbalancer"]
        states = {each: str(found.get(f"{each}_status", "")) for each in ("provisioning", "operating")}
        return [
            f"Octavia: {self._named} has {each}_status ERROR. Do: openstack loadbalancer failover "
            f"{self._named}"
            for each, state in states.items()
            if state == "ERROR"
        ]

    async def arrange(self, structure: Structure) -> None:
        check_structure(structure)
        check_routes(self._wanted.routes, structure)
        if sticky := {each.application: why for each in structure.frontends if (why := _sticky(each))}:
            raise UnfitError(sticky)
        await self._want(replace(self._wanted, structure=structure, is_known=True))

    async def way_in(self, frontend: Frontend) -> WayIn:
        fault = frontend_fault(frontend, self._wanted.structure.frontends) or _sticky(frontend)
        if fault:
            return WayIn(fault)
        try:
            await self._find()
            listeners = await self._list("listeners", loadbalancer_id=self._id)
        except ProviderError as error:
            raise BalancerError(str(error)) from error
        for listener in listeners:
            if listener["protocol_port"] == frontend.port and OURS not in listener["tags"]:
                taken = f"port {frontend.port} of {self._named} is that of the listener {listener['name']}"
                return WayIn(f"{frontend.application}: {taken}: give the application another traffic.port")
        return WayIn()

    async def route(self, routes: tuple[Route, ...]) -> None:
        check_routes(routes, self._wanted.structure)
        reached = {group for route in routes for group in route.groups}
        served = tuple(sorted({*self._wanted.served, *reached}))
        await self._want(replace(self._wanted, routes=routes, served=served), is_hurried=True)

    async def observe(self) -> BalancerView:
        if self._view is not None and self._clock.monotonic() - self._view[0] < VIEW_SECONDS:
            return self._view[1]
        async with self._queue:
            try:
                view = await self._look()
            except ProviderError as error:
                raise BalancerError(str(error)) from error
            self._view = self._clock.monotonic(), view
            return view

    def on_change(self, callback: Callable[[], None]) -> None:
        """Octavia does not tell; observe sees what became of it."""

    async def close(self) -> None:
        await self._api.close()

    async def end(self) -> None:
        """Takes away listeners, pools and the mark of the owner. The load balancer stays."""
        await self._want(replace(self._wanted, structure=Structure(), routes=(), served=()))
        async with self._queue:
            await self._change_tags(lambda tags: [tag for tag in tags if not tag.startswith(OWNER)])
        await self.close()

    # ------------------------------------------------------------------------------------------ the queue

    async def _want(self, wanted: Wanted, *, is_hurried: bool = False) -> None:
        """On disk first; then call after call until it is so. In a hurry, what no request waits for is left
        to the next look."""
        async with self._queue:
            groups = {backend.group for backend in wanted.structure.backends}
            served = tuple(group for group in wanted.served if group in groups)
            self._wanted = replace(wanted, served=served)
            self._save()
            self._view = None
            try:
                await self._find()
                await self._apply(is_hurried=is_hurried)
            except ProviderError as error:
                raise BalancerError(str(error)) from error

    async def _apply(self, *, is_hurried: bool = False) -> None:
        """Raises UnfitError for what Octavia refuses, once the rest is as wanted."""
        self._is_unfinished = is_hurried
        target = wanted_state(self._wanted.structure, self._wanted.routes)
        made: Counter[str] = Counter()
        refused: dict[str, str] = {}

        def next_after(state: State) -> Call | None:
            return next_call(state, target, self._id, self._subnet, refused.keys(), is_hurried=is_hurried)

        state = self._trusted() if is_hurried else None
        if state is None or next_after(state) is None:
            state = (await self._present()).state
        while call := next_after(state):
            made[str(call)] += 1
            if made[str(call)] > REPEATS_MAX:
                raise BalancerError(f"Octavia took {call} {REPEATS_MAX} times, and it is not as it should be")
            after: State | None = None
            try:
                if await self._make_call(call) and is_hurried:
                    after = state_after(state, target, call)
            except (RefusedError, OutOfCapacityError) as error:
                if not call.part:
                    raise
                refused[call.part] = f"{call.part}: {error}"
            if after is not None:
                await self._wait_until_settled()  # all is read at the next look
            state = after or (await self._present()).state
        if refused:
            raise self._unfit(refused)

    def _unfit(self, refused: dict[str, str]) -> UnfitError:
        """A pool for shares is the application's."""
        groups = {str(backend.group) for backend in self._wanted.structure.backends}
        return UnfitError(
            {
                ApplicationName(name.removesuffix(SHARES)): why
                for name, why in refused.items()
                if name not in groups
            },
            {GroupName(name): why for name, why in refused.items() if name in groups},
        )

    async def _make_call(self, call: Call) -> bool:
        """Whether it was accepted. A call that was lost or came in between is seen by the next look, and made
        again if need be. Raises ProviderError; RefusedError also for a conflict with what others have."""
        self._reading = None
        try:
            await self._api.call(SERVICE, call.method, f"/lbaas{call.path}", call.body)
            log.info("octavia.changed", call=str(call))
            return True
        except (GoneError, LostError) as error:
            log.warning("octavia.unclear", call=str(call), because=str(error))
        except TransientError as error:
            if ": 409: " not in str(error):
                raise
            if "immutable" not in str(error):
                raise RefusedError(str(error)) from error
            await self._clock.sleep(LOOK_SECONDS)
        return False

    # ------------------------------------------------------------------------------------------- looking

    async def _find(self) -> None:
        """Which load balancer it is. Raises ProviderError."""
        if self._id:
            return
        if not self._named:
            raise BalancerError("octavia.load_balancer is not set: name a load balancer by its name or id")
        there = await self._api.list_all(SERVICE, "/lbaas/loadbalancers", "loadbalancers")
        found = [each for each in there if self._named in (each["id"], each["name"])]
        if len(found) != 1:
            names = ", ".join(sorted(each["name"] for each in there)) or "none"
            problem = "there is none" if not found else f"{len(found)} are called so: name one by its id"
            raise BalancerError(f"octavia.load_balancer: {self._named}: {problem}; the project has: {names}")
        if found[0]["provider"] == "ovn":
            raise BalancerError(
                f"octavia.load_balancer: {self._named} is of provider ovn, which knows neither HTTP nor "
                "weights: make one of provider amphora"
            )
        self._id = str(found[0]["id"])
        self.traffic_address = self.traffic_address or str(found[0]["vip_address"])

    async def _take_over(self) -> bool:
        """Whether it was that of another agent of the region, whose lease is over. From the moment of the
        mark on that agent is refused here. What this one wanted once counts no more."""
        tags: list[str] = (await self._get(""))["loadbalancer"]["tags"]
        former = [tag for tag in tags if self._is_foreign(tag)]
        if not former or not all(self._is_of_region(tag) for tag in former) or not self._has_lease():
            return False
        self._wanted, self._reading = Wanted(self._wanted.owner), None
        self._save()
        marks = [*(tag for tag in tags if tag not in former), f"{OWNER}{self._wanted.owner}"]
        await self._wait_until_settled()
        body = {"loadbalancer": {"tags": list(dict.fromkeys(marks))}}
        await self._make_call(Call("PUT", f"/loadbalancers/{self._id}", body))
        await self._wait_until_settled()
        return True

    def _is_foreign(self, tag: str) -> bool:
        return tag.startswith(OWNER) and tag != f"{OWNER}{self._wanted.owner}"

    def _is_of_region(self, tag: str) -> bool:
        return tag.removeprefix(OWNER).rpartition("-")[0] == self._region

    async def _take_ownership(self) -> None:
        """Marks it as ours, unless it is another agent's."""
        ours = f"{OWNER}{self._wanted.owner}"
        if ours not in await self._tags():
            await self._change_tags(lambda tags: [*tags, ours])
            await self._tags()

    async def _tags(self) -> list[str]:
        """Raises BalancerError when it is another agent's."""
        tags: list[str] = (await self._get(""))["loadbalancer"]["tags"]
        for tag in tags:
            if self._is_foreign(tag):
                raise BalancerError(
                    f"load balancer {self._named} belongs to another agent, {tag.removeprefix(OWNER)}. If "
                    f"that one is gone: openstack loadbalancer unset --tag {tag} {self._id}"
                )
        return tags

    async def _change_tags(self, change: Callable[[list[str]], list[str]]) -> None:
        tags = await self._tags()
        await self._wait_until_settled()
        body = {"loadbalancer": {"tags": change(tags)}}
        await self._make_call(Call("PUT", f"/loadbalancers/{self._id}", body))
        await self._wait_until_settled()

    async def _wait_until_settled(self) -> dict[str, Any]:
        """The tree of all states once nothing is under way. Raises BalancerError when it stays so."""
        deadline, pause = self._clock.monotonic() + SETTLE_SECONDS, LOOK_SECONDS
        while True:
            tree = await self._tree()
            status = tree["provisioning_status"]
            if status == "ACTIVE":
                return tree
            if status == "ERROR":
                raise BalancerError(
                    f"load balancer {self._named} is in ERROR: openstack loadbalancer failover {self._id}"
                )
            if self._clock.monotonic() > deadline:
                raise BalancerError(f"load balancer {self._named} is {status} for {SETTLE_SECONDS:g} s")
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, LOOK_SECONDS_MAX)

    async def _tree(self) -> dict[str, Any]:
        return dict((await self._get("/status"))["statuses"]["loadbalancer"])

    async def _get(self, path: str) -> dict[str, Any]:
        """Of the load balancer. One that was deleted is looked for by its name at the next call."""
        try:
            return await self._api.call(SERVICE, "GET", f"/lbaas/loadbalancers/{self._id}{path}")
        except GoneError as gone:
            self._id, self._reading = "", None
            raise BalancerError(f"the load balancer {self._named} was deleted") from gone

    async def _present(self) -> Reading:
        """What was read last, unless it has changed since."""
        known = self._reading
        if known is not None and self._is_fresh(known) and await self._wait_until_settled() == known.tree:
            return known
        return await self._read()

    def _trusted(self) -> State | None:
        """What was read last, if not long ago: enough to choose a first call by, which may be repeated."""
        known = self._reading
        return known.state if known is not None and self._is_fresh(known) else None

    def _is_fresh(self, reading: Reading) -> bool:
        return self._clock.monotonic() - reading.read_at <= WHOLE_SECONDS

    async def _read(self) -> Reading:
        """All that is there, once nothing is under way."""
        await self._take_ownership()
        tree = await self._wait_until_settled()
        of_ours = {"loadbalancer_id": self._id}
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
        self._reading = Reading(tree, state_of(lists), self._clock.monotonic())
        return self._reading

    async def _list(self, path: str, what: str = "", **query: str) -> list[dict[str, Any]]:
        return await self._api.list_all(SERVICE, f"/lbaas/{path}", what or path, **query)

    async def _adopt(self) -> None:
        """An agent that has lost its disk goes on with what is there."""
        state = (await self._read()).state
        structure = structure_in(state, Structure())
        routes = routes_in(state, structure, ())
        served = tuple(group for route in routes for group in route.groups)
        self._wanted = replace(self._wanted, structure=structure, routes=routes, served=served, is_known=True)
        self._save()

    async def _look(self) -> BalancerView:
        await self._find()
        reading = self._reading
        if reading is None or self._clock.monotonic() - reading.read_at > WHOLE_SECONDS:
            reading = await self._read()
        elif (tree := await self._tree()) != reading.tree:
            reading = await self._read() if tree["provisioning_status"] == "ACTIVE" else reading
        if self._wanted.structure.frontends and not reading.state.listeners and not reading.state.pools:
            log.warning("balancer.lost", text="the load balancer was made anew: all is applied again")
            self._restarts += 1
            await self._apply()
            reading = await self._present()
        elif self._is_unfinished:
            await self._apply()
            reading = await self._present()
        structure = structure_in(reading.state, self._wanted.structure)
        routes = routes_in(reading.state, structure, self._wanted.routes)
        connections = await self._connections(reading.state, structure, routes)
        is_reporting = reading.tree["operating_status"] != "OFFLINE"
        backends = tuple(
            BackendView(
                backend.group,
                _up(reading.state, backend.group, is_reporting=is_reporting),
                connections.get(backend.group, 0),
                is_exact=False,
            )
            for backend in structure.backends
        )
        return BalancerView(True, structure, routes, backends, 0, self._restarts)

    async def _connections(
        self, state: State, structure: Structure, routes: tuple[Route, ...]
    ) -> dict[GroupName, int]:
        """Of groups that had traffic and have none now, as many as there can be: Octavia counts connections
        by listener, not by pool."""
        reached = {group for route in routes for group in route.groups}
        leaving = [
            group for group in self._wanted.served if group not in reached and structure.backend(group)
        ]
        found = {}
        for group in leaving:
            listener = state.listeners.get(application_of(group))
            if listener is not None:
                path = f"/lbaas/listeners/{listener.id}/stats"
                found[group] = int(
                    (await self._api.call(SERVICE, "GET", path))["stats"]["active_connections"]
                )
        return found

    def _save(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(asdict(self._wanted)))
        part.replace(self._file)


def _sticky(frontend: Frontend) -> str:
    if frontend.split.by == "request":
        return ""
    return (
        f"{frontend.application}: Octavia can't split by {frontend.split.by}: leave out traffic.split, or use"
        " a balancer with HAProxy"
    )


def _up(state: State, group: GroupName, *, is_reporting: bool) -> int:
    """Where no amphora reports, those that the agent finds healthy: only they are enabled."""
    enabled = [member for member in state.pools[str(group)].members if member.weight]
    return sum(not is_reporting or member.status in UP for member in enabled)


def _read(file: Path) -> Wanted | None:
    try:
        raw: dict[str, Any] = json.loads(read_file(file))
    except (FileNotFoundError, ValueError):
        return None
    routes = tuple(Route(**each) for each in raw["routes"])
    structure = structure_from(raw["structure"])
    return Wanted(raw["owner"], structure, routes, tuple(raw["served"]), raw["is_known"])
