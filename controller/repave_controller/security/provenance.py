"""What is known of stored packages beside their bytes, by digest: the signature that was found right, and who
has brought the package here, for they may have it."""

import json
from dataclasses import dataclass, replace
from typing import Any

from repave_controller.core.ports import Record, Store, Transaction
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

    async def of(self, digest: Digest) -> Known:
        return (await self._all()).get(digest, Known())

    async def keep_signature(self, digest: Digest, signature: str) -> None:
        """Raises StoreError."""
        known = await self.of(digest)
        if known.signature != signature:
            await self._save(digest, replace(known, signature=signature))

    async def offer_signature(self, digest: Digest, signature: str) -> None:
        """For a release, which looks at it. Raises StoreError."""
        known = await self.of(digest)
        if signature not in ("", known.signature, known.offered):
            await self._save(digest, replace(known, offered=signature))

    async def add_holder(self, digest: Digest, name: str) -> None:
        """One who had all of it. Raises StoreError."""
        known = await self.of(digest)
        if name and name not in known.holders:
            holders = (*known.holders, name)[-HOLDERS_MAX:]
            await self._save(digest, replace(known, holders=holders))

    async def forget(self, digest: Digest) -> None:
        """The package is no longer kept. Raises StoreError."""
        if (await self._all()).pop(digest, None) is not None:
            await self._store.commit(Transaction(records=(Record(KIND, digest, None),)))

    async def _save(self, digest: Digest, known: Known) -> None:
        record = Record(KIND, digest, json.dumps(_raw(known)))
        await self._store.commit(Transaction(records=(record,)))
        (await self._all())[digest] = known

    async def _all(self) -> dict[Digest, Known]:
        if self._known is None:
            found = await self._store.records(KIND)
            self._known = {Digest(each.name): _known(each.state) for each in found if each.state is not None}
        return self._known


def _raw(known: Known) -> dict[str, Any]:
    return {"signature": known.signature, "offered": known.offered, "holders": known.holders}


def _known(state: str) -> Known:
    """Of what this version knows."""
    raw = json.loads(state)
    holders = tuple(map(str, raw.get("holders", ())))
    return Known(str(raw.get("signature", "")), str(raw.get("offered", "")), holders)
