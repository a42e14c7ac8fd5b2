"""repave stop, go and freeze: what they print, and that status says on top when nothing moves."""

import json

import pytest

from tests.fakes.controller.command_line import CommandLine

LONG = ("--from", "2026-01-01", "--to", "2999-12-31")


def test_a_stopped_line_is_on_top_of_status_until_go(repave: CommandLine) -> None:
    stopped = repave("stop", "--reason", "prices are wrong")
    assert (stopped.code, stopped.out) == (0, "")
    assert stopped.err.startswith("THE LINE IS STOPPED by ")
    assert stopped.err.endswith("0 s ago: prices are wrong; let it move: repave go\n")
    assert repave("status").out.startswith("THE LINE IS STOPPED by ")
    went = repave("go")
    assert (went.code, went.err) == (0, "rollouts may move\n")
    assert "STOPPED" not in repave("status").out


def test_the_status_of_one_application_tells_it_too_and_json_stays_json(repave: CommandLine) -> None:
    assert repave.release("1.0").code == 0
    repave("stop")
    first, second, *_ = repave("status", "hello").out.splitlines()
    assert first.startswith("THE LINE IS STOPPED by ")
    assert second.startswith("hello: hello-v001")
    assert repave("status", "hello", "-o", "json").json["name"] == "hello"


def test_stop_and_go_may_be_repeated(repave: CommandLine) -> None:
    codes = [repave(command).code for command in ("go", "stop", "stop", "go", "go")]
    assert codes == [0, 0, 0, 0, 0]
    kinds = [line.split()[1] for line in repave("events").out.splitlines()]
    assert kinds == ["line.stopped", "line.started"]


def test_programs_get_the_line(repave: CommandLine) -> None:
    answer = repave("stop", "--reason", "prices are wrong", "-o", "json").json
    assert answer["stopped"]["reason"] == "prices are wrong"
    assert repave("go", "-o", "json").json == {"stopped": None, "freezes": []}


def test_freezes_are_added_listed_and_lifted(repave: CommandLine) -> None:
    assert repave("freeze", "list").err == "no freezes; those of specs are shown by repave why\n"
    zone = ("--zone", "Europe/Berlin", "--reason", "audit")
    added = repave("freeze", "add", *LONG, *zone, "--app", "web-*", "--app", "shop")
    assert (added.code, added.out) == (0, "")
    assert added.err == (
        "F1: nothing of web-*, shop is released from Thu 2026-01-01 00:00 Europe/Berlin "
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
    lifted = repave("freeze", "lift", "f1", "--reason", "audit is over")
    assert (lifted.code, lifted.err) == (0, "F1 is lifted\n")
    assert [each["id"] for each in repave("freeze", "list", "-o", "json").json["items"]] == ["F2"]


def test_a_freeze_without_a_beginning_begins_now(repave: CommandLine) -> None:
    assert repave("freeze", "add", "--to", "2999-12-31", "-o", "json").json["is_on"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("freeze", "lift", "F7"), 2, "no freeze is called 'F7'; there are: none"),
        (("freeze", "add", *LONG, "--zone", "Berlin"), 2, "did you mean Europe/Berlin?"),
        (("freeze", "add", "--from", "soon", "--to", "2999-01-01"), 2, "write a date such as 2026-12-20"),
        (("freeze", "add", "--from", "2020-01-01", "--to", "2020-01-02"), 5, "was over at"),
        (("freeze", "add"), 2, "--to"),
        (("freeze",), 2, "VERB"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    repave: CommandLine, arguments: tuple[str, ...], code: int, told: str
) -> None:
    ran = repave(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert repave("freeze", "list", "-o", "json").json == {"items": []}


def test_a_refusal_is_a_problem_for_programs(repave: CommandLine) -> None:
    ran = repave("freeze", "lift", "F7", "-o", "json")
    assert json.loads(ran.out)["rule"] == "unknown-freeze"


def test_without_a_controller_it_says_so(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPAVE_URL", "http://127.0.0.1:9")
    ran = run("stop")
    assert ran.code == 1
    assert "cannot reach the controller" in ran.err
