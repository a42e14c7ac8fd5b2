"""How an application, a region of it or one of its groups ends when a person says so. Pure, as `release.py`.

What ends is drained and destroyed like any old group; the history stays. None of it is done while a rollout
runs: it would need what ends.
"""

from collections.abc import Collection
from dataclasses import dataclass

from repave_controller.core.domain.application import (
    Application,
    Deletion,
    Event,
    GroupState,
    Instant,
    Observed,
    Outcome,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Happening, Reason, Refusal, Refused, cli, reason_of
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.rollout.drains import record_of
from repave_controller.core.rollout.transitions import remembered
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

# --------------------------------------------------------------------------------------------- a group


@dataclass(frozen=True, slots=True)
class RetireGroup:
    """An old group goes before its time; `name`: its name or its version."""

    name: str
    regions: tuple[RegionName, ...] = ()  # empty: everywhere

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        group = _group_called(application, self.name)
        _check_in_no_rollout(application, group)
        regions = _regions_of(application, group, self.regions)
        serving = tuple(region for region in regions if _state(group, region) is GroupState.SERVING)
        if serving:
            delete = cli("delete", application.name)
            raise Refused(Refusal.GROUP_SERVES, delete, group=group.name, regions=serving)
        going = [region for region in regions if _state(group, region) is not GroupState.RETIRING]
        if not going:
            return application, ()
        parts = [part for region in going if (part := group.part(region)) is not None]
        # Of a group that failed there is nothing to go back to.
        proven = [part for part in parts if part.state is not GroupState.FAILED]
        kept = remembered(application, group, *proven) if proven else application
        retired = _retired(kept, group, going)
        where = () if len(going) == len(group.parts) else tuple(going)
        what = reason_of(
            Happening.GROUP_RETIRED,
            group=group.name,
            regions=where,
            by=by,
            reason=reason,
            is_adopted=int(group.is_adopted),
        )
        return retired, (_event(application, "group.retiring", what, now, by, group=group),)


def _group_called(application: Application, name: str) -> ServerGroup:
    named = [group for group in application.groups if name == group.name or _is_version(group, name)]
    named = [group for group in named if group.state is not GroupState.RETIRING] or named
    if not named:
        known = tuple(group.name for group in application.groups)
        raise Refused(Refusal.UNKNOWN_SERVER_GROUP, application=application.name, name=name, known=known)
    if len(named) > 1:
        groups = tuple(group.name for group in named)
        raise Refused(Refusal.UNKNOWN_SERVER_GROUP_BY_VERSION, name=name, groups=groups)
    return named[0]


def _is_version(group: ServerGroup, name: str) -> bool:
    """A baseline shares its version with the group that is meant."""
    return name == group.version and not group.is_baseline


def _check_in_no_rollout(application: Application, group: ServerGroup) -> None:
    rollout = application.running
    used = {*rollout.targets, *(track.origin for track in rollout.tracks)} if rollout is not None else ()
    is_compared = group.is_baseline and group.state is GroupState.NEW
    if group.number in used or is_compared:
        abort = cli("abort", application.name)
        raise Refused(Refusal.GROUP_IN_ROLLOUT, abort, application=application.name, group=group.name)


def _regions_of(
    application: Application, group: ServerGroup, wanted: tuple[RegionName, ...]
) -> tuple[RegionName, ...]:
    there = tuple(part.region for part in group.parts)
    for region in wanted:
        if group.part(region) is None:
            raise Refused(Refusal.UNKNOWN_GROUP_REGION, group=group.name, region=region, known=there)
    return wanted or there


def _state(group: ServerGroup, region: RegionName) -> GroupState:
    part = group.part(region)
    assert part is not None, "only regions that the group is in are asked for"
    return part.state


# ------------------------------------------------------------------------------------- an application


@dataclass(frozen=True, slots=True)
class Delete:
    """The application ends: its ports are closed, its hosts are drained and destroyed. Its history stays."""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        if application.deletion is not None:
            return application, ()
        _check_nothing_runs(application)
        ended = application
        for group in application.groups:
            ended = _retired(ended, group, [part.region for part in group.parts])
        ended = replace(
            ended,
            deletion=Deletion(now, by),
            queue=(),
            missed=(),
            past=(),
            tainted=Listed(),
            replacing=Listed(),
            drained=ByRegion(),
        )
        what = reason_of(Happening.DELETED, application=application.name, by=by, reason=reason)
        return ended, (_event(application, "application.deleting", what, now, by),)


# ------------------------------------------------------------------------------------------- a region


@dataclass(frozen=True, slots=True)
class LeaveRegion:
    """The application is in this region no longer; the others go on. `is_lost`: the region will never be
    heard again, so what was there is forgotten and not waited for."""

    region: RegionName
    is_lost: bool = False

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        region = self.region
        check_may_leave(application, region)
        if not self.is_lost:
            check_out_of_dns(application, region, observed, now)
        left = [group for group in application.groups if group.part(region) is not None]
        if not self.is_lost and all(_state(group, region) is GroupState.RETIRING for group in left):
            return application, ()
        gone = application
        for group in left:
            is_lost = self.is_lost
            gone = gone.with_group(group.without(region)) if is_lost else _retired(gone, group, [region])
        gone = _without_memory_of(gone, region)
        if self.is_lost:
            gone = replace(
                gone, desired=gone.desired.without([region]), offered=gone.offered.without([region])
            )
        what = reason_of(Happening.REGION_LEFT, region=region, is_lost=self.is_lost, by=by, reason=reason)
        return gone, (_event(application, "region.left", what, now, by, region),)


def check_may_leave(application: Application, region: RegionName) -> None:
    """Raises Refused with what has to come first."""
    if region not in application.regions:
        raise Refused(
            Refusal.UNKNOWN_REGION_OF_SERVICE,
            application=application.name,
            region=region,
            known=application.regions,
        )
    _check_nothing_runs(application)
    others = [other for other in application.regions if other != region]
    is_served = application.serving_in(region) is not None
    if is_served and not any(application.serving_in(other) for other in others):
        delete = cli("delete", application.name)
        raise Refused(Refusal.LAST_REGION, delete, application=application.name, region=region)


def check_out_of_dns(application: Application, region: RegionName, observed: Observed, now: Instant) -> None:
    """Raises Refused while clients are led there: its port would be shut to them."""
    record = record_of(observed.get(region)) if application.serving_in(region) is not None else None
    is_led = record is not None and record.state == "in"
    if record is not None and (is_led or now < record.left_at + record.ttl_seconds):
        drain = cli("regions drain", region, application.name)
        kind = Refusal.IN_DNS if is_led else Refusal.IN_DNS_UNTIL
        raise Refused(kind, drain, region=region, name=record.name, seconds=record.ttl_seconds)


def _without_memory_of(application: Application, region: RegionName) -> Application:
    return replace(
        application,
        missed=tuple(each for each in application.missed if each.region != region),
        tainted=Listed(each for each in application.tainted if each.region != region),
        replacing=Listed(each for each in application.replacing if each.region != region),
        drained=application.drained.without({region}),
    )


# ---------------------------------------------------------------------------------------------- common


def _check_nothing_runs(application: Application) -> None:
    if application.running is not None:
        abort = cli("abort", application.name)
        raise Refused(Refusal.ROLLOUT_RUNNING_AT_DELETION, abort, application=application.name)


def _retired(application: Application, group: ServerGroup, regions: Collection[RegionName]) -> Application:
    """Nothing of the group is wanted in these regions, nor is any traffic for it."""
    known = application.group(group.number)
    assert known is not None, "a group of the application"
    gone = frozenset(regions)
    parts = ByRegion(_gone(part) if part.region in gone else part for part in known.parts)
    return application.with_group(replace(known, parts=parts))


def _gone(part: Part) -> Part:
    return replace(part, state=GroupState.RETIRING, percent=0.0, weight_bp=0)


def _event(
    application: Application,
    kind: str,
    what: Reason,
    now: Instant,
    by: str,
    region: str = "",
    group: ServerGroup | None = None,
) -> Event:
    name = group.name if group is not None else ""
    return Event(kind, application=application.name, group=name, region=region, by=by, at=now, what=what)
