"""The balancer aws_alb against an account that loses answers, refuses, and has other users."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.balancers.aws_alb.load_balancer import AlbLoadBalancer
from repave_agent.balancers.aws_alb.model import (
    ANY_STATUS,
    Check,
    check_of,
    hosts_text,
    shares_of,
    target_group_name,
)
from repave_agent.balancers.aws_alb.reading import _route as route_of
from repave_agent.balancers.cloud.balancer import VIEW_SECONDS, WHOLE_SECONDS, CloudBalancer
from repave_agent.core.ports import (
    Backend,
    BalancerError,
    Frontend,
    OutOfCapacityError,
    RefusedError,
    Route,
    Server,
    Structure,
    UnfitError,
)
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, GroupName, HostName, Probe, Split
from tests.fakes.clock import QuickClock
from tests.fakes.clouds.elbv2 import FakeElb
from tests.support.paths import ROOT

SHOP, PORT = ApplicationName("shop"), 8080
DOOR = Frontend(SHOP, PORT)


def behind(group: str, *numbers: int, is_enabled: bool = True) -> Backend:
    servers = tuple(Server(HostName(f"{group}-{n}"), f"10.0.0.{n}", 8080, is_enabled) for n in numbers)
    return Backend(GroupName(group), servers, Probe("http", 8080, "/health"))


BLUE, GREEN = behind("shop-v001", 1, 2), behind("shop-v002", 11, 12, 13)
TO_BLUE, TO_GREEN = Route(SHOP, BLUE.group), Route(SHOP, GREEN.group)
Alb = CloudBalancer[Any, Any]
Make = Callable[..., Alb]


@pytest.fixture
def account() -> FakeElb:
    made = FakeElb()
    made.add("front")
    return made


@pytest.fixture
def clock() -> QuickClock:
    """Each reading finds the last view too old."""
    return QuickClock(step=VIEW_SECONDS)


@pytest.fixture
def make(account: FakeElb, clock: QuickClock, tmp_path: Path) -> Make:
    def made(
        directory: str = "agent",
        named: str = "front",
        region: str = "here",
        listeners: tuple[str, ...] = (),
        *,
        has_lease: bool = False,
    ) -> Alb:
        there = AlbLoadBalancer(account.client(), named, region, listeners, clock=clock)
        return CloudBalancer(tmp_path / directory, there, region, clock=clock, has_lease=lambda: has_lease)

    return made


async def begun(balancer: Alb, *backends: Backend, route: Route | None = None) -> Alb:
    await balancer.start()
    await balancer.arrange(Structure((DOOR,), backends))
    if route is not None:
        await balancer.route((route,))
    return balancer


# --------------------------------------------------------------------------------------------------- traffic


async def test_a_switch_and_a_new_share_are_one_change_each_and_read_back(
    account: FakeElb, make: Make
) -> None:
    balancer = await begun(make(), BLUE, GREEN, route=TO_BLUE)
    for route in (TO_GREEN, Route(SHOP, BLUE.group, GREEN.group, 500), TO_BLUE):
        before, read = list(account.changes), account.calls["describe_rules"]
        await balancer.route((route,))
        assert account.changes[len(before) :] == ["modify_listener"]
        assert account.calls["describe_rules"] > read, "it is not read back"


async def test_what_a_look_and_a_switch_cost(account: FakeElb, make: Make) -> None:
    balancer = await begun(make(), BLUE, GREEN, route=TO_BLUE)
    await balancer.observe()
    costs = []
    for work in (balancer.observe, lambda: balancer.route((TO_GREEN,))):
        before = sum(account.calls.values())
        await work()
        costs.append(sum(account.calls.values()) - before)
    assert costs == [4, 10], "listeners, rules and the health of each group; the change, and all again"


async def test_a_group_s_health_is_seen_before_it_has_traffic_and_before_the_first_route(
    account: FakeElb, make: Make
) -> None:
    balancer = await begun(make(), BLUE)
    view = await balancer.observe()
    assert ([each.servers_up for each in view.backends], view.routes) == ([2], ())
    assert account.ask(PORT, {}) == "", "no request reaches what has no route"
    account.down = {"10.0.0.1"}
    assert [each.servers_up for each in (await balancer.observe()).backends] == [1]
    await balancer.route((TO_BLUE,))
    await balancer.arrange(Structure((DOOR,), (BLUE, GREEN)))
    assert [each.servers_up for each in (await balancer.observe()).backends] == [1, 3]
    assert account.weights(PORT) == {BLUE.group: 1}


async def test_at_no_time_is_there_nobody_to_serve(account: FakeElb, make: Make) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    before = len(account.served)
    await balancer.arrange(Structure((DOOR,), (BLUE, GREEN)))
    for share_bp in (10, 5_000, 9_990, 0):
        await balancer.route((Route(SHOP, BLUE.group, GREEN.group, share_bp),))
    await balancer.route((TO_GREEN,))
    await balancer.arrange(Structure((DOOR,), (GREEN,)))
    assert all(each[PORT] for each in account.served[before:])
    assert [account.named(arn) for arn in account.groups] == [GREEN.group]


@given(st.integers(0, FULL_WEIGHT_BP))
def test_a_share_is_exact_to_ten_basis_points_and_none_is_lost_by_rounding(share_bp: int) -> None:
    route = Route(SHOP, BLUE.group, GREEN.group, share_bp)
    shares = shares_of(route)
    (_, first), (_, second) = shares
    assert min(first, second) >= 0
    assert max(first, second) <= 999
    assert (first > 0, second > 0) == (share_bp < FULL_WEIGHT_BP, share_bp > 0)
    got_bp = second * FULL_WEIGHT_BP / (first + second)
    assert abs(got_bp - share_bp) <= (0 if share_bp % 10 == 0 else 10)
    if share_bp % 10 == 0 and 0 < share_bp < FULL_WEIGHT_BP:
        assert route_of(SHOP, shares) == route


async def test_at_most_five_groups_are_named_by_one_action(account: FakeElb, make: Make) -> None:
    groups = [behind(f"shop-v{number:03}", number) for number in range(1, 9)]
    balancer = await begun(make(), *groups, route=Route(SHOP, groups[0].group))
    ups = {each.group: each.servers_up for each in (await balancer.observe()).backends}
    assert [ups[each.group] for each in groups] == [1, 0, 0, 1, 1, 1, 1, 1], (
        "the one with traffic, the newest"
    )
    await balancer.arrange(Structure((DOOR,), (groups[0], groups[2])))
    assert len(account.groups) == 2


async def test_a_server_that_is_not_enabled_is_deregistered_and_keeps_its_place(
    account: FakeElb, make: Make
) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    half = replace(BLUE, servers=(replace(BLUE.servers[0], is_enabled=False), BLUE.servers[1]))
    await balancer.arrange(Structure((DOOR,), (half,)))
    ((_, targets),) = account.targets.items()
    assert list(targets) == [("10.0.0.2", 8080)]
    assert (await balancer.observe()).structure.backends == (half,)
    (attributes,) = account.attributes.values()
    assert attributes == {"deregistration_delay.timeout_seconds": "60"}


@pytest.mark.parametrize(
    ("mark", "asked", "is_tester"),
    [
        (("header", "X-Tester", "yes"), {"x-tester": "Yes"}, True),
        (("header", "X-Tester", "yes"), {"X-Tester": "yes!"}, False),
        (("cookie", "uid", "7"), {"Cookie": "uid=7"}, True),
        (("cookie", "uid", "7"), {"Cookie": "a=1; uid=7; b=2"}, True),
        (("cookie", "uid", "7"), {"Cookie": "uid=7; b=2"}, True),
        (("cookie", "uid", "7"), {"Cookie": "a=1; uid=7"}, True),
        (("cookie", "uid", "7"), {"Cookie": "uid=77"}, False),
        (("cookie", "uid", "7"), {"Cookie": "xuid=7"}, False),
    ],
)
async def test_testers_are_those_with_the_mark_and_no_others(
    account: FakeElb,
    make: Make,
    mark: tuple[Any, str, str],
    asked: dict[str, str],
    is_tester: bool,
) -> None:
    split = Split("request", "", *mark)
    balancer = make()
    await balancer.start()
    await balancer.arrange(Structure((replace(DOOR, split=split),), (BLUE, GREEN)))
    route = replace(TO_BLUE, testers=GREEN.group)
    await balancer.route((route,))
    assert account.ask(PORT, asked) == (GREEN.group if is_tester else BLUE.group)
    assert (await balancer.observe()).routes == (route,)
    again = make("lost its disk")
    for tags in account.tags.values():
        tags.pop("repave-owner") if "/" not in tags.get("repave-owner", "/") else None
    await again.start()
    view = await again.observe()
    assert (view.structure.frontends[0].split, view.routes) == (split, (route,))


@pytest.mark.parametrize(
    ("split", "why"),
    [
        (Split("cookie", "uid"), r"shop: an ALB can't split by cookie: leave out traffic\.split"),
        (Split("request", "", "header", "X" * 41, "yes"), "at most 40 characters of a mark's name"),
        (Split("request", "", "cookie", "uid", "x" * 81), "and 80 of its value: give testers a shorter one"),
    ],
)
async def test_what_it_can_not_tell_apart_is_refused_and_said_beforehand(
    make: Make, split: Split, why: str
) -> None:
    balancer, door = make(), replace(DOOR, split=split)
    await balancer.start()
    with pytest.raises(UnfitError, match=why):
        await balancer.arrange(Structure((door,), (BLUE,)))
    assert why.rpartition(" ")[2].replace("\\", "") in (await balancer.way_in(door)).lack


async def test_a_group_that_has_lost_its_health_is_given_none_and_gets_it_back(
    account: FakeElb, make: Make
) -> None:
    """An ALB goes on sending to hosts of which none is healthy."""
    route = Route(SHOP, BLUE.group, GREEN.group, 500, spare=BLUE.group)
    balancer = await begun(make(), BLUE, GREEN, route=route)
    account.down = {server.address for server in GREEN.servers}
    view = await balancer.observe()
    assert (account.weights(PORT), view.routes) == ({BLUE.group: 1}, (route,))
    account.down = set()
    view = await balancer.observe()
    assert (account.weights(PORT), view.routes) == ({BLUE.group: 950, GREEN.group: 50}, (route,))


async def test_a_group_that_leaves_counts_as_busy_for_as_long_as_its_hosts_may_answer(
    make: Make, clock: QuickClock
) -> None:
    balancer = await begun(make(), BLUE, GREEN, route=TO_BLUE)
    assert [each.in_flight for each in (await balancer.observe()).backends] == [0, 0]
    await balancer.route((TO_GREEN,))
    assert [each.in_flight for each in (await balancer.observe()).backends] == [1, 0]
    clock.slept += BLUE.timeouts.server_seconds
    assert [each.in_flight for each in (await balancer.observe()).backends] == [0, 0]


# ---------------------------------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("probe", "check"),
    [
        (Probe("http", 80, "/up", 204), Check(80, "/up", "204", 5, 2, 2, 2)),
        (
            Probe("http", 80, "/up", 200, (), 4.5, 1.5, healthy_after=1, unhealthy_after=3),
            Check(80, "/up", "200", 5, 2, 2, 3),
        ),
        (
            Probe("http", 80, "/up", 200, (), 900, 600, healthy_after=50, unhealthy_after=50),
            Check(80, "/up", "200", 300, 120, 10, 10),
        ),
        (Probe("http", 80, "/up", 200, (), 6, 30), Check(80, "/up", "200", 6, 5, 2, 2)),
        (Probe("http", 80, "/up", 200, host="shop.example"), Check(80, "/up", ANY_STATUS, 5, 2, 2, 2)),
        (Probe("http", 80, "/up", 200, headers=(("X", "1"),)), Check(80, "/up", ANY_STATUS, 5, 2, 2, 2)),
        (Probe("tcp", 80), Check(80, "/", ANY_STATUS, 5, 2, 2, 2)),
        (Probe("command", 80, command=("true",)), Check(80, "/", ANY_STATUS, 5, 2, 2, 2)),
    ],
)
async def test_a_probe_becomes_the_check_that_is_nearest_to_it(
    make: Make, probe: Probe, check: Check
) -> None:
    found = check_of(probe)
    assert replace(found, healthy_after=check.healthy_after, unhealthy_after=check.unhealthy_after) == check
    wanted = replace(BLUE, probe=probe)
    balancer = await begun(make(), BLUE)
    await balancer.arrange(Structure((DOOR,), (wanted,)))
    assert (await balancer.observe()).structure.backends == (wanted,)


@pytest.mark.parametrize("status", [101, 500, 503])
async def test_an_answer_that_aws_never_takes_as_healthy_is_refused_and_named(
    make: Make, status: int
) -> None:
    balancer = make()
    await balancer.start()
    odd = replace(GREEN, probe=replace(GREEN.probe, expect_status=status))
    with pytest.raises(UnfitError) as refused:
        await balancer.arrange(Structure((DOOR,), (BLUE, odd)))
    assert list(refused.value.backends) == [GREEN.group]
    assert f"never {status}: give health.http.expect_status" in refused.value.backends[GREEN.group]
    assert [each.group for each in (await balancer.observe()).structure.backends] == [BLUE.group]


# ----------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("by", ["lost", "repeated"])
@pytest.mark.parametrize("answer", range(11))
async def test_an_answer_that_is_lost_is_seen_and_nothing_is_there_twice(
    account: FakeElb, make: Make, answer: int, by: str
) -> None:
    balancer = make()
    await balancer.start()
    client, made = balancer._there._elbv2, 0  # type: ignore[attr-defined]  # the ALB's
    call = client.call

    async def losing(name: str, **wanted: Any) -> Any:
        nonlocal made
        if not name.startswith("describe_"):
            setattr(account, by, int(made == answer))
            made += 1
        return await call(name, **wanted)

    client.call = losing
    share = Route(SHOP, BLUE.group, GREEN.group, 500)
    await balancer.arrange(Structure((DOOR,), (BLUE, GREEN)))
    await balancer.route((share,))
    view = await balancer.observe()
    assert (view.structure, view.routes) == (Structure((DOOR,), (BLUE, GREEN)), (share,))
    assert (len(account.groups), len(account.listeners), len(account.rules)) == (2, 1, 1)


async def test_what_strangers_made_stays_and_what_is_ours_goes(account: FakeElb, make: Make) -> None:
    (front,) = account.balancers
    strange = account.add_listener(front, 9_000)
    account.create_target_group(Name="rp-12345678-shop-v009", Tags=[{"Key": "team", "Value": "x"}])
    balancer = await begun(make(), BLUE, GREEN, route=replace(TO_BLUE, second=GREEN.group, second_bp=10))
    assert [each.group for each in (await balancer.observe()).structure.backends] == [BLUE.group, GREEN.group]
    await balancer.end()
    assert list(account.listeners) == [strange]
    assert [each["TargetGroupName"] for each in account.groups.values()] == ["rp-12345678-shop-v009"]
    assert account.rules == {}
    assert account.tags[front] == {}


async def test_what_a_stranger_has_in_the_way_is_named_and_holds_up_no_others(
    account: FakeElb, make: Make
) -> None:
    (front,) = account.balancers
    tls = account.add_listener(front, PORT)
    condition = {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/x"]}}
    account.create_rule(ListenerArn=tls, Priority=40_002, Conditions=[condition], Actions=[])
    name = target_group_name(front, GREEN.group)
    account.create_target_group(Name=name)
    balancer = make(listeners=(tls,))
    await balancer.start()
    with pytest.raises(UnfitError) as refused:
        await balancer.arrange(Structure((DOOR,), (BLUE, GREEN, behind("blog-v001", 7))))
    assert refused.value.frontends == {
        "shop": "shop: priority 40002 is that of a rule which is not repave's: give that one another"
    }
    assert refused.value.backends == {
        GREEN.group: f"{GREEN.group}: there is a target group {name} which is not repave's: delete that one"
    }
    assert sorted(map(account.named, account.groups)) == ["?", "blog-v001", BLUE.group]


async def test_a_listener_of_the_operator_s_gets_rules_and_keeps_its_own(
    account: FakeElb, make: Make
) -> None:
    (front,) = account.balancers
    tls = account.add_listener(front, PORT)
    with pytest.raises(UnfitError, match=r"port 8080 .*name that one in aws_alb\.listeners, or give"):
        await begun(make("first"), BLUE)
    account.forget_all()
    account.tags[front].clear()
    tls = account.add_listener(front, PORT)
    default = account.listeners[tls]["DefaultActions"]
    balancer = make("second", listeners=(tls,))
    assert (await balancer.way_in(DOOR)).lack == ""
    split = Split("request", "", "header", "X-Tester", "yes")
    await balancer.start()
    await balancer.arrange(Structure((replace(DOOR, split=split),), (BLUE, GREEN)))
    await balancer.route((Route(SHOP, BLUE.group, GREEN.group, 500, testers=GREEN.group),))
    assert account.weights(PORT) == {BLUE.group: 950, GREEN.group: 50}
    assert account.ask(PORT, {"X-Tester": "yes"}) == GREEN.group
    assert account.listeners[tls]["DefaultActions"] == default
    await balancer.end()
    assert (account.rules, list(account.listeners), account.groups) == ({}, [tls], {})


async def test_what_another_changed_is_set_right(account: FakeElb, make: Make, clock: QuickClock) -> None:
    balancer = await begun(make(), BLUE, GREEN, route=TO_BLUE)
    await balancer.observe()
    (listener,) = account.listeners
    account.modify_listener(
        listener, [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
    )
    assert (await balancer.observe()).routes == ()
    await balancer.route((TO_BLUE,))
    assert account.weights(PORT) == {BLUE.group: 1}
    await balancer.observe()
    (group, *_) = account.targets
    account.targets[group].clear()
    clock.slept += WHOLE_SECONDS
    seen = (await balancer.observe()).structure
    assert seen.backends[0].servers == tuple(replace(each, is_enabled=False) for each in BLUE.servers)
    await balancer.arrange(Structure((DOOR,), (BLUE, GREEN)))
    assert len(account.targets[group]) == 2


async def test_a_group_with_more_hosts_than_tags_can_name_is_read_back_whole(make: Make) -> None:
    servers = tuple(
        Server(HostName(f"other-name-{n}"), f"10.0.{n // 250}.{n % 250}", 8080, n % 3 > 0) for n in range(600)
    )
    balancer = await begun(make(), replace(BLUE, servers=servers))
    assert (await balancer.observe()).structure.backends[0].servers == servers


async def test_an_agent_that_lost_its_disk_goes_on_with_what_is_there(account: FakeElb, make: Make) -> None:
    waiting = behind("shop-v002", *range(20, 60), is_enabled=False)
    share = Route(SHOP, BLUE.group, waiting.group, 2_500)
    await begun(make("first"), BLUE, waiting, route=share)
    (front,) = account.balancers
    account.tags[front].clear()  # a person says that the first one is gone
    before = len(account.changes)
    heir = make("second")
    await heir.start()
    view = await heir.observe()
    assert [each.servers for each in view.structure.backends] == [BLUE.servers, waiting.servers]
    assert view.routes == (share,)
    assert account.changes[before:] == ["add_tags"], "its mark"


async def test_a_stand_by_with_the_lease_takes_over_and_the_former_agent_is_refused(
    account: FakeElb, make: Make
) -> None:
    former = await begun(make("first"), BLUE, GREEN, route=TO_BLUE)
    with pytest.raises(BalancerError, match=r"belongs to another agent, here-.*aws elbv2 remove-tags --res"):
        await make("second").start()
    heir = make("second", has_lease=True)
    await heir.start()
    assert (await heir.observe()).routes == (TO_BLUE,)
    with pytest.raises(BalancerError, match="belongs to another agent, here-"):
        await former.arrange(Structure((DOOR,), (BLUE,)))
    with pytest.raises(BalancerError, match="belongs to another agent, here-"):
        await make("third", region="elsewhere", has_lease=True).start()


async def test_what_is_gone_is_made_again_and_counted(account: FakeElb, make: Make) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    account.forget_all()
    view = await balancer.observe()
    assert (view.restarts, view.routes, view.structure.backends) == (1, (TO_BLUE,), (BLUE,))
    (front,) = account.balancers
    account.balancers.clear()
    account.forget_all()
    for why in ("front was deleted", "front: there is none; the account has: none"):
        with pytest.raises(BalancerError, match=why):
            await balancer.observe()
    assert account.add("front") != front
    view = await balancer.observe()
    assert (view.restarts, view.routes, view.structure.backends) == (2, (TO_BLUE,), (BLUE,))


async def test_a_quota_is_the_application_s_trouble_and_others_go_on(account: FakeElb, make: Make) -> None:
    balancer = await begun(make(), BLUE, route=TO_BLUE)
    account.refused = {"create_listener": OutOfCapacityError("AWS: TooManyListeners: no more than 50")}
    blog = Frontend(ApplicationName("blog"), 81)
    with pytest.raises(UnfitError) as refused:
        await balancer.arrange(Structure((DOOR, blog), (BLUE, GREEN, behind("blog-v001", 7))))
    assert refused.value.frontends == {"blog": "blog: AWS: TooManyListeners: no more than 50"}
    assert [each.servers_up for each in (await balancer.observe()).backends] == [2, 3, 0]


async def test_a_load_balancer_that_can_not_be_used_is_named(account: FakeElb, make: Make) -> None:
    account.add("thin", "network")
    with pytest.raises(BalancerError, match=r"aws_alb\.load_balancer: moon: there is none; .* front, thin"):
        await make(named="moon").start()
    with pytest.raises(BalancerError, match=r"thin is of type network, .*make one of type application"):
        await make(named="thin").start()
    with pytest.raises(BalancerError, match=r"aws_alb\.load_balancer is not set"):
        await make(named="").start()
    (front, _) = account.balancers
    balancer = make(named=front)
    await balancer.start()
    assert (balancer.traffic_address, await balancer.troubles()) == ("front.elb.example.com", [])
    account.balancers[front]["State"] = {"Code": "failed", "Reason": "no addresses"}
    assert await balancer.troubles() == [f"AWS: {front} is failed: no addresses"]
    account.tags[front].clear()
    account.refused = {"add_tags": RefusedError("AWS: AccessDenied")}
    with pytest.raises(BalancerError, match="AccessDenied"):
        await make("other", named=front).start()


# ------------------------------------------------------------------------------------------------------ names


@given(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,120}-v[0-9]{3,6}", fullmatch=True), st.sampled_from(["a", "b"]))
def test_a_name_is_one_that_aws_takes_and_of_one_load_balancer_only(group: str, load_balancer: str) -> None:
    name = target_group_name(load_balancer, GroupName(group))
    assert len(name) <= 32
    assert name.replace("-", "a").isalnum()
    assert not name.endswith("-")
    assert name != target_group_name(f"{load_balancer}c", GroupName(group))
    assert name != target_group_name(load_balancer, GroupName(f"x{group}"))


def test_hosts_are_written_in_tags_that_aws_takes() -> None:
    servers = [
        Server(HostName(f"shop-v001-{n:06}"), f"172.31.{n // 250}.{n % 250}", 8080) for n in range(400)
    ]
    texts = hosts_text(GroupName("shop-v001"), tuple(servers), 8080)
    assert len(texts) <= 40
    assert max(map(len, texts)) <= 256
    assert len(" ".join(texts).split()) == 400


# ----------------------------------------------------------------------------------------------------- rights


async def test_the_policy_allows_the_calls_that_are_made_and_no_others(account: FakeElb, make: Make) -> None:
    split = Split("request", "", "header", "X-Tester", "yes")
    many = behind("shop-v002", *range(1, 60))
    slow = replace(many, probe=replace(BLUE.probe, path="/slow"))
    (front,) = account.balancers
    for listeners in ((account.add_listener(front, PORT),), ()):
        balancer = make(f"agent{len(listeners)}", listeners=listeners)
        await balancer.start()
        for green in (slow, GREEN):
            await balancer.arrange(Structure((replace(DOOR, split=split),), (BLUE, green)))
        await balancer.route((Route(SHOP, BLUE.group, GREEN.group, 500, testers=GREEN.group),))
        await balancer.troubles()
        await balancer.end()
        account.forget_all()
    policy = json.loads((ROOT / "deploy" / "aws" / "policy.json").read_text())
    actions = [each["Action"] for each in policy["Statement"]]
    allowed = {each for of in actions for each in ([of] if isinstance(of, str) else of)}
    service = "elasticloadbalancing:"
    called = {service + "".join(word.capitalize() for word in name.split("_")) for name in account.calls}
    assert called == {each for each in allowed if each.startswith(service)}
