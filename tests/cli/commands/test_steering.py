"""pause, resume, promote, retry, step-back, scale: what they do, say and end with; and leaving at a gate."""

import time

import pytest

from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController

CANARY = SPEC.replace(
    "strategy: {blue_green: {warm: 0s}}",
    """\
waves: [{regions: [paris], bake: 1h}, {regions: rest, approve: sre}]
strategy: {canary: {steps: [{traffic: 50%, hold: 1h, approve: leads}]}}""",
)
DEADLINE_SECONDS = 40.0


@pytest.fixture
def canary(repave: CommandLine) -> CommandLine:
    """A canary soaks in paris, the first of two waves."""
    repave.release("v1")
    (repave.folder / "repave.yaml").write_text(CANARY)
    repave.release("v2", "--detach")
    until_why(repave, "soak: hello-v002 proves itself")
    return repave


def until_why(repave: CommandLine, text: str) -> str:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while text not in (said := repave("why", "hello").out):
        assert time.monotonic() < deadline, said
    return said


def test_a_release_is_led_to_its_end_gate_by_gate(canary: CommandLine) -> None:
    ran = canary("promote", "hello")
    assert (ran.code, ran.err) == (
        5,
        "repave: nothing waits for approval, only for time; repave promote hello --skip ends that\n",
    )
    ran = canary("promote", "hello", "--skip")
    assert (ran.code, ran.err) == (
        0,
        "hello-v002 goes on past step 1.4 in paris; follow it with: repave watch hello\n",
    )
    ran = canary("watch", "hello", "--until-gate")
    assert ran.code == 6
    assert ran.err.endswith(
        "waits for a person: approval of step 1.5 by leads: repave promote hello --role leads\n"
    )
    assert canary("status", "hello", "--wait", "--gate-ok").code == 0
    assert (
        canary("promote", "hello").err == "repave: this waits for the role leads; say so with --role leads\n"
    )
    canary("promote", "hello", "--role", "leads")
    until_why(canary, "bake: wave 1 of 2 is watched")
    assert canary("promote", "hello", "--skip").code == 0
    until_why(canary, "say yes to wave 2 of 2")
    status = canary("status", "hello")
    assert "|- wave 1  done" in status.out
    assert "`- wave 2  waits, also for approval by sre: oslo" in status.out
    canary("promote", "hello", "--role", "sre")
    until_why(canary, "soak")
    canary("promote", "hello", "--skip")
    until_why(canary, "approve")
    canary("promote", "hello", "--role", "leads")
    assert canary("watch", "hello").code == 0


def test_all_that_is_to_come_is_let_through_in_all_roles_it_needs(canary: CommandLine) -> None:
    ran = canary("promote", "hello", "--full")
    assert (ran.code, ran.err) == (
        5,
        "repave: this waits for the role leads, sre; say so with --role leads --role sre\n",
    )
    assert canary("promote", "hello", "--full", "--role", "leads", "--role", "sre").code == 0
    assert canary("status", "hello", "--wait", "--timeout", "20s").code == 0


def test_why_says_what_follows_and_which_command_helps(canary: CommandLine) -> None:
    lines = canary("why", "hello").out.splitlines()
    assert lines[0] == "hello: the release of hello-v002 is in step soak of wave 1"
    assert lines[1].startswith("  waits for paris: soak: hello-v002 proves itself, at most 60 min more (for")
    assert lines[2:] == [
        "    then approve; if it falls ill: every region goes back",
        "    repave promote hello --skip ends it",
    ]


def test_a_pause_is_said_wherever_one_looks(canary: CommandLine) -> None:
    ran = canary("pause", "hello", "--reason", "lunch")
    assert (ran.code, ran.err) == (0, "hello-v002 is paused; it goes on with: repave resume hello\n")
    said = until_why(canary, "paused by")
    assert "repave resume hello lets it go on, repave rollback hello goes back" in said
    assert "paused by" in canary("status", "hello").out.splitlines()[1]
    ran = canary("watch", "hello", "--until-gate")
    assert ran.code == 6
    assert "it goes on with: repave resume hello" in ran.err
    assert canary("promote", "hello").err == "repave: it is paused; repave resume hello lets it go on\n"
    assert canary("resume", "hello").code == 0
    assert canary("resume", "hello").err == "repave: the rollout of hello is not paused\n"


def test_a_step_back_is_refused_where_there_is_none(canary: CommandLine) -> None:
    assert canary("step-back", "hello").code == 0
    until_why(canary, "gone back a step")
    ran = canary("step-back", "hello")
    assert (ran.code, ran.err) == (
        5,
        "repave: no region that moves has been given traffic yet; repave abort hello ends it\n",
    )


def test_one_region_is_taken_out(canary: CommandLine) -> None:
    ran = canary("abort", "hello", "--region", "oslo", "--reason", "power")
    assert (ran.code, ran.err) == (
        0,
        "oslo goes back, the others go on; follow it with: repave watch hello\n",
    )
    wide = canary("status", "hello", "-o", "wide").out
    assert "   `- oslo  " in wide
    assert "as before  aborted by" in wide
    assert canary("abort", "hello", "--region", "rome").code == 2


def test_a_spec_of_another_application_says_no_sizes(repave: CommandLine) -> None:
    ran = repave("scale", "shop", "-f", "repave.yaml")
    assert ran.code == 2
    assert "repave.yaml is the spec of hello, not of shop" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("promote", "hello", "--override", "nonsense", "--reason", "x"), "no guard is called 'nonsense'"),
        (("promote", "hello", "--skip", "--gate", "nonsense"), "it waits at: step 1.4 in paris"),
        (("promote", "hello", "--skip", "--region", "rome"), "it goes to: paris, oslo"),
        (("scale", "hello", "rome=3"), "hello does not serve in rome"),
    ],
)
def test_what_is_not_there_is_a_usage_error_that_lists_what_is(
    canary: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    ran = canary(*arguments)
    assert ran.code == 2
    assert said in ran.err


def test_what_is_held_in_place_ends_with_8_and_is_tried_again(
    repave: CommandLine, controller: ServedController
) -> None:
    repave.release("v1")
    (repave.folder / "repave.yaml").write_text(SPEC + "rollback: {on: []}\n")
    controller.sessions.broken.add("hello-v002")
    ran = repave.release("v2")
    assert ran.code == 8
    assert "HELD where it is: " in ran.err
    assert ran.err.endswith(
        "a person must act: repave retry hello tries again, repave rollback hello goes back\n"
    )
    assert repave("status", "hello", "--wait").code == 8
    assert repave("resume", "hello").err.startswith("repave: repave holds it itself: ")
    controller.sessions.broken.clear()
    assert repave("retry", "hello").err == "hello-v002 tries again; follow it with: repave watch hello\n"
    assert repave("watch", "hello").code == 0
    assert repave("retry", "hello").code == 5


def test_sizes_are_given_by_hand_or_taken_from_the_spec(canary: CommandLine) -> None:
    ran = canary("scale", "hello", "paris=5")
    assert (ran.code, ran.err) == (
        0,
        "hosts of hello from now on: paris 5; see them with: repave status hello\n",
    )
    assert sizes(canary) == {"paris": 5, "oslo": 3}
    assert canary("scale", "-f", "repave.yaml", "--reason", "as written").code == 0
    assert sizes(canary) == {"paris": 2, "oslo": 3}


def test_a_size_is_foretold_and_then_given_in_the_words_of_an_autoscaler(canary: CommandLine) -> None:
    words = ("scale", "hello", "--region", "paris", "--to", "4")
    ran = canary(*words, "--dry-run")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "starts 3 hosts, ends 0")
    assert "paris  hello-v001  2 -> 4 hosts" in ran.out
    assert sizes(canary) == {"paris": 2, "oslo": 3}
    assert canary(*words).code == 0
    assert sizes(canary) == {"paris": 4, "oslo": 3}
    assert canary(*words, "--dry-run", "-o", "json").json["changes"] == []
    refused = canary("scale", "hello", "rome=4", "--dry-run")
    assert (refused.code, "it would be refused" in refused.err) == (5, True)


def sizes(repave: CommandLine) -> dict[str, int]:
    status = repave("status", "hello", "-o", "json").json
    return {region["name"]: region["groups"][0]["size"] for region in status["region_items"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scale", "hello"), "say how many: repave scale APP REGION=HOSTS"),
        (("scale", "hello", "paris"), "write REGION=HOSTS, such as paris=8"),
        (("scale", "hello", "paris=0"), "write REGION=HOSTS, such as paris=8"),
        (("scale", "hello", "paris=1", "paris=2"), "paris is named twice"),
        (("scale", "hello", "--region", "paris"), "--region and --to go together"),
        (("scale", "hello", "--region", "paris", "--to", "0"), "write a number of hosts"),
        (("promote", "hello", "--skip", "--full"), "not allowed with argument"),
        (("approve", "hello"), "there is no command approve; did you mean promote?"),
        (("continue", "hello"), "did you mean resume?"),
    ],
)
def test_what_is_not_understood_is_a_usage_error(
    run: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    ran = run(*arguments, "--url", "http://127.0.0.1:9")
    assert ran.code == 2
    assert said in ran.err


def test_a_guard_is_passed_with_a_reason_only(canary: CommandLine) -> None:
    ran = canary("promote", "hello", "--override", "capacity", "--role", "sre")
    assert (ran.code, ran.err) == (5, "repave: an override needs a reason: --reason\n")
    ran = canary("promote", "hello", "--override", "capacity", "--reason", "known")
    assert (ran.code, ran.err) == (
        0,
        "hello-v002 may pass the guard capacity; follow it with: repave watch hello\n",
    )


def test_a_rollback_goes_to_the_version_and_region_asked_for(repave: CommandLine) -> None:
    (repave.folder / "repave.yaml").write_text(SPEC + "rollback: {keep: {for: 24h, groups: 3}}\n")
    for version in ("v1", "v2", "v3"):
        repave.release(version)
    ran = repave("rollback", "hello", "--to", "v1", "--region", "paris", "--reason", "slow there")
    assert ran.code == 0
    weights = {
        (item["name"], region): share
        for item in repave("groups", "hello", "-o", "json").json["items"]
        for region, share in item["weight_bp"].items()
        if share
    }
    assert weights == {("hello-v001", "paris"): 10_000, ("hello-v003", "oslo"): 10_000}


def test_a_command_given_twice_under_one_key_is_done_once(canary: CommandLine) -> None:
    first = canary("pause", "hello", "--key", "k", "-o", "json").json
    assert (first["group"], first["is_joined"]) == ("hello-v002", False)
    canary("resume", "hello")
    assert canary("pause", "hello", "--key", "k", "-o", "json").json["is_joined"] is True
    assert canary("status", "hello", "-o", "json").json["phase"] == "running"


def test_what_goes_on_by_itself_is_shown_and_objected_to(repave: CommandLine) -> None:
    repave.release("v1")
    open_gate = "strategy: {blue_green: {approve: {role: leads, unless_objected: 1h}, warm: 0s}}"
    spec = SPEC.replace("strategy: {blue_green: {warm: 0s}}", open_gate)
    (repave.folder / "repave.yaml").write_text(spec)
    assert "goes on after 3600 s unless a person objects" in repave("plan", "-o", "json").out
    repave.release("v2", "--detach")
    said = until_why(repave, "it goes on unless a person objects, at most 60 min more")
    assert (
        "repave object hello --reason TEXT keeps it here, repave promote hello --role leads goes on now"
        in said
    )
    ran = repave("object", "hello", "--reason", "odd numbers")
    assert (ran.code, ran.err) == (
        0,
        "hello-v002 waits for approval; it goes on with: repave promote hello\n",
    )
    until_why(repave, "objects: odd numbers; a person with the role leads must say yes")
    assert repave("object", "hello").code == 5
    ran = repave("watch", "hello", "--until-gate")
    assert ran.code == 6
    assert repave("promote", "hello", "--role", "leads").code == 0
    assert repave("status", "hello", "--wait", "--timeout", "20s").code == 0
