"""plan and image: what they show, and what they end with."""

import json

import pytest

from tests.fakes.command_line import SPEC, CommandLine, build
from tests.fakes.scheduler import ServedController


def test_a_plan_shows_steps_regions_and_last_what_is_destroyed(repave: CommandLine) -> None:
    (repave.folder / "repave.yaml").write_text(SPEC + "rollback: {keep: {for: 0s}}\n")
    repave.release("v1")
    build(repave.folder, "v2")
    ran = repave("plan", "--version", "v2")
    assert (ran.code, ran.err) == (0, "")
    plan = json.loads(repave("plan", "--version", "v2", "-o", "json").out)
    assert ran.out.splitlines() == [
        "hello  hello-v001 -> hello-v002  v2  blue-green, 2 regions together    "
        f"plan {plan['id']}, good while nothing changes",
        "  1. scale: 100 % of the new hosts in every region, beside the old ones",
        "  2. verify: every host healthy for long enough and up behind the balancer",
        "  3. weight: 100 % of the traffic to the new group, all regions together",
        "  4. soak: watch it for 0 s; any failure flips back by itself",
        "  paris            creates 2, at most 4 hosts at once, never below 2 serving",
        "  oslo             creates 3, at most 6 hosts at once, never below 3 serving",
        "Creates 5 hosts. Takes at least 0 s. Destroys 5 hosts (hello-v001).",
    ]


def test_a_plan_needs_no_stored_package_and_stores_none(repave: CommandLine) -> None:
    assert repave("plan").code == 0
    assert repave("image", "list", "-o", "json").json == {"items": []}


def test_exit_code_says_that_there_is_something_to_do_only_when_asked(repave: CommandLine) -> None:
    assert repave("plan").code == 0
    assert repave("plan", "--exit-code").code == 10


def test_a_plan_that_would_be_refused_ends_with_5_and_says_why(
    repave: CommandLine, controller: ServedController
) -> None:
    controller.hold()
    repave.release("v1", "--detach")
    ran = repave("plan", "--version", "v2")
    assert ran.code == 5
    assert ran.err.startswith("repave: it would be refused: hello-v001 is being rolled out; wait for it")


@pytest.mark.parametrize("command", ["plan", "release"])
def test_an_error_of_the_spec_stops_it_before_anything_is_sent(run: CommandLine, command: str) -> None:
    (run.folder / "repave.yaml").write_text(SPEC.replace("size: 3", "size: three"))
    ran = run(command, "--url", "http://127.0.0.1:9")
    assert ran.code == 2
    assert ran.err.endswith(
        "repave.yaml:9:24: regions.1.size: must be a whole number; write it without quotes and units\n"
    )


def test_overlays_change_the_spec(repave: CommandLine) -> None:
    (repave.folder / "prod.yaml").write_text("regions: [{name: paris, size: 7}]\n")
    plan = repave("plan", "-f", "repave.yaml", "-f", "prod.yaml", "-o", "json").json
    assert plan["creates_hosts"] == 7


def test_a_pushed_folder_gives_its_digest_and_is_listed(repave: CommandLine) -> None:
    pushed = repave("image", "push", "app", "--name", "hello 1.0")
    digest = pushed.out.strip()
    assert (pushed.code, len(digest)) == (0, 64)
    assert "stored hello 1.0: 1 files" in pushed.err
    assert repave("image", "push", "app").out.strip() == digest
    (item,) = repave("image", "list", "-o", "json").json["items"]
    assert (item["digest"], item["name"]) == (digest, "hello 1.0")
    assert repave("image", "list", "-o", "name").out == "hello 1.0\n"


def test_what_is_no_package_is_refused_before_it_is_sent(run: CommandLine) -> None:
    (run.folder / "notes.tar.gz").write_text("hello")
    ran = run("image", "push", "notes.tar.gz", "--url", "http://127.0.0.1:9")
    assert ran.code == 2
    assert "notes.tar.gz" in ran.err or "gzip" in ran.err
    ran = run("image", "push", "nothing")
    assert (ran.code, ran.err) == (2, "repave: nothing: No such file or directory\n")
