"""Decides for one application, one decision at a time: look, step, check the promises, save, publish.

What is not saved is never published and never acknowledged. The scheduler has an owner for each application.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from repave_controller.core.commands.advice import with_ways_that_work
from repave_controller.core.commands.release import Accepted, answer
from repave_controller.core.domain.application import (
    Application,
    Because,
    Decision,
    Event,
    Instant,
    Observed,
    Outcome,
    RegionView,
    ReleaseOrder,
    Tenure,
)
from repave_controller.core.domain.generations import check_unmoved
from repave_controller.core.domain.reasons import Reason, Refusal, Refused, Why, reason_of
from repave_controller.core.ports import Conflict, Fenced, Regions, Spec, Store, StoreError, Transaction
from repave_controller.core.rollout.step import after_suspension, held, step
from repave_controller.core.rules.attention import is_news, rests
from repave_controller.core.rules.divergence import offer
from repave_controller.core.rules.guards import Constraints, Room
from repave_controller.core.rules.safety import check
from repave_controller.peers.ports import NotOwner
from repave_controller.runtime.broadcast import Broadcast
from repave_controller.runtime.event_log import EventLog
from repave_controller.runtime.fence import Fence, Seen
from repave_controller.runtime.idempotency import Request, earlier_answer, spec_of_queued
from repave_controller.runtime.suspension import SuspensionWatch
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import ApplicationName, RegionName

log = structlog.get_logger()

DECISIONS_MAX = 64
"""Decisions that follow each other without anything new observed; more is a bug."""
STORE_RETRY_SECONDS = 1.0
PACED_REGIONS_MIN = 100
PACE_SECONDS = 50e-6
"""For each region there are so many seconds between two decisions at least; one takes some 20 to 70 us."""
RESTS, REST_SECONDS_MAX = 3.0, 0.05
"""And so many times as long as the last one took, up to a bound: most of the time is left to what regions are
sent, and to their reports. What a region that fails leads to waits no longer than that."""
SETTLED_SECONDS = 0.2
"""So long what moved a rollout is not decided on again by itself: first come the reports of what it moved."""


Change = Callable[[Application, Observed, Instant], Outcome]
"""What a command makes of an application. Raises Refused."""


class Office(Protocol):
    """What the owners of all applications share."""

    store: Store
    regions: Regions
    fence: Fence
    event_log: EventLog
    visible: Broadcast
    suspensions: SuspensionWatch
    clock: Callable[[], Instant]

    def tenure_of(self, application: ApplicationName) -> Tenure:
        """What decisions for it are made under now. Raises NotOwner."""

    @property
    def seen(self) -> int | None:
        """The newest change of other controllers that is known here; None: there are none."""

    def depends_on_others(self, application: Application) -> bool:
        """Whether what else is decided counts for it now."""

    async def catch_up(self) -> None:
        """What others decided until now is known after it. Raises StoreError."""

    async def stored(self, application: ApplicationName) -> Application | None:
        """As the store holds it now. Raises StoreError."""

    def observed(self, application: ApplicationName) -> Seen:
        """What each region reported last of it."""

    def constraints(self, application: Application) -> Constraints:
        """What is so beyond it."""

    def turnstile(self, application: Application) -> AbstractAsyncContextManager[object]:
        """To be held from the decision to its end on the disk."""

    @property
    def asks_room(self) -> bool:
        """Whether regions can be asked if a queued release fits."""

    async def room_for(self, application: Application, order: ReleaseOrder) -> Mapping[RegionName, Reason]:
        """The regions that have no room for it now."""

    def take(self, owner: "Owner", application: Application) -> None:
        """It is saved: this is what the owner decides upon from now on, and regions are sent."""


class Owner:
    """Decides for one application, one decision at a time; where another controller decides for it, knows
    what that one saved."""

    def __init__(self, office: Office, application: Application) -> None:
        self.application = application
        self.because: tuple[Because, ...] = ()
        self.decisions = 0  # taken since this controller began, but for those on commands
        self._office = office
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._is_due = False  # there is something to decide; else `run` only has another instant to wait for
        self._wake_at: Instant | None = None
        self._room: Room | None = None  # for the first queued release
        self._read: Mapping[RegionName, RegionView] = {}  # by the last decision
        self._rests = False  # as it left the application
        self._step_seconds = 0.0  # that the last one took, without its end on the disk
        self._suspensions = -1  # those it knows of; what was loaded from the store comes after one
        self.is_in_doubt = False  # the store may hold a newer decision
        self.is_retired = False  # another one decides in its place

    def wake(self) -> None:
        self._is_due = True
        self._wake.set()

    def hear(self, region: RegionName) -> None:
        """The region came, went or reported: wakes where a decision may differ by it."""
        now = self._office.observed(self.application.name).get(region)
        before = self._read.get(region)
        if now is None or is_news(self.application, region, before, now, is_at_rest=self._rests):
            self.wake()

    def begin_from(self, application: Application) -> None:
        """As the store holds it: another controller decided for it until now."""
        self.application, self.because = application, ()
        self._suspensions, self.is_in_doubt, self._room = -1, False, None
        self._read, self._rests = {}, False

    async def end(self, task: "asyncio.Task[None] | None") -> None:
        """Returns when no decision is under way; ends `run`, if it is this task, between two of them."""
        async with self._lock:
            if task is not None:
                task.cancel()
        if task is not None:
            await asyncio.wait({task})

    @property
    def is_deciding(self) -> bool:
        return self._lock.locked()

    def retire(self) -> None:
        """Decides nothing more. What it is saving may be saved still: the store tells."""
        self.is_retired = True

    async def run(self) -> None:
        """Looks again whenever something changed or an instant has come."""
        self._is_due = True
        while True:
            self._wake.clear()
            is_due, self._is_due = self._is_due, False
            try:
                async with self._lock:
                    if is_due:
                        await self._resolve_doubt()
                        await self._decide_or_hold()
            except (NotOwner, Fenced):
                self._wake_at = Instant(self._office.clock() + STORE_RETRY_SECONDS)
            except StoreError as error:
                self._stop(reason_of(Why.NOT_SAVED, error=str(error)), "decision.not_saved")
                self._wake_at = Instant(self._office.clock() + STORE_RETRY_SECONDS)
            except Refused as broken:
                self._stop(reason_of(Why.PROMISE_BROKEN, promises=broken.reason), "promise.broken")
            except Exception:  # the root of an owner: a mistake with one application must not end the others
                log.exception("decision.failed", application=self.application.name)
                self._stop(reason_of(Why.BUG), "bug")
            if any(each.reason.kind is Why.QUEUE_ASKS_ROOM for each in self.because):
                await self._ask_room()
            else:
                await self._sleep()

    async def _ask_room(self) -> None:
        """Commands are carried out meanwhile."""
        self._is_due = True
        application = self.application
        first = application.queue[0] if application.queue else None
        if first is None:
            return
        lacks: Mapping[RegionName, Reason] = {}
        try:
            lacks = await self._office.room_for(application, first)
        except Exception:  # what could not be asked refuses nothing
            log.exception("room.not_asked", application=application.name)
        self._room = Room(first.number, tuple(lacks.items()))

    def _constraints(self, application: Application) -> Constraints:
        office = self._office
        return dataclasses.replace(
            office.constraints(application), asks_room=office.asks_room, room=self._room
        )

    def _stop(self, reason: Reason, kind: str) -> None:
        """Nothing is decided until something new is seen; reported once, not at each look."""
        self._wake_at = None
        because = (Because(reason),)
        if because != self.because:
            self.because = because
            log.error(kind, application=self.application.name, text=text_of(reason))
            self._office.event_log.note(Event(kind, application=self.application.name, what=reason))
            self._office.visible.bump()

    async def _sleep(self) -> None:
        await self._rest()
        seconds = None if self._wake_at is None else max(0.0, self._wake_at - self._office.clock())
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            self._is_due = True

    async def _rest(self) -> None:
        """The first report after quiet is decided on at once. Those of many regions that follow each other
        closely are decided on together: else a release over thousands would leave no time for others."""
        if len(self._read) >= PACED_REGIONS_MIN:
            rest = min(REST_SECONDS_MAX, RESTS * self._step_seconds)
            await asyncio.sleep(max(PACE_SECONDS * len(self._read), rest))

    async def command(
        self,
        change: Change,
        kind: str,
        key: str,
        body: str,
        spec_text: str = "",
        accepted: Accepted | None = None,
        expected: tuple[str, ...] = (),
    ) -> Accepted:
        """Decides on a person's command; returns once it is saved. The same key again: the same answer. With
        `expected`, only if the application still has one of these generations. Raises Refused, StoreError,
        NotOwner."""
        async with self._lock:
            await self._resolve_doubt()
            request = Request.of(self.application, kind, key, body)
            answered = await earlier_answer(self._office.store, request)
            if answered is not None:
                return answered
            self._catch_up()
            while True:
                check_unmoved(self.application, expected)
                try:
                    accepted = await self._carry_out(change, request, spec_text, accepted)
                    break
                except Conflict:
                    await self._office.catch_up()
                except Fenced:
                    name = self.application.name
                    raise NotOwner(name, None) from None
        return accepted

    async def _carry_out(
        self, change: Change, request: Request, spec_text: str, accepted: Accepted | None
    ) -> Accepted:
        """`accepted`: the answer, if it does not follow from the change."""
        office = self._office
        tenure, seen = self._tenure(), office.seen
        now, observed = office.clock(), office.observed(self.application.name)
        try:
            changed, events = change(self.application, observed, now)
        except Refused as refused:
            raise with_ways_that_work(refused, self.application, observed, now) from None
        accepted = accepted or answer(self.application, changed)
        is_begun = spec_text and not accepted.is_queued
        spec = Spec(changed.name, accepted.group, spec_text, now) if is_begun else None
        async with office.turnstile(changed):
            self._room = None
            decision = step(changed, observed, now, tenure, self._constraints(changed))
            self._step_seconds = office.clock() - now
            self._read, self._rests = observed.read, False
            extra = Transaction(
                events=events,
                receipt=request.receipt(accepted, now),
                spec=spec,
                tenure=tenure,
                seen=seen if office.depends_on_others(changed) else None,
            )
            await self._save(decision, observed, extra)
        self._note(decision)
        if self._is_settled(changed, decision):
            self._wake.set()
        else:
            self.wake()
        return accepted

    async def judged(self, change: Change, extra: Transaction) -> bool:
        """Saves what a look has found, with `extra`; what follows is decided after it. False: it does not
        count any more. Raises StoreError, NotOwner."""
        async with self._lock:
            await self._resolve_doubt()
            self._catch_up()
            tenure, former = self._tenure(), self.application
            observed = self._office.observed(former.name)
            changed, events = change(former, observed, self._office.clock())
            if changed is former:
                return False
            try:
                await self._commit(changed, dataclasses.replace(extra, events=events, tenure=tenure), former)
            except Fenced:
                raise NotOwner(former.name, None) from None
        self.wake()
        return True

    async def adopt(self, change: Change) -> None:
        """Decides on from what the regions run, whatever was decided here before."""
        async with self._lock:
            await self._resolve_doubt()
            office, tenure = self._office, self._tenure()
            now, observed = office.clock(), office.observed(self.application.name)
            adopted, events = change(self.application, observed, now)
            decision = step(adopted, observed, now, tenure)
            extra = Transaction(events=events, tenure=tenure)
            await self._save(decision, observed, extra, former=adopted)
        self.wake()

    def _tenure(self) -> Tenure:
        """What its decisions are made under now. Raises NotOwner."""
        if self.is_retired:
            raise NotOwner(self.application.name, None)
        return self._office.tenure_of(self.application.name)

    async def _resolve_doubt(self) -> None:
        """A commit that failed may have been saved all the same, where the store is across a network."""
        tenure = self._tenure()
        if self.is_in_doubt:
            stored = await self._office.stored(self.application.name)
            if self._tenure() != tenure:
                raise NotOwner(self.application.name, None)
            self._office.take(self, stored or self.application)
            self.is_in_doubt = False

    def _catch_up(self) -> None:
        """Nothing fails because this controller was away or stood still."""
        suspensions = self._office.suspensions.look()
        if suspensions != self._suspensions:
            self._suspensions = suspensions
            self.application = after_suspension(self.application, self._office.clock())

    async def _decide_or_hold(self) -> None:
        """A rollout whose next decision would break a promise is held, for a person to decide."""
        try:
            await self._decide()
        except Refused as broken:
            former, now = self.application, self._office.clock()
            tenure = self._tenure()
            reason = reason_of(Why.PROMISE_BROKEN, promises=broken.reason)
            application, events = held(former, reason, now)
            if application is former:
                raise
            log.error("promise.broken", application=former.name, text=text_of(reason))
            await self._commit(application, Transaction(events=events, tenure=tenure), former)
            await self._decide()

    async def _decide(self) -> None:
        office = self._office
        self._catch_up()
        decided = 0
        while decided < DECISIONS_MAX:
            former = self.application
            async with office.turnstile(former):
                try:
                    decision, has_news = await self._decide_once()
                except Conflict:
                    await office.catch_up()
                    continue
            decided += 1
            self._note(decision)
            if not has_news or self._is_settled(former, decision):
                return
        raise AssertionError(f"{self.application.name}: decisions follow each other without end")

    def _note(self, decision: Decision) -> None:
        """What is so until the next one."""
        if decision.because != self.because:
            self.because = decision.because
            self._office.visible.bump()
        self._wake_at = decision.wake_at

    def _is_settled(self, former: Application, decision: Decision) -> bool:
        """Whether a rollout that was under way has moved as far as it goes for now: nothing follows at once
        but another one, and `run` looks again soon."""
        before, after = former.running, decision.application.running
        if before is None or after is None or before.number != after.number:
            return False
        soon = Instant(self._office.clock() + SETTLED_SECONDS)
        self._wake_at = soon if self._wake_at is None else min(soon, self._wake_at)
        return True

    async def _decide_once(self) -> tuple[Decision, bool]:
        """The decision, and whether there was something to save."""
        office, application = self._office, self.application
        tenure = self._tenure()
        seen = office.seen if office.depends_on_others(application) else None
        observed, now = office.observed(application.name), office.clock()
        decision = step(application, observed, now, tenure, self._constraints(application))
        self._step_seconds = office.clock() - now
        offered = offer(decision.application, office.fence.is_open)
        has_news = offered != application or bool(decision.events)
        self.decisions += 1
        self._read, self._rests = observed.read, False
        if has_news:
            await self._save(decision, observed, Transaction(tenure=tenure, seen=seen))
        else:
            self._rests = rests(application, decision.because)
        return decision, has_news

    async def _save(
        self, decision: Decision, observed: Observed, extra: Transaction, former: Application | None = None
    ) -> None:
        """Checks the promises, saves, then publishes. `former` is what was so before, if not what was saved.

        Raises Refused when a promise would be broken, StoreError; then nothing has happened.
        """
        former = former or self.application
        broken = check(former, decision, observed)
        if broken:
            promises = tuple(f"promise {each.promise}: {each.text}" for each in broken)
            raise Refused(Refusal.PROMISE, promises=promises)
        transaction = dataclasses.replace(extra, events=(*extra.events, *decision.events))
        await self._commit(decision.application, transaction, former)

    async def _commit(self, decided: Application, extra: Transaction, former: Application) -> None:
        office = self._office
        application = offer(decided, office.fence.is_open)
        transaction = dataclasses.replace(
            extra,
            application=application,
            rollout=decided.rollout if decided.rollout != former.rollout else None,
            spec=extra.spec or spec_of_queued(former, decided, office.clock()),
        )
        try:
            events = await office.store.commit(transaction)
        except (Conflict, Fenced):
            raise
        except StoreError:
            self.is_in_doubt = True
            raise
        if not self.is_retired:
            office.take(self, application)
        office.event_log.tell(events)
