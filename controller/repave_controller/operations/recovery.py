"""Asks the regions that are ahead of the store what they run, and adopts it: `repave controller recover`.

What is found is shown first; adopting begins a new life of the store, saves each application, and only then
is anything sent: under epochs that are above all that the regions have ever accepted.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from repave_controller.core.commands.recovery import Adoption, Said, adopt, event
from repave_controller.core.domain.application import UNWANTED, Application, Instant, Observed, Outcome
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import ImageStore
from repave_controller.core.rules.divergence import RECOVER
from repave_controller.fleet.questions import RegionUnreachable
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.wording.render import text_of, texts_of
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredState,
    Digest,
    Hello,
    RegionName,
    fingerprint,
    short_digest,
)


class Agent(Protocol):
    """A region as its agent introduced itself."""

    hello: Hello


class Agents(Protocol):
    """Whom to ask: the sessions."""

    def views(self) -> Mapping[RegionName, Agent]: ...

    async def accepted(self, region: RegionName, application: ApplicationName, /) -> DesiredState | None:
        """Raises RegionUnreachable."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One application that regions know better than the store."""

    name: ApplicationName
    said: Said
    application: Application | None = None  # as it would be; None: it can't be adopted, see `refusal`
    refusal: str = ""
    notes: tuple[str, ...] = ()
    lacking: frozenset[Digest] = frozenset()  # packages that are not stored here
    is_adopted: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """`id` holds as long as the regions say the same."""

    candidates: tuple[Candidate, ...] = ()
    incarnation: int | None = None  # the new one, if anything was adopted
    waiting: dict[RegionName, str] = field(default_factory=dict)  # regions that are ahead still, and why

    @property
    def id(self) -> str:
        said = tuple((each.name, tuple(sorted(each.said.items())), each.refusal) for each in self.candidates)
        return fingerprint(said)[:8].upper()


class Recovery:
    """One for a controller."""

    def __init__(
        self, scheduler: Scheduler, agents: Agents, images: ImageStore, clock: Callable[[], float]
    ) -> None:
        self._scheduler = scheduler
        self._agents = agents
        self._images = images
        self._clock = clock
        self._lock = asyncio.Lock()

    async def look(self, only: str = "", serving: str = "") -> Findings:
        """What would be adopted; changes nothing. Empty when no region is ahead."""
        ahead = self._scheduler.fence.ahead
        names = sorted({each.application for found in ahead.values() for each in found})
        chosen = [name for name in names if only in ("", name)]
        candidates = await asyncio.gather(*(self._candidate(name, serving) for name in chosen))
        return Findings(tuple(candidates), waiting=self._waiting())

    async def adopt(self, only: str = "", serving: str = "", by: str = "", expected: str = "") -> Findings:
        """Adopts what can be, each application for itself. Raises Refused when `expected` is not its id any
        more, StoreError; what was adopted before that stays so."""
        async with self._lock:
            findings = await self.look(only, serving)
            if expected and findings.candidates and expected.upper() != findings.id:
                raise Refused(Refusal.RECOVERY_CHANGED, RECOVER)
            if not any(each.application for each in findings.candidates):
                return findings
            incarnation = await self._scheduler.begin_incarnation(self._highest(findings))
            done = [await self._adopt(each, serving, by) for each in findings.candidates]
            return Findings(tuple(done), incarnation, self._waiting())

    async def _adopt(self, candidate: Candidate, serving: str, by: str) -> Candidate:
        if candidate.application is None:
            return candidate

        def change(stored: Application, _: Observed, now: Instant) -> Outcome:
            adoption = adopt(candidate.name, stored, candidate.said, now, serving)
            return adoption.application, (event(adoption, now, by),)

        try:
            await self._scheduler.adopt(candidate.name, candidate.application.cluster, change)
        except Refused as refused:
            return replace(candidate, application=None, refusal=text_of(refused.reason))
        return replace(candidate, is_adopted=True)

    # ------------------------------------------------------------------------------------------- asking

    async def _candidate(self, name: ApplicationName, serving: str) -> Candidate:
        said, silent = await self._said(name)
        knowing = self._scheduler.fence.knowing(name)
        if not any(region in said for region in knowing):
            text = f"{name}: no region that is ahead in it answers: {'; '.join(silent) or ', '.join(knowing)}"
            return Candidate(name, said, refusal=f"{text}; start their agents, then try again")
        stored = self._scheduler.saved(name)
        try:
            adoption = adopt(name, stored, said, Instant(self._clock()), serving)
        except Refused as refused:
            return Candidate(name, said, refusal=text_of(refused.reason))
        return await self._described(name, said, adoption, silent)

    async def _described(
        self,
        name: ApplicationName,
        said: Said,
        adoption: Adoption,
        silent: list[str],
    ) -> Candidate:
        wanted = [
            group
            for group in adoption.application.groups
            if group.state not in UNWANTED and not group.is_adopted
        ]
        lacking = [group for group in wanted if await self._images.bring(group.digest) is None]
        notes = [
            f"the package {short_digest(group.digest)} of {group.name} is not stored here: fresh hosts need "
            "it; repave image push stores it again"
            for group in lacking
        ]
        return Candidate(
            name,
            said,
            adoption.application,
            notes=(*silent, *adoption.notes, *notes),
            lacking=frozenset(group.digest for group in lacking),
        )

    async def _said(self, name: ApplicationName) -> tuple[Said, list[str]]:
        """What each region that knows the application has accepted, and those that could not be asked."""
        stored = self._scheduler.saved(name)
        regions = [
            region
            for region, view in sorted(self._agents.views().items())
            if (stored is not None and region in stored.regions)
            or any(each.application == name for each in view.hello.applied)
        ]
        answers = await asyncio.gather(*(self._ask(region, name) for region in regions))
        said = {
            region: each for region, each in zip(regions, answers, strict=True) if not isinstance(each, str)
        }
        silent = [each for each in answers if isinstance(each, str)]
        return {region: state for region, state in said.items() if state is not None}, silent

    async def _ask(self, region: RegionName, name: ApplicationName) -> DesiredState | str | None:
        """What it has accepted, or why it could not be asked."""
        try:
            return await self._agents.accepted(region, name)
        except RegionUnreachable as error:
            return str(error)

    # -------------------------------------------------------------------------------------------- words

    def _highest(self, findings: Findings) -> int:
        """The highest incarnation that any region has seen, of whichever application."""
        seen = [state.epoch.incarnation for each in findings.candidates for state in each.said.values()]
        ahead = self._scheduler.fence.ahead.values()
        return max([*seen, *(each.accepted.incarnation for found in ahead for each in found)])

    def _waiting(self) -> dict[RegionName, str]:
        return {
            region: texts_of(each.reason for each in found)
            for region, found in sorted(self._scheduler.fence.ahead.items())
        }
