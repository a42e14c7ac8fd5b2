"""How references to certificates are written."""

import pytest

from repave_protos.protocol.certificate_places import CertificateReference, certificate_fault


@pytest.mark.parametrize(
    "reference",
    [
        CertificateReference("file", "/etc/repave/certificates/shop.pem"),
        CertificateReference("directory", "/etc/letsencrypt/live/shop"),
        CertificateReference("vault", "kv/shop/tls#pem"),
        CertificateReference("acme", "http-01"),
        CertificateReference("acme", "dns-01", ("shop.example.com", "*.shop.example.com")),
    ],
    ids=str,
)
def test_references_that_can_be_meant_are_taken(reference: CertificateReference) -> None:
    assert certificate_fault(reference) == ""


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (CertificateReference("env", "X"), "name one of file, directory, vault, acme"),
        (CertificateReference("file", "shop.pem"), "absolute path"),
        (CertificateReference("directory", "/etc/../shop"), "without //"),
        (CertificateReference("vault", "kv/shop/tls"), "name the key behind #"),
        (CertificateReference("acme", "tls-alpn-01"), "http-01 or dns-01"),
        (CertificateReference("acme", "http-01", ("shop",)), "no name such as"),
        (CertificateReference("acme", "http-01", ("Shop.example.com",)), "small letters"),
        (CertificateReference("acme", "http-01", ("*.example.com",)), "by dns-01 only"),
        (CertificateReference("acme", "dns-01", ("a.*.example.com",)), "no name such as"),
        (CertificateReference("acme", "dns-01", ("a.example.com",) * 101), "100 names at most"),
        (CertificateReference("file", "/etc/shop.pem", ("a.example.com",)), "names are of acme"),
    ],
    ids=str,
)
def test_what_can_not_be_meant_is_told(reference: CertificateReference, why: str) -> None:
    assert why in certificate_fault(reference)


def test_a_reference_says_what_an_agent_has_to_be_able_to() -> None:
    assert CertificateReference("acme", "dns-01").kind == "acme-dns-01"
    assert CertificateReference("vault", "kv/shop/tls#pem").kind == "vault"
