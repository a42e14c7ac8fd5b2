"""Tells targets of what happens: each goes through the event log at its own pace; the store knows how far.

One controller tells a target at a time, and saves how far it is only where no other one has gone on; what is
sent twice has the same id. Nothing waits for a target: a release never does.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Conflict, Record, Store, StoreError, Transaction
from repave_controller.notices.ports import Notice, NotTaken, Target
from repave_controller.notices.progress import (
    KIND,
    Dead,
    Failure,
    Progress,
    delivered,
    failed,
    passed,
    progress_of,
    replayed,
    text_of,
)
from repave_controller.runtime.broadcast import Broadcast

log = structlog.get_logger()

OWN = "notices."
"""Kinds of events that tell of notices: no target is told of them."""
PAGE = 200
LOOK_SECONDS = 5.0
"""So often a target is looked at though nothing happens: another controller may have left."""
STORE_WAIT_SECONDS = 1.0
UNSAVED_MAX = 500
"""So many events that a target does not want are passed over before that is saved."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target is. `waiting`: events of the log that it is behind. Until it `has_begun` it is told of
    nothing."""

    target: Target
    progress: Progress
    waiting: int
    has_begun: bool


class Outbox:
    """One for a controller. `is_mine`: whether it tells the target now. `chance`: from 0 to 1."""

    def __init__(
        self,
        store: Store,
        targets: Sequence[Target],
        installation: str,
        clock: Callable[[], float],
        events: Broadcast,
        is_mine: Callable[[str], bool],
        tell: Callable[[Sequence[Event]], None],
        chance: Callable[[], float],
    ) -> None:
        """`events` is bumped when the log has new ones; `tell` gets those that were saved here."""
        self._store, self._installation, self._clock = store, installation, clock
        self.targets = {each.name: each for each in targets}
        self._events, self._is_mine, self._tell_saved, self._chance = events, is_mine, tell, chance
        self._again = Broadcast()
        self._turns = dict.fromkeys(self.targets, 0)  # grows with each replay
        self._passed: dict[str, tuple[Progress, int]] = {}  # saved, and up to where none is wanted

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for target in self.targets.values():
                tasks.create_task(self._tell(target), name=f"notices {target.name}")

    async def standings(self) -> list[Standing]:
        """Of all targets, by name. Raises StoreError."""
        newest = await self._newest()
        found = []
        for name in sorted(self.targets):
            progress = await self._load(name)
            known = progress if progress is not None else Progress(newest)
            waiting = max(0, newest - known.cursor)
            found.append(Standing(self.targets[name], known, waiting, progress is not None))
        return found

    async def replay(self, name: str, first: int, by: str) -> Progress:
        """Sends all from event `first` on again. Raises Refused, StoreError."""
        if name not in self.targets:
            raise self.unknown(name, self.targets)
        self._turns[name] += 1
        while True:
            known = await self._load(name)
            after = replayed(known if known is not None else Progress(0), first)
            text = f"{name} is told again of everything from event {first} on, asked by {by or 'an operator'}"
            told = Event(f"{OWN}replayed", text, by=by, at=Instant(self._clock()))
            try:
                await self._save(name, known, after, self._turns[name], told)
            except Conflict:
                continue
            self._again.bump()
            return after

    async def test(self, name: str) -> str:
        """Sends a notice of nothing at once; returns why it was not taken, "" if it was. Raises Refused."""
        if name not in self.targets:
            raise self.unknown(name, self.targets)
        now = self._clock()
        event = Event(f"{OWN}test", "this is a test: nothing has happened", at=Instant(now))
        notice = Notice(f"{self._installation}-test-{int(now * 1000)}", self._installation, event)
        failure = await self._sent(self.targets[name], notice)
        return failure.text if failure is not None else ""

    @property
    def named(self) -> tuple[str, ...]:
        """The targets that a spec may name."""
        return tuple(sorted(each.name for each in self.targets.values() if each.may_be_named))

    @staticmethod
    def unknown(name: str, known: Iterable[str]) -> Refused:
        return Refused(Refusal.UNKNOWN_NOTICE_TARGET, name=name, known=tuple(sorted(known)))

    # ------------------------------------------------------------------------------------ one target

    async def _tell(self, target: Target) -> None:
        while True:
            seen, again = self._events.version, self._again.version
            try:
                seconds = await self._look(target) if self._is_mine(target.name) else LOOK_SECONDS
            except Conflict:
                seconds = 0.0  # another controller tells it, or it is to be told again: read anew
            except StoreError as error:
                log.warning("notices.store_away", target=target.name, why=str(error))
                seconds = STORE_WAIT_SECONDS
            await self._wait(seconds, seen, again)

    async def _wait(self, seconds: float, seen: int, again: int) -> None:
        """For something new, but no longer; while a try has failed, only for its time or a replay."""
        waits = [asyncio.ensure_future(self._again.wait(again))]
        if seconds == LOOK_SECONDS:
            waits.append(asyncio.ensure_future(self._events.wait(seen)))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _look(self, target: Target) -> float:
        """Sends what waits. Returns after how many seconds to look again. Raises StoreError."""
        turn = self._turns[target.name]
        known = await self._load(target.name)
        if known is None:  # new: it is told of what happens from now on
            known = Progress(await self._newest())
            await self._save(target.name, None, known, turn)
        if known.retry_at > self._clock():
            return known.retry_at - self._clock()
        saved, cursor = self._passed.pop(target.name, (known, 0))
        progress = passed(known, cursor) if saved == known else known
        while page := await self._store.events(after=progress.cursor, limit=PAGE):
            for event in page:
                if event.kind.startswith(OWN) or not target.wants(event):
                    progress = passed(progress, event.sequence)
                    continue
                progress, *told = await self._send(target, progress, event)
                await self._save(target.name, known, progress, turn, *told)
                known = progress
                if progress.retry_at > self._clock():
                    return progress.retry_at - self._clock()
                if not self._is_mine(target.name):
                    return LOOK_SECONDS
        if progress.cursor - known.cursor >= UNSAVED_MAX:
            await self._save(target.name, known, progress, turn)
        elif turn == self._turns[target.name]:
            self._passed[target.name] = known, progress.cursor
        return LOOK_SECONDS

    async def _send(
        self, target: Target, progress: Progress, event: Event
    ) -> tuple[Progress] | tuple[Progress, Event]:
        """How far it is then, and what is to be told of it."""
        notice = Notice(f"{self._installation}-{event.sequence}", self._installation, event)
        failure = await self._sent(target, notice)
        if failure is None:
            return (delivered(progress, event.sequence, self._clock()),)
        after, dead = failed(progress, event.sequence, event.kind, failure, self._clock(), self._chance())
        log.warning("notices.not_taken", target=target.name, sequence=event.sequence, why=failure.text)
        return (after,) if dead is None else (after, self._death(target, dead, event))

    async def _sent(self, target: Target, notice: Notice) -> Failure | None:
        """None: it was taken."""
        try:
            await target.send(notice, self._clock())
        except NotTaken as error:
            return error.failure
        except Exception as error:  # a target of another kind, with a mistake of ours
            log.error("notices.target_broken", target=target.name, exc_info=error)
            return Failure(f"{type(error).__name__}: see the controller's log")
        return None

    def _death(self, target: Target, dead: Dead, event: Event) -> Event:
        text = (
            f"{target.name} was not told of {dead.kind} (event {dead.sequence}), tried {dead.tries} times: "
            f"{dead.error}; once it is well: repave notify replay {target.name} --from {dead.sequence}"
        )
        return Event(f"{OWN}dead", text, event.application, at=Instant(self._clock()))

    # ------------------------------------------------------------------------------------- the store

    async def _newest(self) -> int:
        newest = await self._store.events(limit=1, newest=True)
        return newest[-1].sequence if newest else 0

    async def _load(self, name: str) -> Progress | None:
        for each in await self._store.records(KIND):
            if each.name == name and each.state is not None:
                try:
                    return progress_of(each.state)
                except ValueError as error:
                    raise StoreError(f"how far {name} was told can't be read: {error}") from error
        return None

    async def _save(
        self, name: str, known: Progress | None, progress: Progress, turn: int, *told: Event
    ) -> None:
        """With what is told of it. Raises Conflict: it is not as it was known, here or at another
        controller."""
        if turn != self._turns[name]:
            raise Conflict(f"{name} is to be told again")
        before = Record(KIND, name, text_of(known) if known is not None else None)
        record = Record(KIND, name, text_of(progress))
        saved = await self._store.commit(Transaction(records=(record,), expected=(before,), events=told))
        self._tell_saved(saved)
