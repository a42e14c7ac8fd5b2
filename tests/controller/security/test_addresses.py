"""Which addresses the controller may fetch from: a table of those that lead inside, and what opens them."""

import pytest

from repave_controller.security.addresses import Allowed, allowed_of, objection

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:0:0:0:0:80ff:fffe",
    "nonsense",
]
PUBLIC = [
    "93.184.216.34",
    "1.1.1.1",
    "2606:2800:220:1::1",
    "::ffff:93.184.216.34",
    "64:ff9b::5db8:d822",
    "2002:5db8:d822::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_nothing_inside_is_fetched_from_unless_it_is_allowed(address: str) -> None:
    assert objection("artifacts.example", address, Allowed())


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is(address: str) -> None:
    assert objection("artifacts.example", address, Allowed()) == ""


@pytest.mark.parametrize(
    ("allow", "host", "address", "is_allowed"),
    [
        ("artifacts.corp.example", "artifacts.corp.example", "10.0.0.7", True),
        ("artifacts.corp.example", "ARTIFACTS.corp.example.", "10.0.0.7", True),
        ("artifacts.corp.example", "evil.corp.example", "10.0.0.7", False),
        ("artifacts.corp.example", "artifacts.corp.example.evil.example", "10.0.0.7", False),
        ("*.corp.example", "a.corp.example", "127.0.0.1", True),
        ("*.corp.example", "corp.example.evil.example", "127.0.0.1", False),
        # A name that leads to a cloud's metadata opens nothing; only the network itself does.
        ("artifacts.corp.example", "artifacts.corp.example", "169.254.169.254", False),
        ("artifacts.corp.example", "artifacts.corp.example", "::ffff:169.254.169.254", False),
        ("artifacts.corp.example", "artifacts.corp.example", "fd00:ec2::254", False),
        ("169.254.0.0/16", "artifacts.corp.example", "169.254.169.254", True),
        ("10.0.0.0/8 192.168.7.7", "any.example", "10.200.0.1", True),
        ("10.0.0.0/8 192.168.7.7", "any.example", "::ffff:10.200.0.1", True),
        ("10.0.0.0/8 192.168.7.7", "any.example", "192.168.7.7", True),
        ("10.0.0.0/8 192.168.7.7", "any.example", "192.168.7.8", False),
        ("fd12::/16", "any.example", "fd12::7", True),
    ],
)
def test_an_operator_opens_hosts_and_networks(allow: str, host: str, address: str, is_allowed: bool) -> None:
    assert (objection(host, address, allowed_of(allow)) == "") is is_allowed


@pytest.mark.parametrize("word", ["*", "**", "https://a.example", "a.example:443", "10.0.0.1/8", "me@a"])
def test_what_is_neither_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="name a host"):
        allowed_of(word)
