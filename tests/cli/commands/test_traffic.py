"""repave traffic: a line for each group, switches, and regions of which nothing is known."""

import json
import time
from dataclasses import replace

from repave_cli.commands.traffic import bars
from repave_protos.protocol.queries import Flip, GroupTraffic, Traffic, TrafficOf
from repave_protos.protocol.values import GroupName, RegionName
from tests.fakes.controller.scheduler import ServedController
from tests.support.cli_types import Run

GROUP = GroupName("hello-v001")


def counting(controller: ServedController) -> None:
    slot = int(time.time()) // 5 - 4
    view = controller.sessions.known[RegionName("oslo")]
    view.hello = replace(view.hello, capabilities=("requests=counted",))
    group = GroupTraffic(GROUP, (slot, slot + 1), (30, 10), (0, 1), (2000, 3500))
    flip = Flip(slot * 5.0, ((GROUP, 10_000),))
    controller.sessions.tells["oslo", TrafficOf] = Traffic(5, (group,), (flip,))


def test_people_see_a_line_for_each_group_and_the_switches(repave: Run, controller: ServedController) -> None:
    repave("release", "--version", "1.0")
    counting(controller)
    ran = repave("traffic", "hello")
    header, line, switched, flip = ran.out.splitlines()
    assert header.split()[:6] == ["GROUP", "VERSION", "SHARE", "REQUESTS/S", "ERRORS", "RESPONSE"]
    assert line.split()[:3] == ["hello-v001", "1.0", "100.0%"]
    assert "2.50%" in line
    assert "3.5 ms" in line
    assert switched == "switched:"
    assert flip.endswith("oslo: hello-v001 100 %")
    assert "paris: its agent is of an earlier version" in ran.err


def test_programs_get_what_the_api_says(repave: Run, controller: ServedController) -> None:
    repave("release", "--version", "1.0")
    counting(controller)
    answer = json.loads(repave("traffic", "hello", "--region", "oslo", "-o", "json").out)
    assert answer["items"][0]["requests"][:2] == [30, 10]
    assert repave("traffic", "hello", "--region", "oslo", "-o", "name").out.split() == ["hello-v001"]


def test_no_requests_are_said_to_be_none(repave: Run) -> None:
    repave("release", "--version", "1.0")
    assert repave("traffic", "hello").out == "no requests were counted in this time\n"


def test_bars_are_as_many_as_fit_and_the_highest_is_full() -> None:
    assert bars([0, 1, 8], 3) == "▁▂█"
    assert bars([]) == ""
    assert len(bars([1] * 360)) <= 24
