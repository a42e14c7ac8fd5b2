"""What people write under traffic.fronts, what becomes of it, and what is refused in which words."""

import pytest

from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import PROTOCOL_VERSION, Digest, Hello, RegionName

SPEC = """\
repave: 1
app: shop
artifact: {uri: ./shop}
host: {run: ./serve}
health: {http: {port: 8080}}
traffic: %s
regions: [{name: oslo, size: 4}]
strategy: {blue_green: {}}
"""
TLS = "certificate: {file: /etc/tls/shop.pem}"


def order(traffic: str) -> ReleaseOrder:
    spec, _ = load(SPEC % traffic, "repave.yaml")
    return compile_order(spec, Digest("0" * 64), "1.0")


def problems(traffic: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(SPEC % traffic, "repave.yaml")
    return str(caught.value).splitlines()


def test_a_port_alone_and_one_plain_front_are_the_same() -> None:
    short = order("{port: 8000}")
    assert short.template.fronts == ()
    assert order("{fronts: [{port: 8000, name: web}]}") == short


def test_a_spec_with_fronts_says_what_a_region_gets() -> None:
    traffic = (
        f"{{fronts: [{{name: web, port: 443, protocol: https, {TLS}, redirect_from: 80, to: 8081,"
        " match: {host: shop.example.com, path: /shop}, sticky: cookie, host_connections: 100, queue: 2s,"
        " retries: 1, proxy_protocol: {accept: true}}, {port: 7000, protocol: tcp, balance: leastconn}]}"
    )
    made = order(traffic)
    assert made.frontend_port == 443
    assert made.template.fronts == (
        TrafficFront(
            "web",
            443,
            "https",
            8081,
            CertificateReference("file", "/etc/tls/shop.pem"),
            "shop.example.com",
            "/shop",
            80,
            has_http2=True,
            host_connections=100,
            queue_seconds=2.0,
            retries=1,
            accepts_proxy=True,
            sticky="cookie",
        ),
        TrafficFront("tcp-7000", 7000, "tcp", balance="leastconn"),
    )


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        ("{}", "traffic: say where clients connect: port: 8000, or fronts"),
        ("{port: 80, fronts: [{port: 80}]}", "leave out port, or fronts"),
        ("{fronts: [{port: 53, protocol: udp}]}", "traffic.fronts.0.protocol: udp is not taken"),
        ("{fronts: [{port: 443, protocol: https}]}", "traffic.fronts.0.certificate: https needs"),
        ("{fronts: [{port: 80}, {port: 80, name: b}]}", "traffic.fronts.1: fronts http-80 and b both have"),
        ("{fronts: [{port: 80, match: {}}]}", "traffic.fronts.0.match: say what it matches"),
        ("{fronts: [{port: 80, match: {host: Shop}}]}", "traffic.fronts.0.match.host: write a name"),
        ("{fronts: [{port: 80, http2: true}]}", "traffic.fronts.0.http2: is for https"),
        ("{fronts: [{port: 80, redirect_from: 81}]}", "traffic.fronts.0.redirect_from: leads to https only"),
        (
            "{split: cookie, cookie: uid, fronts: [{port: 80, protocol: tcp}]}",
            "tcp has no cookies and headers",
        ),
        (
            "{fronts: [{port: 80, proxy_protocol: {send: true}}]}",
            "traffic.fronts.0.proxy_protocol.send: hosts are asked for their health without such a header",
        ),
    ],
)
def test_what_does_not_go_together_is_told_at_its_place(traffic: str, said: str) -> None:
    assert said in "\n".join(problems(traffic))


def test_a_region_whose_balancer_can_not_do_it_is_named_with_the_option() -> None:
    spec, _ = load(SPEC % "{fronts: [{port: 80}, {port: 7000, protocol: tcp}]}", "repave.yaml")
    oslo = RegionName("oslo")

    def said(*fronts: str) -> list[str]:
        words = capability_words(ProviderAbilities(), BalancerAbilities(fronts=fronts))
        hello = Hello(oslo, PROTOCOL_VERSION, "0.1.0", "local", "octavia", words)
        return [f"{each.field}: {each.text}" for each in disagreements(spec, {oslo: hello})]

    assert said("http", "tcp", "several") == []
    assert said("http", "several")[0].startswith(
        "traffic.fronts.1.protocol: balancer octavia of oslo (agent 0.1.0) has no protocol tcp: "
    )
    assert "balancer octavia of oslo (agent 0.1.0) has no fronts: leave" in said()[0]
