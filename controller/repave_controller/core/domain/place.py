"""A region on its way through a rollout: the groups that meet there, and what becomes of their parts."""

from dataclasses import dataclass, replace

from repave_controller.core.domain.application import Application, Part, ServerGroup
from repave_controller.core.domain.rollout import Rollout, Track
from repave_protos.protocol.values import RegionName


@dataclass(frozen=True, slots=True)
class Side:
    """A server group and its part in the region."""

    group: ServerGroup
    part: Part


@dataclass(frozen=True, slots=True)
class Place:
    """The region of `track`. `origin` is None where no group served before."""

    application: Application
    rollout: Rollout
    track: Track
    target: Side
    origin: Side | None

    @property
    def region(self) -> RegionName:
        return self.track.region


def place_of(application: Application, rollout: Rollout, track: Track) -> Place | None:
    """None where the target has no part, or no part any more, in the region."""
    target, origin = target_in(application, rollout, track), origin_in(application, track)
    return Place(application, rollout, track, target, origin) if target is not None else None


def target_in(application: Application, rollout: Rollout, track: Track) -> Side | None:
    """The side that the rollout brings to the track's region."""
    return _side(application.group(rollout.target_of(track)), track.region)


def origin_in(application: Application, track: Track) -> Side | None:
    """The side that served in the track's region before."""
    return _side(application.group(track.origin), track.region)


def _side(group: ServerGroup | None, region: RegionName) -> Side | None:
    part = group.part(region) if group is not None else None
    return Side(group, part) if group is not None and part is not None else None


def put_sides(application: Application, *sides: Side) -> Application:
    """Replaces the parts of several groups of the application at once."""
    parts = {side.group.number: side.part for side in sides}
    groups = (
        group.with_part(parts[group.number]) if group.number in parts else group
        for group in application.groups
    )
    return replace(application, groups=tuple(groups))


def put_part(application: Application, group: ServerGroup, part: Part) -> Application:
    """Replaces the group's part of that region."""
    newest = application.group(group.number) or group
    return application.with_group(newest.with_part(part))
