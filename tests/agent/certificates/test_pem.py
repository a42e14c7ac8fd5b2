"""Which PEM can be shown, and what is told of one that can't; never a key."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from repave_agent.certificates.pem import is_placeholder, placeholder, read_pem
from repave_agent.core.certificates import CertificateError
from tests.support.certificates import new_authority

AUTHORITY = new_authority()
WEAK = rsa.generate_private_key(65_537, 1024)
"""Less than OpenSSL, and HAProxy with it, takes."""
SHOP = AUTHORITY.combined("shop.example.com", "www.example.com")
CERTIFICATE, KEY = SHOP[: SHOP.index(b"-----BEGIN PRIVATE")], SHOP[SHOP.index(b"-----BEGIN PRIVATE") :]


def test_a_whole_one_is_read_in_any_order_and_told_apart_by_its_chain() -> None:
    alone, with_chain = read_pem(SHOP), read_pem(KEY + AUTHORITY.pem.encode() + b"\n\nnotes\n" + CERTIFICATE)
    assert alone.facts == with_chain.facts
    assert alone.facts.names == ("shop.example.com", "www.example.com")
    assert with_chain.text.startswith(CERTIFICATE.strip()), "the certificate of the key comes first"
    assert alone.digest != with_chain.digest
    assert b"\n\n" not in with_chain.text
    assert b"notes" not in with_chain.text
    assert read_pem(with_chain.text) == with_chain


def _locked() -> bytes:
    key = load_pem_private_key(KEY, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))


def _of_a_later_version() -> bytes:
    raw = base64.b64decode(b"".join(CERTIFICATE.split(b"-----")[2].split()))
    later = raw.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(later) + b"-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no certificate in it"),
        (KEY, "no certificate in it"),
        (CERTIFICATE, "no key in it: put the certificate, its chain and its key there"),
        (SHOP + KEY, "2 keys in it"),
        (CERTIFICATE + _locked(), "has a passphrase"),
        (CERTIFICATE + KEY.replace(b"MI", b"XX", 1), "its key is damaged"),
        (CERTIFICATE.replace(b"MII", b"XXX", 1) + KEY, "a certificate in it is damaged"),
        (AUTHORITY.combined("shop.example.com", key=WEAK), "OpenSSL does not take it: ee key too small"),
        (_of_a_later_version() + KEY, "a certificate in it is damaged"),
    ],
)
def test_one_that_can_not_be_shown_is_told_and_its_key_is_not(text: bytes, why: str) -> None:
    with pytest.raises(CertificateError, match=why) as caught:
        read_pem(text)
    secret = KEY.splitlines()[1].decode()
    assert secret not in str(caught.value)


def test_the_key_of_another_certificate_does_not_fit() -> None:
    other = AUTHORITY.combined("other.example.com")
    with pytest.raises(CertificateError, match="its key is that of another certificate"):
        read_pem(CERTIFICATE + other[other.index(b"-----BEGIN PRIVATE") :])


def test_no_picture_of_one_shows_its_key() -> None:
    assert KEY.splitlines()[1].decode() not in repr(read_pem(SHOP))


def test_a_placeholder_is_one_that_a_balancer_takes_and_that_is_known() -> None:
    found = placeholder(1_800_000_000.0)
    assert is_placeholder(found.facts)
    assert not is_placeholder(read_pem(SHOP).facts)
    assert read_pem(found.text) == found
