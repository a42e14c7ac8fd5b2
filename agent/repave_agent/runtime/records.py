"""Keeps the region's records in DNS as they are desired: looks, decides (core/records.py), changes, looks.

Beside the worker: a name server that does not answer holds up nothing else. An agent that is away leaves its
records as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from repave_agent.core.ports import ChangedMeanwhileError, Clock, ProviderError, Records
from repave_agent.core.records import Awaited, Change, Seen, Settled, Unfit, Wanted, decide
from repave_protos.protocol.values import ApplicationName, RecordReport

log = structlog.get_logger()

TICK_SECONDS = 0.5
"""From one look at what is desired to the next."""
LOOK_SECONDS = 60.0
"""From one look at the service to the next, while nothing changes here."""
RETRY_SECONDS = 5.0
CHANGES_MAX = 5
"""In one go, where others change the same name at the same time."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One application's record: what was wanted when it was looked at last, and when that is due again."""

    wanted: Wanted
    report: RecordReport
    due_at: float
    is_awaited: bool = False  # not a trouble: what is missing comes by itself


class RecordKeeper:
    """One for an agent. `wanted` gives what each record shall be; `tell` hears what it is. `check` raises
    NotActingError, before each change."""

    name = "dns"

    def __init__(
        self,
        records: Records,
        wanted: Callable[[], Mapping[ApplicationName, Wanted]],
        tell: Callable[[ApplicationName, RecordReport], None],
        clock: Clock,
        check: Callable[[], None],
        ttl_seconds: int,
    ) -> None:
        """`ttl_seconds`: of records that were taken out before this agent began."""
        self._records, self._wanted, self._tell = records, wanted, tell
        self._clock, self._check, self._ttl_seconds = clock, check, ttl_seconds
        self._kept: dict[ApplicationName, Kept] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.tend()
            await self._clock.sleep(TICK_SECONDS)

    async def troubles(self) -> list[str]:
        """Implements checkup.Examined."""
        return [
            f"dns: {each.report.name}: {each.report.trouble}"
            for each in self._kept.values()
            if each.report.trouble and not each.is_awaited
        ]

    async def tend(self) -> None:
        """Once: each record that is due."""
        wanted = self._wanted()
        self._kept = {name: each for name, each in self._kept.items() if name in wanted}
        for application, wish in wanted.items():
            kept = self._kept.get(application)
            if kept is None or kept.wanted.name != wish.name:
                self._keep(
                    application, Kept(wish, RecordReport(wish.name, ttl_seconds=self._ttl_seconds), 0.0)
                )
            elif kept.wanted != wish:
                self._kept[application] = replace(kept, wanted=wish, due_at=0.0)
        for application, kept in list(self._kept.items()):
            if self._clock.monotonic() >= kept.due_at:
                self._keep(application, await self._looked_at(kept))

    async def remove_all(self) -> None:
        """For a region that is given up. Raises ProviderError."""
        for wish in self._wanted().values():
            gone = replace(wish, is_serving=False, drain="none")
            await settle(self._records, gone, self._check)

    async def close(self) -> None:
        await self._records.close()

    def _keep(self, application: ApplicationName, kept: Kept) -> None:
        known = self._kept.get(application)
        self._kept[application] = kept
        if known is None or known.report != kept.report:
            self._tell(application, kept.report)

    async def _looked_at(self, kept: Kept) -> Kept:
        wanted, known = kept.wanted, kept.report
        try:
            seen, verdict, has_changed = await settle(self._records, wanted, self._check)
        except ProviderError as error:
            if known.trouble != str(error):
                log.error("dns.failed", name=wanted.name, why=str(error))
            due_at = self._clock.monotonic() + RETRY_SECONDS
            return replace(kept, report=replace(known, trouble=str(error)), due_at=due_at, is_awaited=False)
        report = self._report(wanted, known, seen)
        pause = RETRY_SECONDS
        match verdict:
            case Settled():
                pause = RETRY_SECONDS if has_changed else LOOK_SECONDS  # others may have changed it too
            case Awaited(why) | Unfit(why):
                report = replace(report, trouble=why)
            case Change():
                why = "it does not stay as repave sets it: does another program change it?"
                report = replace(report, trouble=why)
        due_at = self._clock.monotonic() + pause
        return Kept(wanted, report, due_at, isinstance(verdict, Awaited))

    def _report(self, wanted: Wanted, known: RecordReport, seen: Seen) -> RecordReport:
        is_in = bool(seen.ours or seen.addresses.intersection(wanted.addresses))
        if is_in:
            return RecordReport(wanted.name, "in", seen.ttl_seconds)
        left_at = known.left_at
        if known.state == "in" or (known.state == "unknown" and wanted.drain != "none"):
            left_at = self._clock.wall()  # of a former life of the agent it is not known: not before
        ttl_seconds = max(known.ttl_seconds, seen.ttl_seconds)
        return RecordReport(wanted.name, "out", ttl_seconds, left_at)


async def settle(
    records: Records, wanted: Wanted, check: Callable[[], None]
) -> tuple[Seen, Settled | Awaited | Unfit | Change, bool]:
    """What is seen after all that could be done, what is decided by it, and whether anything was changed.
    Raises ProviderError."""
    seen, has_changed = await records.look(wanted.name), False
    for attempt in range(1, CHANGES_MAX + 1):
        verdict = decide(wanted, seen)
        if not isinstance(verdict, Change):
            return seen, verdict, has_changed
        check()
        try:
            await records.change(seen, verdict)
        except ChangedMeanwhileError:
            if attempt == CHANGES_MAX:
                raise
        else:
            has_changed = True
            log.info("dns.changed", name=wanted.name, added=verdict.add, removed=verdict.remove)
        seen = await records.look(wanted.name)
    return seen, decide(wanted, seen), has_changed
