"""Jobs of a release: when they run, what follows from their ends, and that none is asked for twice."""

from dataclasses import replace

import pytest

from repave_controller.core.commands.jobs import SettleJob
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort, Pause, Resume
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.jobs import Job, JobRun, Jobs, Moment, RunState
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.rollout.jobs import BEGIN_SECONDS_MIN
from repave_controller.core.rollout.step import after_suspension
from repave_controller.stores.codec import decode_application, encode_application
from repave_protos.protocol.values import DesiredJob, GroupName, JobReport, JobState
from tests.fakes.controller.stepping import OSLO, PARIS, World, job_report
from tests.support.refusals import refused

BEFORE = Jobs(before=(Job("migrate", ("./migrate",)),))
ALL = Jobs(
    (Job("migrate", ("./up",)),), (Job("tell", ("./tell",)),), (Job("undo", ("./down",), region=PARIS),)
)


def doing(state: JobState, **more: object):  # type: ignore[no-untyped-def]
    def does(job: DesiredJob) -> JobReport:
        return job_report(job, state, **more)

    return does


def releasing(jobs: Jobs, state: JobState = "running") -> World:
    world = World()
    world.regions[PARIS].does = doing(state)
    world.release("a", jobs=jobs)
    world.settle()
    return world


def runs(world: World) -> list[tuple[str, RunState]]:
    rollout = world.application.rollout
    assert rollout is not None
    return [(run.job, run.state) for run in rollout.runs]


def desired_jobs(world: World) -> tuple[DesiredJob, ...]:
    """What paris was asked for last."""
    state = world.regions[PARIS].desired
    return state.jobs if state is not None else ()


def last(world: World) -> JobRun:
    rollout = world.application.rollout
    assert rollout is not None
    return rollout.runs[-1]


def ask(world: World, verb: Verb) -> None:
    world.application, _ = verb.apply(world.application, world.observed, "ann", "", world.now)
    world.decide()


def whys(world: World) -> set[object]:
    return {each.reason.kind for each in world.because}


def has_hosts(world: World) -> bool:
    return any(part.percent for group in world.application.groups for part in group.parts)


def test_no_host_is_made_before_the_jobs_of_a_release_have_succeeded() -> None:
    world = releasing(BEFORE)
    assert runs(world) == [("migrate", RunState.RUNNING)]
    assert not has_hosts(world)
    assert Why.JOB_RUNS in whys(world)
    world.regions[PARIS].does = doing("succeeded", exit_code=0, log_tail="done")
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    assert (last(world).exit_code, last(world).log_tail) == (0, "done")
    assert world.kinds.count("job.asked") == 1


def test_a_job_runs_once_in_a_release_to_several_regions() -> None:
    world = releasing(BEFORE)
    wanted = {name: region.desired.jobs for name, region in world.regions.items() if region.desired}
    assert [job.name for job in wanted[PARIS]] == ["migrate"]
    assert not wanted.get(OSLO)


def test_an_attempt_is_published_with_no_journal_until_an_agent_has_said_its_own() -> None:
    world = World()
    world.release("a", jobs=BEFORE)
    (job,) = desired_jobs(world)
    assert job.journal == ""
    world.regions[PARIS].work()
    world.decide()
    (job,) = desired_jobs(world)
    assert job.journal == "journal"


def test_a_failed_job_stops_the_release_before_any_host_is_made() -> None:
    world = releasing(BEFORE, "failed")
    assert world.is_in(Phase.ROLLED_BACK)
    assert runs(world) == [("migrate", RunState.FAILED)]
    assert not has_hosts(world)


def test_a_job_is_tried_again_as_often_as_it_says_when_it_is_known_to_have_failed() -> None:
    world = releasing(Jobs(before=(Job("migrate", ("./up",), retries=2),)), "failed")
    assert runs(world) == [("migrate", RunState.FAILED)] * 3
    assert len({run.id for run in world.application.rollout.runs}) == 3  # type: ignore[union-attr]
    assert world.is_in(Phase.ROLLED_BACK)


def test_what_nobody_can_judge_is_never_run_again_by_itself() -> None:
    world = releasing(Jobs(before=(Job("migrate", ("./up",), retries=5),)), "unknown")
    world.now = Instant(world.now + 10 * BEGIN_SECONDS_MIN)
    world.settle()
    assert runs(world) == [("migrate", RunState.UNKNOWN)]
    assert Why.JOB_UNKNOWN in whys(world)
    assert world.is_in(Phase.RUNNING)


@pytest.mark.parametrize(
    ("outcome", "state", "phase"),
    [
        ("again", "succeeded", Phase.SUCCEEDED),
        ("done", "unknown", Phase.SUCCEEDED),
        ("failed", "unknown", Phase.ROLLED_BACK),
    ],
)
def test_a_person_settles_what_nobody_can_judge(outcome: str, state: JobState, phase: Phase) -> None:
    world = releasing(BEFORE, "unknown")
    world.regions[PARIS].does = doing(state)
    ask(world, SettleJob("migrate", outcome))  # type: ignore[arg-type]
    world.finish()
    assert world.is_in(phase)
    assert len(runs(world)) == (2 if outcome == "again" else 1)


def test_a_late_answer_settles_what_was_unknown() -> None:
    world = releasing(BEFORE, "unknown")
    world.regions[PARIS].does = doing("succeeded")
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    assert runs(world) == [("migrate", RunState.SUCCEEDED)]


def test_a_job_that_runs_is_not_settled() -> None:
    world = releasing(BEFORE)
    with refused("is not over yet"):
        ask(world, SettleJob("migrate", "again"))
    with refused("has no job"):
        ask(world, SettleJob("other", "again"))


def test_a_job_whose_moment_is_over_is_not_settled() -> None:
    world = World()
    world.release("a")
    world.finish()
    world.regions[PARIS].does = lambda job: job_report(job, "failed" if job.name == "migrate" else "running")
    world.release("b", jobs=ALL)
    world.settle()
    assert runs(world) == [("migrate", RunState.FAILED), ("undo", RunState.RUNNING)]
    with refused("it is of before, which is over"):
        ask(world, SettleJob("migrate", "again"))


def test_the_old_group_stays_until_the_jobs_after_the_release_are_done() -> None:
    world = World()
    world.release("a")
    world.finish()
    world.release("b", jobs=ALL)
    world.settle()
    world.regions[PARIS].does = doing("running")
    world.finish()
    assert runs(world) == [("migrate", RunState.SUCCEEDED), ("tell", RunState.RUNNING)]
    assert world.weights() == {"hello-v002": 10_000}
    assert world.is_in(Phase.RUNNING)
    world.regions[PARIS].does = doing("failed")
    world.settle()
    assert Why.JOB_FAILED in whys(world)
    ask(world, SettleJob("tell", "done"))
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)


def test_a_rollback_runs_the_jobs_of_what_it_leaves_once_the_traffic_is_back() -> None:
    world = World()
    world.release("a")
    world.finish()
    world.release("b", jobs=ALL)
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    world.regions[PARIS].does = doing("running")
    ask(world, Rollback())
    world.settle()
    assert world.weights() == {"hello-v001": 10_000}
    assert runs(world) == [("undo", RunState.RUNNING)]
    assert last(world).group == 2
    world.regions[PARIS].does = doing("succeeded")
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)


def test_an_aborted_release_waits_for_its_job_to_end_and_then_undoes_it() -> None:
    world = releasing(ALL)
    ask(world, Abort())
    world.settle()
    assert [job.is_stopped for job in desired_jobs(world)] == [True]
    assert world.is_in(Phase.UNDOING)
    assert Why.JOB_ENDS in whys(world)
    world.regions[PARIS].does = lambda job: job_report(job, "stopped" if job.is_stopped else "succeeded")
    world.settle()
    assert runs(world) == [("migrate", RunState.STOPPED), ("undo", RunState.SUCCEEDED)]
    assert world.is_in(Phase.ABORTED)


def test_regions_that_are_aborted_one_by_one_end_the_job_that_runs_for_them() -> None:
    world = releasing(ALL)
    ask(world, Abort(OSLO))
    assert runs(world) == [("migrate", RunState.RUNNING)]
    assert not any(job.is_stopped for job in desired_jobs(world))
    ask(world, Abort(PARIS))
    assert [(job.name, job.is_stopped) for job in desired_jobs(world)] == [("migrate", True)]
    world.regions[PARIS].does = lambda job: job_report(job, "stopped" if job.is_stopped else "succeeded")
    world.settle()
    assert runs(world) == [("migrate", RunState.STOPPED), ("undo", RunState.SUCCEEDED)]
    assert world.is_in(Phase.ABORTED)


def test_a_release_that_nothing_came_of_has_nothing_to_undo() -> None:
    """Its regions were left out one by one while they waited."""
    world = World()
    world.release("a")
    world.finish()
    for region in world.regions.values():
        region.is_connected = False
    world.release("b", jobs=ALL)
    ask(world, Abort(OSLO))
    ask(world, Abort(PARIS))
    world.settle()
    assert runs(world) == [("migrate", RunState.STOPPED)], "no agent had it"
    assert world.is_in(Phase.ABORTED)


def test_a_release_that_is_held_ends_the_job_that_runs_for_it_first() -> None:
    """Nothing would hear of the job's end any more."""
    world = releasing(Jobs(after=ALL.after), "running")
    world.finish()
    assert runs(world) == [("tell", RunState.RUNNING)]
    world.regions[PARIS].sick.add(GroupName("hello-v001"))
    for _ in range(2):
        world.now = Instant(world.now + 10_000.0)
        world.settle()
    assert [job.is_stopped for job in desired_jobs(world)] == [True]
    assert world.is_in(Phase.RUNNING)
    assert Why.JOB_ENDS in whys(world)
    world.regions[PARIS].does = doing("stopped")
    world.settle()
    assert runs(world) == [("tell", RunState.STOPPED)]
    assert world.is_in(Phase.HELD)


def test_an_abort_waits_a_minute_for_a_region_that_is_away() -> None:
    world = releasing(ALL)
    world.regions[PARIS].is_connected = False
    ask(world, Abort())
    world.settle()
    assert world.is_in(Phase.UNDOING)
    world.now = Instant(world.now + 61)
    world.settle()
    assert last(world).job == "undo" or world.is_in(Phase.ABORTED)
    assert world.application.rollout.runs[0].settled == "left"  # type: ignore[union-attr]


def test_an_attempt_that_no_agent_has_is_given_up_in_time_and_can_begin_no_more() -> None:
    world = World()
    world.regions[PARIS].is_connected = False
    world.release("a", jobs=BEFORE)
    world.settle()
    if not world.application.rollout.runs:  # type: ignore[union-attr]
        world.regions[PARIS].is_connected = True
        world.decide()
        world.regions[PARIS].is_connected = False
    world.now = Instant(world.now + BEGIN_SECONDS_MIN + 1)
    world.decide()
    assert last(world).state in (RunState.FAILED, RunState.STOPPED)
    assert all(not state.jobs for _, state in world.application.desired)


def test_an_attempt_that_may_run_in_a_region_that_is_away_is_not_withdrawn() -> None:
    world = World()
    world.regions[PARIS].does = doing("ready")
    world.release("a", jobs=BEFORE)
    world.settle()
    assert last(world).journal
    world.regions[PARIS].is_connected = False
    world.now = Instant(world.now + 10 * BEGIN_SECONDS_MIN)
    world.settle()
    assert not last(world).is_stopped


def test_a_job_of_a_region_that_is_lost_is_settled_by_a_person() -> None:
    world = World()
    world.release("a")
    world.finish()
    world.release("b", jobs=ALL)
    world.finish()
    world.regions[PARIS].does = doing("running")
    ask(world, Rollback())
    world.settle()
    world.regions[PARIS].is_connected = False
    world.settle()
    assert Why.JOB_UNSEEN in whys(world)
    ask(world, SettleJob("undo", "done"))
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)


def test_a_pause_takes_nothing_from_the_time_in_which_an_attempt_may_begin() -> None:
    world = World()
    world.release("a")
    world.finish()
    world.release("b", jobs=ALL)
    world.finish()
    world.regions[PARIS].does = doing("ready")
    ask(world, Rollback())
    world.settle()
    ask(world, Pause())
    world.now = Instant(world.now + 10 * BEGIN_SECONDS_MIN)
    ask(world, Rollback())
    assert last(world).state is RunState.ASKED
    assert not last(world).is_stopped


def test_a_pause_gives_no_attempt_to_a_journal() -> None:
    world = World()
    world.release("a", jobs=BEFORE)
    ask(world, Pause())
    world.settle()
    assert (last(world).state, last(world).journal) == (RunState.ASKED, "")
    ask(world, Resume())
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)


def test_a_pause_starts_no_job_and_takes_in_the_end_of_one_that_runs() -> None:
    world = releasing(ALL)
    ask(world, Pause())
    world.regions[PARIS].does = doing("succeeded")
    world.settle()
    assert runs(world) == [("migrate", RunState.SUCCEEDED)]
    assert not has_hosts(world)
    ask(world, Resume())
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)


def test_a_controller_that_returns_asks_for_no_second_attempt() -> None:
    world = releasing(BEFORE)
    kept = decode_application(encode_application(world.application))
    assert kept == world.application
    later = Instant(world.now + 10_000)
    world.application, world.now, world.tenure = (
        after_suspension(kept, later),
        later,
        replace(world.tenure, term=2),
    )
    world.settle()
    assert runs(world) == [("migrate", RunState.RUNNING)]
    world.regions[PARIS].does = doing("succeeded")
    world.finish()
    assert world.kinds.count("job.asked") == 1


def test_jobs_are_found_by_their_moment() -> None:
    assert [(moment, job.name) for moment, job in ALL.named] == [
        (Moment.BEFORE, "migrate"),
        (Moment.AFTER, "tell"),
        (Moment.ON_ROLLBACK, "undo"),
    ]
