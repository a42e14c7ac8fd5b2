"""The main job where each region's HAProxy is an operator's own: releases, shares and a rollback under load;
and a reload by the operator, which no client notices."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.agent.haproxy_rig import frontend
from tests.fakes.agent.operators_haproxy import OperatorsHaproxy
from tests.support.releases import clients, release
from tests.support.stage import Stage, kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CANARY = "{canary: {steps: [{traffic: 5%, hold: 1s}, {traffic: 50%, hold: 1s}]}}"


@pytest.fixture
def operators() -> Iterator[dict[str, OperatorsHaproxy]]:
    made: dict[str, OperatorsHaproxy] = {}
    yield made
    for each in made.values():
        each.kill()


def prepare(stage: Stage, operators: dict[str, OperatorsHaproxy]) -> None:
    """An HAProxy for each region, with what the snippet asks for."""
    for region in stage.regions:
        place = stage.directory / f"operator-{region}" / "side"
        own = OperatorsHaproxy(place, stage.traffic_address(region), keeps=True)
        own.serves([frontend("hello", 8000)])
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


def _restarts(stage: Stage) -> list[str]:
    events = stage.get("events?limit=1000")["items"]
    return [each["region"] for each in events if each["kind"] == "balancer.restarted"]
