"""What is known of stored packages beside their bytes, by digest: the signature that was found right, and who
has brought the package here, for they may have it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from repave_controller.core.ports import Record, Store, Transaction
from repave_controller.security.kept import Kept
from repave_protos.protocol.values import Digest

KIND = "package"
HOLDERS_MAX = 50


@dataclass(frozen=True, slots=True)
class Known:
    """Of one package."""

    signature: str = ""
    offered: str = ""  # one that was fetched with the package; not yet looked at
    holders: tuple[str, ...] = ()  # principals


class Provenance:
    """One for a controller; what it knows is in the store before it counts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[Digest, Known] | None = None
        self._kept = Kept(store, [KIND], self._apply)

    async def of(self, digest: Digest) -> Known:
        return (await self._all()).get(digest, Known())

    async def keep_signature(self, digest: Digest, signature: str) -> None:
        """Raises StoreError."""
        await self._change(digest, lambda known: replace(known, signature=signature))

    async def offer_signature(self, digest: Digest, signature: str) -> None:
        """For a release, which looks at it. Raises StoreError."""

        def offered(known: Known) -> Known:
            return known if signature in ("", known.signature) else replace(known, offered=signature)

        await self._change(digest, offered)

    async def add_holder(self, digest: Digest, name: str) -> None:
        """One who had all of it. Raises StoreError."""

        def held(known: Known) -> Known:
            if not name or name in known.holders:
                return known
            return replace(known, holders=(*known.holders, name)[-HOLDERS_MAX:])

        await self._change(digest, held)

    async def forget(self, digest: Digest) -> None:
        """The package is no longer kept. Raises StoreError."""
        if (await self._all()).pop(digest, None) is not None:
            record = Record(KIND, digest, None)
            await self._store.commit(Transaction(records=(record,)))
            self._kept.put([record])

    def take(self, records: Sequence[Record]) -> None:
        """What another controller has saved."""
        if self._known is not None:
            self._kept.put(records)
            self._apply(records)

    def _apply(self, records: Sequence[Record]) -> None:
        known = self._known if self._known is not None else {}
        for each in records:
            if each.state is None:
                known.pop(Digest(each.name), None)
            else:
                known[Digest(each.name)] = _known(each.state)
        self._known = known

    async def _change(self, digest: Digest, change: Callable[[Known], Known]) -> None:
        async def attempt() -> None:
            known = await self.of(digest)
            changed = change(known)
            if changed == known:
                return
            record = Record(KIND, digest, json.dumps(_raw(changed)))
            expected = self._kept.expected(record)
            await self._store.commit(Transaction(records=(record,), expected=expected))
            self._apply(self._kept.saved([record], expected))

        await self._kept.retried(attempt)

    async def _all(self) -> dict[Digest, Known]:
        if self._known is None:
            await self._kept.load()
        assert self._known is not None, "it was applied"
        return self._known


def _raw(known: Known) -> dict[str, Any]:
    return {"signature": known.signature, "offered": known.offered, "holders": known.holders}


def _known(state: str) -> Known:
    """Of what this version knows."""
    raw = json.loads(state)
    holders = tuple(map(str, raw.get("holders", ())))
    return Known(str(raw.get("signature", "")), str(raw.get("offered", "")), holders)
