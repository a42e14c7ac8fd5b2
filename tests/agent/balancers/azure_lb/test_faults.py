"""The balancer of Azure on a stand-in that loses answers, refuses, is busy, fails late and forgets tokens:
every fault at every kind of call that a release makes, and somebody else who changes the same load balancer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from repave_agent.balancers.azure_lb import ABILITIES
from repave_agent.balancers.azure_lb.balancer import AzureBalancer
from repave_agent.balancers.azure_lb.load_balancer import AzureLoadBalancer
from repave_agent.core.ports import (
    Backend,
    BalancerError,
    Frontend,
    Route,
    Server,
    Structure,
    UnfitError,
)
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe, Split
from tests.fakes.clock import FastClock
from tests.fakes.waiting import until_async
from tests.fakes.web import Web
from tests.support.azure_front import STRANGER, STRANGERS_PORT, AzureFront
from tests.support.clouds import QUICK
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud

NET, TRIES = 116, 4
CALLS_OF_A_SWITCH = 6
"""Azure is asked for its findings and for one change; each is waited for, a call or two."""
SHOP = ApplicationName("shop")
FRONTEND = Frontend(SHOP, 18_080)
CALLS = (
    "entra.token",
    "load_balancers_get",
    "load_balancers_create_or_update",
    "load_balancer_backend_address_pools_create_or_update",
    "load_balancer_backend_address_pools_delete",
    "load_balancer_load_balancing_rules_health",
    "operations.get",
)
BUSY = "AnotherOperationInProgress"
LATE = "An internal execution error occurred"
FAULTS: tuple[dict[str, Any], ...] = (
    {"do": "lose", "times": 2},  # the first repetition is the HTTP client's own
    {"do": "refuse", "times": 2},
    {"do": "delay", "seconds": 0.2},
    {"do": "throttle", "seconds": 1},
    {"do": "error", "status": 409, "code": BUSY, "message": "Another operation is in progress"},
    {"do": "error", "status": 412, "code": "PreconditionFailed", "message": "Precondition failed."},
    {"do": "error", "status": 500, "code": "InternalServerError", "message": "An error occurred."},
    {"do": "error", "status": 403, "code": "AuthorizationFailed", "message": "no authorization"},
    {"do": "unauthorized"},
    {"do": "fail_late", "seconds": 0.05, "code": "InternalExecutionError", "message": LATE},
)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[CloudRig]:
    if reason := why_no_cloud("azure"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("azure", Path(directory), NET) as made:
        yield made


@pytest.fixture
async def front(stand_in: CloudRig) -> AsyncIterator[AzureFront]:
    """With a rule of somebody else."""
    stand_in.reset(**QUICK)
    made = AzureFront(stand_in)
    await made.make()
    await made.add_rule()
    yield made
    stand_in.forget_faults()
    assert stand_in.state()["violations"] == [], "Azure's own description allows no such call"


@pytest.fixture
async def balancer(front: AzureFront, tmp_path: Path) -> AsyncIterator[AzureBalancer]:
    made = balancer_on(front, tmp_path)
    yield made
    await made.close()


def balancer_on(front: AzureFront, directory: Path, times: float = 40.0, **options: Any) -> AzureBalancer:
    """On a clock that is so many times as fast."""
    clock = FastClock(times)
    there = AzureLoadBalancer(front.resources(clock), front.name, clock=clock, **options)
    return AzureBalancer(directory, there, "here", clock=clock)


def group(number: int, *, port: int = 8080) -> Backend:
    name = GroupName(f"shop-v{number:03}")
    server = Server(HostName(f"{name}-1"), f"10.{NET}.8.{number}", port)
    return Backend(name, (server,), Probe("http", port, "/health"))


async def until_done(doing: Callable[[], Awaitable[None]], what: str) -> None:
    """As the agent does: it tries again what may pass."""
    for _ in range(TRIES):
        try:
            await doing()
        except BalancerError:
            continue
        return
    raise AssertionError(f"{what}: never done")


@pytest.mark.parametrize(
    "fault",
    [FAULTS[0], *(pytest.param(each, marks=pytest.mark.rig) for each in FAULTS[1:])],
    ids=lambda each: f"{each['do']}{each.get('status', '')}",
)
async def test_no_fault_of_any_call_leaves_anything_or_sends_traffic_elsewhere(
    front: AzureFront, balancer: AzureBalancer, fault: dict[str, Any]
) -> None:
    strangers = await rules(front, ours=False)
    await balancer.start()
    old = group(1)
    await balancer.arrange(Structure((FRONTEND,), (old,)))
    await balancer.route((Route(SHOP, old.group),))
    for number, call in enumerate(CALLS, 2):
        new = group(number, port=8080 + number)
        if call == "entra.token":
            front.rig.expire_tokens()
        front.rig.fault(call, **fault)
        await until_done(partial(balancer.arrange, Structure((FRONTEND,), (old, new))), call)
        await until_done(partial(balancer.route, (Route(SHOP, new.group),)), call)
        await until_done(partial(balancer.arrange, Structure((FRONTEND,), (new,))), call)
        front.rig.forget_faults()
        found = await rules(front)
        assert set(found) == {"repave_shop", f"repave_{new.group}_probe"}, call
        assert found["repave_shop"]["backendAddressPool"]["id"].endswith(f"/repave_{new.group}"), call
        assert found["repave_shop"]["backendPort"] == 8080 + number, "pool and port move together"
        pools = (await front.body())["properties"]["backendAddressPools"]
        assert [each["name"] for each in pools] == [f"repave_{new.group}"], call
        old = new
    assert await rules(front, ours=False) == strangers
    await until_done(balancer.end, "the end")
    assert (await rules(front), await rules(front, ours=False)) == ({}, strangers)
    assert "repave-owner" not in (await front.body()).get("tags", {})


async def test_a_change_of_somebody_else_between_a_look_and_a_switch_is_kept(
    front: AzureFront, tmp_path: Path
) -> None:
    balancer = balancer_on(front, tmp_path, 4.0)
    await balancer.start()
    blue, green = group(1), group(2)
    await balancer.arrange(Structure((FRONTEND,), (blue, green)))
    await balancer.route((Route(SHOP, blue.group),))
    await balancer.observe()  # what the switch is decided by
    other = {"name": "chat", "properties": {**STRANGER["properties"], "frontendPort": 8026}}
    await front.add_rule(other)
    before = front.rig.state()["counts"]["load_balancers_create_or_update"]
    await balancer.route((Route(SHOP, green.group),))
    await balancer.close()
    made = front.rig.state()["counts"]["load_balancers_create_or_update"] - before
    assert made == 2, "the first one was decided by what was there no longer"
    found = await rules(front, ours=False)
    assert set(found) == {"mail", "chat"}
    assert (await rules(front))["repave_shop"]["backendAddressPool"]["id"].endswith("/repave_shop-v002")


async def test_a_switch_is_one_change_after_azure_has_found_the_group_healthy(
    front: AzureFront, tmp_path: Path
) -> None:
    balancer = balancer_on(front, tmp_path, 4.0)
    webs = [Web(f"v{number}", (f"127.{NET}.8.{number}",)) for number in (1, 2)]
    for web in webs:
        await web.start()
    blue, green = (group(number, port=web.port) for number, web in enumerate(webs, 1))
    await balancer.start()
    await balancer.arrange(Structure((FRONTEND,), (blue, green)))
    await balancer.route((Route(SHOP, blue.group),))
    await balancer.route((Route(SHOP, green.group),))
    assert await balancer.troubles() == []
    await balancer.observe()
    before = front.rig.state()["counts"]
    await balancer.route((Route(SHOP, blue.group),))
    counts = front.rig.state()["counts"]
    made = {call: count - before[call] for call, count in counts.items() if count > before[call]}
    assert made["load_balancers_create_or_update"] == made["load_balancer_load_balancing_rules_health"] == 1
    assert sum(made.values()) <= CALLS_OF_A_SWITCH, made
    await webs[0].stop()
    await until_async(lambda: _finds_one_down(balancer))
    await balancer.close()
    await webs[1].stop()


async def _finds_one_down(balancer: AzureBalancer) -> bool:
    found = await balancer.troubles()
    assert all("1 of 1 servers of shop-v001 down" in each for each in found)
    return len(found) == 1


async def test_a_share_is_refused_and_changes_nothing(front: AzureFront, balancer: AzureBalancer) -> None:
    assert (ABILITIES.share_step_bp, ABILITIES.supports_testers, ABILITIES.takes_timeouts) == (
        10_000,
        False,
        False,
    )
    await balancer.start()
    blue, green = group(1), group(2)
    await balancer.arrange(Structure((FRONTEND,), (blue, green)))
    await balancer.route((Route(SHOP, blue.group),))
    with pytest.raises(BalancerError, match=r"only switches: it can't give shop-v002 5 % of the traffic"):
        await balancer.route((Route(SHOP, blue.group, green.group, 500),))
    assert (await balancer.observe()).routes == (Route(SHOP, blue.group),)


@pytest.mark.parametrize(
    ("frontend", "said"),
    [
        (
            Frontend(SHOP, 80, Split("cookie", "uid")),
            "does not look into requests, and can't split by cookie",
        ),
        (Frontend(SHOP, 80, Split("request", "", "header", "X", "y")), "can't tell testers by header"),
        (Frontend(ApplicationName("s" * 70), 80), "names of 67 characters at most"),
        (Frontend(SHOP, STRANGERS_PORT), "port 8025 is that of the rule mail: give the application another"),
    ],
)
async def test_what_it_can_not_have_is_said_when_a_release_is_planned(
    balancer: AzureBalancer, frontend: Frontend, said: str
) -> None:
    await balancer.start()
    assert said in (await balancer.way_in(frontend)).lack
    with pytest.raises(UnfitError, match=said.replace("'", ".")):
        await balancer.arrange(Structure((frontend,), ()))


@pytest.mark.parametrize(
    ("named", "options", "said"),
    [
        ("", {}, r"azure_lb\.load_balancer is not set"),
        ("back", {}, r"azure_lb\.load_balancer: back: there is none; the resource group has: front"),
        ("front", {"frontend": "public"}, r"azure_lb\.frontend: public: .*it has: inside"),
    ],
)
async def test_settings_that_can_t_work_are_refused_at_the_start_by_name(
    front: AzureFront, tmp_path: Path, named: str, options: dict[str, Any], said: str
) -> None:
    made = AzureFront(front.rig, named)
    balancer = balancer_on(made, tmp_path, **options)
    with pytest.raises(BalancerError, match=said):
        await balancer.start()
    await balancer.close()


async def rules(front: AzureFront, *, ours: bool = True) -> dict[str, dict[str, Any]]:
    """By name; what a rule says, without what Azure adds."""
    found = (await front.body())["properties"].get("loadBalancingRules") or []
    return {
        each["name"]: {key: value for key, value in each["properties"].items() if key != "provisioningState"}
        for each in found
        if each["name"].startswith("repave") == ours
    }
