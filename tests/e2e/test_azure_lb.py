"""The main job by Azure's own load balancers, on the stand-in, which sends real connections to real machines:
a release and a rollback under load, a canary that is refused, and nothing left but what others have.
"""

import asyncio
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_clouds import settings
from tests.fakes.agent.haproxy_rig import frontend
from tests.fakes.agent.operators_haproxy import OperatorsHaproxy
from tests.fakes.waiting import until_async
from tests.support.azure_front import AzureFront
from tests.support.releases import clients, release
from tests.support.rigs import CloudRig, on_both_addresses
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.timeout(900)]
SECONDS, PORT, COUNTED = 200.0, 8000, 300
CANARY = "{canary: {steps: [{traffic: 5%, hold: 3s}]}}"


def refused(stage: Stage, spec: dict[str, Any]) -> dict[str, Any]:
    """What the API says to a release that it does not take."""
    with pytest.raises(AssertionError) as caught:
        stage.release("refused", **spec)
    answer: dict[str, Any] = caught.value.args[0]
    return answer


@pytest.mark.parametrize("cloud", ["azure"], indirect=True)
async def test_azure_s_load_balancer_switches_under_load_and_says_that_it_can_t_share(
    cloud: tuple[str, CloudRig], directory: Path
) -> None:
    _, rig = cloud
    fronts = {region: AzureFront(rig, f"front-{region}") for region in ("paris", "oslo")}
    for front in fronts.values():
        await front.make()
        await front.add_rule()
    before = {region: strangers_of(await front.body()) for region, front in fronts.items()}
    environment = {
        region: {
            **settings("azure", rig, region),
            "REPAVE_AGENT_AZURE__PREPARE": on_both_addresses(),
            "REPAVE_AGENT_BALANCER": "azure_lb",
            "REPAVE_AGENT_AZURE_LB__LOAD_BALANCER": fronts[region].name,
        }
        for region in fronts
    }
    wanted: dict[str, Any] = {
        "provider": "azure", "launch_deadline": "90s", "size": 2, "environment": {}, "drain": "1s"
    }  # fmt: skip
    addresses = {region: front.loopback for region, front in fronts.items()}
    with staged(directory / "s", region_environment=environment, fronts=addresses) as stage:
        ended, _ = await release(stage, "v1", SECONDS, **wanted, warm="0s")
        assert ended["phase"] == "succeeded", stage.logs()
        # Clients that keep connections stay with the old group, as docs/azure.md says.
        async with clients(stage, rate=60, keepalive=0) as results:
            # A machine's relay for the stand-in's probes may begin later than the application.
            ended, _ = await release(stage, "v2", SECONDS, **wanted, warm="5s")
            assert ended["phase"] == "succeeded", stage.logs()
            answer = await asyncio.to_thread(refused, stage, {**wanted, "strategy": CANARY})
            assert answer["title"] == "only switches"
            assert "the balancer of paris, oslo (azure_lb) only switches" in answer["detail"]
            assert 'balancer = "haproxy"' in answer["detail"]
            await asyncio.to_thread(stage.rollback)
            back = await asyncio.to_thread(stage.ended, SECONDS)
            assert back["phase"] == "succeeded", stage.logs()
        for result in results.values():
            assert result.failures == (), result.summary()
            assert {each.version for each in result.requests} == {"v1", "v2"}
        answers = [await asyncio.to_thread(answer_of, front) for front in fronts.values()]
        assert answers == ["v1", "v1"]
        orphans = await asyncio.to_thread(stage.repave, "orphans", "-o", "json")
        assert json.loads(orphans.stdout)["items"] == []
    assert rig.instances() == []
    after = {region: await front.body() for region, front in fronts.items()}
    assert {region: strangers_of(body) for region, body in after.items()} == before
    names = [
        child["name"]
        for body in after.values()
        for children in body["properties"].values()
        if isinstance(children, list)
        for child in children
    ]
    assert [each for each in names if each.startswith("repave")] == []
    assert rig.state()["violations"] == []


@pytest.fixture
def pair() -> Iterator[list[OperatorsHaproxy]]:
    made: list[OperatorsHaproxy] = []
    yield made
    for each in made:
        each.kill()


@pytest.mark.parametrize("cloud", ["azure"], indirect=True)
async def test_two_haproxys_behind_azure_s_load_balancer_share_exactly(
    cloud: tuple[str, CloudRig], directory: Path, pair: list[OperatorsHaproxy]
) -> None:
    _, rig = cloud
    front = AzureFront(rig)
    await front.make()
    net = front.address.split(".")[1]
    for number in (1, 2):
        side = OperatorsHaproxy(directory / "pair" / f"{number}", f"127.{net}.9.{number}")
        side.serves([frontend("hello", PORT)])
        pair.append(side)
    await front.serve(PORT, f"10.{net}.9.1", f"10.{net}.9.2")
    named: dict[str, object] = {
        "SOCKETS": " ".join(str(side.socket) for side in pair),
        "MAP": pair[0].map,
        "BACKENDS": "",
        "TRAFFIC_ADDRESS": front.loopback,
    }
    environment = {
        **settings("azure", rig, "paris"),
        "REPAVE_AGENT_BALANCER": "haproxy_runtime",
        **{f"REPAVE_AGENT_HAPROXY_RUNTIME__{name}": str(value) for name, value in named.items()},
    }
    wanted: dict[str, Any] = {
        "provider": "azure", "launch_deadline": "90s", "size": 2, "environment": {}, "regions": ("paris",)
    }  # fmt: skip
    with staged(
        directory / "s",
        regions=("paris",),
        region_environment={"paris": environment},
        fronts={"paris": front.loopback},
    ) as stage:
        ended, _ = await release(stage, "v1", SECONDS, **wanted, warm="0s")
        assert ended["phase"] == "succeeded", stage.logs()
        await until_async(lambda: _serves(front))  # the stand-in's probes begin with the first request
        async with clients(stage, rate=60) as results:
            strategy = "{canary: {steps: [{traffic: 5%, hold: 20s}]}}"
            canary = asyncio.create_task(release(stage, "v2", SECONDS, **wanted, strategy=strategy))
            await until_async(lambda: _shares(stage), SECONDS)
            answers = [await asyncio.to_thread(answer_of, front) for _ in range(COUNTED)]
            assert not canary.done(), "all were asked at one share"
            assert abs(answers.count("v2") - COUNTED * 0.05) < 3 * (COUNTED * 0.05 * 0.95) ** 0.5
            ended, _ = await canary
            assert ended["phase"] == "succeeded", stage.logs()
        assert results["paris"].failures == (), results["paris"].summary()
    assert rig.instances() == []


async def _serves(front: AzureFront) -> bool:
    with contextlib.suppress(urllib.error.HTTPError):
        return await asyncio.to_thread(answer_of, front) == "v1"
    return False


async def _shares(stage: Stage) -> bool:
    return (await asyncio.to_thread(stage.weights)).get("paris", {}).get("hello-v002") == 500


def answer_of(front: AzureFront) -> str:
    with urllib.request.urlopen(f"http://{front.loopback}:{PORT}/", timeout=10) as answer:
        return str(answer.read().decode())


def strangers_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Rules that are not repave's, as they were made."""
    rules = body["properties"].get("loadBalancingRules") or []
    return [
        {key: value for key, value in each["properties"].items() if key != "provisioningState"}
        for each in rules
        if not each["name"].startswith("repave")
    ]
