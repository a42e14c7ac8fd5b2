"""Which attempts of a release's jobs are made, what their regions are asked, and what their ends mean. Pure;
part of `rollout.step`.

An attempt is decided on with an id of its own and saved before its region hears of it. The region's agent
says which journal it has; that is saved as well, and only then may the agent begin, once. One that is known
to have failed is followed by another one, as often as `retries` says. One of which nobody can say how it
ended is never run again by itself: a person settles it.
"""

from collections.abc import Iterator

from repave_controller.core.domain.application import (
    Application,
    Because,
    Expiry,
    Instant,
    RegionView,
    ServerGroup,
)
from repave_controller.core.domain.jobs import Job, JobRun, Moment, RunState
from repave_controller.core.domain.reasons import Fact, Happening, Reason, Remedy, Why, cli, reason_of
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, RolloutKind, TrackPhase
from repave_controller.core.rollout.draft import Turn
from repave_controller.core.rollout.transitions import has_come_to
from repave_controller.core.rollout.waves import UNREACHABLE_PATIENCE_SECONDS
from repave_controller.core.rules.verdicts import Done, Failed, Waiting
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import DesiredJob, HostTemplate, JobId, JobReport, RegionName

BEGIN_SECONDS_MIN = 300.0
"""So long at least an attempt may take until it begins: a package comes, a machine becomes free."""
_BACK = (TrackPhase.UNDOING, TrackPhase.UNDONE, TrackPhase.SKIPPED)
_STATES = {
    "succeeded": RunState.SUCCEEDED,
    "failed": RunState.FAILED,
    "stopped": RunState.STOPPED,
    "unknown": RunState.UNKNOWN,
}


# ----------------------------------------------------------------------------------- what regions are asked


def desired_jobs(application: Application, region: RegionName) -> tuple[DesiredJob, ...]:
    """The attempts that the region is to make, to follow, or to end."""
    rollout = application.running
    if rollout is None or not rollout.runs:
        return ()
    found = (_desired(application, rollout, run) for run in rollout.runs if run.region == region)
    return tuple(each for each in found if each is not None)


def _desired(application: Application, rollout: Rollout, run: JobRun) -> DesiredJob | None:
    group, job = application.group(GroupNumber(run.group)), rollout.jobs.job(run.moment, run.job)
    if not run.is_open or group is None or job is None:
        return None
    return DesiredJob(
        id=run.id,
        name=run.job,
        group=group.name,
        digest=group.digest,
        template=_template(group, job, run),
        timeout_seconds=job.timeout_seconds,
        journal=run.journal,
        is_stopped=run.is_stopped,
        released_at=group.created_at,
    )


def _template(group: ServerGroup, job: Job, run: JobRun) -> HostTemplate:
    template = group.template_in(run.region)
    told = {"REPAVE_JOB": run.job, "REPAVE_JOB_ATTEMPT": str(run.attempt), "REPAVE_JOB_ID": str(run.id)}
    environment = {**dict(template.environment), **dict(job.environment), **told}
    return replace(template, run=job.run, environment=tuple(sorted(environment.items())))


# --------------------------------------------------------------------------------------- what regions say


def note(turn: Turn) -> None:
    """Takes in what is reported of attempts that are not over; also while the rollout is paused."""
    rollout = turn.rollout
    for run in rollout.runs if rollout is not None else ():
        if run.is_open:
            _note(turn, run)


def _note(turn: Turn, run: JobRun) -> None:
    view = turn.observed.get(run.region)
    report = view.report.job(run.id) if view is not None and view.report is not None else None
    changed = _after(turn, run, report) if report is not None else run
    if changed.state is RunState.ASKED:
        changed = _given_up(turn, changed, view)
    if turn.rollout is not None and goes_back(turn.rollout) and changed.is_open:
        changed = _left(turn, replace(changed, is_stopped=True), view)
    if changed != run:
        _put(turn, changed)
        _tell(turn, run, changed)


def _after(turn: Turn, run: JobRun, report: JobReport) -> JobRun:
    now, rollout = turn.now, turn.rollout
    match report.state:
        case "ready":
            is_paused = rollout is not None and rollout.pause is not None
            is_free = not (run.journal or run.is_stopped or is_paused)
            journal = report.journal if is_free else run.journal
            return replace(run, journal=journal, text=run.text if run.is_stopped else report.text)
        case "running":
            is_new = run.began_at is None or run.state is not RunState.RUNNING
            return replace(run, state=RunState.RUNNING, began_at=now, text="") if is_new else run
        case state:
            over = replace(
                run,
                state=_STATES[state],
                ended_at=run.ended_at if run.state is _STATES[state] else now,
                exit_code=report.exit_code,
                text=report.text or run.text,
                log_tail=report.log_tail,
            )
            was_ready = run.began_at is None and state in ("succeeded", "failed")
            return replace(over, began_at=now) if was_ready else over


def _given_up(turn: Turn, run: JobRun, view: RegionView | None) -> JobRun:
    """An attempt that does not begin in time is withdrawn. While no journal has it, none can begin it. One
    that was given to a region that is away may run there: its time goes on when the region is back."""
    rollout = turn.rollout
    if rollout is None or rollout.pause is not None or run.is_stopped:
        return run
    seconds, since = _begin_seconds(turn.application, run), run.asked_at
    if run.journal:
        if view is None or not view.is_connected:
            return run
        since = max(since, view.since)
    due_at = Instant(since + seconds)
    if turn.now < due_at:
        turn.wakes.append(due_at)
        return run
    text = f"it did not begin within {seconds:g} s" + (f": {run.text}" if run.text else "")
    if not run.journal:
        return replace(run, state=RunState.FAILED, ended_at=turn.now, text=text)
    return replace(run, is_stopped=True, text=text)


def _begin_seconds(application: Application, run: JobRun) -> float:
    group = application.group(GroupNumber(run.group))
    return max(BEGIN_SECONDS_MIN, group.template.launch_deadline_seconds if group is not None else 0.0)


def goes_back(rollout: Rollout) -> bool:
    """Whether nothing of the rollout goes forward: what runs for its way forward ends. So it is, too, when
    each of its regions was aborted or left out by itself."""
    is_back = all(track.phase in _BACK for track in rollout.tracks)
    return rollout.phase is Phase.UNDOING or is_back


def _left(turn: Turn, run: JobRun, view: RegionView | None) -> JobRun:
    """A way back waits for the end of an attempt, but not for a region that is away, nor for an answer that
    nobody has. An attempt for the way back itself is waited for."""
    if run.moment is Moment.ON_ROLLBACK:
        return replace(run, is_stopped=False)
    if not run.journal:
        return replace(run, state=RunState.STOPPED, ended_at=turn.now)
    if run.state is RunState.UNKNOWN:
        return replace(run, settled="left")
    if view is not None and view.is_connected:
        return run
    rollout = turn.rollout
    began_at = max((track.entered_at for track in rollout.tracks), default=turn.now) if rollout else turn.now
    since = max(view.since if view is not None else Instant(0), began_at)
    until = Instant(since + UNREACHABLE_PATIENCE_SECONDS)
    if turn.now >= until:
        return replace(run, state=RunState.UNKNOWN, ended_at=turn.now, settled="left")
    turn.wakes.append(until)
    return run


def _put(turn: Turn, run: JobRun) -> None:
    rollout = turn.rollout
    assert rollout is not None, "an attempt belongs to a running rollout"
    turn.put(rollout.with_run(run))


def _tell(turn: Turn, before: JobRun, run: JobRun) -> None:
    if before.state is run.state:
        return
    kinds = {
        RunState.RUNNING: ("job.began", Happening.JOB_BEGAN),
        RunState.SUCCEEDED: ("job.succeeded", Happening.JOB_SUCCEEDED),
        RunState.FAILED: ("job.failed", Happening.JOB_FAILED),
        RunState.STOPPED: ("job.stopped", Happening.JOB_STOPPED),
        RunState.UNKNOWN: ("job.unknown", Happening.JOB_UNKNOWN),
    }
    kind, happening = kinds[run.state]
    what = reason_of(happening, job=run.job, moment=str(run.moment), attempt=run.attempt, text=run.text)
    turn.tell(kind, what, turn.application.group(GroupNumber(run.group)), region=run.region)


# ------------------------------------------------------------------------------------------ what follows


def verdict(turn: Turn, moment: Moment) -> Done | Failed | Waiting:
    """Whether the jobs of the moment are done. Asks for the next attempt where one is due."""
    rollout = turn.rollout
    assert rollout is not None, "jobs belong to a running rollout"
    for job in rollout.jobs.at(moment):
        run = rollout.last_run(moment, job.name)
        if run is not None and run.is_done:
            continue
        if run is not None and run.is_open:
            return _waiting(turn, job, run)
        if run is not None and run.settled != "again" and _failures(rollout, moment, job) > job.retries:
            return Failed(_failure(rollout, run))
        return _waiting(turn, job, _ask(turn, moment, job, run))
    return Done()


def _failures(rollout: Rollout, moment: Moment, job: Job) -> int:
    """Attempts of which it is known that they failed, since a person asked for one."""
    count = 0
    for run in rollout.runs:
        if (run.moment, run.job) == (moment, job.name):
            count = 0 if run.settled == "again" else count + run.has_failed
    return count


def _failure(rollout: Rollout, run: JobRun) -> Reason:
    return reason_of(Why.JOB_FAILED, job=run.job, moment=str(run.moment), text=run.text, attempts=run.attempt)


def _ask(turn: Turn, moment: Moment, job: Job, former: JobRun | None) -> JobRun:
    """A new attempt. Its region hears of it when this decision is saved."""
    rollout = turn.rollout
    assert rollout is not None, "jobs belong to a running rollout"
    number = turn.application.job_runs_total + 1
    run = JobRun(
        id=JobId(turn.incarnation, number),
        moment=moment,
        job=job.name,
        attempt=former.attempt + 1 if former is not None else 1,
        group=group_of(turn.application, rollout, moment),
        region=job.region if job.region is not None else rollout.waves[0].regions[0],
        asked_at=turn.now,
    )
    turn.application = replace(turn.application, job_runs_total=number)
    _put(turn, run)
    group = turn.application.group(GroupNumber(run.group))
    what = reason_of(Happening.JOB_ASKED, job=job.name, moment=str(moment), attempt=run.attempt)
    turn.tell("job.asked", what, group, region=run.region)
    turn.wakes.append(Instant(turn.now + _begin_seconds(turn.application, run)))
    return run


def group_of(application: Application, rollout: Rollout, moment: Moment) -> GroupNumber:
    """Of whose package the job is: what a rollback leaves, and else what is released."""
    is_left = rollout.kind is RolloutKind.ROLLBACK and moment is Moment.ON_ROLLBACK
    origin = rollout.origin
    return origin if is_left and origin is not None else rollout.target


def _waiting(turn: Turn, job: Job, run: JobRun) -> Waiting:
    name, view = turn.application.name, turn.observed.get(run.region)
    facts: dict[str, Fact] = {"job": job.name, "moment": str(run.moment), "attempt": run.attempt}
    until: Instant | None = None
    if run.state is RunState.UNKNOWN:
        reason = reason_of(Why.JOB_UNKNOWN, *settling(name, run), **facts, text=run.text)
    elif view is None or not view.is_connected:
        reason = reason_of(Why.JOB_UNSEEN, *settling(name, run), **facts, region=run.region)
    elif run.state is RunState.RUNNING:
        logs = cli("logs", name, job=job.name)
        reason = reason_of(Why.JOB_RUNS, logs, cli("abort", name), **facts)
        until = Instant(run.began_at + job.timeout_seconds) if run.began_at is not None else None
    else:
        reason = reason_of(Why.JOB_BEGINS, **facts, text=run.text)
        until = Instant(run.asked_at + _begin_seconds(turn.application, run))
    since = run.began_at if run.began_at is not None else run.asked_at
    return Waiting(Because(reason, run.region, since=since, until=until), has_deadline=False)


def because_ends(turn: Turn, run: JobRun) -> Because:
    """The way back waits for the end of an attempt for the way forward."""
    reason = reason_of(Why.JOB_ENDS, job=run.job, moment=str(run.moment), attempt=run.attempt)
    return Because(reason, run.region, since=run.began_at, expiry=Expiry.PROGRESS)


def because_failed(application: Application, rollout: Rollout, moment: Moment, failed: Failed) -> Because:
    """A job after the release, or after a rollback, has failed: a person says what follows."""
    last = max((run for run in rollout.runs if run.moment is moment), key=lambda run: run.id)
    ways = settling(application.name, last)
    return Because(
        replace(failed.reason, remedies=tuple(ways)), last.region, since=last.ended_at, expiry=Expiry.PROGRESS
    )


def settling(application: str, run: JobRun) -> Iterator[Remedy]:
    """What a person may say of it."""
    kinds = ("again", "done") if run.has_failed else ("again", "done", "failed")
    for each in kinds:
        yield cli("jobs settle", application, run.job, each)


def owes_rollback(application: Application, rollout: Rollout) -> bool:
    """Whether what the rollout has begun is to be undone by jobs, now that its traffic is back."""
    if rollout.kind is RolloutKind.ROLLBACK:
        return True
    has_run = any(run.journal and run.moment is not Moment.ON_ROLLBACK for run in rollout.runs)
    return has_run or any(has_come_to(application, rollout, track) for track in rollout.tracks)


def present_moment(rollout: Rollout) -> Moment:
    """Of which its jobs are next, or run."""
    is_done = any(track.phase is TrackPhase.DONE for track in rollout.tracks)
    is_stopped = rollout.is_stopped and not is_done
    if rollout.kind is RolloutKind.ROLLBACK or goes_back(rollout) or is_stopped:
        return Moment.ON_ROLLBACK
    return Moment.AFTER if all(track.is_settled for track in rollout.tracks) else Moment.BEFORE


def is_leaving(rollout: Rollout) -> bool:
    """Whether an attempt for the way forward has yet to end."""
    return any(run.is_open and run.moment is not Moment.ON_ROLLBACK for run in rollout.runs)


def end_those_left(turn: Turn) -> bool:
    """Before the rollout ends, what still runs for its way forward does: nothing would hear of it any more.
    Whether one of these has yet to."""
    rollout = turn.rollout
    assert rollout is not None, "a running rollout ends"
    for run in rollout.runs:
        if run.is_open and run.moment is not Moment.ON_ROLLBACK:
            changed = _left(turn, replace(run, is_stopped=True), turn.observed.get(run.region))
            if changed != run:
                _put(turn, changed)
                _tell(turn, run, changed)
    if turn.rollout is None or not is_leaving(turn.rollout):
        return False
    turn.because += [because_ends(turn, run) for run in turn.rollout.runs if run.is_open]
    return True
