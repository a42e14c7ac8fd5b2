"""What HAProxy is given to read, and how its answers are understood: text only."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as some

from repave_agent.balancers.checks import check_routes, check_structure
from repave_agent.balancers.haproxy.carried import NONE, down_servers
from repave_agent.balancers.haproxy.conditions import Conditions
from repave_agent.balancers.haproxy.config import (
    entries_of,
    fingerprint,
    map_of,
    render,
    render_routes,
    routes_of,
    structure_of,
)
from repave_agent.balancers.haproxy.socket import ServerState, parse_worker, parse_workers
from repave_agent.balancers.haproxy.traffic import Row
from repave_agent.balancers.haproxy.up import up
from repave_agent.core.ports import Backend, BalancerError, Frontend, Route, Server, Structure
from repave_protos.protocol.values import (
    BY_REQUEST,
    ApplicationName,
    GroupName,
    HostName,
    Probe,
    Split,
    Timeouts,
)

CONDITIONS = Conditions(
    "/state/routes.map",
    "/state/servers.state",
    "127.0.0.1",
    redispatch=True,
    threads=2,
    connections_max=1000,
    connections_per_application_max=750,
    old_seconds_max=3600,
    inner_address="127.192.0.1",
)
SHOP, BLUE, GREEN = ApplicationName("shop"), GroupName("shop-v001"), GroupName("shop-v002")
names = some.from_regex(r"[a-z0-9][a-z0-9.-]{0,12}", fullmatch=True)
probes = some.builds(
    Probe,
    kind=some.sampled_from(["http", "tcp", "command"]),
    port=some.just(80),
    path=some.sampled_from(["/", "/health?full=1"]),
    command=some.sampled_from([(), ("check", "me now")]),
)
servers = some.builds(
    Server,
    names,
    some.ip_addresses().map(str),
    some.integers(1, 65535),
    some.booleans(),
)
backends = some.builds(
    Backend, names, some.lists(servers, max_size=3, unique_by=lambda each: each.host).map(tuple), probes
)
splits = some.sampled_from(
    [
        BY_REQUEST,
        Split("cookie", "uid"),
        Split("header", "X-User", "cookie", "tester", "yes"),
        Split("request", "", "header", "X-Tester", "a/b=c"),
    ]
)
structures = some.builds(
    Structure,
    some.lists(
        some.builds(Frontend, names, some.integers(1, 65535), splits),
        max_size=2,
        unique_by=(lambda each: each.application, lambda each: each.port),
    ).map(tuple),
    some.lists(backends, max_size=3, unique_by=lambda each: each.group).map(tuple),
)


def structure(
    application: str = "shop",
    group: str = "shop-v001",
    host: str = "shop-v001-1",
    address: str = "127.0.0.1",
    port: int = 8000,
    probe: Probe | None = None,
    is_enabled: bool = True,
    split: Split = BY_REQUEST,
) -> Structure:
    server = Server(HostName(host), address, 9000, is_enabled)
    backend = Backend(GroupName(group), (server,), probe or Probe("http", 9000, "/health"))
    return Structure((Frontend(ApplicationName(application), port, split),), (backend,))


@given(structures)
def test_a_structure_is_read_back_from_its_configuration(wanted: Structure) -> None:
    check_structure(wanted)
    assert structure_of(render(wanted, CONDITIONS)) == wanted


def test_a_configuration_from_before_there_were_splits_is_understood() -> None:
    older = render(structure(), CONDITIONS)
    mark = ', "split": '
    start = older.index(mark)
    older = older[:start] + older[older.index("}", start) + 1 :]
    assert structure_of(older) == structure()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "global\n",
        "# structure {",
        "# structure []",
        '# structure {"frontends": []}',
        '# structure {"frontends": [{"x": 1}], "backends": []}',
    ],
)
def test_a_damaged_configuration_is_known_as_such(text: str) -> None:
    assert structure_of(text) is None


def test_the_fingerprint_changes_with_what_needs_a_reload_and_with_nothing_else() -> None:
    base = fingerprint(structure(), CONDITIONS)
    assert fingerprint(structure(is_enabled=False), CONDITIONS) == base
    assert " weight 0\n" in render(structure(is_enabled=False), CONDITIONS)
    servers = [structure(address="127.0.0.2"), structure(host="shop-v001-2")]
    assert {fingerprint(each, CONDITIONS) for each in servers} == {base}, "servers are compared one by one"
    others = [
        structure(port=8001),
        structure(probe=Probe("tcp", 9000)),
        structure(split=Split("cookie", "uid")),
        structure(split=Split("request", "", "header", "X-Tester", "yes")),
    ]
    assert len({base, *(fingerprint(other, CONDITIONS) for other in others)}) == 5
    assert fingerprint(structure(), dataclasses.replace(CONDITIONS, redispatch=False)) != base


def test_the_order_of_frontends_backends_and_servers_is_no_difference() -> None:
    one, other = structure(), structure(application="blog", group="blog-v001", port=8001)
    pair = Structure(one.frontends + other.frontends, one.backends + other.backends)
    turned = Structure(pair.frontends[::-1], pair.backends[::-1])
    assert fingerprint(pair, CONDITIONS) == fingerprint(turned, CONDITIONS)


def test_nothing_is_tried_again_when_redispatch_is_off() -> None:
    text = render(structure(), dataclasses.replace(CONDITIONS, redispatch=False))
    assert "retries 0" in text
    assert "redispatch" not in text
    assert "retry-on" not in text


def test_only_requests_without_effect_are_tried_again_once_sent() -> None:
    text = render(structure(), CONDITIONS)
    assert "disable-l7-retry unless { method GET HEAD OPTIONS }" in text


def test_timeouts_are_those_of_the_application_and_a_hop_has_none_of_its_own() -> None:
    plain = structure()
    timeouts = Timeouts(client_seconds=5.0, server_seconds=75.0, tunnel_seconds=7200.5)
    wanted = Structure(
        (dataclasses.replace(plain.frontends[0], client_seconds=5.0),),
        (dataclasses.replace(plain.backends[0], timeouts=timeouts),),
    )
    text = render(wanted, CONDITIONS)
    assert structure_of(text) == wanted
    sections = {section.split()[1]: section for section in text.split("\n\n") if section.strip()[:1] in "bf"}
    assert "timeout client 5000ms" in sections["shop"]
    assert "timeout server 75000ms" in sections["shop-v001"]
    assert "timeout tunnel 7200500ms" in sections["shop-v001"]
    assert "timeout server 7d" in sections["_newer.shop"]
    assert "timeout server 60000ms" in render(plain, CONDITIONS)


@pytest.mark.parametrize(
    "wrong",
    [
        structure(application="shop\n  bind :1"),
        structure(application="Shop"),
        structure(application="shop;quit"),
        structure(application="_no_route"),
        structure(group="a b"),
        structure(group=""),
        structure(group="-x"),
        structure(host="h#1"),
        structure(host="h" * 129),
        structure(address="example.org"),
        structure(address="127.0.0.1 backup"),
        structure(port=0),
        structure(port=65536),
        structure(split=Split("cookie", "uid) deny if TRUE")),
        structure(split=Split("header", "a\nb")),
        structure(split=Split("header", "")),
        structure(split=Split("request", "", "header", "X-Tester", "yes' or TRUE")),
        structure(split=Split("request", "", "header", "X-Tester", "yes no")),
        structure(probe=Probe("http", 1, "/a b")),
        structure(probe=Probe("http", 1, "health")),
        structure(probe=Probe("http", 1, '/"\n')),
        structure(probe=Probe("http", 1, "/", expect_status=1000)),
        structure(probe=Probe("http", 1, "/", interval_seconds=0)),
        structure(probe=Probe("http", 1, "/", unhealthy_after=0)),
        Structure(structure().frontends * 2, ()),
        Structure((), structure().backends * 2),
        Structure((Frontend(SHOP, 80), Frontend(ApplicationName("blog"), 80)), ()),
    ],
)
def test_what_could_be_read_as_syntax_is_refused(wrong: Structure) -> None:
    with pytest.raises(BalancerError):
        check_structure(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        Route(SHOP, GREEN),
        Route(SHOP, BLUE, GREEN, 1),
        Route(SHOP, BLUE, BLUE, 5),
        Route(SHOP, BLUE, None, 5),
        Route(SHOP, BLUE, None, -1),
        Route(ApplicationName("shop x"), BLUE),
        Route(SHOP, BLUE, testers=BLUE),
        Route(SHOP, BLUE, testers=GREEN),
        Route(SHOP, BLUE, spare=GREEN),
    ],
)
def test_a_route_that_makes_no_sense_is_refused(wrong: Route) -> None:
    with pytest.raises(BalancerError):
        check_routes((wrong,), structure())


def test_routes_are_read_back_from_the_map() -> None:
    routes = (Route(ApplicationName("blog"), BLUE), Route(SHOP, BLUE, GREEN, 500))
    assert routes_of(entries_of(render_routes(routes))) == routes
    for waiting in (Route(SHOP, BLUE, GREEN, 0), Route(SHOP, BLUE, testers=GREEN)):
        assert routes_of(map_of((waiting,))) == (waiting,)
    tested = (Route(SHOP, BLUE, GREEN, 500, GREEN),)
    assert routes_of(entries_of(render_routes(tested))) == tested
    for spared in (Route(SHOP, GREEN, spare=BLUE), Route(SHOP, BLUE, GREEN, 500, GREEN, BLUE)):
        assert routes_of(entries_of(render_routes((spared,)))) == (spared,)


@pytest.mark.parametrize("stray", ["x", "x|y", "x|y|z", "x|y|1|", "x|y|1|2|", "x|y|1|2|3|4", "|"])
def test_an_entry_that_no_route_could_have_written_is_no_route(stray: str) -> None:
    assert routes_of({"shop": stray}) == ()


def test_old_workers_are_told_from_the_newest() -> None:
    workers = parse_workers(
        "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        "5241            master          5 [failed: 1]   0d00h01m01s     2.6.12\n"
        "# workers\n"
        "5766            worker          1               0d00h00m25s     2.6.12\n"
        "# old workers\n"
        "5532            worker          4               0d00h00m31s     2.6.12\n"
        "5242            worker          5               0d00h00m31s     2.6.12\n"
        "# programs\n\n"
    )
    assert (workers.master, workers.newest, workers.old) == (5241, 5766, (5532, 5242))
    assert (workers.reloads, workers.has_failed) == (5, True)


def test_a_worker_is_understood() -> None:
    state = parse_worker(
        "Name: HAProxy\ndescription: repave-12ab\n\n0x564af57ae5b0 shop a|b|5\n\n"
        "# table: _fallen_back, type: string, size:10240, used:1\n"
        "0x55f0c1d2a3b8: key=shop|b|a use=0 exp=0 shard=0 gpc0=18\n\n"
        "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,"
        "status,weight,check_status,check_code,check_duration,hrsp_5xx,req_tot,rtime,mode\n"
        "a,h1,0,0,1,0,,0,0,0,,0,,0,0,0,0,UP 1/2,1,L7OK,200,1\n"
        "a,h2,0,0,0,0,,0,0,0,,0,,0,0,0,0,MAINT,1,,,\n"
        "a,h3,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN 1/2,1,* L7STS,503,1\n"
        "a,h4,0,0,0,0,,0,0,0,,0,,0,0,0,0,no check,1,,,\n"
        "a,h5,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,* L7OK,200,1\n"
        "a,h6,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,INI,,\n"
        "a,BACKEND,2,0,1,0,1,0,0,0,0,0,,0,0,0,0,UP,0,,,,3,50,12,http\n\n"
    )
    assert (state.fingerprint, state.entries) == ("repave-12ab", {"shop": "a|b|5"})
    assert [(each.host, each.is_enabled, each.is_up, each.has_passed) for each in state.servers] == [
        ("h1", True, True, False),
        ("h2", False, False, False),
        ("h3", True, False, False),
        ("h4", True, True, True),
        ("h5", True, True, True),
        ("h6", True, True, False),
    ]
    failed = [(each.host, each.failed_with) for each in state.servers if each.failed_with is not None]
    assert failed == [("h3", ("L7STS", "503"))]
    assert state.in_flight == {"a": 3}
    assert state.counted == {"a": Row(requests=50, errors=3, response_ms=12)}
    assert state.modes == {"a": "http"}
    assert state.fallen_back == {"shop|b|a": 18}


def test_what_is_known_to_be_down_is_told_to_the_next_worker() -> None:
    header = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
    rows = [
        "4 a 1 h1 10.0.0.1 0 0 1",
        "4 a 2 h2 10.0.0.2 2 0 1",  # up
        "4 a 3 h3 10.0.0.3 0 1 1",  # taken out
        "5 b 1 h1 10.0.0.4 0 0 1",  # another one by now
    ]
    answer = "\n".join(("1", header, *rows, "", ""))
    unchanged = frozenset({("a", "h1"), ("a", "h2"), ("a", "h3")})
    assert down_servers(answer, unchanged) == f"1\n{header}\n{rows[0]}\n"
    assert down_servers(answer, frozenset()) == NONE == "1\n"


@pytest.mark.parametrize(
    ("servers", "milliseconds"), [(1, 50), (20, 50), (100, 200), (200, 250), (2000, 250)]
)
def test_servers_that_are_not_up_are_asked_often_but_not_all_too_often_together(
    servers: int, milliseconds: int
) -> None:
    hosts = tuple(Server(HostName(f"h{number}"), "127.0.0.1", 9000) for number in range(servers))
    backend = Backend(GroupName("shop-v001"), hosts, Probe("tcp", 9000, interval_seconds=1.0))
    text = render(Structure(backends=(backend,)), CONDITIONS)
    assert f"inter 1000ms fastinter {milliseconds}ms downinter {milliseconds}ms" in text


def test_a_server_is_up_from_its_first_good_check_until_it_goes_down() -> None:
    """Each step is a look: what HAProxy says of it (enabled, would get requests, its check has passed)."""
    told = [
        ((True, True, False), False),  # just enabled
        ((True, True, True), True),
        ((True, True, False), True),  # a reload has forgotten its check, or one has failed of two
        ((True, False, False), False),
        ((True, True, False), False),
        ((True, True, True), True),
        ((False, False, False), False),
        ((True, True, False), False),  # enabled again
    ]
    before: frozenset[tuple[str, str]] = frozenset()
    for (is_enabled, is_up, has_passed), is_counted in told:
        server = ServerState("a", "h1", is_enabled, is_up, has_passed=has_passed)
        before = up([server], before)
        assert bool(before) is is_counted
