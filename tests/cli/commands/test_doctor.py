"""doctor: each line a finding with what to do about it; the exit code tells whether anything fails."""

import re
from pathlib import Path

import pytest

from repave_cli.commands.doctor import check_lines, clocks_check, python_check
from repave_controller.operations.disk import Room
from repave_protos.protocol.values import RegionName
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


def test_doctor_tells_what_takes_the_disk_and_by_which_application(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("1.0")
    (line,) = (each for each in repave("doctor").out.splitlines() if each.split()[1] == "disk")
    assert line.startswith("ok    disk ")
    assert "50.0 GB of 100.0 GB free; store " in line
    assert re.search(r"packages [\d.]+ k?B \(hello [\d.]+ k?B\)", line)
    disk = repave("doctor", "-o", "json").json["disk"]
    assert {"events", "receipts", "rollouts", "specs", "images", "audit"} <= {
        each["name"] for each in disk["store"]
    }
    (packages,) = disk["packages"]
    assert (packages["application"], packages["packages"]) == ("hello", 1)
    assert disk["packages_bytes"] == packages["bytes"] > 0
    assert (disk["free_bytes"], disk["total_bytes"]) == (50 * 10**9, 100 * 10**9)


def test_a_disk_that_is_nearly_full_is_told_of_before(
    repave: CommandLine, controller: ServedController
) -> None:
    for free, state, code in ((4 * 10**9, "warn", 0), (10**8, "fail", 1)):
        controller.disk_room = Room(free, 100 * 10**9)
        ran = repave("doctor")
        (line,) = (each for each in ran.out.splitlines() if each.split()[1] == "disk")
        assert (line.split()[0], ran.code, "-> free some space" in line) == (state, code, True)


def test_doctor_says_what_holds_retention(repave: CommandLine, controller: ServedController) -> None:
    assert repave.release("1.0").code == 0
    controller.sessions.known.pop(RegionName("oslo"))
    found = {each["name"]: each for each in repave("doctor", "-o", "json").json["items"]}
    assert found["retention"]["state"] == "warn"
    assert "kept while oslo has not been heard since this controller began" in found["retention"]["text"]


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
