"""Promotes between stacks: what was released to one and has soaked there is proposed to the next, with the
same package. A person approves it, unless settings say that none has to."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

import structlog
from pydantic import TypeAdapter

from repave_controller.core.domain.application import Application, Event
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.domain.rollout import Phase, RolloutKind
from repave_controller.core.ports import Conflict, Record, Store, StoreError, Transaction
from repave_controller.operations.releasing import Act, Failed, Release, Releasing, automatic
from repave_controller.security.principals import Grant, Principal, Role
from repave_controller.settings import PromotionSettings
from repave_protos.protocol.values import ApplicationName

log = structlog.get_logger()

KIND: Final = "promotion"
LOOK_SECONDS: Final = 15.0
HOUR: Final = 3600.0
STANDING: Final = ("proposed", "failed")
"""States in which it can be approved."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Of one application: the newest. `state`: proposed, approved, dismissed, superseded or failed."""

    application: str
    source: str
    promotion: str
    version: str
    digest: str
    rollout: int  # of the source
    state: str = "proposed"
    text: str = ""
    proposed_at: float = 0.0
    by: str = ""
    ended_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """What has soaked, for another application."""

    version: str
    digest: str
    rollout: int


def candidate(
    source: Application | None, target: Application | None, soak_seconds: float, now: float
) -> Candidate | None:
    """Pure. None: nothing was released, it has not soaked, went back, or is there already."""
    if source is None or source.is_gone or source.running is not None or target is None or target.is_gone:
        return None
    rollout, serving = source.rollout, source.group(source.serving)
    if rollout is None or serving is None or rollout.ended_at is None:
        return None
    is_released = rollout.kind is RolloutKind.RELEASE and rollout.phase is Phase.SUCCEEDED
    if not is_released or rollout.target != serving.number or now - rollout.ended_at < soak_seconds:
        return None
    there = target.group(target.serving)
    if there is not None and there.digest == serving.digest:
        return None
    return Candidate(serving.version, serving.digest, rollout.number)


def next_proposal(
    known: Proposal | None, found: Candidate | None, of: Proposal, now: float
) -> Proposal | None:
    """Pure. What is saved in place of `known`; None: nothing changes. `of`: what a new one is like."""
    is_open = known is not None and known.state in STANDING
    if found is None:
        if known is not None and is_open:
            text = f"{known.source} has gone on, or it was released by other means"
            return replace(known, state="superseded", text=text, ended_at=now)
        return None
    if known is not None and (known.source, known.rollout, known.digest) == (
        of.source,
        found.rollout,
        found.digest,
    ):
        return None  # it stands, or was decided upon
    return replace(of, version=found.version, digest=found.digest, rollout=found.rollout, proposed_at=now)


class Promotions:
    """One for a controller. `is_mine`: whether it decides for an application."""

    def __init__(
        self,
        settings: Mapping[str, PromotionSettings],
        store: Store,
        clock: Callable[[], float],
        applications: Callable[[], Mapping[ApplicationName, Application]],
        is_mine: Callable[[str], bool],
        tell: Callable[[Sequence[Event]], None],
    ) -> None:
        """`tell` gets events that were saved."""
        self._settings, self._store, self._clock = settings, store, clock
        self._applications, self._is_mine, self._told = applications, is_mine, tell
        self._releasing: Releasing | None = None

    def act_with(self, act: Act) -> None:
        """Before `run`."""
        self._releasing = Releasing(act)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if self._settings:
                    await self.look()
            except StoreError as error:
                log.warning("promotions.store_away", why=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Proposes what has soaked. Raises StoreError."""
        standing = {each.application: each for each in await self.all()}
        for blank, settings in self._ways():
            if not self._is_mine(blank.application):
                continue
            found = self._candidate(blank, settings.soak_hours * HOUR)
            known = standing.get(blank.application)
            if known is not None and known.promotion != blank.promotion:
                known = None if found is not None else known
                if found is None:
                    continue
            made = next_proposal(known, found, blank, self._clock())
            is_automatic = settings.approve == "automatic"
            if made is None and found and known is not None and known.state == "proposed" and is_automatic:
                await self._automatic(known)  # what failed may have passed, or a controller had ended
            if made is None:
                continue
            text = "" if made.state == "superseded" else self._ways_on(made, settings)
            if not await self._save(standing.get(blank.application), made, text):
                continue
            standing[blank.application] = made
            if made.state == "proposed" and is_automatic:
                await self._automatic(made)

    async def all(self) -> list[Proposal]:
        """By application. Raises StoreError."""
        return [_proposal(each) for each in await self._store.records(KIND)]

    async def approve(self, application: str, principal: Principal) -> tuple[Proposal, dict[str, Any]]:
        """Releases it in the name of who approves. Raises Refused, Failed, StoreError."""
        proposal = await self._standing(application)
        found = self._candidate(proposal, 0.0)
        if found is None or (found.rollout, found.digest) != (proposal.rollout, proposal.digest):
            raise Refused(Refusal.NO_PROMOTION, application=application)  # its source has gone on just now
        accepted = await self._release(proposal, principal)
        done = await self._end(proposal, "approved", principal.name)
        return done, accepted

    async def dismiss(self, application: str, by: str, reason: str) -> Proposal:
        """It is proposed no more, until there is another release. Raises Refused, StoreError."""
        return await self._end(await self._standing(application), "dismissed", by, reason)

    def _candidate(self, proposal: Proposal, soak_seconds: float) -> Candidate | None:
        apps = self._applications()
        source = apps.get(ApplicationName(proposal.source))
        target = apps.get(ApplicationName(proposal.application))
        return candidate(source, target, soak_seconds, self._clock())

    async def _standing(self, application: str) -> Proposal:
        for each in await self.all():
            if each.application == application and each.state in STANDING:
                return each
        raise Refused(Refusal.NO_PROMOTION, application=application)

    async def _automatic(self, proposal: Proposal) -> None:
        """What may pass is tried again at the next look, under the same key. Raises StoreError."""
        name, state, text = f"promotion/{proposal.promotion}", "approved", ""
        try:
            principal = automatic(name, Role.DEPLOYER, proposal.application)
            of_source = Grant(Role.DEPLOYER, proposal.source)  # to have its package
            await self._release(proposal, replace(principal, grants=(*principal.grants, of_source)))
        except Failed as error:
            if error.is_passing:
                log.warning("promotion.waits", application=proposal.application, why=error.text)
                return
            state, text = "failed", error.text[:500]
        try:
            await self._end(proposal, state, name, text)
        except Refused as refused:  # a person has decided upon it meanwhile
            log.info("promotion.decided", application=proposal.application, why=str(refused))

    async def _release(self, proposal: Proposal, principal: Principal) -> dict[str, Any]:
        """Raises Failed."""
        assert self._releasing is not None, "act_with comes before"
        apps = self._applications()
        target = apps.get(ApplicationName(proposal.application))
        serving = target.group(target.serving) if target is not None else None
        text = None
        if target is not None and serving is not None:
            text = await self._store.spec(target.name, serving.name)
        if text is None:
            raise Failed(f"{proposal.application} has no spec that serves: release it once", "spec")
        return await self._releasing.release(
            Release(
                principal,
                proposal.application,
                text,
                "repave.yaml",
                proposal.version,
                reason=f"promoted from {proposal.source}",
                key=f"promotion/{proposal.application}/{proposal.source}/{proposal.rollout}/{proposal.digest}",
            ),
            proposal.digest,
        )

    async def _end(self, proposal: Proposal, state: str, by: str, text: str = "") -> Proposal:
        ended = replace(proposal, state=state, by=by, text=text, ended_at=self._clock())
        if not await self._save(proposal, ended, f"{state} by {by}" + (f": {text}" if text else "")):
            raise Refused(Refusal.NO_PROMOTION, application=proposal.application)
        return ended

    def _event(self, proposal: Proposal, text: str) -> Event:
        what = f"{proposal.version} of {proposal.source} for {proposal.application}"
        by = proposal.by or f"promotion/{proposal.promotion}"
        told = f"{what}: {text or proposal.text}"
        at = Instant(self._clock())
        return Event(f"promotion.{proposal.state}", told, proposal.application, by=by, at=at)

    def _ways_on(self, proposal: Proposal, settings: PromotionSettings) -> str:
        if settings.approve == "automatic":
            return "it has soaked, and is released"
        return f"it has soaked; repave promotions approve {proposal.application}"

    def _ways(self) -> Iterator[tuple[Proposal, PromotionSettings]]:
        """From each application of a stack to the one of the next. Where several lead to one application, the
        first by name counts: they would undo each other."""
        reached = set[str]()
        for name, settings in sorted(self._settings.items()):
            end = f"-{settings.source}"
            for source in sorted(self._applications()):
                app = source.removesuffix(end)
                to = f"{app}-{settings.to}"
                is_meant = source.endswith(end) and any(fnmatchcase(app, each) for each in settings.apps)
                if is_meant and to not in reached:
                    reached.add(to)
                    yield Proposal(to, source, name, "", "", 0), settings

    async def _save(self, known: Proposal | None, proposal: Proposal, text: str) -> bool:
        """With its event. False: a person or another controller has decided meanwhile. Raises StoreError."""
        before = Record(KIND, proposal.application, _text(known) if known is not None else None)
        record = Record(KIND, proposal.application, _text(proposal))
        try:
            told = await self._store.commit(
                Transaction(records=(record,), expected=(before,), events=(self._event(proposal, text),))
            )
        except Conflict:
            return False
        self._told(told)
        return True


def _text(proposal: Proposal) -> str:
    return _PROPOSAL.dump_json(proposal).decode()


def _proposal(record: Record) -> Proposal:
    """Fields of a newer version are left out. Raises StoreError."""
    try:
        return _PROPOSAL.validate_json(record.state or "")
    except ValueError as error:
        raise StoreError(
            f"the store holds a promotion of {record.name} that can't be read: {error}"
        ) from error


_PROPOSAL = TypeAdapter(Proposal)
