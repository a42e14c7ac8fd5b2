"""A fleet that was there before is adopted under load: released from, gone back to, retired; nothing ends of
it.

In paris it is behind an operator's HAProxy, whose backend serves it until the first release takes its place;
in oslo its clients are moved to the agent's own HAProxy once that serves it.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repave_protos.protocol.values import ApplicationName
from tests.fakes.agent.haproxy_rig import frontend
from tests.fakes.agent.operators_haproxy import OperatorsHaproxy
from tests.support.example import Example
from tests.support.load import Load
from tests.support.paths import EXAMPLE
from tests.support.ports import free_ports
from tests.support.releases import release
from tests.support.stage import Stage, kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
OLD = """
backend old-hello
  mode http
  option http-server-close
  server old1 127.0.0.1:{} check
  server old2 127.0.0.1:{} check
  server spare 127.0.0.1:9 disabled

"""


class OldServers:
    """Four processes that no repave has started."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "app.py").write_text((EXAMPLE / "app.py").read_text())
        (directory / "version.txt").write_text("old\n")
        self.ports = free_ports(4)
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-S", "-E", str(directory / "app.py")],
                env={**os.environ, "HOST": "127.0.0.1", "PORT": str(port)},
            )
            for port in self.ports
        ]

    def still_run(self) -> bool:
        return all(process.poll() is None for process in self.processes)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def old(directory: Path) -> Iterator[OldServers]:
    servers = OldServers(directory / "old")
    yield servers
    servers.end()


@pytest.fixture
def operator(directory: Path, old: OldServers) -> Iterator[tuple[Stage, OperatorsHaproxy]]:
    """The operator's HAProxy in paris, which serves the old fleet."""
    stage = Stage(directory / "s")
    own = OperatorsHaproxy(
        directory / "operator" / "side",
        stage.traffic_address("paris"),
        keeps=True,
        own=OLD.format(*old.ports[:2]),
        others={ApplicationName("hello"): "old-hello"},
    )
    own.serves([frontend("hello", 8000)])
    named = {"SOCKETS": own.socket, "MAP": own.map, "BACKENDS": own.backends}
    named |= {"TRAFFIC_ADDRESS": Path(stage.traffic_address("paris"))}
    stage.region_environment["paris"] = {
        "REPAVE_AGENT_BALANCER": "haproxy_runtime",
        **{f"REPAVE_AGENT_HAPROXY_RUNTIME__{name}": str(value) for name, value in named.items()},
    }
    yield stage, own
    own.kill()


async def test_a_fleet_is_adopted_released_from_gone_back_to_and_retired_without_a_failed_request(
    operator: tuple[Stage, OperatorsHaproxy], old: OldServers
) -> None:
    stage, _ = operator
    with kept(stage):
        in_paris, in_oslo = (
            Load(f"http://{stage.traffic_address(each)}:8000/", 100) for each in stage.regions
        )
        await in_paris.start()
        await asyncio.to_thread(_adopt, stage, old)
        assert stage.weights() == {"paris": {}, "oslo": {}}, "nothing is touched before it is to be"
        await asyncio.to_thread(_adopt, stage, old, "--serve")
        await asyncio.to_thread(
            stage.wait,
            lambda: stage.weights() == {each: {"hello-v001": 10_000} for each in stage.regions},
            "the balancers to serve the adopted fleet",
        )
        await asyncio.to_thread(stage.wait, lambda: _is_open(stage, "oslo"), "the way in of oslo")
        await in_oslo.start()
        ended, _ = await release(stage, "v1", warm="0s", drain="1s")
        assert ended["phase"] == "succeeded", stage.logs()
        await asyncio.to_thread(stage.rollback)
        back = await asyncio.to_thread(stage.ended)
        assert back["phase"] == "succeeded", stage.logs()
        assert set(stage.weights()["paris"]) == {"hello-v001"}
        ended, _ = await release(stage, "v2", warm="0s", drain="1s")
        assert ended["phase"] == "succeeded", stage.logs()
        await asyncio.to_thread(stage.repave, "groups", "retire", "hello", "hello-v001")
        await asyncio.to_thread(
            stage.wait, lambda: "hello-v001" not in _groups(stage), "the adopted group to be forgotten"
        )
        results = [await in_paris.stop(), await in_oslo.stop()]
        assert old.still_run(), "repave ends nothing that it has not made"
        for result in results:
            assert result.failures == (), result.summary()
            assert {"old", "v1", "v2"} <= {each.version for each in result.requests}


def _is_open(stage: Stage, region: str) -> bool:
    """Clients are moved to a region once it lets them in."""
    try:
        socket.create_connection((stage.traffic_address(region), 8000), 1.0).close()
    except OSError:
        return False
    return True


def _adopt(stage: Stage, old: OldServers, *more: str) -> None:
    """Shown first, then done, then once more: the second time finds it done."""
    spec = _spec(stage)
    hosts = ",".join(f"127.0.0.1:{port}" for port in old.ports[2:])
    command = (
        "adopt",
        "-f",
        str(spec),
        "--from-haproxy",
        "paris=old-hello",
        "--hosts",
        f"oslo={hosts}",
        *more,
    )
    dry = (*command, "--dry-run", "-o", "json")
    stage.wait(lambda: stage.repave(*dry).returncode == 0, "agents that have begun")
    shown = _answer(stage.repave(*dry))
    assert (shown["problems"], len(shown["hosts"])) == ([], 4), shown
    assert {each["name"] for each in shown["hosts"] if each["region"] == "paris"} == {"old1", "old2"}
    assert not any(each["trouble"] for each in shown["hosts"])
    done = _answer(stage.repave(*command, "-o", "json"))
    assert done["group"] == "hello-v001"
    again = _answer(stage.repave(*command, "-o", "json"))
    assert (again["group"], again["is_joined"]) == ("hello-v001", True)


def _spec(stage: Stage) -> Path:
    return Example(regions=stage.regions).write(stage.directory, "adopted")


def _answer(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _groups(stage: Stage) -> set[str]:
    return {each["name"] for each in stage.get("applications/hello/groups")["items"]}
