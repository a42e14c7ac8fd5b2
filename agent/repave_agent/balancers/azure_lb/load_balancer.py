"""One Standard Load Balancer of Azure, as balancers/cloud drives it: how it is found, read and changed.

Which call comes next is model.py's; what the answers mean, reading.py's. Every change goes with the etag of
what it was decided by: it is refused when anyone has changed the load balancer since.
"""

from collections.abc import Collection

import structlog

from repave_agent.balancers.azure_lb.model import (
    OURS,
    PROBING,
    RULES,
    Call,
    Json,
    Place,
    State,
    lack_of_name,
    lack_of_port,
    next_call,
    state_after,
    wanted_state,
)
from repave_agent.balancers.azure_lb.reading import (
    frontend_in,
    routes_in,
    state_of,
    structure_in,
    up_in,
    wrong_in,
)
from repave_agent.balancers.cloud.load_balancer import StaleError
from repave_agent.clients.azure.resources import NETWORK, BusyError, Resources, ThereError
from repave_agent.clients.faults import GoneError
from repave_agent.core.ports import (
    BackendView,
    BalancerError,
    Clock,
    Frontend,
    ProviderError,
    RefusedError,
    Route,
    Structure,
)
from repave_protos.protocol.values import GroupName

BALANCERS, ADDRESSES, NETWORKS = "loadBalancers", "publicIPAddresses", "virtualNetworks"
OWNER = "repave-owner"
"""The load balancer's tag that says which agent owns it."""
CHANGE_SECONDS = 120.0
"""So long one change may take, and so long another's is waited for."""
SEEN_SECONDS, LOOK_SECONDS = 5.0, 0.5
"""So long a switch waits for Azure's own probes."""

log = structlog.get_logger()


class AzureLoadBalancer:
    """Implements LoadBalancer. `named`: a name in the resource group, or an id; `network` too."""

    kind, vendor = "azure_lb", "Azure"
    sees_idle = False
    """The agent alone looks after groups: Azure takes minutes to tell what its probes find."""

    def __init__(
        self,
        resources: Resources,
        named: str,
        *,
        clock: Clock,
        frontend: str = "",
        network: str = "",
        idle_minutes: int = 4,
    ) -> None:
        self._resources, self.named, self._clock = resources, named, clock
        self._frontend, self._network, self._idle_minutes = frontend, network, idle_minutes
        self._place: Place | None = None
        self.address = ""

    # ---------------------------------------------------------------------------------------- which, whose

    async def find(self) -> None:
        if self._place is not None:
            return
        if not self.named:
            raise BalancerError("azure_lb.load_balancer is not set: name a Standard Load Balancer, or its id")
        path = self._path(BALANCERS, self.named)
        try:
            body = await self._resources.get(path)
        except GoneError:
            raise BalancerError(await self._none_called(path)) from None
        sku = body.get("sku") or {}
        if sku.get("name") != "Standard" or sku.get("tier", "Regional") != "Regional":
            shown = " ".join(filter(None, (sku.get("tier"), sku.get("name")))) or "Basic"
            raise BalancerError(
                f"azure_lb.load_balancer: {self.named} is of the kind {shown}: make a regional Standard one"
            )
        try:
            frontend, inner = frontend_in(body, self._frontend)
        except LookupError as wrong:
            raise BalancerError(str(wrong)) from None
        network = self._path(NETWORKS, self._network) if self._network else _network_of(inner)
        if not network:
            raise BalancerError(
                "azure_lb.network is not set: name the virtual network of the hosts, or its id"
            )
        self.address = await self._address(inner)
        self._place = Place(path, frontend, network)

    def _path(self, kind: str, named: str) -> str:
        return named if named.startswith("/") else self._resources.path(NETWORK, kind, named)

    async def _none_called(self, path: str) -> str:
        there = await self._resources.list_all(path.rpartition("/")[0])
        names = ", ".join(sorted(each["name"] for each in there)) or "none"
        return f"azure_lb.load_balancer: {self.named}: there is none; the resource group has: {names}"

    async def _address(self, frontend: Json) -> str:
        public = (frontend.get("publicIPAddress") or {}).get("id")
        if not public:
            return str(frontend.get("privateIPAddress", ""))
        found = await self._resources.get(public)
        return str(found["properties"].get("ipAddress", ""))

    @property
    def _there(self) -> Place:
        """Raises StaleError where the load balancer was deleted meanwhile."""
        if self._place is None:
            raise StaleError(f"the load balancer {self.named} was deleted: it is looked for again")
        return self._place

    async def owners(self) -> list[str]:
        return [value for value in [_tags(await self._get()).get(OWNER, "")] if value]

    async def own(self, owner: str) -> None:
        await self._mark({OWNER: owner})

    async def disown(self) -> None:
        await self._mark({})

    def how_to_disown(self, owner: str) -> str:
        return f"az tag update --operation delete --resource-id {self._there.id} --tags {OWNER}={owner}"

    async def _mark(self, mark: dict[str, str]) -> None:
        """In place of what says whose it is. Azure replaces all tags."""
        body = await self._get()
        others = {name: value for name, value in _tags(body).items() if name != OWNER}
        tags = {"tags": {**others, **mark}}
        await self._change(Call("PATCH", self._there.id, tags, body.get("etag", ""), what="owner"))

    # ------------------------------------------------------------------------------------------- looking

    async def read(self) -> State:
        return state_of(await self._get(), self._there)

    async def _get(self) -> Json:
        """One that was deleted is looked for by its name at the next call."""
        try:
            return await self._resources.get(self._there.id)
        except GoneError as gone:
            self._place = None
            raise BalancerError(f"the load balancer {self.named} was deleted") from gone

    async def is_current(self, state: State, *, settles: bool) -> bool:
        """To read all is one call."""
        return False

    def is_empty(self, state: State) -> bool:
        return not state.pools and not state.rules

    def structure_in(self, state: State, known: Structure) -> Structure:
        return structure_in(state, known)

    def routes_in(self, state: State, structure: Structure, known: tuple[Route, ...]) -> tuple[Route, ...]:
        return routes_in(state, known)

    async def backends(
        self, state: State, structure: Structure, leaving: Collection[GroupName]
    ) -> tuple[BackendView, ...]:
        """Those that the agent finds healthy are enabled. Azure tells no connections of a pool: a group that
        leaves may have some."""
        return tuple(
            BackendView(
                each.group,
                sum(server.is_enabled for server in each.servers),
                int(each.group in leaving),
                is_exact=False,
            )
            for each in structure.backends
        )

    def misfit(self, frontend: Frontend) -> str:
        split = frontend.split
        for what, by in (("split by", split.by), ("tell testers by", split.tester_by)):
            if by and by != "request":
                return (
                    f"{frontend.application}: Azure's load balancer does not look into requests, and can't "
                    f"{what} {by}: leave it out, or use a balancer with HAProxy"
                )
        return lack_of_name(frontend.application)

    async def taken(self, frontend: Frontend) -> str:
        lack = lack_of_port(await self.read(), frontend.port)
        return f"{frontend.application}: {lack}" if lack else ""

    async def troubles(self) -> list[str]:
        """Whether its last change has failed, and which servers its own probes find down."""
        await self.find()
        state = await self.read()
        found = []
        if state.is_failed:
            found.append(f"Azure: the last change of {self.named} has failed: look at its activity log")
        for group, pool in state.pools.items():
            if pool.check is not None and any(member.is_enabled for member in pool.members):
                found.append(wrong_in(await self._health(group), pool, group))
        return [each for each in found if each]

    async def _health(self, group: str, seconds: float = CHANGE_SECONDS) -> Json:
        """By Azure's own probes."""
        path = f"{self._there.id}/{RULES}/{OURS}{group}{PROBING}/health"
        return await self._resources.ask(path, f"health of {group}", seconds)

    # ------------------------------------------------------------------------------------------ changing

    def wanted(self, structure: Structure, routes: tuple[Route, ...]) -> State:
        return wanted_state(structure, routes, self._idle_minutes)

    def next_call(
        self, present: State, wanted: State, without: Collection[str], *, is_hurried: bool
    ) -> Call | None:
        return next_call(present, wanted, self._there, without, is_hurried=is_hurried)

    def after(self, present: State, wanted: State, call: Call) -> State | None:
        return state_after(present, wanted, call)

    async def perform(self, call: Call) -> None:
        if call.refusal:
            raise RefusedError(call.refusal)
        if call.group:
            await self._until_seen(call.group)
        await self._change(call)

    async def _until_seen(self, group: str) -> None:
        """Returns when Azure too has found a server of the group healthy, or has had the time for it. The
        agent's own findings are enough for a switch."""
        deadline = self._clock.monotonic() + SEEN_SECONDS
        try:
            while not up_in(await self._health(group, SEEN_SECONDS)):
                if self._clock.monotonic() > deadline:
                    log.warning(
                        "balancer.unseen", group=group, text="Azure finds none of its servers healthy"
                    )
                    return
                await self._clock.sleep(LOOK_SECONDS)
        except ProviderError as error:
            log.warning("balancer.unseen", group=group, because=str(error))

    async def _change(self, call: Call) -> None:
        try:
            await self._resources.change(
                call.method, call.path, call.body, str(call), etag=call.etag, seconds=CHANGE_SECONDS
            )
        except ThereError as changed:
            raise StaleError(str(changed)) from changed
        except BusyError as busy:
            raise BalancerError(
                f"load balancer {self.named} is busy for {CHANGE_SECONDS:g} s: {busy}"
            ) from busy

    async def settle(self) -> None:
        """A change is waited for as it is made."""

    async def close(self) -> None:
        await self._resources.rest.close()


def _tags(body: Json) -> dict[str, str]:
    return dict(body.get("tags") or {})


def _network_of(frontend: Json) -> str:
    """Of an internal frontend: that of its subnet."""
    subnet = str((frontend.get("subnet") or {}).get("id", ""))
    return subnet.partition("/subnets/")[0]
