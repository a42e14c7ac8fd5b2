"""What is so now, read when Prometheus asks: rollouts, hosts, regions, queues, certificates, packages.

Labels are applications, regions and words of ours. Hosts and groups are in none: those come and go for ever.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from repave_controller.core.domain.application import Application
from repave_controller.core.domain.instants import Instant
from repave_controller.fleet.packages import SUFFIX
from repave_controller.fleet.regions import KnownRegion
from repave_controller.fleet.sessions import Sessions
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.daemon.metrics import folder_bytes, gauge, single
from repave_protos.protocol.values import ApplicationName, GroupReport, RegionName

STATES = ("launching", "starting", "healthy", "verified", "unhealthy", "failed", "destroying")
"""Of hosts, as reports count them."""
assert set(STATES) <= {each.name for each in fields(GroupReport)}

Values = list[tuple[tuple[str, ...], float]]


@dataclass(slots=True)
class PackageUsage:
    """How much the stored packages are; looked up outside of the event loop."""

    folder: Path
    packages: int = 0
    size_bytes: int = 0

    def look(self) -> None:
        self.packages, self.size_bytes = folder_bytes(self.folder, f"*{SUFFIX}")


@dataclass(frozen=True, slots=True, eq=False)
class Refused(Collector):
    """Requests that were not let in; the API counts them by rule."""

    counts: Mapping[str, int]

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "repave_requests_refused", "Requests that were not let in, by rule.", labels=("rule",)
        )
        for rule, count in self.counts.items():
            family.add_metric([rule], count)
        yield family


@dataclass(frozen=True, slots=True, eq=False)
class State(Collector):
    """Reads one controller; to be collected in its event loop.

    `expiries`: the controller's own certificates, and when each ends; `agents`: the same by region.
    """

    scheduler: Scheduler
    sessions: Sessions
    clock: Callable[[], Instant]
    packages: PackageUsage
    expiries: Callable[[], Mapping[str, float]]
    agents: Callable[[], Mapping[str, float]]

    def collect(self) -> Iterator[Metric]:
        decides = self.scheduler.decides_for  # of the others their controllers tell
        applications = {name: each for name, each in self.scheduler.applications().items() if decides(name)}
        yield from self._rollouts(applications)
        yield from self._hosts(applications)
        yield from self._regions()
        yield from self._rest()

    # ---------------------------------------------------------------------------------------- rollouts

    def _rollouts(self, applications: Mapping[ApplicationName, Application]) -> Iterator[Metric]:
        phases: Values = []
        started: Values = []
        paused: Values = []
        tracks: Values = []
        traffic: Values = []
        queued: Values = []
        waits: Values = []
        for name, application in applications.items():
            queued.append(((name,), len(application.queue)))
            found = Counter(str(each.reason.kind) for each in self.scheduler.because(name))
            waits += [((name, why), count) for why, count in found.items()]
            rollout = application.rollout
            if rollout is None:
                continue
            phases.append(((name, rollout.kind, rollout.phase), 1))
            started.append(((name,), rollout.started_at))
            pause = rollout.pause if not rollout.phase.is_over else None
            for by in ("person", "repave"):
                is_so = pause is not None and pause.is_hold == (by == "repave")
                paused.append(((name, by), is_so))
            of = Counter(str(track.phase) for track in rollout.tracks)
            tracks += [((name, phase), count) for phase, count in of.items()]
            traffic += _traffic(application)
        yield gauge(
            "repave_rollout_phase",
            "1: the phase of an application's newest rollout.",
            ("application", "kind", "phase"),
            phases,
        )
        yield gauge(
            "repave_rollout_started_timestamp_seconds",
            "When an application's newest rollout began.",
            ("application",),
            started,
        )
        yield gauge(
            "repave_rollout_paused",
            "1: it is paused, by a person, or by repave because going on would be wrong.",
            ("application", "by"),
            paused,
        )
        yield gauge(
            "repave_rollout_regions",
            "Regions of the newest rollout, by how far they are.",
            ("application", "phase"),
            tracks,
        )
        yield gauge(
            "repave_rollout_target_traffic_ratio",
            "The share of requests that the rollout's target has in a region.",
            ("application", "region"),
            traffic,
        )
        yield gauge("repave_queue_length", "Releases that wait for their turn.", ("application",), queued)
        yield gauge(
            "repave_waits",
            "What an application waits for, by kind; repave why tells it in words.",
            ("application", "why"),
            waits,
        )

    # ------------------------------------------------------------------------------------------- hosts

    def _hosts(self, applications: Mapping[ApplicationName, Application]) -> Iterator[Metric]:
        hosts: Values = []
        wanted: Values = []
        ready: Values = []
        in_flight: Values = []
        views = self.sessions.views()
        for region, view in views.items():
            for name, report in view.observations.applications.items():
                if not self.scheduler.decides_for(name):
                    continue
                groups = report.groups if name in applications else ()
                sums = {state: sum(getattr(group, state) for group in groups) for state in STATES}
                hosts += [((name, region, state), count) for state, count in sums.items()]
                in_flight.append(((name, region), sum(group.in_flight for group in groups)))
        for name, application in applications.items():
            for region in application.regions:
                serving = application.serving_in(region)
                part = serving.part(region) if serving is not None else None
                if serving is None or part is None:
                    continue
                wanted.append(((name, region), part.size))
                seen = views[region].observations.applications.get(name) if region in views else None
                group = seen.group(serving.name) if seen is not None else None
                ready.append(((name, region), group.verified if group is not None else 0))
        yield gauge(
            "repave_hosts",
            "Hosts of an application in a region, over all of its groups.",
            ("application", "region", "state"),
            hosts,
        )
        yield gauge(
            "repave_serving_hosts_desired",
            "Hosts that the group which serves shall have.",
            ("application", "region"),
            wanted,
        )
        yield gauge(
            "repave_serving_hosts_verified",
            "Hosts of that group that are verified, as its region reported last.",
            ("application", "region"),
            ready,
        )
        yield gauge(
            "repave_requests_in_flight",
            "Requests, or connections, that the balancer has in flight.",
            ("application", "region"),
            in_flight,
        )

    # ----------------------------------------------------------------------------------------- regions

    def _regions(self) -> Iterator[Metric]:
        self.sessions.forget_unused()
        views = self.sessions.views()

        def each(value: Callable[[KnownRegion], float]) -> Values:
            return [((name,), value(view)) for name, view in views.items()]

        served = {name for known in self.scheduler.applications().values() for name in known.regions}
        away: Values = [((name,), 0) for name in sorted(served - views.keys())]
        connected = [*each(lambda view: view.is_connected), *away]
        yield gauge("repave_region_connected", "1: the region's agent has a stream.", ("region",), connected)
        yield gauge(
            "repave_region_starting",
            "1: its agent can't act yet.",
            ("region",),
            each(lambda view: view.is_starting),
        )
        yield gauge(
            "repave_region_troubles",
            "What is wrong with the region as a whole; repave doctor tells it.",
            ("region",),
            each(lambda view: len(view.troubles)),
        )
        yield gauge(
            "repave_region_since_timestamp_seconds",
            "Since when the region is connected, or away.",
            ("region",),
            each(lambda view: view.since),
        )
        yield gauge(
            "repave_region_served",
            "1: an application is in the region.",
            ("region",),
            (((name,), 1) for name in sorted(served)),
        )
        yield gauge(
            "repave_agent_info",
            "The agent that spoke last for a region.",
            ("region", "version", "provider", "balancer"),
            (((name, *_agent(view)), 1) for name, view in views.items()),
        )
        yield gauge(
            "repave_agent_clock_offset_seconds",
            "How far the agent's clock is ahead of the controller's, as it said last.",
            ("region",),
            (
                ((name,), view.clock_offset_seconds)
                for name, view in views.items()
                if view.clock_offset_seconds is not None
            ),
        )
        yield gauge(
            "repave_agent_certificate_expiry_timestamp_seconds",
            "When the newest certificate of a region's agents ends.",
            ("region",),
            (((name,), at) for name, at in self.agents().items()),
        )
        yield gauge(
            "repave_region_questions_waiting",
            "Questions that a region's agent has yet to answer.",
            ("region",),
            self._waiting(views),
        )
        yield single(
            "repave_agents_refused",
            "Agents that were refused of late: for their certificate, or because the region has one.",
            len(self.sessions.denials()) + len(self.sessions.rivals()),
        )

    def _waiting(self, regions: Iterable[RegionName]) -> Values:
        return [((name,), self.sessions.questions_waiting(name)) for name in regions]

    # -------------------------------------------------------------------------------------------- rest

    def _rest(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily(
            "repave_decisions", "Decisions by this controller, by application.", labels=("application",)
        )
        for name, count in self.scheduler.decisions().items():
            decisions.add_metric([name], count)
        yield decisions
        yield gauge(
            "repave_certificate_expiry_timestamp_seconds",
            "When a certificate of the controller ends.",
            ("certificate",),
            (((name,), at) for name, at in self.expiries().items()),
        )
        yield single("repave_packages", "Packages that are stored.", self.packages.packages)
        yield single("repave_packages_size_bytes", "Bytes of the stored packages.", self.packages.size_bytes)
        waiting = self.scheduler.event_log.waiting
        yield single("repave_events_waiting", "Events that have yet to be saved.", waiting)


def _agent(view: KnownRegion) -> tuple[str, str, str]:
    return view.hello.agent_version, view.hello.provider, view.hello.balancer


def _traffic(application: Application) -> Values:
    rollout = application.rollout
    assert rollout is not None
    found: Values = []
    for track in rollout.tracks:
        group = application.group(rollout.target_of(track))
        part = group.part(track.region) if group is not None else None
        if part is not None:
            found.append(((application.name, track.region), part.weight_bp / 10_000))
    return found
