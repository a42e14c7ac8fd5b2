"""Agents that joined over TLS: a release, one that is revoked in the middle, and joins again as it runs."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from repave_agent.identity.identity import FILE
from tests.support.ports import free_ports
from tests.support.stage import Stage, kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@dataclass
class SecuredStage(Stage):
    """Agents know nothing of their region and controller but what joining tells them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        (self.door_port,) = free_ports(1)
        self.controller_environment |= {
            "REPAVE_CONTROLLER_TLS__ENABLED": "true",
            "REPAVE_CONTROLLER_AGENTS__LISTEN": f"127.0.0.1:{self.door_port}",
        }

    def agent_settings(self, region: str) -> dict[str, str]:
        given = super().agent_settings(region)
        del given["REPAVE_AGENT_REGION"], given["REPAVE_AGENT_CONTROLLER"]
        return given

    def start_agent(self, region: str) -> None:
        if not (self.directory / region / FILE).exists():
            done = self.join(region, self.line_for(region))
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"this machine is an agent of {region} now; start it: repave-agent\n"
        super().start_agent(region)

    def line_for(self, region: str) -> list[str]:
        """What repave agents join prints, as words."""
        done = self.repave("agents", "join", region)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def join(self, region: str, line: list[str]) -> subprocess.CompletedProcess[str]:
        program, *words = line
        assert program == "repave-agent"
        return self.run(["repave_agent", *words], self.agent_settings(region))

    def is_connected(self, region: str) -> bool:
        return any(each["connected"] for each in self.get("regions")["items"] if each["name"] == region)


def test_agents_join_serve_are_revoked_and_join_again(directory: Path) -> None:
    stage = SecuredStage(directory)
    with kept(stage):
        stage.release("v1")
        assert stage.ended()["phase"] == "succeeded"
        printed = stage.repave("logs", "hello", "--region", "oslo").stdout
        assert printed.count("[oslo/hello-v001-") == 2
        assert printed.count("v1 listens on ") == 2
        listed = stage.get("agents")["items"]
        assert [(each["region"], each["state"], each["connected"]) for each in listed] == [
            ("oslo", "valid", True),
            ("paris", "valid", True),
        ]

        stage.call("POST", "agents/oslo/revoke", {"by": "test", "reason": "stolen"})
        stage.wait(lambda: not stage.is_connected("oslo"), "the end of the stream", 5)
        assert stage.weights()["paris"] == {"hello-v001": 10_000}
        doctor = stage.repave("doctor").stdout
        assert "was revoked by" in doctor
        assert "repave agents join oslo" in doctor
        stage.wait(lambda: "was revoked by" in (directory / "oslo.log").read_text(), "the agent's word")

        assert stage.join("oslo", stage.line_for("oslo")).returncode == 0
        stage.wait(lambda: stage.is_connected("oslo"), "the agent that joined again, without a restart", 30)

        stage.release("v2")  # its package comes over TLS too
        assert stage.ended()["phase"] == "succeeded"
        assert stage.weights() == {"paris": {"hello-v002": 10_000}, "oslo": {"hello-v002": 10_000}}
