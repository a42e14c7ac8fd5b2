"""Decides which worn hosts are replaced now, a few at a time: too old, changed, tainted or renewed ones.

A host that a region's desired state names in `replace` may be replaced there; the agent makes a fresh one
first. `renew` says which these are from what regions report, whenever anything is decided. It starts nothing
while its application moves, nor where the group lacks hosts already. Pure; what
people ask for is in `commands/renewal.py`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from repave_controller.core.domain.application import (
    Application,
    Because,
    Event,
    GroupState,
    Instant,
    Observed,
    RegionView,
    Replacement,
    ServerGroup,
    Tainted,
)
from repave_controller.core.domain.reasons import (
    Happening,
    Reason,
    Why,
    cli,
    reason_of,
)
from repave_controller.core.domain.sequences import Listed
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupName, GroupReport, HostName, RegionName

TAINTED_MAX = 1000
"""Hosts of one application; to replace more of them, all are renewed."""
RENEWED_STATES = (GroupState.SERVING, GroupState.WARM)
REASONS = {"age": "too old", "drift": "changed", "renewal": "renewed", "asked": "asked for"}
BY_REPAVE = "repave"
Named = TypeVar("Named", Tainted, Replacement)


@dataclass(slots=True)
class Renewed:
    """The application with what is replaced from now on, what happened, and what is waited for. `begun` is
    not in it yet."""

    application: Application
    events: list[Event] = field(default_factory=list)
    because: list[Because] = field(default_factory=list)
    begun: list[Replacement] = field(default_factory=list)


def renew(
    application: Application,
    observed: Observed,
    now: Instant,
    busy: Collection[RegionName] = (),
    closed: Mapping[RegionName, Reason] | None = None,
) -> Renewed:
    """`busy`: regions where a rollout of the application runs; nothing is replaced there, and what was begun
    is taken back. `closed`: regions where nothing new may begin, and why; what was begun is finished."""
    turn = Renewed(application)
    _forget_gone_groups(turn)
    quiet = frozenset(busy)
    _take_reports(turn, observed, now, quiet)
    named = {(each.group, each.region) for each in turn.application.tainted}
    named |= {(each.group, each.region) for each in turn.application.replacing}
    for group in _in_order(application):
        for part in group.parts:
            if part.region in quiet or part.state not in RENEWED_STATES:
                continue
            report = _heard(turn.application, group.name, part.region, observed)
            if (report is not None and report.worn) or (group.name, part.region) in named:
                why = (closed or {}).get(part.region)
                _begin(turn, group, part.region, part.count, report, now, why)
    if turn.begun:
        replacing = Listed((*turn.application.replacing, *turn.begun))
        turn.application = replace(turn.application, replacing=replacing)
    return turn


def replaced_in(application: Application, group: GroupName, region: RegionName) -> tuple[HostName, ...]:
    """Whom the region's desired state names in `replace`; sorted."""
    return tuple(sorted(each.host for each in _replacing_in(application, group, region)))


def _replacing_in(application: Application, group: GroupName, region: RegionName) -> Sequence[Replacement]:
    return application.replacing.once(_by_place).get((group, region), ())


def tainted_in(application: Application, group: GroupName, region: RegionName) -> list[Tainted]:
    """In the order in which they are replaced."""
    found = application.tainted.once(_by_place).get((group, region), ())
    return sorted(found, key=lambda each: (each.at, each.host))


def _by_place(hosts: Iterable[Named]) -> Mapping[tuple[GroupName, RegionName], Sequence[Named]]:
    found: dict[tuple[GroupName, RegionName], list[Named]] = {}
    for each in hosts:
        found.setdefault((each.group, each.region), []).append(each)
    return found


def _in_order(application: Application) -> list[ServerGroup]:
    """Who serves comes first, then the newest."""
    groups = [group for group in application.groups if group.state in RENEWED_STATES]
    return sorted(groups, key=lambda group: (group.state is not GroupState.SERVING, -group.number))


# ----------------------------------------------------------------------------------------- what is over


def _forget_gone_groups(turn: Renewed) -> None:
    application = turn.application
    if not application.tainted and not application.replacing:
        return
    there = {group.name for group in application.groups if group.state is not GroupState.RETIRING}
    renewed = {group.name for group in application.groups if group.state in RENEWED_STATES}
    turn.application = replace(
        application,
        tainted=Listed(each for each in application.tainted if each.group in there),
        replacing=Listed(each for each in application.replacing if each.group in renewed),
    )


def _take_reports(turn: Renewed, observed: Observed, now: Instant, busy: Collection[RegionName]) -> None:
    """A host that is gone was replaced; where a rollout runs none is replaced; a changed one is tainted."""
    going_on, gone = [], set[tuple[HostName, RegionName]]()
    for each in turn.application.replacing:
        report = _heard(turn.application, each.group, each.region, observed)
        if report is not None and _is_asked(turn.application, each) and not _is_there(each.host, report):
            turn.events.append(_replaced_event(turn.application, each, now))
            gone.add((each.host, each.region))
        elif each.region not in busy:
            going_on.append(each)
    if len(going_on) < len(turn.application.replacing):
        left = (each for each in turn.application.tainted if (each.host, each.region) not in gone)
        turn.application = replace(turn.application, replacing=Listed(going_on), tainted=Listed(left))
    for group in _in_order(turn.application):
        if group.upkeep.drift == "taint":
            _taint_changed(turn, group, observed, now)


def _heard(
    application: Application, group: GroupName, region: RegionName, observed: Observed
) -> GroupReport | None:
    """What the region says under the desired state that was decided last; None when it has not spoken yet."""
    view, desired = observed.get(region), application.desired_in(region)
    if view is None or not _counts(view) or view.report is None or desired is None:
        return None
    return view.report.group(group) if view.report.epoch == desired.epoch else None


def _counts(view: RegionView) -> bool:
    return view.is_connected and not view.ahead


def _is_asked(application: Application, each: Replacement) -> bool:
    desired = application.desired_in(each.region)
    group = desired.group(each.group) if desired is not None else None
    return group is not None and each.host in group.replace


def _is_there(host: HostName, report: GroupReport) -> bool:
    return any(worn.host == host for worn in report.worn)


def _replaced_event(application: Application, each: Replacement, now: Instant) -> Event:
    what = reason_of(Happening.HOST_REPLACED, host=each.host, why=each.why)
    return _event(application, "host.replaced", what, now, each.region, each.group, each.host)


def _taint_changed(turn: Renewed, group: ServerGroup, observed: Observed, now: Instant) -> None:
    found = []
    for region, _ in group.sizes:
        report = _heard(turn.application, group.name, region, observed)
        known = {each.host for each in tainted_in(turn.application, group.name, region)}
        for worn in report.worn if report is not None else ():
            if worn.why == "drift" and worn.host not in known:
                what = f"changed: {worn.text}"
                found.append(Tainted(worn.host, region, group.name, BY_REPAVE, what, now))
    room = max(0, TAINTED_MAX - len(turn.application.tainted))
    taint(turn, *found[:room])


def taint(turn: Renewed, *tainted: Tainted) -> None:
    """Notes that the hosts are to be replaced, and says so in events."""
    if tainted:
        all_of_them = Listed((*turn.application.tainted, *tainted))
        turn.application = replace(turn.application, tainted=all_of_them)
        turn.events += [_tainted_event(turn.application, each) for each in tainted]


# ------------------------------------------------------------------------------------------ what begins


def _begin(
    turn: Renewed,
    group: ServerGroup,
    region: RegionName,
    size: int,
    report: GroupReport | None,
    now: Instant,
    closed: Reason | None,
) -> None:
    """Names more hosts, as many as may be replaced at once, where nothing speaks against it."""
    application = turn.application
    under_way = replaced_in(application, group.name, region)
    due = [each for each in _due(application, group, region, report, now) if each.host not in under_way]
    why_not = closed or _why_not(application, size, report)
    room = 0 if why_not else max(0, group.upkeep.at_once(size) - len(under_way))
    begun = due[:room]
    turn.begun += begun
    under_way_now, waiting = len(under_way) + len(begun), len(due) - len(begun)
    if under_way_now or waiting:
        turn.because.append(_because(application, group, region, under_way_now, waiting, why_not))


def _due(
    application: Application,
    group: ServerGroup,
    region: RegionName,
    report: GroupReport | None,
    now: Instant,
) -> Iterator[Replacement]:
    """The worn hosts of a region, the most urgent first: tainted, renewed, too old."""
    tainted = tainted_in(application, group.name, region)
    for each in tainted:
        why = f"tainted by {each.by or 'an operator'}" + (f": {each.reason}" if each.reason else "")
        yield Replacement(each.host, region, group.name, why, now)
    named = {each.host for each in tainted}
    worn = [each for each in report.worn if each.host not in named] if report is not None else []
    for reason in ("renewal", "age"):
        for host in worn:
            if host.why == reason:
                yield Replacement(host.host, region, group.name, f"{REASONS[reason]}: {host.text}", now)


def _why_not(application: Application, size: int, report: GroupReport | None) -> Reason | None:
    """Why nothing may be replaced now; None when it may."""
    if report is None:
        return reason_of(Why.RENEWAL_UNCONFIRMED)
    have, floor = min(report.verified, report.balancer_up), application.policy.floor(size)
    if have < floor:
        return reason_of(Why.RENEWAL_FLOOR, up=have, floor=floor)
    return None


def _because(
    application: Application,
    group: ServerGroup,
    region: RegionName,
    under_way: int,
    waiting: int,
    why_not: Reason | None,
) -> Because:
    reason = reason_of(
        Why.RENEWAL,
        cli("ages", application.name),
        group=group.name,
        under_way=under_way,
        waiting=waiting,
        why_not=why_not,
    )
    since = [each.since for each in _replacing_in(application, group.name, region)]
    return Because(reason, region, min(since, default=None))


def _tainted_event(application: Application, tainted: Tainted) -> Event:
    what = reason_of(Happening.HOST_TAINTED, host=tainted.host, reason=tainted.reason)
    made = _event(application, "host.tainted", what, tainted.at, tainted.region, tainted.group, tainted.host)
    return replace(made, by=tainted.by)


def _event(
    application: Application,
    kind: str,
    what: Reason,
    now: Instant,
    region: RegionName,
    group: GroupName,
    host: HostName,
) -> Event:
    return Event(kind, "", application.name, region, group, host, at=now, what=what)
