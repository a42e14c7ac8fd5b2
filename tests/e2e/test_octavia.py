"""The main job of two regions whose hosts are OpenStack servers and whose balancers are Octavia's, on the
real control plane: weights arrive in the API. Nothing is balanced there, so no request is counted. Slow:
`make test-rigs`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from repave_agent.clients.openstack.api import Api
from repave_agent.clock import SystemClock
from tests.e2e.test_openstack import WANTED, nothing_is_left, settings
from tests.fakes.waiting import until_async
from tests.support.releases import release
from tests.support.rigs import load_balancer, rig_cloud
from tests.support.stage import staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.usefixtures("rig"), pytest.mark.timeout(600)]
QUARTER = {"hello-v001": 75, "hello-v002": 25}
CANARY = "{canary: {steps: [{traffic: 25%, hold: 20s}]}}"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api(rig_cloud(), SystemClock())
    yield made
    await made.close()


async def shares(api: Api, balancer: str) -> dict[str, int]:
    """Weights by group of the pool that the only listener of this load balancer sends to."""
    there = await api.list_all("load-balancer", "/lbaas/loadbalancers", "loadbalancers")
    (found,) = [each for each in there if each["name"] == balancer]
    listeners = [
        await api.call("load-balancer", "GET", f"/lbaas/listeners/{each['id']}")
        for each in found["listeners"]
    ]
    pools = [each["listener"].get("default_pool_id") for each in listeners]
    totals: dict[str, int] = {}
    for pool in filter(None, pools):
        path = f"/lbaas/pools/{pool}/members"
        for member in await api.list_all("load-balancer", path, "members"):
            group = member["name"].rpartition("-")[0]
            totals[group] = totals.get(group, 0) + member["weight"]
    return {group: weight for group, weight in totals.items() if weight}


async def test_weights_of_releases_and_rollbacks_arrive_in_octavia_s_api(directory: Path, api: Api) -> None:
    async with AsyncExitStack() as balancers:
        named = {
            region: await balancers.enter_async_context(load_balancer(f"front-{region}"))
            for region in ("paris", "oslo")
        }
        environment = {
            region: {
                **settings(port),
                "REPAVE_AGENT_BALANCER": "octavia",
                "REPAVE_AGENT_OCTAVIA__LOAD_BALANCER": named[region],
            }
            for region, port in (("paris", 7483), ("oslo", 7484))
        }

        async def all_have(wanted: dict[str, int]) -> bool:
            """In percent."""
            found = [await shares(api, name) for name in named.values()]
            return all(
                {group: 100 * weight // sum(each.values()) for group, weight in each.items()} == wanted
                for each in found
            )

        with staged(directory / "s", region_environment=environment) as stage:
            ended, _ = await release(stage, "v1", **WANTED, warm="0s", seconds=240)
            assert ended["phase"] == "succeeded", stage.logs()
            assert await all_have({"hello-v001": 100})
            canary = asyncio.create_task(release(stage, "v2", **WANTED, strategy=CANARY, seconds=240))
            async with asyncio.timeout(200):
                while not canary.done() and not await all_have(QUARTER):  # noqa: ASYNC110
                    await asyncio.sleep(0.5)
            assert not canary.done(), stage.logs()
            ended, _ = await canary
            assert ended["phase"] == "succeeded", stage.logs()
            await until_async(lambda: all_have({"hello-v002": 100}))
            await asyncio.to_thread(stage.rollback)
            back = await asyncio.to_thread(stage.ended, 240)
            assert back["phase"] == "succeeded", stage.logs()
            assert await all_have({"hello-v001": 100})
            orphans = await asyncio.to_thread(stage.repave, "orphans", "-o", "json")
            assert json.loads(orphans.stdout)["items"] == []
        await nothing_is_left(stage)
        there = await api.list_all("load-balancer", "/lbaas/loadbalancers", "loadbalancers")
        ours = [each for each in there if each["name"] in named.values()]
        assert [each["pools"] + each["listeners"] for each in ours] == [[], []]
