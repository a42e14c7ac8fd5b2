"""Enrols agents: join tokens, certificates, renewals, revocations. A decision holds once it is saved."""

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog
from pydantic import TypeAdapter, ValidationError

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.domain.reasons import Happening, Refusal, Refused, cli, reason_of
from repave_controller.core.ports import Record, Store, StoreError, Transaction
from repave_controller.security import roster
from repave_controller.security.authority import Authority, OwnAuthority
from repave_controller.security.kept import Kept
from repave_controller.security.roster import JoinToken, Member
from repave_protos.protocol.certificates import (
    AgentIdentity,
    CertificateError,
    JoinWord,
    hash_of,
    new_agent,
    new_join_word,
    requested_key,
)
from repave_protos.protocol.values import RegionName

TOKEN, MEMBER = "join-token", "agent"
_TOKENS, _MEMBERS = TypeAdapter(JoinToken), TypeAdapter(Member)

log = structlog.get_logger()


class Enrolment:
    """One for a controller that speaks TLS."""

    def __init__(
        self,
        authority: Authority,
        store: Store,
        clock: Callable[[], float],
        tell: Callable[[Sequence[Event]], None],
        withdrawn: Callable[[], None],
        others: Callable[[], Collection[object]] = tuple,
    ) -> None:
        """`tell` gets events that were saved; `withdrawn` is called when a certificate no longer counts.
        `others`: what other controllers have a part in; nothing, there are none."""
        self.authority = authority
        self._store, self._clock, self._tell, self._withdrawn = store, clock, tell, withdrawn
        self._others = others
        self._lock = asyncio.Lock()
        self._tokens: dict[str, JoinToken] = {}
        self._members: dict[str, Member] = {}
        self._kept = Kept(store, (TOKEN, MEMBER), self._apply)

    async def load(self) -> None:
        """Before anything is asked. Raises StoreError."""
        try:
            await self._kept.load()
        except ValidationError as error:
            raise StoreError(f"what the store holds of agents can't be read: {error}") from error

    def take(self, records: Sequence[Record]) -> None:
        """What another controller has saved. The stream of an agent that it has revoked ends. What can't be
        read, as of a newer version, changes nothing."""
        self._kept.put(records)
        for record in records:
            try:
                self._apply([record])
            except ValidationError as error:
                log.error("agents.unreadable", kind=record.kind, name=record.name, error=str(error))
        self._withdrawn()

    def _apply(self, records: Sequence[Record]) -> None:
        """Raises ValidationError."""
        for record in records:
            if record.state is None:
                (self._tokens if record.kind == TOKEN else self._members).pop(record.name, None)
            elif record.kind == TOKEN:
                self._tokens[record.name] = _TOKENS.validate_json(record.state)
            else:
                self._members[record.name] = _MEMBERS.validate_json(record.state)

    # ---------------------------------------------------------------------------------------- knowing

    def members(self) -> list[Member]:
        return sorted(self._members.values(), key=lambda each: (each.region, each.joined_at))

    def expiries(self) -> dict[str, float]:
        """By region, when the newest certificate of its agents ends."""
        found: dict[str, float] = {}
        for each in self._members.values():
            if each.revoked_at is None:
                found[each.region] = max(each.expires_at, found.get(each.region, 0.0))
        return found

    def recognise(self, certificate: bytes) -> AgentIdentity:
        """Whose certificate it is, if it counts now. Raises CertificateError."""
        identity = self.authority.recognise(certificate)
        name = f"{identity.region}/{identity.agent}"
        if name not in self._members:  # it joined after the backup that this store was restored from
            self._members[name] = roster.joined(identity, identity.issued_at, "")
        if objection := self.objection(identity):
            raise CertificateError(objection)
        return identity

    def objection(self, identity: AgentIdentity) -> str:
        """Why a certificate that was recognised once counts no longer; "" while it does."""
        return self.revocation(identity.region, identity.agent) or self.authority.objection(identity)

    def revocation(self, region: str, agent: str) -> str:
        """Why no certificate of this agent counts; "" while one may."""
        member = self._members.get(f"{region}/{agent}")
        if member is not None and member.revoked_at is not None:
            return f"the agent {member.name} was revoked by {member.revoked_by or 'an operator'}"
        return ""

    # --------------------------------------------------------------------------------------- changing

    async def invite(self, region: str, by: str) -> tuple[JoinWord, JoinToken]:
        """A new join token; its secret is not kept. Raises Refused, StoreError."""
        name = roster.check_region(region)
        async with self._lock:
            now = self._clock()
            if len(self._tokens) >= roster.TOKENS_MAX:
                raise Refused(Refusal.TOO_MANY_TOKENS, limit=roster.TOKENS_MAX)
            word = new_join_word(self.authority.pin)
            token = JoinToken(hash_of(word.secret), name, by, now, now + roster.TOKEN_SECONDS)
            await self._save([token], what=Happening.AGENT_INVITED, kind="agent.invited", region=name, by=by)
        return word, token

    async def join(self, secret: str, request: str, address: str) -> tuple[str, AgentIdentity]:
        """A first certificate, with its chain. Raises Refused, CertificateError, StoreError."""

        async def attempt() -> tuple[str, AgentIdentity]:
            token = roster.use(self._tokens.get(hash_of(secret)), self._clock(), address)
            key = requested_key(request)
            chain, identity = self.authority.issue(key, RegionName(token.region), new_agent())
            member = roster.joined(identity, self._clock(), address)
            await self._save(
                [token, member],
                what=Happening.AGENT_JOINED,
                kind="agent.joined",
                region=token.region,
                agent=member.name,
                address=address,
                by=token.by,
            )
            return chain, identity

        async with self._lock:
            return await self._kept.retried(attempt)

    async def renew(self, identity: AgentIdentity, request: str) -> str:
        """The next certificate of an agent that was recognised. Raises CertificateError, StoreError."""

        async def attempt() -> str:
            if objection := self.objection(identity):
                raise CertificateError(objection)
            chain, issued = self.authority.issue(requested_key(request), identity.region, identity.agent)
            former = self._members.get(f"{identity.region}/{identity.agent}")
            await self._save([roster.renewed(former, issued, self._clock())])
            return chain

        async with self._lock:
            chain = await self._kept.retried(attempt)
        log.info("agent.certificate_renewed", region=identity.region, agent=identity.agent)
        return chain

    async def revoke(self, region: str, agent: str, by: str, reason: str = "") -> list[Member]:
        """Every agent of the region, or the one that is named; and the region's join tokens. Raises Refused,
        StoreError."""

        async def attempt() -> list[Member]:
            now = self._clock()
            found = [
                each
                for each in self._members.values()
                if each.region == region and agent in ("", each.agent) and each.state(now) != "expired"
            ]
            open_ = [each for each in self._tokens.values() if each.region == region and each.used_at is None]
            if not found and not (open_ and not agent):
                known = tuple(sorted(each.name for each in self._members.values() if each.revoked_at is None))
                raise Refused(Refusal.UNKNOWN_AGENT, cli("agents list"), name=agent or region, known=known)
            ended = [roster.revoked(each, now, by) for each in found]
            await self._save(
                [*ended],
                gone=[] if agent else open_,
                what=Happening.AGENT_REVOKED,
                kind="agent.revoked",
                region=region,
                agents=tuple(each.name for each in ended),
                by=by,
                reason=reason,
            )
            return ended

        async with self._lock:
            ended = await self._kept.retried(attempt)
        self._withdrawn()
        return ended

    async def rotate(self, by: str, *, at_once: bool = False) -> float | None:
        """A new authority; when the overlap with the former one ends, None: it is over. Raises Refused."""
        async with self._lock:
            source, now = self.authority.source, self._clock()
            if not isinstance(source, OwnAuthority):
                raise Refused(Refusal.AUTHORITY_IS_OPERATORS)
            if self._others():
                raise Refused(Refusal.AUTHORITY_OF_SEVERAL)
            if not at_once and (ends_at := source.settles_at(now)) is not None:
                raise Refused(Refusal.ROTATING, cli("agents rotate", now=True), hours=_hours(ends_at - now))
            source.rotate(now, at_once=at_once)
            await self._save(
                [], what=Happening.AUTHORITY_ROTATED, kind="authority.rotated", is_at_once=int(at_once), by=by
            )
        self._withdrawn()
        return source.settles_at(self._clock())

    # ----------------------------------------------------------------------------------------- inside

    async def _save(
        self,
        changed: Sequence[JoinToken | Member],
        *,
        gone: Sequence[JoinToken] = (),
        what: Happening | None = None,
        kind: str = "",
        by: str = "",
        region: str = "",
        **facts: str | int | tuple[str, ...],
    ) -> None:
        """With all that need not be kept any more. Raises StoreError; then nothing has changed."""
        now = self._clock()
        over = [each for each in self._tokens.values() if roster.is_over(each, now)]
        ended = [each for each in self._members.values() if roster.has_ended(each, now)]
        records = [*map(_record, changed)]
        records += [Record(TOKEN, each.id, None) for each in (*over, *gone)]
        records += [Record(MEMBER, each.name, None) for each in ended]
        events: tuple[Event, ...] = ()
        if what is not None:
            reason = reason_of(what, region=region, by=by, **facts)
            events = (Event(kind, region=region, by=by, at=Instant(now), what=reason),)
        expected = self._kept.expected(*map(_record, changed))
        saved = await self._store.commit(
            Transaction(records=tuple(records), events=events, expected=expected)
        )
        self._apply(self._kept.saved(records, expected))
        self._tell(saved)


def _record(each: JoinToken | Member) -> Record:
    if isinstance(each, JoinToken):
        return Record(TOKEN, each.id, _TOKENS.dump_json(each).decode())
    return Record(MEMBER, each.name, _MEMBERS.dump_json(each).decode())


def _hours(seconds: float) -> int:
    return max(1, round(seconds / 3600))
