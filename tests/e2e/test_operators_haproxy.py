"""The main job where each region's HAProxy is an operator's own: releases, shares and a rollback under load;
a reload by the operator, which no client notices; and an application with a front of HTTP and one of TCP."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_agent.core.ports import Frontend
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import ApplicationName
from tests.fakes.agent.haproxy_rig import frontend
from tests.fakes.agent.operators_haproxy import OperatorsHaproxy
from tests.support.load import Load
from tests.support.releases import clients, release
from tests.support.stage import Stage, kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CANARY = "{canary: {steps: [{traffic: 5%, hold: 1s}, {traffic: 50%, hold: 1s}]}}"

TWO_PORTS = """\
import asyncio, os

VERSION = open("version.txt").read().strip()
HOST, PORT = os.environ["HOST"], int(os.environ["PORT"])

async def answer(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            text = f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(VERSION)}\\r\\n\\r\\n{VERSION}"
            writer.write(text.encode())
            await writer.drain()
            if b"close" in head:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()

async def main():
    servers = [await asyncio.start_server(answer, HOST, port) for port in (PORT, 9001)]
    await asyncio.gather(*(server.serve_forever() for server in servers))

asyncio.run(main())
"""
SHOP = """\
repave: 1
app: shop
artifact: {{uri: ./{version}}}
host: {{run: [{python}, -S, -E, app.py]}}
health: {{http: {{port: 8080}}, interval: 1s, min_healthy_time: 0s, launch_deadline: 30s}}
traffic:
  drain: 1s
  fronts: [{{name: web, port: 8000}}, {{name: db, port: 9000, protocol: tcp, to: 9001{more}}}]
regions: [{{name: paris, size: 2}}]
strategy: {{canary: {{steps: [{{traffic: 50%, hold: 1s}}]}}}}
rollback: {{keep: {{groups: 1}}}}
"""


@pytest.fixture
def operators() -> Iterator[dict[str, OperatorsHaproxy]]:
    made: dict[str, OperatorsHaproxy] = {}
    yield made
    for each in made.values():
        each.kill()


def prepare(
    stage: Stage,
    operators: dict[str, OperatorsHaproxy],
    frontends: tuple[Frontend, ...] = (frontend("hello", 8000),),
) -> None:
    """An HAProxy for each region, with what the snippet asks for."""
    for region in stage.regions:
        place = stage.directory / f"operator-{region}" / "side"
        own = OperatorsHaproxy(place, stage.traffic_address(region), keeps=True)
        own.serves(frontends)
        operators[region] = own
        named: dict[str, object] = {"SOCKETS": own.socket, "MAP": own.map, "BACKENDS": own.backends}
        named["TRAFFIC_ADDRESS"] = stage.traffic_address(region)
        stage.region_environment[region] = {
            "REPAVE_AGENT_BALANCER": "haproxy_runtime",
            **{f"REPAVE_AGENT_HAPROXY_RUNTIME__{name}": str(value) for name, value in named.items()},
        }


async def test_an_operators_haproxy_takes_every_switch_and_loses_nothing_when_it_is_reloaded(
    directory: Path, operators: dict[str, OperatorsHaproxy]
) -> None:
    stage = Stage(directory / "s")
    prepare(stage, operators)
    with kept(stage):
        with pytest.raises(AssertionError, match="hello comes in at port 8000, the spec asks for 8001"):
            await release(stage, "v0", warm="0s", port=8001)
        ended, _ = await release(stage, "v1", warm="0s")
        assert ended["phase"] == "succeeded", stage.logs()
        async with clients(stage, rate=200) as results:
            ended, _ = await release(stage, "v2", strategy=CANARY, drain="1s")
            assert ended["phase"] == "succeeded", stage.logs()
            await asyncio.to_thread(stage.rollback)
            back = await asyncio.to_thread(stage.ended)
            assert back["phase"] == "succeeded", stage.logs()
            before = stage.weights()
            await asyncio.to_thread(operators["paris"].reload)
            await asyncio.to_thread(
                stage.wait, lambda: _restarts(stage) == ["paris"], "the reload to be told"
            )
        for result in results.values():
            assert result.failures == (), result.summary()
            assert {"v1", "v2"} <= {each.version for each in result.requests}
        await asyncio.to_thread(stage.wait, lambda: stage.weights() == before, "the routes of before")
        async with clients(stage, rate=100) as results:
            await release(stage, "v3", warm="0s")
        assert all(result.failures == () for result in results.values()), results


async def test_a_front_of_http_and_one_of_tcp_move_together_and_lose_nothing(
    directory: Path, operators: dict[str, OperatorsHaproxy]
) -> None:
    stage = Stage(directory / "s", regions=("paris",))
    tcp = TrafficFront("main", 9000, "tcp")
    prepare(stage, operators, (frontend("shop", 8000), Frontend(DB, tcp.port, fronts=(tcp,))))
    with kept(stage):
        with pytest.raises(AssertionError, match=r"has no choice of balance.*there its operator sets that"):
            _release(stage, "v0", ", balance: leastconn")
        _release(stage, "v1")
        assert stage.ended(application="shop")["phase"] == "succeeded", stage.logs()
        address = stage.traffic_address("paris")
        loads = [Load(f"http://{address}:{port}/", rate=100, keepalive=4, closing=4) for port in (8000, 9000)]
        for load in loads:
            await load.start()
        await asyncio.to_thread(_release, stage, "v2")
        assert (await asyncio.to_thread(stage.ended, application="shop"))["phase"] == "succeeded"
        await asyncio.to_thread(stage.call, "POST", "applications/shop/rollback", {"by": "test"})
        assert (await asyncio.to_thread(stage.ended, application="shop"))["phase"] == "succeeded"
        for result in [await load.stop() for load in loads]:
            assert result.failures == (), result.summary()
            assert {each.version for each in result.requests} == {"v1", "v2"}
        status = json.loads(stage.repave("status", "shop", "-o", "json").stdout)
        shown = [(each["name"], each["protocol"], each["port"]) for each in status["fronts"]]
        assert shown == [("web", "http", 8000), ("db", "tcp", 9000)]
        assert "http web at :8000, tcp db at :9000" in stage.repave("status", "shop").stdout


DB = ApplicationName("shop.db")


def _release(stage: Stage, version: str, more: str = "") -> None:
    package = stage.directory / version
    package.mkdir(exist_ok=True)
    (package / "app.py").write_text(TWO_PORTS)
    (package / "version.txt").write_text(version)
    text = SHOP.format(version=version, python=os.path.realpath(sys.executable), more=more)
    body = {"spec": text, "digest": stage.push(package), "version": version, "by": "test"}
    stage.call("POST", "applications/shop/releases", body)


def _restarts(stage: Stage) -> list[str]:
    events = stage.get("events?limit=1000")["items"]
    return [each["region"] for each in events if each["kind"] == "balancer.restarted"]
