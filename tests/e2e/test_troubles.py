"""What goes wrong with hosts, packages and machines, and what the user is told; on real processes."""

import os
import secrets
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.support.example import Example
from tests.support.stage import Stage

ONE_REGION = {"regions": ("paris",)}
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("stage", [ONE_REGION], indirect=True),
]


def outcome(stage: Stage, version: str = "v2", **options: object) -> str:
    """Releases, and gives why it went back."""
    stage.release(version, **options)
    return undone(stage)


def undone(stage: Stage) -> str:
    """Why the release went back; the group before must serve untouched and nothing be left of the new one."""
    ended = stage.ended()
    assert ended["phase"] == "rolled-back", ended
    if ended["origin"]:
        assert stage.weights() == {"paris": {ended["origin"]: 10_000}}
    stage.wait(lambda: not any(ended["group"] in host for host in stage.hosts()["paris"]), "the clean-up")
    return str(ended["outcome"])


def test_a_slow_host_misses_its_deadline(stage: Stage) -> None:
    told = outcome(stage, environment={"DELAY_SECONDS": "30"}, launch_deadline="4s")
    assert "not verified within 4 s: connection refused" in told


def test_a_flapping_host_is_never_verified(stage: Stage) -> None:
    told = outcome(
        stage, environment={"FLAPS": "1"}, min_healthy="2s", launch_deadline="4s", interval="200ms"
    )
    assert "not verified within 4 s" in told


def test_a_lying_host_that_falls_ill_under_traffic_is_taken_back_by_itself(stage: Stage) -> None:
    stage.release("v1")
    assert stage.ended()["phase"] == "succeeded"
    stage.release("v2", environment={"ILL_AFTER": "1"}, warm="30s", interval="200ms")
    stage.wait(lambda: "hello-v002" in stage.weights()["paris"], "the flip")
    for _ in range(2):  # one for each host
        urllib.request.urlopen(f"http://{stage.traffic_address('paris')}:8000/", timeout=5).close()
    ended = stage.ended()
    assert ended["phase"] == "rolled-back"
    assert "answered 503, expected 200" in ended["outcome"]
    assert stage.weights() == {"paris": {"hello-v001": 10_000}}


def test_a_host_that_ends_at_once_shows_the_end_of_its_log(stage: Stage) -> None:
    told = outcome(stage, environment={"DELAY_SECONDS": "soon"})
    assert "could not convert string to float: 'soon'" in told


def test_a_taken_port_is_named_with_the_way_to_find_who_has_it(stage: Stage) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        told = outcome(stage, app_port=port)
    assert f"port {port} is taken: something else on this machine listens" in told
    assert "ss -ltnp" in told


def test_a_corrupt_package_is_not_unpacked(stage: Stage) -> None:
    stage.release("v1")
    stage.ended()
    spec = Example(regions=stage.regions).write(stage.directory, "v2")
    digest = stage.push(stage.directory / "v2")
    stored = stage.directory / "controller" / "images" / f"{digest}.tar.gz"
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")  # as a bad disk would
    stage.call("POST", "applications/hello/releases", {"spec": spec.read_text(), "digest": digest})
    assert "corrupt package" in undone(stage)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_in_the_image_cache_is_told_with_the_directory(stage: Stage) -> None:
    cache = stage.directory / "paris" / "images"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(cache)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        ballast = stage.directory / "v2" / "ballast"
        ballast.parent.mkdir()
        ballast.write_bytes(secrets.token_bytes(1 << 20))
        told = outcome(stage, "v2")
    finally:
        subprocess.run(["umount", "-l", str(cache)], check=True)
    assert "full" in told
    assert str(cache) in told


def test_strangers_are_left_alone(stage: Stage) -> None:
    stranger = stage.directory / "paris" / "hosts" / "stranger"
    stranger.mkdir(parents=True)
    (stranger / "precious").write_text("mine")
    foreign = stage.directory / "paris" / "hosts" / "hello-v001-77"
    foreign.mkdir()
    (foreign / "host.json").write_text('{"installation": "somebody-else"}')
    stage.release("v1")
    stage.ended()
    stage.kill_agent("paris")
    stage.start_agent("paris")
    stage.wait(lambda: stage.get("regions")["items"][0]["connected"], "the agent")
    assert (stranger / "precious").read_text() == "mine"
    assert foreign.exists()
    shutil.rmtree(stranger)
    shutil.rmtree(foreign)


def test_an_agent_that_returns_adopts_its_hosts(stage: Stage) -> None:
    stage.release("v1")
    stage.ended()
    before = {host["name"]: host["address"] for host in stage.get("hosts")["items"]}
    stage.kill_agent("paris")
    stage.start_agent("paris")
    stage.wait(lambda: stage.get("regions")["items"][0]["connected"], "the agent")
    stage.wait(lambda: len(stage.get("hosts")["items"]) == len(before), "hosts")
    assert {host["name"]: host["address"] for host in stage.get("hosts")["items"]} == before
    assert Path(stage.directory / "paris" / "journal.json").exists()
