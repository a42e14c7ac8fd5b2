"""What is known of stored packages beside their bytes, by digest: the signature that was found right."""

import json
from dataclasses import dataclass, replace
from typing import Any

from repave_controller.core.ports import Record, Store, Transaction
from repave_protos.protocol.values import Digest

KIND = "package"


@dataclass(frozen=True, slots=True)
class Known:
    """Of one package."""

    signature: str = ""


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
    return {"signature": known.signature}


def _known(state: str) -> Known:
    """Of what this version knows."""
    raw = json.loads(state)
    return Known(signature=str(raw.get("signature", "")))
