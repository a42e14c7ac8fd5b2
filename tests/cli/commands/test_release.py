"""release, rollback, abort and watch: what they do, print and end with."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from repave_cli.transport.errors import CliError
from repave_protos.protocol.values import (
    ApplicationName,
    Digest,
    GroupName,
    HostDetail,
    HostName,
    HostPhase,
    JobState,
)
from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController, served


def test_a_release_is_packed_stored_and_followed_to_its_end(
    repave: CommandLine, controller: ServedController
) -> None:
    ran = repave.release("v1")
    assert (ran.code, ran.out) == (0, "")
    assert "done: hello-v001 serves hello in oslo, paris" in ran.err
    assert repave("status", "hello", "-o", "json").json["version"] == "v1"


def test_a_release_needs_no_version(repave: CommandLine, controller: ServedController) -> None:
    assert repave("release").code == 0
    status = repave("status", "hello", "-o", "json").json
    assert status["version"] == repave("image", "list", "-o", "json").json["items"][0]["digest"][:12]


def test_a_package_is_stored_once(repave: CommandLine, controller: ServedController) -> None:
    assert "storing app (" in repave.release("v1").err
    assert "storing" not in repave.release("v1").err


def test_detach_prints_only_the_name(repave: CommandLine, controller: ServedController) -> None:
    controller.hold()
    ran = repave.release("v1", "--detach")
    assert (ran.code, ran.out) == (0, "hello-v001\n")


@pytest.mark.parametrize("state", ["failed", "unknown"])
def test_a_release_whose_job_waits_for_a_person_ends_as_one_that_is_held(
    repave: CommandLine, controller: ServedController, app: Path, state: JobState
) -> None:
    controller.sessions.ends_jobs = state
    (app / "repave.yaml").write_text(f"{SPEC}jobs: {{after: [{{name: tell, run: ./serve}}]}}\n")
    ran = repave.release("v1", "--timeout", "60s")
    assert ran.code == 8
    assert "repave jobs settle hello tell again" in ran.err.splitlines()[-1]
    assert repave("status", "hello", "--wait").code == 8


def test_a_retried_job_joins_the_running_release(repave: CommandLine, controller: ServedController) -> None:
    controller.hold()
    repave.release("v1", "--detach")
    again = repave.release("v1", "--detach")
    assert (again.code, again.out) == (0, "hello-v001\n")
    assert "hello-v001 was requested already; joining it" in again.err


def test_the_same_release_asked_after_it_ended_starts_anew(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("v1")
    repave.release("v2")
    assert repave("rollback", "hello").code == 0
    assert "done: hello-v003 serves" in repave.release("v2").err
    assert "done: hello-v004 serves" in repave.release("v2").err


def test_an_explicit_key_joins_also_what_has_ended(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1", "--key", "job-7")
    again = repave.release("v1", "--key", "job-7")
    assert again.code == 0
    assert "joining it" in again.err
    assert [item["group"] for item in repave("history", "hello", "-o", "json").json["items"]] == [
        "hello-v001"
    ]


def test_a_second_release_is_refused_unless_queued(repave: CommandLine, controller: ServedController) -> None:
    controller.hold()
    repave.release("v1", "--detach")
    refused = repave.release("v2", "--detach")
    assert (refused.code, refused.out) == (5, "")
    assert refused.err.endswith(
        "repave: hello-v001 is being rolled out; repave watch hello follows it, repave abort hello ends it; "
        "--queue releases this after it, --replace at once\n"
    )
    queued = repave.release("v2", "--queue", "--detach")
    assert queued.code == 0
    assert "queued behind the running rollout of hello" in queued.err
    controller.let_go()
    assert repave("status", "hello", "--wait", "--timeout", "20s").code == 0


def test_a_failed_release_ends_with_3_and_says_who_serves(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("v1")
    controller.sessions.broken.add("hello-v002")
    ran = repave.release("v2")
    assert ran.code == 3
    assert "NOT RELEASED: hello-v002 rolled-back" in ran.err
    assert "exited with code 1" in ran.err
    assert ran.err.rstrip().endswith("hello-v001 serves hello in oslo, paris.")


TRACEBACK = "Traceback (most recent call last):\n  import flask\nModuleNotFoundError: No module named 'flask'"


def a_gone_host(number: int, phase: HostPhase, group: str = "hello-v002") -> HostDetail:
    return HostDetail(
        host=HostName(f"{group}-{number}"), group=GroupName(group), application=ApplicationName("hello"),
        phase=phase, address="127.81.0.9", port=8080, digest=Digest("d" * 64), age_seconds=1.0,
        healthy_seconds=0.0, trouble="exited with code 1 after 0.3 s", log_tail=TRACEBACK,
        gone_at=1_790_000_000.0 + number,
    )  # fmt: skip


def test_what_failed_hosts_said_last_is_shown_with_the_failure_in_history_and_by_hosts(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("v1")
    controller.sessions.broken.add("hello-v002")
    controller.sessions.gone = {
        "oslo": [a_gone_host(1, HostPhase.STARTING), a_gone_host(7, HostPhase.FAILED, "hello-v000")],
        "paris": [a_gone_host(number, HostPhase.FAILED) for number in (2, 3, 4)],
    }
    told = (
        "paris hello-v002-4: exited with code 1 after 0.3 s\n"
        "  | Traceback (most recent call last):\n"
        "  |   import flask\n"
        "  | ModuleNotFoundError: No module named 'flask'\n"
        "paris hello-v002-3: "
    )
    rest = "and 1 more\nmore: repave logs hello --group hello-v002 --gone\n"
    ran = repave.release("v2")
    assert ran.code == 3
    assert told in ran.err
    assert ran.err.endswith(rest)
    assert told in repave("history", "hello").err
    assert repave("history", "hello", "-o", "json").err == ""
    hosts = repave("hosts", "hello", "--group", "hello-v002", "--logs", "3")
    (row,) = [line for line in hosts.out.splitlines() if line.startswith("hello-v002-4 ")]
    assert "failed, gone " in row
    assert f"paris hello-v002-4:\n{TRACEBACK}" in hosts.out
    assert "hello-v002-4" not in repave("hosts", "hello").out
    items = repave("hosts", "hello", "--gone", "-o", "json").json["items"]
    assert {each["name"] for each in items if each["gone_at"]} >= {"hello-v002-4", "hello-v000-7"}


def test_logs_that_can_not_be_had_change_nothing_of_how_a_release_ended(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    repave.release("v1")
    controller.sessions.broken.add("hello-v002")

    def fails(*_: object, **__: object) -> object:
        raise CliError("the controller is away")

    monkeypatch.setattr("repave_cli.render.remains.quoted", fails)
    ran = repave.release("v2")
    assert ran.code == 3
    assert ran.err.endswith("the logs of hello-v002 can't be had now: the controller is away\n")


def test_a_timeout_leaves_the_rollout_running(repave: CommandLine, controller: ServedController) -> None:
    controller.hold()
    ran = repave.release("v1", "--timeout", "1s")
    assert ran.code == 7
    assert "not done after 1 s; the rollout goes on: repave watch hello" in ran.err
    assert repave("status", "hello", "-o", "json").json["phase"] == "running"


def test_ctrl_c_only_leaves(repave: CommandLine, controller: ServedController) -> None:
    controller.hold()
    repave.release("v1", "--detach")
    watching = watch()
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=60)
    assert (watching.returncode, out) == (130, "")
    assert err.endswith("left; the rollout goes on. Come back with: repave watch hello\n")
    assert repave("status", "hello", "-o", "json").json["phase"] == "running"


def watch() -> subprocess.Popen[str]:
    """`repave watch hello` as a process of its own, which follows by now."""
    command = [sys.executable, "-m", "repave_cli.main", "watch", "hello"]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert watching.stderr is not None
    assert "hello-v001: running" in watching.stderr.readline()
    return watching


def test_rollback_switches_back_and_ends_with_0(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1")
    repave.release("v2")
    ran = repave("rollback", "hello", "--reason", "slow")
    assert ran.code == 0
    assert "done: hello-v001 serves hello in oslo, paris" in ran.err
    assert repave("history", "hello", "-o", "json").json["items"][0]["reason"] == "slow"


def test_an_abort_that_was_asked_for_ends_with_0(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1")
    controller.hold()
    repave.release("v2", "--detach")
    assert repave("abort", "hello", "--detach").out == "hello-v002\n"
    controller.let_go()
    ran = repave("watch", "hello")
    assert ran.code == 3  # for one who only watches, the rollout failed
    controller.hold()
    repave.release("v3", "--detach")
    controller.let_go_when_watched()
    ran = repave("abort", "hello")
    assert ran.code == 0
    assert "aborted" in ran.err


def test_a_rollback_of_a_running_release_ends_with_0(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("v1")
    controller.hold()
    repave.release("v2", "--detach")
    controller.let_go_when_watched()
    assert repave("rollback", "hello").code == 0


def test_nothing_to_undo_is_refused_with_5(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1")
    assert repave("abort", "hello").code == 5
    ran = repave("rollback", "hello")
    assert (ran.code, ran.err) == (
        5,
        "repave: no older group of hello is kept; release the older version again\n",
    )


def test_an_unknown_application_is_a_usage_error(repave: CommandLine, controller: ServedController) -> None:
    ran = repave("rollback", "helo")
    assert (ran.code, ran.err) == (
        2,
        "repave: no application is called helo; nothing has been released yet\n",
    )


def test_piped_following_prints_one_plain_line_for_each_change(
    repave: CommandLine, controller: ServedController
) -> None:
    controller.hold()
    controller.let_go_when_watched()
    lines = repave.release("v1").err.splitlines()
    assert "\x1b" not in "".join(lines)
    assert any("release of hello-v001: running" in line for line in lines)
    assert any("paris" in line and "hello-v001" in line and "2 verified" in line for line in lines)
    assert any("the newest desired state is not confirmed yet" in line for line in lines)
    assert len(lines) == len({line[10:] for line in lines})


def test_json_of_a_release_is_one_document_with_how_it_ended(
    repave: CommandLine, controller: ServedController
) -> None:
    ran = repave.release("v1", "-o", "json")
    assert ran.json == {
        "application": "hello",
        "group": "hello-v001",
        "rollout": 1,
        "kind": "release",
        "is_queued": False,
        "is_joined": False,
        "phase": "succeeded",
        "outcome": "",
        "exit_code": 0,
    }


def test_refusals_are_problems_with_o_json(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1")
    ran = repave("abort", "hello", "-o", "json")
    assert ran.code == 5
    assert ran.json["rule"] == "nothing-to-abort"
    assert ran.err.startswith("repave: no rollout of hello is running")


def test_a_release_by_a_plan_holds_only_while_nothing_changes(
    repave: CommandLine, controller: ServedController
) -> None:
    plan = repave("plan", "--version", "v1", "-o", "json").json["id"]
    assert repave.release("v1", "--plan", plan).code == 0
    ran = repave.release("v1", "--plan", plan)
    assert ran.code == 5
    assert f"plan {plan} does not hold any more" in ran.err


def test_dry_run_changes_nothing(repave: CommandLine, controller: ServedController) -> None:
    ran = repave.release("v1", "--dry-run")
    assert ran.code == 0
    assert "Creates 5 hosts, at most 5 at once." in ran.out
    assert repave("apps", "-o", "json").json == {"items": []}
    assert repave("image", "list", "-o", "json").json == {"items": []}


def test_a_release_by_digest_needs_no_files(repave: CommandLine, controller: ServedController) -> None:
    digest = repave("image", "push", "app").out.strip()
    (repave.folder / "app" / "serve").unlink()
    assert repave("release", "--sha256", digest, "--version", "v1").code == 0


def test_a_version_in_the_address_must_be_given(repave: CommandLine, controller: ServedController) -> None:
    (repave.folder / "repave.yaml").write_text(SPEC.replace("./app", "'./app-{version}'"))
    ran = repave("release")
    assert (ran.code, ran.err) == (
        2,
        "repave: artifact.uri is ./app-{version}: say which version with --version\n",
    )
    ran = repave("release", "--version", "../etc")
    assert ran.code == 2
    assert ran.err.startswith("repave: version: '../etc' is no version")


def test_a_missing_artifact_is_named(repave: CommandLine, controller: ServedController) -> None:
    (repave.folder / "repave.yaml").write_text(SPEC.replace("./app", "./build"))
    ran = repave("release")
    assert ran.code == 2
    assert f"artifact.uri: {repave.folder / 'build'} is not there" in ran.err


def test_who_asks_is_kept(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "ann")
    repave.release("v1")
    assert repave("history", "hello", "-o", "json").json["items"][0]["started_by"] == "ann"


def test_watch_with_jsonl_prints_whole_snapshots(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1")
    ran = repave("watch", "hello", "-o", "jsonl")
    assert ran.code == 0
    assert json.loads(ran.out.splitlines()[-1])["phase"] == "succeeded"


def test_following_outlives_a_restart_of_the_controller(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path / "controller") as former:
        monkeypatch.setenv("REPAVE_URL", former.url)
        former.hold()
        run.release("v1", "--detach")
        watching = watch()
    with served(tmp_path / "controller", former=former):
        out, err = watching.communicate(timeout=60)
    assert (watching.returncode, out) == (0, "")
    assert err.endswith("done: hello-v001 serves hello in oslo, paris\n")


def test_watching_what_was_never_there_fails_at_once(run: CommandLine) -> None:
    ran = run("watch", "hello", "--url", "http://127.0.0.1:9")
    assert ran.code == 1
    assert ran.err.startswith("repave: cannot reach the controller at http://127.0.0.1:9: connection refused")
