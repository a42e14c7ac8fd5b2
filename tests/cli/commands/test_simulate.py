"""simulate: what it prints, how it ends, and where its fleet is from."""

import subprocess
import sys

import pytest

from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController

NO_CONTROLLER = ("--url", "http://127.0.0.1:9")
QUICK = SPEC.replace("min_healthy_time: 0s", "min_healthy_time: 1s, launch_deadline: 1m").replace(
    "warm: 0s", "warm: 20s"
)


@pytest.fixture
def simulate(run: CommandLine) -> CommandLine:
    (run.folder / "repave.yaml").write_text(QUICK)
    return run


def test_a_good_spec_is_fine_and_shows_timeline_capacity_and_ways_back(simulate: CommandLine) -> None:
    ran = simulate("simulate", *NO_CONTROLLER, "--faults", "none", "--boot", "5s")
    assert ran.code == 0
    assert "no controller at http://127.0.0.1:9: the fleet is that of the spec" in ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("hello: succeeded when nothing goes wrong, after ")
    assert any(
        line.split() == ["paris", "2", "2", "2", "(100", "%)", "2", "4", "(200", "%)"] for line in lines
    )
    assert any("soak" in line and "traffic is back after" in line for line in lines)
    assert lines[-1].startswith("Fine")
    assert max(map(len, lines)) <= 110


def test_the_drawing_shows_requests_going_from_the_old_to_the_new_group(simulate: CommandLine) -> None:
    ran = simulate("simulate", *NO_CONTROLLER, "--faults", "none")
    (paris, oslo) = [line.split()[1] for line in ran.out.splitlines() if line.strip().startswith("to ")]
    assert paris.strip("o").strip("n") == ""
    assert paris[0] == "o"
    assert paris[-1] == "n"
    assert len(paris) == len(oslo)


def test_a_deadline_too_short_for_the_boot_ends_with_1_and_names_the_field(simulate: CommandLine) -> None:
    (simulate.folder / "repave.yaml").write_text(QUICK.replace("launch_deadline: 1m", "launch_deadline: 10s"))
    ran = simulate("simulate", *NO_CONTROLLER, "--faults", "none")
    assert ran.code == 1
    assert "health.launch_deadline: 10s -> " in ran.out
    assert ran.out.splitlines()[-1].startswith("NOT FINE")


def test_json_has_the_documented_shape(simulate: CommandLine) -> None:
    faults = ("--faults", "host-dies", "--seeds", "1")
    ran = simulate("simulate", *NO_CONTROLLER, "--regions", "paris", *faults, "-o", "json")
    document = ran.json
    assert set(document) == {
        "application", "is_fine", "sizes_from", "is_whole_code", "boot_seconds", "ill_after_seconds",
        "outage_seconds", "regions", "calm", "rollbacks", "faults", "seeds", "advice", "unhelped",
        "broken_promises",
    }  # fmt: skip
    assert document["regions"][0] == {"name": "paris", "size": 2, "old_size": 2, "floor": 2}
    assert set(document["calm"]) == {
        "ended", "reason", "seconds", "steps", "regions", "samples", "is_fine",
    }  # fmt: skip
    assert {each["fault"] for each in document["faults"]} == {"host-dies"}
    assert document["seeds"]["seeds"] == 1
    assert ran.code == (0 if document["is_fine"] else 1)


def test_options_overrule_the_regions_and_sizes_of_the_spec(simulate: CommandLine) -> None:
    document = simulate(
        "simulate", *NO_CONTROLLER, "--faults", "none", "--regions", "rome,oslo", "--hosts", "4", "-o", "json"
    ).json
    assert [(each["name"], each["size"]) for each in document["regions"]] == [("rome", 4), ("oslo", 4)]
    assert document["sizes_from"] == "options"


def test_a_controller_at_hand_tells_what_serves_now(repave: CommandLine) -> None:
    assert repave.release("v1").code == 0
    (repave.folder / "repave.yaml").write_text(QUICK.replace("size: 2", "size: 4"))
    ran = repave("simulate", "--faults", "none", "-o", "json")
    assert "now serve oslo 3, paris 2" in ran.err
    assert ran.json["sizes_from"] == "controller"
    assert ran.json["regions"][0] == {"name": "paris", "size": 4, "old_size": 2, "floor": 2}


def test_a_controller_that_never_released_it_is_told(
    simulate: CommandLine, controller: ServedController
) -> None:
    ran = simulate("simulate", "--url", controller.url, "--faults", "none", "-o", "json")
    assert "hello was never released: an older release of the same sizes is assumed" in ran.err
    assert ran.json["sizes_from"] == "spec"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--faults", "host-dys"), "repave: --faults: no fault is called host-dys; there are: all, none, "),
        (("--regions", "Paris!"), "repave: --regions: "),
        (("--hosts", "0"), "repave simulate: argument --hosts: '0' is no number of hosts; write 1 to 10000"),
    ],
)
def test_a_wrong_option_says_what_there_is(
    simulate: CommandLine, arguments: tuple[str, ...], text: str
) -> None:
    ran = simulate("simulate", *NO_CONTROLLER, *arguments)
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith(text)


def test_an_error_of_the_spec_is_told_as_validate_tells_it(run: CommandLine) -> None:
    (run.folder / "repave.yaml").write_text(SPEC.replace("size: 3", "size: three"))
    ran, validated = run("simulate", *NO_CONTROLLER), run("validate")
    assert (ran.code, ran.err) == (2, validated.err)


def test_other_commands_do_not_load_the_simulation() -> None:
    code = (
        "import sys; from repave_cli.main import make_parser; make_parser();"
        "sys.exit('repave_simulation' in {name.partition('.')[0] for name in sys.modules})"
    )
    assert subprocess.run((sys.executable, "-c", code), check=False, timeout=60).returncode == 0
