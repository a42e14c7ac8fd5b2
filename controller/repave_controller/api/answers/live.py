"""What a dashboard shows as it changes: one snapshot a topic, made from what the controller knows now.

A topic that speaks of several applications keeps them apart, for each person is told of those that they may
read. Snapshots say when something was, never how long ago: what stands still is not sent again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field

from repave_controller.api.answers import models, views
from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.fronts import FrontItem, fronts_of
from repave_controller.api.answers.summary import BecauseAlike, because_alike
from repave_controller.core.domain.application import (
    Application,
    Because,
    Instant,
    Observed,
    RegionView,
    ServerGroup,
)
from repave_controller.core.domain.freezes import Freezes, held
from repave_controller.core.domain.rollout import TrackPhase
from repave_controller.fleet.regions import KnownRegion
from repave_controller.security.principals import Permission
from repave_controller.wording.render import text_of, texts_of
from repave_protos.protocol.values import ApplicationName, RegionName

NOT_THERE = "-"
VERSION_LETTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class World:
    """What the controller knows now."""

    applications: Mapping[ApplicationName, Application]
    seen: Callable[[ApplicationName], Observed]
    because: Callable[[ApplicationName], tuple[Because, ...]]
    regions: Mapping[RegionName, KnownRegion]
    ahead: Collection[RegionName]
    freezes: Freezes
    now: Instant
    rows: "FleetRows"


class FreezeNow(Answer):
    """Everything is frozen."""

    by: str
    reason: str
    at: datetime


class ShellTopic(Answer):
    """What every page shows."""

    frozen: FreezeNow | None


class FleetRow(models.ApplicationItem):
    """An application over all its regions. `states` and `versions` have one letter a region of the fleet's
    `regions`."""

    target: str = Field(description="The version that a running rollout brings.")
    kind: str = Field(description="Of the rollout: release, rollback, renewal; empty: there was none.")
    number: int = Field(description="Of the rollout.")
    done: int = Field(description="Regions in which it is through.")
    of: int = Field(description="Regions that it is for.")
    step: str = Field(description="That the slowest region is in.")
    started_at: datetime | None
    started_by: str
    ended_at: datetime | None
    outcome: str
    needs: str = Field(description="What a person has to do; empty: nothing.")
    oldest_at: datetime | None = Field(description="When its oldest host was launched.")
    frozen: bool = Field(description="A freeze of people holds it back now.")
    states: str = Field(
        description="u: up to date, m: moving, b: behind, f: failing, x: unreachable, -: not there."
    )
    versions: str = Field(description="Which of `known` serves there, by its place: 0-9, a-z, A-Z; -: none.")
    known: list[str] = Field(description="Versions that serve, newest first.")


class FleetTopic(Answer):
    """All applications; `items` hold those that the person may read."""

    regions: list[str] = Field(description="By name.")
    connected: int = Field(description="Regions whose agents are connected.")


class RegionColumn(models.ApplicationRegionItem):
    """One region of an application, and how it is there."""

    state: str = Field(description="A letter as in the fleet's states.")
    wave: int = Field(description="Of the rollout, from 0; -1: it is in none.")
    phase: str = Field(description="Of its part of the rollout; empty: it has none.")
    step: int
    step_since: datetime | None
    reason: str
    oldest_at: datetime | None


class ApplicationTopic(models.ApplicationItem):
    """One application, with all that its pages show as it changes."""

    text: str = Field(description="What it does, in a sentence.")
    fronts: list[FrontItem] = Field(description="The ways by which clients reach it, the main one first.")
    current_rollout: models.RolloutItem | None
    queue: models.QueueAnswer
    gates: list[models.GateItem]
    waits: list[models.GateItem]
    because: list[BecauseAlike] = Field(description="Of the first kinds.")
    groups: list[models.GroupItem]
    columns: list[RegionColumn]


class QueueTopic(models.QueueAnswer):
    """The queue of an application, and what it waits behind."""

    application: str
    running: str = Field(description="The version that a running rollout brings; empty: none runs.")
    number: int = Field(description="Of the newest rollout; 0: there was none.")


@dataclass(frozen=True, slots=True)
class Parts:
    """A snapshot: `head`, and of each application its part. `is_one`: it speaks of one only, and its part is
    the whole."""

    head: BaseModel | None
    items: Mapping[ApplicationName, BaseModel]
    is_one: bool = False


@dataclass(frozen=True, slots=True)
class Topic:
    """How a topic is made. `permission` is asked for the application it names, or for each that it has."""

    make: Callable[[World, str], Parts]
    takes: str = ""  # what stands after its colon; empty: nothing does
    permission: Permission = Permission.READ


# ------------------------------------------------------------------------------------------------- topics


def shell(world: World, _: str) -> Parts:
    full = world.freezes.full
    frozen = FreezeNow(by=full.by, reason=full.reason, at=views.time_of(full.at)) if full else None
    return Parts(ShellTopic(frozen=frozen), {})


def fleet(world: World, _: str) -> Parts:
    names = tuple(sorted({region for each in world.applications.values() for region in each.regions}))
    connected = sum(name in world.regions and world.regions[name].is_connected for name in names)
    rows = world.rows.of(world, names)
    return Parts(FleetTopic(regions=list(names), connected=connected), rows)


def application(world: World, name: str) -> Parts:
    """Raises KeyError."""
    known = world.applications[ApplicationName(name)]
    seen, because = world.seen(known.name), world.because(known.name)
    gates, waits = views.gate_items(known, world.now)
    rollout = known.rollout
    topic = ApplicationTopic(
        **views.item_fields(known, seen),
        text=views.why_text(known, because),
        fronts=fronts_of(known),
        current_rollout=views.rollout_item(rollout, known.cluster) if rollout else None,
        queue=views.queue_answer(known),
        gates=gates,
        waits=waits,
        because=because_alike(known, because, seen),
        groups=[views.group_item(group, known, seen) for group in known.groups],
        columns=[_column(region, known, seen, world.regions.get(region)) for region in known.regions],
    )
    return Parts(None, {known.name: topic}, is_one=True)


def queues(world: World, _: str) -> Parts:
    waiting = {name: each for name, each in sorted(world.applications.items()) if each.queue}
    return Parts(None, {name: _queue(each) for name, each in waiting.items()})


def _queue(application: Application) -> QueueTopic:
    rollout, running = application.rollout, application.running
    target = application.group(running.target) if running is not None else None
    return QueueTopic(
        **dict(views.queue_answer(application)),
        application=application.name,
        running=target.version if target is not None else "",
        number=rollout.number if rollout is not None else 0,
    )


TOPICS: Final[Mapping[str, Topic]] = {
    "shell": Topic(shell),
    "fleet": Topic(fleet),
    "queue": Topic(queues),
    "app": Topic(application, takes="application"),
}
"""By name; one that takes something is asked for as app:web."""


# -------------------------------------------------------------------------------------------------- fleet


class FleetRows:
    """Remembers the rows: one is made anew when something has changed that it is made from."""

    def __init__(self) -> None:
        self._known: dict[ApplicationName, tuple[object, FleetRow]] = {}
        self.made = 0

    def of(self, world: World, names: tuple[RegionName, ...]) -> Mapping[ApplicationName, FleetRow]:
        """`names`: all regions of the fleet, in order."""
        known, self._known = self._known, {}
        for name, application in sorted(world.applications.items()):
            read = self._read(application, world, names)
            before = known.get(name)
            if before is not None and before[0] == read:
                self._known[name] = before
            else:
                self.made += 1
                self._known[name] = read, fleet_row(application, world, names)
        return {name: row for name, (_, row) in self._known.items()}

    @staticmethod
    def _read(application: Application, world: World, names: tuple[RegionName, ...]) -> object:
        """All that a row is made from; what is the same object is not looked into."""
        views = [world.regions.get(region) for region in application.regions]
        reports = [
            (view.is_connected, view.is_starting, view.observations.applications.get(application.name))
            for view in views
            if view is not None
        ]
        ahead = [region for region in application.regions if region in world.ahead]
        return application, names, len(views), reports, ahead, _is_frozen(application, world)


def _is_frozen(application: Application, world: World) -> bool:
    return (
        held(world.freezes, application.name, (), world.freezes.of(application.name), world.now) is not None
    )


def fleet_row(application: Application, world: World, names: tuple[RegionName, ...]) -> FleetRow:
    """`names`: all regions of the fleet, in order."""
    seen = world.seen(application.name)
    serving = {name: application.serving_in(name) for name in application.regions}
    known = _versions(serving.values())
    there = {name: state_in(name, application, seen.get(name), serving[name]) for name in serving}
    return FleetRow(
        **views.item_fields(application, seen),
        **_rollout_fields(application),
        needs=_needs(application, seen, world.now),
        oldest_at=_oldest(application, seen),
        frozen=_is_frozen(application, world),
        states="".join(there.get(name, NOT_THERE) for name in names),
        versions="".join(_letter(serving.get(name), known) for name in names),
        known=known,
    )


def _versions(serving: Iterable[ServerGroup | None]) -> list[str]:
    groups = {group.number: group.version for group in serving if group is not None}
    newest_first = dict.fromkeys(groups[number] for number in sorted(groups, reverse=True))
    return list(newest_first)[: len(VERSION_LETTERS)]


def _letter(group: ServerGroup | None, known: list[str]) -> str:
    if group is None or group.version not in known:
        return NOT_THERE
    return VERSION_LETTERS[known.index(group.version)]


def _rollout_fields(application: Application) -> dict[str, Any]:
    rollout = application.rollout
    if rollout is None:
        return {
            "target": "",
            "kind": "",
            "number": 0,
            "done": 0,
            "of": 0,
            "step": "",
            "started_at": None,
            "started_by": "",
            "ended_at": None,
            "outcome": "",
        }
    running = application.running
    return {
        "target": rollout.version if running is not None else "",
        "kind": str(rollout.kind),
        "number": rollout.number,
        "done": sum(track.phase is TrackPhase.DONE for track in rollout.tracks),
        "of": len(rollout.tracks),
        "step": str(rollout.steps[rollout.cursor].kind) if running is not None and rollout.steps else "",
        "started_at": views.time_of(rollout.started_at),
        "started_by": rollout.started_by,
        "ended_at": views.time_of(rollout.ended_at) if rollout.ended_at is not None else None,
        "outcome": text_of(rollout.undo_reason or (rollout.pause.reason if rollout.pause else None)),
    }


def _needs(application: Application, seen: Observed, now: Instant) -> str:
    """What only a person can do about it, in a few words."""
    approvals, _ = views.gate_items(application, now)
    if approvals:
        return f"{approvals[0].gate} waits for approval"
    phase = views.phase_of(application.rollout) if application.rollout is not None else ""
    if phase in ("held", "paused"):
        return f"the {application.rollout.kind if application.rollout else 'rollout'} is {phase}"
    ahead = [view.ahead for region in application.regions if (view := seen.get(region)) and view.ahead]
    return texts_of(ahead[0]) if ahead else ""


def _oldest(application: Application, seen: Observed, region: RegionName | None = None) -> datetime | None:
    found = [
        report.oldest_at
        for group in application.groups
        for part in (group.parts if region is None else filter(None, (group.part(region),)))
        if part.region in seen
        if (report := seen[part.region].group(group.name)).oldest_at
    ]
    return views.time_of(min(found)) if found else None


def state_in(
    region: RegionName, application: Application, view: RegionView | None, serving: ServerGroup | None
) -> str:
    """How the application is there: a letter."""
    if view is None or not view.is_connected:
        return "x"
    rollout = application.rollout
    track = rollout.track(region) if rollout is not None else None
    if view.ahead or (track is not None and track.phase is TrackPhase.HELD):
        return "f"
    if serving is not None and _lacks_hosts(region, application, view, serving):
        return "f"
    if track is not None and track.phase in (TrackPhase.RUNNING, TrackPhase.UNDOING) and application.running:
        return "m"
    newest = application.group(application.serving)
    return "u" if serving is not None and newest is not None and serving.number == newest.number else "b"


def _lacks_hosts(
    region: RegionName, application: Application, view: RegionView, serving: ServerGroup
) -> bool:
    """It serves with fewer hosts than it has to."""
    part = serving.part(region)
    size = part.judged if part is not None else 0
    return view.group(serving.name).verified < application.policy.floor(size)


# --------------------------------------------------------------------------------------------- application


def _column(
    name: RegionName, application: Application, seen: Observed, region: KnownRegion | None
) -> RegionColumn:
    view, serving = seen.get(name), application.serving_in(name)
    track = application.rollout.track(name) if application.rollout is not None else None
    return RegionColumn(
        **views.region_of(name, application, seen, region).model_dump(),
        state=state_in(name, application, view, serving),
        wave=track.wave if track is not None else -1,
        phase=str(track.phase) if track is not None else "",
        step=track.cursor if track is not None else 0,
        step_since=views.time_of(track.entered_at) if track is not None and track.has_begun else None,
        reason=text_of(track.reason) if track is not None else "",
        oldest_at=_oldest(application, seen, name),
    )
