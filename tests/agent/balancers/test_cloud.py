"""What load balancers of clouds have in common: what was wanted outlives the agent, each call follows from a
look, and a group without health gives its traffic to the spare."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.balancers.aws_alb.load_balancer import AlbLoadBalancer
from repave_agent.balancers.azure_lb.load_balancer import AzureLoadBalancer
from repave_agent.balancers.cloud.balancer import REPEATS_MAX, VIEW_SECONDS, WHOLE_SECONDS, CloudBalancer
from repave_agent.balancers.cloud.fallback import fallen, in_effect
from repave_agent.balancers.cloud.load_balancer import StaleError
from repave_agent.balancers.gcp_lb.load_balancer import GcpLoadBalancer
from repave_agent.balancers.octavia.load_balancer import OctaviaLoadBalancer
from repave_agent.clients.faults import GoneError, LostError
from repave_agent.core.ports import (
    Backend,
    BackendView,
    BalancerError,
    FallenBack,
    Frontend,
    ProviderError,
    RefusedError,
    Route,
    Server,
    Structure,
    TransientError,
    UnfitError,
)
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, GroupName, HostName, Probe
from tests.fakes.clock import QuickClock
from tests.fakes.clouds.load_balancer import FakeLoadBalancer, FakeState

SHOP, DOOR = ApplicationName("shop"), Frontend(ApplicationName("shop"), 8080)
BLUE, GREEN, RED = (GroupName(f"shop-v00{number}") for number in (1, 2, 3))
WANTED = Structure(
    (DOOR,),
    tuple(
        Backend(group, (Server(HostName(f"{group}-1"), f"10.0.0.{n}", 8080),), Probe("http", 8080, "/"))
        for n, group in enumerate((BLUE, GREEN, RED), 1)
    ),
)
Cloud = CloudBalancer[Any, Any]


@pytest.fixture
def there() -> FakeLoadBalancer:
    return FakeLoadBalancer()


@pytest.fixture
def clock() -> QuickClock:
    """Each reading finds the last view too old."""
    return QuickClock(step=VIEW_SECONDS)


@pytest.fixture
def make(there: FakeLoadBalancer, clock: QuickClock, tmp_path: Path) -> Callable[[], Cloud]:
    return lambda: CloudBalancer(tmp_path / "agent", there, "here", clock=clock)


async def begun(balancer: Cloud, *routes: Route) -> Cloud:
    await balancer.start()
    await balancer.arrange(WANTED)
    await balancer.route(routes)
    return balancer


# ------------------------------------------------------------------------------------------------- fall back

SPARED = Route(SHOP, GREEN, spare=BLUE)
CANARY = Route(SHOP, BLUE, GREEN, 500, spare=BLUE)


@pytest.mark.parametrize(
    ("asked", "down", "given"),
    [
        (SPARED, (), Route(SHOP, GREEN)),
        (SPARED, (GREEN,), Route(SHOP, BLUE)),
        (SPARED, (GREEN, BLUE), Route(SHOP, GREEN)),
        (replace(SPARED, spare=None), (GREEN,), Route(SHOP, GREEN)),
        (CANARY, (GREEN,), Route(SHOP, BLUE)),
        (CANARY, (BLUE,), replace(CANARY, spare=None)),
        (replace(CANARY, second_bp=0), (GREEN,), Route(SHOP, BLUE, GREEN, 0)),
        (replace(CANARY, spare=RED), (GREEN,), Route(SHOP, BLUE, RED, 500)),
        (replace(CANARY, spare=RED), (BLUE,), Route(SHOP, RED, GREEN, 500)),
        (replace(CANARY, spare=RED), (BLUE, GREEN), Route(SHOP, RED)),
        (replace(SPARED, testers=GREEN), (GREEN,), Route(SHOP, BLUE, testers=BLUE)),
        (Route(SHOP, BLUE, testers=GREEN, spare=BLUE), (GREEN,), Route(SHOP, BLUE, testers=BLUE)),
    ],
)
def test_a_group_without_health_gives_its_traffic_to_the_spare(
    asked: Route, down: tuple[GroupName, ...], given: Route
) -> None:
    assert in_effect(asked, down) == given


GROUPS = st.sampled_from((BLUE, GREEN, RED))


@given(GROUPS, GROUPS, st.integers(0, FULL_WEIGHT_BP), GROUPS, st.sets(GROUPS))
def test_no_request_goes_to_a_group_that_is_down_while_the_spare_is_up_and_none_is_lost(
    first: GroupName, second: GroupName, second_bp: int, spare: GroupName, down: set[GroupName]
) -> None:
    asked = Route(SHOP, first, spare=spare)
    if first != second:
        asked = replace(asked, second=second, second_bp=second_bp)
    given = in_effect(asked, down)
    assert given.spare is None
    assert sum(given.weight_bp(each) for each in given.groups) == FULL_WEIGHT_BP
    assert given.first != given.second
    if spare not in down:
        assert not any(given.weight_bp(each) for each in down)
    for group in {BLUE, GREEN, RED} - down - {spare}:
        assert given.weight_bp(group) == asked.weight_bp(group)
    assert bool(fallen(asked, down)) == (given != replace(asked, spare=None))


async def test_the_spare_answers_without_the_controller_until_the_group_is_healthy_again(
    make: Callable[[], Cloud], there: FakeLoadBalancer
) -> None:
    balancer = await begun(make(), SPARED)
    view = await balancer.observe()
    assert (view.falls_back, view.routes, there.state.routes) == (True, (SPARED,), (Route(SHOP, GREEN),))
    for times in (1, 2):
        there.down = {GREEN}
        view = await balancer.observe()
        assert there.state.routes == (Route(SHOP, BLUE),)
        assert view.routes == (SPARED,), "what was asked for holds"
        assert view.fallen_back == (FallenBack(SHOP, GREEN, BLUE, times, is_counted=False),)
        there.down = set()
        view = await balancer.observe()
        assert (view.routes, there.state.routes) == ((SPARED,), (Route(SHOP, GREEN),))
        assert [each.requests for each in view.fallen_back] == [times]


async def test_a_group_that_is_down_stays_without_traffic_over_a_restart_and_a_new_share(
    make: Callable[[], Cloud], there: FakeLoadBalancer
) -> None:
    balancer = await begun(make(), CANARY)
    there.down = {GREEN}
    await balancer.observe()
    again = make()
    await again.start()
    assert there.state.routes == (Route(SHOP, BLUE),)
    await again.route((replace(CANARY, second_bp=1_000),))
    assert there.state.routes == (Route(SHOP, BLUE),)
    there.down = set()
    await again.observe()
    assert there.state.routes == (replace(CANARY, second_bp=1_000, spare=None),)


async def test_a_cloud_that_does_not_take_the_change_hides_no_view_and_is_asked_again(
    make: Callable[[], Cloud], there: FakeLoadBalancer
) -> None:
    balancer = await begun(make(), SPARED)
    await balancer.observe()
    there.down, there.faults = {GREEN}, [TransientError("too many calls")]
    view = await balancer.observe()
    assert (view.routes, view.backend(GREEN)) == ((Route(SHOP, GREEN),), BackendView(GREEN, 0, 0))
    view = await balancer.observe()
    assert (view.routes, there.state.routes) == ((SPARED,), (Route(SHOP, BLUE),))


async def test_a_load_balancer_that_sees_no_idle_health_is_given_no_spare(
    make: Callable[[], Cloud], there: FakeLoadBalancer
) -> None:
    there.sees_idle, there.down = False, {GREEN}
    balancer = await begun(make(), Route(SHOP, GREEN))
    assert not (await balancer.observe()).falls_back


async def test_what_an_agent_wanted_before_it_knew_of_spares_is_read(
    make: Callable[[], Cloud], there: FakeLoadBalancer, tmp_path: Path
) -> None:
    await begun(make(), SPARED)
    file = tmp_path / "agent" / "fake.json"
    stored = json.loads(file.read_text())
    del stored["down"]
    file.write_text(json.dumps(stored))
    there.state = FakeState(WANTED, (Route(SHOP, BLUE),))
    await make().start()
    assert there.state.routes == (Route(SHOP, GREEN),)


# ------------------------------------------------------------------------------------------------- the queue


class SlowLoadBalancer(FakeLoadBalancer):
    """Others have their turn while it is read."""

    async def read(self) -> FakeState:
        await asyncio.sleep(0)
        return await super().read()


async def test_changes_that_wait_for_each_other_undo_nothing(tmp_path: Path, clock: QuickClock) -> None:
    there = SlowLoadBalancer()
    balancer: Cloud = CloudBalancer(tmp_path / "agent", there, "here", clock=clock)
    await begun(balancer, SPARED)
    smaller, there.down = replace(WANTED, backends=WANTED.backends[:2]), {GREEN}
    share = replace(CANARY, second_bp=1_000)
    await asyncio.gather(balancer.observe(), balancer.arrange(smaller), balancer.route((share,)))
    assert (await balancer.observe()).structure == smaller
    assert there.state == FakeState(smaller, (Route(SHOP, BLUE),)), "the group that is down stays without"


NOTHING: Any = SimpleNamespace(compute=None)


@pytest.mark.parametrize(
    "there",
    [
        AlbLoadBalancer(NOTHING, "front", "here", clock=QuickClock()),
        AzureLoadBalancer(NOTHING, "front", clock=QuickClock()),
        GcpLoadBalancer(NOTHING, "front", clock=QuickClock()),
        OctaviaLoadBalancer(NOTHING, "front", clock=QuickClock()),
    ],
    ids=lambda each: each.kind,
)
def test_one_that_was_deleted_while_it_was_read_is_looked_for_again(there: Any) -> None:
    empty = there.wanted(Structure(), ())
    with pytest.raises(StaleError, match="front was deleted: it is looked for again"):
        there.next_call(empty, empty, (), is_hurried=False)


@pytest.mark.parametrize("fault", [LostError("lost"), GoneError("gone"), StaleError("stale")], ids=repr)
async def test_a_call_of_which_nothing_is_known_is_made_again_if_a_look_says_so(
    make: Callable[[], Cloud], there: FakeLoadBalancer, fault: ProviderError
) -> None:
    balancer = await begun(make(), Route(SHOP, BLUE))
    there.faults = [fault, fault]
    await balancer.route((Route(SHOP, GREEN),))
    assert there.state.routes == (Route(SHOP, GREEN),)
    assert there.calls[-3:] == ["shop/routes"] * 3


async def test_a_cloud_that_takes_a_call_and_does_nothing_is_named(
    make: Callable[[], Cloud], there: FakeLoadBalancer
) -> None:
    balancer = await begun(make(), Route(SHOP, BLUE))
    there.is_deaf, there.calls = True, []
    with pytest.raises(BalancerError, match="the fake cloud took change of shop/routes 5 times, and it is"):
        await balancer.route((Route(SHOP, GREEN),))
    assert len(there.calls) == REPEATS_MAX


async def test_what_the_cloud_refuses_is_the_application_s_and_the_rest_goes_on(
    make: Callable[[], Cloud], there: FakeLoadBalancer
) -> None:
    balancer = await begun(make(), Route(SHOP, BLUE))
    there.faults = [RefusedError("no more of these")]
    with pytest.raises(UnfitError) as refused:
        await balancer.route((Route(SHOP, GREEN),))
    assert refused.value.frontends == {SHOP: "shop/routes: no more of these"}


async def test_what_can_not_be_tidied_up_holds_up_no_look_and_is_tried_again(
    make: Callable[[], Cloud], there: FakeLoadBalancer, clock: QuickClock
) -> None:
    balancer = await begun(make(), Route(SHOP, BLUE))
    await balancer.observe()
    extra = replace(WANTED, frontends=(DOOR, Frontend(ApplicationName("blog"), 81)))
    there.state = replace(there.state, structure=extra)  # what another left
    await balancer.route((Route(SHOP, GREEN),))
    there.faults = [RefusedError("in use")]
    assert (await balancer.observe()).routes == (Route(SHOP, GREEN),)
    assert there.state.structure == extra
    clock.slept += WHOLE_SECONDS
    assert (await balancer.observe()).structure == WANTED
