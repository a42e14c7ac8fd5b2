"""doctor: each line a finding with what to do about it; the exit code tells whether anything fails."""

from pathlib import Path

import pytest

from repave_cli.commands.doctor import check_lines, clocks_check, python_check
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController


def test_doctor_passes_with_a_controller_and_tells_its_findings_too(
    repave: CommandLine, controller: ServedController
) -> None:
    ran = repave("doctor")
    assert ran.code == 0
    found = {tuple(line.split()[:2]) for line in ran.out.splitlines()}
    assert {("ok", "python"), ("ok", "controller"), ("ok", "clocks"), ("ok", "store")} <= found
    assert "region paris" in ran.out
    assert controller.url in ran.out


def test_doctor_fails_without_a_controller_and_says_how_to_name_another(run: CommandLine) -> None:
    ran = run("doctor", "--url", "http://127.0.0.1:9")
    assert ran.code == 1
    assert ran.out.splitlines()[-1] == (
        "fail  controller  cannot reach the controller at http://127.0.0.1:9: connection refused; "
        "is it running? start one with: repave dev  "
        "-> if it is elsewhere: --url, REPAVE_URL or repave context use"
    )


def test_doctor_fails_while_a_region_is_away(repave: CommandLine, controller: ServedController) -> None:
    assert repave.release("1.0").code == 0
    controller.connect("oslo", False)
    ran = repave("doctor")
    assert ran.code == 1
    assert "its agent is not connected  -> start repave-agent in oslo" in ran.out


def test_programs_that_only_agents_need_are_no_failure(
    repave: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = {each["name"]: each for each in repave("doctor", "-o", "json").json["items"]}
    assert checks["bwrap"]["state"] == "warn"
    assert checks["bwrap"]["text"] == (
        "not installed; needed only where an agent runs, for hosts with a read-only root"
    )
    assert checks["bwrap"]["remedy"] == "where an agent runs: apt install bubblewrap"


def test_an_old_python_fails_and_the_least_is_enough() -> None:
    assert python_check((3, 11, 0))["state"] == "ok"
    old = python_check((3, 9, 18))
    assert (old["state"], old["text"]) == ("fail", "3.9.18 is too old")
    assert old["remedy"] == "run repave with Python 3.11 or newer"


@pytest.mark.parametrize(("here", "state"), [(5.0, "ok"), (5.1, "warn"), (-5.0, "ok"), (-5.1, "warn")])
def test_clocks_that_differ_by_more_than_5_seconds_are_warned_of(here: float, state: str) -> None:
    check = clocks_check("1970-01-01T00:00:00Z", here)
    assert (check["state"], bool(check["remedy"])) == (state, state == "warn")


def test_lines_are_aligned_and_only_troubles_have_a_remedy() -> None:
    checks = [
        {"name": "python", "state": "ok", "text": "3.11.7", "remedy": ""},
        {"name": "bwrap", "state": "warn", "text": "not installed", "remedy": "apt install bubblewrap"},
    ]
    assert check_lines(checks) == [
        "ok    python  3.11.7",
        "warn  bwrap   not installed  -> apt install bubblewrap",
    ]
