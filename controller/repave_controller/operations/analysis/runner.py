"""Makes the looks of analyses when they are due: reads both sides, judges them, and tells the owner of the
application. Which look is due, and what follows from it, is decided elsewhere (core/rules/looks.py,
core/steps/analyse.py): all that is remembered here is which are being made.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.values import Judgement, Outcome
from repave_controller.core.commands.judging import Judged
from repave_controller.core.domain.analyses import Finding, Reading
from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.core.rules.looks import DueLook, due, next_due_at
from repave_controller.operations.analysis.details import details_of, rows_of
from repave_controller.operations.analysis.reading import Found, Reader
from repave_controller.peers.ports import NotOwner
from repave_controller.runtime.broadcast import Broadcast
from repave_protos.protocol.values import ApplicationName

log = structlog.get_logger()

PACE_SECONDS = 0.25
"""From one look at all applications to the next, however often they change."""
REST_SECONDS = 30.0
"""The same while nothing changes."""
AGAIN_SECONDS = 5.0
"""After what a look has found could not be saved."""
JUDGED_AT_ONCE = 2

Key = tuple[ApplicationName, int, str, str, int, int]


class Office(Protocol):
    """runtime.scheduler.Scheduler."""

    visible: Broadcast

    @property
    def clock(self) -> Callable[[], Instant]: ...

    def applications(self) -> Mapping[ApplicationName, Application]: ...

    def decides_for(self, application: ApplicationName) -> bool: ...

    async def judged(self, application: ApplicationName, judged: Judged, extra: Transaction) -> bool: ...


Tell = Callable[[ApplicationName, DueLook, Outcome, float], None]
"""What came of a look, and how many seconds it took."""


class Analyses:
    """One for a controller. `tell` hears of each look that was saved."""

    def __init__(
        self,
        office: Office,
        reader: Reader,
        tell: Tell = lambda *_: None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._office, self._reader, self._tell, self._pause = office, reader, tell, pause
        self._known: dict[ApplicationName, tuple[Application, Instant | None]] = {}
        self._under_way: set[Key] = set()
        self._not_before: dict[Key, Instant] = {}
        self._judging = asyncio.Semaphore(JUDGED_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                version, now = self._office.visible.version, self._office.clock()
                for application, look in self.due(now):
                    self._under_way.add(key_of(application, look))
                    tasks.create_task(self.make(application, look), name=f"look {application.name}")
                await self._pause(PACE_SECONDS)
                try:
                    async with asyncio.timeout(max(0.0, self._rest(self._office.clock()))):
                        await self._office.visible.wait(version)
                except TimeoutError:
                    pass

    def objection(self, application: str, reading: Reading) -> str:
        """Why it can't be read, whichever side is meant; "": it can."""
        return self._reader.objection(application, reading)

    def due(self, now: Instant) -> list[tuple[Application, DueLook]]:
        """The looks to be begun now, of applications that this controller decides for."""
        found = []
        applications = self._office.applications()
        for name, application in applications.items():
            known = self._known.get(name)
            if known is not None and known[0] is application and (known[1] is None or now < known[1]):
                continue
            self._known[name] = application, self._next(application, now)
            if application.running is not None and self._office.decides_for(name):
                found += [(application, look) for look in due(application, now)]
        for gone in self._known.keys() - applications.keys():
            del self._known[gone]
        return [each for each in found if self._may_begin(key_of(*each), now)]

    def _next(self, application: Application, now: Instant) -> Instant | None:
        """When it is to be looked at again, though it has not changed."""
        at = next_due_at(application, now) if application.running is not None else None
        return max(at, Instant(now + PACE_SECONDS)) if at is not None else None

    def _may_begin(self, key: Key, now: Instant) -> bool:
        return key not in self._under_way and now >= self._not_before.get(key, now)

    def _rest(self, now: Instant) -> float:
        return min((at - now for _, at in self._known.values() if at is not None), default=REST_SECONDS)

    # ------------------------------------------------------------------------------------------- a look

    async def make(self, application: Application, look: DueLook) -> None:
        """One that is due. Raises nothing but what cancels it."""
        key = key_of(application, look)
        self._under_way.add(key)
        begun = self._office.clock()
        try:
            await self._look(application, look, begun)
            self._not_before.pop(key, None)
        except (StoreError, NotOwner, Refused) as error:
            log.warning("analysis.not_saved", application=application.name, gate=look.gate, why=str(error))
            self._again(key)
        except Exception:  # the task's root: others go on
            log.exception("analysis.failed", application=application.name, gate=look.gate)
            self._again(key)
        finally:
            self._under_way.discard(key)

    def _again(self, key: Key) -> None:
        now = self._office.clock()
        self._not_before = {known: at for known, at in self._not_before.items() if at > now}
        self._not_before[key] = Instant(now + AGAIN_SECONDS)

    async def _look(self, application: Application, look: DueLook, begun: Instant) -> None:
        """Raises StoreError, NotOwner, Refused."""
        found = await self._reader.read(application, look)
        judgement, trouble = None, ""
        try:
            async with self._judging:
                judgement = await asyncio.to_thread(judgement_of, look, found)
        except Exception as error:
            log.exception("analysis.judge_failed", application=application.name, gate=look.gate)
            trouble = f"the judge failed: {error!r}"
        finding = finding_of(found, judgement, trouble)
        now = self._office.clock()
        details = details_of(look, found, finding.outcome, judgement, trouble)
        rows = await asyncio.to_thread(rows_of, application.name, look, details, now)
        extra = Transaction(looks=rows)
        if await self._office.judged(application.name, Judged.of(look, finding), extra):
            self._tell(application.name, look, finding.outcome, now - begun)
            log.info(
                "analysis.looked",
                application=application.name,
                rollout=look.rollout,
                gate=look.gate,
                region=look.region,
                look=look.look,
                outcome=finding.outcome,
            )


def key_of(application: Application, look: DueLook) -> Key:
    return (application.name, *look.key)


def judgement_of(look: DueLook, found: Sequence[Found]) -> Judgement | None:
    """By the metrics that could be read; None: by none. Takes a while: not for the event loop."""
    read = [each for each in found if not each.trouble]
    if not read:
        return None
    return judge(
        look.plan.judge,
        [each.reading.metric for each in read],
        {each.reading.metric.name: each.baseline for each in read},
        {each.reading.metric.name: each.canary for each in read},
        look.judged + 1,
        look.plan.count,
    )


def finding_of(found: Sequence[Found], judgement: Judgement | None, trouble: str = "") -> Finding:
    """A metric that counts and could not be read makes the look an error, unless what could be read is bad
    already: then the others would not make it better."""
    if trouble or judgement is None:
        failed = next((each for each in found if each.trouble), None)
        return Finding.error(failed.reading.source if failed is not None else "", trouble or _of(failed))
    missing = next((each for each in found if each.trouble and not each.reading.metric.is_muted), None)
    if missing is not None and judgement.outcome is not Outcome.FAIL:
        return Finding.error(missing.reading.source, missing.trouble)
    return Finding.of(judgement)


def _of(failed: Found | None) -> str:
    return failed.trouble if failed is not None else "there is nothing to judge by"
