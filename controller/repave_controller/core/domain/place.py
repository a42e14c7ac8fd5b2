"""A region on its way through a rollout: the groups that meet there, and what becomes of their parts."""

from collections.abc import Iterable
from dataclasses import dataclass

from repave_controller.core.domain.application import Application, GroupState, Part, ServerGroup
from repave_controller.core.domain.rollout import GroupNumber, Rollout, Track
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName


@dataclass(frozen=True, slots=True)
class Side:
    """A server group and its part in the region."""

    group: ServerGroup
    part: Part


@dataclass(frozen=True, slots=True)
class Place:
    """The region of `track`. `origin` is None where no group served before. `baseline`: fresh hosts of the
    origin's version, while the target is compared with some."""

    application: Application
    rollout: Rollout
    track: Track
    target: Side
    origin: Side | None
    baseline: Side | None = None

    @property
    def region(self) -> RegionName:
        return self.track.region


def place_of(application: Application, rollout: Rollout, track: Track) -> Place | None:
    """None where the target has no part, or no part any more, in the region."""
    target, origin = target_in(application, rollout, track), origin_in(application, track)
    if target is None:
        return None
    return Place(application, rollout, track, target, origin, baseline_in(application, track))


def target_in(application: Application, rollout: Rollout, track: Track) -> Side | None:
    """The side that the rollout brings to the track's region."""
    return _side(application.group(rollout.target_of(track)), track.region)


def origin_in(application: Application, track: Track) -> Side | None:
    """The side that served in the track's region before."""
    return _side(application.group(track.origin), track.region)


def baseline_in(application: Application, track: Track) -> Side | None:
    """The side that the target is compared with, where it is not the origin itself."""
    for group in application.groups:
        if group.baseline_of is not None and group.baseline_of == track.origin:
            side = _side(group, track.region)
            if side is not None and side.part.state is GroupState.NEW:
                return side
    return None


def _side(group: ServerGroup | None, region: RegionName) -> Side | None:
    part = group.part(region) if group is not None else None
    return Side(group, part) if group is not None and part is not None else None


def put_sides(application: Application, sides: Iterable[Side]) -> Application:
    """Replaces the parts of several groups and regions of the application at once."""
    parts: dict[GroupNumber, list[Part]] = {}
    for side in sides:
        parts.setdefault(side.group.number, []).append(side.part)
    if not parts:
        return application
    groups = (
        group.with_parts(parts[group.number]) if group.number in parts else group
        for group in application.groups
    )
    return replace(application, groups=tuple(groups))


def put_part(application: Application, group: ServerGroup, part: Part) -> Application:
    """Replaces the group's part of that region."""
    newest = application.group(group.number) or group
    return application.with_group(newest.with_part(part))
