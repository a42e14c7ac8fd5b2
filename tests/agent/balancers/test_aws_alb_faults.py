"""Each fault at each call of a load balancer's life on a stand-in for AWS, called by Amazon's own library,
which repeats calls by itself. Slow: `make test-rigs`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repave_agent.core.ports import Balancer, BalancerError, Route, Structure
from repave_protos.protocol.values import ApplicationName, GroupName
from tests.contracts.alb_worlds import StandInAlbRig
from tests.contracts.balancer_worlds import aws
from tests.fakes.agent.haproxy_rig import frontend
from tests.support.rigs import CloudRig

__all__ = ["aws"]
pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]
SHOP, BLUE, GREEN = ApplicationName("shop"), GroupName("shop-v001"), GroupName("shop-v002")
SHARE = Route(SHOP, BLUE, GREEN, 500)
TRIES_MAX = 4
"""So often the agent asks again, as it does by itself."""
CALLS = (
    "DescribeLoadBalancers",
    "DescribeTags",
    "DescribeListeners",
    "DescribeRules",
    "DescribeTargetGroups",
    "DescribeTargetHealth",
    "DescribeTargetGroupAttributes",
    "CreateTargetGroup",
    "ModifyTargetGroupAttributes",
    "RegisterTargets",
    "CreateListener",
    "CreateRule",
    "ModifyListener",
    "ModifyRule",
    "DeregisterTargets",
    "DeleteTargetGroup",
    "DeleteListener",
    "AddTags",
    "RemoveTags",
)


@pytest.fixture
async def world(aws: CloudRig, tmp_path: Path) -> AsyncIterator[StandInAlbRig]:
    made = StandInAlbRig(tmp_path / "alb", aws)
    async with made.opened():
        yield made


@pytest.mark.parametrize(("do", "calls"), [("lose", CALLS), ("error", CALLS[::4])], ids=["lose", "error"])
async def test_whatever_fails_the_share_is_right_and_nothing_is_there_twice_or_left(
    world: StandInAlbRig, aws: CloudRig, do: str, calls: tuple[str, ...]
) -> None:
    door = frontend("shop", 8_123)
    both = Structure((door,), (await world.backend(BLUE), await world.backend(GREEN)))
    disabled = Structure((door,), (both.backends[0], await world.backend(GREEN, is_enabled=False)))
    for number, call in enumerate(calls):
        balancer = world.balancer(f"agent{number}")
        more = {"status": 500, "code": "InternalFailure"} if do == "error" else {}
        aws.fault(f"elbv2.{call}", do, times=1, **more)
        for structure, routes in ((both, (SHARE,)), (disabled, (Route(SHOP, BLUE),)), (both, (SHARE,))):
            await _made_so(balancer, structure, routes)
        assert len(await world.listed("describe_target_groups", "TargetGroups")) == 2, call
        assert len(await world.listeners()) == 1, call
        await _ended(balancer)
        assert await world.listed("describe_target_groups", "TargetGroups") == [], call
        assert await world.listeners() == [], call
        aws.forget_faults()


async def _made_so(balancer: Balancer, structure: Structure, routes: tuple[Route, ...]) -> None:
    for attempt in range(TRIES_MAX):
        try:
            await balancer.start()
            await balancer.arrange(structure)
            await balancer.route(routes)
            view = await balancer.observe()
        except BalancerError:
            assert attempt < TRIES_MAX - 1
        else:
            assert (view.structure, view.routes) == (structure, routes)
            return


async def _ended(balancer: object) -> None:
    for attempt in range(TRIES_MAX):
        try:
            await balancer.end()  # type: ignore[attr-defined]  # as every kind has it
            return
        except BalancerError:
            assert attempt < TRIES_MAX - 1
