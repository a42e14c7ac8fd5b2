"""What a daemon measures of itself, and how Prometheus is told: its own registry, the exposition, loop lag.

A registry is made by `__main__` and passed in; the library's global one stays empty. What is so now is read
when it is asked for, by collectors. Only what passes, such as durations, is counted where it happens.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import (
    GCCollector,
    Histogram,
    Metric,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from repave_protos.daemon.standstill import WATCH_SECONDS

CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Of calls to disks, clouds and machines, in seconds."""
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def new_registry(version: str) -> CollectorRegistry:
    """With what is so of any daemon: its version, its process, how long its loop keeps tasks waiting."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # when a series began is not used, and doubles the text
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(_Build(version))
    return registry


class _Build(Collector):
    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield gauge("repave_build_info", "The version that runs.", ("version",), [((self._version,), 1)])


class LoopLag:
    """How late the event loop runs what is due. One for a process; `run` must be running."""

    def __init__(self, registry: CollectorRegistry, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._lag = Histogram(
            "repave_loop_lag_seconds",
            "How late the event loop ran a task that was due.",
            registry=registry,
            buckets=LAG_BUCKETS,
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = self._seconds() + WATCH_SECONDS
            await asyncio.sleep(WATCH_SECONDS)
            self._lag.observe(max(0.0, self._seconds() - due))


class Disk(Collector):
    """The file system that a daemon's state is on."""

    def __init__(self, state: Path, registry: CollectorRegistry) -> None:
        self._state = state
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        size = GaugeMetricFamily("repave_state_disk_size_bytes", "Size of the disk with the state directory.")
        free = GaugeMetricFamily("repave_state_disk_free_bytes", "What the daemon may still write there.")
        try:
            found = os.statvfs(self._state)
        except OSError:
            return  # a series that is missing is an alert of its own
        size.add_metric([], found.f_blocks * found.f_frsize)
        free.add_metric([], found.f_bavail * found.f_frsize)
        yield size
        yield free


def folder_bytes(folder: Path, pattern: str) -> tuple[int, int]:
    """Of the files that are there: how many, and their bytes. Blocks."""
    sizes = []
    for path in folder.glob(pattern):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # gone meanwhile
            continue
    return len(sizes), sum(sizes)


def gauge(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    """A family from (label values, value)."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for words, value in values:
        family.add_metric(words, value)
    return family


def single(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A family of one series without labels."""
    return gauge(name, text, (), [((), value)])


@dataclass(frozen=True, slots=True)
class _Collected(Collector):
    families: list[Metric]

    def collect(self) -> list[Metric]:
        return self.families


@dataclass(frozen=True, slots=True)
class Exposition:
    """What is asked for at /metrics. `prepare` blocks, and is called first, in a thread."""

    registry: CollectorRegistry
    prepare: Callable[[], None] = lambda: None

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The body and its Content-Type, as `accept` asks: OpenMetrics, or Prometheus's own text.

        What is in memory is read in the loop, which owns it; a thread writes it out.
        """
        await asyncio.to_thread(self.prepare)
        collected = _Collected(list(self.registry.collect()))
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, collected), content_type
