"""repave freeze and unfreeze: what they print, and that status says on top when nothing moves."""

import json

import pytest

from tests.fakes.controller.command_line import CommandLine

LONG = ("--from", "2026-01-01", "--to", "2999-12-31")


def test_a_freeze_of_everything_is_on_top_of_status_until_it_is_lifted(repave: CommandLine) -> None:
    frozen = repave("freeze", "--all", "--reason", "prices are wrong")
    assert (frozen.code, frozen.out) == (0, "")
    assert frozen.err.startswith("EVERYTHING IS FROZEN by ")
    assert frozen.err.endswith("0 s ago: prices are wrong; lift it with: repave unfreeze --all\n")
    assert repave("status").out.startswith("EVERYTHING IS FROZEN by ")
    lifted = repave("unfreeze", "--all")
    assert (lifted.code, lifted.err) == (0, "rollouts may move\n")
    assert "FROZEN" not in repave("status").out


def test_the_status_of_one_application_tells_it_too_and_json_stays_json(repave: CommandLine) -> None:
    assert repave.release("1.0").code == 0
    repave("freeze", "--all")
    first, second, *_ = repave("status", "hello").out.splitlines()
    assert first.startswith("EVERYTHING IS FROZEN by ")
    assert second.startswith("hello: hello-v001")
    assert repave("status", "hello", "-o", "json").json["name"] == "hello"


def test_stop_and_go_of_version_0_1_still_work_may_be_repeated_and_are_not_shown(repave: CommandLine) -> None:
    codes = [repave(command).code for command in ("go", "stop", "stop", "go", "go")]
    assert codes == [0, 0, 0, 0, 0]
    kinds = [line.split()[2] for line in repave("events").out.splitlines()]
    assert kinds == ["freeze.all.added", "freeze.all.lifted"]
    shown = {line.split()[0] for line in repave("--help").out.splitlines() if line}
    assert not {"stop", "go"} & shown


def test_programs_get_the_freezes(repave: CommandLine) -> None:
    answer = repave("freeze", "--all", "--reason", "prices are wrong", "-o", "json").json
    assert answer["everything"]["reason"] == "prices are wrong"
    lifted = repave("unfreeze", "--all", "-o", "json").json
    assert lifted == {"everything": None, "items": [], "text": "rollouts may move"}


def test_freezes_are_added_listed_and_lifted(repave: CommandLine) -> None:
    assert repave("freeze", "list").err == "no freezes; those of specs are shown by repave why\n"
    zone = ("--zone", "Europe/Berlin", "--reason", "audit")
    added = repave("freeze", "add", *LONG, *zone, "--app", "web-*", "--app", "shop")
    assert (added.code, added.out) == (0, "")
    assert added.err == (
        "F1: no release of web-*, shop moves from Thu 2026-01-01 00:00 Europe/Berlin "
        "to Wed 3000-01-01 00:00 Europe/Berlin\n"
    )
    repave("freeze", "add", "--from", "2999-01-01", "--to", "2999-01-02T12:00")
    titles, first, second = repave("freeze", "list").out.splitlines()
    assert titles.split() == ["ID", "FROM", "TO", "APPS", "NOW", "BY", "REASON"]
    for cell in ("F1 ", "Thu 2026-01-01 00:00 Europe/Berlin", "web-*,shop", "frozen", "audit"):
        assert cell in first
    for cell in ("F2 ", "Wed 2999-01-02 12:00 UTC", " all ", " - "):
        assert cell in second
    assert repave("freeze", "list", "-o", "name").out == "F1\nF2\n"
    lifted = repave("unfreeze", "f1", "--reason", "audit is over")
    assert (lifted.code, lifted.err) == (0, "F1 is lifted\n")
    assert [each["id"] for each in repave("freeze", "list", "-o", "json").json["items"]] == ["F2"]


def test_a_freeze_without_a_beginning_begins_now(repave: CommandLine) -> None:
    assert repave("freeze", "add", "--to", "2999-12-31", "-o", "json").json["is_on"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("unfreeze", "F7"), 2, "no freeze is called 'F7'; there are: none"),
        (("freeze", "add", *LONG, "--zone", "Berlin"), 2, "did you mean Europe/Berlin?"),
        (("freeze", "add", "--from", "soon", "--to", "2999-01-01"), 2, "write a date such as 2026-12-20"),
        (("freeze", "add", "--from", "2020-01-01", "--to", "2020-01-02"), 5, "was over at"),
        (("freeze", "add"), 2, "--to"),
        (("freeze",), 2, "say what: repave freeze --all, or repave freeze add"),
        (("freeze", "--all", "add", *LONG), 2, "leave add out"),
        (("unfreeze",), 2, "say what: repave unfreeze ID"),
        (("unfreeze", "F1", "--all"), 2, "say what: repave unfreeze ID"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    repave: CommandLine, arguments: tuple[str, ...], code: int, told: str
) -> None:
    ran = repave(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert repave("freeze", "list", "-o", "json").json["items"] == []


def test_a_refusal_is_a_problem_for_programs(repave: CommandLine) -> None:
    ran = repave("freeze", "lift", "F7", "-o", "json")
    assert json.loads(ran.out)["rule"] == "unknown-freeze"


def test_without_a_controller_it_says_so(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPAVE_URL", "http://127.0.0.1:9")
    ran = run("freeze", "--all")
    assert ran.code == 1
    assert "cannot reach the controller" in ran.err
