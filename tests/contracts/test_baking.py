"""What every provider that bakes machine images promises when its agent is killed in the middle: the next
agent finds what is left and removes it. An image that is whole stays, it is what was ordered.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repave_agent.clients.openstack.api import Api
from repave_agent.kinds import OwnedProvider
from repave_agent.packages.baking import BakingProvider
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.first_boot import BAKED
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import BakeOrder
from repave_protos.protocol.values import RegionName
from tests.fakes.clock import QuickClock
from tests.fakes.clouds.openstack import FakeOpenstack, served

MOMENTS_MAX = 60


class Killed(BaseException):
    """Nothing of the agent runs any more, its cleaning up neither."""


@dataclass
class Kitchen:
    """A cloud in which images are baked. `agent(n)`: one that is killed at its n-th call, never if n is 0;
    `agent(n, region)`: of another region than the usual one."""

    agent: Callable[..., OwnedProvider]
    left: Callable[[], list[str]]  # servers, and images that are not whole
    whole: Callable[[], list[str]]  # baked images


@pytest.fixture(params=["openstack", "openstack-slow-image"])
async def kitchen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kitchen]:
    status = "queued" if request.param == "openstack-slow-image" else "active"
    async with served(FakeOpenstack(console=f"{BAKED} {{repave_bake}}\n", image_status=status)) as cloud:
        opened: list[OpenstackProvider] = []

        def agent(killed_at: int, region: str = "here") -> OpenstackProvider:
            options = OpenstackOptions(flavor="small", image="base", network="fleet")
            state = tmp_path / str(len(opened))
            state.mkdir()
            api = Mortal(cloud.cloud(region_name="one"), QuickClock(), killed_at)
            depot, clock = Depot(state, "127.0.0.1:0"), QuickClock()
            opened.append(OpenstackProvider(RegionName(region), lambda: "ours", api, options, depot, clock))
            return opened[-1]

        def baked() -> list[dict[str, Any]]:
            return [each for each in cloud.images if "repave_baked" in each]

        yield Kitchen(
            agent,
            lambda: [*cloud.servers, *(each["id"] for each in baked() if each["status"] != "active")],
            lambda: [each["id"] for each in baked() if each["status"] == "active"],
        )
        for each in opened:
            await each.close()


class Mortal(Api):
    """An API whose agent is killed at one of its calls, after the cloud has done it."""

    def __init__(self, cloud: Any, clock: Any, killed_at: int) -> None:
        super().__init__(cloud, clock)
        self._killed_at, self._made = killed_at, 0

    async def call(self, *words: Any, **query: Any) -> dict[str, Any]:
        self._made += 1
        if self._killed_at and self._made > self._killed_at:
            raise Killed
        answer = await super().call(*words, **query)
        if self._made == self._killed_at:
            raise Killed
        return answer


async def bake(agent: OwnedProvider, package: Path) -> bool:
    """Whether it came to its end."""
    assert isinstance(agent, BakingProvider)
    try:
        async with asyncio.timeout(20.0):
            await agent.bake(BakeOrder(sha256_of(package), "shop-1"), package, lambda _: None)
    except Killed:
        return False
    return True


async def test_an_agent_that_is_killed_at_any_moment_of_a_bake_leaves_nothing_to_the_next_one(
    kitchen: Kitchen, package: Path
) -> None:
    left_at = []
    for moment in range(1, MOMENTS_MAX):
        is_done = await bake(kitchen.agent(moment), package)
        left_at.append(len(kitchen.left()))
        await kitchen.agent(0).start()
        assert kitchen.left() == [], f"killed at call {moment}"
        if is_done:
            assert kitchen.whole()
            break
    assert max(left_at) > 0, "some of it was to be found"


async def test_what_another_region_bakes_is_left_alone(kitchen: Kitchen, package: Path) -> None:
    for moment in range(1, MOMENTS_MAX):
        await bake(kitchen.agent(moment, "elsewhere"), package)
        if kitchen.left():
            break
    left = kitchen.left()
    await kitchen.agent(0).start()
    assert kitchen.left() == left
