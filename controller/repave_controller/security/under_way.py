"""Log-ins that are under way, in the store: any controller goes on with what another one began.

Each is sealed with its handle, which only the one who began it has: the store, and a backup of it, tell
nothing of what the issuer was asked with.
"""

import hashlib
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import TypeAdapter

from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Conflict, Record, Store, Transaction
from repave_controller.security.provider import Device
from repave_controller.security.tokens import hash_of

KIND: Final = "login"
UNDER_WAY_MAX = 1000
HANDLE_BYTES = 32
NONCE_BYTES = 12
PURPOSE = b"repave log-in under way\0"


class TooManyLogins(Exception):
    """The bound of log-ins under way is reached."""


@dataclass(frozen=True, slots=True)
class InBrowser:
    """What is to come back with the browser."""

    expires_at: Instant
    method: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect: str
    kind: Literal["browser"] = "browser"


@dataclass(frozen=True, slots=True)
class OnDevice:
    """What the issuer is asked with. `interval_seconds`: no more often than so."""

    expires_at: Instant
    device: Device
    interval_seconds: float
    kind: Literal["device"] = "device"


@dataclass(frozen=True, slots=True)
class _Kept:
    """As the store has it."""

    expires_at: Instant
    sealed: str = field(repr=False)


Flow = InBrowser | OnDevice
_FLOW: TypeAdapter[Flow] = TypeAdapter(Flow)
_KEPT = TypeAdapter(_Kept)


class UnderWay:
    """One for a controller; of all controllers that share its store."""

    def __init__(self, store: Store, clock: Callable[[], Instant], most: int = UNDER_WAY_MAX) -> None:
        self._store, self._clock, self._most = store, clock, most
        self._known: dict[str, str] = {}  # by the hash of its handle

    async def load(self) -> None:
        """Before the first log-in. Raises StoreError."""
        self.take(await self._store.records(KIND))

    def take(self, records: Sequence[Record]) -> None:
        """They are so in the store."""
        for each in records:
            if each.state is None:
                self._known.pop(each.name, None)
            else:
                self._known[each.name] = each.state

    def check_room(self) -> None:
        """Raises TooManyLogins."""
        if len(self._known) - len(self._expired()) >= self._most:
            raise TooManyLogins(f"{self._most} log-ins are under way; try again in some minutes")

    async def begin(self, flow: Flow) -> str:
        """Returns its handle. Raises StoreError."""
        handle = secrets.token_urlsafe(HANDLE_BYTES)
        gone = (Record(KIND, name, None) for name in self._expired())
        await self._save(Record(KIND, hash_of(handle), _sealed(flow, handle)), *gone)
        return handle

    def find(self, handle: str) -> Flow | None:
        """Until it has expired."""
        text = self._known.get(hash_of(handle))
        flow = _opened(text, handle) if text is not None else None
        return flow if flow is not None and self._clock() < flow.expires_at else None

    async def change(self, handle: str, flow: Flow) -> bool:
        """Whether it was under way until now. Raises StoreError."""
        return await self._replace(handle, _sealed(flow, handle))

    async def end(self, handle: str) -> bool:
        """The same: of two that end it, one does. Raises StoreError."""
        return await self._replace(handle, None)

    async def _replace(self, handle: str, text: str | None) -> bool:
        name = hash_of(handle)
        if (known := self._known.get(name)) is None:
            return False
        try:
            await self._save(Record(KIND, name, text), expected=(Record(KIND, name, known),))
        except Conflict:
            return False
        return True

    async def _save(self, *records: Record, expected: tuple[Record, ...] = ()) -> None:
        await self._store.commit(Transaction(records=records, expected=expected))
        self.take(records)

    def _expired(self) -> list[str]:
        now = self._clock()
        return [name for name, text in self._known.items() if _expires_at(text) <= now]


def _sealed(flow: Flow, handle: str) -> str:
    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(_key(handle)).encrypt(nonce, _FLOW.dump_json(flow), None)
    return _KEPT.dump_json(_Kept(flow.expires_at, b64encode(nonce + sealed).decode())).decode()


def _opened(text: str, handle: str) -> Flow | None:
    """None of one that was damaged, or written by another version."""
    try:
        sealed = b64decode(_KEPT.validate_json(text).sealed)
        plain = AESGCM(_key(handle)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        return _FLOW.validate_json(plain)
    except (InvalidTag, ValueError):
        return None


def _expires_at(text: str) -> Instant:
    """At once, of one that can't be read."""
    try:
        return _KEPT.validate_json(text).expires_at
    except ValueError:
        return Instant(0)


def _key(handle: str) -> bytes:
    return hashlib.sha256(PURPOSE + handle.encode()).digest()
