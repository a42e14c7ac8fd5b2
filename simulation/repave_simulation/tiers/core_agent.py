"""The first tier's agent: admission, life, traffic and reconcile on a plain heap of events.

What the worker does with tasks is callbacks here, and hosts are asked for their health only when their truth
has changed; the decisions are the very ones of production.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from repave_agent.core.fence import Accept, Again, Outdated, Refuse, admit
from repave_agent.core.observation import Limits, Observation, claims_of
from repave_agent.core.orphans import is_orphan
from repave_agent.core.ports import (
    BalancerError,
    Host,
    HostSpec,
    OutOfCapacityError,
    ProviderError,
    TransientError,
)
from repave_agent.core.reconcile import Arrange, BeginDrain, Destroy, Launch, Plan, Steer, reconcile
from repave_agent.core.reports import reports, with_troubles
from repave_agent.health.prober import PASSED, HealthRecord, Prober, ProbeResult
from repave_agent.runtime.fleet import Fleet
from repave_agent.runtime.journal import Entries
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    GroupName,
    HostName,
    Probe,
)
from repave_simulation.kernel.timeline import Life
from repave_simulation.world.place import Machine, Place
from repave_simulation.world.world import World

LIMITS = Limits(launches_in_flight=4, destroys_in_flight=4, unclaimed_grace_seconds=10.0)
BREATH_SECONDS = 0.01
RELIST_SECONDS = 5.0
RETRY_SECONDS = 1.0
RESTART_SECONDS = 2.0
AGAIN_SECONDS = 0.5
"""After a look that led to something."""

Made = TypeVar("Made")
Up = Callable[[dict[ApplicationName, ApplicationReport]], None]


class EventProber(Prober):
    """Asks a host only while its answers still change something, and again when its truth has changed."""

    def __init__(self, world: World, place: Place, life: Life, woken: Callable[[], None]) -> None:
        self._world, self._place, self._life, self._woken = world, place, life, woken
        self._records: dict[HostName, tuple[Probe, HealthRecord]] = {}
        self._asking: set[HostName] = set()

    def watch(self, host: HostName, address: str, probe: Probe) -> None:
        if host not in self._records:
            self._records[host] = (probe, HealthRecord.of(probe))
            self.ask_soon(host)

    def forget(self, host: HostName) -> None:
        self._records.pop(host, None)

    def record(self, host: HostName) -> HealthRecord | None:
        known = self._records.get(host)
        return known[1] if known is not None else None

    def ask_soon(self, host: HostName) -> None:
        known = self._records.get(host)
        if known is None or host in self._asking:
            return
        self._asking.add(host)
        is_new = not known[1].was_ever_healthy
        seconds = 0.1 if is_new else known[0].interval_seconds
        self._world.timeline.after(seconds, partial(self._ask_now, host), self._life)

    def _ask_now(self, host: HostName) -> None:
        self._asking.discard(host)
        known, machine = self._records.get(host), self._place.machines.get(host)
        if known is None:
            return
        probe, before = known
        is_well = machine is not None and machine.is_well
        if not is_well and before.failed >= before.unhealthy_after:
            return
        after = before.after(PASSED if is_well else ProbeResult(False, "ill"), self._world.now)
        self._records[host] = (probe, after)
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
        return record.known_until < since + group.min_healthy_seconds


class CoreAgent:
    """One life of a region's agent; begins with what its journal has."""

    def __init__(self, world: World, place: Place, life: Life, up: Up) -> None:
        self.world, self.place, self.life, self._up = world, place, life, up
        self._prober = EventProber(world, place, life, self.wake)
        self.fleet = Fleet(
            self._prober, lambda notice: world.tell(place.region, f"{notice.kind}: {notice.text}")
        )
        self.desired: dict[ApplicationName, DesiredState] = {}
        self._refusals: dict[ApplicationName, str] = {}
        self._reports: dict[ApplicationName, ApplicationReport] = {}
        self._saved = place.journal
        self._named: frozenset[ApplicationName] | None = None
        self._list_again_at = float("inf")
        self._is_woken = self._is_balancing = self._is_steering = False
        self._balancer_failures, self._retry_at, self._wake_at = 0, 0.0, float("inf")
        self._view = place.view()
        self._listed_at, self._due_at = float("-inf"), float("inf")
        self._seen = self._listed = -1  # changes of the place that a look, and a listing, has shown
        self._recall(place.journal)
        place.on_health = self._prober.ask_soon
        place.on_host_end = place.on_balancer = self._hint
        self.wake()

    def _recall(self, entries: Entries) -> None:
        self.desired = {state.application: state for state in entries.desired}
        self.fleet.groups = {
            name: replace(fact, retry_at=0.0, drain_since=None) for name, fact in entries.groups.items()
        }
        self.fleet.condemned = set(entries.condemned)
        self.fleet.suspect_routed(self._view)
        if not self._relist(set(entries.verified)):
            # As a worker: without a list of its hosts it does not begin, and its process is started again.
            self.world.kill(self.place.region, down_seconds=RESTART_SECONDS)
        self.fleet.note_enabled(self._view, self.world.now)

    def _hint(self) -> None:
        if not self.life.is_over:
            self._listed_at = float("-inf")
            self.wake()

    # ----------------------------------------------------------------------------------- from above

    def welcomed(self, named: frozenset[ApplicationName]) -> None:
        """A controller has said which applications the region has."""
        self._named = named
        self._hint()

    def hear(self, state: DesiredState) -> None:
        if self._named is not None:
            self._named |= {state.application}
        match admit(self.desired.get(state.application), state):
            case Outdated():
                self.world.story.reached["an agent was told an older epoch"] += 1
            case Refuse(why):
                self.world.story.reached["an agent refused an epoch"] += 1
                self._refusals[state.application] = why
            case Again():
                self._refusals.pop(state.application, None)
            case Accept():
                before = self.desired
                self.desired = {**before, state.application: state}
                if self._save(durable=True):
                    self.fleet.desired_changed(self.desired.values())
                    self._refusals.pop(state.application, None)
                else:
                    self.desired = before
                    self._refusals[state.application] = "the journal can't be written"
                    self.world.timeline.after(RETRY_SECONDS, partial(self.hear, state), self.life)
        self.wake()

    # ------------------------------------------------------------------------------------- the loop

    def wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self.world.timeline.after(BREATH_SECONDS, self._converge, self.life)

    def _converge(self) -> None:
        self._is_woken = False
        now, self._seen = self.world.now, self.place.changes
        if now - self._listed_at >= RELIST_SECONDS or now >= self._list_again_at:
            self._relist(set())
        if not self._is_balancing:
            self._view_balancer()
        observation = self._observation()
        plan = reconcile(observation, LIMITS)
        self._list_again_at = plan.list_at if plan.list_at is not None else float("inf")
        self._perform(plan)
        if self.life.is_over:
            return
        observation = self._observation()
        if not self._is_steering:
            troubles = with_troubles(observation, plan, self.fleet.troubles, ())
            self._report(reports(observation, troubles, self._refusals))
        self._sleep(now + AGAIN_SECONDS if plan.actions else plan.wake_at)

    def _sleep(self, wake_at: float | None) -> None:
        self._due_at = min(wake_at or float("inf"), self._list_again_at)
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
        is_starting = any(not record.was_verified for record in self.fleet.records.values())
        if is_new or is_starting or self.world.now >= self._due_at:
            self.wake()
        else:
            self._sleep(self._due_at)

    def _relist(self, verified: set[HostName]) -> bool:
        """Whether the provider has said which hosts there are."""
        self._listed_at = self.world.now
        is_down = self.place.provider_down_until > self.world.now
        adopt = partial(self._adopt, verified)
        return not is_down and self.world.act_now(self.life, "list", self.place.region, adopt)

    def _adopt(self, verified: set[HostName]) -> None:
        hosts = self.place.listing()
        self.fleet.adopt(hosts, self.fleet.known(self.world.now), verified, self.world.now)
        is_sure = not self.place.lag_seconds and not any(
            record.missing_since is not None for record in self.fleet.records.values()
        )
        # Who is listed and not taken over, as gone or still being made, has to be listed again.
        is_sure = is_sure and {host.name for host in hosts} <= self.fleet.known().settled
        self._listed = self.place.changes if is_sure else -1

    def _view_balancer(self) -> None:
        self._view = self.place.view()
        self.fleet.note_enabled(self._view, self.world.now)

    def _observation(self) -> Observation:
        groups: dict[GroupName, DesiredGroup] = {
            group.name: group for state in self.desired.values() for group in state.groups
        }
        states = tuple(self.desired.values())
        facts = self.fleet.judge(groups, self.world.now, claims_of(states, self._named))
        self.fleet.note_orphans(host.name for host in facts if is_orphan(host, LIMITS))
        return Observation(
            now=self.world.now,
            desired=states,
            named=self._named,
            orphans_ended=self.fleet.orphans_ended,
            launches_begun=self.fleet.launches_begun,
            hosts=facts,
            groups=dict(self.fleet.groups),
            balancer=self._view,
            is_balancer_busy=self._is_balancing,
        )

    def _report(self, now: dict[ApplicationName, ApplicationReport]) -> None:
        if now != self._reports:
            self._reports = now
            self._up(now)

    def report_everything(self) -> None:
        """A new stream has heard nothing yet."""
        self._up(self._reports)

    # -------------------------------------------------------------------------------------- actions

    def _perform(self, plan: Plan) -> None:
        launches: list[HostSpec] = []
        destroys: list[Destroy] = []
        changes: list[Arrange | Steer] = []
        for action in plan.actions:
            match action:
                case Launch():
                    launches += self.fleet.launching(action, self.world.now)
                case Destroy():
                    self.fleet.destroying(action.host, self.world.now)
                    destroys.append(action)
                case BeginDrain(group):
                    self.fleet.begin_drain(group, self.world.now)
                case Arrange() | Steer():
                    changes.append(action)
        self._note_routed(changes)
        if not self._save(durable=bool(launches)):
            for spec in launches:
                self.fleet.launch_failed(spec.name, "journal", self.world.now, counts=False, is_final=False)
            launches, changes = [], [each for each in changes if isinstance(each, Arrange)]
            destroys = self.fleet.spared(destroys)
        for spec in launches:
            self._launch(spec)
        for destroy in destroys:
            self._destroy(destroy.host)
        if changes and not self._is_balancing and self.world.now >= self._retry_at:
            self._balance(changes[self._balancer_failures % len(changes)])

    def _note_routed(self, changes: list[Arrange | Steer]) -> None:
        routes = [*self._view.routes]
        for change in changes:
            routes += change.routes if isinstance(change, Steer) else ()
        self.fleet.note_routed({name for route in routes for name in route.groups})

    def _launch(self, spec: HostSpec) -> None:
        def done(result: Host | Exception) -> None:
            if isinstance(result, Host):
                self.fleet.launched(result, self.world.now)
            else:
                self.fleet.launch_failed(spec.name, str(result), self.world.now, counts=False, is_final=False)
            self.wake()

        memory = self.place.memory
        self.world.act(
            self.life, "launch", self.place.region, spec.name,
            lambda: self._provided(lambda: self.place.make(spec, memory)), done, _no_launch, 0.5,
        )  # fmt: skip

    def _destroy(self, name: HostName) -> None:
        if self.life.is_over:
            return  # it died as it wrote down that it would

        def done(result: Exception | None) -> None:
            if result is None:
                self.fleet.destroyed(name, self.world.now)
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
        self.fleet.not_destroyed(name, why)
        self.wake()

    def _provided(self, apply: Callable[[], Made]) -> Made:
        if self.place.provider_down_until > self.world.now:
            raise TransientError("the provider does not answer")
        return apply()

    def _balance(self, change: Arrange | Steer) -> None:
        self._is_balancing, self._is_steering = True, isinstance(change, Steer)

        def done(result: Exception | None) -> None:
            self._is_balancing = self._is_steering = False
            if result is None:
                self._balancer_failures = 0
            else:
                self._balancer_failures += 1
                self._retry_at = self.world.now + RETRY_SECONDS
                self.world.timeline.after(RETRY_SECONDS, self.wake, self.life)
            self.wake()

        kind, apply = ("arrange", partial(self.place.arrange, change.structure)) if isinstance(
            change, Arrange
        ) else ("route", partial(self.place.route, change.routes, self.world.now))  # fmt: skip
        self.world.act(self.life, kind, self.place.region, "", apply, done, BalancerError, 0.05)

    # --------------------------------------------------------------------------------------- memory

    def _save(self, *, durable: bool) -> bool:
        verified = sorted(record.name for record in self.fleet.records.values() if record.was_verified)
        entries = Entries(
            desired=tuple(self.desired.values()),
            verified=tuple(verified),
            condemned=tuple(sorted(self.fleet.condemned)),
            groups=dict(self.fleet.groups),
        )
        if entries == self._saved and not durable:
            return True
        if self.place.journal_full_until > self.world.now:
            return False
        is_saved = self.world.act_now(
            self.life, "journal", self.place.region, lambda: self.place.save(entries, durable=durable)
        )
        if is_saved:
            self._saved = entries
        return is_saved


def _no_launch(text: str) -> ProviderError:
    return OutOfCapacityError(text) if text.endswith("no-room") else TransientError(text)
