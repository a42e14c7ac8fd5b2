"""What the dashboard shows of regions as it changes: all of them in a line each, and one with all it has."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import Field

from repave_controller.api.answers import live, models, views
from repave_controller.api.answers.answer import Answer
from repave_controller.core.domain.application import Application
from repave_controller.fleet.regions import KnownRegion
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import RegionName


class RegionRow(models.RegionItem):
    """A region, its agent and that one's certificate."""

    starting: bool = Field(description="Its agent is there, and can't act yet.")
    clock_offset_seconds: int = Field(description="By which its clock is ahead of the controller's.")
    certificate_until: datetime | None = Field(description="Null: its agent has none, or is away.")


class RegionsTopic(Answer):
    """All regions."""

    regions: list[RegionRow]


class RegionTopic(Answer):
    """One region; `items` hold the applications there that the person may read."""

    region: RegionRow


class ApplicationThere(models.ApplicationRegionItem):
    """An application in the region. `name` is its own."""

    state: str = Field(description="A letter as in the fleet's states.")
    version: str = Field(description="That serves there; empty: none does.")
    rollout: int = Field(description="The number of the one that runs; 0: none does.")
    phase: str = Field(description="Of its part of the rollout; empty: it has none.")
    step: str = Field(description="The kind of step that it is in; empty: it is in none.")
    step_since: datetime | None
    reason: str


def regions(world: live.World, _: str) -> live.Parts:
    rows = [
        _row(known, world).model_copy(update={"reported_at": None})  # else each report would send all rows
        for _, known in sorted(world.regions.items())
    ]
    return live.Parts(RegionsTopic(regions=rows), {})


def region(world: live.World, name: str) -> live.Parts:
    """Raises KeyError."""
    known = world.regions[RegionName(name)]
    there = {
        application.name: _there(application, known, world)
        for application in sorted(world.applications.values(), key=lambda each: each.name)
        if known.region in application.regions
    }
    return live.Parts(RegionTopic(region=_row(known, world)), there)


TOPICS: Final[Mapping[str, live.Topic]] = {
    **live.TOPICS,
    "regions": live.Topic(regions),
    "region": live.Topic(region, takes="region"),
}


def _row(known: KnownRegion, world: live.World) -> RegionRow:
    is_unused = all(known.region not in each.regions for each in world.applications.values())
    item = views.region_item(known, (), is_unused=is_unused)
    identity = known.identity if known.is_connected else None
    return RegionRow(
        **item.model_dump(),
        starting=known.is_starting,
        clock_offset_seconds=round(known.clock_offset_seconds or 0.0),
        certificate_until=views.time_of(identity.expires_at) if identity is not None else None,
    )


def _there(application: Application, known: KnownRegion, world: live.World) -> ApplicationThere:
    seen, serving = world.seen(application.name), application.serving_in(known.region)
    running = application.running
    track = running.track(known.region) if running is not None else None
    item = views.region_of(known.region, application, seen, known)
    steps = running.steps if running is not None and track is not None and track.has_begun else ()
    is_in_step = track is not None and track.cursor < len(steps)
    return ApplicationThere(
        **{**item.model_dump(), "name": application.name},
        state=live.state_in(known.region, application, seen.get(known.region), serving),
        version=serving.version if serving is not None else "",
        rollout=running.number if running is not None else 0,
        phase=str(track.phase) if track is not None else "",
        step=str(steps[track.cursor].kind) if track is not None and is_in_step else "",
        step_since=views.time_of(track.entered_at) if track is not None and is_in_step else None,
        reason=text_of(track.reason) if track is not None else "",
    )
