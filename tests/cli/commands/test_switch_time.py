"""How long the switch of a rollback took: told from the events, nothing invented where they don't tell."""

import re
import threading
import time
from typing import Any

import pytest

from repave_cli.commands.switch_time import switch_seconds
from repave_cli.transport.client import Client
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController
from tests.fakes.waiting import DEADLINE_SECONDS, POLL_SECONDS

BEGAN, MOVED, OVER = "rollback.started", "traffic.moved", "rollback.succeeded"


def test_a_rollback_ends_with_the_time_of_its_switch(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("v1")
    repave.release("v2")
    ran = repave("rollback", "hello")
    assert ran.code == 0
    assert re.fullmatch(r"the switch to hello-v001 took \d+ ms in all regions", ran.err.splitlines()[-1])


def test_who_leaves_is_told_no_time(repave: CommandLine, controller: ServedController) -> None:
    repave.release("v1")
    repave.release("v2")
    ran = repave("rollback", "hello", "--detach")
    assert (ran.code, ran.out) == (0, "hello-v001\n")
    assert "took" not in ran.err


def test_a_release_turned_round_before_its_switch_tells_no_time(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("v1")
    controller.hold()
    repave.release("v2", "--detach")
    regions = threading.Thread(target=_let_go_once_undoing, args=(controller,))
    regions.start()
    ran = repave("rollback", "hello")
    regions.join()
    assert ran.code == 0
    assert "hello-v002 rolled-back" in ran.err
    assert "the switch" not in ran.err


def _let_go_once_undoing(controller: ServedController) -> None:
    client, deadline = Client(controller.url), time.monotonic() + DEADLINE_SECONDS
    while client.get("applications/hello")["current_rollout"]["phase"] != "undoing":
        assert time.monotonic() < deadline, "the rollback was not accepted"
        time.sleep(POLL_SECONDS)
    controller.let_go()


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([(1, BEGAN, "v001", 10.0), (2, MOVED, "v001", 10.25)], 0.25),
        ([(2, MOVED, "v001", 10.25), (1, BEGAN, "v001", 10.0)], 0.25),  # in any order
        ([(1, MOVED, "v001", 5.0), (2, BEGAN, "v001", 10.0), (3, MOVED, "v001", 12.0)], 2.0),
        ([(1, BEGAN, "v001", 1.0), (2, MOVED, "v001", 9.0), (3, BEGAN, "v001", 10.0)], None),
        (
            [
                (1, BEGAN, "v001", 1.0),
                (2, MOVED, "v001", 2.0),
                (3, OVER, "v001", 2.0),
                (4, MOVED, "v001", 50.0),
            ],
            1.0,
        ),
        ([(1, BEGAN, "v003", 1.0), (2, MOVED, "v003", 2.0), (3, MOVED, "v001", 3.0)], None),
        ([(1, BEGAN, "v001", 1.0), (2, MOVED, "v001", 2.0), (3, MOVED, "v002", 3.0)], 2.0),
        ([(1, MOVED, "v001", 2.0)], None),
        ([], None),
    ],
)
def test_the_time_is_that_of_the_newest_rollback_to_the_group(
    events: list[tuple[int, str, str, float]], seconds: float | None
) -> None:
    assert switch_seconds([_event(*each) for each in events], "v001") == seconds


def _event(sequence: int, kind: str, group: str, second: float) -> dict[str, Any]:
    at = f"2026-11-23T07:00:{int(second):02d}.{round(second % 1 * 1000):03d}000+00:00"
    return {"sequence": sequence, "kind": kind, "group": group, "at": at}
