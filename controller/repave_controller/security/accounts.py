"""The accounts of an installation: recognises who shows a token, and keeps tokens and roles."""

import asyncio
import dataclasses
import secrets
from collections.abc import Callable, Sequence

import structlog

from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Record, Store, StoreError, Transaction
from repave_controller.security.principals import (
    ADMIN_NAME,
    ANONYMOUS,
    Grant,
    Kind,
    Principal,
    Role,
)
from repave_controller.security.records import (
    TOKEN,
    TRUST,
    KnownAccounts,
    record_of_roles,
    record_of_token,
    record_of_trust,
)
from repave_controller.security.roles import Roles, grant
from repave_controller.security.tokens import (
    ID_BYTES,
    SECRET_BYTES,
    Token,
    hash_of,
    parts_of_token,
    text_of_token,
)
from repave_controller.security.trusts import TRUSTS_MAX, Trust

TOKENS_MAX = 10_000
FIRST_ADMIN_SECONDS = 90 * 86_400.0
KEPT_SECONDS = 30 * 86_400.0
"""A token that has ended is listed for so long."""
USED_SAVED_SECONDS = 600.0
"""When a token was used last is saved at most so often."""

log = structlog.get_logger()


class NotRecognised(Exception):
    """What was shown is no token that is valid now. The text is for who showed it."""


class Accounts:
    """One for a controller. Rights are asked for at each request, so that a change counts at once."""

    def __init__(
        self,
        store: Store,
        known: KnownAccounts,
        clock: Callable[[], Instant],
        chance: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        """`chance` gives that many random bytes, in hexadecimal."""
        self._store = store
        self._tokens = {each.id: each for each in known.tokens}
        self._roles = known.roles
        self._trusts = {each.id: each for each in known.trusts}
        self._clock = clock
        self._chance = chance
        self._lock = asyncio.Lock()
        self._saved_use: dict[str, Instant] = {}
        self._changed = asyncio.Event()

    # --------------------------------------------------------------------------------- recognising

    def recognise(self, shown: str) -> Principal:
        """Who shows this token. Raises NotRecognised."""
        parts = parts_of_token(shown)
        token = self._tokens.get(parts[0]) if parts is not None else None
        if parts is None or token is None or not token.is_opened_by(parts[1]):
            raise NotRecognised("this token is not known here")
        state = token.state(self._clock())
        if state != "active":
            raise NotRecognised(f"this token is {state}; ask an admin for another one")
        return self._principal(token)

    def again(self, principal: Principal) -> Principal:
        """The same with the rights that it has by now: none, once its token has ended."""
        if principal.kind is not Kind.TOKEN:
            return principal
        token = self._tokens.get(principal.credential)
        if token is None or token.state(self._clock()) != "active":
            return ANONYMOUS
        return self._principal(token)

    async def until(self, principal: Principal, is_allowed: Callable[[Principal], bool]) -> None:
        """Returns once the principal may not any more: revoked, expired, or without its role."""
        while True:
            changed = self._changed
            if not is_allowed(self.again(principal)):
                return
            token = self._tokens.get(principal.credential)
            left = None if token is None else max(0.0, token.expires_at - self._clock())
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                pass

    async def note_use(self, principal: Principal, address: str) -> None:
        """A token was used; that is only good to know, so a store that is full does not matter."""
        token, now = self._tokens.get(principal.credential), self._clock()
        if token is None:
            return
        used = dataclasses.replace(token, used_at=now, used_from=address)
        self._tokens[token.id] = used
        if now - self._saved_use.get(token.id, Instant(0.0)) < USED_SAVED_SECONDS:
            return
        self._saved_use[token.id] = now
        try:
            await self._store.commit(Transaction(records=(record_of_token(used),)))
        except StoreError as error:
            log.warning("token.use_not_saved", token=token.id, error=str(error))

    def _principal(self, token: Token) -> Principal:
        return Principal(
            Kind.TOKEN,
            token.name,
            grants=self._roles.grants_of(token.name),
            teams=self._roles.teams_of(token.name),
            scopes=token.scopes,
            credential=token.id,
        )

    # -------------------------------------------------------------------------------------- tokens

    @property
    def tokens(self) -> list[Token]:
        """Newest first."""
        return sorted(self._tokens.values(), key=lambda each: (-each.created_at, each.id))

    def token(self, identity: str) -> Token:
        """Raises Refused."""
        if identity not in self._tokens:
            raise Refused(Refusal.UNKNOWN_TOKEN, id=identity)
        return self._tokens[identity]

    async def create(
        self, name: str, seconds: float, by: str, note: str = "", scopes: tuple[Grant, ...] = ()
    ) -> tuple[Token, str]:
        """The token, and its text: the only time that it is known. Raises Refused, StoreError."""
        async with self._lock:
            if len(self._tokens) - len(self._ended_long_ago(self._clock())) >= TOKENS_MAX:
                raise Refused(Refusal.TOO_MANY, what="tokens", most=TOKENS_MAX)
            identity, secret, now = self._chance(ID_BYTES), self._chance(SECRET_BYTES), self._clock()
            token = Token(identity, name, hash_of(secret), now, Instant(now + seconds), by, note, scopes)
            await self._save(token, self._ended_long_ago(now))
        return token, text_of_token(identity, secret)

    def _ended_long_ago(self, now: Instant) -> list[str]:
        """What the audit log tells of is not kept for ever."""
        return [each.id for each in self._tokens.values() if now >= each.ended_at + KEPT_SECONDS]

    async def revoke(self, identity: str, by: str) -> Token:
        """Ends it at once, and the streams that it opened. Raises Refused, StoreError."""
        async with self._lock:
            token = self.token(identity)
            if token.revoked_at is not None:
                return token
            revoked = dataclasses.replace(token, revoked_at=self._clock(), revoked_by=by)
            self._check_admins(self._roles, {**self._tokens, identity: revoked})
            await self._save(revoked)
        return revoked

    async def _save(self, token: Token, gone: Sequence[str] = ()) -> None:
        forgotten = (Record(TOKEN, identity, None) for identity in gone)
        await self._store.commit(Transaction(records=(*forgotten, record_of_token(token))))
        for identity in gone:
            del self._tokens[identity]
        self._tokens[token.id] = token
        self._tell()

    # -------------------------------------------------------------------------------------- trusts

    @property
    def trusts(self) -> list[Trust]:
        """The first one made comes first."""
        return sorted(self._trusts.values(), key=lambda each: (each.created_at, each.id))

    async def trust(
        self,
        name: str,
        issuer: str,
        claims: tuple[tuple[str, str], ...],
        audience: str,
        seconds: float,
        by: str,
    ) -> Trust:
        """From now on such jobs may log in. Raises Refused, StoreError."""
        async with self._lock:
            if len(self._trusts) >= TRUSTS_MAX:
                raise Refused(Refusal.TOO_MANY, what="trusts", most=TRUSTS_MAX)
            now, identity = self._clock(), self._chance(ID_BYTES)
            made = Trust(identity, name, issuer, claims, audience, seconds, by, now)
            await self._store.commit(Transaction(records=(record_of_trust(made),)))
            self._trusts[identity] = made
        return made

    async def distrust(self, identity: str) -> Trust:
        """What its jobs were given already stays valid to its end. Raises Refused, StoreError."""
        async with self._lock:
            if identity not in self._trusts:
                raise Refused(Refusal.UNKNOWN_TRUST, id=identity)
            await self._store.commit(Transaction(records=(Record(TRUST, identity, None),)))
            return self._trusts.pop(identity)

    # --------------------------------------------------------------------------------------- roles

    @property
    def roles(self) -> Roles:
        return self._roles

    async def change_roles(self, change: Callable[[Roles], Roles]) -> Roles:
        """Raises Refused, StoreError."""
        async with self._lock:
            changed = change(self._roles)
            if changed != self._roles:
                self._check_admins(changed, self._tokens)
                await self._store.commit(Transaction(records=(record_of_roles(changed),)))
                self._roles = changed
                self._tell()
        return changed

    def _check_admins(self, roles: Roles, tokens: dict[str, Token]) -> None:
        """One who may give roles is left, with a token that is not narrowed. Raises Refused."""
        now = self._clock()

        def can_act(roles: Roles, tokens: dict[str, Token]) -> bool:
            admins = roles.admins()
            return any(
                each.name in admins and not each.scopes and each.state(now) == "active"
                for each in tokens.values()
            )

        if can_act(self._roles, self._tokens) and not can_act(roles, tokens):
            raise Refused(Refusal.LAST_ADMIN)

    async def make_admin(self) -> str:
        """A token of the first admin, for a new installation and for one whose admins have lost theirs.
        Raises StoreError."""
        await self.change_roles(lambda roles: grant(roles, ADMIN_NAME, Grant(Role.ADMIN)))
        _, text = await self.create(ADMIN_NAME, FIRST_ADMIN_SECONDS, by="repave-controller")
        return text

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
