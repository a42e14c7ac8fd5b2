"""plan and image: what they show, and what they end with."""

import json
import os

import pytest

from repave_cli.commands import plan
from tests.fakes.controller.command_line import SPEC, CommandLine, build
from tests.fakes.controller.scheduler import ServedController


def test_a_plan_shows_steps_regions_and_last_what_is_destroyed(repave: CommandLine) -> None:
    (repave.folder / "repave.yaml").write_text(SPEC + "rollback: {keep: {for: 0s}}\n")
    repave.release("v1")
    build(repave.folder, "v2")
    ran = repave("plan", "--version", "v2")
    assert (ran.code, ran.err) == (0, "")
    plan = json.loads(repave("plan", "--version", "v2", "-o", "json").out)
    assert [line for line in ran.out.splitlines() if "times:" not in line] == [
        "hello  hello-v001 -> hello-v002  v2  blue-green, 2 regions                      "
        f"plan {plan['id']}, good while nothing changes",
        "  STEP          TRAFFIC  PARIS          OSLO           TIME",
        "  1     scale   0 %      2 new + 2 old  3 new + 3 old        100 % of the new hosts in every "
        "region, beside the old ones",
        "  2     verify  0 %      2 new + 2 old  3 new + 3 old        every host healthy for long enough and "
        "up behind the balancer",
        "  3     weight  100 %    2 new + 2 old  3 new + 3 old        100 % of the traffic to the new group",
        "  4     soak    100 %    2 new + 2 old  3 new + 3 old        watch it for 0 s; any failure goes "
        "back by itself",
        "  floor    never below so many hosts that serve: 2 in paris; 3 in oslo",
        f"  changes  package {plan['changes'][0].split()[1]} -> {plan['changes'][0].split()[3]}",
        "           version v1 -> v2",
        "           capacity: paris: 2 hosts of hello-v001 can serve, the floor is 2 of 2; 1 more as good "
        "(-o wide)",
        "Creates 5 hosts, at most 10 at once. Nothing of hello-v001 is kept: going back builds it again. "
        "Takes at least 0 s. Destroys 5 hosts (hello-v001).",
        f"For others to look at: {os.environ['REPAVE_URL']}/plan?id={plan['id']}",
        f"To run exactly this: repave release --plan {plan['id']} --version v2",
    ]


WAVES = """\
repave: 1
app: hello
artifact: {uri: ./app}
host: {image: local, run: ./serve}
health: {http: {port: 8080, path: /}, min_healthy_time: 0s}
traffic: {frontend: hello, port: 8000}
regions:
  - {name: paris, size: 8, cost_per_hour: 0.25}
  - {name: oslo, size: 8}
waves:
  - {regions: paris, bake: 30m}
  - {regions: rest, approve: sre}
strategy: {canary: {steps: [{traffic: 10%, hold: 10m}]}}
cost: {per_host_hour: 0.5}
"""


def test_a_plan_of_waves_shows_each_with_its_gate_and_its_bake(repave: CommandLine) -> None:
    (repave.folder / "repave.yaml").write_text(WAVES)
    repave("release", "--version", "v1", "--detach")
    repave("promote", "hello", "--full", "--role", "sre")
    assert repave("status", "hello", "--wait", "--timeout", "20s").code == 0
    out = repave("plan", "--version", "v2").out
    assert "canary, 2 regions in 2 waves" in out
    assert "  wave 1  paris                                       8 hosts   then watched for 30 min" in out
    assert "  wave 2  oslo                                        8 hosts   gate sre" in out
    assert "  STEP          TRAFFIC  EACH REGION    TIME" in out
    assert "  4     soak    10 %     1 new + 8 old  10 min  watch it for 600 s" in out
    assert "  floor    never below 8 hosts that serve, in each region" in out
    assert "Creates 16 hosts, at most 32 at once, 389.7 extra host-hours, 145.46 EUR." in out
    assert "Keeps hello-v001 warm: going back is one switch. Takes at least 50 min." in out
    assert "REGION  WAVE" not in out
    wide = repave("plan", "--regions").out
    assert "  paris   1     8        16    8      8      0" in wide
    assert "  1+8  1+8  1+8  1+8  8+8  8+8  8+8" in wide


def test_the_command_to_run_a_plan_has_what_was_given(repave: CommandLine) -> None:
    out = repave("plan", "-f", "repave.yaml").out
    plan = repave("plan", "-f", "repave.yaml", "-o", "json").json["id"]
    assert out.splitlines()[-1] == f"To run exactly this: repave release --plan {plan} -f repave.yaml"


def test_regions_of_many_kinds_are_summed_up_unless_all_are_asked_for() -> None:
    regions = [
        {"name": f"r{size}", "creates": size, "floor": size, "moments": [_moment(size), _moment(size)]}
        for size in range(1, 7)
    ]
    steps = [{"kind": "scale", "text": "scale: all"}, {"kind": "weight", "text": "weight: all"}]
    lines = plan._steps({"regions": regions, "steps": steps})
    assert lines[0].split() == ["STEP", "TRAFFIC", "ALL", "REGIONS", "TIME"]
    assert "21 new + 21 old" in lines[1]


def _moment(size: int) -> dict[str, object]:
    return {"new_hosts": size, "old_hosts": size, "weight_bp": 0, "seconds": 0.0}


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
    assert ran.err.startswith(
        "repave: it would be refused: hello-v001 is being rolled out; repave watch hello"
    )


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


@pytest.mark.parametrize(
    ("run_command", "told"),
    [
        ("./missing", "host.run: ./missing is not in the package, which is made of "),
        ("./plain", "host.run: ./plain is not executable; chmod +x it in "),
        ("bin/../serve", ""),
        ("./link/serve", ""),
        ("/usr/bin/env", ""),
        ("serve", ""),
        ("$HOME/x", ""),
    ],
)
def test_a_program_that_the_package_has_not_is_refused_before_anything_is_stored(
    repave: CommandLine, run_command: str, told: str
) -> None:
    (repave.folder / "app" / "plain").write_text("")
    (repave.folder / "app" / "bin").mkdir()
    (repave.folder / "app" / "link").symlink_to("bin")
    (repave.folder / "repave.yaml").write_text(SPEC.replace("./serve", run_command))
    ran = repave("plan")
    assert (ran.code, told in ran.err) == (2 if told else 0, True), ran.err
    assert repave("image", "list", "-o", "name").out == ""


def test_a_plan_says_what_hosts_cost_before_while_and_after_and_of_what_no_price_is_known(
    repave: CommandLine, controller: ServedController
) -> None:
    assert not [line for line in repave("plan").out.splitlines() if line.startswith("  cost")]
    prices = repave.folder / "prices.csv"
    prices.write_text("provider,region,size,hourly,currency\nlocal,paris,,0.5,EUR\n")
    os.utime(prices, (1_795_000_000, 1_795_000_000))
    controller.prices._path = prices
    repave.release("v1")
    out = repave("plan", "--version", "v2").out
    assert (
        "  cost     1.00 EUR an hour now, at most 2.00 while both groups run, 2.00 while hello-v001 is kept, "
        in out
    )
    assert "then 1.00; in all 24.00 more than going on as now, if each step takes its shortest time" in out
    assert "; prices of 2026-11-18" in out
    assert "           unknown: oslo: no price of local, the size of its settings" in out
    plan = repave("plan", "--version", "v2", "-o", "json").json
    (rates,) = plan["rates"]
    assert rates["hourly_after"] == 1.0
    assert plan["unpriced"] == ["oslo: no price of local, the size of its settings"]
    assert [each["rates"] is None for each in plan["regions"]] == [False, True]
