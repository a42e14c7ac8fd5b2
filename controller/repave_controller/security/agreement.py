"""Holds the controllers that share a store to one certificate authority: an agent trusts one, and may be
connected to any of them."""

import json
from collections.abc import Collection, Mapping

from repave_controller.core.ports import Record, Store, Transaction
from repave_controller.security.authority import Authority, AuthorityError

KIND = "authority"
"""Of records: by controller, the pins of the authorities that it trusts; none, it does no TLS."""


async def agree(store: Store, name: str, authority: Authority | None, others: Collection[str]) -> None:
    """Writes down what this controller trusts. `others`: the controllers that are there. Raises
    AuthorityError where one of them and this one have no authority in common; StoreError."""
    mine = list(authority.pins) if authority is not None else []
    known = {each.name: _pins(each) for each in await store.records(KIND)}
    for other in sorted(others):
        if other != name and other in known:
            _compare(mine, other, known[other])
    if known.get(name) != mine:
        await store.commit(Transaction(records=(Record(KIND, name, json.dumps({"pins": mine})),)))


def _compare(mine: Collection[str], other: str, theirs: Collection[str]) -> None:
    if bool(mine) != bool(theirs):
        does, does_not = ("this controller", other) if mine else (other, "this controller")
        raise AuthorityError(
            f"tls.enabled: {does} does TLS and {does_not} does not, and they share one store: an agent could "
            "use only one of them. Set it alike for all"
        )
    if mine and not set(mine) & set(theirs):
        raise AuthorityError(
            f"tls.ca: the certificate authority of this controller ({_short(mine)}) is another one than that "
            f"of {other} ({_short(theirs)}), and they share one store: an agent trusts only one of them. "
            "Give all the same tls.ca and tls.ca_key"
        )


def _pins(record: Record) -> list[str]:
    loaded: Mapping[str, list[str]] = json.loads(record.state or "{}")
    return list(loaded.get("pins", ()))


def _short(pins: Collection[str]) -> str:
    return ", ".join(each[:19] for each in pins)
