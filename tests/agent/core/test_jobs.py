"""An attempt of a job runs at most once: who begins it, when, and what is known of it after a death."""

from dataclasses import replace

import pytest

from repave_agent.core.jobs import KEPT_MAX, LOST_AFTER_SECONDS, Jobs
from repave_agent.core.ports import (
    Host,
    OutOfCapacityError,
    PackageAwaitedError,
    RefusedError,
    TransientError,
)
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredJob,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    JobId,
    JobReport,
)
from tests.fakes.templates import a_template

SHOP = ApplicationName("shop")
MINE = "mine"
JOB = DesiredJob(
    JobId(1, 7), "migrate", GroupName("shop-v001"), Digest("a" * 64), a_template(("./up",)), 60.0, MINE
)
NAMED = frozenset({SHOP})


def wanting(jobs: Jobs, *wanted: DesiredJob) -> Jobs:
    jobs.wants([DesiredState(SHOP, Epoch(1, 1, 1), 0, (), jobs=wanted)])
    return jobs


def asked(job: DesiredJob = JOB, journal: str = MINE) -> Jobs:
    return wanting(Jobs(journal), job)


def host(*, code: int | None = None, is_running: bool = True) -> Host:
    ended = "" if is_running else f"exited with code {code}"
    return Host(
        JOB.host, JOB.group, SHOP, JOB.digest, "127.0.0.2", 8080, 0.0, is_running, ended, exit_code=code
    )


def begins(jobs: Jobs, now: float = 0.0) -> list[str]:
    return [each.name for each in jobs.decide(now, NAMED).begins]


def report(jobs: Jobs) -> JobReport:
    return jobs.reports(SHOP)[0]


def begun() -> Jobs:
    jobs = asked()
    assert begins(jobs) == [JOB.host]
    assert jobs.begins(JOB.host)
    return jobs


def running() -> Jobs:
    jobs = begun()
    jobs.launched(host(), 0.0)
    return jobs


def reborn(jobs: Jobs, *wanted: DesiredJob) -> Jobs:
    """The next life of the agent, with what its journal has."""
    after = Jobs("another")
    after.journal = jobs.journal
    after.recall(jobs.records.values(), jobs.begun)
    return wanting(after, *wanted)


def test_an_agent_says_its_journal_and_begins_nothing_that_was_not_given_to_it() -> None:
    for journal, state in (("", "ready"), ("another", "unknown")):
        jobs = asked(replace(JOB, journal=journal))
        assert begins(jobs) == []
        assert (report(jobs).state, report(jobs).journal) == (state, MINE)


def test_an_attempt_is_begun_once_however_often_it_is_asked_for() -> None:
    jobs = asked()
    assert begins(jobs) == [JOB.host]
    assert begins(jobs) == []
    assert jobs.begins(JOB.host)
    assert not jobs.begins(JOB.host)
    assert begins(jobs) == []


def test_an_agent_that_died_after_its_note_never_begins_it_again() -> None:
    jobs = reborn(begun(), JOB)
    assert begins(jobs) == []
    jobs.listed([], 0.0, 1.0)
    assert report(jobs).state == "running"
    jobs.decide(1.0 + LOST_AFTER_SECONDS, NAMED)
    assert report(jobs).state == "unknown"
    assert begins(jobs, 1e6) == []


def test_an_end_that_came_while_the_agent_was_away_is_read_from_the_host() -> None:
    jobs = reborn(running(), JOB)
    jobs.listed([host(code=3, is_running=False)], 1.0, 1.0)
    (end,) = jobs.decide(1.0, NAMED).ends
    assert (end.record.state, end.record.exit_code) == ("failed", 3)
    assert report(jobs).state == "running"  # until its log was read
    jobs.logged(JOB.host, "no such table")
    assert (report(jobs).state, report(jobs).log_tail) == ("failed", "no such table")
    jobs.destroyed(JOB.host)
    assert jobs.decide(2.0, NAMED).ends == ()
    assert begins(jobs, 2.0) == []


def test_an_agent_that_has_lost_its_journal_follows_the_host_that_it_finds() -> None:
    jobs = asked(journal="new")
    assert report(jobs).state == "unknown"
    jobs.listed([host()], 0.0, 0.0)
    assert begins(jobs) == []
    assert report(jobs).state == "running"
    jobs.listed([host(code=0, is_running=False)], 1.0, 1.0)
    jobs.decide(1.0, NAMED)
    jobs.logged(JOB.host, "")
    assert report(jobs).state == "succeeded"


def test_numbers_below_one_that_was_begun_are_used_up() -> None:
    jobs = running()
    older = replace(JOB, id=JobId(1, 6))
    wanting(jobs, older)
    assert begins(jobs) == []
    assert report(jobs).state == "unknown"
    wanting(jobs, replace(JOB, id=JobId(2, 1)))  # a restored store begins another life
    assert len(begins(jobs)) == 1


def test_a_restored_controller_that_asks_again_hears_how_it_ended() -> None:
    jobs = running()
    jobs.listed([host(code=0, is_running=False)], 1.0, 1.0)
    jobs.decide(1.0, NAMED)
    jobs.logged(JOB.host, "")
    jobs.destroyed(JOB.host)
    wanting(jobs)
    jobs.decide(2.0, NAMED)
    wanting(jobs, replace(JOB, journal=""))
    assert begins(jobs) == []
    assert report(jobs).state == "succeeded"


def test_what_is_over_and_not_asked_for_is_forgotten_but_not_its_number() -> None:
    jobs = Jobs(MINE)
    for number in range(1, KEPT_MAX + 5):
        job = replace(JOB, id=JobId(1, number))
        wanting(jobs, job)
        jobs.decide(0.0, NAMED)
        assert jobs.begins(job.host)
        jobs.launch_failed(job.host, RefusedError("not executable"), 0.0)
    wanting(jobs)
    jobs.decide(0.0, NAMED)
    assert len(jobs.records) == KEPT_MAX
    wanting(jobs, replace(JOB, id=JobId(1, 1)))
    assert begins(jobs) == []


def test_what_was_refused_has_failed_and_what_has_no_room_is_tried_again() -> None:
    jobs = begun()
    jobs.launch_failed(JOB.host, RefusedError("migrate.sh is not executable"), 0.0)
    assert (report(jobs).state, report(jobs).text) == (
        "failed",
        "it could not begin: migrate.sh is not executable",
    )
    jobs = begun()
    jobs.launch_failed(JOB.host, OutOfCapacityError("no machine is free"), 0.0)
    assert (report(jobs).state, report(jobs).text) == ("ready", "no machine is free")
    jobs = reborn(jobs, JOB)
    assert begins(jobs, 100.0) == [JOB.host]


def test_a_launch_that_was_not_answered_may_have_begun() -> None:
    jobs = begun()
    jobs.launch_failed(JOB.host, TransientError("no answer"), 0.0)
    jobs.listed([], 1.0, 1.0)
    assert begins(jobs, 2.0) == []
    jobs.decide(1.0 + LOST_AFTER_SECONDS, NAMED)
    assert report(jobs).state == "unknown"
    jobs.listed([host()], 40.0, 40.0)  # it came late
    assert report(jobs).state == "running"


def test_a_package_that_is_still_to_come_is_waited_for() -> None:
    jobs = asked()
    assert begins(jobs) == [JOB.host]
    jobs.not_begun(JOB.host, PackageAwaitedError("the controller is away"), 0.0)
    assert report(jobs).state == "ready"
    assert begins(jobs, 0.5) == []
    assert begins(jobs, 10.0) == [JOB.host]


def test_an_attempt_that_takes_too_long_is_ended_and_has_failed() -> None:
    jobs = running()
    jobs.listed([host()], 1.0, 1.0)
    assert jobs.decide(59.0, NAMED).ends == ()
    (end,) = jobs.decide(61.0, NAMED).ends
    assert end.record.ending == "timeout"
    jobs.destroyed(JOB.host)
    assert report(jobs).state == "failed"


@pytest.mark.parametrize(("code", "state"), [(0, "succeeded"), (3, "failed")])
def test_what_an_attempt_has_come_to_counts_though_it_was_to_be_ended(code: int, state: str) -> None:
    """It ended between the last listing and its timeout, or the word to stop it."""
    for wanted, at in ((JOB, 61.0), (replace(JOB, is_stopped=True), 2.0)):
        jobs = wanting(running(), wanted)
        jobs.listed([host()], 1.0, 1.0)
        (end,) = jobs.decide(at, NAMED).ends
        assert jobs.needs_last_look(end.record.host)
        jobs.looked_last(JOB.host, [host(code=code, is_running=False)])
        jobs.destroyed(JOB.host)
        assert (report(jobs).state, report(jobs).exit_code) == (state, code)


def test_how_an_attempt_ends_after_it_was_told_to_is_not_its_own_end() -> None:
    jobs = running()
    jobs.listed([host()], 1.0, 1.0)
    jobs.decide(61.0, NAMED)
    jobs.looked_last(JOB.host, [host()])
    jobs.not_destroyed(JOB.host)
    jobs.decide(62.0, NAMED)
    assert not jobs.needs_last_look(JOB.host), "a command that ends by SIGTERM may say 0"
    jobs.destroyed(JOB.host)
    assert report(jobs).state == "failed"
    assert "longer than its timeout" in report(jobs).text


def test_an_attempt_that_is_stopped_ends_or_never_begins() -> None:
    stopped = replace(JOB, is_stopped=True)
    jobs = asked(stopped)
    assert begins(jobs) == []
    assert report(jobs).state == "stopped"
    jobs = wanting(running(), stopped)
    (end,) = jobs.decide(1.0, NAMED).ends
    assert end.record.ending == "stopped"
    assert report(jobs).state == "running"
    jobs.destroyed(JOB.host)
    assert report(jobs).state == "stopped"
    never_answered = begun()
    never_answered.launch_failed(JOB.host, TransientError("no answer"), 0.0)
    wanting(never_answered, stopped).decide(1.0, NAMED)
    never_answered.destroyed(JOB.host)
    assert report(never_answered).state == "unknown"


def test_an_end_without_an_exit_code_is_unknown_and_its_host_goes() -> None:
    jobs = running()
    jobs.listed([host(is_running=False)], 1.0, 1.0)
    (end,) = jobs.decide(1.0, NAMED).ends
    assert end.record.state == "unknown"
    jobs.destroyed(JOB.host)
    assert report(jobs).state == "unknown"


def test_what_could_not_be_saved_is_not_begun() -> None:
    jobs = asked()
    plan = jobs.decide(0.0, NAMED)
    assert jobs.call_off(plan, "the disk is full", 0.0).begins == ()
    assert begins(jobs, 10.0) == [JOB.host]


def test_a_stray_host_of_a_job_ends_only_once_its_command_has() -> None:
    jobs = Jobs(MINE)
    jobs.listed([host()], 0.0, 0.0)
    assert jobs.decide(0.0, NAMED).ends == ()
    jobs.listed([host(code=0, is_running=False)], 1.0, 1.0)
    assert jobs.decide(1.0, None).ends == ()
    assert jobs.decide(1.0, NAMED).ends == (), "its desired state has not come yet"
    wanting(jobs)
    assert [end.record.host for end in jobs.decide(1.0, NAMED).ends] == [JOB.host]
