"""repave logs: each line with its host, and as data; hosts that are gone and regions that are away told."""

import json

from repave_protos.protocol.queries import HostOutput, Output, ReadOutput
from repave_protos.protocol.values import GroupName, HostName, RegionName
from tests.fakes.controller.scheduler import ServedController
from tests.support.cli_types import Run

GROUP = GroupName("hello-v001")
EVIL = "one\ntw\x1b[2Jo\n"


def printing(controller: ServedController) -> None:
    controller.sessions.tells |= {
        (RegionName("paris"), ReadOutput): Output(
            (HostOutput(HostName("h1"), GROUP, "one\ntw\x1b[2Jo\n", "c"),)
        ),
        (RegionName("oslo"), ReadOutput): Output(
            (
                HostOutput(HostName("h2"), GROUP, "three\n", "c", is_cut=True),
                HostOutput(HostName("h3"), GROUP, "its end\n", gone_at=4e9),
                HostOutput(HostName("h4"), GROUP, trouble="ssh: no route"),
            ),
            left_out=2,
        ),
    }


def test_each_line_says_whose_it_is_and_can_not_control_the_terminal(
    repave: Run, controller: ServedController
) -> None:
    repave("release", "--version", "1.0")
    printing(controller)
    ran = repave("logs", "hello", "--gone")
    assert sorted(ran.out.splitlines()) == [
        "[oslo/h2] three",
        "[oslo/h3 gone] its end",
        "[paris/h1] one",
        "[paris/h1] tw\\x1b[2Jo",
    ]
    assert "[oslo/h2] (some lines before these are not kept)" in ran.err
    assert "[oslo/h4] ssh: no route" in ran.err
    assert "[oslo] 2 more hosts are not shown" in ran.err
    assert ran.code == 1


def test_a_program_gets_a_list_or_an_item_a_line(repave: Run, controller: ServedController) -> None:
    repave("release", "--version", "1.0")
    printing(controller)
    ran = repave("logs", "hello", "--region", "paris", "-o", "jsonl")
    (item,) = map(json.loads, ran.out.splitlines())
    assert json.loads(repave("logs", "hello", "--region", "paris", "-o", "json").out) == {"items": [item]}
    assert (item["region"], item["host"], item["lines"][0]) == ("paris", "h1", "one")
    assert ran.code == 0


def test_one_host_is_printed_as_it_is(repave: Run, controller: ServedController) -> None:
    repave("release", "--version", "1.0")
    printing(controller)
    assert repave("logs", "hello", "--region", "paris", "--host", "h1").out.splitlines()[0] == "one"
