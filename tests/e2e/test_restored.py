"""A controller whose store was restored from an older backup, or is gone: noticed, harmless, and a way on.

Real processes. The backup is taken while the controller runs, and put back, as docs/backup.md says.
"""

import json
import shutil
import urllib.request

import pytest

from tests.docs.markdown import blocks
from tests.support.journals import journal_of
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def carry_out(stage: Stage, command: str) -> str:
    """A command of the document, as it stands but for the place of the backup. Returns what it told."""
    shown = [line for each in blocks() if each.document == "backup.md" for line in each.text.splitlines()]
    (words,) = [line.split() for line in shown if line.startswith(f"repave-controller {command} /")]
    there = str(stage.directory / "repave.tar")
    options = ["--packages"] if command == "backup" else []
    done = stage.run(["repave_controller", words[1], *options, there], stage.controller_settings())
    assert done.returncode == 0, done.stderr
    return done.stderr


def answer(stage: Stage, region: str) -> str:
    with urllib.request.urlopen(f"http://{stage.traffic_address(region)}:8000/", timeout=5) as response:
        return str(response.read().decode()).strip()


def answers(stage: Stage) -> set[str]:
    return {answer(stage, region) for region in stage.regions for _ in range(4)}


def until_noticed(stage: Stage) -> None:
    stage.wait(lambda: sum(bool(each["ahead"]) for each in stage.get("regions")["items"]) == 2, "notice")


def released(stage: Stage, version: str) -> None:
    stage.release(version, size=1, warm="0s")
    assert stage.ended()["phase"] == "succeeded", stage.logs()


def test_a_restored_controller_touches_nothing_says_so_and_goes_on_after_recover(stage: Stage) -> None:
    released(stage, "v1")
    assert "applications: hello" in carry_out(stage, "backup")
    released(stage, "v2")
    hosts = stage.hosts()
    stage.kill_controller()
    shutil.rmtree(stage.directory / "controller")
    assert "repave controller recover" in carry_out(stage, "restore")
    stage.start_controller()
    until_noticed(stage)

    assert stage.get("applications/hello")["serving"] == "hello-v001", "the older copy was restored"
    why = stage.repave("why", "hello").stdout
    assert "paris: it has accepted epoch" in why
    assert "repave controller recover" in why
    regions = stage.repave("regions")
    assert "connected, AHEAD" in regions.stdout
    assert stage.repave("doctor").returncode == 1
    refused = stage.repave("release", "--file", str(stage.directory / "v1.yaml"), "--detach")
    assert refused.returncode == 5, refused
    assert "repave controller recover" in refused.stderr
    assert answers(stage) == {"v2"}
    assert stage.hosts() == hosts
    told = [each for each in stage.get("events?newest=1")["items"] if each["kind"] == "region.ahead"]
    assert sorted(each["region"] for each in told) == ["oslo", "paris"]

    shown = stage.repave("controller", "recover", "--dry-run")
    assert shown.returncode == 0, shown
    assert "hello-v002" in shown.stdout
    recovered = stage.repave("controller", "recover", "--yes", "-o", "json")
    assert recovered.returncode == 0, recovered
    assert json.loads(recovered.stdout)["incarnation"] == 3
    stage.wait(
        lambda: stage.weights() == {"paris": {"hello-v002": 10_000}, "oslo": {"hello-v002": 10_000}}, "v2"
    )
    assert stage.hosts() == hosts, "nothing was made and nothing destroyed"
    released(stage, "v3")
    assert answers(stage) == {"v3"}
    assert stage.rollout()["group"] == "hello-v003"


def test_a_lost_store_is_made_anew_under_its_old_name_and_adopts_what_runs(stage: Stage) -> None:
    released(stage, "v1")
    hosts = stage.hosts()
    installation = journal_of(stage.directory / "paris")["installation"]
    stage.kill_controller()
    shutil.rmtree(stage.directory / "controller")
    stage.controller_environment = {"REPAVE_CONTROLLER_INSTALLATION": installation}
    stage.start_controller()
    until_noticed(stage)

    assert stage.get("applications")["items"] == []
    recovered = stage.repave("controller", "recover", "--yes")
    assert recovered.returncode == 0, recovered
    assert "repave image push" in recovered.stderr
    stage.wait(lambda: stage.weights()["paris"] == {"hello-v001": 10_000}, "v1")
    assert stage.hosts() == hosts
    released(stage, "v2")
    assert answers(stage) == {"v2"}
