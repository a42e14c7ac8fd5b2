"""repave agents: the line to paste, the list, revoking, rotating; and what doctor says of certificates."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_protos.protocol.certificates import new_key, read_join_word, request_for
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController, served


@pytest.fixture
def enrolling(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path / "controller", is_enrolling=True) as started:
        yield started


@pytest.fixture
def cli(run: CommandLine, enrolling: ServedController, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("REPAVE_URL", enrolling.url)
    return run


def join(controller: ServedController, line: str) -> None:
    """As repave-agent join does."""
    secret, enrolment = read_join_word(line.split()[-1]).secret, controller.enrolment
    assert enrolment is not None
    joining = enrolment.join(secret, request_for(new_key()), "192.0.2.7")
    asyncio.run_coroutine_threadsafe(joining, controller._loop).result(10)


def test_join_prints_one_line_that_can_be_pasted_and_nothing_else(cli: CommandLine) -> None:
    done = cli("agents", "join", "eu-1")
    assert done.code == 0
    assert re.fullmatch(
        r"repave-agent join https://repave\.example:7444 rpj\.[\w-]{43}\.[\w-]{43}\n", done.out
    )
    assert done.err.startswith("paste this on the machine of eu-1, within an hour: it is good once")
    answer = cli("agents", "join", "eu-1", "-o", "json").json
    assert answer["command"] == f"repave-agent join {answer['url']} {answer['token']}"
    assert answer["region"] == "eu-1"
    wrong = cli("agents", "join", "EU 1")
    assert (wrong.code, wrong.out) == (5, "")
    assert "EU 1 is no name for a region" in wrong.err


def test_agents_are_listed_and_revoked_by_region_or_one_by_one(
    cli: CommandLine, enrolling: ServedController
) -> None:
    assert "no agent has joined" in cli("agents", "list").err
    for region in ("paris", "paris", "oslo"):
        join(enrolling, cli("agents", "join", region).out)
    items = cli("agents", "list", "-o", "json").json["items"]
    assert [(each["region"], each["state"], each["joined_from"]) for each in items] == [
        ("oslo", "valid", "192.0.2.7"),
        ("paris", "valid", "192.0.2.7"),
        ("paris", "valid", "192.0.2.7"),
    ]
    name = items[1]["name"]
    assert name in cli("agents", "list").out
    assert cli("agents", "revoke", name, "--reason", "stolen").err == (
        f"{name} revoked; its stream ends at once\n"
    )
    assert [each["state"] for each in cli("agents", "list", "-o", "json").json["items"]] == [
        "valid",
        "revoked",
        "valid",
    ]
    assert cli("agents", "revoke", "paris").code == 0
    unknown = cli("agents", "revoke", "tokyo")
    assert unknown.code == 2
    assert "no agent that could be revoked is called 'tokyo'; there are: oslo/" in unknown.err
    events = cli("events").out
    assert re.search(rf"{name} revoked by \S+ \(stolen\)|{name} revoked by .*stolen", events)


def test_rotating_tells_when_the_former_authority_ends(cli: CommandLine) -> None:
    begun = cli("agents", "rotate")
    assert begun.code == 0
    assert "the former one ends at 2" in begun.err
    again = cli("agents", "rotate")
    assert again.code == 5
    assert "repave agents rotate --now" in again.err
    assert "let every agent join again" in cli("agents", "rotate", "--now").err


def test_without_tls_no_agent_is_enrolled_and_the_remedy_is_named(repave: CommandLine) -> None:
    for command in (("join", "eu-1"), ("revoke", "eu-1"), ("rotate",)):
        refused = repave("agents", *command)
        assert refused.code == 5
        assert "start it with tls.enabled = true" in refused.err
    assert repave("agents", "list").code == 0


def look_ahead(controller: ServedController, hours: int) -> None:
    """Agents are shown as they will be then."""
    enrolment = controller.enrolment
    assert enrolment is not None
    clock = enrolment._clock
    controller.in_loop(lambda: setattr(controller.agents, "_clock", lambda: clock() + 3600.0 * hours))


def test_doctor_tells_of_agents_that_are_refused_or_run_out(
    cli: CommandLine, enrolling: ServedController
) -> None:
    join(enrolling, cli("agents", "join", "paris").out)
    before = {each["name"] for each in cli("doctor", "-o", "json").json["items"]}
    assert "agent of paris" not in before
    checks = []
    for hours in (60, 73):
        look_ahead(enrolling, hours)
        items = cli("doctor", "-o", "json").json["items"]
        checks += [each for each in items if each["name"] == "agent of paris"]
    assert [(each["state"], each["remedy"]) for each in checks] == [
        ("warn", "repave agents join paris"),
        ("fail", "repave agents join paris"),
    ]
    assert re.search(r"the certificate of paris/\w{8} ends in 12 h", checks[0]["text"])
    assert "expired at" in checks[1]["text"]
    enrolling.in_loop(lambda: enrolling.sessions._certificates.deny("tokyo", "its certificate has expired"))
    items = cli("doctor", "-o", "json").json["items"]
    (denied,) = [each for each in items if each["name"] == "agent of tokyo"]
    assert denied["text"].endswith("ago: its certificate has expired")
