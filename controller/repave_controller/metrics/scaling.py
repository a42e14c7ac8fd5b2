"""The regions whose number of hosts is chosen within bounds: these, and how many the load asks for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.registry import Collector

from repave_controller.runtime.scheduler import Scheduler
from repave_protos.daemon.metrics import gauge
from repave_protos.protocol.values import ApplicationName, RegionName


@dataclass(frozen=True, slots=True, eq=False)
class OfScaling(Collector):
    """Of the applications that this controller decides for. `needed`: by their load, as it was read last."""

    scheduler: Scheduler
    needed: Mapping[tuple[ApplicationName, RegionName], float]

    def collect(self) -> Iterator[Metric]:
        bounds = [
            ((name, scaling.region, bound), hosts)
            for name, application in self.scheduler.applications().items()
            if application.policy.scaling and self.scheduler.decides_for(name)
            for scaling in application.policy.scaling
            for bound, hosts in (("min", scaling.least), ("max", scaling.most))
        ]
        yield gauge(
            "repave_scaling_bound_hosts",
            "Within how many hosts the number of a region is chosen.",
            ("application", "region", "bound"),
            bounds,
        )
        yield gauge(
            "repave_scaling_needed_hosts",
            "Hosts that the load of a region asked for at the last look; no value: not known.",
            ("application", "region"),
            list(self.needed.items()),
        )
