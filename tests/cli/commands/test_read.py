"""Commands that only look, their formats and their errors."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from repave_cli.main import main
from repave_controller.core.domain.instants import Instant
from repave_controller.runtime.gaps import record_of_dropped
from repave_protos import __version__
from repave_protos.protocol.values import RegionName
from tests.fakes.controller.api import fake_api
from tests.fakes.controller.scheduler import ServedController
from tests.support.cli_types import Run


def test_an_empty_controller_gives_empty_lists_and_says_how_to_start(repave: Run) -> None:
    assert json.loads(repave("apps", "-o", "json").out) == {"items": []}
    ran = repave("status")
    assert (ran.code, ran.out) == (0, "")
    assert "repave init, then repave release" in ran.err


@pytest.mark.parametrize("command", ["status", "apps", "groups", "regions", "events", "hosts"])
def test_every_list_comes_in_every_format(repave: Run, command: str) -> None:
    repave("release", "--version", "1.0")
    for form in ("table", "wide", "json", "jsonl", "yaml", "name"):
        assert repave(command, "-o", form).out, form
    assert json.loads(repave(command, "-o", "json").out)["items"]
    for line in repave(command, "-o", "jsonl").out.splitlines():
        assert isinstance(json.loads(line), dict)


def test_a_host_is_shown_with_its_last_probes_and_the_end_of_its_log(repave: Run) -> None:
    repave("release", "--version", "1.0")
    ran = repave("host", "hello-v001-1", "--region", "oslo", "--logs", "2")
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == "hello-v001-1 in oslo: verified"
    assert "1 s ago 3.0 ms passed answered 200" in lines
    assert "6 s ago 2.0 s FAILED GET /health: no answer within 2 s" in lines
    assert lines[-2:] == ["line 0", "line 1"]
    assert [
        each["region"] for each in json.loads(repave("host", "hello-v001-1", "-o", "json").out)["items"]
    ] == [
        "oslo",
        "paris",
    ]
    assert "1/2 3.0 ms" in " ".join(repave("hosts", "-o", "wide").out.split())
    ran = repave("host", "hello-v009-1")
    assert (ran.code, ran.out) == (1, "")
    assert "no region has a host hello-v009-1; repave hosts lists them" in ran.err


def test_the_spec_that_runs_is_printed_line_by_line_and_can_be_saved(repave: Run) -> None:
    repave("release", "--version", "1.0")
    ran = repave("spec", "hello")
    assert ran.out == json.loads(repave("spec", "hello", "-o", "json").out)["text"].rstrip("\n") + "\n"
    assert len(ran.out.splitlines()) > 1


def test_regions_say_what_they_are_about_and_when_they_reported(
    repave: Run, controller: ServedController
) -> None:
    repave("release", "--version", "1.0")
    view = controller.sessions.views()[RegionName("paris")]
    (name, report), *_ = view.observations.applications.items()
    view.observations.applications[name] = replace(
        report, groups=(replace(report.groups[0], launching=2, starting=1, destroying=4),)
    )
    view.reported_at = time.time() - 3 * 3600
    (paris,) = [
        each for each in json.loads(repave("regions", "-o", "json").out)["items"] if each["name"] == "paris"
    ]
    assert (paris["launching"], paris["destroying"]) == (3, 4)
    shown = " ".join(repave("regions", "-o", "wide").out.split())
    assert "+3 -4 3 h ago" in shown


def test_the_status_names_promotions_that_wait_for_a_person(run: Run) -> None:
    proposal = {"application": "web-prod", "source": "web-staging", "version": "7", "state": "proposed"}
    said = "proposed: 7 of web-staging for web-prod; repave promotions approve web-prod"
    with fake_api() as api:
        api.answers["GET", "freezes"] = [{"everything": None, "items": []}]
        for path in ("applications", "regions"):
            api.answers["GET", path] = [{"items": []}]
        api.answers["GET", "promotions"] = [{"items": [proposal, {**proposal, "state": "dismissed"}]}]
        ran = run("status", "--url", api.url)
    assert ran.err.count("proposed:") == 1
    assert said in ran.err


def test_the_status_is_shown_while_promotions_are_not_known(run: Run) -> None:
    away = {"detail": "the store is away", "rule": "store-away", "problems": []}
    with fake_api() as api:
        api.answers["GET", "freezes"] = [{"everything": None, "items": []}]
        for path in ("applications", "regions"):
            api.answers["GET", path] = [{"items": []}]
        api.answers["GET", "promotions"] = [(503, away)]
        ran = run("status", "--url", api.url)
    assert ran.code == 0
    assert "promotions that wait are not known: the store is away" in ran.err


def test_status_of_an_application_shows_regions_groups_and_traffic(repave: Run) -> None:
    repave("release", "--version", "1.0")
    ran = repave("status", "hello")
    assert "hello: hello-v001 (1.0) serves, port 8000" in ran.out
    assert "[+scale] [+verify] [+weight] [+soak]" in ran.out
    assert "2 verified of 2  traffic 100 %" in ran.out


def test_the_status_of_everything_says_what_is_wrong_with_a_region_as_a_whole(
    repave: Run, controller: ServedController
) -> None:
    repave("release", "--version", "1.0")
    region = controller.sessions.views()[RegionName("paris")]
    region.troubles = ("Keystone: http://cloud:5000/v3: 503", "note: hosts have no sandbox")
    assert repave("status").err == "paris: Keystone: http://cloud:5000/v3: 503\n"
    assert repave("status", "-o", "json").err == ""


def test_status_waits_for_the_end_and_ends_as_the_rollout_did(repave: Run) -> None:
    repave("release", "--version", "1.0", "--detach")
    assert repave("status", "hello", "--wait", "--timeout", "30s").code == 0


def test_why_names_the_region_that_is_waited_for_and_what_to_do(
    repave: Run, controller: ServedController
) -> None:
    controller.connect("oslo", False)
    repave("release", "--version", "1.0", "--detach")
    ran = repave("why", "hello")
    assert "hello: the release of hello-v001 is in step scale" in ran.out
    assert "waits for oslo: its agent is not connected" in ran.out
    assert "start or reconnect the agent of oslo" in ran.out


def test_history_and_events_say_what_is_no_longer_kept(repave: Run, controller: ServedController) -> None:
    for version in ("1.0", "2.0"):
        repave("release", "--version", version)
    shelf = controller.store.shelf
    shelf.rollouts = {key: each for key, each in shelf.rollouts.items() if key[1] > 1}
    del shelf.events[:3]
    shelf.records["retention", "events"] = record_of_dropped(3, Instant(7.0))
    assert "rollouts 1 to 1 are no longer kept" in repave("history", "hello").err
    assert repave("history", "hello", "-o", "json").err == ""
    assert "events 2 to 3 are no longer kept" in repave("events", "hello", "--since", "1").out


def test_what_a_person_reads_cannot_control_the_terminal_or_forge_a_row(repave: Run) -> None:
    reason = "because\x1b[2J\u202e\nforged row"
    repave("release", "--version", "1.0", "--reason", reason)
    for command in (["events", "hello"], ["history", "hello"], ["status", "hello"], ["why", "hello"]):
        shown = repave(*command)
        assert not set(shown.out + shown.err) & {"\x1b", "\u202e"}
        assert "\nforged" not in shown.out + shown.err
    repave("freeze", "--all", "--reason", reason)
    assert "because\\x1b[2J\\u202e\\nforged row" in repave("events").out
    exact = json.loads(repave("history", "hello", "-o", "json").out)["items"][0]
    assert exact["reason"] == reason


def test_events_tell_who_and_why(repave: Run) -> None:
    repave("release", "--version", "1.0")
    lines = repave("events", "hello").out.splitlines()
    assert any("release.started" in line and "@" in line for line in lines)
    first = json.loads(repave("events", "hello", "-o", "json").out)["items"][0]
    assert lines[0].startswith(f"{first['at'][:10]} {first['at'][11:19]}  {first['kind']} ")
    newest = json.loads(repave("events", "-o", "json", "--limit", "1").out)["items"]
    assert len(newest) == 1


def test_no_controller_is_told_with_the_way_to_start_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPAVE_URL", "http://127.0.0.1:9")
    ran = run("status")
    assert ran.code == 1
    assert ran.err == (
        "repave: cannot reach the controller at http://127.0.0.1:9: connection refused; is it running? "
        "start one with: repave dev\n"
    )


def test_the_version_needs_no_controller(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr() == (f"repave {__version__}\n", "")


def test_a_wrong_verb_is_answered_with_the_right_one(run: Run) -> None:
    ran = run("deploy")
    assert ran.code == 2
    assert "there is no command deploy; did you mean release?" in ran.err
    assert "did you mean status?" in run("statsu").err
    assert "there is no command psh; did you mean image push?" in run("image", "psh").err


def test_a_wrong_format_is_not_taken_for_a_command(run: Run) -> None:
    ran = run("status", "-o", "jsn")
    assert ran.code == 2
    assert "argument -o/--output: invalid choice: 'jsn' (choose from 'table'" in ran.err
    assert "no command" not in ran.err


def test_options_hold_before_the_command_too_and_the_later_one_wins(
    run: Run, controller: ServedController
) -> None:
    assert json.loads(run("--url", controller.url, "-o", "json", "apps").out) == {"items": []}
    assert run("-o", "json", "apps", "--url", controller.url, "-o", "name").out == ""
    assert run("--url", "http://127.0.0.1:9", "regions", "--url", controller.url).code == 0


def test_applications_come_as_a_table_with_their_hosts(repave: Run) -> None:
    repave("release", "--version", "1.0")
    titles, line = repave("status").out.splitlines()
    assert titles.split() == ["NAME", "SERVING", "VERSION", "ROLLOUT", "PHASE", "HOSTS", "REGIONS", "PORT"]
    assert line.split() == ["hello", "hello-v001", "1.0", "-", "succeeded", "5/5", "2", "8000"]


def test_hosts_of_a_region_that_is_away_are_missed_on_standard_error(
    repave: Run, controller: ServedController
) -> None:
    repave("release", "--version", "1.0")
    controller.connect("oslo", False)
    ran = repave("hosts", "hello", "-o", "json")
    assert ran.code == 1
    assert {host["region"] for host in json.loads(ran.out)["items"]} == {"paris"}
    assert "oslo: the agent of oslo is not connected" in ran.err


def test_contexts_are_kept_and_chosen(run: Run, controller: ServedController) -> None:
    assert run("context", "set", "prod", controller.url).code == 0
    assert run("context", "list").out == f"* prod  {controller.url}\n"
    assert run("regions").code == 0
    assert "no context is called test" in run("regions", "--context", "test").err


def test_completion_is_a_script(run: Run) -> None:
    assert "repave" in run("completion", "bash").out


def test_status_imports_nothing_heavy(app: Path) -> None:
    program = (
        "import sys\n"
        "from repave_cli.main import main\n"
        "main(['status', '--url', 'http://127.0.0.1:9'])\n"
        "heavy = {'grpc', 'aiohttp', 'asyncssh', 'pydantic', 'rich', 'ruamel', 'structlog', 'google'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_ctrl_c_while_it_loads_ends_it_quietly() -> None:
    code = (
        "import sys\n"
        "from repave_cli.__main__ import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'repave_cli.commands.release':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "sys.exit(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
