"""Settings that can't work are refused before the agent starts, by the field that is wrong."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from repave_agent.core.records import kind_of
from repave_agent.dns.options import DnsOptions, public_address

GIVEN: dict[str, Any] = {
    "kind": "rfc2136",
    "zone": "example.com",
    "names": {"*": "{application}.example.com"},
    "rfc2136": {"server": "ns1.example.com", "key_file": "/etc/repave/key"},
}


def options(**changes: Any) -> DnsOptions:
    return DnsOptions(**{**GIVEN, **changes})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"zone": ""}, "zone is not set"),
        ({"names": {}}, "names is not set"),
        ({"names": {"*": "www.example.com"}}, "would be that of every application"),
        ({"names": {"shop": "shop"}}, "is no name such as"),
        ({"names": {"shop": "shop.example.org"}}, "is not in the zone example.com"),
        ({"names": {"shop": "shop.badexample.com"}}, "is not in the zone"),
        ({"addresses": ["lb.example.com"]}, "is no IP address"),
        ({"addresses": ["0.0.0.0"]}, "is nowhere"),
        ({"weight": 10}, "has no weights"),
        ({"rfc2136": {"key_file": "/etc/repave/key"}}, "rfc2136.server is not set"),
        ({"rfc2136": {"server": "ns1.example.com"}}, "rfc2136.key_file is not set"),
        ({"kind": "route53", "addresses": ["lb.example.com", "192.0.2.1"]}, "a name stands alone"),
        ({"kind": "designate", "names": {"shop": "shop.example.org"}}, "is not in the zone"),
        ({"kind": "bind"}, "rfc2136"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
    ],
)
def test_what_can_t_work_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        options(**changes)


def test_nothing_is_asked_of_an_agent_that_keeps_no_records() -> None:
    assert DnsOptions().abilities is None
    assert DnsOptions(ttl_seconds=5).name_of("shop") == ""


def test_each_application_has_its_name() -> None:
    names = {"shop": "www.example.com", "*": "{application}.example.com"}
    found = options(names=names)
    assert (found.name_of("shop"), found.name_of("web")) == ("www.example.com", "web.example.com")
    assert options(names={"shop": "www.example.com"}).name_of("web") == ""
    assert found.name_of("x" * 64) == ""  # no label of DNS is so long
    assert options(names="shop=www.example.com").name_of("shop") == "www.example.com"


def test_weights_and_names_of_load_balancers_stand_where_the_service_takes_them() -> None:
    found = options(kind="route53", zone="Z1", addresses=["lb.eu-west-3.elb.amazonaws.com"], weight=10)
    assert found.abilities is not None
    assert found.abilities.is_weighted
    assert kind_of(found.addresses[0]) == "CNAME"
    assert options(kind="cloud_dns", zone="z1", weight=10).abilities is not None


def test_a_balancer_s_address_is_taken_where_clients_can_reach_it() -> None:
    assert public_address("203.0.113.10") == ("203.0.113.10",)
    assert public_address("0.0.0.0") == public_address("lb.internal") == public_address("") == ()


def test_no_host_sees_the_key() -> None:
    assert options().private == (Path("/etc/repave/key"),)
