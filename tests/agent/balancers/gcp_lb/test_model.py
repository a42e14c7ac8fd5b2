"""Which call comes next at Google, against a few lines that keep what Google would: what names must be there,
and what is named can't go."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_agent.balancers.gcp_lb.model import (
    NOWHERE,
    Call,
    Place,
    Site,
    State,
    check_of,
    next_call,
    wanted_state,
)
from repave_agent.balancers.gcp_lb.reading import (
    Lists,
    healthy,
    places_of,
    routes_in,
    state_of,
    stranger_at,
    structure_in,
)
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe, Split, Timeouts

SHOP, DRAIN, CALLS_MAX = ApplicationName("shop"), 60, 40
DOOR = Frontend(SHOP, 80)
SITE = Site("global", "global/front", "203.0.78.1", "EXTERNAL_MANAGED", "default")
INSIDE = Site("regions/europe-west1", "regions/europe-west1/in", "10.0.0.9", "INTERNAL_MANAGED", "n", "s")
ZONES = ("europe-west1-b", "europe-west1-c")


def behind(group: str, *numbers: int, is_enabled: bool = True, **more: Any) -> Backend:
    servers = tuple(Server(HostName(f"{group}-{n}"), f"10.0.0.{n}", 8080, is_enabled) for n in numbers)
    return Backend(GroupName(group), servers, Probe("http", 8080, "/health"), **more)


PLACES = {f"10.0.0.{number}": Place(ZONES[number % 2], f"i-{number}") for number in range(30)}
BLUE, GREEN = behind("shop-v001", 1, 2), behind("shop-v002", 11, 12, 13)
BOTH = Structure((DOOR,), (BLUE, GREEN))
TO_BLUE, TO_GREEN = Route(SHOP, BLUE.group), Route(SHOP, GREEN.group)


@dataclass
class Google:
    """Keeps things by their paths."""

    site: Site = SITE
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def do(self, call: Call) -> None:
        self.calls.append(call)
        path, body = call.path, call.body or {}
        for named in re.findall(
            r"(?:global|regions/[^/]+|zones/[^/]+)/(?!networks|instances)\w+/[\w-]+", str(body)
        ):
            assert named in self.things, f"{call} names {named}, which is not there"
        if path.endswith("/attachNetworkEndpoints"):
            self.members[path.rpartition("/")[0]] += [
                {"networkEndpoint": each, "healths": [{"healthState": "HEALTHY"}]}
                for each in body["networkEndpoints"]
            ]
        elif path.endswith("/detachNetworkEndpoints"):
            gone = [(each["instance"], each["port"]) for each in body["networkEndpoints"]]
            there = self.members[path.rpartition("/")[0]]
            there[:] = [
                each
                for each in there
                if (each["networkEndpoint"]["instance"], each["networkEndpoint"]["port"]) not in gone
            ]
        elif call.method == "POST":
            new = f"{path}/{body['name']}"
            assert new not in self.things, f"{new} is there"
            self.things[new] = {**body, "selfLink": new, "zone": path.split("/")[1], "fingerprint": "0"}
            self.members[new] = []
        elif call.method == "DELETE":
            users = [name for name, each in self.things.items() if name != path and path in _names(each)]
            assert not users, f"{path} is used by {users}"
            del self.things[path], self.members[path]
        else:
            known = self.things[path]
            if call.method == "PATCH":
                assert body["fingerprint"] == known["fingerprint"]
            kept = known if call.method == "PATCH" else {"selfLink": path}
            self.things[path] = {**kept, **body, "fingerprint": str(int(known["fingerprint"]) + 1)}

    def state(self) -> State:
        def of(kind: str) -> list[dict[str, Any]]:
            return [each for path, each in self.things.items() if path.split("/")[-2] == kind]

        lists = Lists(
            of("healthChecks"),
            of("networkEndpointGroups"),
            of("backendServices"),
            of("urlMaps"),
            of("targetHttpProxies"),
            of("forwardingRules"),
            self.members,
        )
        return state_of(lists, self.site, PLACES)

    def come_to(self, structure: Structure, *routes: Route, without: tuple[str, ...] = ()) -> list[Call]:
        """The calls that it took."""
        wanted, before = wanted_state(structure, routes, DRAIN), len(self.calls)
        while call := next_call(self.state(), wanted, self.site, without):
            self.do(call)
            assert len(self.calls) - before < CALLS_MAX, f"{call} again and again"
        made = self.calls[before:]
        assert len(set(map(str, made))) == len(made), "what is told apart by its text is made once"
        return made

    def shares(self) -> dict[str, int]:
        (only,) = self.state().maps.values()
        return {name: weight for name, weight in only.weights if weight}


def _names(thing: Mapping[str, Any]) -> str:
    return str({key: value for key, value in thing.items() if key != "selfLink"})


# --------------------------------------------------------------------------------------------------- traffic


@pytest.mark.parametrize("site", [SITE, INSIDE], ids=lambda each: each.scope)
def test_all_is_made_before_what_names_it_and_goes_after_it(site: Site) -> None:
    google = Google(site)
    google.come_to(BOTH, Route(SHOP, BLUE.group, GREEN.group, 500))
    assert structure_in(google.state(), BOTH) == BOTH
    assert google.shares() == {BLUE.group: 950, GREEN.group: 50}
    google.come_to(Structure())
    assert google.things == {}


def test_a_group_is_in_the_map_with_weight_nothing_as_soon_as_its_service_is_there() -> None:
    google = Google()
    google.come_to(Structure((DOOR,), (BLUE,)), TO_BLUE)
    google.come_to(BOTH, TO_BLUE)
    (url_map,) = google.state().maps.values()
    assert (GREEN.group, 0) in url_map.weights
    assert google.shares() == {BLUE.group: 1000}


@pytest.mark.parametrize("share_bp", [10, 100, 500, 3_330, 5_000, 9_990])
def test_another_share_is_one_change_and_is_read_back_as_it_was_given(share_bp: int) -> None:
    google = Google()
    google.come_to(BOTH, TO_BLUE)
    route = Route(SHOP, BLUE.group, GREEN.group, share_bp)
    for asked in (route, TO_GREEN, TO_BLUE):
        (call,) = google.come_to(BOTH, asked)
        assert (call.method, call.path) == ("PATCH", SITE.path("urlMaps", SHOP))
        assert routes_in(google.state(), BOTH, (asked,)) == (asked,)
    google.come_to(BOTH, route)
    assert routes_in(google.state(), BOTH, ()) == (route,), "an agent that has lost its disk"


def test_an_application_without_a_route_sends_its_requests_nowhere() -> None:
    google = Google()
    google.come_to(BOTH)
    assert google.shares() == {NOWHERE: 1000}
    assert routes_in(google.state(), BOTH, ()) == ()


def test_testers_are_known_by_a_header_before_any_weight() -> None:
    google, split = Google(), Split("request", "", "header", "X-Tester", "yes")
    wanted = Structure((replace(DOOR, split=split),), BOTH.backends)
    route = Route(SHOP, BLUE.group, testers=GREEN.group)
    google.come_to(wanted, TO_BLUE)
    (call,) = google.come_to(wanted, route)
    ((rule,),) = [each["routeRules"] for each in (call.body or {})["pathMatchers"]]
    assert rule["service"] == SITE.path("backendServices", GREEN.group)
    assert rule["matchRules"][0]["headerMatches"] == [{"headerName": "X-Tester", "exactMatch": "yes"}]
    assert structure_in(google.state(), Structure()).frontends == wanted.frontends
    assert routes_in(google.state(), wanted, (route,)) == (route,)
    google.come_to(wanted, TO_BLUE)
    assert routes_in(google.state(), wanted, (TO_BLUE,)) == (TO_BLUE,)


# --------------------------------------------------------------------------------------------------- groups


def test_a_server_that_is_not_enabled_is_no_endpoint_and_keeps_its_place() -> None:
    google = Google()
    google.come_to(BOTH, TO_BLUE)
    servers = (replace(BLUE.servers[0], is_enabled=False), BLUE.servers[1])
    half = Structure((DOOR,), (replace(BLUE, servers=servers), GREEN))
    (call,) = google.come_to(half, TO_BLUE)
    assert call.path.endswith("/detachNetworkEndpoints")
    assert structure_in(google.state(), half) == half
    assert healthy(google.state(), BLUE.group, half) == 1


def test_a_server_of_which_there_is_no_instance_holds_up_no_others() -> None:
    google, more = Google(), behind("shop-v001", 1, 2, 99)
    google.come_to(Structure((DOOR,), (more,)), TO_BLUE)
    (found,) = structure_in(google.state(), Structure((DOOR,), (more,))).backends
    assert [each.is_enabled for each in found.servers] == [True, True, False]


def test_a_group_that_is_refused_holds_up_no_others_and_gets_no_request() -> None:
    google = Google()
    google.come_to(BOTH, TO_BLUE, without=(GREEN.group,))
    assert google.shares() == {BLUE.group: 1000}
    google.come_to(BOTH, TO_GREEN, without=(GREEN.group,))
    assert google.shares() == {BLUE.group: 1000}, "no map names what is not there"


def test_hosts_that_come_in_another_zone_are_behind_the_same_service() -> None:
    google = Google()
    google.come_to(Structure((DOOR,), (behind("shop-v001", 2),)), TO_BLUE)
    google.come_to(Structure((DOOR,), (behind("shop-v001", 2, 3),)), TO_BLUE)
    assert google.state().services[BLUE.group].zones == frozenset(ZONES)


def test_timeouts_and_checks_that_change_are_changed_there() -> None:
    google, patient = Google(), replace(BLUE, timeouts=Timeouts(server_seconds=120.0))
    google.come_to(BOTH, TO_BLUE)
    google.come_to(Structure((DOOR,), (replace(patient, probe=Probe("tcp", 8080)), GREEN)), TO_BLUE)
    assert google.state().services[BLUE.group].timeout == 120
    assert google.state().checks[BLUE.group].kind == "TCP"


@pytest.mark.parametrize(
    ("probe", "kind"),
    [
        (Probe("http", 8080, "/health"), "HTTP"),
        (Probe("tcp", 8080), "TCP"),
        (Probe("command", 8080, command=("true",)), "TCP"),
        (Probe("http", 8080, "/health", expect_status=204), "TCP"),
        (Probe("http", 8080, "/health", headers=(("X-Key", "1"),)), "TCP"),
    ],
)
def test_what_google_can_not_ask_is_asked_by_the_agent_alone(probe: Probe, kind: str) -> None:
    check = check_of(replace(probe, interval_seconds=0.5, timeout_seconds=2.5, unhealthy_after=99))
    assert check.kind == kind
    assert (check.interval, check.timeout, check.unhealthy_after) == (3, 3, 10), "no timeout above interval"


def test_a_port_can_not_move_so_its_rule_is_made_anew_before_the_other_goes() -> None:
    google, moved = Google(), Structure((replace(DOOR, port=81),), BOTH.backends)
    google.come_to(BOTH, TO_BLUE)
    calls = google.come_to(moved, TO_BLUE, without=(SHOP,))
    assert calls == [], "it was refused"
    assert google.state().rules == {SHOP: {80}}
    calls = google.come_to(moved, TO_BLUE)
    assert [call.method for call in calls] == ["POST", "DELETE"]
    assert google.state().rules == {SHOP: {81}}


# ------------------------------------------------------------------------------------------------- strangers


def test_strangers_are_never_taken_for_ours() -> None:
    site, other = SITE, replace(SITE, mark="global/back")
    google = Google(site)
    google.come_to(BOTH, TO_BLUE)
    before = dict(google.things)
    rival = Google(other, google.things, google.members)
    rival.come_to(Structure())
    assert google.things == before
    named = {"name": site.name("shop-v001"), "description": "mine"}
    assert site.key(named) is None
    assert site.key({**named, "description": other.description("shop-v001")}) is None
    assert site.key({**named, "description": site.description("shop-v001")}) == "shop-v001"


def test_ports_of_strangers_rules_at_the_address_are_taken() -> None:
    rules = [
        {"name": "web", "IPAddress": SITE.address, "portRange": "80-81"},
        {"name": "far", "IPAddress": "203.0.78.2", "portRange": "82-82"},
        {"name": SITE.name(SHOP), "description": SITE.description(SHOP), "IPAddress": SITE.address},
    ]
    rules[2]["portRange"] = "83-83"
    assert [stranger_at(port, rules, SITE) for port in (79, 80, 81, 82, 83)] == ["", "web", "web", "", ""]


@pytest.mark.parametrize("key", ["shop-v001", "Shop.web-v001", "a" * 100, "9", "shop-", "ünfit"])
def test_names_are_ones_that_google_takes_and_are_never_the_same(key: str) -> None:
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", SITE.name(key))
    assert SITE.name(key) != SITE.name(f"{key}.")


def test_a_member_that_is_draining_is_no_endpoint() -> None:
    google = Google()
    google.come_to(Structure((DOOR,), (BLUE,)), TO_BLUE)
    for members in google.members.values():
        for each in members:
            each["healths"] = [{"healthState": "DRAINING"}]
    assert all(not each for each in google.state().endpoints.values())


def test_places_are_found_by_the_addresses_of_an_instance_in_the_network() -> None:
    cards = [{"networkIP": f"10.0.0.{n}", "network": f".../networks/n{n}"} for n in (1, 2)]
    listed = [{"name": "i-1", "zone": ".../zones/b", "networkInterfaces": [*cards, {}]}]
    assert places_of(listed, "n2") == {"10.0.0.2": Place("b", "i-1")}


# ---------------------------------------------------------------------------------------------- properties

GROUPS = ("shop-v001", "shop-v002", "blog-v001")


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Structure, tuple[Route, ...]]:
    """A structure and routes that fit it."""
    groups = draw(st.lists(st.sampled_from(GROUPS), unique=True))
    backends = [
        behind(group, *draw(st.sets(st.integers(1, 9))), is_enabled=draw(st.booleans())) for group in groups
    ]
    names = sorted({group.rpartition("-v")[0] for group in groups} | {"shop"})
    frontends = tuple(
        Frontend(ApplicationName(name), 80 + number, Split("request", "", "header", "X", "1"))
        for number, name in enumerate(names)
    )
    routes = []
    for frontend in frontends:
        ours = [each.group for each in backends if each.group.startswith(frontend.application)]
        if not ours or not draw(st.booleans()):
            continue
        first, *more = draw(st.permutations(ours))
        second = more[0] if more else None
        share_bp = 10 * draw(st.integers(0, 1000)) if second is not None else 0
        testers = draw(st.sampled_from([None, *ours]))
        routes.append(Route(frontend.application, first, second, share_bp, testers))
    return Structure(frontends, tuple(backends)), tuple(routes)


@settings(max_examples=40)
@given(st.lists(worlds(), min_size=1, max_size=3), st.integers(0, 12))
def test_from_anywhere_every_world_is_reached_and_read_back(
    steps: list[tuple[Structure, tuple[Route, ...]]], broken_off_after: int
) -> None:
    """Also where an agent ended in the middle of another change."""
    google = Google()
    structure, routes = steps[0]
    wanted = wanted_state(structure, routes, DRAIN)
    for _ in range(broken_off_after):
        if call := next_call(google.state(), wanted, SITE):
            google.do(call)
    for structure, routes in steps:
        google.come_to(structure, *routes)
        state = google.state()
        assert structure_in(state, structure) == structure
        assert set(routes_in(state, structure, routes)) == set(routes)
        assert state.services.keys() == {each.group for each in structure.backends} | (
            {NOWHERE} if structure.frontends else set()
        )
    google.come_to(Structure())
    assert google.things == {}


@settings(max_examples=40)
@given(worlds(), worlds())
def test_at_no_time_does_a_map_send_requests_to_what_is_not_there(
    first: tuple[Structure, tuple[Route, ...]], second: tuple[Structure, tuple[Route, ...]]
) -> None:
    google = Google()
    google.come_to(first[0], *first[1])
    wanted = wanted_state(second[0], second[1], DRAIN)
    while call := next_call(google.state(), wanted, SITE):
        google.do(call)
        state = google.state()
        assert all(each.takers <= state.services.keys() for each in state.maps.values())
        assert len(google.calls) < 2 * CALLS_MAX
