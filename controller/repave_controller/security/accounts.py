"""The accounts of an installation: recognises who shows a token, and keeps tokens and roles."""

import asyncio
import dataclasses
import secrets
from collections.abc import Callable, Sequence

import structlog

from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Conflict, Record, Store, StoreError, Transaction
from repave_controller.security.claims import LEEWAY_SECONDS
from repave_controller.security.kept import Kept
from repave_controller.security.people import Person
from repave_controller.security.principals import (
    ADMIN_NAME,
    ANONYMOUS,
    Grant,
    Kind,
    Principal,
    Role,
)
from repave_controller.security.records import (
    KINDS,
    PERSON,
    SPENT,
    TOKEN,
    TRUST,
    KnownAccounts,
    read_record,
    record_of_person,
    record_of_roles,
    record_of_spent,
    record_of_token,
    record_of_trust,
)
from repave_controller.security.roles import Roles, grant
from repave_controller.security.tokens import (
    ID_BYTES,
    PEOPLES,
    SECRET_BYTES,
    SESSION,
    Token,
    hash_of,
    parts_of_token,
    text_of_token,
)
from repave_controller.security.trusts import TRUSTS_MAX, Trust

TOKENS_MAX = 10_000
PEOPLE_MAX = 10_000
SPENT_MAX = 10_000
LOGINS_MAX = 20
"""A person's further log-in ends the oldest one."""
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
        self._people = {each.name: each for each in known.people}
        self._spent = dict(known.spent)
        self._clock = clock
        self._chance = chance
        self._lock = asyncio.Lock()
        self._saved_use: dict[str, Instant] = {}
        self._changed = asyncio.Event()
        self._kept = Kept(store, KINDS, self._apply)
        self._kept.put(known.records)

    # ---------------------------------------------------------------------------- other controllers

    def take(self, records: Sequence[Record]) -> None:
        """What another controller has saved. A token that it has revoked is refused here from now on."""
        self._kept.put(records)
        self._apply(records)

    def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            try:
                self._apply_one(record.kind, record.name, read_record(record))
            except ValueError as error:  # of a newer version: what is known of it counts on
                log.error("accounts.unreadable", kind=record.kind, name=record.name, error=str(error))
        self._tell()

    def _apply_one(self, kind: str, name: str, found: object) -> None:
        match found:
            case Token():
                self._tokens[name] = found
            case Roles():
                self._roles = found
            case Trust():
                self._trusts[name] = found
            case Person():
                self._people[name] = found
            case float():
                self._spent[name] = Instant(found)
            case _ if kind == TOKEN:
                self._tokens.pop(name, None)
            case _ if kind == TRUST:
                self._trusts.pop(name, None)
            case _ if kind == PERSON:
                self._people.pop(name, None)
            case _ if kind == SPENT:
                self._spent.pop(name, None)

    # --------------------------------------------------------------------------------- recognising

    def recognise(self, shown: str, *, is_cookie: bool = False) -> Principal:
        """Who shows this token. A browser's session counts as a cookie alone, and nothing else as one.
        Raises NotRecognised."""
        parts = parts_of_token(shown)
        token = self._tokens.get(parts[0]) if parts is not None else None
        if parts is None or token is None or not token.is_opened_by(parts[1]):
            raise NotRecognised("this token is not known here")
        if (token.method == SESSION) is not is_cookie:
            raise NotRecognised("this token is not known here")
        state = self._state(token)
        if state != "active" and token.method in PEOPLES:
            raise NotRecognised(f"this log-in is {state}; log in anew: repave login")
        if state != "active":
            raise NotRecognised(f"this token is {state}; ask an admin for another one")
        return self._principal(token)

    def _state(self, token: Token) -> str:
        """A session that was opened with a token ends with that one."""
        state, opener = token.state(self._clock()), self._opener(token)
        return opener.state(self._clock()) if opener is not None and state == "active" else state

    def _opener(self, token: Token) -> Token | None:
        return self._tokens.get(token.by) if token.method == SESSION else None

    def again(self, principal: Principal) -> Principal:
        """The same with the rights that it has by now: none, once its token has ended."""
        if principal.kind is not Kind.TOKEN:
            return principal
        token = self._tokens.get(principal.credential)
        if token is None or self._state(token) != "active":
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
            await self._commit(record_of_token(used))
        except Conflict:  # as one that another controller has revoked: it tells of that
            return
        except StoreError as error:
            log.warning("token.use_not_saved", token=token.id, error=str(error))

    def _principal(self, token: Token) -> Principal:
        person = self._people.get(token.name) if token.method in PEOPLES else None
        return Principal(
            Kind.TOKEN,
            token.name,
            grants=self._grants_of(token.name, person),
            teams=tuple(sorted({*self._roles.teams_of(token.name), *(person.teams if person else ())})),
            scopes=token.scopes,
            credential=token.id,
        )

    def _grants_of(self, name: str, person: Person | None) -> tuple[Grant, ...]:
        """Of one who logged in with the issuer also by the groups that the issuer named then."""
        if person is None:
            return self._roles.grants_of(name)
        admin = (Grant(Role.ADMIN),) if person.is_admin else ()
        return (*self._roles.grants_of(name, person.teams), *admin)

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
            token, text = self._made(name, seconds, by, note, scopes)
            await self._save(token)
        return token, text

    async def open_session(self, principal: Principal, seconds: float) -> tuple[Token, str]:
        """For the browser of one who has shown a token: no longer than that is good, and with its scopes.
        Raises Refused, StoreError."""
        async with self._lock:
            opener = self.token(principal.credential)
            left = min(seconds, opener.expires_at - self._clock())
            token, text = self._made(opener.name, left, opener.id, "in a browser", opener.scopes, SESSION)
            await self._save(token)
        return token, text

    def _made(
        self,
        name: str,
        seconds: float,
        by: str,
        note: str = "",
        scopes: tuple[Grant, ...] = (),
        method: str = "",
    ) -> tuple[Token, str]:
        """Not yet saved. Raises Refused."""
        if len(self._tokens) - len(self._ended_long_ago(self._clock())) >= TOKENS_MAX:
            raise Refused(Refusal.TOO_MANY, what="tokens", most=TOKENS_MAX)
        identity, secret, now = self._chance(ID_BYTES), self._chance(SECRET_BYTES), self._clock()
        expires = Instant(now + seconds)
        token = Token(identity, name, hash_of(secret), now, expires, by, note, scopes, method=method)
        return token, text_of_token(identity, secret)

    def _ended_long_ago(self, now: Instant) -> list[str]:
        """What the audit log tells of is not kept for ever."""
        return [each.id for each in self._tokens.values() if now >= each.ended_at + KEPT_SECONDS]

    async def revoke(self, identity: str, by: str) -> Token:
        """Ends it at once, and the streams that it opened. Raises Refused, StoreError."""

        async def attempt() -> Token:
            token = self.token(identity)
            if token.revoked_at is not None:
                return token
            revoked = self._ended(token, by)
            self._check_admins(self._roles, {**self._tokens, identity: revoked})
            await self._save(revoked)
            return revoked

        async with self._lock:
            return await self._kept.retried(attempt)

    async def _save(self, *tokens: Token, beside: Sequence[Record] = ()) -> None:
        """With other records, and without the tokens that ended long ago."""
        gone = self._ended_long_ago(self._clock())
        forgotten = (Record(TOKEN, identity, None) for identity in gone)
        saved = [record_of_token(each) for each in tokens]
        added = [each for each in beside if each.state is not None]
        await self._commit(*forgotten, *saved, *beside, only_if=self._kept.expected(*saved, *added))

    async def _commit(self, *records: Record, only_if: Sequence[Record] | None = None) -> None:
        """Raises Conflict: one of `only_if`, or of all, is another one by now. Raises StoreError."""
        expected = self._kept.expected(*records) if only_if is None else tuple(only_if)
        await self._store.commit(Transaction(records=records, expected=expected))
        self._apply(self._kept.saved(records, expected))

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
            await self._commit(record_of_trust(made))
        return made

    async def distrust(self, identity: str) -> Trust:
        """What its jobs were given already stays valid to its end. Raises Refused, StoreError."""
        async with self._lock:
            trust = self._trusts.get(identity)
            if trust is None:
                raise Refused(Refusal.UNKNOWN_TRUST, id=identity)
            await self._commit(Record(TRUST, identity, None), only_if=())
        return trust

    # ------------------------------------------------------------------------------------------ log-ins

    async def log_in_job(self, trust: Trust, proof: str, expires_at: Instant) -> tuple[Token, str]:
        """A token for a job. `proof`: the hash of what its CI signed, which is good for one log-in, also over
        a restart and at every controller. Raises Refused, StoreError."""
        async with self._lock:
            return await self._kept.retried(lambda: self._log_in_job(trust, proof, expires_at))

    async def _log_in_job(self, trust: Trust, proof: str, expires_at: Instant) -> tuple[Token, str]:
        now = self._clock()
        over = [name for name, at in self._spent.items() if at + LEEWAY_SECONDS <= now]
        if proof in self._spent:
            raise Refused(Refusal.SPENT)
        if len(self._spent) - len(over) >= SPENT_MAX:
            raise Refused(Refusal.TOO_MANY, what="log-ins of jobs at once", most=SPENT_MAX)
        token, text = self._made(trust.name, trust.seconds, "login", note=f"job {trust.id}", method="job")
        gone = (Record(SPENT, name, None) for name in over)
        await self._save(token, beside=(*gone, record_of_spent(proof, expires_at)))
        return token, text

    @property
    def people(self) -> list[Person]:
        return sorted(self._people.values(), key=lambda each: each.name)

    def person(self, name: str) -> Person | None:
        return self._people.get(name)

    async def log_in(self, person: Person, seconds: float, method: str) -> tuple[Token, str]:
        """A token for a person whom the issuer has named. What the issuer says now counts for the person's
        other log-ins too. Raises Refused, StoreError."""
        async with self._lock:
            return await self._kept.retried(lambda: self._log_in(person, seconds, method))

    async def _log_in(self, person: Person, seconds: float, method: str) -> tuple[Token, str]:
        former = self._people.get(person.name)
        if former is not None and (former.issuer, former.subject) != (person.issuer, person.subject):
            raise Refused(Refusal.OTHER_ACCOUNT, name=person.name)
        if not self._grants_of(person.name, person):
            raise Refused(Refusal.NO_ROLE, name=person.name)
        if former is None and len(self._people) >= PEOPLE_MAX:
            raise Refused(Refusal.TOO_MANY, what="people", most=PEOPLE_MAX)
        token, text = self._made(person.name, seconds, "login", note=f"log-in, {method}", method=method)
        open_ = self._open_logins(person.name)
        ended = [self._ended(each, "login") for each in open_[LOGINS_MAX - 1 :]]
        await self._save(token, *ended, beside=(record_of_person(person),))
        return token, text

    async def end_person(self, name: str, by: str) -> Person:
        """Ends the person's log-ins, and forgets which account of the issuer had the name. Raises Refused,
        StoreError."""

        async def attempt() -> Person:
            person = self._people.get(name)
            if person is None:
                raise Refused(Refusal.UNKNOWN_PERSON, name=name)
            ended = {each.id: self._ended(each, by) for each in self._open_logins(name)}
            self._check_admins(self._roles, {**self._tokens, **ended})
            await self._save(*ended.values(), beside=(Record(PERSON, name, None),))
            return person

        async with self._lock:
            return await self._kept.retried(attempt)

    def _open_logins(self, name: str) -> list[Token]:
        """Newest first."""
        now = self._clock()
        return [each for each in self.tokens if each.name == name and each.state(now) == "active"]

    def _ended(self, token: Token, by: str) -> Token:
        return dataclasses.replace(token, revoked_at=self._clock(), revoked_by=by)

    # --------------------------------------------------------------------------------------- roles

    @property
    def roles(self) -> Roles:
        return self._roles

    async def change_roles(self, change: Callable[[Roles], Roles]) -> Roles:
        """Raises Refused, StoreError."""

        async def attempt() -> Roles:
            changed = change(self._roles)
            if changed != self._roles:
                self._check_admins(changed, self._tokens)
                await self._commit(record_of_roles(changed))
            return changed

        async with self._lock:
            return await self._kept.retried(attempt)

    def _check_admins(self, roles: Roles, tokens: dict[str, Token]) -> None:
        """One who may give roles is left, with a token that is not narrowed. Raises Refused."""
        now = self._clock()

        def can_act(roles: Roles, tokens: dict[str, Token]) -> bool:
            admins = roles.admins()
            return any(
                each.name in admins
                and not each.scopes
                and each.state(now) == "active"
                and self._opener(each) is None
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
