"""The way back that a person asks for: a running rollout is turned round, or an older group serves again."""

from dataclasses import dataclass, replace

from repave_controller.core.commands.release import target_of
from repave_controller.core.domain.application import (
    FULL_PERCENT,
    Application,
    GroupState,
    Instant,
    Observed,
    Outcome,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import (
    Happening,
    Reason,
    Refusal,
    Refused,
    Why,
    cli,
    reason_of,
)
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, RolloutKind, Wave
from repave_controller.core.rollout.rollback import undo
from repave_controller.core.rollout.start import begin, group_event, new_parts
from repave_controller.core.strategies.presets import rollback_steps
from repave_protos.protocol.values import RegionName


def request_abort(application: Application, by: str, reason: str, now: Instant) -> Outcome:
    """Ends the running rollout: all traffic with the origin, a new target cleaned up."""
    if application.running is None:
        remedy = cli("rollback", application.name)
        raise Refused(Refusal.NOTHING_TO_ABORT, remedy, application=application.name)
    return _turn_round(
        application, application.running, reason_of(Why.ABORTED, by=by, reason=reason), Phase.ABORTED, by, now
    )


@dataclass(frozen=True, slots=True)
class Rollback:
    """Traffic back: to the newest warm group, or `to`; everywhere, or in `regions`."""

    to: str = ""
    regions: tuple[RegionName, ...] = ()
    force: bool = False

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        unknown = [region for region in self.regions if region not in application.regions]
        if unknown:
            raise Refused(
                Refusal.UNKNOWN_REGION_OF_SERVICE,
                application=application.name,
                region=unknown[0],
                known=application.regions,
            )
        return request_rollback(application, observed, by, reason, self.force, now, self.to, self.regions)


def request_rollback(
    application: Application,
    observed: Observed,
    by: str,
    reason: str,
    force: bool,
    now: Instant,
    to: str = "",
    regions: tuple[RegionName, ...] = (),
) -> Outcome:
    """One switch back: the running rollout is turned round, or an older group gets the traffic: the newest
    warm one, or `to`; in all its regions, or in `regions`. One that is gone is built again from its image."""
    if application.running is not None:
        if to or regions:
            running = target_of(application, application.running).name
            raise Refused(
                Refusal.ROLLOUT_RUNNING_AT_ROLLBACK, cli("abort", application.name), running=running
            )
        why = reason_of(Why.ROLLED_BACK, by=by, reason=reason)
        return _turn_round(application, application.running, why, Phase.ROLLED_BACK, by, now)
    target = _rollback_target(application, to, regions)
    if target not in application.groups:
        return _rebuild(application, target, by, reason, now)
    where = tuple(part for part in target.parts if part.state is GroupState.WARM)
    where = tuple(part for part in where if not regions or part.region in regions)
    if not force:
        _check_health(application, target, where, observed)
    is_whole = all(part.percent >= FULL_PERCENT for part in where)
    steps = rollback_steps(target)[-1:] if is_whole else rollback_steps(target)
    waves = (Wave(tuple(part.region for part in where), is_lockstep=False),)
    begun = begin(application, RolloutKind.ROLLBACK, target, steps, waves, by, reason, now)
    what = reason_of(Happening.ROLLBACK_STARTED, group=target.name, regions=regions, by=by, reason=reason)
    return begun, (group_event(begun, "rollback.started", what, now, by, target),)


def _rollback_target(application: Application, to: str, regions: tuple[RegionName, ...]) -> ServerGroup:
    """A warm group, or one of the past; by name, or the newest that lost its traffic."""
    warm = [
        group
        for group in application.groups
        if any(
            part.state is GroupState.WARM and (not regions or part.region in regions) for part in group.parts
        )
    ]
    warm.sort(key=lambda group: (group.left_traffic_at or 0.0, group.number), reverse=True)
    names = {group.name for group in application.groups if group.state is not GroupState.RETIRING}
    past = [group for group in application.past if group.name not in names]
    found = [group for group in (*warm, *past) if to in ("", group.name, group.version)]
    if found:
        return found[0]
    there = tuple(f"{group.name} ({group.version})" for group in (*warm, *past))
    if to and there:
        raise Refused(Refusal.NO_OLDER_GROUP_OF_NAME, application=application.name, name=to, groups=there)
    raise Refused(Refusal.NO_OLDER_GROUP, application=application.name)


def _rebuild(application: Application, past: ServerGroup, by: str, reason: str, now: Instant) -> Outcome:
    """The hosts of `past` are gone: a fresh group of the same image and configuration, without canary."""
    sizes = {region: size for region in application.regions if (size := _size_in(application, region))}
    number = application.next_number
    group = replace(
        past,
        name=format_group(application.cluster, number),
        number=number,
        parts=new_parts(tuple(sizes.items())),
        created_at=now,
    )
    begun = replace(application.with_group(group), next_number=GroupNumber(number + 1))
    begun = begin(begun, RolloutKind.RELEASE, group, rollback_steps(past), (), by, reason, now)
    what = reason_of(
        Happening.BUILT_AGAIN,
        past=past.name,
        version=past.version,
        group=group.name,
        by=by,
        reason=reason,
    )
    return begun, (group_event(begun, "release.started", what, now, by, group),)


def _size_in(application: Application, region: RegionName) -> int:
    serving = application.serving_in(region)
    return serving.size(region) if serving is not None else 0


def _check_health(
    application: Application, target: ServerGroup, parts: tuple[Part, ...], observed: Observed
) -> None:
    for part in parts:
        view = observed.get(part.region)
        if view is None or not view.is_connected or view.report is None:
            continue  # what can't be seen can't be judged; the region follows when it returns
        report = view.group(target.name)
        have, floor = min(report.verified, report.balancer_up), application.policy.floor(part.count)
        if have < floor:
            raise Refused(
                Refusal.UNHEALTHY_TARGET,
                cli("rollback", application.name, force=True),
                group=target.name,
                region=part.region,
                healthy=have,
                hosts=part.count,
                floor=floor,
            )


def _turn_round(
    application: Application, rollout: Rollout, reason: Reason, end: Phase, by: str, now: Instant
) -> Outcome:
    target = target_of(application, rollout)
    if rollout.phase is Phase.UNDOING:
        return application, ()
    if rollout.origin is None and rollout.has_given_traffic():
        raise Refused(Refusal.FIRST_RELEASE_SERVES, group=target.name, application=application.name)
    undone = undo(application, rollout, reason, end, now)
    what = reason_of(Happening.GOES_BACK, group=target.name, reason=reason)
    return undone, (group_event(undone, f"{rollout.kind}.undoing", what, now, by, target),)
