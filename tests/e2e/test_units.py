"""The units of deploy/systemd, on a real systemd: ready when they serve, restarted when they hang, stopped
without their hosts."""

import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stage import Stage
from tests.support.systemd_machine import SystemdMachine, systemd_machine, why_not

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
EXPOSURE = {"repave-controller": 1.4, "repave-agent": 6.9}
"""What `systemd-analyze security` gives each, from 0 (safest) to 10; docs/agent.md says why."""
HERE = """\
[Service]
{more}
User=
Group=
StateDirectory=
ReadWritePaths={directory}
ProtectHome=no
PrivateTmp=no
EnvironmentFile=
ExecStart=
ExecStart={python} -m {module}
{environment}
WatchdogSec={patience}
StandardOutput=append:{log}
StandardError=append:{log}
"""
PATIENCE_SECONDS = 3
AS_ROOT = "CapabilityBoundingSet=~"
"""HAProxy under root becomes another user. The unit's own agent is no root."""


@pytest.mark.parametrize("name", EXPOSURE)
def test_a_unit_is_as_hard_as_it_says(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", str(UNITS / f"{name}.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE[name]


class Services:
    """Controller and agent of one stage as units of a real systemd, with the programs of this checkout."""

    def __init__(self, machine: SystemdMachine, stage: Stage) -> None:
        self.machine, self.stage = machine, stage

    def install(self, name: str, module: str, settings: dict[str, str], more: str = "") -> None:
        units = self.stage.directory / "units"
        shutil.copy(UNITS / f"{name}.service", units)
        lines = "\n".join(f'Environment="{key}={value}"' for key, value in settings.items())
        here = HERE.format(
            more=more,
            python=sys.executable,
            module=module,
            environment=lines,
            patience=PATIENCE_SECONDS,
            directory=self.stage.directory,
            log=self.stage.directory / f"{name}.log",
        )
        (units / f"{name}.service.d").mkdir()
        (units / f"{name}.service.d" / "here.conf").write_text(here)
        self.systemctl("daemon-reload")

    def systemctl(self, *words: str) -> str:
        done = self.machine.run("systemctl", *words)
        assert done.returncode == 0, f"{words}: {done.stderr}\n{self.stage.logs()}"
        return done.stdout.strip()

    def hang(self, name: str) -> None:
        """Stops its process by SIGSTOP, and waits until the watchdog has begun another."""
        hung = self.process(name)
        assert self.machine.run("kill", "-STOP", hung).returncode == 0
        self.stage.wait(lambda: self.process(name) not in ("0", hung), f"the watchdog of {name}")

    def process(self, name: str) -> str:
        return self.systemctl("show", "--property=MainPID", "--value", name)


@pytest.fixture
def services(directory: Path) -> Iterator[Services]:
    if reason := why_not():
        pytest.skip(reason)
    with systemd_machine(directory) as made:
        if isinstance(made, str):
            pytest.skip(made)
        stage = Stage(directory, regions=("paris",))
        services = Services(made, stage)
        services.install("repave-controller", "repave_controller", stage.controller_settings())
        services.install("repave-agent", "repave_agent", stage.agent_settings("paris"), AS_ROOT)
        yield services
        stage.stop()


def test_services_are_ready_when_they_serve_and_restarted_when_they_hang(services: Services) -> None:
    stage = services.stage
    services.systemctl("start", "repave-controller")
    assert stage.answers(), "it is active"
    services.systemctl("start", "repave-agent")
    stage.wait(lambda: [each["connected"] for each in stage.get("regions")["items"]] == [True], "the agent")
    stage.release("v1")
    stage.ended()
    before = places(stage)
    assert before
    services.hang("repave-controller")
    services.hang("repave-agent")
    stage.wait(stage.answers, "the controller")
    stage.wait(lambda: places(stage) == before, "the agent, with the same hosts")
    services.systemctl("stop", "repave-agent")
    with urllib.request.urlopen(f"http://{stage.traffic_address('paris')}:8000/", timeout=5) as answer:
        assert answer.status == 200, "hosts and HAProxy outlive their agent"


def places(stage: Stage) -> dict[str, str]:
    """The hosts that the agents tell of, and where they are."""
    return {host["name"]: host["address"] for host in stage.get("hosts")["items"]}
