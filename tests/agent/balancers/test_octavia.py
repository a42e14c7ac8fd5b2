"""The balancer octavia against an API that takes one change at a time, loses answers, and has other users."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.balancers.cloud.balancer import VIEW_SECONDS, WHOLE_SECONDS, CloudBalancer
from repave_agent.balancers.octavia import OctaviaOptions
from repave_agent.balancers.octavia.load_balancer import OctaviaLoadBalancer
from repave_agent.balancers.octavia.model import NO_TLS, Tls
from repave_agent.balancers.shares import WEIGHT_MAX, shared, spread
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import (
    Backend,
    BalancerAwaitedError,
    BalancerError,
    Frontend,
    Route,
    Server,
    Structure,
)
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe, Split, Timeouts
from tests.fakes.clock import QuickClock
from tests.fakes.clouds.openstack import FakeOpenstack, served

SHOP, PORT = ApplicationName("shop"), 8080
DOOR = Frontend(SHOP, PORT)


def behind(group: str, *numbers: int, is_enabled: bool = True, probe: str = "http") -> Backend:
    servers = tuple(Server(HostName(f"{group}-{n}"), f"10.0.0.{n}", 8080, is_enabled) for n in numbers)
    kind = Probe("http", 8080, "/health") if probe == "http" else Probe("tcp", 8080)
    return Backend(GroupName(group), servers, kind)


BLUE, GREEN = behind("shop-v001", 1, 2), behind("shop-v002", 11, 12, 13)
TO_BLUE, TO_GREEN = Route(SHOP, BLUE.group), Route(SHOP, GREEN.group)
SWITCH_CALLS_MAX = 4
"""The change itself, and looks until it is done; all is read at the next look."""
Octavia = CloudBalancer[Any, Any]
Make = Callable[..., Octavia]


@pytest.fixture
def clock() -> QuickClock:
    """Each reading finds the last view too old."""
    return QuickClock(step=VIEW_SECONDS)


@pytest.fixture
async def cloud() -> AsyncIterator[FakeOpenstack]:
    async with served(FakeOpenstack()) as fake:
        fake.octavia.add("front")
        yield fake


@pytest.fixture
async def make(cloud: FakeOpenstack, clock: QuickClock, tmp_path: Path) -> AsyncIterator[Make]:
    async with AsyncExitStack() as opened:

        def made(
            directory: str = "agent",
            load_balancer: str = "front",
            region: str = "here",
            *,
            has_lease: bool = False,
            tls: Mapping[int, Tls] = NO_TLS,
        ) -> Octavia:
            there = OctaviaLoadBalancer(Api(cloud.cloud(), clock), load_balancer, clock=clock, tls=tls)
            balancer: Octavia = CloudBalancer(
                tmp_path / directory,
                there,
                region,
                clock=clock,
                has_lease=lambda: has_lease,
            )
            opened.push_async_callback(balancer.close)
            return balancer

        yield made


def calls_of(balancer: Octavia) -> int:
    return int(balancer._there._api.calls)  # type: ignore[attr-defined]  # Octavia's


async def begun(balancer: Octavia, *backends: Backend, route: Route | None = None) -> Octavia:
    await balancer.start()
    await balancer.arrange(Structure((DOOR,), backends))
    if route is not None:
        await balancer.route((route,))
    return balancer


# --------------------------------------------------------------------------------------------------- traffic


async def test_a_switch_is_one_call_and_a_new_share_is_one_call(cloud: FakeOpenstack, make: Make) -> None:
    balancer, fake = await begun(make(), BLUE, GREEN, route=TO_BLUE), cloud.octavia
    await balancer.observe()
    before, calls = fake.changes, calls_of(balancer)
    await balancer.route((TO_GREEN,))
    assert fake.changes - before == 1
    assert calls_of(balancer) - calls <= SWITCH_CALLS_MAX
    assert set(fake.served[-1][PORT]) == {server.host for server in GREEN.servers}
    await balancer.observe()
    await balancer.route((Route(SHOP, BLUE.group, GREEN.group, 500),))
    await balancer.observe()
    before, calls = fake.changes, calls_of(balancer)
    await balancer.route((Route(SHOP, BLUE.group, GREEN.group, 5_000),))
    assert fake.changes - before == 1
    assert calls_of(balancer) - calls <= SWITCH_CALLS_MAX


async def test_at_no_time_is_there_nobody_to_serve(cloud: FakeOpenstack, make: Make) -> None:
    balancer, fake = await begun(make(), BLUE, route=TO_BLUE), cloud.octavia
    before = fake.changes
    await balancer.arrange(Structure((DOOR,), (BLUE, GREEN)))
    for share_bp in (100, 5_000, 9_900, 0):
        await balancer.route((Route(SHOP, BLUE.group, GREEN.group, share_bp),))
    await balancer.route((TO_GREEN,))
    await balancer.arrange(Structure((DOOR,), (GREEN,)))
    assert all(each[PORT] for each in fake.served[before:])
    assert {frozenset(each[PORT]) for each in fake.served[-2:]} == {frozenset(x.host for x in GREEN.servers)}
    assert len(fake.things["pool"]) == 1


@pytest.mark.parametrize("share_bp", [100, 500, 2_500, 3_300, 5_000, 9_900])
async def test_weights_come_to_the_share_and_are_read_back(
    cloud: FakeOpenstack, make: Make, share_bp: int
) -> None:
    route = Route(SHOP, BLUE.group, GREEN.group, share_bp)
    balancer = await begun(make(), BLUE, GREEN, route=route)
    weights = cloud.octavia.takers(PORT)
    green = sum(weight for host, weight in weights.items() if host.startswith(GREEN.group))
    assert green * 10_000 == share_bp * sum(weights.values())
    assert (await balancer.observe()).routes == (route,)


async def test_a_server_that_is_not_enabled_keeps_its_place_with_weight_nothing(
    cloud: FakeOpenstack, make: Make
) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    half = replace(BLUE, servers=(replace(BLUE.servers[0], is_enabled=False), BLUE.servers[1]))
    await balancer.arrange(Structure((DOOR,), (half,)))
    assert set(cloud.octavia.takers(PORT)) == {BLUE.servers[1].host}
    assert (await balancer.observe()).structure.backends == (half,)


async def test_users_can_not_be_told_apart_and_the_reason_is_said(make: Make) -> None:
    balancer = make()
    await balancer.start()
    sticky = replace(DOOR, split=Split("cookie", "uid"))
    with pytest.raises(BalancerError, match=r"leave out traffic\.split"):
        await balancer.arrange(Structure((sticky,), (BLUE,)))


# ---------------------------------------------------------------------------------------------------- health


async def test_health_is_the_amphora_s_where_it_checks_and_the_agent_s_where_it_does_not(
    cloud: FakeOpenstack, make: Make
) -> None:
    """An amphora checks the pools alone to which a listener sends requests."""
    balancer, fake = await begun(make(), BLUE, GREEN), cloud.octavia

    async def up() -> list[int]:
        return [each.servers_up for each in (await balancer.observe()).backends]

    fake.down = {BLUE.servers[0].address, GREEN.servers[0].address}
    assert await up() == [2, 3], "no amphora reports"
    fake.is_reporting = True
    assert await up() == [2, 3], "no listener sends requests to either"
    await balancer.route((TO_BLUE,))
    assert await up() == [1, 3], "of blue alone"
    await balancer.route((Route(SHOP, BLUE.group, GREEN.group, 2_500),))
    assert await up() == [1, 2], "both share"
    fake.down = set()
    assert await up() == [2, 3]


async def test_connections_are_counted_for_groups_that_have_left_only(
    cloud: FakeOpenstack, make: Make
) -> None:
    balancer, fake = await begun(make(), BLUE, GREEN, route=TO_BLUE), cloud.octavia
    (listener,) = fake.things["listener"]
    fake.connections[listener] = 7
    assert [each.in_flight for each in (await balancer.observe()).backends] == [0, 0]
    await balancer.route((TO_GREEN,))
    assert [each.in_flight for each in (await balancer.observe()).backends] == [7, 0]


async def test_a_probe_becomes_a_monitor_and_changes_with_it(cloud: FakeOpenstack, make: Make) -> None:
    balancer, fake = await begun(make(), BLUE), cloud.octavia
    (monitor,) = fake.things["healthmonitor"].values()
    assert (monitor["type"], monitor["url_path"], monitor["expected_codes"]) == ("HTTP", "/health", "200")
    slower = replace(BLUE, probe=replace(BLUE.probe, interval_seconds=4.5, path="/ready"))
    await balancer.arrange(Structure((DOOR,), (slower,)))
    (monitor,) = fake.things["healthmonitor"].values()
    assert (monitor["delay"], monitor["url_path"]) == (5, "/ready")
    assert (monitor["http_version"], monitor["domain_name"]) == (1.1, "localhost")
    named = replace(BLUE, probe=replace(BLUE.probe, host="shop.example.com"))
    await balancer.arrange(Structure((DOOR,), (named,)))
    (monitor,) = fake.things["healthmonitor"].values()
    assert monitor["domain_name"] == "shop.example.com"
    assert (await balancer.observe()).structure.backends == (named,)
    await balancer.arrange(Structure((DOOR,), (behind("shop-v001", 1, 2, probe="tcp"),)))
    (monitor,) = fake.things["healthmonitor"].values()
    assert monitor["type"] == "TCP"
    assert (await balancer.observe()).structure.backends == (behind("shop-v001", 1, 2, probe="tcp"),)


@pytest.mark.parametrize(
    "asks", [{"headers": (("X-Key", "1"),)}, {"host": "shop.example:8443"}, {"host": "10.0.0.1"}]
)
async def test_a_request_that_octavia_can_not_send_is_sent_by_the_agent_alone(
    cloud: FakeOpenstack, make: Make, asks: dict[str, Any]
) -> None:
    wanted = replace(BLUE, probe=replace(BLUE.probe, **asks))
    balancer, fake = await begun(make(), wanted), cloud.octavia
    (monitor,) = fake.things["healthmonitor"].values()
    assert monitor["type"] == "TCP"
    assert (await balancer.observe()).structure.backends == (wanted,)


# ----------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("answer", range(12))
async def test_an_answer_that_is_lost_is_seen_and_nothing_is_there_twice(
    cloud: FakeOpenstack, make: Make, answer: int
) -> None:
    fake, balancer = cloud.octavia, make()
    await balancer.start()
    before = fake.changes

    async def lose() -> None:
        while fake.changes - before < answer:  # noqa: ASYNC110
            await asyncio.sleep(0)
        fake.lost = 1

    losing = asyncio.create_task(lose())
    await balancer.arrange(Structure((DOOR,), (BLUE, GREEN)))
    await balancer.route((Route(SHOP, BLUE.group, GREEN.group, 500),))
    losing.cancel()
    assert sorted(each["name"] for each in fake.things["pool"].values()) == [
        "shop-shares", "shop-v001", "shop-v002"
    ]  # fmt: skip
    assert (len(fake.things["listener"]), len(fake.things["healthmonitor"])) == (1, 3)
    assert (await balancer.observe()).routes == (Route(SHOP, BLUE.group, GREEN.group, 500),)


async def test_a_change_waits_for_somebody_else_s_and_two_of_ours_wait_for_each_other(
    cloud: FakeOpenstack, make: Make
) -> None:
    balancer, fake = await begun(make(), BLUE, GREEN), cloud.octavia
    (load_balancer,) = fake.balancers.values()
    load_balancer["pending"] = fake.pending_for = 3
    await asyncio.gather(balancer.route((TO_BLUE,)), balancer.route((TO_GREEN,)))
    assert set(fake.takers(PORT)) == {server.host for server in GREEN.servers}


async def test_what_a_stranger_made_on_the_load_balancer_stays(cloud: FakeOpenstack, make: Make) -> None:
    fake = cloud.octavia
    (load_balancer,) = fake.balancers
    theirs = {
        "id": "theirs",
        "name": "shop-v001",
        "tags": [],
        "members": [],
        "loadbalancer_id": load_balancer,
    }
    fake.things["pool"]["theirs"] = {**theirs, "created_at": "2020"}
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    assert (await balancer.observe()).structure.backends == (BLUE,)
    await balancer.end()
    assert list(fake.things["pool"]) == ["theirs"]
    assert fake.balancers[load_balancer]["tags"] == []


async def test_a_port_that_a_stranger_has_is_told(cloud: FakeOpenstack, make: Make) -> None:
    fake, balancer = cloud.octavia, make()
    await balancer.start()
    fake.things["listener"]["theirs"] = {
        "id": "theirs", "name": "web", "tags": [], "port": PORT, "default_pool_id": None,
        "loadbalancer_id": next(iter(fake.balancers)), "created_at": "2020",
    }  # fmt: skip
    with pytest.raises(BalancerError, match="already using 8080"):
        await balancer.arrange(Structure((DOOR,), (BLUE,)))


async def test_a_stand_by_with_the_lease_takes_over_all_that_serves_and_the_former_agent_is_refused(
    cloud: FakeOpenstack, make: Make
) -> None:
    former = await begun(make("first"), BLUE, GREEN, route=TO_BLUE)
    before = cloud.octavia.takers(PORT)
    heir = make("second", has_lease=True)
    await heir.start()
    assert cloud.octavia.takers(PORT) == before, "clients notice nothing"
    view = await heir.observe()
    assert (view.structure.backends, view.routes) == ((BLUE, GREEN), (TO_BLUE,))
    with pytest.raises(BalancerError, match="belongs to another agent, here-"):
        await former.arrange(Structure((DOOR,), (BLUE,)))
    await heir.route((TO_GREEN,))
    back = make("first", has_lease=True)  # it has the region again, and files of what it wanted once
    await back.start()
    assert (await back.observe()).routes == (TO_GREEN,)


async def test_a_lease_takes_nothing_over_that_is_of_another_region(make: Make) -> None:
    await make("first", region="elsewhere").start()
    with pytest.raises(BalancerError, match="belongs to another agent, elsewhere-"):
        await make("second", has_lease=True).start()


async def test_two_agents_can_not_both_own_one_load_balancer(make: Make) -> None:
    await make("first").start()
    with pytest.raises(BalancerError, match=r"belongs to another agent, here-.*unset --tag repave-owner="):
        await make("second").start()


async def test_an_agent_that_is_driven_out_changes_nothing_any_more(cloud: FakeOpenstack, make: Make) -> None:
    balancer = await begun(make(), BLUE, GREEN, route=TO_BLUE)
    (load_balancer,) = cloud.octavia.balancers.values()
    load_balancer["tags"] = ["repave-owner=other"]
    with pytest.raises(BalancerError, match="another agent, other"):
        await balancer.route((TO_GREEN,))
    assert set(cloud.octavia.takers(PORT)) == {server.host for server in BLUE.servers}


async def test_an_agent_that_lost_its_disk_goes_on_with_what_is_there(
    cloud: FakeOpenstack, make: Make
) -> None:
    share = Route(SHOP, BLUE.group, GREEN.group, 2_500)
    await begun(make("first"), BLUE, GREEN, route=share)
    (load_balancer,) = cloud.octavia.balancers.values()
    load_balancer["tags"] = []  # a person says that the first one is gone
    before = cloud.octavia.changes
    heir = make("second")
    await heir.start()
    view = await heir.observe()
    assert view.routes == (share,)
    assert [each.group for each in view.structure.backends] == [BLUE.group, GREEN.group]
    assert cloud.octavia.changes - before == 1  # its mark


async def test_what_is_gone_is_made_again_and_counted(cloud: FakeOpenstack, make: Make) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    cloud.octavia.forget_all()
    view = await balancer.observe()
    assert (view.restarts, view.routes, view.structure.backends) == (1, (TO_BLUE,), (BLUE,))


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_load_balancer_that_was_deleted_and_made_anew_gets_everything_again(
    cloud: FakeOpenstack, make: Make, clock: QuickClock, is_whole: bool
) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    cloud.octavia.balancers.clear()
    cloud.octavia.forget_all()
    for why in ("front was deleted", "front: there is none"):
        clock.slept += WHOLE_SECONDS * is_whole
        with pytest.raises(BalancerError, match=why):
            await balancer.observe()
    with pytest.raises(BalancerError, match="front: there is none"):
        await balancer.troubles()
    made = cloud.octavia.add("front")
    view = await balancer.observe()
    assert (view.restarts, view.routes, view.structure.backends) == (1, (TO_BLUE,), (BLUE,))
    assert made["tags"] == [f"repave-owner={balancer._wanted.owner}"]


async def test_a_load_balancer_that_can_not_be_used_is_named_with_what_there_is(
    cloud: FakeOpenstack, make: Make
) -> None:
    cloud.octavia.add("twin")
    cloud.octavia.add("twin")
    with pytest.raises(BalancerError, match="moon: there is none; the project has: front, twin, twin"):
        await make(load_balancer="moon").start()
    with pytest.raises(BalancerError, match="2 are called so: name one by its id"):
        await make(load_balancer="twin").start()
    cloud.octavia.provider = "ovn"
    cloud.octavia.add("thin")
    with pytest.raises(BalancerError, match="make one of provider amphora"):
        await make(load_balancer="thin").start()


# --------------------------------------------------------------------------------------------------- timeouts


async def test_a_listener_is_as_patient_as_the_spec_says_and_as_its_most_patient_group(
    cloud: FakeOpenstack, make: Make
) -> None:
    def patience() -> tuple[int, int]:
        (listener,) = cloud.octavia.things["listener"].values()
        return listener["timeout_client_data"], listener["timeout_member_data"]

    balancer = await begun(make(), BLUE, GREEN, route=TO_BLUE)
    assert patience() == (60_000, 60_000)
    slow = replace(GREEN, timeouts=Timeouts(server_seconds=75.5))
    wanted = Structure((replace(DOOR, client_seconds=7 * 24 * 3600.0),), (BLUE, slow))
    await balancer.arrange(wanted)
    assert patience() == (604_800_000, 75_500)
    assert (await balancer.observe()).structure == wanted
    before = cloud.octavia.changes
    await balancer.arrange(wanted)
    await balancer.route((TO_GREEN,))
    assert cloud.octavia.changes == before + 1, "the switch is one change"
    (listener,) = cloud.octavia.things["listener"].values()
    listener["timeout_member_data"] = 1  # somebody else
    balancer = make()
    await balancer.start()
    assert patience() == (604_800_000, 75_500)
    await balancer.arrange(Structure((DOOR,), (GREEN,)))
    assert patience() == (60_000, 60_000)


async def test_timeouts_that_another_changed_are_seen(cloud: FakeOpenstack, make: Make) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    await balancer.observe()
    (listener,) = cloud.octavia.things["listener"].values()
    listener |= {"timeout_member_data": 1_000, "timeout_client_data": 2_000}
    balancer._reading = None
    seen = (await balancer.observe()).structure
    assert seen == Structure(
        (replace(DOOR, client_seconds=2.0),), (replace(BLUE, timeouts=Timeouts(server_seconds=1.0)),)
    )


# ----------------------------------------------------------------------------------------------------- shares


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 99))
def test_whole_percents_come_out_even_and_every_server_has_its_part(
    first: int, second: int, percent: int
) -> None:
    totals = shared(first, second, percent * 100)
    weights = [spread(total, servers) for total, servers in zip(totals, (first, second), strict=True)]
    assert [sum(each) for each in weights] == list(totals)
    assert all(0 <= weight <= WEIGHT_MAX for each in weights for weight in each)
    assert totals[1] * 100 == percent * sum(totals)


async def test_an_octavia_that_is_away_and_a_load_balancer_in_error_are_told_and_waited_for(
    cloud: FakeOpenstack, make: Make
) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    assert await balancer.troubles() == []
    cloud.down = {"load-balancer"}
    (told,) = await balancer.troubles()
    assert told.startswith("Octavia: load-balancer: GET ")
    with pytest.raises(BalancerAwaitedError, match="503"):
        await make().start()
    cloud.down = set()
    for each in cloud.octavia.balancers.values():
        each["provisioning_status"] = "ERROR"
    (told,) = await balancer.troubles()
    assert told == "Octavia: front has provisioning_status ERROR. Do: openstack loadbalancer failover front"


# ------------------------------------------------------------------------------------------------------- TLS

ONE, TWO, THREE = (f"https://barbican/v1/secrets/{name}" for name in ("one", "two", "three"))


def listener_of(cloud: FakeOpenstack) -> dict[str, Any]:
    (found,) = cloud.octavia.things["listener"].values()
    return found


async def test_a_listener_at_a_port_with_tls_ends_it_with_barbican_s_certificates(
    cloud: FakeOpenstack, make: Make
) -> None:
    cloud.octavia.certificates = {ONE, TWO, THREE}
    balancer = await begun(make(tls={PORT: Tls(ONE, (TWO, THREE))}), BLUE, route=TO_BLUE)
    found = listener_of(cloud)
    assert (found["protocol"], found["default_tls_container_ref"]) == ("TERMINATED_HTTPS", ONE)
    assert found["sni_container_refs"] == [TWO, THREE]
    assert found["insert_headers"] == {"X-Forwarded-For": "true", "X-Forwarded-Proto": "true"}
    assert {each["protocol"] for each in cloud.octavia.things["pool"].values()} == {"HTTP"}
    assert (await balancer.observe()).route(SHOP) == TO_BLUE


async def test_other_ports_stay_without_tls(cloud: FakeOpenstack, make: Make) -> None:
    cloud.octavia.certificates = {ONE}
    await begun(make(tls={443: Tls(ONE)}), BLUE, route=TO_BLUE)
    assert (listener_of(cloud)["protocol"], "default_tls_container_ref" in listener_of(cloud)) == (
        "HTTP",
        False,
    )


async def test_another_certificate_is_one_call_and_the_order_of_names_is_none(
    cloud: FakeOpenstack, make: Make
) -> None:
    cloud.octavia.certificates = {ONE, TWO, THREE}
    balancer = await begun(make(tls={PORT: Tls(ONE, (TWO, THREE))}), BLUE, route=TO_BLUE)
    await balancer.close()
    before, first = cloud.octavia.changes, listener_of(cloud)["id"]
    balancer = await begun(make(tls={PORT: Tls(ONE, (THREE, TWO))}), BLUE, route=TO_BLUE)
    assert cloud.octavia.changes == before
    await balancer.close()
    await begun(make(tls={PORT: Tls(TWO)}), BLUE, route=TO_BLUE)
    assert cloud.octavia.changes == before + 1
    assert listener_of(cloud)["id"] == first
    assert listener_of(cloud)["default_tls_container_ref"] == TWO
    assert listener_of(cloud)["sni_container_refs"] == []


@pytest.mark.parametrize("tls", [{PORT: Tls(ONE)}, NO_TLS])
async def test_a_listener_that_is_to_have_tls_or_no_more_is_made_anew(
    cloud: FakeOpenstack, make: Make, tls: Mapping[int, Tls]
) -> None:
    cloud.octavia.certificates = {ONE}
    former = NO_TLS if tls else {PORT: Tls(ONE)}
    balancer = await begun(make(tls=former), BLUE, GREEN, route=TO_BLUE)
    before = listener_of(cloud)["id"]
    await balancer.close()
    balancer = await begun(make(tls=tls), BLUE, GREEN, route=TO_BLUE)
    assert listener_of(cloud)["id"] != before
    assert listener_of(cloud)["protocol"] == ("TERMINATED_HTTPS" if tls else "HTTP")
    assert (await balancer.observe()).route(SHOP) == TO_BLUE


async def test_a_certificate_that_octavia_may_not_read_is_named_with_the_remedy(
    cloud: FakeOpenstack, make: Make
) -> None:
    balancer = make(tls={PORT: Tls(ONE)})
    await balancer.start()
    with pytest.raises(BalancerError, match=r"octavia\.default_tls_container_ref.*openstack acl user add"):
        await balancer.arrange(Structure((DOOR,), (BLUE,)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"default_tls_container_ref": "one"}, "write Barbican's reference"),
        ({"sni_container_refs": (ONE,)}, "needs octavia.default_tls_container_ref"),
        ({"tls_ports": "443 x"}, "valid integer"),
        ({"tls_ports": (0,)}, "greater than or equal to 1"),
    ],
)
def test_settings_of_tls_that_can_not_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OctaviaOptions(**options)


def test_ports_with_tls_may_be_words() -> None:
    assert OctaviaOptions.model_validate({"tls_ports": "443 8443"}).tls_ports == (443, 8443)
