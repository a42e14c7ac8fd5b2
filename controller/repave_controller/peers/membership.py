"""Keeps this controller among those that share the store: its lease, and the shards that it decides for.

The lease is renewed by the event loop that decides: a loop that hangs loses it. By its own clock the lease
ends before it ends in the store, for it is counted from before the renewal was sent; from then on this
controller decides nothing. That is only courtesy: what makes two owners impossible is the term, which the
store compares at each commit.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import structlog

from repave_controller.core.domain.application import Tenure
from repave_controller.core.ports import StoreError
from repave_controller.peers import shards
from repave_controller.peers.ports import (
    BEAT_SECONDS,
    LEASE_SECONDS,
    ControllerId,
    Member,
    Roll,
    Shard,
    Standing,
    shard_of,
)
from repave_protos.protocol.values import ApplicationName

BEAT_TIMEOUT_SECONDS = 1.0
"""A beat that takes longer is given up: the next one gets a new connection."""
JOIN_SECONDS = 5.0
"""PostgreSQL needs three to notice that a machine is gone."""
AGAIN_SECONDS = 0.02
"""So soon it beats again when free shards were not to be had: a commit of their owner is just ending. Twice
as long each further time, until that is no sooner than the next beat."""
FELL_SHORT_MAX = 8
RETURN_SECONDS = 0.5
"""So long after the store was away each controller leaves to the others what they had."""

log = structlog.get_logger()


class Listener(Protocol):
    """Hears which shards this controller decides for."""

    async def gained(self, terms: Mapping[Shard, int]) -> None:
        """It decides for these from now on; others may have until now, so it reads first what they decided.
        Raises StoreError where it can't: then the shards are taken anew, later."""

    async def lost(self, shards: Collection[Shard]) -> None:
        """It decides for these no more. Returns when nothing of them is being saved any more."""

    def standing(self, standing: Standing) -> None:
        """How all stand, each time it was heard."""


class Membership:
    """Implements peers.ports.Ownership. `now` must go on while the process is stopped."""

    def __init__(self, roll: Roll, member: Member, listener: Listener, now: Callable[[], float]) -> None:
        self.member = member
        self.trouble = ""  # why the store could not be reached, as long as it can't
        self.take_overs = 0  # shards taken
        self.lapses = 0  # times that the lease ended while the process went on
        self.latest_beat_seconds = 0.0  # of all beats, how late one was at most
        self.standing: Standing | None = None
        self._roll = roll
        self._listener = listener
        self._now = now
        self._held: dict[Shard, int] = {}
        self._forgotten: set[Shard] = set()  # no more held; the listener has not heard of it
        self._incarnation = 0
        self._ends_at = -1.0  # the lease, by `now`
        self._returned_at = -RETURN_SECONDS
        self._owners: Mapping[Shard, ControllerId] = {}
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()  # to beat again
        self._fell_short = 0  # times in a row that free shards were not to be had
        self._view: Standing | None = None  # the newest standing, until it was acted upon
        self._moves = 0  # taken and handed over so far
        self._turn = asyncio.Lock()
        self._beating = asyncio.Lock()
        self._is_stopping = False
        self._has_left = False

    # ------------------------------------------------------------------------------------- what is known

    def tenure_of(self, application: ApplicationName) -> Tenure | None:
        if self._is_stopping or not self.has_lease:
            return None
        term = self._held.get(shard_of(application))
        return None if term is None else Tenure(self._incarnation, term)

    def owner_of(self, application: ApplicationName) -> ControllerId | None:
        return self._owners.get(shard_of(application))

    def begin(self, incarnation: int) -> None:
        self._incarnation = incarnation
        self._moves += 1  # a beat that is under way may show the former one
        self._view = None

    @property
    def has_lease(self) -> bool:
        return self._now() < self._ends_at

    @property
    def lease_left_seconds(self) -> float:
        return max(0.0, self._ends_at - self._now())

    @property
    def lapsed_seconds(self) -> float:
        """For how long it has had no lease; 0.0 while it has one."""
        return max(0.0, self._now() - self._ends_at)

    @property
    def held(self) -> Mapping[Shard, int]:
        """The shards that it decides for while it has the lease, with their terms."""
        return self._held

    # --------------------------------------------------------------------------------------------- life

    async def join(self) -> Standing:
        """The first beat. Another process of this name that is gone is waited for until the store knows.
        Raises StoreError."""
        tries = round(JOIN_SECONDS / BEAT_SECONDS)
        for left in range(tries, -1, -1):
            await self._beat()
            if self.standing is not None:
                return self.standing
            if left:
                await asyncio.sleep(BEAT_SECONDS)
        raise StoreError(self.trouble)

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beats())
            group.create_task(self._follow())

    async def stop(self) -> None:
        """Decides nothing from now on; what is being saved is saved, then others may take the shards. May be
        called twice."""
        self._is_stopping = True
        async with self._turn:
            self._forget(tuple(self._held))
            await self._tell_lost()
        async with self._beating:
            if self._has_left:
                return
            self._has_left = True
            self._news.set()
            with contextlib.suppress(StoreError, TimeoutError):  # then others wait for the end of the lease
                async with asyncio.timeout(BEAT_TIMEOUT_SECONDS):
                    await self._roll.leave(self.member)

    # ------------------------------------------------------------------------------------------ the lease

    async def _beats(self) -> None:
        due = self._now()
        while not self._has_left:
            self.latest_beat_seconds = max(self.latest_beat_seconds, self._now() - due)
            await self._beat()
            due = max(due + BEAT_SECONDS, self._now())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due - self._now()):
                    await self._hurry.wait()
                pause = AGAIN_SECONDS * 2 ** (self._fell_short - 1)
                due = min(due, self._now() + pause)
                await asyncio.sleep(max(0.0, due - self._now()))
            self._hurry.clear()

    async def _beat(self) -> None:
        async with self._beating:
            if self._has_left:
                return
            sent, moves = self._now(), self._moves
            try:
                async with asyncio.timeout(BEAT_TIMEOUT_SECONDS):
                    standing = await self._roll.beat(self.member)
            except (StoreError, TimeoutError) as error:
                self._failed(str(error) or f"no answer in {BEAT_TIMEOUT_SECONDS:g} s")
                return
        self._renewed(standing, sent, moves)

    def _failed(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning(
                "lease.not_renewed", error=trouble, lease_left_seconds=round(self.lease_left_seconds, 3)
            )
        self.trouble = trouble
        self._news.set()

    def _renewed(self, standing: Standing, sent: float, moves: int) -> None:
        if self.trouble:
            log.info("lease.renewed_again")
        self.trouble = ""
        if self._ends_at >= 0 and not self.has_lease:
            self._returned_at = self._now()
            self.lapses += 1
            self._forget(tuple(self._held))
        self._ends_at = sent + LEASE_SECONDS
        if moves != self._moves:
            return  # it shows how all stood before this controller's last move
        self.standing = self._view = standing
        self._owners = shards.owners(standing)
        self._listener.standing(standing)
        self._news.set()

    # ----------------------------------------------------------------------------------------- the shards

    async def _follow(self) -> None:
        while not self._has_left:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.lease_left_seconds if self._held else None):
                    await self._news.wait()
            self._news.clear()
            async with self._turn:
                await self._step()

    async def _step(self) -> None:
        if not self.has_lease:
            self._forget(tuple(self._held))
        standing, self._view = self._view, None
        if standing is not None and standing.incarnation != self._incarnation:
            self._forget(tuple(self._held))
            self._incarnation = standing.incarnation
        if standing is not None:
            self._forget(shards.lost(standing, self.member, self._held))
        await self._tell_lost()
        if standing is None or self._is_stopping or not self.has_lease:
            return
        is_returning = self._now() - self._returned_at < RETURN_SECONDS
        await self._make(shards.moves(standing, self.member, self._held, is_returning=is_returning))

    async def _make(self, chosen: shards.Moves) -> None:
        if chosen == shards.Moves():
            self._fell_short = 0
            return
        self._forget(chosen.hand_over)
        await self._tell_lost()
        terms: Mapping[Shard, int] = {}
        try:
            async with asyncio.timeout(BEAT_TIMEOUT_SECONDS):
                if chosen.hand_over:
                    await self._roll.hand_over(self.member, chosen.hand_over)
                if chosen.take:
                    terms = await self._roll.take(self.member, chosen.take)
        except (StoreError, TimeoutError) as error:  # what was taken all the same is taken anew, later
            log.warning("shards.not_moved", error=str(error) or "no answer")
        else:
            if set(chosen.take) <= set(terms):
                self._fell_short = 0
            else:
                self._fell_short = min(self._fell_short + 1, FELL_SHORT_MAX)
                self._hurry.set()
        finally:
            self._moves += 1
            self._view = None  # it shows what was before
        if terms:
            await self._gain(terms)

    async def _gain(self, terms: Mapping[Shard, int]) -> None:
        self._held.update(terms)
        self.take_overs += len(terms)
        log.info("shards.gained", shards=sorted(terms))
        try:
            await self._listener.gained(terms)
        except StoreError as error:
            log.warning("shards.not_read", error=str(error), shards=sorted(terms))
            for each in terms:
                self._held.pop(each, None)

    def _forget(self, gone: Collection[Shard]) -> None:
        """From this instant on it decides for them no more."""
        for each in gone:
            if self._held.pop(each, None) is not None:
                self._forgotten.add(each)

    async def _tell_lost(self) -> None:
        if not self._forgotten:
            return
        gone, self._forgotten = tuple(sorted(self._forgotten)), set()
        log.info("shards.lost", shards=gone)
        await self._listener.lost(gone)
