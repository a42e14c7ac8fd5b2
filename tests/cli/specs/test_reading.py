"""The controller reads the spec for the command line: what is wrong is said in the same words by both."""

import json
from pathlib import Path

import pytest

from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController

AWAY = ("--url", "http://127.0.0.1:9")
WRONG = {
    "a word too much": SPEC.replace("port: 8000", "prot: 8000"),
    "no mapping": "- a\n",
    "no YAML": SPEC + "  x: [\n",
    "two things": SPEC.replace("size: 2", "size: none").replace("warm: 0s", "warm: soon"),
    "a contradiction": SPEC.replace("oslo", "paris"),
    "an odd character": SPEC.replace("min_healthy_time: 0s", "min_healthy_time:\u00a00s"),
    "nothing": "",
}


@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("command", ["plan", "release"])
def test_the_controller_names_the_same_line_as_a_look_without_it(
    repave: CommandLine, command: str, fault: str
) -> None:
    Path("repave.yaml").write_text(WRONG[fault])
    asked, alone = repave(command, "-f", "repave.yaml"), repave("validate", "repave.yaml")
    assert (asked.code, asked.err) == (alone.code, alone.err)
    assert asked.code == 2
    assert asked.err.startswith("repave.yaml:")
    assert repave(command, "-f", "repave.yaml", *AWAY).err == alone.err
    places = repave(command, "-f", "repave.yaml", "-o", "json").json["problems"]
    assert places == json.loads(repave("validate", "repave.yaml", "-o", "json").out)["problems"]


def test_what_is_wrong_with_a_file_itself_is_said_too(repave: CommandLine) -> None:
    Path("latin.yaml").write_bytes(SPEC.encode() + "# \u00fc".encode("latin-1"))
    Path("long.yaml").write_text(SPEC + "#" * 1_100_000)
    for name in ("latin.yaml", "long.yaml", "none.yaml"):
        asked, alone = repave("release", "-f", name), repave("validate", name)
        assert (asked.code, asked.err) == (alone.code, alone.err) != (0, ""), name
    Path("repave.yaml").unlink()
    asked, alone = repave("release"), repave("validate")
    assert (asked.code, asked.err) == (2, alone.err)
    assert "is neither in" in asked.err


def test_a_good_spec_beside_a_controller_that_is_away(run: CommandLine) -> None:
    ran = run("release", *AWAY)
    assert (ran.code, ran.out) == (1, "")
    assert "cannot reach the controller" in ran.err


def test_of_files_over_one_another_the_controller_releases_what_they_make_together(
    repave: CommandLine, controller: ServedController
) -> None:
    Path("sizes.yaml").write_text("regions: [{name: oslo, size: 1}]\ncost: {per_host_hour: 2}\n")
    plan = repave("plan", "-f", "repave.yaml", "-f", "sizes.yaml", "-o", "json").json
    assert [(each["name"], each["creates"]) for each in plan["regions"]] == [("oslo", 1)]
    wrong = repave("plan", "-f", "repave.yaml", "-f", "sizes.yaml", "--version", "no version")
    assert wrong.code == 2
    assert wrong.err.startswith("repave: version: 'no version' is no version")


def test_a_controller_of_an_older_version_leaves_the_reading_here(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repave_cli.specs.reading.ROUTE", "unheard-of")
    assert repave.release("v1").code == 0
    assert repave("status", "hello", "-o", "json").json["version"] == "v1"
