"""Judges whether a step is done, must still wait, or has failed, from what the regions observe. Pure.

Only a report made under the epoch that was published last counts: an older one speaks of another wish.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from repave_controller.ahead import because_ahead
from repave_controller.model import (
    Application,
    Because,
    GroupState,
    Instant,
    Observed,
    Rollout,
    Scale,
    ServerGroup,
    Soak,
    Verify,
    Weight,
)
from repave_controller.shares import weights_in
from repave_protos.values import FULL_WEIGHT_BP, GroupReport, RegionName

UNREACHABLE_PATIENCE_SECONDS = 60.0
"""How long an undo waits for a region that is away; it is told when it returns."""
UNDO_DEADLINE_SECONDS = 300.0
"""How long an undo waits, beyond the drain, for regions that are there but do not get it done."""


@dataclass(frozen=True, slots=True)
class Done:
    """The step is complete in every region."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The step cannot be completed; `reason` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet. `progress` grows with every bit of progress, in any entry."""

    because: tuple[Because, ...]
    progress: tuple[int, ...] = ()
    wake_at: Instant | None = None
    has_deadline: bool = True  # False: only a person can end this wait

    def __str__(self) -> str:
        return "; ".join(f"{each.region}: {each.what}" if each.region else each.what for each in self.because)


Verdict = Done | Failed | Waiting


def judge(application: Application, rollout: Rollout, observed: Observed, now: Instant) -> Verdict:
    """The verdict on the rollout's present step over all regions of its target."""
    target = application.group(rollout.target)
    assert target is not None, "a running rollout has a target"
    failure = next(_failures(target, observed), None)
    if failure is not None:
        return failure
    match rollout.step:
        case Soak():
            return _judge_soak(application, rollout, target, observed, now)
        case Scale() | Verify() | Weight():
            return _judge_regions(application, rollout, target, observed)


def _failures(target: ServerGroup, observed: Observed) -> Iterator[Failed]:
    """What no waiting can mend, in whichever step it shows."""
    for region, _ in target.sizes:
        view = observed.get(region)
        if view is None or view.report is None:
            continue
        if view.report.refusal:
            yield Failed(f"{region} refuses: {view.report.refusal}")
        report = view.group(target.name)
        if report.has_given_up:
            yield Failed(f"{region}: {report.trouble or 'its hosts fail'}")


def _judge_regions(
    application: Application, rollout: Rollout, target: ServerGroup, observed: Observed
) -> Verdict:
    because, progress = [], []
    for region, size in target.sizes:
        report, absent = current_report(application, target, region, observed)
        if absent is not None:
            because.append(absent)
            progress.append(-1)
            continue
        have, need, noun = _measure(application, rollout, region, size, report)
        progress.append(have)
        if have < need:
            trouble = f" ({report.trouble})" if report.trouble else ""
            what = f"{rollout.step.kind}: {have} of {need} {noun}{trouble}"
            because.append(Because(what, region, since=rollout.entered_at, remedy=_remedy(application)))
    if not because:
        return Done()
    return Waiting(tuple(because), tuple(progress), has_deadline=not _waits_for_a_person(target, observed))


def _measure(
    application: Application, rollout: Rollout, region: RegionName, size: int, report: GroupReport
) -> tuple[int, int, str]:
    """(what there is, what is needed, its name) of the present step in one region."""
    match rollout.step:
        case Scale(percent=percent):
            running = report.starting + report.healthy + report.verified
            return running, -(-size * percent // 100), "hosts run"
        case Verify():
            have = min(report.verified, report.balancer_up)
            return have, application.policy.needed(size), "hosts verified and up behind the balancer"
        case Weight():
            share_bp = weights_in(application, region).get(rollout.target, 0)
            return int(report.weight_bp == share_bp), 1, f"balancers acknowledge {share_bp / 100:g} %"
        case Soak():
            raise AssertionError("a soak is judged over time, not counted")


def _judge_soak(
    application: Application, rollout: Rollout, target: ServerGroup, observed: Observed, now: Instant
) -> Verdict:
    """Counted from the completion of the step before; every region's health is looked at again and again."""
    assert isinstance(rollout.step, Soak)
    until = Instant(rollout.entered_at + rollout.step.seconds)
    because = [Because(f"soak: {target.name} proves itself", since=rollout.entered_at, until=until)]
    unheard = 0
    for region, size in target.sizes:
        report, absent = current_report(application, target, region, observed)
        if absent is not None:
            because.append(absent)
            unheard += 1
        elif report.verified < application.policy.needed(size):
            detail = f" ({report.trouble})" if report.trouble else ""
            return Failed(f"{region}: {report.verified} of {size} hosts are healthy in the soak{detail}")
    if now >= until and not unheard:
        return Done()
    progress = (0 if now < until else 1, -unheard)
    wake_at = until if now < until else None
    return Waiting(tuple(because), progress, wake_at, not _waits_for_a_person(target, observed))


def _waits_for_a_person(target: ServerGroup, observed: Observed) -> bool:
    return any(region in observed and observed[region].ahead for region, _ in target.sizes)


def undone(application: Application, rollout: Rollout, observed: Observed, now: Instant) -> Verdict:
    """Whether traffic is back with the origin and nothing is left of a new target, where regions answer."""
    target = application.group(rollout.target)
    assert target is not None, "a rollout being undone has a target"
    patience = Instant(rollout.entered_at + UNREACHABLE_PATIENCE_SECONDS)
    deadline = Instant(rollout.entered_at + UNDO_DEADLINE_SECONDS + target.drain_seconds)
    because, wakes = [], []
    for region, _ in target.sizes:
        left = _left_to_undo(application, rollout, target, region, observed)
        until = patience if _is_away(region, observed) else deadline
        # One that listens is waited for to the end: nobody may say that it has gone back when it has not.
        if left is not None and (now < patience or until == deadline):
            because.append(replace(left, since=left.since or rollout.entered_at, until=until))
            wakes.append(until)
    if not because:
        return Done()
    waiting = Waiting(tuple(because), wake_at=min(wakes))
    if now >= deadline:
        return Failed(f"going back is not done after {deadline - rollout.entered_at:g} s: {waiting}")
    return waiting


def _is_away(region: RegionName, observed: Observed) -> bool:
    """Nothing can be sent there now."""
    view = observed.get(region)
    return view is None or not view.is_connected or bool(view.ahead)


def told_later(region: RegionName) -> str:
    """The way on where a region is away that nobody waits for any longer."""
    return f"it is told when it returns: start or reconnect the agent of {region}"


def _left_to_undo(
    application: Application, rollout: Rollout, target: ServerGroup, region: RegionName, observed: Observed
) -> Because | None:
    _, absent = current_report(application, target, region, observed)
    if absent is None:
        what = _not_undone(application, rollout, target, region, observed)
        return Because(what, region) if what else None
    view = observed.get(region)
    is_cut_off = view is None or not view.is_connected
    return replace(absent, remedy=told_later(region)) if is_cut_off else absent


def _not_undone(
    application: Application, rollout: Rollout, target: ServerGroup, region: RegionName, observed: Observed
) -> str:
    view, desired = observed[region], application.desired_in(region)
    report, origin = view.group(target.name), application.group(rollout.origin)
    if report.weight_bp > 0:
        return f"the balancer still sends traffic to {target.name}"
    if origin is not None and origin.size(region) > 0 and view.group(origin.name).weight_bp != FULL_WEIGHT_BP:
        return f"the balancer has not yet given all traffic back to {origin.name}"
    asked = desired.group(target.name) if desired is not None else None
    if target.state is GroupState.RETIRING and (report.present > 0 or (asked and asked.count > 0)):
        return f"{target.name}: {report.present} hosts are being drained and destroyed"
    return ""


def current_report(
    application: Application, group: ServerGroup, region: RegionName, observed: Observed
) -> tuple[GroupReport, Because | None]:
    """The region's report on `group`, or why there is none that speaks of what was published last."""
    view, desired = observed.get(region), application.desired_in(region)
    if view is None or not view.is_connected:
        since = view.since if view is not None else None
        remedy = f"start or reconnect the agent of {region}; repave abort {application.name} gives up"
        return GroupReport(group.name), Because("its agent is not connected", region, since, remedy=remedy)
    if view.ahead:
        return GroupReport(group.name), because_ahead(region, view.ahead, view.since)
    if view.report is None or desired is None or view.report.epoch != desired.epoch:
        refusal = f" ({view.report.refusal})" if view.report is not None and view.report.refusal else ""
        what = f"it has not confirmed the newest desired state yet{refusal}"
        return GroupReport(group.name), Because(what, region)
    return view.group(group.name), None


def _remedy(application: Application) -> str:
    return f"repave hosts {application.name} shows each host; repave abort {application.name} ends it"
