"""The webhooks that came, in the store: each once, however often it comes and to whichever controller."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pydantic import TypeAdapter

from repave_controller.core.domain.application import Event
from repave_controller.core.ports import Conflict, Record, Store, StoreError, Transaction
from repave_controller.hooks.payloads import Built
from repave_controller.security.kept import Kept

KIND: Final = "hook-delivery"
KEPT_MAX: Final = 1000
"""Of one hook."""
KEPT_SECONDS: Final = 90 * 86_400.0
OPEN: Final = ("received", "waiting")
"""States in which something is to be done."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One. `id` is unique within its hook. `state`: received, waiting (for another try), ignored, registered,
    planned, released or failed."""

    hook: str
    id: str
    received_at: float
    sender_id: str = ""
    event: str = ""
    state: str = "received"
    text: str = ""
    version: str = ""
    digest: str = ""
    branch: str = ""
    commit: str = ""
    rollout: int = 0
    tries: int = 0
    retry_at: float = 0.0
    asked: int = 0  # how often a person has asked for it again
    ended_at: float = 0.0
    by: str = ""  # who asked for it again

    @property
    def name(self) -> str:
        return f"{self.hook}/{self.id}"


_DELIVERY = TypeAdapter(Delivery)


def received(hook: str, id: str, sender_id: str, built: Built, now: float) -> Delivery:
    return Delivery(
        hook, id, now, sender_id, built.event, branch=built.tag or built.branch, commit=built.commit
    )


class Deliveries:
    """One for a controller. `heard` is called when there may be something to do; `tell` gets events that were
    saved."""

    def __init__(
        self, store: Store, heard: Callable[[], None], tell: Callable[[Sequence[Event]], None]
    ) -> None:
        self._store, self._heard, self._tell = store, heard, tell
        self._known: dict[str, Delivery] | None = None
        self._kept = Kept(store, [KIND], self._apply)

    async def all(self) -> Sequence[Delivery]:
        """Newest first. Raises StoreError."""
        return sorted((await self._all()).values(), key=lambda each: (-each.received_at, each.name))

    async def find(self, hook: str, id: str) -> Delivery | None:
        return (await self._all()).get(f"{hook}/{id}")

    async def remembered_since(self, hook: str, now: float) -> float:
        """All that came for the hook since then is known. Raises StoreError."""
        of_hook = [each.received_at for each in (await self._all()).values() if each.hook == hook]
        since = now - KEPT_SECONDS
        return max(since, min(of_hook)) if len(of_hook) >= KEPT_MAX else since

    async def add(self, delivery: Delivery, *events: Event) -> bool:
        """False: it is there already. Raises StoreError."""

        async def attempt() -> bool:
            known = await self._all()
            if delivery.name in known:
                return False
            await self._save([_record(delivery), *self._too_old(delivery)], *events)
            return True

        return await self._kept.retried(attempt)

    async def change(
        self, delivery: Delivery, change: Callable[[Delivery], Delivery], *events: Event
    ) -> Delivery | None:
        """As it is after it, saved with what is told of it; None: it is gone, or was changed meanwhile.
        Raises StoreError."""
        known = (await self._all()).get(delivery.name)
        if known != delivery:
            return None
        changed = change(known)
        try:
            await self._save([_record(changed)], *events)
        except Conflict:
            await self._kept.load()
            return None
        return changed

    def take(self, records: Sequence[Record]) -> None:
        """What another controller has saved."""
        if self._known is not None:
            self._kept.put(records)
            self._apply(records)

    def _apply(self, records: Iterable[Record]) -> None:
        known = self._known if self._known is not None else {}
        for each in records:
            if each.state is None:
                known.pop(each.name, None)
            else:
                known[each.name] = _delivery(each)
        self._known = known
        self._heard()

    def _too_old(self, newest: Delivery) -> list[Record]:
        """What is no longer kept once it is added."""
        assert self._known is not None, "it was read"
        of_hook = sorted(
            (each for each in self._known.values() if each.hook == newest.hook and each.state not in OPEN),
            key=lambda each: each.received_at,
        )
        too_many = of_hook[: max(0, len(of_hook) + 1 - KEPT_MAX)]
        old = [each for each in of_hook if each.received_at < newest.received_at - KEPT_SECONDS]
        return [Record(KIND, name, None) for name in {each.name for each in (*too_many, *old)}]

    async def _save(self, records: Sequence[Record], *events: Event) -> None:
        expected = self._kept.expected(*records)
        told = await self._store.commit(Transaction(records=tuple(records), expected=expected, events=events))
        self._tell(told)
        self._apply(self._kept.saved(records, expected))

    async def _all(self) -> dict[str, Delivery]:
        if self._known is None:
            await self._kept.load()
        assert self._known is not None, "it was applied"
        return self._known


def again(delivery: Delivery, by: str) -> Delivery:
    """To be done anew, as a person asks."""
    return replace(
        delivery,
        state="received",
        text="",
        rollout=0,
        tries=0,
        retry_at=0.0,
        ended_at=0.0,
        asked=delivery.asked + 1,
        by=by,
    )


def _record(delivery: Delivery) -> Record:
    return Record(KIND, delivery.name, _DELIVERY.dump_json(delivery).decode())


def _delivery(record: Record) -> Delivery:
    """Fields of a newer version are left out. Raises StoreError."""
    try:
        return _DELIVERY.validate_json(record.state or "")
    except ValueError as error:
        raise StoreError(f"the store holds a webhook {record.name} that can't be read: {error}") from error
