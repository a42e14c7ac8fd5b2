"""The promises to users, checked on every decision before it is saved, in production and in tests alike.

`check` gets what was decided before, the new decision and what was observed, and returns what is broken. The
numbers are those of the promises in ARCHITECTURE.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from repave_controller.core.analysis.values import Outcome
from repave_controller.core.domain.analyses import Analysis, AnalysisPlan
from repave_controller.core.domain.application import (
    UNWANTED,
    Application,
    Decision,
    GroupState,
    Observed,
    ServerGroup,
)
from repave_controller.core.domain.hosts import hosts_left
from repave_controller.core.domain.jobs import JobRun, Moment
from repave_controller.core.domain.place import origin_in, target_in
from repave_controller.core.domain.rollout import Phase, Rollout, TrackPhase
from repave_controller.core.domain.scaling import BY_REPAVE
from repave_controller.core.domain.steps import courses_of
from repave_controller.core.rules.capacity import Serving, shortfalls
from repave_controller.core.rules.looks import analysis_of
from repave_controller.core.rules.verdicts import gate_of
from repave_protos.protocol.values import DesiredState, GroupName, RegionName, contradictions

FORWARD = (TrackPhase.RUNNING, TrackPhase.DONE, TrackPhase.HELD)
"""Of regions that have begun, and were not aborted: those may never have."""
Groups = Mapping[GroupName, ServerGroup]


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that a decision would break."""

    promise: int
    text: str


def check(before: Application, decision: Decision, observed: Observed) -> list[Broken]:
    """Every promise that `decision` would break; empty when it may be saved and published."""
    after = decision.application
    groups = {group.name: group for group in after.groups}
    broken: list[Broken] = []
    for region, state in after.desired:
        former = before.desired_in(region)
        broken += _check_capacity(after, groups, region, state)
        if state is not former:  # else it was checked when it was decided
            broken += _check_state(after, region, former, state)
            broken += _check_weights(after, groups, region, former, state, observed)
            broken += _check_baselines(after, groups, region, state)
    broken += _check_published(decision)
    broken += _check_way_back(after)
    broken += _check_owners(before, after, observed)
    broken += _check_analyses(before, after)
    broken += _check_jobs(before, after)
    broken += _check_scaling(before, after)
    return broken


def _check_capacity(
    application: Application, groups: Groups, region: RegionName, state: DesiredState
) -> Iterator[Broken]:
    """Promise 1: a group with traffic is wanted with the hosts that its share needs, and all groups with
    traffic together with `min_hosts`. Promise 5: every group that shall run is known."""
    known, serving = [], []
    for desired in state.groups:
        group = groups.get(desired.name)
        part = group.part(region) if group is not None else None
        if group is None:
            yield Broken(5, f"{region}: {desired.name} would run without an owner")
        if part is not None and desired.weight_bp > 0 and desired.count > 0:  # else it contradicts itself
            known.append(desired)
            serving.append(Serving(desired.count, part.size, desired.weight_bp))
    for lack in shortfalls(application.policy, serving):
        if lack.of is None:
            text = f"{lack.hosts} hosts would serve, guards.min_hosts asks for {lack.needed}"
        else:
            share, size = known[lack.of].weight_bp / 100, serving[lack.of].size
            text = f"{known[lack.of].name} serves {share:g} % with {lack.hosts} of {size} hosts"
        yield Broken(1, f"{region}: {text}")


def _check_state(
    application: Application, region: RegionName, former: DesiredState | None, state: DesiredState
) -> Iterator[Broken]:
    for text in contradictions(state):
        yield Broken(7, f"{region}: {text}")
    if former is None or former == state:
        return
    if state.epoch <= former.epoch:
        yield Broken(7, f"{region}: epoch {state.epoch} does not follow {former.epoch}")
    is_left = application.serving_in(region) is None
    if former.is_serving and not state.is_serving and (state.frontend_port or not is_left):
        yield Broken(7, f"{region}: no group would serve")


def _check_baselines(
    application: Application, groups: Groups, region: RegionName, state: DesiredState
) -> Iterator[Broken]:
    """Promise 2: a baseline has traffic only while its region is on its way, beside a target with as much."""
    rollout = application.running
    track = rollout.track(region) if rollout is not None else None
    for desired in state.groups:
        group = groups.get(desired.name)
        if group is None or not group.is_baseline or not desired.weight_bp:
            continue
        target = target_in(application, rollout, track) if rollout is not None and track is not None else None
        share_bp = target.part.weight_bp if target is not None else 0
        is_running = track is not None and track.phase is TrackPhase.RUNNING
        if not is_running or share_bp != desired.weight_bp:
            yield Broken(2, f"{region}: {group.name}, a baseline, would have traffic with nothing to compare")


def _check_published(decision: Decision) -> Iterator[Broken]:
    """Promise 7: a region hears exactly what is on disk."""
    for region, state in decision.desired:
        if decision.application.desired_in(region) != state:
            yield Broken(7, f"{region}: what would be published is not what would be saved")


def _check_weights(
    application: Application,
    groups: Groups,
    region: RegionName,
    former: DesiredState | None,
    state: DesiredState,
    observed: Observed,
) -> Iterator[Broken]:
    """Promises 2 and 3: more traffic only for a group that has proved itself, in every region it has."""
    for desired in state.groups:
        old = former.group(desired.name) if former is not None else None
        if desired.weight_bp <= (old.weight_bp if old else 0):
            continue
        group = groups.get(desired.name)
        if group is None:
            continue
        part = group.part(region)
        state_of = part.state if part is not None else GroupState.RETIRING
        if state_of in UNWANTED:
            yield Broken(3, f"{region}: {group.name} is given up and would get traffic")
        elif state_of is GroupState.NEW and not _is_verified(application, group, region, observed):
            yield Broken(2, f"{region}: {group.name} is not verified and would get traffic")


def _is_verified(
    application: Application, group: ServerGroup, region: RegionName, observed: Observed
) -> bool:
    view, part = observed.get(region), group.part(region)
    if view is None or view.report is None or part is None:
        return False
    return view.group(group.name).verified >= application.policy.needed(part.judged)


def _check_way_back(application: Application) -> Iterator[Broken]:
    """Promise 4: until a rollout has ended its origin runs, ready for the switch back: in full, or with what
    the steps that the user chose have left of it."""
    rollout = application.running
    courses = courses_of(rollout.steps) if rollout is not None else ()
    for track in rollout.tracks if rollout is not None else ():
        if track.origin is None or track.phase is TrackPhase.UNDONE:
            continue
        origin = origin_in(application, track)
        if origin is None or origin.part.state in UNWANTED:
            yield Broken(4, f"{track.region}: the group that it would go back to is given up")
            continue
        state = application.desired_in(track.region)
        wanted = state.group(origin.group.name) if state is not None else None
        left = courses[track.cursor + 1 if track.has_begun else 0].old
        have, need = wanted.count if wanted is not None else 0, hosts_left(origin.part.size, left)
        if have < need:
            text = f"the way back, {origin.group.name}, would keep {have} of {need} hosts"
            yield Broken(4, f"{track.region}: {text}")


def _check_owners(before: Application, after: Application, observed: Observed) -> Iterator[Broken]:
    """Promise 5: no group is forgotten in a region that still reports hosts of it."""
    for group in before.groups:
        known = after.group(group.number)
        for part in group.parts if known is None or known.parts is not group.parts else ():
            view = observed.get(part.region)
            is_kept = known is not None and known.part(part.region) is not None
            if not is_kept and view is not None and view.group(group.name).present > 0:
                yield Broken(5, f"{part.region}: {group.name} still has hosts and would be forgotten")


def _check_analyses(before: Application, after: Application) -> Iterator[Broken]:
    """Promise 11: a region goes on past an analysis by what its looks have found, or by a person's word."""
    was, rollout = before.running, after.rollout
    if was is None or rollout is None or was.number != rollout.number:
        return
    for former in was.tracks:
        track, plan = rollout.track(former.region), was.step(former).analysis
        is_on = former.phase is TrackPhase.RUNNING and former.origin is not None
        if plan is None or track is None or not is_on or rollout.may_pass(gate_of(former), former.region):
            continue
        is_past = track.phase is TrackPhase.RUNNING and track.cursor > former.cursor
        if (is_past or track.phase is TrackPhase.DONE) and not _lets_pass(plan, analysis_of(rollout, former)):
            yield Broken(11, f"{former.region}: {gate_of(former)} was not found to be no worse")


def _lets_pass(plan: AnalysisPlan, analysis: Analysis) -> bool:
    """By its looks alone: how they were put together is left aside."""
    last = analysis.last.outcome if analysis.last is not None else Outcome.ERROR
    is_unsure = last is Outcome.INCONCLUSIVE and plan.on_inconclusive == "pass"
    is_good = analysis.passed > 0 and last is not Outcome.ERROR
    return analysis.failed <= plan.failure_limit and (is_good or is_unsure)


def _check_jobs(before: Application, after: Application) -> Iterator[Broken]:
    """Promise 12: an attempt has an id of its own and keeps its region and journal; a job is tried again only
    after an attempt that is known not to run, or by a person's word; no host of a release before its jobs."""
    rollout, former = after.running, before.rollout
    if rollout is None or not (rollout.runs or rollout.jobs.before):
        return
    known = {run.id: run for run in former.runs} if former and former.number == rollout.number else {}
    for run in rollout.runs:
        old = known.get(run.id)
        if old is None and (run.journal or run.id.number <= before.job_runs_total):
            yield Broken(12, f"{run.region}: attempt {run.id} of job {run.job} is not a new one")
        if old is not None and (old.region != run.region or old.journal not in ("", run.journal)):
            yield Broken(12, f"{run.region}: attempt {run.id} of job {run.job} is given to another agent")
        if old is None and not _may_try(rollout, run):
            yield Broken(12, f"{run.region}: job {run.job} would run beside an attempt that may run")
    if rollout.phase is Phase.RUNNING and any(track.phase in FORWARD for track in rollout.tracks):
        for job in rollout.jobs.before:
            last = rollout.last_run(Moment.BEFORE, job.name)
            if last is None or not last.is_done:
                yield Broken(12, f"a region begins before job {job.name} has succeeded")


def _check_scaling(before: Application, after: Application) -> Iterator[Broken]:
    """Promise 13: what is chosen for a region is within its bounds, or nearer to them, and follows from the
    number that was in force; no group loses hosts by it while a rollout is under way."""
    for sized in after.sized if after.sized != before.sized else ():
        region, former = sized.region, before.sized.find(sized.region)
        if sized.by != BY_REPAVE or (former is not None and former.at == sized.at):
            continue
        scaling, serving = after.policy.scaling.find(region), before.serving_in(region)
        if scaling is None or scaling.changed(sized.before, sized.hosts) != sized.hosts:
            yield Broken(13, f"{region}: {sized.hosts} hosts would be out of the bounds of the spec")
        if serving is None or serving.size(region) != sized.before:
            yield Broken(
                13, f"{region}: the number was chosen upon {sized.before} hosts, which are not in force"
            )
        for group in before.groups if before.running is not None else ():
            now = after.group(group.number)
            if now is not None and now.size(region) < group.size(region):
                yield Broken(13, f"{region}: {group.name} would lose hosts while a rollout is under way")


def _may_try(rollout: Rollout, run: JobRun) -> bool:
    """Whether all earlier attempts of the job are over, as far as anybody can say."""
    earlier = (each for each in rollout.runs if (each.moment, each.job) == (run.moment, run.job))
    return all(each.has_failed or each.settled == "again" for each in earlier if each.id < run.id)
