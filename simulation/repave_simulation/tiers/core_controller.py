"""The first tier's controller: `rollout.step`, the commands and the promises on a plain heap of events.

What the scheduler does with locks and tasks is one flag here: an application is busy while it is being saved.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from repave_controller.core.commands.adoption import AdoptionOrder, request_adoption
from repave_controller.core.commands.judging import Judged
from repave_controller.core.commands.release import (
    answer,
    check_regions,
    request_release,
    unknown_application,
)
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.scaling import Scale
from repave_controller.core.commands.steering import Abort
from repave_controller.core.domain.application import (
    Application,
    Decision,
    Instant,
    Outcome,
    RegionView,
    Tenure,
)
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.domain.scaling import BY_REPAVE
from repave_controller.core.ports import StoreError
from repave_controller.core.rollout.step import after_suspension, step
from repave_controller.core.rules.safety import check
from repave_controller.runtime.clock import SteadyClock
from repave_controller.wording.render import event_text
from repave_protos.protocol.values import ApplicationName, ApplicationReport, DesiredState, RegionName
from repave_simulation.checks.people import Answer
from repave_simulation.kernel.timeline import CONTROLLER, WALL, Life
from repave_simulation.scenarios.scenario import DESK, Command
from repave_simulation.tiers.looking import Looker
from repave_simulation.tiers.scaling import Scaler
from repave_simulation.world.world import World

STORE_RETRY_SECONDS = 1.0
COMMIT_SECONDS = 0.004

Waiting = tuple[Command, Callable[[Answer], None]]


@dataclass(slots=True)
class _Owner:
    """One application as this controller knows it."""

    application: Application
    is_busy: bool = False
    wake_at: float = float("inf")
    commands: deque[Waiting] = field(default_factory=deque)
    found: deque[Judged] = field(default_factory=deque)  # by looks, to be taken in
    chosen: deque[Scale] = field(default_factory=deque)  # numbers of hosts, likewise


class CoreController:
    """One life of the controller; begins with what the ledger has."""

    def __init__(self, world: World, life: Life, send: Callable[[RegionName, DesiredState], None]) -> None:
        self.world = world
        self.life = life
        self._send = send
        ledger = world.ledger
        ledger.lives += 1
        self._tenure = Tenure(1, ledger.lives)
        self._clock = SteadyClock(Instant(ledger.last_at), self._wall, lambda: world.now)
        self._owners = {
            name: _Owner(after_suspension(each, self._clock())) for name, each in ledger.applications.items()
        }
        self.reports: dict[RegionName, dict[ApplicationName, ApplicationReport]] = {}
        self._since: dict[RegionName, Instant] = {}
        self._connected: set[RegionName] = set()
        for name in self._owners:
            self._decide(name)
        Looker(world, life, self._clock, self._known, self._judged)
        Scaler(world, life, self._clock, self._known, self._observed, self._scaled)

    def _known(self) -> Iterable[Application]:
        return [owner.application for owner in self._owners.values()]

    def _wall(self) -> float:
        return WALL + self.world.now - self.world.clock_set_back_seconds

    # -------------------------------------------------------------------------------------- regions

    def connected(self, region: RegionName) -> tuple[ApplicationName, ...]:
        """Returns the applications that the region has."""
        self._connected.add(region)
        self.reports[region], self._since[region] = {}, self._clock()
        for owner in self._owners.values():
            state = owner.application.desired_in(region)
            if state is not None:
                self._send(region, state)
        self._look_all()
        return tuple(
            name
            for name, owner in self._owners.items()
            if owner.application.desired_in(region) is not None or region in owner.application.regions
        )

    def lost(self, region: RegionName) -> None:
        if region in self._connected:
            self._connected.discard(region)
            self._since[region] = self._clock()
            self._look_all()

    def reported(self, region: RegionName, report: ApplicationReport) -> None:
        self.reports.setdefault(region, {})[report.application] = report
        if report.application in self._owners:
            self._decide(report.application)

    def _look_all(self) -> None:
        for name in tuple(self._owners):
            self._decide(name)

    def _observed(self, name: ApplicationName) -> dict[RegionName, RegionView]:
        return {
            region: RegionView(region in self._connected, reports.get(name), self._since[region])
            for region, reports in self.reports.items()
        }

    # ------------------------------------------------------------------------------------- commands

    def ask(self, command: Command, done: Callable[[Answer], None]) -> None:
        name = command.application
        owner = self._owners.get(name)
        if owner is None and command.order is not None:
            owner = self._owners[name] = _Owner(Application(name, name, GroupNumber(1)))
        is_known = owner is not None and (command.order is not None or owner.application.rollouts_total)
        if owner is None or not is_known:
            done(unknown_application(name, tuple(self._owners)))
            return
        owner.commands.append((command, done))
        self._decide(name)

    def _change(self, command: Command, known: Application, name: ApplicationName) -> Outcome:
        now = self._clock()
        fleet = self.world.scenario.fleet
        if command.order is not None and command.kind == "adopt":
            return request_adoption(known, AdoptionOrder(command.order, fleet, command.serves), now)
        if command.order is not None:
            order = command.order
            if name == DESK and not known.rollouts_total:
                raise unknown_application(name, tuple(self._owners))
            if order.digest not in self.world.stored:
                raise Refused(Refusal.UNKNOWN_IMAGE)
            check_regions(order.sizes, tuple(self.reports))
            return request_release(known, order, command.busy, now)
        verb = command.verb or (Abort() if command.kind == "abort" else Rollback())
        return verb.apply(known, self._observed(name), command.key, "", now)

    def _command(self, name: ApplicationName, owner: _Owner) -> None:
        command, done = owner.commands.popleft()
        key = f"{name}/{command.kind}/{command.key}"
        known = self.world.ledger.receipts.get(key)
        if known is not None:
            done(replace(known, is_joined=True))
            self._decide(name)
            return
        try:
            changed, events = self._change(command, owner.application, name)
            accepted = answer(owner.application, changed)
        except Refused as refused:
            done(refused)
            self._decide(name)
            return
        decision = step(changed, self._observed(name), self._clock(), self._tenure)
        decision = replace(decision, events=(*events, *decision.events))

        def saved(is_saved: bool) -> None:
            if is_saved:
                reply = self.world.fate("answer", command.key, CONTROLLER)[0]
                done(accepted if not reply else None)
            else:
                done(None)

        self._save(name, owner, decision, saved, lambda: self._keep(key, accepted))

    def _keep(self, key: str, accepted: object) -> None:
        self.world.ledger.receipts[key] = accepted  # type: ignore[assignment]

    # ---------------------------------------------------------------------------------------- looks

    def _judged(self, name: ApplicationName, judged: Judged) -> None:
        self._owners[name].found.append(judged)
        self._decide(name)

    def _take_in(self, name: ApplicationName, owner: _Owner) -> None:
        judged, known = owner.found.popleft(), owner.application
        changed, events = judged.apply(known, self._observed(name), "", "", self._clock())
        if changed is known:
            self._decide(name)
            return
        self._save(name, owner, Decision(changed, (), events, None, ()), lambda _: None, lambda: None)

    # ------------------------------------------------------------------------------------- scaling

    def _scaled(self, name: ApplicationName, scale: Scale) -> None:
        self._owners[name].chosen.append(scale)
        self._decide(name)

    def _scale(self, name: ApplicationName, owner: _Owner) -> None:
        scale, known = owner.chosen.popleft(), owner.application
        now, observed = self._clock(), self._observed(name)
        changed, events = scale.apply(known, observed, BY_REPAVE, "", now)
        if changed is known:
            self._decide(name)
            return
        decision = step(changed, observed, now, self._tenure)
        decision = replace(decision, events=(*events, *decision.events))
        self._save(name, owner, decision, lambda _: None, lambda: None)

    # ------------------------------------------------------------------------------------ decisions

    def _decide(self, name: ApplicationName) -> None:
        owner = self._owners[name]
        if owner.is_busy:
            return
        if owner.commands:
            self._command(name, owner)
            return
        if owner.found:
            self._take_in(name, owner)
            return
        if owner.chosen:
            self._scale(name, owner)
            return
        decision = step(owner.application, self._observed(name), self._clock(), self._tenure)
        if decision.application == owner.application and not decision.events:
            self._wake(name, owner, decision.wake_at)
            return
        self._save(name, owner, decision, lambda _: None, lambda: None)

    def _wake(self, name: ApplicationName, owner: _Owner, wake_at: Instant | None) -> None:
        if wake_at is None:
            owner.wake_at = float("inf")
        elif wake_at != owner.wake_at:
            owner.wake_at = wake_at
            self.world.timeline.after(wake_at - self._clock(), partial(self._woken, name, wake_at), self.life)

    def _woken(self, name: ApplicationName, wake_at: float) -> None:
        owner = self._owners[name]
        if owner.wake_at == wake_at:
            owner.wake_at = float("inf")
            self._decide(name)

    def _save(
        self,
        name: ApplicationName,
        owner: _Owner,
        decision: Decision,
        answered: Callable[[bool], None],
        also: Callable[[], None],
    ) -> None:
        for broken in check(owner.application, decision, self._observed(name)):
            self.world.broken(broken.promise, f"decided: {broken.text}")
        owner.is_busy = True

        def apply() -> None:
            if self.world.store_full_until > self.world.now:
                raise StoreError("the disk is full")
            self.world.ledger.last_at = self._clock()
            self.world.commit(decision.application, decision.events)
            also()

        def done(result: Exception | None) -> None:
            owner.is_busy = False
            if result is None:
                owner.application = decision.application
                for event in decision.events:
                    self.world.tell(CONTROLLER, f"{event.kind}: {event_text(event)}")
                for region, state in decision.desired:
                    if region in self._connected:
                        self._send(region, state)
            answered(result is None)
            pause = 0.0 if result is None else STORE_RETRY_SECONDS
            self.world.timeline.after(pause, partial(self._decide, name), self.life)

        self.world.act(
            self.life, "commit", RegionName(""), name, apply, done, StoreError, COMMIT_SECONDS, is_local=True
        )
