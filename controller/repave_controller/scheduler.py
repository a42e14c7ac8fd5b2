"""Carries facts to `rollout.step` and its decisions to the store and the regions; decides nothing itself.

Each application has an owner that decides under its own lock: whatever changes, read what is observed, step,
check the promises, save, then publish. What is not saved is never published and never acknowledged.
"""

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from weakref import WeakValueDictionary

import structlog

from repave_controller.ahead import is_offered, offer, offers
from repave_controller.chronicle import Chronicle
from repave_controller.commands import (
    Accepted,
    Outcome,
    answer,
    changed_plan,
    check_regions,
    from_text,
    request_abort,
    request_release,
    request_rollback,
    to_text,
    unknown_application,
)
from repave_controller.gate import Gate, Region
from repave_controller.guards import Surroundings
from repave_controller.limits import Limits, load_of
from repave_controller.line import Command, Line
from repave_controller.model import (
    Application,
    Because,
    Decision,
    Event,
    GroupNumber,
    Instant,
    Observed,
    Refused,
    ReleaseOrder,
)
from repave_controller.ports import ImageStore, Loaded, Receipt, Spec, Store, StoreError, Transaction
from repave_controller.preview import plan_id
from repave_controller.pulse import Pulse
from repave_controller.rollout import overslept, step
from repave_controller.safety import check
from repave_controller.standstill import Standstill
from repave_protos.values import ApplicationName, DesiredState, Hello, Notice, RegionName

log = structlog.get_logger()

DECISIONS_MAX = 64
"""Decisions that follow each other without anything new observed; more is a bug."""
STORE_RETRY_SECONDS = 1.0


Change = Callable[[Application, Observed, Instant], Outcome]
"""What a command makes of an application. Raises Refused."""


class Scheduler:
    """The applications of one controller. `run` must be running for anything to move."""

    def __init__(
        self,
        store: Store,
        images: ImageStore,
        loaded: Loaded,
        clock: Callable[[], Instant],
        regions: Callable[[], Mapping[RegionName, Region]],
        publish: Callable[[RegionName, DesiredState], None],
        limits: Limits = Limits(),  # noqa: B008  # frozen
    ) -> None:
        self._store = store
        self._images = images
        self._tenure = loaded.tenure
        self._clock = clock
        self._line = loaded.line
        self._line_lock = asyncio.Lock()
        self._limits = limits
        self._turnstile = asyncio.Lock()  # who begins is saved before the next one counts what is under way
        self._regions = regions
        self._publish = publish
        self._owners = {each.name: _Owner(self, each) for each in loaded.applications}
        self._unborn: WeakValueDictionary[ApplicationName, _Owner] = WeakValueDictionary()
        self._starts: asyncio.Queue[_Owner] = asyncio.Queue()
        self._visible = Pulse()
        self._chronicle = Chronicle(store, clock, self._visible)
        self._standstill = Standstill()
        self.gate = Gate(regions)
        for owner in self._owners.values():
            self._starts.put_nowait(owner)

    async def run(self) -> None:
        """Owns every application until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._chronicle.run(), name="notices")
            tasks.create_task(self._standstill.run(), name="standstill")
            while True:
                owner = await self._starts.get()
                tasks.create_task(owner.run(), name=f"owner {owner.application.name}")

    # ------------------------------------------------------------------------------ what is asked for

    async def release(
        self,
        application: ApplicationName,
        cluster: str,
        order: ReleaseOrder,
        spec_text: str,
        *,
        queue: bool,
        plan: str = "",
    ) -> Accepted:
        """Starts, joins or queues a release; with `plan`, only if it still has that id.

        Raises Refused, StoreError.
        """
        order = dataclasses.replace(order, spec_text=spec_text)

        def command(known: Application, _: Observed, now: Instant) -> Outcome:
            if plan and plan.upper() != plan_id(known, order):
                raise changed_plan(plan)
            self.check_image(order)
            self.check_places(application, order)
            return request_release(known, order, queue, now)

        owner = self._owner_of_new(application, cluster)
        request = dataclasses.replace(order, by="", key="")
        accepted = await owner.command(command, "release", order.key, repr((request, queue)), spec_text)
        self._begin(owner)
        return accepted

    def check_image(self, order: ReleaseOrder) -> None:
        """Its package is stored. Raises Refused."""
        if self._images.path(order.digest) is None:
            text = f"no package {order.digest} is stored here; repave image push adds one"
            raise Refused("unknown-image", text)

    def check_places(self, application: ApplicationName, order: ReleaseOrder) -> None:
        """Its regions are known, not ahead of the store, and its port is free there. Raises Refused."""
        check_regions(order.sizes, self._known_regions())
        self._check_ahead(application, {region for region, _ in order.sizes})
        self._check_port(application, order)

    async def rollback(
        self, application: ApplicationName, *, by: str, reason: str, force: bool, key: str
    ) -> Accepted:
        """Turns a running rollout round, or starts one back. Raises Refused, StoreError."""

        def command(known: Application, observed: Observed, now: Instant) -> Outcome:
            self._check_ahead(application, set())
            return request_rollback(known, observed, by, reason, force, now)

        return await self._owner(application).command(command, "rollback", key, repr((reason, force)))

    async def abort(self, application: ApplicationName, *, by: str, reason: str, key: str) -> Accepted:
        """Ends the running rollout. Raises Refused, StoreError."""

        def command(known: Application, _: Observed, now: Instant) -> Outcome:
            return request_abort(known, by, reason, now)

        return await self._owner(application).command(command, "abort", key, repr(reason))

    async def change_line(self, command: Command) -> Line:
        """Stops the line, lets it go, adds or lifts a freeze; returns the line once it is saved, and all
        applications look again. Raises Refused, StoreError."""
        async with self._line_lock:
            line, events = command(self._line, self._clock())
            if line != self._line:
                saved = await self._store.commit(Transaction(line=line, events=events))
                self._line = line
                self._chronicle.tell(saved)
        for owner in self._owners.values():
            owner.wake()
        return line

    def around(self, application: Application) -> Surroundings:
        """What is so beyond the application. What others have under way counts only while regions of it have
        yet to begin."""
        if not _may_begin(application):
            return Surroundings(self._line, self._limits)
        return self.around_new(application.name)

    def around_new(self, name: ApplicationName) -> Surroundings:
        """The same for a release of it that has yet to begin."""
        others = (each for other, each in self._saved().items() if other != name)
        return Surroundings(self._line, self._limits, load_of(others))

    def turnstile(self, application: Application) -> AbstractAsyncContextManager[object]:
        """To be held from the decision to its end on the disk."""
        return self._turnstile if _may_begin(application) else nullcontext()

    def _make_room(self, former: Application, after: Application) -> None:
        """Something has ended: those that wait for a limit look again."""
        if former.running != after.running and self._limits != Limits():
            for owner in self._owners.values():
                if _may_begin(owner.application):
                    owner.wake()

    async def change(self, accepted: Accepted, change: Change, key: str, body: str) -> Accepted:
        """Decides on a command that begins no rollout; `accepted` answers it. Raises Refused, StoreError."""

        def command(known: Application, observed: Observed, now: Instant) -> Outcome:
            self._check_ahead(accepted.application, set())
            return change(known, observed, now)

        owner = self._owner(accepted.application)
        return await owner.command(command, accepted.kind, key, body, accepted=accepted)

    def _check_ahead(self, application: ApplicationName, regions: set[RegionName]) -> None:
        known = self.applications().get(application)
        self.gate.check(application, regions | set(known.regions if known is not None else ()))

    async def adopt(self, application: ApplicationName, cluster: str, change: Change) -> None:
        """Takes what the regions run as decided; returns once it is saved. Raises Refused, StoreError."""
        owner = self._owner_of_new(application, cluster)
        await owner.adopt(change)
        self._begin(owner)
        self.gate.judge_again(self._saved())
        for each in self._owners.values():  # for what could not be sent until now
            each.wake()
        self._visible.bump()

    async def begin_incarnation(self, above: int) -> int:
        """All epochs from now on are above incarnation `above`; returns the new one. Raises StoreError."""
        self._tenure = await self._store.begin_incarnation(above)
        return self._tenure.incarnation

    def _known_regions(self) -> tuple[RegionName, ...]:
        """Regions whose agent has spoken since this controller began, or that have hosts from before."""
        served = {region for each in self.applications().values() for region in each.regions}
        return tuple(sorted({*self._regions(), *served}))

    def _owner(self, name: ApplicationName) -> "_Owner":
        owner = self._owners.get(name)
        if owner is None:
            raise unknown_application(name, tuple(sorted(self.applications())), self.gate.knowing(name))
        return owner

    def _owner_of_new(self, name: ApplicationName, cluster: str) -> "_Owner":
        """The application's owner; an application begins to exist with the first release that is saved."""
        owner = self._owners.get(name) or self._unborn.get(name)
        if owner is None:
            owner = self._unborn[name] = _Owner(self, Application(name, cluster, GroupNumber(1)))
        return owner

    def _begin(self, owner: "_Owner") -> None:
        name = owner.application.name
        if name not in self._owners:
            self._owners[name] = owner
            self._starts.put_nowait(owner)

    def _check_port(self, name: ApplicationName, order: ReleaseOrder) -> None:
        wanted = {region for region, _ in order.sizes}
        for other in self.applications().values():
            shared = sorted(wanted & set(other.regions))
            if other.name != name and other.frontend_port == order.frontend_port and shared:
                raise Refused(
                    "port-taken",
                    f"traffic.port: {order.frontend_port} is taken by {other.name} in {', '.join(shared)}; "
                    "choose another port",
                )

    # ---------------------------------------------------------------------------------- what is known

    def applications(self) -> Mapping[ApplicationName, Application]:
        """Those that were ever released."""
        return {
            name: owner.application
            for name, owner in self._owners.items()
            if owner.application.rollouts_total
        }

    @property
    def line(self) -> Line:
        """What is decided for the whole installation."""
        return self._line

    def saved(self, name: ApplicationName) -> Application | None:
        """What is decided of it, also when it was never released."""
        return self._saved().get(name)

    def observed(self, application: ApplicationName) -> Observed:
        """What each region reported last of this application, where it counts."""
        return self.gate.observed(application)

    def because(self, application: ApplicationName) -> tuple[Because, ...]:
        """What the application waits for."""
        owner = self._owners.get(application)
        if owner is None:
            return ()
        ahead = self.gate.because(owner.application)
        return (*ahead, *(each for each in owner.because if each not in ahead))

    def greet(self, hello: Hello) -> None:
        """Judges the region before anything is sent to it."""
        for event in self.gate.greet(hello, self._saved()):
            self.note(event)

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        """What was offered to this region before. Owners that have something else for it look again."""
        offered: list[DesiredState] = []
        if region in self.gate.ahead:
            return offered
        for owner in self._owners.values():
            state = owner.application.desired_in(region)
            if state is not None and is_offered(owner.application, region):
                offered.append(state)
            elif state is not None:
                owner.wake()
        return offered

    def _saved(self) -> dict[ApplicationName, Application]:
        return {name: owner.application for name, owner in self._owners.items()}

    def applications_in(self, region: RegionName) -> tuple[ApplicationName, ...] | None:
        """Those that have, or are about to have, hosts in this region; None where the store may not know."""
        if region in self.gate.ahead:
            return None
        found = (
            name
            for name, owner in self._owners.items()
            if owner.application.desired_in(region) is not None or region in owner.application.regions
        )
        return tuple(sorted(found))

    @property
    def version(self) -> int:
        """Grows with every change of anything visible."""
        return self._visible.version

    async def changed(self, after: int) -> int:
        """Waits until `version` is above `after`; returns it."""
        return await self._visible.wait(after)

    def follow(self, after: int, application: str = "") -> AsyncIterator[Event]:
        """Stored events after that sequence number, then new ones as they are saved; never ends."""
        return self._chronicle.follow(after, application)

    # ---------------------------------------------------------------------------------- what happens

    def region_changed(self, region: RegionName, applications: set[ApplicationName]) -> None:
        """Something was reported, or the region came or went: the owners concerned look again."""
        concerned = applications or set(self._owners)
        for name in concerned:
            if name in self._owners:
                self._owners[name].wake()
        self._visible.bump()

    def notices(self, region: RegionName, notices: Sequence[Notice]) -> None:
        """Takes what a region tells for the event log; beyond the bound the newest are dropped."""
        for notice in notices:
            self.note(
                Event(
                    notice.kind,
                    notice.text,
                    application=notice.application,
                    region=region,
                    group=notice.group,
                    host=notice.host,
                )
            )

    def note(self, event: Event) -> None:
        """Adds an event that no decision caused."""
        self._chronicle.note(event)


class _Owner:
    """Decides for one application, one decision at a time."""

    def __init__(self, scheduler: Scheduler, application: Application) -> None:
        self.application = application
        self.because: tuple[Because, ...] = ()
        self._scheduler = scheduler
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._wake_at: Instant | None = None
        self._standstills = -1  # those it knows of; what was loaded from the store comes after one

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Looks again whenever something changed or an instant has come."""
        while True:
            self._wake.clear()
            try:
                async with self._lock:
                    await self._decide()
            except StoreError as error:
                self._stop(f"the store does not take decisions: {error}", "decision.not_saved")
                self._wake_at = Instant(self._scheduler._clock() + STORE_RETRY_SECONDS)
            except Refused as broken:
                self._stop(f"stopped: {broken.text}", "promise.broken")
            except Exception:  # the root of an owner: a mistake with one application must not end the others
                log.exception("decision.failed", application=self.application.name)
                self._stop("stopped by a mistake of repave's own; the controller's log says which", "bug")
            await self._sleep()

    def _stop(self, text: str, kind: str) -> None:
        """Nothing is decided until something new is seen; told once, not at each look."""
        self._wake_at = None
        because = (Because(text),)
        if because != self.because:
            self.because = because
            log.error(kind, application=self.application.name, text=text)
            self._scheduler.note(Event(kind, text, application=self.application.name))
            self._scheduler._visible.bump()

    async def _sleep(self) -> None:
        seconds = None if self._wake_at is None else max(0.0, self._wake_at - self._scheduler._clock())
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def command(
        self,
        change: Change,
        kind: str,
        key: str,
        body: str,
        spec_text: str = "",
        accepted: Accepted | None = None,
    ) -> Accepted:
        """Decides on a person's command; returns once it is saved. The same key again: the same answer."""
        async with self._lock:
            receipt_key = f"{self.application.name}/{kind}/{key}" if key else ""
            body_hash = hashlib.sha256(body.encode()).hexdigest()
            repeated = await self._repeated(receipt_key, body_hash)
            if repeated is not None:
                return repeated
            scheduler = self._scheduler
            self._catch_up()
            now, observed = scheduler._clock(), scheduler.observed(self.application.name)
            changed, events = change(self.application, observed, now)
            accepted = accepted or answer(self.application, changed)
            receipt = Receipt(receipt_key, body_hash, to_text(accepted)) if receipt_key else None
            is_begun = spec_text and not accepted.is_queued
            spec = Spec(changed.name, accepted.group, spec_text) if is_begun else None
            async with scheduler.turnstile(changed):
                decision = step(changed, observed, now, scheduler._tenure, scheduler.around(changed))
                await self._save(decision, observed, Transaction(events=events, receipt=receipt, spec=spec))
        self.wake()
        return accepted

    async def adopt(self, change: Change) -> None:
        """Decides on from what the regions run, whatever was decided here before."""
        async with self._lock:
            scheduler = self._scheduler
            now, observed = scheduler._clock(), scheduler.observed(self.application.name)
            adopted, events = change(self.application, observed, now)
            decision = step(adopted, observed, now, scheduler._tenure)
            await self._save(decision, observed, Transaction(events=events), former=adopted)
        self.wake()

    async def _repeated(self, key: str, body_hash: str) -> Accepted | None:
        receipt = await self._scheduler._store.receipt(key) if key else None
        if receipt is None:
            return None
        if receipt.body_hash != body_hash:
            raise Refused(
                "key-reused", "this idempotency key was used for a different request; use a new key"
            )
        return dataclasses.replace(from_text(receipt.response), is_joined=True)

    def _catch_up(self) -> None:
        """Nothing fails because this controller was away or stood still."""
        standstills = self._scheduler._standstill.look()
        if standstills != self._standstills:
            self._standstills = standstills
            self.application = overslept(self.application, self._scheduler._clock())

    async def _decide(self) -> None:
        scheduler = self._scheduler
        self._catch_up()
        for _ in range(DECISIONS_MAX):
            async with scheduler.turnstile(self.application):
                decision, has_news = await self._decide_once()
            if decision.because != self.because:
                self.because = decision.because
                scheduler._visible.bump()
            self._wake_at = decision.wake_at
            if not has_news:
                return
        raise AssertionError(f"{self.application.name}: decisions follow each other without end")

    async def _decide_once(self) -> tuple[Decision, bool]:
        """The decision, and whether there was something to save."""
        scheduler, application = self._scheduler, self.application
        observed, now = scheduler.observed(application.name), scheduler._clock()
        decision = step(application, observed, now, scheduler._tenure, scheduler.around(application))
        offered = offer(decision.application, scheduler.gate.open_regions())
        has_news = offered != application or bool(decision.events)
        if has_news:
            await self._save(decision, observed, Transaction())
        return decision, has_news

    async def _save(
        self, decision: Decision, observed: Observed, extra: Transaction, former: Application | None = None
    ) -> None:
        """Checks the promises, saves, then publishes. `former` is what was so before, if not what was saved.

        Raises Refused when a promise would be broken, StoreError; then nothing has happened.
        """
        scheduler, former = self._scheduler, former or self.application
        broken = check(former, decision, observed)
        if broken:
            raise Refused("promise", "; ".join(f"promise {each.promise}: {each.text}" for each in broken))
        application = offer(decision.application, scheduler.gate.open_regions())
        transaction = dataclasses.replace(
            extra,
            application=application,
            events=(*extra.events, *decision.events),
            rollout=decision.application.rollout if decision.application.rollout != former.rollout else None,
            spec=extra.spec or _queued_spec(former, decision.application),
        )
        events = await scheduler._store.commit(transaction)
        self.application = application
        scheduler._make_room(former, application)
        for region, state in offers(former, application):  # the only way down, with desired_for
            if region not in scheduler.gate.ahead:
                scheduler._publish(region, state)
        scheduler._chronicle.tell(events)


def _may_begin(application: Application) -> bool:
    """Whether regions of its rollout have yet to begin."""
    rollout = application.running
    return rollout is not None and any(not track.has_begun for track in rollout.tracks)


def _queued_spec(before: Application, after: Application) -> Spec | None:
    """The spec of a queued release, saved with its group once it begins."""
    has_begun = after.rollout is not None and after.rollouts_total > before.rollouts_total
    if not has_begun or after.rollout is None or len(after.queue) == len(before.queue):
        return None
    target = after.group(after.rollout.target)
    return Spec(after.name, target.name, before.queue[0].spec_text) if target else None
