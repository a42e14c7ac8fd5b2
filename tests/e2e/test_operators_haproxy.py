"""The main job where each region's HAProxy is an operator's own: releases, shares and a rollback under load;
a reload by the operator, which no client notices; and an application with fronts of HTTP, TCP and gRPC."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_agent.core.ports import Frontend
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import ApplicationName
from tests.fakes.agent.haproxy_rig import frontend
from tests.fakes.agent.operators_haproxy import OperatorsHaproxy
from tests.support.certificates import new_authority
from tests.support.fronts import CANARY as CANARY_OF_FRONTS
from tests.support.fronts import REGION, FrontApp, FrontClients, agent_settings
from tests.support.releases import clients, release
from tests.support.stage import Stage, kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CANARY = "{canary: {steps: [{traffic: 5%, hold: 1s}, {traffic: 50%, hold: 1s}]}}"

SHOP = """\
repave: 1
app: {name}
artifact: {{uri: ./{version}}}
host: {{run: [{python}, app.py]}}
health: {{http: {{port: 8080, path: /health}}, interval: 1s, min_healthy_time: 0s, launch_deadline: 30s}}
traffic:
  drain: {drain}
  fronts:
    - {{name: web, port: {web}}}
    - {{name: db, port: {tcp}, protocol: tcp, to: 9001}}
    - {{name: rpc, port: {grpc}, protocol: grpc, to: 9002}}
regions: [{{name: paris, size: {size}}}]
strategy: {strategy}
rollback: {{keep: {{for: 1h, groups: {keeps}}}}}
"""
WEB, TCP, RPC = 8000, 9000, 9100
KINDS = ("http", "websocket", "tcp", "grpc call", "grpc stream")


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


async def test_fronts_of_http_tcp_and_grpc_move_together_and_nothing_is_lost_or_cut(
    directory: Path, operators: dict[str, OperatorsHaproxy]
) -> None:
    certificates = directory / "kept"
    certificates.mkdir()
    stage = Stage(directory / "s", regions=(REGION,), agent_environment=agent_settings(certificates))
    fronts = {"db": TrafficFront("main", TCP, "tcp"), "rpc": TrafficFront("main", RPC, "grpc")}
    further = (
        Frontend(ApplicationName(f"shop.{name}"), each.port, fronts=(each,)) for name, each in fronts.items()
    )
    prepare(stage, operators, (frontend("shop", WEB), *further))
    shop = FrontApp(
        stage, new_authority(), certificates, ports={"web": WEB, "tcp": TCP, "grpc": RPC}, spec=SHOP
    )
    with kept(stage):
        shop.spec = SHOP.replace("to: 9001", "to: 9001, balance: leastconn")
        with pytest.raises(AssertionError, match=r"has no choice of balance.*there its operator sets that"):
            await shop.release("0.1")
        shop.spec = SHOP
        await shop.released("1.0")
        async with FrontClients(shop, kinds=KINDS).running() as clients:
            await shop.released("2.0", strategy=CANARY_OF_FRONTS)
            await clients.more()
            await asyncio.to_thread(stage.call, "POST", "applications/shop/rollback", {"by": "test"})
            assert (await shop.ended())["phase"] == "succeeded", stage.logs()
            await clients.more()
        assert clients.lost == []
        assert set(clients.seen) == {"1.0", "2.0"}
        status = json.loads(stage.repave("status", "shop", "-o", "json").stdout)
        shown = [(each["name"], each["protocol"], each["port"]) for each in status["fronts"]]
        assert shown == [("web", "http", WEB), ("db", "tcp", TCP), ("rpc", "grpc", RPC)]
        assert (
            "http web at :8000, tcp db at :9000, grpc rpc at :9100" in stage.repave("status", "shop").stdout
        )


def _restarts(stage: Stage) -> list[str]:
    events = stage.get("events?limit=1000")["items"]
    return [each["region"] for each in events if each["kind"] == "balancer.restarted"]
