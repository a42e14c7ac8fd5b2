"""Carries facts to the owners of the applications, and what people ask for; decides nothing itself.

Each application has an owner (`owner.py`) that decides under its own lock. Here is what they share, and what
is so for the whole installation.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from weakref import WeakValueDictionary

import structlog

from repave_controller.core.commands.adoption import AdoptionOrder, check_hosts, request_adoption
from repave_controller.core.commands.judging import Judged
from repave_controller.core.commands.promotion import Override
from repave_controller.core.commands.release import (
    Accepted,
    WhileBusy,
    check_port,
    check_regions,
    request_release,
    unknown_application,
)
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.scaling import Scale
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import (
    Application,
    Because,
    Event,
    Instant,
    Observed,
    Outcome,
    ReleaseOrder,
    Tenure,
)
from repave_controller.core.domain.freezes import Command, Freezes
from repave_controller.core.domain.limits import Limits, load_of
from repave_controller.core.domain.reasons import Reason, Refusal, Refused, Why, cli
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.domain.scaling import BY_REPAVE
from repave_controller.core.planning.shown_plans import ShownPlans
from repave_controller.core.ports import Conflict, ImageStore, Loaded, Regions, Store, StoreError, Transaction
from repave_controller.core.rollout.holds import guard_of
from repave_controller.core.rollout.room import with_room
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.divergence import is_offered, offers
from repave_controller.core.rules.guards import Constraints
from repave_controller.peers.alone import Alone
from repave_controller.peers.mirror import Mirror
from repave_controller.peers.ports import LEASE_SECONDS, SHARDS, NotOwner, Ownership, Shard, shard_of
from repave_controller.runtime.broadcast import Broadcast
from repave_controller.runtime.event_log import EventLog
from repave_controller.runtime.fence import Fence, Seen
from repave_controller.runtime.owner import Change, Owner
from repave_controller.runtime.presence import Presence
from repave_controller.runtime.suspension import SuspensionWatch
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredState,
    Digest,
    Epoch,
    Hello,
    Notice,
    RegionName,
)

log = structlog.get_logger()


RoomAsker = Callable[[Application, ReleaseOrder], Awaitable[Mapping[RegionName, Reason]]]
"""Asks the regions which of them have no room for a release."""


def unknown_image(digest: Digest) -> Refused:
    """A package that is not stored."""
    return Refused(Refusal.UNKNOWN_IMAGE, cli("image push"), digest=digest)


class Scheduler:
    """The applications of one controller. `run` must be running for anything to move."""

    def __init__(
        self,
        store: Store,
        images: ImageStore,
        loaded: Loaded,
        clock: Callable[[], Instant],
        regions: Regions,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        ownership: Ownership | None = None,
    ) -> None:
        """`ownership`: for which applications this controller decides; for all, if it has the store alone."""
        self.store = store
        self._images = images
        self._ownership = ownership or Alone(loaded.tenure)
        self._mirror: Mirror | None = None
        self._shards = set(range(SHARDS)) if ownership is None else set[Shard]()
        self.clock = clock
        self._freezes = loaded.freezes
        self._freezes_lock = asyncio.Lock()
        self._limits = limits
        self._turnstile = asyncio.Lock()  # a beginning is saved before the next one counts what is under way
        self.regions = regions
        self._owners = {each.name: Owner(self, each) for each in loaded.applications}
        self._presence = Presence(loaded.applications)
        self._never_released: WeakValueDictionary[ApplicationName, Owner] = WeakValueDictionary()
        self._starts: asyncio.Queue[Owner] = asyncio.Queue()
        self._tasks: dict[ApplicationName, asyncio.Task[None]] = {}
        self.visible = Broadcast()
        self.event_log = EventLog(store, clock, self.visible)
        self.suspensions = SuspensionWatch()
        self.fence = Fence(regions)
        self.shown_plans = ShownPlans()
        self._room: RoomAsker | None = None
        for owner in self._owners.values():
            self._start(owner)

    def share_by(self, mirror: Mirror) -> None:
        """Before `run`: other controllers decide for other applications; the mirror tells what they saved."""
        self._mirror = mirror

    def ask_room_with(self, asker: "RoomAsker") -> None:
        """Queued releases begin only where `asker` says that they fit."""
        self._room = asker

    @property
    def asks_room(self) -> bool:
        return self._room is not None

    async def room_for(self, application: Application, order: ReleaseOrder) -> Mapping[RegionName, Reason]:
        """The regions that have no room for it now."""
        return await self._room(application, order) if self._room is not None else {}

    async def run(self) -> None:
        """Decides for the applications that are this controller's, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.event_log.run(), name="notices")
            tasks.create_task(self.suspensions.run(), name="suspensions")
            while True:
                owner = await self._starts.get()
                name = owner.application.name
                if name not in self._tasks and self.decides_for(name):
                    self._tasks[name] = tasks.create_task(self._owners[name].run(), name=f"owner {name}")

    # ------------------------------------------------------------------------------- other controllers

    def others(self) -> Collection[Shard]:
        """The shards that are not this controller's."""
        return [shard for shard in range(SHARDS) if shard not in self._shards]

    async def gained(self, shards: Collection[Shard]) -> None:
        """This controller decides for their applications from now on. Raises StoreError."""
        assert self._mirror is not None, "without others all shards are here from the beginning"
        await self._mirror.catch_up()
        for application in await self._mirror.applications(shards):
            self._known(application).begin_from(application)
            self._presence.note(application)
        self._shards |= set(shards)
        for name, owner in self._owners.items():
            if shard_of(name) in shards:
                self._start(owner)

    async def lost(self, shards: Collection[Shard]) -> None:
        """It decides for them no more; returns when no decision is under way. One that is being saved for
        longer than a lease lasts is not waited for: the store has it already, or fences it."""
        self._shards -= set(shards)
        ending: dict[asyncio.Task[None], tuple[Owner, asyncio.Task[None] | None]] = {}
        for owner in dict.fromkeys((*self._owners.values(), *self._never_released.values())):
            name = owner.application.name
            if shard_of(name) in shards and (name in self._tasks or owner.is_deciding):
                task = self._tasks.pop(name, None)
                ending[asyncio.create_task(owner.end(task))] = owner, task
        late = (await asyncio.wait(ending, timeout=LEASE_SECONDS))[1] if ending else ()
        for each in late:
            owner, task = ending[each]
            for hanging in (each, task):
                if hanging is not None:
                    hanging.cancel()
            self._replace(owner)
        if self._mirror is not None:
            self._mirror.forget(shards)

    def _replace(self, owner: Owner) -> None:
        """Another one is to decide, if this controller does again, before that one is through."""
        log.warning("owner.hangs", application=owner.application.name)
        owner.retire()
        name = owner.application.name
        if self._never_released.get(name) is owner:
            del self._never_released[name]
        if self._owners.get(name) is owner:
            self._owners[name] = Owner(self, owner.application)
            self._owners[name].decisions = owner.decisions

    def decides_for(self, application: ApplicationName) -> bool:
        """Whether it is one of this controller's, whether or not it may decide at this moment."""
        return shard_of(application) in self._shards

    def tenure_of(self, application: ApplicationName) -> Tenure:
        """What decisions for it are made under now. Raises NotOwner."""
        tenure = self._ownership.tenure_of(application) if self.decides_for(application) else None
        if tenure is None:
            raise NotOwner(application, self._ownership.owner_of(application))
        return tenure

    @property
    def seen(self) -> int | None:
        """The newest change of other controllers that is known here; None: there are none."""
        return self._mirror.seen if self._mirror is not None else None

    def depends_on_others(self, application: Application) -> bool:
        """Whether what else is decided counts for it now: regions of it have yet to begin."""
        rollout = application.running
        return rollout is not None and any(not track.has_begun for track in rollout.tracks)

    async def catch_up(self) -> None:
        """What others decided until now is known after it. Raises StoreError."""
        if self._mirror is not None:
            await self._mirror.catch_up()

    async def stored(self, application: ApplicationName) -> Application | None:
        """As the store holds it now; None of a store that this controller has alone, whose failures leave no
        doubt. Raises StoreError."""
        if self._mirror is None:
            return None
        found = await self._mirror.applications({shard_of(application)})
        return next((each for each in found if each.name == application), None)

    def take_in(self, application: Application) -> None:
        """What another controller decided. Regions whose agents are connected here are sent it."""
        if not self.decides_for(application.name):
            self.take(self._known(application), application)
            if self.fence.ahead:
                self.fence.judge_again(self._saved())
            self.visible.bump()

    def take_freezes(self, freezes: Freezes) -> None:
        """As they are now, whichever controller changed them."""
        self._freezes = freezes
        self._wake_all()
        self.visible.bump()

    def take_events(self) -> None:
        """Other controllers saved some."""
        self.event_log.look_again()

    def take(self, owner: Owner, application: Application) -> None:
        """It is saved: what its owner decides upon from now on, and what regions are sent."""
        former, owner.application = owner.application, application
        self._presence.note(application)
        self._make_room(former, application)
        published: dict[Epoch, list[RegionName]] = {}
        for region, state in offers(former, application):  # the only way down, with desired_for
            if region not in self.fence.ahead:
                self.regions.publish(region, state)
                published.setdefault(state.epoch, []).append(region)
        for epoch, regions in published.items():
            log.info("desired.published", application=application.name, regions=regions, epoch=str(epoch))

    def _known(self, application: Application) -> Owner:
        owner = self._owners.get(application.name)
        if owner is None:
            blank = Application(application.name, application.cluster, GroupNumber(1))
            owner = self._owners[application.name] = Owner(self, blank)
        return owner

    def _start(self, owner: Owner) -> None:
        if self.decides_for(owner.application.name):
            self._starts.put_nowait(owner)

    # ------------------------------------------------------------------------------ what is asked for

    async def release(
        self,
        application: ApplicationName,
        cluster: str,
        order: ReleaseOrder,
        spec_text: str,
        *,
        queue: bool | WhileBusy,
        plan: str = "",
        lacks: Mapping[RegionName, Reason] | None = None,
        expected: tuple[str, ...] = (),
    ) -> Accepted:
        """Starts or joins a release; while a rollout runs, what `queue` says. With `plan`, only if it still
        has that id; with `expected`, only if the application still has one of these generations. `lacks`:
        the regions that have no room for it now.

        Raises Refused, StoreError.
        """
        order = dataclasses.replace(order, spec_text=spec_text)

        def command(known: Application, observed: Observed, now: Instant) -> Outcome:
            if plan:
                self.shown_plans.check(plan, known, order)
            self.check_image(order)
            self.check_places(application, order)
            return request_release(known, with_room(known, order, lacks or {}), queue, now, observed)

        owner = self._owner_of_new(application, cluster)
        request = dataclasses.replace(order, by="", key="")
        body = repr((request, queue))
        try:
            accepted = await owner.command(command, "release", order.key, body, spec_text, expected=expected)
        except StoreError:
            if owner.is_in_doubt:
                self._begin(owner)
            raise
        self._begin(owner)
        return accepted

    async def adopt_fleet(
        self, application: ApplicationName, cluster: str, order: AdoptionOrder, spec_text: str, key: str
    ) -> Accepted:
        """Makes a fleet that is there already the application's first group. Raises Refused, StoreError."""

        def command(known: Application, _: Observed, now: Instant) -> Outcome:
            return self._adopt_fleet(known, order, now)

        owner = self._owner_of_new(application, cluster)
        request = dataclasses.replace(order, spec=dataclasses.replace(order.spec, by=""))
        try:
            accepted = await owner.command(command, "adopt", key, repr(request), spec_text)
        except StoreError:
            if owner.is_in_doubt:
                self._begin(owner)
            raise
        self._begin(owner)
        return accepted

    def try_adoption(self, application: ApplicationName, cluster: str, order: AdoptionOrder) -> None:
        """Whether it could be now; changes nothing. Raises Refused."""
        known = self.saved(application) or Application(application, cluster, GroupNumber(1))
        self._adopt_fleet(known, order, self.clock())

    def _adopt_fleet(self, known: Application, order: AdoptionOrder, now: Instant) -> Outcome:
        adopted, events = request_adoption(known, order, now)
        self.check_places(known.name, order.spec)
        check_hosts(known.name, order.fleet, self.applications())
        return adopted, events

    def check_image(self, order: ReleaseOrder) -> None:
        """Its package is stored. Raises Refused."""
        if self._images.path(order.digest) is None:
            raise unknown_image(order.digest)

    def check_places(self, application: ApplicationName, order: ReleaseOrder) -> None:
        """Its regions are known, not ahead of the store, and its port is free there. Raises Refused."""
        check_regions(order.sizes, self._known_regions())
        self._check_ahead(application, {region for region, _ in order.sizes})
        check_port(application, order, self.applications())

    async def steer(
        self,
        application: ApplicationName,
        verb: Verb,
        *,
        by: str,
        reason: str = "",
        key: str = "",
        expected: tuple[str, ...] = (),
    ) -> Accepted:
        """Carries out what a person asks of an application; returns once it is saved. With `expected`, only
        if it still has one of these generations. Raises Refused, StoreError."""

        def command(known: Application, observed: Observed, now: Instant) -> Outcome:
            if isinstance(verb, Rollback):
                self._check_ahead(application, set())
            asked = verb.among(self._standing(known)) if isinstance(verb, Override) else verb
            return asked.apply(known, observed, by, reason, now)

        kind = type(verb).__name__.lower()
        owner = self._owner(application)
        return await owner.command(command, kind, key, repr((verb, reason)), expected=expected)

    def _standing(self, application: Application) -> tuple[str, ...]:
        """The rules of the guards that hold its rollout up now."""
        found = [each.reason for each in self.because(application.name)]
        pause = application.running.pause if application.running is not None else None
        rules = [str(dict(each.facts)["rule"]) for each in found if each.kind is Why.GUARD]
        return (*rules, *([guard_of(pause)] if pause is not None and guard_of(pause) else []))

    async def change_freezes(self, command: Command) -> Freezes:
        """Adds or lifts a freeze; returns the freezes once they are saved, and all
        applications look again. Raises Refused, StoreError."""
        async with self._freezes_lock:
            while True:
                freezes, events = command(self._freezes, self.clock())
                if freezes == self._freezes:
                    break
                known, decided = self._freezes, Transaction(freezes=freezes, events=events, seen=self.seen)
                try:
                    saved = await self.store.commit(decided)
                except Conflict:
                    await self.catch_up()
                    continue
                if self._freezes is known:  # else the mirror has told of these already, or of later ones
                    self._freezes = freezes
                self.event_log.tell(saved)
                break
        self._wake_all()
        return freezes

    def constraints(self, application: Application) -> Constraints:
        """What is so beyond the application. What others have under way counts only while regions of it have
        yet to begin."""
        if not self.depends_on_others(application):
            return Constraints(self._freezes, self._limits)
        return self.constraints_of_new(application.name)

    def constraints_of_new(self, name: ApplicationName) -> Constraints:
        """The same for a release of it that has yet to begin."""
        others = (each for other, each in self._saved().items() if other != name)
        return Constraints(self._freezes, self._limits, load_of(others))

    def turnstile(self, application: Application) -> AbstractAsyncContextManager[object]:
        """To be held from the decision to its end on the disk."""
        return self._turnstile if self.depends_on_others(application) else nullcontext()

    def _make_room(self, former: Application, after: Application) -> None:
        """Something has ended: those that wait for a limit look again."""
        if former.running != after.running and self._limits != Limits():
            for owner in self._owners.values():
                if self.depends_on_others(owner.application):
                    owner.wake()

    async def change(
        self, accepted: Accepted, change: Change, key: str, body: str, expected: tuple[str, ...] = ()
    ) -> Accepted:
        """Decides on a command that begins no rollout; `accepted` answers it. Raises Refused, StoreError."""

        def command(known: Application, observed: Observed, now: Instant) -> Outcome:
            self._check_ahead(accepted.application, set())
            return change(known, observed, now)

        owner = self._owner(accepted.application)
        return await owner.command(command, accepted.kind, key, body, accepted=accepted, expected=expected)

    def _check_ahead(self, application: ApplicationName, regions: set[RegionName]) -> None:
        known = self.applications().get(application)
        self.fence.check(application, regions | set(known.regions if known is not None else ()))

    async def judged(
        self,
        application: ApplicationName,
        judged: Judged,
        extra: Transaction = Transaction(),  # noqa: B008  # frozen
    ) -> bool:
        """Saves what a look at its new group has found, and `extra` with it; False if it does not count: it
        was made already, or what it looked at is over. Raises Refused, StoreError, NotOwner."""

        def change(known: Application, observed: Observed, now: Instant) -> Outcome:
            return judged.apply(known, observed, "", "", now)

        return await self._owner(application).judged(change, extra)

    async def scale(self, application: ApplicationName, scale: Scale) -> None:
        """Takes in the number of hosts that was chosen for a region. Raises Refused, StoreError, NotOwner."""

        def change(known: Application, observed: Observed, now: Instant) -> Outcome:
            return scale.apply(known, observed, BY_REPAVE, "", now)

        owner = self._owner(application)
        if change(owner.application, self.observed(application), self.clock())[0] is not owner.application:
            await owner.command(change, "scale", "", "")

    async def adopt(self, application: ApplicationName, cluster: str, change: Change) -> None:
        """Takes what the regions run as decided; returns once it is saved. Raises Refused, StoreError."""
        owner = self._owner_of_new(application, cluster)
        await owner.adopt(change)
        self._begin(owner)
        self.fence.judge_again(self._saved())
        self._wake_all()  # for what could not be sent until now
        self.visible.bump()

    async def begin_incarnation(self, above: int) -> int:
        """All epochs from now on are above incarnation `above`; returns the new one. Raises StoreError."""
        if self.others():
            raise Refused(Refusal.OTHER_CONTROLLERS)
        tenure = await self.store.begin_incarnation(above)
        self._ownership.begin(tenure.incarnation)
        return tenure.incarnation

    def _known_regions(self) -> tuple[RegionName, ...]:
        """Regions whose agent has spoken since this controller began, or that have hosts from before."""
        served = {region for each in self.applications().values() for region in each.regions}
        return tuple(sorted({*self.regions.views(), *served}))

    def _owner(self, name: ApplicationName) -> Owner:
        owner = self._owners.get(name)
        if owner is None:
            raise unknown_application(name, tuple(sorted(self.applications())), self.fence.knowing(name))
        return owner

    def _owner_of_new(self, name: ApplicationName, cluster: str) -> Owner:
        """The application's owner; an application begins to exist with the first release that is saved."""
        owner = self._owners.get(name) or self._never_released.get(name)
        if owner is None:
            owner = self._never_released[name] = Owner(self, Application(name, cluster, GroupNumber(1)))
        return owner

    def _begin(self, owner: Owner) -> None:
        name = owner.application.name
        if name not in self._owners and not owner.is_retired:
            self._owners[name] = owner
            self._start(owner)

    # ---------------------------------------------------------------------------------- what is known

    def applications(self) -> Mapping[ApplicationName, Application]:
        """Those that were ever released, and are not gone."""
        return {
            name: owner.application
            for name, owner in self._owners.items()
            if owner.application.rollouts_total and not owner.application.is_gone
        }

    @property
    def freezes(self) -> Freezes:
        """What is decided for the whole installation."""
        return self._freezes

    @property
    def leads(self) -> bool:
        """Whether this controller does what one of all has to do: the owner of the first shard."""
        return self._ownership.tenure_of(ApplicationName("")) is not None

    def all_applications(self) -> tuple[Application, ...]:
        """Also those of which only their history is left."""
        return tuple(self._saved().values())

    def saved(self, name: ApplicationName) -> Application | None:
        """What is decided of it, also when it was never released."""
        owner = self._owners.get(name)
        return owner.application if owner is not None else None

    def observed(self, application: ApplicationName) -> Seen:
        """What each region reported last of this application, where it counts."""
        return self.fence.observed(application)

    def because(self, application: ApplicationName) -> tuple[Because, ...]:
        """What the application waits for."""
        owner = self._owners.get(application)
        if owner is None:
            return ()
        ahead = self.fence.because(owner.application)
        because = owner.because if self.decides_for(application) else self._foreseen(owner)
        return (*ahead, *(each for each in because if each not in ahead))

    def _foreseen(self, owner: Owner) -> tuple[Because, ...]:
        """What the controller that decides for it waits for: the same facts lead to the same decision."""
        application = owner.application
        observed, constraints = self.observed(application.name), self.constraints(application)
        return step(application, observed, self.clock(), Tenure(0, 0), constraints).because

    async def before_greeting(self) -> None:
        """To be awaited before `greet`: a region must not be judged by what is known no more. Raises
        StoreError."""
        await self.catch_up()

    def greet(self, hello: Hello, *, is_elsewhere: bool = False) -> None:
        """Judges the region before anything is sent to it; the controller that its agent is connected to
        tells of it."""
        before = self.fence.ahead.get(hello.region)
        events = self.fence.greet(hello, self._saved())
        for event in () if is_elsewhere else events:
            self.note(event)
        if self.fence.ahead.get(hello.region) != before:  # a queue waits wherever a region is ahead
            self._wake_all()

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        """What was offered to this region before. Owners that have something else for it look again."""
        offered: list[DesiredState] = []
        if region in self.fence.ahead:
            return offered
        for owner in self._owners_in(region):
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
        if region in self.fence.ahead:
            return None
        found = (each.application for each in self._owners_in(region))
        return tuple(each.name for each in found if each.has(region))

    def _owners_in(self, region: RegionName) -> list[Owner]:
        """Of the applications that have the region, or wait for it; by name."""
        names = sorted(self._presence.of(region))
        return [self._owners[name] for name in names if name in self._owners]

    @property
    def version(self) -> int:
        """Grows with every change of anything visible."""
        return self.visible.version

    async def changed(self, after: int) -> int:
        """Waits until `version` is above `after`; returns it."""
        return await self.visible.wait(after)

    def follow(self, after: int, application: str = "") -> AsyncIterator[Event]:
        """Stored events after that sequence number, then new ones as they are saved; never ends."""
        return self.event_log.follow(after, application)

    # ---------------------------------------------------------------------------------- what happens

    def region_changed(self, region: RegionName, applications: set[ApplicationName]) -> None:
        """Something was reported, or the region came or went: the owners concerned look again."""
        for name in sorted(applications or self._presence.of(region)):
            if name in self._owners:
                self._owners[name].hear(region)
        self.visible.bump()

    def decisions(self) -> Mapping[ApplicationName, int]:
        """How many were taken here of each application, but for those on commands."""
        return {name: owner.decisions for name, owner in self._owners.items()}

    def _wake_all(self) -> None:
        for owner in self._owners.values():
            owner.wake()

    def notices(self, region: RegionName, notices: Sequence[Notice]) -> None:
        """Takes what a region tells for the event log; beyond the bound the newest are dropped."""
        self.event_log.note_notices(region, notices)

    def note(self, event: Event) -> None:
        """Adds an event that no decision caused."""
        self.event_log.note(event)
