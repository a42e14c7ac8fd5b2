"""Reads the load of a region: from its balancer, or from a source of metrics of the controller's settings."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from repave_controller.core.domain.application import Application, Instant, Observed, RegionView
from repave_controller.core.domain.scaling import Scaling
from repave_controller.core.rules.scaling import Measured, hosts_running, hosts_up
from repave_controller.operations.analysis.reading import source_for
from repave_controller.operations.analysis.sources.balancer import IN_FLIGHT, NAME, REQUESTS
from repave_controller.operations.analysis.sources.ports import Side, Source, SourceError, Window
from repave_controller.operations.traffic import LAG_SECONDS
from repave_controller.wording.render import texts_of
from repave_protos.protocol.values import GroupName, RegionName

STEPS_MAX = 720
"""Of the steady time: longer ones have longer steps."""
READ_SECONDS_MAX = 30.0
READS_AT_ONCE = 20
"""Questions that wait for answers, over all regions and sources."""
TROUBLE_MAX = 300

Key = tuple[str, RegionName]


@dataclass(slots=True)
class LoadReader:
    """Remembers only since when hosts of a region have served, and since when so many have run."""

    sources: Mapping[str, Source]
    _up_since: dict[Key, Instant] = field(default_factory=dict)
    _running: dict[Key, tuple[int, Instant]] = field(default_factory=dict)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READS_AT_ONCE))

    def objection(self, application: str, scaling: Scaling) -> str:
        """Why its load can't be read; "": it can, as far as is known here."""
        if not scaling.is_automatic:
            return ""
        try:
            source = source_for(self.sources, application, _source_of(scaling))
        except SourceError as error:
            return str(error)
        return source.objection(_query_of(scaling))

    def forget(self, key: Key) -> None:
        """The region has no load to be read any more."""
        self._up_since.pop(key, None)
        self._running.pop(key, None)

    async def read(
        self, application: Application, scaling: Scaling, observed: Observed, now: Instant
    ) -> Measured:
        """Raises nothing for what a source does."""
        region = scaling.region
        up, view = hosts_up(application, region, observed), observed.get(region)
        if up == 0 or _is_left(application, region, view):
            self._up_since[application.name, region] = now
        up_since = self._up_since.get((application.name, region), Instant(0))
        running, since = self._noted(application, region, observed, now)
        known = Measured(up=up, up_since=up_since, running=running, running_since=since)
        if view is not None and view.ahead:
            return Measured(up=None, trouble=texts_of(view.ahead))
        try:
            async with self._turns, asyncio.timeout(READ_SECONDS_MAX):
                return await self._measured(application, scaling, known, now)
        except SourceError as error:
            return replace(known, trouble=_shown(str(error)))
        except TimeoutError:
            return replace(known, trouble=f"no answer within {READ_SECONDS_MAX:g} s")

    async def _measured(
        self, application: Application, scaling: Scaling, known: Measured, now: Instant
    ) -> Measured:
        """Raises SourceError."""
        source = source_for(self.sources, application.name, _source_of(scaling))
        query = _query_of(scaling)
        if why := source.objection(query):
            raise SourceError(why)
        side = Side(application.name, (scaling.region,), GroupName(""), "")
        series = await source.read(query, side, _window(scaling, source, now))
        step = float(series.step_seconds)
        is_count = scaling.by == "requests"
        values = tuple(value / step for value in series.values) if is_count else series.values
        ends_at = Instant(series.begins_at + step * len(values))
        trouble = "" if any(map(math.isfinite, values)) else f"{source.name} has no numbers"
        return replace(known, values=values, step_seconds=step, ends_at=ends_at, trouble=trouble)

    def _noted(
        self, application: Application, region: RegionName, observed: Observed, now: Instant
    ) -> tuple[int | None, Instant]:
        key, running = (application.name, region), hosts_running(application, region, observed)
        if running is None:
            self._running.pop(key, None)
            return None, now
        known = self._running.get(key)
        if known is None or known[0] != running:
            known = self._running[key] = running, now
        return known


def _is_left(application: Application, region: RegionName, view: RegionView | None) -> bool:
    """Whether there may be no load now that comes back: clients are led elsewhere, or the machine of agent
    and balancer stands still."""
    return application.drained_in(region) is not None or view is None or not view.is_connected


def _source_of(scaling: Scaling) -> str:
    return scaling.source if scaling.by == "metric" else NAME


def _query_of(scaling: Scaling) -> str:
    return {"requests": REQUESTS, "queue": IN_FLIGHT}.get(scaling.by, scaling.query)


def _window(scaling: Scaling, source: Source, now: Instant) -> Window:
    """On a grid of whole steps; the last one is over, and counted by the agents."""
    seconds = max(scaling.steady_seconds, scaling.window_seconds)
    least = source.step_for(seconds)
    step = least * max(1, math.ceil(seconds / STEPS_MAX / least))
    lag = LAG_SECONDS if _source_of(scaling) == NAME else 0.0
    until = math.floor((now - lag) / step) * step
    return Window(float(until - max(1, math.ceil(seconds / step)) * step), float(until), step)


def _shown(trouble: str) -> str:
    """As it is kept and shown, whatever a source has put into it."""
    return "".join(sign if sign.isprintable() else " " for sign in trouble[:TROUBLE_MAX])
