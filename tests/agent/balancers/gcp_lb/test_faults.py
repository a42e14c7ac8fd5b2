"""The balancer gcp_lb against a stand-in that loses answers, refuses, fails late and forgets tokens: every
fault at every kind of call of a release's life at the load balancer. Requests go to groups that are there all
the while, and nothing is left."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from repave_agent.core.ports import BalancerError, Route, Structure
from tests.agent.balancers.gcp_lb.test_balancer import BLUE, DOOR, GREEN, PORT, SHOP, TO_BLUE, behind
from tests.fakes.clock import FastClock
from tests.support.google_front import AnyCloudBalancer, GoogleFront
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud, why_no_rigs

CALLS = (
    "oauth2.token",
    "globalAddresses.get",
    "globalAddresses.setLabels",
    "healthChecks.insert",
    "healthChecks.delete",
    "networkEndpointGroups.insert",
    "networkEndpointGroups.attachNetworkEndpoints",
    "networkEndpointGroups.detachNetworkEndpoints",
    "networkEndpointGroups.listNetworkEndpoints",
    "networkEndpointGroups.aggregatedList",
    "networkEndpointGroups.delete",
    "instances.aggregatedList",
    "backendServices.insert",
    "backendServices.list",
    "backendServices.delete",
    "urlMaps.insert",
    "urlMaps.list",
    "urlMaps.patch",
    "urlMaps.delete",
    "targetHttpProxies.insert",
    "targetHttpProxies.delete",
    "globalForwardingRules.insert",
    "globalForwardingRules.list",
    "globalForwardingRules.delete",
    "globalOperations.wait",
    "zoneOperations.wait",
)
"""Of a life."""
FAULTS: tuple[dict[str, Any], ...] = (
    {"do": "lose", "times": 2},  # the first repetition is the HTTP client's own
    {"do": "refuse", "times": 2},
    {"do": "throttle", "seconds": 1},
    {"do": "error", "status": 500, "code": "InternalError", "message": "Backend error"},
    {"do": "error", "status": 503, "code": "backendError", "message": "The service is unavailable"},
    {"do": "error", "status": 403, "code": "forbidden", "message": "Required permission is missing"},
    {"do": "unauthorized"},
    {"do": "quota"},
    {"do": "fail_late", "seconds": 0.01, "code": "INTERNAL_ERROR", "message": "Internal error"},
)
CALLS_IN_SHORT, FAULTS_IN_SHORT = ("backendServices.insert", "urlMaps.patch"), ("lose", "fail_late")
"""In `make test`; `make test-rigs` tries all."""
TRIES = 5


@pytest.fixture(scope="module")
def rig() -> Iterator[CloudRig]:
    if reason := why_no_cloud("gcp"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("gcp", Path(directory), 98) as made:
        yield made


@pytest.fixture
def front(rig: CloudRig) -> Iterator[GoogleFront]:
    made = GoogleFront(rig)
    made.begin()
    yield made
    assert rig.state()["violations"] == []


@pytest.fixture
async def balancers(front: GoogleFront, tmp_path: Path) -> AsyncIterator[Iterator[AnyCloudBalancer]]:
    """One after the other, each of another agent."""
    made: list[AnyCloudBalancer] = []

    def each() -> Iterator[AnyCloudBalancer]:
        while True:
            made.append(front.balancer(tmp_path / str(len(made))))
            yield made[-1]

    yield each()
    for balancer in made:
        await balancer.close()


async def live(balancer: AnyCloudBalancer, front: GoogleFront, wanted: Structure) -> list[str]:
    """A first release, a canary, and the end of all; returns what was told on the way."""
    told: list[str] = []
    green = wanted.backends[1]
    waiting = replace(green, servers=tuple(replace(each, is_enabled=False) for each in green.servers))
    steps: tuple[Any, ...] = (
        balancer.start,
        lambda: balancer.arrange(Structure(wanted.frontends, wanted.backends[:1])),
        lambda: balancer.route((TO_BLUE,)),
        lambda: balancer.arrange(wanted),
        lambda: balancer.route((Route(SHOP, BLUE, GREEN, 5_000),)),
        lambda: balancer.route((TO_BLUE,)),
        lambda: balancer.arrange(Structure(wanted.frontends, (wanted.backends[0], waiting))),
        lambda: balancer.arrange(Structure(wanted.frontends, wanted.backends[:1])),
        balancer.end,
    )
    for number, step in enumerate(steps):
        for _ in range(TRIES):  # as the agent does
            try:
                await step()
                if number < len(steps) - 1:
                    await balancer.observe()
            except BalancerError as error:
                told.append(str(error))
                continue
            break
        else:
            raise AssertionError(f"step {number}: {told[-1]}")
        if 2 <= number < len(steps) - 1:
            asked = set(await front.ask(PORT, [""] * 4))
            assert {each.rpartition("-")[0] for each in asked} == ({BLUE, GREEN} if number == 4 else {BLUE})
    return told


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: f"{each['do']}{each.get('status', '')}")
async def test_no_fault_of_any_call_sends_a_request_astray_or_leaves_anything(
    front: GoogleFront, rig: CloudRig, balancers: Iterator[AnyCloudBalancer], fault: dict[str, Any]
) -> None:
    reason = why_no_rigs()
    if reason and fault["do"] not in FAULTS_IN_SHORT:
        pytest.skip(reason)
    wanted = Structure((DOOR,), (behind(front, BLUE, 1), behind(front, GREEN, 1)))
    for call in CALLS_IN_SHORT if reason else CALLS:
        rig.fault(call, **fault)
        told = await live(next(balancers), front, wanted)
        rig.forget_faults()
        assert front.all_listed() == [], call
        if fault["do"] == "error" and fault["status"] == 403 and call != "oauth2.token":
            assert any("Required permission is missing" in each for each in told), call


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"do": "error", "status": 403, "message": "no right"}, "POST global/backendServices: 403: no right"),
        ({"do": "quota"}, "POST global/backendServices.*QUOTA"),
        ({"do": "fail_late", "code": "INTERNAL_ERROR", "message": "oh"}, "POST global/backendServices.*oh"),
    ],
    ids=lambda each: each["do"] if isinstance(each, dict) else "",
)
async def test_an_error_names_the_call_and_google_s_words(
    front: GoogleFront, rig: CloudRig, balancers: Iterator[AnyCloudBalancer], fault: dict[str, Any], said: str
) -> None:
    balancer = next(balancers)
    await balancer.start()
    rig.fault("backendServices.insert", times=0, **fault)
    with pytest.raises(BalancerError, match=said):
        await balancer.arrange(Structure((DOOR,), (behind(front, BLUE, 1),)))
    rig.forget_faults()


async def test_a_change_that_never_ends_is_told_and_holds_up_no_look(
    front: GoogleFront, rig: CloudRig, tmp_path: Path
) -> None:
    balancer = front.balancer(tmp_path / "agent", FastClock(500.0))
    rig.set(wait_seconds=0.01)
    wanted = Structure((DOOR,), (behind(front, BLUE, 1), behind(front, GREEN, 1)))
    await balancer.start()
    await balancer.arrange(wanted)
    await balancer.route((TO_BLUE,))
    rig.fault("urlMaps.patch", "stuck")
    with pytest.raises(BalancerError, match=r"PATCH global/urlMaps/\S+: another change of it is under way"):
        await balancer.route((Route(SHOP, GREEN),))
    view = await balancer.observe()
    assert (view.routes, view.structure) == ((TO_BLUE,), wanted)
    await balancer.close()
