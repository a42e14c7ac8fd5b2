"""Counts what rollouts came to and how long they took: the four figures of DORA, and steps.

It is shown what is saved, and begins with the history that the store holds, so that a restart loses little.
What is measured, and what can't be: docs/monitoring.md.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Counter, Histogram
from prometheus_client.registry import CollectorRegistry

from repave_controller.core.domain.application import Application
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.jobs import RunState
from repave_controller.core.domain.rollout import Phase, Rollout, RolloutKind, TrackPhase
from repave_controller.core.domain.steps import KINDS
from repave_controller.core.ports import Image, Store, Transaction
from repave_protos.protocol.values import ApplicationName, Digest

HISTORY_MAX = 100
"""So many rollouts of each application are read at a start."""
BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400, 604800)
"""From seconds to a week."""
OUTCOMES = tuple(phase for phase in Phase if phase.is_over)


class Ledger:
    """One for a controller."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], Instant]) -> None:
        self._clock = clock
        self._last: dict[ApplicationName, Rollout] = {}
        self._undoing_since: dict[ApplicationName, float] = {}
        self._pushed_at: dict[Digest, float] = {}
        self._history: dict[ApplicationName, int] = {}  # the newest rollout that had ended at the start
        self._ended = Counter(
            "repave_rollouts_total",
            "Rollouts that ended, by what they were and what they came to.",
            ("application", "kind", "outcome"),
            registry=registry,
        )
        self._durations = _histogram(
            registry, "repave_rollout_duration_seconds", "From a rollout's start to its end.", "kind"
        )
        self._leads = _histogram(
            registry,
            "repave_change_lead_time_seconds",
            "From the first push of a package to the end of a release that succeeded with it.",
        )
        self._restores = _histogram(
            registry,
            "repave_restore_duration_seconds",
            "From the decision to go back, by repave or a person, to its end.",
        )
        self._steps = Histogram(
            "repave_step_duration_seconds",
            "How long a region was in a step of a rollout.",
            ("step",),
            registry=registry,
            buckets=BUCKETS,
        )
        self._jobs = Counter(
            "repave_job_runs_total",
            "Attempts of jobs that are over, by when they ran and what they came to.",
            ("application", "moment", "outcome"),
            registry=registry,
        )
        for kind in KINDS:
            self._steps.labels(kind)

    def know(self, applications: Iterable[Application]) -> None:
        """What a starting controller has loaded."""
        for each in applications:
            self._begin(each.name)
            if each.rollout is not None:
                self._last[each.name] = each.rollout
                self._history[each.name] = each.rollout.number - (not each.rollout.phase.is_over)
                if each.rollout.phase is Phase.UNDOING:
                    self._undoing_since[each.name] = _undone_since(each.rollout)

    def _begin(self, application: ApplicationName) -> None:
        """Series that are 0 from the start: what counts an increase sees the first one."""
        self._leads.labels(application)
        self._restores.labels(application)
        for kind in RolloutKind:
            self._durations.labels(application, kind)
            for outcome in OUTCOMES:
                self._ended.labels(application, kind, outcome)

    async def recall(self, store: Store, applications: Mapping[ApplicationName, Application]) -> None:
        """Takes in the history. Raises StoreError."""
        for image in await store.images():
            self._pushed_at.setdefault(image.digest, image.pushed_at)
        for name, application in applications.items():
            for rollout in await store.rollouts(name, HISTORY_MAX):
                if rollout.phase.is_over and rollout.number <= self._history.get(name, 0):
                    self._end(application, rollout, since=None)

    def received(self, image: Image) -> None:
        self._pushed_at.setdefault(image.digest, image.pushed_at)

    def committed(self, transaction: Transaction) -> None:
        """Compares what was saved with what was saved before."""
        application, rollout = transaction.application, transaction.rollout
        if application is None or rollout is None:
            return
        former = self._last.get(application.name)
        if former is None:
            self._begin(application.name)
        self._last[application.name] = rollout
        if former is None or former.number != rollout.number:
            former = None
        if rollout.phase is Phase.UNDOING:
            self._undoing_since.setdefault(application.name, self._clock())
        if former is not None:
            self._note_steps(former, rollout)
            self._note_jobs(application.name, former, rollout)
        if rollout.phase.is_over and (former is None or not former.phase.is_over):
            self._end(application, rollout, self._undoing_since.pop(application.name, None))

    def _note_jobs(self, name: ApplicationName, former: Rollout, rollout: Rollout) -> None:
        before = {run.id: run.state for run in former.runs}
        for run in rollout.runs:
            is_over = run.state not in (RunState.ASKED, RunState.RUNNING)
            if is_over and before.get(run.id) is not run.state:
                self._jobs.labels(name, run.moment, run.state).inc()

    def _note_steps(self, former: Rollout, rollout: Rollout) -> None:
        for track in former.tracks:
            after = rollout.track(track.region)
            if track.phase is not TrackPhase.RUNNING or after is None:
                continue
            if after.phase is not track.phase or after.cursor != track.cursor:
                seconds = max(0.0, self._clock() - track.entered_at)
                self._steps.labels(former.step(track).kind).observe(seconds)

    def _end(self, application: Application, rollout: Rollout, since: float | None) -> None:
        """`since`: when it began to go back, if it did and that was seen."""
        name, kind, ended_at = application.name, rollout.kind, rollout.ended_at
        self._ended.labels(name, kind, rollout.phase).inc()
        if ended_at is None:
            return
        self._durations.labels(name, kind).observe(max(0.0, ended_at - rollout.started_at))
        if kind is RolloutKind.ROLLBACK and rollout.phase is Phase.SUCCEEDED:
            since = rollout.started_at
        if since is not None:
            self._restores.labels(name).observe(max(0.0, ended_at - since))
        if kind is RolloutKind.RELEASE and rollout.phase is Phase.SUCCEEDED:
            group = application.group(rollout.target)
            pushed_at = self._pushed_at.get(group.digest) if group is not None else None
            if pushed_at is not None:
                self._leads.labels(name).observe(max(0.0, ended_at - pushed_at))


def _undone_since(rollout: Rollout) -> float:
    """Of one that is going back: when its first region began to."""
    begun = [track.entered_at for track in rollout.tracks if track.phase is TrackPhase.UNDOING]
    return min(begun, default=rollout.started_at)


def _histogram(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Histogram:
    return Histogram(name, text, ("application", *labels), registry=registry, buckets=BUCKETS)
