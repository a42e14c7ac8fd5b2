"""An application in few lines, however many regions it has: regions that are alike are one item, those that
are not where they should be stand alone. What people look at; programs take the whole, or its pages.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from pydantic import Field

from repave_controller.api.answers import models, views
from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.fronts import FrontItem, fronts_of
from repave_controller.core.domain.application import Application, Because, Instant, Observed
from repave_controller.core.domain.rollout import Rollout, Track
from repave_controller.core.planning.forecast import Outlook
from repave_controller.core.rollout import drains
from repave_controller.fleet.regions import KnownRegion
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import GroupReport, RegionName

Each = TypeVar("Each")
ALONE_MAX = 12
"""Regions that stand alone: all, where there are so few."""
NAMES_MAX = 8
KINDS_MAX = 20
"""Kinds of regions, tracks and waits; the rest is counted."""
COUNTS = ("launching", "starting", "healthy", "verified", "unhealthy", "failed", "destroying", "balancer_up",
          "in_flight", "launched_total", "destroyed_total")  # fmt: skip


class Alike(Answer):
    """How many there are, and what the first are called."""

    count: int
    names: list[str] = Field(description=f"At most {NAMES_MAX}.")


class RegionsAlike(Alike):
    """Regions of which the same can be said; the hosts of their groups are added up."""

    connected: bool
    ahead: str
    current: bool
    troubles: list[str]
    groups: list[models.RegionGroupItem]


class TracksAlike(models.TrackItem, Alike):
    """Regions that are equally far; all else is said of the one that came there last."""


class WaveSummary(models.Wave):
    """As a wave, with the regions that are equally far in one item."""

    regions: list[TracksAlike]


class RolloutSummary(models.RolloutFields):
    """As a rollout, with waves summed up."""

    waves: list[WaveSummary]


class BecauseAlike(models.BecauseItem, Alike):
    """Regions that wait for the same; `region` is the first."""


class ApplicationSummary(models.ApplicationItem):
    """All about an application that fits a screen."""

    fronts: list[FrontItem] = Field(description="The ways by which clients reach it, the main one first.")
    current_rollout: RolloutSummary | None
    queue: models.QueueAnswer
    gates: list[models.GateItem] = Field(description="Approvals that are waited for.")
    waits: list[models.GateItem] = Field(description="Times that a person may end.")
    because: list[BecauseAlike] = Field(description=f"Of {KINDS_MAX} kinds.")
    region_items: list[models.ApplicationRegionItem] = Field(
        description=f"Those that are not where they should be, at most {ALONE_MAX}; all of so few."
    )
    alike: list[RegionsAlike] = Field(description="All others.")
    regions_left: int = Field(description="Regions that are in none of them: of too many kinds.")
    waits_left: int = Field(description="What is waited for besides.")


class WhySummary(Answer):
    """What an application waits for, that fits a screen."""

    application: str
    text: str
    because: list[BecauseAlike] = Field(description=f"Of {KINDS_MAX} kinds.")
    waits_left: int = Field(description="What is waited for besides.")
    troubles: dict[str, list[str]] = Field(description=f"Of the first {KINDS_MAX} regions that have some.")
    troubles_left: int = Field(description="Regions that have some besides.")


def why_summary(
    application: Application,
    observed: Observed,
    because: tuple[Because, ...],
    regions: Mapping[RegionName, KnownRegion],
) -> WhySummary:
    kinds = _waits(because)
    troubles = views.troubles_of(application, regions)
    return WhySummary(
        application=application.name,
        text=views.why_text(application, because),
        because=_awaited(application, kinds, observed),
        waits_left=sum(map(len, kinds[KINDS_MAX:])),
        troubles=dict(islice(troubles.items(), KINDS_MAX)),
        troubles_left=max(0, len(troubles) - KINDS_MAX),
    )


def summary(
    application: Application,
    observed: Observed,
    because: tuple[Because, ...],
    regions: Mapping[RegionName, KnownRegion],
    now: Instant,
) -> ApplicationSummary:
    rollout = application.rollout
    looks = {name: _look(name, application, observed, regions.get(name)) for name in application.regions}
    alone = set(_alone(looks))
    kinds = list(_grouped((name for name in looks if name not in alone), looks.__getitem__))
    awaited = _waits(because)
    gates, waits = views.gate_items(application, now)
    return ApplicationSummary(
        **views.item_fields(application, observed),
        fronts=fronts_of(application),
        current_rollout=_rollout(rollout, application.cluster, alone) if rollout else None,
        queue=_clipped_queue(views.queue_answer(application)),
        gates=[_clipped(each) for each in gates],
        waits=[_clipped(each) for each in waits],
        because=_awaited(application, awaited, observed),
        region_items=[
            views.region_of(name, application, observed, regions.get(name))
            for name in application.regions
            if name in alone
        ],
        alike=[_alike(names, application, observed, regions) for names in kinds[:KINDS_MAX]],
        regions_left=sum(map(len, kinds[KINDS_MAX:])),
        waits_left=sum(map(len, awaited[KINDS_MAX:])),
    )


def _grouped(items: Iterable[Each], kind: Callable[[Each], object]) -> Iterator[list[Each]]:
    """Those of one kind together; kinds in the order of their first."""
    found: dict[object, list[Each]] = {}
    for each in items:
        found.setdefault(kind(each), []).append(each)
    yield from found.values()


# ------------------------------------------------------------------------------------------------- regions


Look = tuple[bool, tuple[object, ...]]
"""Whether it is where it should be, and what can be said of it without counting."""


def _look(name: RegionName, application: Application, observed: Observed, region: KnownRegion | None) -> Look:
    view, desired = observed.get(name), application.desired_in(name)
    connected = view is not None and view.is_connected
    ahead = view is not None and bool(view.ahead)
    current = views.is_current(view, desired)
    troubles = tuple(region.troubles) if region is not None else ()
    record, drained = drains.record_of(view), application.drained_in(name)
    out = drained is not None or (record is not None and record.state != "in")
    groups, is_steady = [], True
    for group in application.groups:
        size = group.size(name)
        if not size:
            continue
        report = view.group(group.name) if view is not None else None
        wanted = desired.group(group.name) if desired is not None else None
        part, wanted_bp = group.part(name), wanted.weight_bp if wanted is not None else 0
        weight_bp, trouble = (report.weight_bp, report.trouble) if report is not None else (0, "")
        is_steady = is_steady and not trouble and weight_bp == wanted_bp
        groups.append((group.name, str(part.state if part else group.state), weight_bp, wanted_bp, trouble))
    is_well = connected and current and not ahead and not out and is_steady and not troubles
    return is_well, (connected, ahead, current, troubles, out, *groups)


def _alone(looks: Mapping[RegionName, Look]) -> Iterable[RegionName]:
    if len(looks) <= ALONE_MAX:
        return looks
    return islice((name for name, (is_well, _) in looks.items() if not is_well), ALONE_MAX)


def _alike(
    names: list[RegionName],
    application: Application,
    observed: Observed,
    regions: Mapping[RegionName, KnownRegion],
) -> RegionsAlike:
    first = views.region_of(names[0], application, observed, regions.get(names[0]))
    groups = [each.model_copy(update=_sums(application, observed, names, each.name)) for each in first.groups]
    return RegionsAlike(
        count=len(names),
        names=list(names[:NAMES_MAX]),
        connected=first.connected,
        ahead=first.ahead,
        current=first.current,
        troubles=first.troubles,
        groups=groups,
    )


def _sums(
    application: Application, observed: Observed, names: list[RegionName], group: str
) -> dict[str, int]:
    found = next(each for each in application.groups if each.name == group)
    sums = dict.fromkeys(COUNTS, 0) | {"size": sum(map(found.size, names))}
    for name in names:
        view = observed.get(name)
        report = view.group(found.name) if view is not None else GroupReport(found.name)
        for count in COUNTS:
            sums[count] += getattr(report, count)
    return sums


# ------------------------------------------------------------------------------------- rollout and waits


def _rollout(rollout: Rollout, cluster: str, alone: set[RegionName]) -> RolloutSummary:
    def kind(track: Track) -> object:
        return track.region if track.region in alone else "", track.phase, track.cursor

    return RolloutSummary(
        **views.rollout_fields(rollout, cluster),
        waves=[
            WaveSummary(
                **views.wave_fields(wave),
                regions=[
                    _tracks(alike, rollout, cluster)
                    for alike in _grouped((each for each in rollout.tracks if each.wave == index), kind)
                ],
            )
            for index, wave in enumerate(rollout.waves)
        ],
    )


def _tracks(alike: list[Track], rollout: Rollout, cluster: str) -> TracksAlike:
    latest = max(alike, key=lambda track: track.entered_at)
    fields: dict[str, Any] = views.track_item(latest, rollout, cluster).model_dump()
    names = [str(track.region) for track in alike[:NAMES_MAX]]
    return TracksAlike(**fields, count=len(alike), names=names)


def _waits(because: Iterable[Because]) -> list[list[Because]]:
    """Those that people would call the same together."""
    return list(_grouped(because, lambda each: (each.reason.kind, text_of(each.reason), not each.region)))


def because_alike(
    application: Application, because: Iterable[Because], observed: Observed
) -> list[BecauseAlike]:
    """What is waited for, of the first kinds: what follows each is foreseen once for all its regions."""
    return _awaited(application, _waits(because), observed)


def _awaited(
    application: Application, kinds: Iterable[list[Because]], observed: Observed
) -> list[BecauseAlike]:
    outlook = Outlook(application, observed)
    return [_because(each, outlook) for each in islice(kinds, KINDS_MAX)]


def _because(alike: list[Because], outlook: Outlook) -> BecauseAlike:
    fields: dict[str, Any] = views.because_item(alike[0], outlook).model_dump()
    begun = [each.since for each in alike if each.since is not None]
    ends = [each.until for each in alike if each.until is not None]
    fields["since"] = views.time_of(min(begun)) if begun else None
    fields["until"] = views.time_of(max(ends)) if ends else None
    regions = [each.region for each in alike if each.region]
    return BecauseAlike(**fields, count=len(regions), names=regions[:NAMES_MAX])


def _clipped(gate: models.GateItem) -> models.GateItem:
    return gate.model_copy(update={"regions": gate.regions[:NAMES_MAX]})


def _clipped_queue(queue: models.QueueAnswer) -> models.QueueAnswer:
    """Those that wait name the first of their regions alone."""
    items = [each.model_copy(update={"regions": each.regions[:NAMES_MAX]}) for each in queue.items]
    return queue.model_copy(update={"items": items})
