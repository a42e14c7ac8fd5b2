"""One address of Google's and all that is repave's behind it: read in few calls, each change waited for.

Which call comes next is model.py's; what the answers mean, reading.py's. What is there is kept as Google gave
it, and only what a change has touched is read again. Names of what is ours begin with a mark of the address,
so listings leave the rest of the project out. The address itself has the mark of the agent: a label.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from repave_agent.balancers.cloud.load_balancer import StaleError
from repave_agent.balancers.gcp_lb.model import Call, Place, Site, State, next_call, wanted_state
from repave_agent.balancers.gcp_lb.reading import (
    HEALTHY,
    Lists,
    healthy,
    places_of,
    routes_in,
    state_of,
    stranger_at,
    structure_in,
)
from repave_agent.clients.faults import GoneError
from repave_agent.clients.gcp.account import Account
from repave_agent.clients.gcp.compute import BusyError, ChangedError, InUseError, ThereError, name_of
from repave_agent.core.ports import (
    BackendView,
    Clock,
    Frontend,
    RefusedError,
    Route,
    Structure,
    TransientError,
)
from repave_protos.protocol.values import USUAL_TIMEOUTS, GroupName

OWNER = "repave-owner"
"""The label that says whose it is: of the address, and of every machine of repave's."""
OPERATION_SECONDS = 120.0
"""So long a change is waited for, and one of another's that is under way: the rest waits behind it."""
BUSY_SECONDS = 1.0
WHOLE_SECONDS = 30.0
"""After so long all is read again although nothing seems to have changed."""
HEALTH_SECONDS = 5.0
"""So long hosts count as healthy of which all were: each group and zone costs a call."""
LAG_SECONDS = 2.0
"""After an answer that shows that listings are behind."""
SEEK_SECONDS = 10.0
"""So long is believed that there is no instance with an address."""
GROUPS, RULES, MAPS = "networkEndpointGroups", "forwardingRules", "urlMaps"
COLLECTIONS = {
    "healthChecks": "checks",
    GROUPS: "groups",
    "backendServices": "services",
    MAPS: "maps",
    "targetHttpProxies": "proxies",
    RULES: "rules",
}
"""As Lists calls them."""
Items = list[dict[str, Any]]


class GcpLoadBalancer:
    """Implements LoadBalancer. `named`: a reserved address, of the region if one is given, else global."""

    kind, vendor = "gcp_lb", "Google"
    sees_idle = True
    """Google asks every group that a URL map names, also with weight 0."""

    def __init__(
        self,
        account: Account,
        named: str,
        *,
        clock: Clock,
        region: str = "",
        network: str = "default",
        subnetwork: str = "",
        drain_seconds: int = 300,
    ) -> None:
        self._account, self._compute, self._clock = account, account.compute, clock
        self.named, self.address, self._drain = named, "", drain_seconds
        self._scope = f"regions/{region}" if region else "global"
        self._place = f"--region {region}" if region else "--global"
        self._network, self._subnetwork = network, subnetwork
        self._site: Site | None = None
        self._lists: dict[str, Items] = {}
        self._members: dict[str, Items] = {}  # by the path of their group
        self._read_at = self._sought_at = self._seen_at = float("-inf")
        self._places: dict[str, Place] = {}
        self._needed: frozenset[str] = frozenset()  # addresses of servers

    # ---------------------------------------------------------------------------------------- which, whose

    async def find(self) -> None:
        if self._site is not None:
            return
        if not self.named:
            raise RefusedError("gcp_lb.address is not set: name a reserved address of the project")
        await self._account.begin()
        found = await self._shown()
        is_inside = found.get("addressType", "EXTERNAL") == "INTERNAL"
        has_tier = not is_inside and self._scope != "global"
        self.address = str(found["address"])
        self._site = Site(
            self._scope,
            f"{self._scope}/{self.named}",
            self.address,
            "INTERNAL_MANAGED" if is_inside else "EXTERNAL_MANAGED",
            name_of(self._network),
            self._subnetwork,
            str(found.get("networkTier", "")) if has_tier else "",
        )

    async def owners(self) -> list[str]:
        labels = (await self._shown()).get("labels") or {}
        return [labels[OWNER]] if labels.get(OWNER) else []

    async def own(self, owner: str) -> None:
        await self._label({OWNER: owner})

    async def disown(self) -> None:
        await self._label({})

    def how_to_disown(self, owner: str) -> str:
        return f"gcloud compute addresses update {self.named} {self._place} --remove-labels {OWNER}"

    async def _label(self, marks: dict[str, str]) -> None:
        found = await self._shown()
        others = {name: value for name, value in (found.get("labels") or {}).items() if name != OWNER}
        body = {"labels": {**others, **marks}, "labelFingerprint": found["labelFingerprint"]}
        await self._settled(Call("POST", f"{self._scope}/addresses/{self.named}/setLabels", body))

    async def _shown(self) -> dict[str, Any]:
        """The address. One that was deleted is looked for by its name at the next call."""
        try:
            return await self._compute.get(f"{self._scope}/addresses/{self.named}")
        except GoneError as gone:
            self._site = None
            raise RefusedError(
                f"gcp_lb.address: project {self._compute.project} has no address {self.named}. Do: gcloud "
                f"compute addresses create {self.named} {self._place}"
            ) from gone

    @property
    def _here(self) -> Site:
        """Raises StaleError where the address was deleted meanwhile."""
        if self._site is None:
            raise StaleError(f"the address {self.named} was deleted: it is looked for again")
        return self._site

    # ------------------------------------------------------------------------------------------- looking

    async def read(self) -> State:
        if self._clock.monotonic() - self._read_at > WHOLE_SECONDS:
            self._forget()
        if self._lacks_places():
            await self._seek()
        missing = [name for name in COLLECTIONS if name not in self._lists]
        found = await asyncio.gather(*(self._list(name) for name in missing))
        self._lists |= dict(zip(missing, found, strict=True))
        return await self._state()

    async def _state(self) -> State:
        """Of what was listed; members of groups of endpoints are listed where they are not known."""
        groups = {
            each["selfLink"]: _path_of(each)
            for each in self._lists[GROUPS]
            if self._here.key(each) is not None
        }
        asked = [path for path in groups.values() if path not in self._members]
        members = await asyncio.gather(*(self._list_members(path) for path in asked))
        self._members |= dict(zip(asked, members, strict=True))
        lists = {name: self._lists.get(collection, []) for collection, name in COLLECTIONS.items()}
        of_groups = {link: self._members[path] for link, path in groups.items()}
        return state_of(Lists(**lists, members=of_groups), self._here, self._places)

    async def is_current(self, state: State, *, settles: bool) -> bool:
        """By the URL maps: who else changes something changes those, or it is seen after a while."""
        if self._lacks_places() or self._clock.monotonic() - self._read_at > WHOLE_SECONDS:
            return False
        if await self._list(MAPS) == self._lists.get(MAPS):
            return True
        self._forget()
        return False

    def is_empty(self, state: State) -> bool:
        return not state.services and not state.maps and not state.rules

    def _forget(self) -> None:
        self._lists.clear()
        self._members.clear()
        self._read_at = self._clock.monotonic()

    async def _list(self, collection: str) -> Items:
        if collection == RULES:  # strangers' too: they take ports
            return await self._compute.list_all(self._here.path(collection))
        path = f"aggregated/{GROUPS}" if collection == GROUPS else self._here.path(collection)
        return await self._compute.list_all(path, filter=f"name eq {self._here.prefix}.*")

    async def _list_members(self, path: str) -> Items:
        """None of a group that went meanwhile."""
        try:
            asked = {"healthStatus": "SHOW"}
            return await self._compute.list_all(f"{path}/listNetworkEndpoints", asked=asked)
        except GoneError:
            self._lists.pop(GROUPS, None)
            return []

    def _lacks_places(self) -> bool:
        is_long = self._clock.monotonic() - self._sought_at > SEEK_SECONDS
        return is_long and not self._needed <= self._places.keys()

    async def _seek(self) -> None:
        listed = await self._compute.list_all("aggregated/instances", filter=f"labels.{OWNER}:*")
        self._places = places_of(listed, self._here.network)
        self._sought_at = self._clock.monotonic()

    # ------------------------------------------------------------------------------------------ changing

    def wanted(self, structure: Structure, routes: tuple[Route, ...]) -> State:
        needed = {server.address for backend in structure.backends for server in backend.servers}
        if needed - self._needed - self._places.keys():
            self._sought_at = float("-inf")
        self._needed = frozenset(needed)
        return wanted_state(structure, routes, self._drain)

    def next_call(
        self, present: State, wanted: State, without: Collection[str], *, is_hurried: bool
    ) -> Call | None:
        return next_call(present, wanted, self._here, without, is_hurried=is_hurried)

    async def perform(self, call: Call) -> None:
        """What it touches is read again, whatever came of it."""
        collection, path = _collection_of(call.path), call.path
        if call.method == "POST" and collection == RULES:
            await self._check_free(call)
        try:
            await self._once_free(call)
        except ChangedError as error:
            raise StaleError(str(error)) from error
        except (ThereError, GoneError) as error:
            await self._clock.sleep(LAG_SECONDS)
            raise StaleError(str(error)) from error
        except InUseError as error:
            raise InUseError(f"{error} Remove what uses it, or let it use something else.") from error
        finally:
            if path.endswith("NetworkEndpoints"):
                self._members.pop(path.rpartition("/")[0], None)
            else:
                self._lists.pop(collection, None)
                self._members.pop(path, None)

    async def _once_free(self, call: Call) -> None:
        """Waits for what someone else, or a call whose answer was lost, has begun."""
        deadline = self._clock.monotonic() + OPERATION_SECONDS
        while True:
            try:
                return await self._settled(call)
            except BusyError as error:
                if self._clock.monotonic() > deadline:
                    text = f"{call}: another change of it is under way for {OPERATION_SECONDS:g} s: {error}"
                    raise TransientError(text) from error
                await self._clock.sleep(BUSY_SECONDS)

    async def _settled(self, call: Call) -> None:
        operation = await self._compute.change(call.method, call.path, call.body)
        await self._compute.settle(operation, str(call), OPERATION_SECONDS)

    async def _check_free(self, call: Call) -> None:
        """Raises RefusedError where the port is a stranger's."""
        body = call.body or {}
        if rule := stranger_at(int(body["portRange"]), await self._list(RULES), self._here):
            raise RefusedError(self._taken_by(int(body["portRange"]), rule))

    def _taken_by(self, port: int, rule: str) -> str:
        return (
            f"port {port} of {self.named} is that of the forwarding rule {rule}: give the application "
            "another traffic.port"
        )

    def after(self, present: State, wanted: State, call: Call) -> State | None:
        """Never known: a new share is read back, with the fingerprint that the next one needs."""
        return None

    async def settle(self) -> None:
        """Every call was waited for."""

    # ------------------------------------------------------------------------------------------ our words

    def structure_in(self, state: State, known: Structure) -> Structure:
        return structure_in(state, known)

    def routes_in(self, state: State, structure: Structure, known: tuple[Route, ...]) -> tuple[Route, ...]:
        return routes_in(state, structure, known)

    async def backends(
        self, state: State, structure: Structure, leaving: Collection[GroupName]
    ) -> tuple[BackendView, ...]:
        """Google does not tell how many requests a group has: as long as there may be some there is one, so
        that a group, and a host of it, gets all of its time to drain."""
        seen = await self._state()
        is_old = self._clock.monotonic() - self._seen_at > HEALTH_SECONDS
        if is_old or any(each.health != HEALTHY for all_ in seen.endpoints.values() for each in all_):
            self._members.clear()
            self._seen_at = self._clock.monotonic()
            seen = await self._state()
        busy = {name for each in state.maps.values() for name in each.takers} | set(leaving)
        return tuple(
            BackendView(
                each.group, healthy(seen, each.group, structure), int(each.group in busy), is_exact=False
            )
            for each in structure.backends
        )

    def misfit(self, frontend: Frontend) -> str:
        name, split = frontend.application, frontend.split
        if split.by != "request":
            return (
                f"{name}: Google can't split by {split.by} and by weight: leave out traffic.split, or use a "
                "balancer with HAProxy"
            )
        if split.tester_by == "cookie":
            return f"{name}: Google knows testers by a header, not by a cookie: give traffic.testers a header"
        if frontend.client_seconds != USUAL_TIMEOUTS.client_seconds:
            return f"{name}: Google's proxies have no time-out of clients to set: leave out timeouts.client"
        return ""

    async def taken(self, frontend: Frontend) -> str:
        rule = stranger_at(frontend.port, await self._list(RULES), self._here)
        return f"{frontend.application}: {self._taken_by(frontend.port, rule)}" if rule else ""

    async def troubles(self) -> list[str]:
        await self._account.begin()
        await self._shown()
        return []

    async def close(self) -> None:
        await self._compute.rest.close()


def _collection_of(path: str) -> str:
    """Of `global/urlMaps/NAME`, `regions/R/urlMaps`, `zones/Z/networkEndpointGroups/NAME/VERB`."""
    parts = path.split("/")
    return parts[1] if parts[0] == "global" else parts[2]


def _path_of(group: dict[str, Any]) -> str:
    return f"zones/{name_of(group['zone'])}/{GROUPS}/{group['name']}"
