"""How this controller stands among those that share the store: its lease, its shards, the others."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from repave_controller.peers.company import Company
from repave_controller.peers.condition import State
from repave_protos.daemon.metrics import gauge, single


@dataclass(frozen=True, slots=True, eq=False)
class OfCompany(Collector):
    company: Company

    def collect(self) -> Iterator[Metric]:
        conditions = self.company.conditions()
        states = Counter(each.state for each in conditions)
        yield gauge(
            "repave_controllers",
            "Controllers that share the store, by state, as this one saw them last.",
            ("state",),
            [((str(state),), states[state]) for state in State],
        )
        mine = [each for each in conditions if each.member.id == self.company.me.id]
        membership = self.company.membership
        held = len(membership.held) if membership is not None else sum(len(each.shards) for each in mine)
        yield single("repave_shards_owned", "Shards that this controller decides for.", held)
        if membership is None:
            return
        yield single(
            "repave_lease_left_seconds",
            "Until this controller's lease ends: at 0 it decides nothing.",
            membership.lease_left_seconds,
        )
        yield single(
            "repave_lease_beat_late_seconds",
            "How late a renewal of the lease was sent at most.",
            membership.latest_beat_seconds,
        )
        yield _counter("repave_shards_taken", "Shards that this controller took.", membership.take_overs)
        yield _counter("repave_lease_lapses", "How often its lease ended while it ran.", membership.lapses)


def _counter(name: str, text: str, value: int) -> Metric:
    family = CounterMetricFamily(name, text)
    family.add_metric([], value)
    return family
