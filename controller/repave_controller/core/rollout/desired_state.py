"""The desired state of each region: a projection of the groups' parts, and its epochs. Pure."""

from repave_controller.core.domain.application import Application, GroupState, Part, ServerGroup, Tenure
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.overlays import overlay_in
from repave_controller.core.domain.place import origin_in, target_in
from repave_controller.core.domain.rollout import RolloutKind
from repave_controller.core.rollout.jobs import desired_jobs
from repave_controller.core.rollout.renewal import replaced_in
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    DesiredGroup,
    DesiredState,
    Drain,
    Epoch,
    GroupName,
    HostName,
    RegionName,
)

Made = dict[tuple[object, ...], DesiredGroup]
"""What one projection has made so far: regions whose parts are alike share their groups."""


def publish(application: Application, tenure: Tenure) -> ByRegion[tuple[RegionName, DesiredState]]:
    """The desired state of every region; a new epoch only where the content or the tenure changed."""
    published: list[tuple[RegionName, DesiredState]] = []
    made: Made = {}
    for region in sorted({*application.regions, *(region for region, _ in application.desired)}):
        known = application.desired.find(region)
        rev = known[1].epoch.rev if known is not None else 0
        state = _desired_state(application, region, Epoch(tenure.incarnation, tenure.term, rev), made)
        if known is not None and state == known[1]:
            published.append(known)
        elif known is not None or state.groups or state.jobs:  # else its turn has not come: it need not know
            published.append((region, replace(state, epoch=Epoch(tenure.incarnation, tenure.term, rev + 1))))
    return ByRegion(published)


def desired_state(application: Application, region: RegionName, epoch: Epoch) -> DesiredState:
    """What `region` shall be. A region that no group serves any more has no frontend: port 0 closes it."""
    return _desired_state(application, region, epoch, {})


def _desired_state(application: Application, region: RegionName, epoch: Epoch, made: Made) -> DesiredState:
    groups = tuple(
        _desired_group(application, group, part, made)
        for group in application.groups
        if (part := group.part(region)) is not None and is_published(part)
    )
    is_open = any(group.weight_bp > 0 for group in groups) or _is_new(application)
    port = application.frontend_port if is_open and groups else 0
    spare = _spare(application, region) if port else None
    drain = _drain(application, region)
    jobs = desired_jobs(application, region)
    return DesiredState(application.name, epoch, port, groups, application.split, spare, drain, jobs)


def _is_new(application: Application) -> bool:
    return application.deletion is None and application.serving is None


def _drain(application: Application, region: RegionName) -> Drain:
    drained = application.drained_in(region)
    if drained is None:
        return "none"
    return "even_last" if drained.is_even_last else "unless_last"


def _spare(application: Application, region: RegionName) -> GroupName | None:
    """The group that a release takes the traffic from: it answers when the new group has no host up, until
    the controller has decided what follows.

    No other one does. A rollback leaves a group that is not wanted any more; and what a group that is kept
    warm has done since it served is not watched.
    """
    rollout = application.running if application.policy.protects else None
    track = rollout.track(region) if rollout is not None else None
    if rollout is None or track is None or rollout.kind is not RolloutKind.RELEASE:
        return None
    target, origin = target_in(application, rollout, track), origin_in(application, track)
    if target is None or origin is None or target.group.number == origin.group.number:
        return None
    is_new = target.part.state is GroupState.NEW and target.part.weight_bp > 0
    is_there = origin.part.state is GroupState.SERVING and origin.part.count > 0
    return origin.group.name if is_new and is_there else None


def is_published(part: Part) -> bool:
    """A new group is not published to a region before its turn."""
    return part.state is not GroupState.NEW or part.count > 0


def _desired_group(application: Application, group: ServerGroup, part: Part, made: Made) -> DesiredGroup:
    """Depends on the part's numbers, and on what else of the region the key names."""
    testers = _takes_testers(application, group, part)
    leaving = replaced_in(application, group.name, part.region)
    numbers = (part.size, part.state, part.percent, part.weight_bp, part.proven)
    key = (group.number, *numbers, testers, leaving, part.given, overlay_in(group.overlays, part.region))
    found = made.get(key)
    if found is None:
        found = made[key] = _make_group(application, group, part, testers, leaving)
    return found


def _make_group(
    application: Application,
    group: ServerGroup,
    part: Part,
    takes_testers: bool,
    leaving: tuple[HostName, ...],
) -> DesiredGroup:
    is_proven, count = part.state is not GroupState.NEW, part.count
    return DesiredGroup(
        name=group.name,
        digest=group.digest,
        count=count,
        weight_bp=0 if application.is_watched else part.weight_bp,
        template=group.template_in(part.region),
        is_proven=is_proven,
        # A way back is taken at once, with the hosts there are; a way forward only with enough.
        ready_count=0 if is_proven else application.policy.needed(part.judged),
        attempt=group.attempt,
        takes_testers=count > 0 and takes_testers,
        max_age_seconds=group.upkeep.max_age_seconds,
        drift=group.upkeep.drift,
        generation=group.generation,
        replace=leaving,
        released_at=group.created_at,
        keeps_failed=part.state is GroupState.FAILED
        or (
            part.state is GroupState.NEW
            and application.policy.keep_failed_seconds > 0
            and not group.is_baseline
        ),
        is_baseline=group.is_baseline,
        given=part.given,
    )


def _takes_testers(application: Application, group: ServerGroup, part: Part) -> bool:
    """Testers see a group that is being released from the moment when it is verified, at any weight."""
    rollout = application.running if application.split.tester_by else None
    track = rollout.track(part.region) if rollout is not None else None
    if (
        rollout is None
        or track is None
        or group.number != rollout.target_of(track)
        or part.state is not GroupState.NEW
    ):
        return False
    return any(step.is_proof for step in rollout.steps[: track.cursor])
