"""repave rollback: its plan, growing or not, and what a second one says."""

from tests.fakes.controller.command_line import SPEC, CommandLine

LARGER = SPEC.replace("size: 2", "size: 4")


def released_larger(repave: CommandLine) -> None:
    repave.release("v1")
    (repave.folder / "repave.yaml").write_text(LARGER)
    repave.release("v2")


def test_the_plan_of_a_rollback_says_the_way_of_each_region(repave: CommandLine) -> None:
    released_larger(repave)
    ran = repave("rollback", "hello", "--dry-run")
    assert ran.code == 0
    assert ran.out.splitlines()[:2] == [
        "oslo: hello-v002 (v2) -> hello-v001 (v1): one switch, 3 hosts are kept",
        "paris: hello-v002 (v2) -> hello-v001 (v1): grows from 2 to 4 hosts, then the switch "
        "(--now: the switch first)",
    ]
    at_once = repave("rollback", "hello", "--dry-run", "--now")
    assert at_once.out.splitlines()[1:] == [
        "paris: hello-v002 (v2) -> hello-v001 (v1): one switch, then it grows from 2 to 4 hosts",
        "Nothing is launched before the switch.",
    ]
    plan = repave("rollback", "hello", "--dry-run", "-o", "json").json
    assert [(each["name"], each["how"], each["has"], each["size"]) for each in plan["regions"]] == [
        ("oslo", "switch", 3, 3),
        ("paris", "grow", 2, 4),
    ]
    assert repave("status", "hello", "-o", "json").json["version"] == "v2", "nothing has changed"


def test_a_rollback_brings_as_many_hosts_as_serve(repave: CommandLine) -> None:
    released_larger(repave)
    ran = repave("rollback", "hello")
    assert (ran.code, "done: hello-v001 serves hello in oslo, paris" in ran.err) == (0, True)
    assert repave("status", "hello", "-o", "json").json["hosts"] == 7


def test_a_second_rollback_is_refused_with_the_ways_that_there_are(repave: CommandLine) -> None:
    repave.release("v1")
    repave.release("v2")
    assert repave("rollback", "hello", "--now").code == 0
    for options in ((), ("--dry-run",)):
        ran = repave("rollback", "hello", *options)
        assert ran.code == 5
        assert (
            "hello has gone back already: hello-v001 (v1) serves again in oslo, paris; say where it is to go "
            "now: repave rollback hello --to hello-v002 (there are: hello-v002 (v2))"
        ) in ran.err
    assert repave("status", "hello", "-o", "json").json["version"] == "v1"
    ran = repave("rollback", "hello", "--to", "v2", "--dry-run")
    assert "hello-v001 (v1) -> hello-v002 (v2): one switch, 5 hosts are kept" in ran.out
    assert repave("rollback", "hello", "--to", "v2").code == 0
    assert repave("status", "hello", "-o", "json").json["version"] == "v2"


def test_who_serves_where_is_told_when_regions_differ(repave: CommandLine) -> None:
    repave.release("v1")
    repave.release("v2")
    ran = repave("rollback", "hello", "--region", "paris")
    assert ran.code == 0
    assert "done: hello is served by hello-v002 in oslo, hello-v001 in paris" in ran.err
    status = repave("status", "hello")
    assert "hello-v002 (v2) serves in oslo, hello-v001 (v1) serves in paris" in status.out
    plain = repave("status", "hello", "-o", "json").json
    assert (plain["hosts"], plain["verified"]) == (5, 5)
    states = {
        (region["name"], group["name"]): group["state"]
        for region in plain["region_items"]
        for group in region["groups"]
    }
    assert states == {
        ("oslo", "hello-v001"): "warm",
        ("oslo", "hello-v002"): "serving",
        ("paris", "hello-v001"): "serving",
        ("paris", "hello-v002"): "warm",
    }
