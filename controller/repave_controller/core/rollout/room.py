"""Whether a release has room, and the kept groups that give way to it. Pure."""

from collections.abc import Collection, Iterable, Mapping

from repave_controller.core.domain.application import (
    Application,
    Because,
    GroupState,
    Observed,
    Outcome,
    Part,
    ReleaseOrder,
    ServerGroup,
)
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.place import put_part
from repave_controller.core.domain.reasons import (
    Happening,
    Reason,
    Refusal,
    Refused,
    Remedy,
    Rule,
    Why,
    cli,
    reason_of,
)
from repave_controller.core.domain.rollout import GroupNumber, Rollout, Track
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.rollout.start import group_event
from repave_controller.core.rollout.transitions import remembered
from repave_controller.core.rules.verdicts import Waiting
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

KEPT = (GroupState.FAILED, GroupState.WARM)


def kept_in(application: Application, region: RegionName) -> list[ServerGroup]:
    """The groups that are only kept there, and make room when they go: failed ones first, then those for a
    rollback. Hosts that were adopted run on."""
    made = (group for group in application.groups if not group.is_adopted)
    found = [(group, part.state) for group in made if (part := group.part(region)) is not None]
    return [group for kind in KEPT for group, state in found if state is kind]


def giving_way(application: Application, regions: Collection[RegionName], now: Instant) -> Outcome:
    """The application without the kept groups of these regions, which the rollout that began waits for."""
    told: dict[GroupNumber, tuple[ServerGroup, list[Part]]] = {}
    for region in regions:
        for group in kept_in(application, region):
            part = group.part(region)
            assert part is not None, "it is kept there"
            application = put_part(application, group, replace(part, state=GroupState.RETIRING, percent=0.0))
            told.setdefault(group.number, (group, []))[1].append(part)
    for group, parts in told.values():
        warm = [part for part in parts if part.state is GroupState.WARM]
        application = remembered(application, group, *warm) if warm else application
    rollout = application.rollout
    if not told or rollout is None:
        return application, ()
    by = format_group(application.cluster, rollout.target)
    events = tuple(
        group_event(
            application,
            "group.retiring",
            reason_of(
                Happening.GROUP_GIVES_WAY,
                group=group.name,
                by=by,
                regions=tuple(part.region for part in parts),
            ),
            now,
            "repave",
            group,
        )
        for group, parts in told.values()
    )
    return replace(application, rollout=replace(rollout, makes_room=Listed(regions))), events


def making_room(
    application: Application, rollout: Rollout, track: Track, observed: Observed
) -> Waiting | None:
    """What the track's region waits for before it begins; a region that is away can't be waited for."""
    view = observed.get(track.region)
    if track.region not in rollout.makes_room.once(frozenset) or view is None or not view.is_connected:
        return None
    leaving = tuple(
        group.name
        for group in application.groups
        if (part := group.part(track.region)) is not None and part.state is GroupState.RETIRING
    )
    return Waiting(Because(reason_of(Why.MAKES_ROOM, groups=leaving), track.region)) if leaving else None


def with_room(
    application: Application, order: ReleaseOrder, lacks: Mapping[RegionName, Reason]
) -> ReleaseOrder:
    """The order, with the regions where kept groups give way to it; `lacks`: where it has no room now, or
    would never have. Raises Refused: a release that can't fit would only use up names of hosts."""
    if not lacks or application.running is not None:  # by the time of one that is queued it is another room
        return order
    if misfits := misfits_of(lacks):
        raise Refused(Refusal.MISFIT, misfits=tuple(misfits.values()))
    gives_way = tuple(region for region in lacks if order.policy.gives_way and kept_in(application, region))
    left = [region for region in lacks if region not in gives_way]
    if left:
        ways = ways_to_room(application, left)
        raise Refused(Refusal.NO_ROOM, *ways, lacks=tuple(lacks[region] for region in left))
    return replace(order, gives_way=gives_way)


def misfits_of(lacks: Mapping[RegionName, Reason]) -> dict[RegionName, Reason]:
    """Those of regions that can't make such hosts, whatever makes room there."""
    return {region: reason for region, reason in lacks.items() if reason.kind is Rule.MISFIT}


def ways_to_room(application: Application, regions: Iterable[RegionName]) -> tuple[Remedy, ...]:
    """The commands that end groups which are only kept in these regions."""
    names = {group.name: None for region in regions for group in kept_in(application, region)}
    return tuple(cli("groups retire", application.name, name) for name in names)
