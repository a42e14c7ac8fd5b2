"""The agent as a process: what it refuses to start with, and what it says."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_agent.__main__ import main
from repave_protos.daemon.lock import own
from tests.fakes.processes import ended

MODULE = "repave_agent"


@pytest.fixture
def state() -> Iterator[Path]:
    """Short: a socket's path has 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="rp"))
    yield directory
    shutil.rmtree(directory)


def settings(state: Path, **changes: str) -> dict[str, str]:
    named = {f"REPAVE_AGENT_{name}": value for name, value in changes.items()}
    return {"REPAVE_AGENT_REGION": "paris", "REPAVE_AGENT_STATE": str(state), **named}


def test_a_misspelt_setting_is_named_with_the_right_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPAVE_AGENT_REIGON", "paris")
    assert main([]) == 2
    assert capsys.readouterr().err == (
        "repave-agent: environment: unknown variable REPAVE_AGENT_REIGON; did you mean REPAVE_AGENT_REGION?\n"
    )


def test_show_config_tells_where_each_setting_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('region = "oslo"\n[limits]\nlaunches_in_flight = 3\n')
    monkeypatch.setenv("REPAVE_AGENT_REGION", "paris")
    monkeypatch.setenv("STATE_DIRECTORY", "/state")
    assert main(["show-config", "--config", str(file)]) == 0
    shown = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert {
        "region = paris # environment REPAVE_AGENT_REGION",
        "state = /state # environment STATE_DIRECTORY",
        f"limits.launches_in_flight = 3 # file {file}",
        "controller = 127.0.0.1:7443 # default",
    } <= shown


@pytest.mark.parametrize("address", ["controller.example:7443", "0.0.0.0:7443"])
def test_a_controller_elsewhere_is_refused_before_anything_is_touched(state: Path, address: str) -> None:
    code, told = ended(MODULE, **settings(state, CONTROLLER=address))
    assert code == 1
    assert told.startswith(f"repave-agent: controller: {address} is not a loopback address")
    assert "ssh -L" in told
    assert "Traceback" not in told
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("program", ["/nonexistent", "no-such-haproxy"])
def test_a_missing_haproxy_is_told_with_the_way_to_install_it(state: Path, program: str) -> None:
    code, told = ended(MODULE, **settings(state, HAPROXY__PROGRAM=program))
    assert code == 1
    assert program in told
    assert "apt install haproxy" in told
    assert "Traceback" not in told


def test_a_second_agent_on_one_directory_is_refused_naming_the_first(state: Path) -> None:
    with own(state, "agent of paris"):
        code, told = ended(MODULE, **settings(state))
    assert (code, told) == (
        1,
        f"repave-agent: another agent of paris (process {os.getpid()}) already uses {state}; end it, or "
        "choose another directory\n",
    )


def test_a_state_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, told = ended(MODULE, **settings(tmp_path / "file" / "state"))
    assert code == 1
    assert str(tmp_path / "file" / "state") in told
    assert "Traceback" not in told
