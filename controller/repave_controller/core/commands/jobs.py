"""What people may say of an attempt of a job that nobody can judge, or that has failed for good: that it is
run again, that it has done its work, or that it has not. Pure."""

from dataclasses import dataclass

from repave_controller.core.commands.release import event_of
from repave_controller.core.domain.application import Application, Instant, Observed, Outcome
from repave_controller.core.domain.jobs import JobRun, RunState, Settlement
from repave_controller.core.domain.reasons import Happening, Refusal, Refused, cli, reason_of
from repave_controller.core.domain.rollout import Rollout
from repave_controller.core.rollout.jobs import present_moment
from repave_protos.protocol.copies import replace


@dataclass(frozen=True, slots=True)
class SettleJob:
    """The newest attempt of the job counts as `outcome` says."""

    job: str
    outcome: Settlement

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        """Raises Refused. A repeated command changes nothing."""
        rollout = application.running
        if rollout is None or not rollout.jobs.named:
            raise Refused(Refusal.NO_JOBS, application=application.name)
        run = _run_of(application, rollout, self.job)
        view = observed.get(run.region)
        _check(application, run, self.outcome, is_away=view is None or not view.is_connected)
        settled = replace(
            run, settled=self.outcome, settled_by=by, settled_reason=reason, ended_at=run.ended_at or now
        )
        changed = replace(application, rollout=rollout.with_run(settled))
        what = reason_of(Happening.JOB_SETTLED, job=run.job, outcome=self.outcome, by=by, reason=reason)
        return changed, (event_of(changed, "job.settled", what, now, by),)


def _run_of(application: Application, rollout: Rollout, job: str) -> JobRun:
    """The newest attempt of what is waited for: of the present moment, or one that has yet to end."""
    names = tuple(dict.fromkeys(each.name for _, each in rollout.jobs.named))
    if job not in names:
        raise Refused(Refusal.UNKNOWN_JOB, application=application.name, job=job, known=names)
    present = rollout.last_run(present_moment(rollout), job)
    if present is not None and not present.settled and present.state is not RunState.SUCCEEDED:
        return present
    of_job = [run for run in reversed(rollout.runs) if run.job == job]
    found = next((run for run in of_job if run.is_open), present)
    if found is not None:
        return found
    state = f"of {of_job[0].moment}, which is over" if of_job else "not begun"
    raise Refused(Refusal.JOB_NOT_OPEN, cli("why", application.name), job=job, state=state)


def _check(application: Application, run: JobRun, outcome: Settlement, *, is_away: bool) -> None:
    """One that may run is waited for, but for one whose region is away: it may never come back."""
    why = cli("why", application.name)
    may_run = run.state in (RunState.ASKED, RunState.RUNNING) and not run.settled
    if may_run and is_away:
        return
    if may_run:
        raise Refused(Refusal.JOB_MAY_RUN, cli("abort", application.name), job=run.job)
    if run.settled or run.state is RunState.SUCCEEDED:
        raise Refused(Refusal.JOB_NOT_OPEN, why, job=run.job, state=run.settled or str(run.state))
    if outcome == "failed" and run.state is not RunState.UNKNOWN:
        raise Refused(Refusal.JOB_UNFIT, why, job=run.job, state=str(run.state))
