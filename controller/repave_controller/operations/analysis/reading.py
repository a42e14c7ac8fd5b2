"""Reads the numbers of both sides that a look compares, metric by metric, each from its source."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from repave_controller.core.analysis.values import Metric, MetricKind, Samples
from repave_controller.core.domain.analyses import Reading
from repave_controller.core.domain.application import Application, ServerGroup
from repave_controller.core.rules.looks import Compared, DueLook
from repave_controller.operations.analysis.sources.ports import (
    Series,
    Side,
    Source,
    SourceError,
    Window,
)
from repave_protos.protocol.values import GroupName, RegionName

STEPS_MAX = 720
"""Of a whole analysis: longer ones have longer steps."""
READ_SECONDS_MAX = 150.0
"""Of one metric, all of it: a source bounds each answer by itself."""
TROUBLE_MAX = 1000
"""Characters of why there are no numbers."""
FULL_BP = 10_000
NOTHING = Samples()


@dataclass(frozen=True, slots=True)
class Part:
    """A group that is one side in some regions, over the same time. `share`: of their requests, for counts of
    which it is not known how many requests they come from."""

    side: Side
    window: Window
    share: float


@dataclass(frozen=True, slots=True)
class Found:
    """Of one metric. `trouble`: why there are no numbers."""

    reading: Reading
    baseline: Samples = NOTHING
    canary: Samples = NOTHING
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """`at_once`: so many questions wait for the same source; one that is down holds up only those who ask
    it."""

    sources: Mapping[str, Source]
    at_once: int
    _turns: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    async def read(self, application: Application, look: DueLook) -> list[Found]:
        """In the order of the plan's metrics. Raises nothing for what a source does."""
        return await asyncio.gather(*(self._read(application, look, each) for each in look.plan.readings))

    def objection(self, application: str, reading: Reading) -> str:
        """Why it can't be read, whichever side is meant; "": it can."""
        try:
            self._source(application, reading)
        except SourceError as error:
            return str(error)
        return ""

    def _source(self, application: str, reading: Reading) -> Source:
        """Raises SourceError."""
        source, metric = source_for(self.sources, application, reading.source), reading.metric
        for query in (reading.query, reading.total):
            if why := query and (source.objection(query) or source.objection_to_sides(query)):
                raise SourceError(f"{metric.name}: {why}")
        if metric.kind is MetricKind.RATE and not reading.total:
            source.total_of(reading.query)
        return source

    async def _read(self, application: Application, look: DueLook, reading: Reading) -> Found:
        try:
            source = self._source(application.name, reading)
            step = step_of(look, source)
            turns = self._turns.setdefault(reading.source, asyncio.Semaphore(self.at_once))
            async with asyncio.timeout(READ_SECONDS_MAX), turns:
                old, new = baseline_of(application, look, step), canary_of(application, look, step)
                await _check_versions(source, reading, old, new)
                baseline, canary = await _samples(source, reading, old), await _samples(source, reading, new)
        except SourceError as error:
            return Found(reading, trouble=_shown(str(error)))
        except TimeoutError:
            return Found(reading, trouble=f"no answer within {READ_SECONDS_MAX:g} s")
        return Found(reading, *_with_zeros(reading.metric, baseline, canary))


def source_for(sources: Mapping[str, Source], application: str, name: str) -> Source:
    """The one of that name, which the application may use. Raises SourceError."""
    source = sources.get(name)
    if source is None:
        named = ", ".join(sorted(sources))
        raise SourceError(f"the controller's settings have no source {name}, but {named}")
    if not any(fnmatchcase(application, glob) for glob in source.applications):
        raise SourceError(f"the settings let {application} not use the source {name}")
    return source


async def _check_versions(source: Source, reading: Reading, old: Sequence[Part], new: Sequence[Part]) -> None:
    """Raises SourceError where both sides would have the same numbers."""
    same = {each.side.version for each in old} & {each.side.version for each in new}
    for query in (reading.query, reading.total) if same else ():
        if query and await source.is_by_version(query):
            raise SourceError(
                f"both groups are of version {min(same)}, and nothing in {source.name} tells them apart"
            )


def _shown(trouble: str) -> str:
    """As it is kept and shown, whatever a source has put into it."""
    return "".join(sign if sign.isprintable() else " " for sign in trouble[:TROUBLE_MAX])


def step_of(look: DueLook, source: Source) -> int:
    """The same at each look of an analysis: as fine as the source still has it at the last one."""
    seconds = look.plan.seconds
    reach = min(look.plan.look_back_seconds or seconds, seconds)
    if any(each.baseline_until < look.until for each in look.regions):
        reach += seconds  # the old group's time before the switch, which is ever longer ago
    least = source.step_for(reach)
    return least * max(1, math.ceil(seconds / STEPS_MAX / least))


def canary_of(application: Application, look: DueLook, step: int) -> list[Part]:
    return _parts(application, look, [(each.target, each, look.until) for each in look.regions], step)


def baseline_of(application: Application, look: DueLook, step: int) -> list[Part]:
    """Where it has no traffic any more, its last while of it, for as long."""
    sides = [(each.origin, each, min(look.until, each.baseline_until)) for each in look.regions]
    return _parts(application, look, sides, step)


def _parts(
    application: Application, look: DueLook, sides: Sequence[tuple[GroupName, Compared, float]], step: int
) -> list[Part]:
    together: dict[tuple[GroupName, float], list[RegionName]] = {}
    for group, each, until in sides:
        together.setdefault((group, until), []).append(each.region)
    parts = []
    for (name, until), regions in sorted(together.items()):
        known = next((each for each in application.groups if each.name == name), None)
        version = known.version if known is not None else ""
        side = Side(application.name, tuple(sorted(regions)), name, version)
        window = _window(until - (look.until - look.since), until, step)
        parts.append(Part(side, window, _share(known, regions)))
    return parts


def _window(since: float, until: float, step: int) -> Window:
    """On a grid of whole steps, so that looks see the same steps; at least the last one."""
    end = math.floor(until / step) * step
    return Window(float(min(math.ceil(since / step) * step, end - step)), float(end), step)


def _share(group: ServerGroup | None, regions: Sequence[RegionName]) -> float:
    """Of the requests of these regions. A group that has none any more had all."""
    parts = [part for region in regions if group is not None and (part := group.part(region)) is not None]
    shares = [part.weight_bp or FULL_BP for part in parts]
    return sum(shares) / len(shares) / FULL_BP if shares else 1.0


async def _samples(source: Source, reading: Reading, parts: Sequence[Part]) -> Samples:
    """Of all parts together. Raises SourceError."""
    found = [await _of_part(source, reading, part) for part in parts]
    first = found[0] if found else Samples()
    if len(found) < 2:
        return first
    return Samples(
        values=tuple(value for each in zip(*(one.values for one in found), strict=False) for value in each),
        events=_sum([each.events for each in found]),
        trials=_sum([each.trials for each in found]),
        step_seconds=first.step_seconds,
        begins_at=first.begins_at,
    )


async def _of_part(source: Source, reading: Reading, part: Part) -> Samples:
    series = await source.read(reading.query, part.side, part.window)
    step, begin, kind = float(series.step_seconds), series.begins_at, reading.metric.kind
    if kind is MetricKind.VALUE:
        return Samples(values=series.values, step_seconds=step, begins_at=begin)
    if kind is MetricKind.COUNT:
        # Older steps may be longer than those that were asked for, and have more events.
        exposure = (part.share * step / part.window.step_seconds,) * len(series.values)
        return Samples(events=series.values, trials=exposure, step_seconds=step, begins_at=begin)
    total = await source.read(reading.total or source.total_of(reading.query), part.side, part.window)
    if (total.step_seconds, total.begins_at) != (series.step_seconds, series.begins_at):
        raise SourceError("its events and its total come in different steps")
    events, trials = _as_long(series, total)
    return Samples(events=events, trials=trials, step_seconds=step, begins_at=begin)


def _as_long(one: Series, other: Series) -> tuple[tuple[float, ...], tuple[float, ...]]:
    length = min(len(one.values), len(other.values))
    return one.values[:length], other.values[:length]


def _sum(columns: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Step by step; what is not known of one is not known of the sum."""
    return tuple(map(sum, zip(*columns, strict=False)))


def _with_zeros(metric: Metric, baseline: Samples, canary: Samples) -> tuple[Samples, Samples]:
    """Many systems know of no errors of a side until it has had the first: where the other side has some, and
    there were requests, there were none. Where neither has any the query may be wrong."""
    is_rate = metric.kind is MetricKind.RATE
    if not is_rate or not any(math.isfinite(each) for each in (*baseline.events, *canary.events)):
        return baseline, canary
    return _filled(baseline), _filled(canary)


def _filled(samples: Samples) -> Samples:
    events = tuple(
        0.0 if math.isnan(event) and math.isfinite(trials) else event
        for event, trials in zip(samples.events, samples.trials, strict=True)
    )
    return Samples(samples.values, events, samples.trials, samples.step_seconds, samples.begins_at)
