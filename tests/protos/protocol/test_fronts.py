"""What fronts may be, which of them share a port, and what they need of a balancer."""

from dataclasses import replace

import pytest

from repave_protos.protocol import wire_fronts
from repave_protos.protocol.bounds import WireError
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.fronts import (
    SEVERAL,
    TrafficFront,
    conflict,
    front_faults,
    needs,
    plain_front,
)

CERTIFICATE = CertificateReference("file", "/etc/tls/shop.pem")
WEB = TrafficFront("web", 443, "https", certificate=CERTIFICATE, host="shop.example.com")
EVERYTHING = TrafficFront(
    "everything", 443, "https", 8081, CERTIFICATE, "a.example.com", "/api", 80, True, "leastconn", 9, 1.5, 0,
    True, True, "cookie",
)  # fmt: skip
TCP = TrafficFront("echo", 7, "tcp")


@pytest.mark.parametrize("front", [WEB, EVERYTHING, TCP, plain_front(80)], ids=lambda front: front.name)
def test_a_front_arrives_as_it_was_sent(front: TrafficFront) -> None:
    assert wire_fronts.fronts_of([wire_fronts.front_message(front)], "fronts") == (front,)
    assert front_faults((front,)) == []


@pytest.mark.parametrize(
    ("front", "fault"),
    [
        (replace(WEB, protocol="https", certificate=None), "https needs a certificate"),
        (replace(plain_front(80), certificate=CERTIFICATE), "http has none: write protocol: https"),
        (replace(WEB, host="Shop.example.com"), "in small letters"),
        (replace(WEB, host="a b"), "in small letters"),
        (replace(WEB, path="/api/"), "without / at its end"),
        (replace(WEB, path="/a'b"), "without / at its end"),
        (replace(TCP, path="/api"), "tcp has no paths"),
        (replace(plain_front(81), redirect_from=80), "leads to https only"),
        (replace(WEB, redirect_from=443), "is the front's own port"),
        (replace(TCP, sticky="cookie"), "tcp has no cookies: use address"),
        (replace(TCP, sticky="address", balance="leastconn"), "leave balance out"),
        (replace(TCP, name="Echo"), "a name begins with a-z"),
        (replace(TCP, port=0), "0 is no port"),
        (replace(WEB, certificate=CertificateReference("file", "shop.pem")), "write an absolute path"),
    ],
)
def test_what_is_wrong_with_a_front_is_said(front: TrafficFront, fault: str) -> None:
    assert fault in "; ".join(front_faults((front,)))


def test_fronts_of_one_application_have_names_and_ports_of_their_own() -> None:
    assert front_faults((WEB, replace(TCP, name="web"))) == ["two fronts are called web"]
    assert front_faults((plain_front(7), TCP)) == [
        "fronts main and echo both have port 7: fronts that share a port need match.host or match.path, "
        "each of them"
    ]


def test_a_port_is_shared_by_fronts_that_match_something_else() -> None:
    assert conflict(WEB, replace(WEB, host="blog.example.com")) is None
    assert conflict(WEB, replace(WEB, path="/api")) is None
    assert conflict(WEB, replace(WEB, protocol="grpc", path="/shop.Orders")) is None
    assert conflict(WEB, replace(WEB, port=8443)) is None
    redirecting = replace(WEB, redirect_from=80)
    assert conflict(redirecting, replace(redirecting, host="blog.example.com")) is None


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (WEB, WEB, "both match shop.example.com"),
        (WEB, replace(WEB, host=""), "fronts that share a port need match.host or match.path"),
        (WEB, replace(TCP, port=443, host="a.example.com"), "one speaks tcp, the other https"),
        (WEB, replace(WEB, host="a.example.com", accepts_proxy=True), "only one of them has"),
        (
            WEB,
            replace(WEB, host="a.example.com", has_http2=not WEB.has_http2),
            "only one of them offers http2",
        ),
        (replace(WEB, redirect_from=80), plain_front(80), "need match.host or match.path"),
        (WEB, replace(WEB, host="", path="/api"), "need match.host, each: it says which one is shown"),
    ],
)
def test_fronts_that_can_not_share_a_port_are_told_why(
    one: TrafficFront, other: TrafficFront, why: str
) -> None:
    found = conflict(one, other)
    assert found is not None
    assert why in found.why
    assert not found.is_plain


def test_a_port_that_nobody_means_to_share_is_simply_taken() -> None:
    found = conflict(plain_front(80), plain_front(80))
    assert found is not None
    assert found.is_plain


def test_fronts_say_what_they_need_of_a_balancer_and_where_that_is_written() -> None:
    assert needs(()) == {}
    assert needs((replace(plain_front(80), balance="leastconn"), TCP)) == {
        "http": "0.port",
        "balance": "0.balance",
        "tcp": "1.protocol",
        SEVERAL: "1.port",
    }
    assert needs((EVERYTHING,)) == {
        "http": "0.port",
        "https": "0.protocol",
        "certificate_file": "0.certificate.file",
        "to": "0.to",
        "match": "0.match",
        "redirect": "0.redirect_from",
        "balance": "0.balance",
        "host_connections": "0.host_connections",
        "retries": "0.retries",
        "proxy_accept": "0.proxy_protocol.accept",
        "proxy_send": "0.proxy_protocol.send",
        "sticky_cookie": "0.sticky",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "X"), ("port", 0), ("protocol", "udp"), ("host", "a b"), ("path", "api"), ("balance", "best"),
     ("queue_seconds", 0.0), ("retries", 11), ("sticky", "always"), ("to", 70_000)],
)  # fmt: skip
def test_what_a_later_version_or_an_attacker_sends_is_refused_by_its_field(field: str, value: object) -> None:
    message = wire_fronts.front_message(WEB)
    setattr(message, field, value)
    with pytest.raises(WireError, match=f"TrafficFront.{field}"):
        wire_fronts.fronts_of([message], "fronts")
