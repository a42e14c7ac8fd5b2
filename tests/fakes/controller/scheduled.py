"""The real scheduler over a store in memory, with regions that obey, in virtual time. What goes out to a
region is compared with what is on the shelf at that moment: nothing may be said that was not saved."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from repave_controller.core.commands.release import Accepted
from repave_controller.core.domain.application import Application, Event, Instant, Policy, ReleaseOrder
from repave_controller.core.domain.rollout import Phase, Step
from repave_controller.core.ports import Transaction
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.wording.render import text_of
from repave_protos import __version__
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    Applied,
    DesiredState,
    Digest,
    GroupReport,
    Hello,
    HostName,
    Observations,
    RegionName,
    Worn,
    fingerprint_of_state,
)
from repave_simulation.tiers.store import MemoryStore, Shelf
from tests.fakes.templates import a_template, changed

PARIS, OSLO = RegionName("paris"), RegionName("oslo")
SHOP, CART = ApplicationName("shop"), ApplicationName("cart")
BEGAN = 1000.0
COMMIT_SECONDS = 0.001
MISSING = Digest("0" * 64)
STEPS: tuple[Step, ...] = (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(20.0, 60.0))
PORTS = {SHOP: 8000, CART: 8001}


def an_order(digest: str = "a", application: ApplicationName = SHOP, **changes: object) -> ReleaseOrder:
    order = ReleaseOrder(
        version=digest,
        digest=Digest(digest * 64),
        frontend_port=PORTS[application],
        sizes=((OSLO, 3), (PARIS, 3)),
        template=a_template(("./app",)),
        steps=STEPS,
        policy=Policy(keep_seconds=600.0),
        by="ann",
    )
    return changed(order, changes)


class Packages:
    """Has every package but `MISSING`."""

    def path(self, digest: Digest) -> Path | None:
        return None if digest == MISSING else Path(digest)

    async def bring(self, digest: Digest) -> Path | None:
        return self.path(digest)


class SlowStore(MemoryStore):
    """Takes its time, as a disk does, so that others get their turn in between."""

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        await asyncio.sleep(COMMIT_SECONDS)
        return await super().commit(transaction)


@dataclass
class FakeRegion:
    """Does at once what it is asked, unless it is `is_idle`. Its `sick` groups never get healthy."""

    name: RegionName
    is_connected: bool = True
    is_starting: bool = False
    since: float = BEGAN
    is_idle: bool = False
    observations: Observations = field(default_factory=Observations)
    desired: dict[ApplicationName, DesiredState] = field(default_factory=dict)
    sick: set[str] = field(default_factory=set)

    def obey(self, application: ApplicationName) -> None:
        state = self.desired[application]
        groups = tuple(
            GroupReport(each.name, unhealthy=each.count, weight_bp=each.weight_bp)
            if each.name in self.sick
            else GroupReport(each.name, verified=each.count, balancer_up=each.count, weight_bp=each.weight_bp)
            for each in state.groups
        )
        self.observations.applications[application] = ApplicationReport(application, state.epoch, groups)


class World:
    """One controller's life over a `shelf` that may have been another's."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.store = SlowStore(shelf)
        self.regions = {name: FakeRegion(name) for name in (PARIS, OSLO)}
        self.published: list[tuple[RegionName, DesiredState]] = []

    def clock(self) -> Instant:
        return Instant(BEGAN + asyncio.get_running_loop().time())

    async def open(self) -> None:
        loaded = await self.store.open()
        self.scheduler = Scheduler(self.store, Packages(), loaded, self.clock, self)

    def views(self) -> dict[RegionName, FakeRegion]:
        return self.regions

    def publish(self, region: RegionName, state: DesiredState) -> None:
        saved = self.store.shelf.applications[state.application].desired_in(region)
        assert saved == state, "something was published that is not on disk"
        self.published.append((region, state))
        self.regions[region].desired[state.application] = state
        if not self.regions[region].is_idle:
            asyncio.get_running_loop().call_soon(self.obey, region, state.application)

    def obey(self, region: RegionName, application: ApplicationName) -> None:
        self.regions[region].obey(application)
        self.scheduler.region_changed(region, {application})

    def leave(self, *regions: RegionName) -> None:
        for region in regions:
            self.regions[region].is_connected = False
            self.scheduler.region_changed(region, set())

    def arrive(self, *regions: RegionName) -> None:
        """As agents do that return: they say Hello with what they have accepted, hear what is new, report."""
        for region in regions:
            self.regions[region].since = self.clock()
            self.scheduler.greet(self.hello(region))
            states = self.scheduler.desired_for(region)
            self.regions[region].is_connected = True
            for state in states:
                self.publish(region, state)
            self.scheduler.region_changed(region, set())

    def hello(self, region: RegionName) -> Hello:
        known = self.regions[region].desired.values()
        applied = tuple(Applied(each.application, each.epoch, fingerprint_of_state(each)) for each in known)
        return Hello(region, PROTOCOL_VERSION, __version__, "local", "haproxy", applied=applied)

    def connect(self, region: RegionName) -> None:
        """As an agent does that returns: hears everything that shall be, and reports."""
        for state in self.scheduler.desired_for(region):
            self.regions[region].desired[state.application] = state
            self.obey(region, state.application)

    def tell_worn(self, region: RegionName, application: ApplicationName = SHOP) -> None:
        """The region reports something that an application at rest is decided again for."""
        known = self.regions[region].observations.applications
        first, *others = known[application].groups
        worn = (*first.worn, Worn(HostName(f"host-{len(first.worn)}"), "age", "too old"))
        groups = (replace(first, worn=worn), *others)
        known[application] = replace(known[application], groups=groups)
        self.scheduler.region_changed(region, {application})

    async def release(
        self, digest: str = "a", application: ApplicationName = SHOP, queue: bool = False, **changes: object
    ) -> Accepted:
        plan = str(changes.pop("plan", ""))
        order = an_order(digest, application, **changes)
        return await self.scheduler.release(
            application, application, order, f"spec of {digest}", queue=queue, plan=plan
        )

    async def ended(self, application: ApplicationName = SHOP) -> Phase:
        """The phase of the application's rollout as soon as it is over."""
        version = 0
        while True:
            version = await self.scheduler.changed(version)
            known = self.scheduler.applications().get(application)
            if known and known.rollout and known.running is None:
                return known.rollout.phase

    def application(self, name: ApplicationName = SHOP) -> Application:
        return self.scheduler.applications()[name]

    def weights(self, application: ApplicationName = SHOP, region: RegionName = PARIS) -> dict[str, int]:
        groups = self.regions[region].desired[application].groups
        return {group.name: group.weight_bp for group in groups if group.weight_bp}

    def kinds(self, application: str = SHOP) -> list[str]:
        return [event.kind for event in self.store.shelf.events if event.application == application]

    def waits_for(self, application: ApplicationName = SHOP) -> str:
        return "; ".join(text_of(each.reason) for each in self.scheduler.because(application))


@asynccontextmanager
async def scheduled(
    shelf: Shelf | None = None, away: dict[RegionName, FakeRegion] | None = None
) -> AsyncIterator[World]:
    """A world whose scheduler runs, and must still run at the end; `away`: the regions of an earlier one."""
    world = World(shelf)
    if away is not None:
        world.regions = away
        for region in away.values():
            region.is_connected = False
    await world.open()
    work = asyncio.create_task(world.scheduler.run())
    try:
        yield world
        assert not work.done(), "the scheduler must run for ever"
    finally:
        work.cancel()
        await asyncio.wait({work})
