"""Releases that wait, on the command line: listed wherever one looks, dropped, resumed; and those that take
the place of others."""

from pathlib import Path

import pytest

from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController

SLOW = SPEC.replace("warm: 0s", "warm: 1h")


@pytest.fixture
def queue(repave: CommandLine) -> CommandLine:
    """v2 is on its way, v3 and v4 wait."""
    repave.release("v1")
    Path("repave.yaml").write_text(SLOW)
    repave.release("v2", "--detach")
    Path("repave.yaml").write_text(SPEC)
    ran = repave.release("v3", "--queue", "--reason", "later")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        0,
        "queued behind the running rollout of hello; see it with: repave status hello",
    )
    repave.release("v4", "--queue")
    return repave


def test_what_waits_is_shown_by_status_and_listed(queue: CommandLine) -> None:
    lines = queue("status", "hello").out.splitlines()
    assert [line.split(" by ")[0] for line in lines if "queued" in line] == [
        "  queued: 1  v3",
        "  queued: 2  v4",
    ]
    listed = queue("queue", "list", "hello")
    assert listed.out.splitlines()[1].split()[:2] == ["1", "v3"]
    assert listed.err == ""
    items = queue("queue", "list", "hello", "-o", "json").json["items"]
    assert [(each["version"], each["reason"]) for each in items] == [("v3", "later"), ("v4", "")]
    assert queue("status", "hello", "-o", "json").json["queue"]["items"] == items


def test_a_queue_that_stands_is_said_wherever_one_looks_until_a_person_goes_on(queue: CommandLine) -> None:
    assert queue("queue", "resume", "hello").code == 5
    queue("abort", "hello")
    stands = "queue: 2 releases wait until a person goes on, for the release of hello-v002 was aborted"
    assert stands in queue("why", "hello").out
    assert f"waits: {stands}; repave queue resume hello goes on" in queue("status", "hello").out
    assert stands in queue("queue", "list", "hello").err
    assert queue("queue", "list", "hello", "-o", "json").json["stands"] == stands
    assert queue("status", "hello").out.startswith("hello: hello-v001 (v1) serves")
    ran = queue.release("v5", "--queue")
    assert "queued for hello, but queue: 3 releases wait until a person goes on" in ran.err
    ran = queue("queue", "resume", "hello", "--reason", "looked at it")
    assert (ran.code, ran.err) == (0, "the queue of hello goes on; follow it with: repave watch hello\n")
    assert "queue.resumed" in queue("events", "hello").out


def test_releases_are_dropped_from_the_queue(queue: CommandLine) -> None:
    ran = queue("queue", "drop", "hello", "v9")
    assert (ran.code, ran.err) == (
        2,
        "repave: no queued release of hello has the number or version v9; there are: 1 (v3), 2 (v4)\n",
    )
    assert queue("queue", "drop", "hello").code == 2
    assert queue("queue", "drop", "hello", "v3", "--all").code == 2
    assert queue("queue", "drop", "hello", "v3").err == "release v3 is dropped from the queue of hello\n"
    assert queue("queue", "drop", "hello", "--all").code == 0
    assert queue("queue", "list", "hello").err == "no release waits\n"


def test_the_newest_takes_the_place_of_those_that_wait(queue: CommandLine) -> None:
    assert queue.release("v5", "--queue-latest").code == 0
    items = queue("queue", "list", "hello", "-o", "json").json["items"]
    assert [each["version"] for each in items] == ["v5"]
    assert "v3, v4 will not be released: v5 is newer" in queue("events", "hello").out


def test_a_release_that_replaces_what_runs_is_followed_to_its_end(queue: CommandLine) -> None:
    ran = queue.release("v5", "--replace", "--timeout", "20s")
    assert ran.code == 0, ran.err
    assert "what runs of hello goes back first; then this release begins" in ran.err
    assert ran.err.endswith("done: hello-v003 serves hello in oslo, paris\n")
    assert [each["phase"] for each in queue("history", "hello", "-o", "json").json["items"]][:2] == [
        "succeeded",
        "aborted",
    ]


def test_sizes_are_kept_where_that_is_wanted(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1")
    repave("scale", "hello", "paris=4")
    assert "--keep-sizes" in repave("plan", "--version", "v2", "--keep-sizes").out
    assert repave.release("v2", "--keep-sizes").code == 0
    groups = repave("groups", "hello", "-o", "json").json["items"]
    assert [each["size"] for each in groups if each["name"] == "hello-v002"] == [7]
