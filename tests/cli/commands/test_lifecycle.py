"""repave delete, groups retire, regions leave, remove and take-over, over HTTP as a person gives them."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from repave_controller.fleet.regions import Rival
from repave_protos.protocol.values import RegionName
from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController

PARIS = RegionName("paris")
DEADLINE_SECONDS = 40.0


@pytest.fixture
def two(repave: CommandLine) -> CommandLine:
    """1.0 is kept, 2.0 serves."""
    assert repave.release("1.0").code == 0
    assert repave.release("2.0").code == 0
    return repave


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    """A person who types these."""
    answers = iter(typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("repave_cli.commands.lifecycle.answered", lambda _: next(answers))


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def groups(repave: CommandLine) -> list[str]:
    return [line.split()[0] for line in repave("groups").out.splitlines()[1:]]


# ------------------------------------------------------------------------------------------------- delete


def test_an_application_is_deleted_and_its_history_and_port_are_what_is_left(
    two: CommandLine, app: Path
) -> None:
    ran = two("delete", "hello", "--yes", "--reason", "no more")
    assert (ran.code, ran.err) == (
        0,
        "hello is being drained and destroyed; follow it with: repave why hello\n",
    )
    until(lambda: "hello" not in two("apps").out)
    assert "hello" not in two("apps").out
    assert [line.split()[2] for line in two("history", "hello").out.splitlines()[1:]] == [
        "hello-v002",
        "hello-v001",
    ]
    asked = two("status", "hello")
    assert asked.code == 2
    assert "hello was deleted at" in asked.err
    assert "repave history hello has what it was" in asked.err
    kinds = [json.loads(line)["kind"] for line in two("events", "hello", "-o", "jsonl").out.splitlines()]
    assert kinds[-1] == "application.deleted"
    (app / "other.yaml").write_text(SPEC.replace("app: hello", "app: other"))
    assert two("release", "-f", "other.yaml", "--version", "1.0").code == 0  # on the same port


def test_a_deleted_application_is_released_again(two: CommandLine) -> None:
    assert two("delete", "hello", "--yes").code == 0
    until(lambda: "hello" not in two("apps").out)
    assert two.release("3.0").code == 0
    assert groups(two) == ["hello-v003"]


def test_the_name_is_typed_to_confirm(two: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, "hallo", "hello")
    ran = two("delete", "hello")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        2,
        "repave: nothing was changed: hello was not typed",
    )
    assert "destroys its hosts in oslo, paris" in ran.err
    assert two("delete", "hello").code == 0


def test_without_a_terminal_it_takes_a_yes(two: CommandLine) -> None:
    ran = two("delete", "hello")
    assert (ran.code, "--yes" in ran.err) == (2, True)
    assert len(groups(two)) == 2


# --------------------------------------------------------------------------------------------- one group


@pytest.mark.parametrize("name", ["hello-v001", "1.0"])
def test_a_group_that_is_kept_is_retired(two: CommandLine, name: str) -> None:
    ran = two("groups", "retire", "hello", name)
    assert ran.code == 0
    until(lambda: groups(two) == ["hello-v002"])


def test_a_group_that_serves_is_not_retired(two: CommandLine) -> None:
    ran = two("groups", "retire", "hello", "hello-v002")
    assert ran.code == 5
    assert "repave delete hello" in ran.err


@pytest.mark.parametrize("words", [("retire", "hello"), ("hello", "hello-v001"), ("a", "b", "c", "d")])
def test_other_words_after_groups_say_how_it_is_written(two: CommandLine, words: tuple[str, ...]) -> None:
    ran = two("groups", *words)
    assert ran.code == 2
    assert "repave groups retire APP NAME" in ran.err


def test_groups_of_one_application_are_listed_as_before(two: CommandLine) -> None:
    assert "hello-v001" in two("groups", "hello").out


# ----------------------------------------------------------------------------------------------- regions


def test_an_application_leaves_a_region_and_can_then_be_released_without_it(
    two: CommandLine, app: Path
) -> None:
    spec = (app / "repave.yaml").read_text()
    (app / "repave.yaml").write_text(
        "\n".join(line for line in spec.splitlines() if "oslo" not in line) + "\n"
    )
    refused = two.release("3.0")
    assert refused.code == 5
    assert "repave regions leave oslo hello" in refused.err
    assert two("regions", "leave", "oslo", "hello", "--yes").code == 0
    until(lambda: two.release("3.0").code == 0)


def test_a_region_is_removed_with_all_that_it_has(two: CommandLine, controller: ServedController) -> None:
    ran = two("regions", "remove", "oslo", "--yes")
    assert (ran.code, ran.err) == (
        0,
        "hello: drained and destroyed in oslo; then stop its agent, and repave forgets it\n",
    )
    until(lambda: "oslo" not in two("status", "hello").out)
    controller.connect("oslo", False)
    assert two("regions", "remove", "oslo", "--yes").err == "oslo is forgotten\n"
    assert "oslo" not in two("regions").out


def test_a_lost_region_is_forgotten_at_once(two: CommandLine, controller: ServedController) -> None:
    refused = two("regions", "remove", "oslo", "--lost", "--yes")
    assert (refused.code, "the agent of oslo is connected" in refused.err) == (5, True)
    controller.connect("oslo", False)
    ran = two("regions", "remove", "oslo", "--lost", "--yes")
    assert (ran.code, ran.err) == (0, "oslo is forgotten, with what hello had there\n")
    assert "oslo" not in two("status", "hello").out
    assert two("why", "hello").code == 0


def test_the_last_region_is_not_removed_from_under_an_application(two: CommandLine) -> None:
    assert two("regions", "leave", "oslo", "hello", "--yes").code == 0
    until(lambda: "oslo" not in two("status", "hello").out)
    ran = two("regions", "remove", "paris", "--yes")
    assert ran.code == 5
    assert "repave delete hello" in ran.err


def test_an_unknown_region_is_named_with_those_that_there_are(repave: CommandLine) -> None:
    for verb in (("remove", "rome", "--yes"), ("take-over", "rome")):
        ran = repave("regions", *verb)
        assert "no region is called rome; there are: oslo, paris" in ran.err


def test_regions_that_no_application_is_in_are_listed_apart(
    two: CommandLine, controller: ServedController
) -> None:
    view = controller.sessions.known[PARIS]
    ghost = RegionName("ghost")
    controller.sessions.known[ghost] = replace(view, region=ghost, is_connected=False)
    used, _, unused = two("regions").out.partition("No application is in:")
    assert ("paris" in used, "ghost" in used, "ghost" in unused) == (True, False, True)
    doctor = {each["name"]: each for each in json.loads(two("doctor", "-o", "json").out)["items"]}
    assert doctor["region ghost"]["state"] == "warn"


def test_doctor_fails_and_regions_tell_while_two_agents_want_one_region(
    two: CommandLine, controller: ServedController
) -> None:
    view = controller.sessions.known[PARIS]
    hello = replace(view.hello, instance="c0ffee")
    controller.sessions.others[PARIS] = Rival(hello, view.since)
    assert "two agents run for paris" in two("regions").err
    doctor = {each["name"]: each for each in json.loads(two("doctor", "-o", "json").out)["items"]}
    assert doctor["agents of paris"]["state"] == "fail"
    assert "repave regions take-over paris" in doctor["agents of paris"]["remedy"]
    assert json.loads(two("regions", "-o", "json").out)["items"][1]["rival"] == "c0ffee"
    ran = two("regions", "take-over", "paris")
    assert (ran.code, controller.sessions.taken_over) == (0, [PARIS])
    assert "the next agent of paris may take over" in ran.err


def test_a_stand_by_is_shown_and_is_no_failure(two: CommandLine, controller: ServedController) -> None:
    view = controller.sessions.known[PARIS]
    controller.sessions.known[PARIS] = replace(view, hello=replace(view.hello, instance="a" * 32))
    hello = replace(view.hello, instance="c0ffee" + "0" * 26)
    controller.sessions.others[PARIS] = Rival(hello, view.since, "it stands by", can_follow=True)
    shown = two("regions")
    assert "c0ffee00" in shown.out
    assert shown.err == ""
    doctor = {each["name"]: each for each in json.loads(two("doctor", "-o", "json").out)["items"]}
    assert doctor["agents of paris"]["state"] == "ok"
    assert "aaaaaaaa acts, c0ffee00 stands by" in doctor["agents of paris"]["text"]
    (item,) = [
        each for each in json.loads(two("regions", "-o", "json").out)["items"] if each["name"] == "paris"
    ]
    assert (item["instance"], item["stand_by"], item["rival"]) == ("a" * 32, hello.instance, "")


def test_a_take_over_warns_of_an_agent_that_is_away_and_may_still_act(
    two: CommandLine, controller: ServedController
) -> None:
    view = controller.sessions.known[PARIS]
    controller.sessions.known[PARIS] = replace(view, is_connected=False)
    ran = two("regions", "take-over", "paris")
    assert ran.code == 0
    assert "had no lease: if it still runs, two act there" in ran.err
    assert "stop it first" in ran.err
