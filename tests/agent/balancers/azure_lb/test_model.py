"""A Standard Load Balancer of Azure, as pure values: from any state call after call leads to what is wanted,
a switch is one of them, and what others have there stays as it was."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_agent.balancers.azure_lb.model import (
    OURS,
    POOLS,
    PROBES,
    RULES,
    Call,
    Place,
    State,
    check_of,
    lack_of_backend,
    lack_of_port,
    lack_of_route,
    next_call,
    state_after,
    wanted_state,
)
from repave_agent.balancers.azure_lb.reading import (
    frontend_in,
    routes_in,
    state_of,
    structure_in,
    up_in,
    wrong_in,
)
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe

ID = "/subscriptions/s/resourceGroups/repave/providers/Microsoft.Network/loadBalancers/front"
FRONTEND = f"{ID}/frontendIPConfigurations/inside"
PLACE = Place(
    ID, FRONTEND, "/subscriptions/s/resourceGroups/repave/providers/Microsoft.Network/virtualNetworks/v"
)
SHOP, BLOG = ApplicationName("shop"), ApplicationName("blog")
BLUE, GREEN, OTHER = GroupName("shop-v001"), GroupName("shop-v002"), GroupName("blog-v001")
CALLS_MAX = 30
STRANGERS = {
    POOLS: {
        "name": "mail",
        "properties": {"loadBalancerBackendAddresses": [{"name": "m", "properties": {}}]},
    },
    PROBES: {"name": "mail", "properties": {"protocol": "Tcp", "port": 25, "intervalInSeconds": 15}},
    RULES: {
        "name": "mail",
        "properties": {
            "protocol": "Tcp",
            "frontendPort": 25,
            "frontendIPConfiguration": {"id": FRONTEND},
            "backendAddressPool": {"id": f"{ID}/{POOLS}/mail"},
            "whatAzureBringsNextYear": [{"a": 1}],
        },
    },
}


def front() -> dict[str, Any]:
    """A load balancer of somebody who has mail on it."""
    properties = {collection: [copy.deepcopy(child)] for collection, child in STRANGERS.items()}
    inside = {"id": FRONTEND, "name": "inside", "properties": {"privateIPAddress": "10.1.0.4"}}
    body = {"id": ID, "location": "westeurope", "tags": {"team": "mail"}, "sku": {"name": "Standard"}}
    return _settled({**body, "properties": {**properties, "frontendIPConfigurations": [inside]}})


def done(body: dict[str, Any], call: Call) -> dict[str, Any]:
    """What is there once Azure has done that; it refuses what points to nothing."""
    collection, _, name = call.path.removeprefix(f"{ID}/").partition("/")
    body = copy.deepcopy(body)
    if call.path == ID:
        assert call.method == "PUT"
        assert call.etag == body["etag"], "it was decided by something else"
        kept = {each["name"]: each["properties"] for each in body["properties"][POOLS]}
        body = {"id": ID, **copy.deepcopy(call.body or {})}
        for pool in body["properties"][POOLS]:
            assert pool["properties"].get("loadBalancerBackendAddresses") == kept[pool["name"]].get(
                "loadBalancerBackendAddresses"
            )
    else:
        others = [each for each in body["properties"][collection] if each["name"] != name]
        made = [{"name": name, **(call.body or {})}] if call.method == "PUT" else []
        body["properties"][collection] = [*others, *made]
    body = _settled(body)
    there = {each["id"] for children in body["properties"].values() for each in children}
    for rule in body["properties"][RULES]:
        for reference in ("backendAddressPool", "probe"):
            named = rule["properties"].get(reference)
            assert named is None or named["id"] in there, f"{rule['name']} points to nothing"
    ports = [
        (each["properties"]["protocol"], each["properties"]["frontendPort"])
        for each in body["properties"][RULES]
    ]
    assert len(set(ports)) == len(ports), "two rules have one port"
    return body


def _settled(body: dict[str, Any]) -> dict[str, Any]:
    """With all that Azure adds of its own accord."""
    etag = f'W/"{hash(repr(body))}"'
    for collection, children in body["properties"].items():
        for child in children:
            child.update(id=f"{ID}/{collection}/{child['name']}", etag=etag, type="t")
            child["properties"] = {**child["properties"], "provisioningState": "Succeeded"}
            if collection != RULES:
                child["properties"][RULES] = []
    return {**body, "etag": etag, "name": "front"}


def reached(
    body: dict[str, Any], wanted: State, without: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[Call]]:
    """After call by call."""
    calls: list[Call] = []
    while call := next_call(state_of(body, PLACE), wanted, PLACE, without):
        calls.append(call)
        body = done(body, call)
        assert len(calls) < CALLS_MAX, "it does not come to an end"
    return body, calls


def backend(group: GroupName, *hosts: int, port: int = 8080, **probe: Any) -> Backend:
    """Hosts with an even number are enabled."""
    servers = (Server(HostName(f"{group}-{each}"), f"10.1.0.{each}", port, each % 2 == 0) for each in hosts)
    return Backend(group, tuple(servers), Probe("http", port, **{"path": "/health", **probe}))


def strangers_of(body: dict[str, Any]) -> dict[str, Any]:
    """What is not ours, without what Azure writes itself."""
    found = {}
    for collection, children in body["properties"].items():
        mine = [each for each in children if not each["name"].startswith(OURS)]
        for child in mine:
            hidden = ("provisioningState", RULES)
            shown = {key: value for key, value in child["properties"].items() if key not in hidden}
            found[f"{collection}/{child['name']}"] = shown
    return found | {"tags": body["tags"], "sku": body["sku"], "location": body["location"]}


backends = st.builds(
    backend,
    st.sampled_from([BLUE, GREEN, OTHER]),
    st.integers(2, 9),
    st.integers(10, 19),
    port=st.sampled_from([8080, 9090]),
    path=st.sampled_from(["/health", "/up"]),
    unhealthy_after=st.integers(1, 3),
)


@st.composite
def wishes(draw: st.DrawFn) -> tuple[Structure, tuple[Route, ...]]:
    groups = draw(st.lists(backends, unique_by=lambda each: each.group, max_size=3))
    fronts = [
        Frontend(name, draw(st.sampled_from(ports))) for name, ports in ((SHOP, (80, 81)), (BLOG, (90, 91)))
    ]
    chosen = tuple(draw(st.lists(st.sampled_from(fronts), unique=True)))
    routes = []
    for each in chosen:
        own = [one.group for one in groups if one.group.startswith(each.application)]
        has_traffic = draw(st.booleans())
        if own and has_traffic:
            routes.append(Route(each.application, draw(st.sampled_from(own))))
    return Structure(chosen, tuple(groups)), tuple(routes)


@given(st.lists(wishes(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_from_any_state_it_comes_to_what_is_wanted_and_leaves_others_alone(
    wanted: list[tuple[Structure, tuple[Route, ...]]],
) -> None:
    body = front()
    before = strangers_of(body)
    for structure, routes in wanted:
        target = wanted_state(structure, routes, 4)
        body, _ = reached(body, target)
        state = state_of(body, PLACE)
        assert state == target
        assert strangers_of(body) == before
        assert structure_in(state, structure) == structure
        assert set(routes_in(state, routes)) == set(routes)
    body, _ = reached(body, wanted_state(Structure(), (), 4))
    assert state_of(body, PLACE) == State()
    assert {each["name"] for children in body["properties"].values() for each in children} == {
        "mail",
        "inside",
    }


TWO = Structure(
    (Frontend(SHOP, 80), Frontend(BLOG, 90)), (backend(BLUE, 2, 4), backend(GREEN, 6, 8, port=9090))
)


@pytest.mark.parametrize("is_hurried", [False, True])
def test_a_switch_and_the_way_back_are_one_call_each(is_hurried: bool) -> None:
    body, _ = reached(front(), wanted_state(TWO, (Route(SHOP, BLUE),), 4))
    for group in (GREEN, BLUE):
        target = wanted_state(TWO, (Route(SHOP, group),), 4)
        present = state_of(body, PLACE)
        call = next_call(present, target, PLACE, is_hurried=is_hurried)
        assert call is not None
        assert (call.method, call.path, call.part, call.group) == ("PUT", ID, SHOP, group)
        after = state_after(present, target, call)
        assert after is not None
        assert next_call(after, target, PLACE, is_hurried=True) is None
        body = done(body, call)
        assert state_of(body, PLACE) == target


def test_a_group_is_asked_after_before_it_has_traffic_and_as_long_as_it_is_there() -> None:
    body, _ = reached(front(), wanted_state(TWO, (Route(SHOP, BLUE),), 4))
    rules = {each["name"]: each["properties"] for each in body["properties"][RULES]}
    for group in (BLUE, GREEN):
        probing = rules[f"repave_{group}_probe"]
        assert probing["protocol"] == "Udp", "no client of the application comes in there"
        assert probing["probe"]["id"] == f"{ID}/{PROBES}/repave_{group}"
        assert probing["backendAddressPool"]["id"] == f"{ID}/{POOLS}/repave_{group}"
    assert rules["repave_shop"]["probe"] == rules[f"repave_{BLUE}_probe"]["probe"]


def test_a_server_that_is_not_enabled_gets_no_new_connections_and_keeps_those_it_has() -> None:
    drained = Structure((Frontend(SHOP, 80),), (backend(BLUE, 2, 3),))
    body, _ = reached(front(), wanted_state(drained, (Route(SHOP, BLUE),), 4))
    (pool,) = [each for each in body["properties"][POOLS] if each["name"] == f"repave_{BLUE}"]
    states = {
        each["name"]: each["properties"]["adminState"]
        for each in pool["properties"]["loadBalancerBackendAddresses"]
    }
    assert states == {f"{BLUE}-2_8080": "None", f"{BLUE}-3_8080": "Down"}


def test_what_an_operator_has_set_on_a_rule_of_ours_stays_at_a_switch() -> None:
    body, _ = reached(front(), wanted_state(TWO, (Route(SHOP, BLUE),), 4))
    (rule,) = [each for each in body["properties"][RULES] if each["name"] == "repave_shop"]
    rule["properties"]["loadDistribution"] = "SourceIP"
    body, _ = reached(body, wanted_state(TWO, (Route(SHOP, GREEN),), 4))
    (rule,) = [each for each in body["properties"][RULES] if each["name"] == "repave_shop"]
    assert rule["properties"]["loadDistribution"] == "SourceIP"
    assert rule["properties"]["backendPort"] == 9090


def test_a_part_that_is_refused_holds_up_no_other() -> None:
    target = wanted_state(TWO, (Route(SHOP, BLUE),), 4)
    body, calls = reached(front(), target, without=(GREEN,))
    assert GREEN not in {call.part for call in calls}
    state = state_of(body, PLACE)
    assert (set(state.pools), set(state.rules)) == ({BLUE}, {SHOP, BLOG})


def test_a_change_that_has_failed_is_made_again() -> None:
    target = wanted_state(TWO, (Route(SHOP, BLUE),), 4)
    body, _ = reached(front(), target)
    body["properties"] = {**body["properties"], "provisioningState": "Failed"}
    call = next_call(state_of(body, PLACE), target, PLACE)
    assert call is not None
    assert (call.method, call.path, "provisioningState" in (call.body or {})["properties"]) == (
        "PUT",
        ID,
        False,
    )


def test_names_may_come_back_in_letters_of_any_case() -> None:
    target = wanted_state(TWO, (Route(SHOP, BLUE),), 4)
    body, _ = reached(front(), target)
    for children in body["properties"].values():
        for child in children:
            child["name"], child["id"] = child["name"].upper(), child["id"].upper()
    found = state_of(body, Place(ID, FRONTEND.upper(), PLACE.network))
    assert set(found.rules) == set(target.rules)
    assert {group: pool.check for group, pool in found.pools.items()} == {
        group: pool.check for group, pool in target.pools.items()
    }


# --------------------------------------------------------------------------------------- what it can't do


@pytest.mark.parametrize("share_bp", [1, 500, 5_000, 9_999])
def test_a_share_is_refused(share_bp: int) -> None:
    assert "can't give shop-v002" in lack_of_route(Route(SHOP, BLUE, GREEN, share_bp))


@pytest.mark.parametrize(
    "route", [Route(SHOP, BLUE), Route(SHOP, BLUE, GREEN), Route(SHOP, BLUE, GREEN, 10_000)]
)
def test_all_or_nothing_is_not(route: Route) -> None:
    assert lack_of_route(route) == ""


def test_servers_of_a_group_have_one_port() -> None:
    odd = backend(BLUE, 2, 4)
    odd = Backend(BLUE, (*odd.servers, Server(HostName("x"), "10.1.0.9", 81)), odd.probe)
    assert (
        lack_of_backend(odd)
        == "shop-v001: Azure's load balancer sends to one port of all servers, not to 81, 8080"
    )
    assert lack_of_backend(backend(BLUE, 2, 4)) == ""
    assert "names of 67 characters at most" in lack_of_backend(backend(GroupName("s" * 68), 2))


def rule(protocol: str, frontend: str = FRONTEND, **ports: int) -> dict[str, Any]:
    return {
        "name": "theirs",
        "properties": {"protocol": protocol, "frontendIPConfiguration": {"id": frontend}, **ports},
    }


@pytest.mark.parametrize(
    ("collection", "theirs", "by"),
    [
        (RULES, rule("Tcp", frontendPort=80), "the rule theirs"),
        (RULES, rule("All", frontendPort=0), "the rule theirs"),
        (RULES, rule("Udp", frontendPort=80), ""),
        (RULES, rule("Tcp", frontendPort=81), ""),
        (RULES, rule("Tcp", f"{ID}/frontendIPConfigurations/other", frontendPort=80), ""),
        ("inboundNatRules", rule("Tcp", frontendPort=80), "the NAT rule theirs"),
        (
            "inboundNatRules",
            rule("Tcp", frontendPortRangeStart=70, frontendPortRangeEnd=90),
            "the NAT rule theirs",
        ),
        (
            "inboundNatPools",
            rule("Tcp", frontendPortRangeStart=80, frontendPortRangeEnd=80),
            "the NAT pool theirs",
        ),
        ("inboundNatPools", rule("Tcp", frontendPortRangeStart=81, frontendPortRangeEnd=90), ""),
    ],
)
def test_a_port_of_the_frontend_that_is_another_s_is_known(collection: str, theirs: Any, by: str) -> None:
    body = front()
    body["properties"].setdefault(collection, []).append(theirs)
    lack = lack_of_port(state_of(body, PLACE), 80)
    assert lack == (f"port 80 is that of {by}: give the application another traffic.port" if by else "")


@pytest.mark.parametrize(
    ("probe", "kind", "path"),
    [
        (Probe("http", 8080, "/health"), "Http", "/health"),
        (Probe("http", 8080, "/health", expect_status=204), "Tcp", ""),
        (Probe("http", 8080, "/health", host="shop.example"), "Tcp", ""),
        (Probe("http", 8080, "/health", headers=(("X", "y"),)), "Tcp", ""),
        (Probe("tcp", 8080), "Tcp", ""),
        (Probe("command", 8080, command=("./check",)), "Tcp", ""),
    ],
)
def test_azure_asks_as_far_as_it_can(probe: Probe, kind: str, path: str) -> None:
    check = check_of(probe, 9090)
    assert (check.kind, check.path, check.port, check.interval) == (kind, path, 9090, 5)


# ------------------------------------------------------------------------------------------- what is there


def test_a_load_balancer_with_several_frontends_has_to_be_told_which() -> None:
    body = front()
    assert frontend_in(body, "")[0] == FRONTEND
    body["properties"]["frontendIPConfigurations"].append({"id": "x", "name": "Public", "properties": {}})
    assert frontend_in(body, "public") == ("x", {})
    with pytest.raises(LookupError, match=r"azure_lb\.frontend is not set: .*: inside, Public"):
        frontend_in(body, "")
    with pytest.raises(LookupError, match=r"azure_lb\.frontend: other: there is no such .*: inside, Public"):
        frontend_in(body, "other")


def test_what_azure_s_own_probes_find_is_told_of_servers_that_are_to_have_connections() -> None:
    (pool,) = wanted_state(Structure((), (backend(BLUE, 2, 3, 4),)), (), 4).pools.values()
    rows = [
        {"ipAddress": "10.1.0.2", "state": "Up", "reason": "Up_Probe_AllDownIsUp"},
        {"ipAddress": "10.1.0.3", "state": "Down", "reason": "Down_Admin"},
        {"ipAddress": "10.1.0.4", "state": "Up", "reason": "Up_Probe_Success"},
    ]
    found = wrong_in({"loadBalancerBackendAddresses": rows}, pool, BLUE)
    assert "1 of 2 servers of shop-v001 down: 10.1.0.2 (Up_Probe_AllDownIsUp)" in found
    assert "AzureLoadBalancer (168.63.129.16)" in found
    assert up_in({"loadBalancerBackendAddresses": rows}) == 1
    assert wrong_in({"loadBalancerBackendAddresses": rows[1:]}, pool, BLUE) == ""
    not_yet = [{"ipAddress": "10.1.0.2", "state": "Down", "reason": "NA"}]
    assert wrong_in({"loadBalancerBackendAddresses": not_yet}, pool, BLUE) == ""
    assert up_in({}) == 0
