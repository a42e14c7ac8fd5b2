"""Counts and times what an agent asks of provider, balancer, disk and hosts, by what came of it.

Each class implements the port that it wraps, and changes nothing of what passes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import Counter, Histogram
from prometheus_client.registry import CollectorRegistry

from repave_agent.core.host_health import ProbeResult
from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import (
    Balancer,
    BalancerAwaitedError,
    BalancerError,
    BalancerView,
    Frontend,
    Host,
    HostSpec,
    OutOfCapacityError,
    Provider,
    ProviderError,
    RefusedError,
    Route,
    Structure,
    TransientError,
    UnfitError,
    WayIn,
)
from repave_agent.runtime.journal import Disk
from repave_protos.daemon.metrics import CALL_BUCKETS
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import HostName, Probe

OF_PROVIDER = ("launch", "list", "destroy", "log", "inspect", "room")
OF_BALANCER = ("start", "arrange", "route", "observe", "way_in")
RESULTS: tuple[tuple[type[BaseException], str], ...] = (
    (OutOfCapacityError, "out_of_capacity"),
    (RefusedError, "refused"),
    (TransientError, "transient"),
    (ProviderError, "error"),
    (UnfitError, "unfit"),
    (BalancerAwaitedError, "transient"),
    (BalancerError, "error"),
    (asyncio.CancelledError, "cancelled"),  # no answer in time, or the agent stopped
)


class Calls:
    """Calls of one kind, by what was asked and what came of it."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        operations: tuple[str, ...],
        seconds: Callable[[], float],
    ) -> None:
        self._seconds = seconds
        self._durations = Histogram(
            f"repave_agent_{name}_call_duration_seconds",
            text,
            ("operation", "result"),
            registry=registry,
            buckets=CALL_BUCKETS,
        )
        for each in operations:
            self._durations.labels(each, "ok")

    @asynccontextmanager
    async def timed(self, operation: str) -> AsyncIterator[None]:
        began, result = self._seconds(), "ok"
        try:
            yield
        except BaseException as error:
            result = next((word for kind, word in RESULTS if isinstance(error, kind)), "bug")
            raise
        finally:
            self._durations.labels(operation, result).observe(max(0.0, self._seconds() - began))


class MeasuredProvider:
    """Implements ports.Provider over another one."""

    def __init__(self, provider: Provider, registry: CollectorRegistry, seconds: Callable[[], float]) -> None:
        self._provider = provider
        self.name = provider.name
        text = "How long the provider took, by what was asked and what came of it."
        self._calls = Calls(registry, "provider", text, OF_PROVIDER, seconds)

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        async with self._calls.timed("launch"):
            return await self._provider.launch(spec, package, *([secrets] if secrets else []))

    async def list_hosts(self) -> list[Host]:
        async with self._calls.timed("list"):
            return await self._provider.list_hosts()

    async def destroy(self, host: HostName) -> None:
        async with self._calls.timed("destroy"):
            await self._provider.destroy(host)

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        return await self._provider.execute(host, command, timeout_seconds)

    async def log_tail(self, host: HostName, lines: int) -> str:
        async with self._calls.timed("log"):
            return await self._provider.log_tail(host, lines)

    async def inspect(self, host: HostName) -> str:
        async with self._calls.timed("inspect"):
            return await self._provider.inspect(host)

    async def room(self, asked: FindRoom) -> str:
        async with self._calls.timed("room"):
            return await self._provider.room(asked)

    def on_change(self, callback: Callable[[], None]) -> None:
        self._provider.on_change(callback)

    async def close(self) -> None:
        await self._provider.close()


class MeasuredBalancer:
    """Implements ports.Balancer over another one. `view`: what it said last; `seen` hears all of that."""

    def __init__(
        self,
        balancer: Balancer,
        registry: CollectorRegistry,
        seconds: Callable[[], float],
        seen: Callable[[BalancerView], object] = lambda _: None,
    ) -> None:
        self._balancer, self._seen = balancer, seen
        self.name, self.traffic_address = balancer.name, balancer.traffic_address
        self.view: BalancerView | None = None
        text = "How long the balancer took; `arrange` may reload it, `route` moves traffic."
        self._calls = Calls(registry, "balancer", text, OF_BALANCER, seconds)

    async def start(self) -> None:
        async with self._calls.timed("start"):
            await self._balancer.start()
        self.traffic_address = self._balancer.traffic_address  # some know it only now

    async def arrange(self, structure: Structure) -> None:
        async with self._calls.timed("arrange"):
            await self._balancer.arrange(structure)

    async def way_in(self, frontend: Frontend) -> WayIn:
        async with self._calls.timed("way_in"):
            return await self._balancer.way_in(frontend)

    async def route(self, routes: tuple[Route, ...]) -> None:
        async with self._calls.timed("route"):
            await self._balancer.route(routes)

    async def observe(self) -> BalancerView:
        async with self._calls.timed("observe"):
            self.view = await self._balancer.observe()
        self._seen(self.view)
        return self.view

    def on_change(self, callback: Callable[[], None]) -> None:
        self._balancer.on_change(callback)

    async def close(self) -> None:
        await self._balancer.close()


class MeasuredDisk:
    """Implements journal.Disk over another one."""

    def __init__(self, disk: Disk, registry: CollectorRegistry, seconds: Callable[[], float]) -> None:
        self._disk, self._seconds = disk, seconds
        self.name = disk.name
        self._durations = Histogram(
            "repave_agent_journal_write_duration_seconds",
            "How long it took to write the journal; durable: until it was on the disk.",
            ("durable",),
            registry=registry,
            buckets=CALL_BUCKETS,
        )
        self._failures = Counter(
            "repave_agent_journal_failures_total",
            "Times it could not be written.",
            registry=registry,
        )

    def read(self) -> bytes | None:
        return self._disk.read()

    def replace(self, content: bytes, *, durable: bool) -> None:
        began = self._seconds()
        try:
            self._disk.replace(content, durable=durable)
        except OSError:
            self._failures.inc()
            raise
        finally:
            self._durations.labels(str(durable).lower()).observe(max(0.0, self._seconds() - began))


def counted_probes(registry: CollectorRegistry) -> Callable[[Probe, ProbeResult], object]:
    """To be told of each probe, which it counts."""
    probes = Counter(
        "repave_agent_probes_total",
        "Probes of hosts, by kind and what came of them.",
        ("kind", "result"),
        registry=registry,
    )

    def heard(asked: Probe, result: ProbeResult) -> None:
        probes.labels(asked.kind, "passed" if result.ok else "failed").inc()

    return heard
