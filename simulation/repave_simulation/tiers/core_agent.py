"""The first tier's agent: the core of production's (`core/region.py`) on a plain heap of events.

What the worker does with tasks is callbacks here, and hosts are asked for their health only when their truth
has changed.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from repave_agent.core.fence import Accept, Outdated, Refuse
from repave_agent.core.fleet import Known
from repave_agent.core.host_health import PASSED, Health, HealthRecord, ProbeResult, ProbeTarget
from repave_agent.core.ports import (
    BalancerError,
    Host,
    HostSpec,
    PackageAwaitedError,
    TransientError,
)
from repave_agent.core.reconcile import Arrange, Steer
from repave_agent.core.region import RELIST_SECONDS, RETRY_SECONDS, Change, Entries, Region, Step
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredState,
    HostName,
    Welcome,
)
from repave_simulation.kernel.timeline import Life
from repave_simulation.tiers.figures import LIMITS, RESTART_SECONDS, refused_launch
from repave_simulation.world.place import Machine, Place
from repave_simulation.world.world import World

BREATH_SECONDS = 0.01
AGAIN_SECONDS = 0.5
"""After a look that led to something."""

Made = TypeVar("Made")
Up = Callable[[Mapping[ApplicationName, ApplicationReport]], None]


class EventProber:
    """Asks a host only while its answers still change something, and again when its truth has changed."""

    def __init__(self, world: World, place: Place, life: Life, woken: Callable[[], None]) -> None:
        self._world, self._place, self._life, self._woken = world, place, life, woken
        self._health: dict[HostName, Health] = {}
        self._asking: set[HostName] = set()

    def watch_only(self, targets: Mapping[HostName, ProbeTarget]) -> None:
        """Probes these hosts and no others."""
        for host in self._health.keys() - targets.keys():
            del self._health[host]
        for host, target in targets.items():
            known = self._health.get(host)
            if known is None or known.target != target:
                self._health[host] = Health(target, HealthRecord.of(target.probe))
                self.ask_soon(host)

    def health(self) -> dict[HostName, Health]:
        return dict(self._health)

    def ask_soon(self, host: HostName) -> None:
        known = self._health.get(host)
        if known is None or host in self._asking:
            return
        self._asking.add(host)
        seconds = known.target.probe.interval_seconds if known.record.was_ever_healthy else 0.1
        self._world.timeline.after(seconds, partial(self._ask_now, host), self._life)

    def _ask_now(self, host: HostName) -> None:
        self._asking.discard(host)
        known, machine = self._health.get(host), self._place.machines.get(host)
        if known is None:
            return
        before = known.record
        is_well = machine is not None and machine.is_well
        if not is_well and before.failed >= before.unhealthy_after:
            return
        after = before.after(PASSED if is_well else ProbeResult(False, "ill"), self._world.now)
        self._health[host] = Health(known.target, after)
        was_proving, is_proving = self._is_proving(machine, before), self._is_proving(machine, after)
        if (after.is_healthy, after.steady_since) != (before.is_healthy, before.steady_since) or after.failed:
            self._woken()
        if was_proving and not is_proving:
            self._woken()
        is_sure = is_well == after.is_healthy and (is_well or after.failed >= after.unhealthy_after)
        if is_proving or not is_sure:
            self.ask_soon(host)

    def _is_proving(self, machine: Machine | None, record: HealthRecord) -> bool:
        """Whether it takes more answers until the host is verified."""
        group = self._world.ledger.group(machine.host.group) if machine is not None else None
        if group is None or record.steady_since is None or record.healthy_since is None:
            return False
        since = max(record.steady_since, record.healthy_since)
        return record.known_until < since + group.template.min_healthy_seconds


class CoreAgent:
    """One life of a region's agent; begins with what its journal has."""

    def __init__(self, world: World, place: Place, life: Life, up: Up) -> None:
        self.world, self.place, self.life, self._up = world, place, life, up
        self._prober = EventProber(world, place, life, self.wake)
        self.region = Region(LIMITS, new_journal=f"{place.region}-{place.memory}")
        self._reports: Mapping[ApplicationName, ApplicationReport] = {}
        self._saved = place.journal
        self._is_woken = False
        self._wake_at = self._due_at = float("inf")
        self._seen = self._listed = -1  # changes of the place that a look, and a listing, has shown
        self._recall()
        place.on_health = self._prober.ask_soon
        place.on_host_end = place.on_balancer = self._hint
        self.wake()

    def _recall(self) -> None:
        self.region.recall(self.place.journal, self.world.now)
        view = self.place.view()
        if not self._ask_provider(lambda: self.region.adopt(self.place.listing(), view, self.world.now)):
            # As a worker: without a list of its hosts it does not begin, and its process is started again.
            self.world.kill(self.place.region, down_seconds=RESTART_SECONDS)

    def _hint(self) -> None:
        if not self.life.is_over:
            self.region.hosts_changed()
            self.wake()

    # ----------------------------------------------------------------------------------- from above

    def welcomed(self, named: frozenset[ApplicationName]) -> None:
        """A controller has said which applications the region has."""
        self.region.welcome(Welcome("0", installation="", image_url="", applications=tuple(named)))
        self.wake()

    def hear(self, state: DesiredState) -> None:
        match self.region.hear(state):
            case Outdated():
                self.world.story.reached["an agent was sent an older epoch"] += 1
            case Refuse():
                self.world.story.reached["an agent refused an epoch"] += 1
            case Accept():
                self._accept(state)
        self.wake()

    def _accept(self, state: DesiredState) -> None:
        trouble = self._save(self.region.entries(accepting=state), durable=True)
        if not trouble:
            self.region.accept(state)
        else:
            self.region.not_accepted(state, trouble)
            self.world.timeline.after(RETRY_SECONDS, partial(self.hear, state), self.life)

    # ------------------------------------------------------------------------------------- the loop

    def wake(self) -> None:
        self._publish()
        if not self._is_woken:
            self._is_woken = True
            self.world.timeline.after(BREATH_SECONDS, self._converge, self.life)

    def _converge(self) -> None:
        self._is_woken = False
        now, self._seen = self.world.now, self.place.changes
        if self.region.wants_listing(now):
            self._list()
        self.region.viewed(self.place.view(), now)
        self.region.probed(self._prober.health())
        decision = self.region.decide(now)
        step = self.region.begin(decision, self._save(decision.entries, durable=decision.is_durable), now)
        self._prober.watch_only(step.probes)
        self._begin(step)
        self._publish()
        if self.life.is_over:
            return
        if step.reports is not None:
            self._report(step.reports)
        self._sleep(now + AGAIN_SECONDS if decision.plan.actions else step.wake_at)

    def _sleep(self, wake_at: float | None) -> None:
        self._due_at = min(wake_at or float("inf"), self.region.prove_at)
        next_at = min(self._due_at, self.world.now + RELIST_SECONDS)
        if next_at < self._wake_at or self._wake_at <= self.world.now:
            self._wake_at = next_at
            self.world.timeline.after(next_at - self.world.now, self._slept, self.life)

    def _slept(self) -> None:
        """Looks where there may be something new to see; the look of an idle region would cost as much.

        While hosts start it looks as often as a worker: an agent that does not look forgives them the time.
        """
        self._wake_at = float("inf")
        is_new = self.place.changes not in (self._seen, self._listed) or self._seen != self._listed
        is_starting = any(not record.was_verified for record in self.region.records.values())
        if is_new or is_starting or self.world.now >= self._due_at:
            self.wake()
        else:
            self._sleep(self._due_at)

    def _list(self) -> None:
        known = self.region.begin_listing(self.world.now)
        if not self._ask_provider(lambda: self._listed_hosts(known)):
            self.region.not_listed("the provider does not answer")

    def _ask_provider(self, adopt: Callable[[], None]) -> bool:
        """Whether the provider has said which hosts there are."""
        is_down = self.place.provider_down_until > self.world.now
        return not is_down and self.world.act_now(self.life, "list", self.place.region, adopt)

    def _listed_hosts(self, known: Known) -> None:
        hosts = self.place.listing()
        self.region.listed(hosts, known, self.world.now)
        records = self.region.records.values()
        is_sure = not self.place.lag_seconds and all(record.missing_since is None for record in records)
        # A host that is listed and not adopted, as gone or still being made, has to be listed again.
        is_sure = is_sure and {host.name for host in hosts} <= self.region.settled()
        self._listed = self.place.changes if is_sure else -1

    def _publish(self) -> None:
        for notice in self.region.take_notices():
            self.world.tell(self.place.region, f"{notice.kind}: {notice.text}")

    def _report(self, now: Mapping[ApplicationName, ApplicationReport]) -> None:
        if now != self._reports:
            self._reports = now
            self._up(now)

    def report_everything(self) -> None:
        """A new stream has heard nothing yet."""
        self._up(self._reports)

    # -------------------------------------------------------------------------------------- actions

    def _begin(self, step: Step) -> None:
        for spec in step.launches:
            self._launch(spec)
        for destroy in step.destroys:
            self._destroy(destroy.host)
        for spec in step.jobs:
            self._run_job(spec)
        for end in step.job_ends:
            self._end_job(end.record.host)
        if step.change is not None:
            self._change(step.change)

    def _run_job(self, spec: HostSpec) -> None:
        jobs = self.region.jobs
        if self.life.is_over or not jobs.begins(spec.name):
            return
        trouble = self._save(self.region.entries(), durable=True)
        if trouble:
            jobs.not_begun(spec.name, PackageAwaitedError(trouble), self.world.now)
            self.wake()
            return

        def done(result: Host | Exception) -> None:
            if isinstance(result, Host):
                jobs.launched(result, self.world.now)
            else:
                jobs.launch_failed(spec.name, result, self.world.now)
            self.region.hosts_changed()
            self.wake()

        memory = self.place.memory
        self.world.act(
            self.life, "launch", self.place.region, spec.name,
            lambda: self._provided(lambda: self.place.make(spec, memory)), done, refused_launch, 0.5,
        )  # fmt: skip

    def _end_job(self, name: HostName) -> None:
        if self.life.is_over:
            return
        jobs = self.region.jobs
        jobs.logged(name, "")

        def done(result: Exception | None) -> None:
            if result is None:
                jobs.destroyed(name)
                self.wake()
            else:
                self.world.timeline.after(RETRY_SECONDS, again, self.life)

        def again() -> None:
            jobs.not_destroyed(name)
            self.wake()

        self.world.act(
            self.life, "destroy", self.place.region, name,
            lambda: self._provided(lambda: self.place.end(name)), done, TransientError, 0.3,
        )  # fmt: skip

    def _launch(self, spec: HostSpec) -> None:
        def done(result: Host | Exception) -> None:
            if isinstance(result, Host):
                self.region.launched(result, self.world.now)
            else:
                self.region.launch_failed(spec.name, result, self.world.now)
            self.wake()

        memory = self.place.memory
        self.world.act(
            self.life, "launch", self.place.region, spec.name,
            lambda: self._provided(lambda: self.place.make(spec, memory)), done, refused_launch, 0.5,
        )  # fmt: skip

    def _destroy(self, name: HostName) -> None:
        if self.life.is_over:
            return  # it died as it wrote down that it would

        def done(result: Exception | None) -> None:
            if result is None:
                self.region.destroyed(name, self.world.now)
                self.wake()
            else:
                self.world.timeline.after(
                    RETRY_SECONDS, partial(self._not_destroyed, name, str(result)), self.life
                )

        self.place.condemn(name)
        self.world.act(
            self.life, "destroy", self.place.region, name,
            lambda: self._provided(lambda: self.place.end(name)), done, TransientError, 0.3,
        )  # fmt: skip

    def _not_destroyed(self, name: HostName, why: str) -> None:
        self.region.not_destroyed(name, why)
        self.wake()

    def _provided(self, apply: Callable[[], Made]) -> Made:
        if self.place.provider_down_until > self.world.now:
            raise TransientError("the provider does not answer")
        return apply()

    def _change(self, change: Change) -> None:
        def done(result: Exception | None) -> None:
            self.region.viewed(self.place.view(), self.world.now)
            if result is None:
                self.region.changed()
            else:
                self.region.not_changed(str(result), self.world.now)
                self.world.timeline.after(RETRY_SECONDS, self.wake, self.life)
            self.wake()

        match change.action:
            case Arrange(structure):
                kind, apply = "arrange", partial(self.place.arrange, structure)
            case Steer(routes):
                kind, apply = "route", partial(self.place.route, routes, self.world.now)
        self.world.act(self.life, kind, self.place.region, "", apply, done, BalancerError, 0.05)

    # --------------------------------------------------------------------------------------- memory

    def _save(self, entries: Entries, *, durable: bool) -> str:
        """Why the journal could not be written; "" when it could."""
        if entries == self._saved and not durable:
            return ""
        is_full = self.place.journal_full_until > self.world.now
        if is_full or not self.world.act_now(
            self.life, "journal", self.place.region, lambda: self.place.save(entries, durable=durable)
        ):
            return "the journal can't be written"
        self._saved = entries
        return ""
