"""The ports of one simulated process: what it awaits is an effect on the world, which may go wrong."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from repave_agent.core.host_health import PASSED, ProbeResult
from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import (
    BalancerError,
    BalancerView,
    Frontend,
    Host,
    HostSpec,
    PackageAwaitedError,
    Route,
    Structure,
    TransientError,
    WayIn,
)
from repave_agent.core.region import Entries
from repave_agent.health.prober import Execute
from repave_controller.core.domain.application import Event, Instant, Tenure
from repave_controller.core.ports import Loaded, StoreError, Transaction
from repave_controller.wording.render import event_text
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import Digest, HostName, Probe, RegionName
from repave_simulation.kernel.timeline import CONTROLLER, Life
from repave_simulation.tiers.figures import refused_launch
from repave_simulation.tiers.store import MemoryStore, Shelf
from repave_simulation.world.place import Place
from repave_simulation.world.world import World

PROBE_SECONDS = 0.01
HINT_SECONDS = 0.02
MISTAKES = ("bug", "promise.broken")
"""Kinds of events that a correct repave never writes."""

Made = TypeVar("Made")
_ENTRIES = TypeAdapter(Entries)


class Hands:
    """What one process can do to the world."""

    def __init__(self, world: World, life: Life) -> None:
        self.world = world
        self.life = life

    async def do(
        self,
        kind: str,
        region: RegionName,
        subject: str,
        apply: Callable[[], Made],
        failure: Callable[[str], Exception],
        usual_seconds: float,
        *,
        is_local: bool = False,
    ) -> Made:
        """Returns what `apply` made, once that is heard of; raises what went wrong."""
        heard: asyncio.Future[Made] = asyncio.get_running_loop().create_future()

        def done(result: Made | Exception) -> None:
            if heard.done():
                return
            if isinstance(result, Exception):
                heard.set_exception(result)
            else:
                heard.set_result(result)

        self.world.act(
            self.life, kind, region, subject, apply, done, failure, usual_seconds, is_local=is_local
        )
        return await heard

    def hint(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls it a little later, as the process's own work."""
        return lambda: self.world.timeline.after(HINT_SECONDS, callback, self.life)


class SimulatedProvider(Hands):
    """Implements agent ports.Provider over a place."""

    name = "simulated"

    def __init__(self, world: World, life: Life, place: Place) -> None:
        super().__init__(world, life)
        self._place = place

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        place, memory = self._place, self._place.memory
        return await self.do(
            "launch",
            place.region,
            spec.name,
            lambda: self._provided(lambda: place.make(spec, memory)),
            refused_launch,
            0.5,
        )

    async def list_hosts(self) -> list[Host]:
        place = self._place
        return await self.do(
            "list", place.region, "", lambda: self._provided(place.listing), TransientError, 0.05
        )

    async def destroy(self, host: HostName) -> None:
        place = self._place
        place.condemn(host)
        await self.do(
            "destroy",
            place.region,
            host,
            lambda: self._provided(lambda: place.end(host)),
            TransientError,
            0.3,
        )

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        raise TransientError("a simulated host runs no commands")

    async def log_tail(self, host: HostName, lines: int) -> str:
        return ""

    async def inspect(self, host: HostName) -> str:
        return ""

    async def room(self, asked: FindRoom) -> str:
        return ""

    def on_change(self, callback: Callable[[], None]) -> None:
        self._place.on_host_end = self.hint(callback)

    async def close(self) -> None:
        return

    def _provided(self, apply: Callable[[], Made]) -> Made:
        if self._place.provider_down_until > self.world.now:
            raise TransientError("the provider does not answer")
        return apply()

    async def ask(self, probe: Probe, address: str, execute: Execute) -> ProbeResult:
        """One probe: health.Ask."""
        await asyncio.sleep(PROBE_SECONDS)
        machine = next((each for each in self._place.hosts() if each.host.address == address), None)
        if machine is not None and machine.is_well:
            return PASSED
        if machine is not None and machine.ill == "hangs":
            await asyncio.sleep(probe.timeout_seconds)
            return ProbeResult(False, "no answer")
        return ProbeResult(False, "connection refused")


class SimulatedBalancer(Hands):
    """Implements agent ports.Balancer over a place."""

    name = "simulated"
    traffic_address = "10.0.0.1"

    def __init__(self, world: World, life: Life, place: Place) -> None:
        super().__init__(world, life)
        self._place = place

    async def start(self) -> None:
        self._place.view()

    async def arrange(self, structure: Structure) -> None:
        place = self._place
        await self.do("arrange", place.region, "", lambda: place.arrange(structure), BalancerError, 0.05)

    async def way_in(self, frontend: Frontend) -> WayIn:
        return WayIn()

    async def route(self, routes: tuple[Route, ...]) -> None:
        place, asked_at = self._place, self.world.now
        await self.do("route", place.region, "", lambda: place.route(routes, asked_at), BalancerError, 0.01)

    async def observe(self) -> BalancerView:
        return self._place.view()

    def on_change(self, callback: Callable[[], None]) -> None:
        self._place.on_balancer = self.hint(callback)

    async def close(self) -> None:
        return


class SimulatedPackages(Hands):
    """Implements agent ports.Packages: they come from the controller, which may be away."""

    def __init__(self, world: World, life: Life, place: Place) -> None:
        super().__init__(world, life)
        self._place = place

    async def fetch(self, digest: Digest) -> Path:
        return await self.do(
            "fetch", self._place.region, digest[-4:], self._fetched, PackageAwaitedError, 0.1
        )

    def _fetched(self) -> Path:
        if not self.world.has_controller or self._place.cut_until > self.world.now:
            raise PackageAwaitedError("the controller is away")
        return Path("package.tar.gz")


class SimulatedDisk(Hands):
    """Implements agent journal.Disk."""

    name = "the journal"

    def __init__(self, world: World, life: Life, place: Place) -> None:
        super().__init__(world, life)
        self._place = place

    def read(self) -> bytes | None:
        return _ENTRIES.dump_json(self._place.journal)

    def replace(self, content: bytes, *, durable: bool) -> None:
        place = self._place
        entries = _ENTRIES.validate_json(content)
        is_full = place.journal_full_until > self.world.now
        if is_full or not self.world.act_now(
            self.life, "journal", place.region, lambda: place.save(entries, durable=durable)
        ):
            raise OSError(28, "No space left on device")


class SimulatedStore(MemoryStore, Hands):
    """Implements controller ports.Store; the ledger sees what becomes durable."""

    def __init__(self, world: World, life: Life, shelf: Shelf) -> None:
        Hands.__init__(self, world, life)
        MemoryStore.__init__(self, shelf)

    def opened(self) -> Loaded:
        """As `open`, which nothing can hinder here."""
        self._is_open = True
        self.shelf.terms += 1
        applications = tuple(self.shelf.applications[name] for name in sorted(self.shelf.applications))
        newest = max((event.at for event in self.shelf.events), default=Instant(0.0))
        tenure = Tenure(self.shelf.incarnation, self.shelf.terms)
        return Loaded(tenure, "simulated", applications, newest, self.shelf.freezes)

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        name = transaction.application.name if transaction.application else "notices"
        return await self.do(
            "commit",
            RegionName(""),
            name,
            lambda: self._commit(transaction),
            StoreError,
            0.004,
            is_local=True,
        )

    def _commit(self, transaction: Transaction) -> tuple[Event, ...]:
        if self.world.store_full_until > self.world.now:
            raise StoreError("the disk is full")
        events = self.put(transaction)
        for event in events:
            self.world.tell(CONTROLLER, f"{event.kind}: {event_text(event)}")
            if event.kind in MISTAKES:
                self.world.broken(0, f"{event.kind}: {event_text(event)}")
        self.world.ledger.last_at = max((event.at for event in events), default=self.world.ledger.last_at)
        if transaction.application is not None:
            self.world.commit(transaction.application, events)
        return events
