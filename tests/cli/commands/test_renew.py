"""repave ages, taint and renew, and the column of worn hosts."""

import pytest

from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController
from tests.support.cli_types import Run


@pytest.fixture
def released(repave: CommandLine) -> CommandLine:
    assert repave.release("v1").code == 0
    return repave


def test_a_tainted_host_is_shown_until_it_is_replaced(
    released: CommandLine, controller: ServedController
) -> None:
    controller.hold()
    ran = released("taint", "hello-v001-1", "--region", "paris", "--reason", "odd")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == (
        "hello-v001-1 in paris is tainted: it serves until a fresh host has its place; "
        "see repave ages hello\n"
    )
    ages = released("ages", "hello")
    titles, oslo, paris, worn = sorted(ages.out.splitlines(), key=lambda line: line.startswith("  "))
    assert titles.split()[:5] == ["APP", "REGION", "GROUP", "STATE", "HOSTS"]
    assert {oslo.split()[1], paris.split()[1]} == {"oslo", "paris"}
    assert worn.startswith("  paris hello-v001-1  tainted by ")
    assert worn.endswith(": odd; being replaced")
    hosts = released("hosts", "hello")
    assert "WORN" in hosts.out.splitlines()[0]
    assert "odd; being replaced" in hosts.out
    controller.let_go()
    assert "tainted" in released("events", "hello").out


@pytest.mark.parametrize("form", ["table", "wide", "json", "jsonl", "yaml", "name"])
def test_ages_come_in_every_format(released: CommandLine, form: str) -> None:
    assert "hello-v001" in released("ages", "-o", form).out


def test_a_wrong_name_is_told_with_those_that_exist(released: CommandLine) -> None:
    ran = released("taint", "hello-v001-9")
    assert ran.code == 2
    there = "it has: hello-v001-1, hello-v001-2, hello-v001-3"
    assert ran.err == f"repave: hello-v001 has no host called hello-v001-9; {there}\n"
    assert released("taint", "hello-v001-1").code == 5, "both regions have one"


def test_a_renewal_says_what_happens(released: CommandLine) -> None:
    ran = released("renew", "hello", "--reason", "new kernel")
    assert ran.code == 0
    assert ran.err == (
        "every host of hello-v001 is replaced by a fresh one, a few at a time; see repave ages hello\n"
    )
    assert released("renew", "hello", "-o", "json").json["kind"] == "renewal"
    assert "all 5 hosts of hello-v001 are replaced" in released("events", "hello").out


def test_there_is_nothing_to_renew_before_the_first_release(repave: Run) -> None:
    assert repave("renew", "hello").code == 2
    assert repave("ages").err == "no server groups\n"
