"""A spec is held to what each region's agent says of its provider and balancer; unknown kinds are fine."""

import pytest

from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import load
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.values import PROTOCOL_VERSION, Hello, RegionName

SPEC = """\
repave: 1
app: shop
artifact: {uri: ./shop}
host: {run: ./serve%(host)s}
health: {%(health)s}
traffic: {port: 80%(traffic)s}
regions: [{name: oslo, size: 4%(region)s}, {name: new, size: 1}]
strategy: {blue_green: {}}
"""
HTTP = "http: {port: 8080}"
MACHINES = ProviderAbilities(takes_machine_images=True, runs_commands=False)
OSLO = RegionName("oslo")


def agent(provider: str, balancer: str, can: ProviderAbilities, shares: BalancerAbilities) -> Hello:
    return Hello(OSLO, PROTOCOL_VERSION, "0.2.0", provider, balancer, capability_words(can, shares))


LOCAL = agent("local", "haproxy", ProviderAbilities(), BalancerAbilities())
OPENSTACK = agent("openstack", "octavia", MACHINES, BalancerAbilities(100, supports_sticky_split=False))
OTHERS = agent("mycloud", "my_lb", MACHINES, BalancerAbilities(supports_testers=False))
OLD = Hello(OSLO, PROTOCOL_VERSION, "0.1.0", "openstack", "octavia", ("weights",))


def found(hello: Hello, host: str = "", health: str = HTTP, traffic: str = "", region: str = "") -> list[str]:
    text = SPEC % {"host": host, "health": health, "traffic": traffic, "region": region}
    spec, _ = load(text, "repave.yaml")
    return [f"{each.field}: {each.text}" for each in disagreements(spec, {OSLO: hello})]


@pytest.mark.parametrize("hello", [LOCAL, OPENSTACK, OTHERS, OLD], ids=lambda each: each.provider)
def test_what_is_left_out_is_each_region_s_own(hello: Hello) -> None:
    assert found(hello) == []


@pytest.mark.parametrize("hello", [LOCAL, OPENSTACK, OTHERS], ids=lambda each: each.provider)
def test_a_region_may_be_held_to_its_provider_and_balancer(hello: Hello) -> None:
    own = {"region": f", provider: {hello.provider}", "traffic": f", balancer: {hello.balancer}"}
    assert found(hello, **own) == []
    assert found(hello, region=", provider: ssh_pool", traffic=", balancer: haproxy_runtime") == [
        f"regions.0.provider: the agent of oslo has the provider {hello.provider}, the spec says ssh_pool: "
        "correct one of them",
        f"traffic.balancer: the agent of oslo has the balancer {hello.balancer}, the spec says "
        "haproxy_runtime: correct one of them, or leave it out",
    ]


def test_no_server_is_said_to_have_no_image_and_a_process_to_have_one() -> None:
    assert found(LOCAL, host=", image: local") == []
    assert found(OPENSTACK, host=", image: debian-12") == []
    assert found(OPENSTACK, host=", image: local") == [
        "host.image: provider openstack of oslo starts machines of an image: name it, or leave it out"
    ]
    assert found(LOCAL, host=", image: debian-12") == [
        "host.image: provider local of oslo has no machine images: leave it out"
    ]


@pytest.mark.parametrize(
    "hello", [LOCAL, OPENSTACK, OLD], ids=lambda each: f"{each.provider} {each.agent_version}"
)
def test_no_machine_is_chosen_where_none_can_be_nor_of_an_agent_that_would_ignore_it(hello: Hello) -> None:
    who = f"provider {hello.provider} of oslo (agent {hello.agent_version})"
    remedy = "leave it out, or the region; an agent from before there was such a choice is to be upgraded"
    assert found(hello, host=", size: [xl, l], spot: true") == [
        f"host.size: {who} makes no hosts of a chosen size: {remedy}",
        f"host.spot: {who} makes no spot machines: {remedy}",
    ]
    able = agent("aws", "haproxy", ProviderAbilities(takes_sizes=True, takes_spot=True), BalancerAbilities())
    assert found(able, host=", size: xl, spot: true") == []


def test_what_a_kind_can_not_do_is_not_asked_of_it() -> None:
    command = "command: {port: 8080, run: ./check}"
    assert found(LOCAL, health=command) == []
    assert found(OPENSTACK, health=command) == [
        "health.command: provider openstack of oslo runs nothing inside hosts: use health.http or health.tcp"
    ]
    testers = ", testers: {header: X-Tester, value: yes-please}"
    assert found(OPENSTACK, traffic=testers) == []
    assert found(OTHERS, traffic=testers) == [
        "traffic.testers: balancer my_lb of oslo can't tell testers: leave it out"
    ]


def test_a_balancer_without_a_timeout_of_tunnels_takes_the_others() -> None:
    no_tunnel = BalancerAbilities(100, has_tunnel_timeout=False)
    octavia = agent("openstack", "octavia", MACHINES, no_tunnel)
    assert found(octavia, traffic=", timeouts: {client: 2m, server: 75s}") == []
    assert found(LOCAL, traffic=", timeouts: {tunnel: 2h}") == []
    assert found(octavia, traffic=", timeouts: {server: 75s, tunnel: 2h}") == [
        "traffic.timeouts.tunnel: balancer octavia of oslo has none of its own for upgraded connections, "
        "client's and server's hold: leave it out"
    ]


def test_an_old_agent_is_believed_to_take_what_old_specs_say() -> None:
    assert found(OLD, host=", image: local", region=", provider: openstack") == []


def test_health_is_only_told_by_a_balancer_that_says_it_can() -> None:
    by_balancer = f"{HTTP}, by: balancer"
    able = agent("local", "haproxy", ProviderAbilities(), BalancerAbilities(tells_health=True))
    assert found(able, health=by_balancer) == []
    for hello in (LOCAL, OPENSTACK, OLD):
        assert found(hello, health=f"{HTTP}, by: agent") == []
        assert found(hello, health=by_balancer) == [
            f"health.by: balancer {hello.balancer} of oslo (agent {hello.agent_version}) does not say of "
            "each host what the agent's probe would find: leave it out, or the region; an agent from before "
            "there was such a choice is to be upgraded"
        ]
