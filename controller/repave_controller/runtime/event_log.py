"""Keeps the log of events: what was decided and what regions report, as it is on disk, for its followers."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence

import structlog

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import Store, StoreError, Transaction, Unsavable, Unsure
from repave_controller.runtime.broadcast import Broadcast
from repave_controller.runtime.gaps import gap_after
from repave_controller.wording.render import event_text
from repave_protos.protocol.values import Notice, RegionName

log = structlog.get_logger()

NOTICES_WAITING_MAX = 10_000
NOTICES_BATCH_MAX = 500
RETRY_SECONDS = 1.0
PAGE = 1000


class EventLog:
    """Events that a decision caused are saved with it and then published here; `note` saves the others."""

    def __init__(self, store: Store, clock: Callable[[], Instant], visible: Broadcast) -> None:
        """`visible` is bumped for everything published."""
        self._store = store
        self._clock = clock
        self._visible = visible
        self.news = Broadcast()
        """Bumped when the store has new events."""
        self._notices: asyncio.Queue[Event] = asyncio.Queue(NOTICES_WAITING_MAX)

    def note(self, event: Event) -> None:
        """Adds an event that no decision caused; beyond the bound the newest are dropped."""
        if self._notices.full():
            log.warning("notice.dropped", kind=event.kind, text=event_text(event))
            return
        self._notices.put_nowait(dataclasses.replace(event, at=self._clock()))

    @property
    def waiting(self) -> int:
        """Events that have yet to be saved."""
        return self._notices.qsize()

    def note_notices(self, region: RegionName, notices: Sequence[Notice]) -> None:
        """Adds what a region tells."""
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

    async def run(self) -> None:
        """Saves what is noted, until cancelled."""
        while True:
            batch = [await self._notices.get()]
            while len(batch) < NOTICES_BATCH_MAX and not self._notices.empty():
                batch.append(self._notices.get_nowait())
            await self._save(batch)

    async def _save(self, batch: Sequence[Event]) -> None:
        """Again and again while the store is away, but none twice."""
        is_away = False
        while True:
            try:
                saved = await self._store.commit(Transaction(events=tuple(batch)))
            except (Unsavable, Unsure) as error:
                if isinstance(error, Unsure) or len(batch) == 1:
                    log.error("notices.lost", count=len(batch), error=str(error))
                    return
                break
            except StoreError as error:
                if not is_away:
                    log.warning("notices.not_saved", count=len(batch), error=str(error))
                is_away = True
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.tell(saved)
                return
        for each in batch:  # the others can be
            await self._save([each])

    def tell(self, events: Sequence[Event]) -> None:
        """Events go to the log as they are on disk."""
        for event in events:
            log.info(
                event.kind,
                text=event_text(event),
                application=event.application,
                group=event.group,
                region=event.region,
                host=event.host,
                sequence=event.sequence,
            )
        if events:
            self.look_again()
        else:
            self._visible.bump()

    def look_again(self) -> None:
        """The store has events that followers have yet to see."""
        self.news.bump()
        self._visible.bump()

    async def follow(self, after: int, application: str = "") -> AsyncIterator[Event]:
        """Stored events after that sequence number, then new ones as they are saved; never ends. Where some
        are no longer kept, one event tells of the gap."""
        is_behind = True  # and so may lose what it has yet to read
        while True:
            seen = self.news.version
            if is_behind and (gap := await gap_after(self._store, after)) is not None:
                after = gap.sequence
                yield gap
            page = await self._store.events(after=after, application=application, limit=PAGE)
            for event in page:
                after = event.sequence
                yield event
            is_behind = len(page) == PAGE
            if self.news.version == seen:
                await self.news.wait(seen)
