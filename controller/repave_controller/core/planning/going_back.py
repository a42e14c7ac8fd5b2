"""Foretells what a rollback would do: the way of each region, by the rules that then decide it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from repave_controller.core.commands.rollback import Rollback, healthy_in, is_ill
from repave_controller.core.domain.application import Application, GroupState, Instant, Observed
from repave_controller.core.domain.reasons import Reason, Refused
from repave_controller.core.domain.rollout import RolloutKind
from repave_controller.core.rollout.way_back import WayBack, ways_back
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName


class How(StrEnum):
    """What it takes to bring a group back in a region."""

    SWITCH = "switch"  # it runs in full
    GROW = "grow"  # it has fewer hosts than serve now
    BUILD = "build"  # none of its hosts is left


@dataclass(frozen=True, slots=True)
class RegionBack:
    """One region: `has` of `size` hosts are kept, `healthy` of them can serve, of those that serve now
    `serving_healthy`."""

    name: RegionName
    serving: GroupName
    serving_version: str
    target: GroupName  # of one that is built again, the group that it was
    version: str
    how: How
    has: int
    size: int
    healthy: int
    serving_healthy: int
    is_ill: bool
    is_away: bool
    at_least_seconds: float


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """All that is known beforehand. `turns_round`: the running rollout's group, whose release goes back."""

    application: ApplicationName
    turns_round: GroupName | None
    regions: tuple[RegionBack, ...]
    stays: tuple[tuple[RegionName, GroupName], ...]
    at_once: bool  # the switch comes before groups grow
    warm: tuple[tuple[GroupName, str], ...]  # groups that are kept and not gone to, with their versions
    problems: tuple[Reason, ...]


def plan_rollback(
    application: Application, observed: Observed, verb: Rollback, reason: str, now: Instant
) -> RollbackPlan:
    """What `verb` would do now, when nothing fails."""
    running = application.running
    problems = _problems(application, observed, verb, reason, now)
    ways: tuple[WayBack, ...] = ()
    if running is None:
        try:
            ways = ways_back(application, verb.to, verb.regions)
        except Refused as refused:
            problems = problems or (refused.reason,)
    regions = tuple(_region(application, observed, way, at_once=verb.at_once) for way in ways)
    going, targets = {each.name for each in regions}, {each.target for each in regions}
    turned = application.group(running.target) if running is not None else None
    is_release = running is not None and running.kind is RolloutKind.RELEASE
    return RollbackPlan(
        application=application.name,
        turns_round=turned.name if turned is not None and is_release else None,
        regions=regions,
        stays=tuple(
            (region, group.name)
            for region in application.regions
            if (group := application.serving_in(region)) is not None and region not in going and ways
        ),
        at_once=verb.at_once,
        warm=tuple(
            (group.name, group.version)
            for group in reversed(application.groups)
            if group.state is GroupState.WARM and group.name not in targets
        ),
        problems=problems,
    )


def _problems(
    application: Application, observed: Observed, verb: Rollback, reason: str, now: Instant
) -> tuple[Reason, ...]:
    try:
        verb.apply(application, observed, "", reason, now)
    except Refused as refused:
        return (refused.reason,)
    return ()


def _region(application: Application, observed: Observed, way: WayBack, *, at_once: bool) -> RegionBack:
    how = How.BUILD if way.kept is None else How.SWITCH if way.is_whole else How.GROW
    healthy, serving_healthy = healthy_in(way, observed)
    view = observed.get(way.region)
    is_waiting = how is How.BUILD or (how is How.GROW and not at_once)
    proof_seconds = max(way.target.template.min_healthy_seconds, application.launch_seconds)
    return RegionBack(
        name=way.region,
        serving=way.serving.name,
        serving_version=way.serving.version,
        target=way.target.name,
        version=way.target.version,
        how=how,
        has=way.has,
        size=way.size,
        healthy=healthy,
        serving_healthy=serving_healthy,
        is_ill=is_ill(application, way, observed),
        is_away=view is None or not view.is_connected,
        at_least_seconds=proof_seconds if is_waiting else 0.0,
    )
