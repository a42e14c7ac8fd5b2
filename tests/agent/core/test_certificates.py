"""Which certificate is shown, and what is told of its end."""

import pytest

from repave_agent.core.certificates import DAY, Facts, WantedCertificate, ending, fault_of, gives_way, is_due
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.values import ApplicationName

FILE = CertificateReference("file", "/etc/shop.pem")
SHOP = WantedCertificate(ApplicationName("shop"), "web", FILE, ("shop.example.com",))


def lasting(days: float, *names: str, begins: float = 0.0) -> Facts:
    return Facts(names or ("shop.example.com",), begins * DAY, (begins + days) * DAY, "ab")


def test_one_that_clients_take_has_no_fault() -> None:
    assert fault_of(SHOP, lasting(90), DAY) == ""
    assert fault_of(SHOP, lasting(90, "*.example.com"), DAY) == ""


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (lasting(1), "it has ended 2 days ago: put a newer one there"),
        (lasting(90, begins=5), "it begins in 2 days"),
        (lasting(90, "www.example.com"), "not of shop.example.com, which the front matches"),
        (lasting(90, "*.shop.example.com", "*.com"), "not of shop.example.com"),
    ],
)
def test_one_that_clients_would_refuse_is_told_with_the_remedy(facts: Facts, why: str) -> None:
    assert why in fault_of(SHOP, facts, 3 * DAY)


def test_a_good_one_gives_way_to_a_good_one_only() -> None:
    good, ended, other = lasting(90), lasting(1), lasting(90, "www.example.com")
    now = 3 * DAY
    assert gives_way(SHOP, good, lasting(30), now)
    assert not gives_way(SHOP, good, ended, now)
    assert not gives_way(SHOP, good, other, now)
    assert gives_way(SHOP, ended, other, now), "clients refuse both: what is put there now is meant"
    assert gives_way(SHOP, None, ended, now), "some clients look at no date"


@pytest.mark.parametrize(
    ("life", "left", "expected"),
    [
        (90, 30, (False, "")),
        (90, 20, (False, "it ends in 20 days")),
        (90, 6, (True, "it ends in 6 days")),
        (90, -2, (True, "it has ended 2 days ago, and clients refuse it")),
        (6, 3, (False, "")),
        (6, 1.4, (False, "it ends in 34 hours")),
        (6, 0.4, (True, "it ends in 10 hours")),
    ],
)
def test_its_end_is_told_well_before(life: float, left: float, expected: tuple[bool, str]) -> None:
    assert ending(lasting(life), (life - left) * DAY) == expected


def test_a_new_one_is_asked_for_after_two_thirds_of_its_life_or_for_other_names() -> None:
    assert is_due(SHOP, None, 0.0)
    assert not is_due(SHOP, lasting(90), 59 * DAY)
    assert is_due(SHOP, lasting(90), 60 * DAY)
    more = WantedCertificate(
        SHOP.application, "web", CertificateReference("acme", "http-01", ("www.example.com",)), SHOP.hosts
    )
    assert more.names == ("shop.example.com", "www.example.com")
    assert is_due(more, lasting(90), DAY)
