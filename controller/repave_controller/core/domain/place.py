"""A region on its way through a rollout: the groups that meet there, and what becomes of their parts."""

from dataclasses import dataclass

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
    target = side_of(application.group(rollout.target), track.region)
    if target is None:
        return None
    return Place(application, rollout, track, target, side_of(application.group(track.origin), track.region))


def side_of(group: ServerGroup | None, region: RegionName) -> Side | None:
    part = group.part(region) if group is not None else None
    return Side(group, part) if group is not None and part is not None else None


def put_part(application: Application, group: ServerGroup, part: Part) -> Application:
    """Replaces the group's part of that region."""
    newest = application.group(group.number) or group
    return application.with_group(newest.with_part(part))
