"""A certificate with its chain and key as PEM: whether they are whole and fit each other, and what they say.

No error and no `repr` shows a key.
"""

import hashlib
import os
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from repave_agent.core.certificates import CertificateError, Facts

PLACEHOLDER = "repave: no certificate yet"
"""Whom the one is of that is shown until there is another."""
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?-----END \1-----", re.DOTALL)
_DAMAGED = "a certificate in it is damaged"
_UNREADABLE = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What the library raises of a certificate that it can't read: some at once, some once it is asked."""
_LOCKED = "its key has a passphrase, which nobody can type here: put one without there"


@dataclass(frozen=True, slots=True)
class Pem:
    """One that can be shown: the certificate, its chain, then the key, without anything between them."""

    text: bytes = field(repr=False)
    facts: Facts

    @property
    def digest(self) -> str:
        """Tells it from any other, the chain included."""
        return hashlib.sha256(self.text).hexdigest()


def read_pem(given: bytes) -> Pem:
    """Raises CertificateError."""
    blocks = [(match[1], _plain(match[0])) for match in _BLOCK.finditer(given)]
    found = [text for kind, text in blocks if kind == b"CERTIFICATE"]
    keys = [text for kind, text in blocks if kind.endswith(b"PRIVATE KEY")]
    if not found:
        raise CertificateError("there is no certificate in it: it has to begin with BEGIN CERTIFICATE (PEM)")
    if len(keys) != 1:
        what = "no key" if not keys else f"{len(keys)} keys"
        raise CertificateError(f"there is {what} in it: put the certificate, its chain and its key there")
    public = _public_of(keys[0])
    certificates = [_certificate(text) for text in found]
    own = next((at for at, each in enumerate(certificates) if _of_certificate(each) == public), None)
    if own is None:
        raise CertificateError("its key is that of another certificate: put there what belongs together")
    chain = [text for at, text in enumerate(found) if at != own]
    text = b"\n".join((found[own], *chain, keys[0], b""))
    _check_by_openssl(text)
    return Pem(text, facts_of(certificates[own]))


def is_placeholder(facts: Facts) -> bool:
    return facts.names == (PLACEHOLDER,)


def facts_of(certificate: x509.Certificate) -> Facts:
    """Raises CertificateError."""
    try:
        return Facts(
            names=tuple(_names(certificate)),
            begins_at=certificate.not_valid_before_utc.timestamp(),
            ends_at=certificate.not_valid_after_utc.timestamp(),
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        )
    except _UNREADABLE:
        raise CertificateError(_DAMAGED) from None


def placeholder(now: float) -> Pem:
    """One that no client takes: a balancer can listen with it."""
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PLACEHOLDER)])
    begins = datetime.fromtimestamp(now - 3600, UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins.replace(year=begins.year + 10, day=1))
        .sign(key, hashes.SHA256())
    )
    return read_pem(built.public_bytes(Encoding.PEM) + key_pem(key))


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _plain(block: bytes) -> bytes:
    """Without empty lines, which end what a balancer is told."""
    return b"\n".join(line for line in block.splitlines() if line.strip())


def _certificate(text: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(text)
    except _UNREADABLE:
        raise CertificateError(_DAMAGED) from None


def _public_of(text: bytes) -> bytes:
    if b"ENCRYPTED" in text:
        raise CertificateError(_LOCKED)
    try:
        key = load_pem_private_key(text, None)
    except TypeError:
        raise CertificateError(_LOCKED) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("its key is damaged, or of a kind that is not known") from None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _of_certificate(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("the key of a certificate in it is of a kind that is not known") from None


def _check_by_openssl(text: bytes) -> None:
    """Raises CertificateError. HAProxy takes what OpenSSL takes, and one that it does not would keep it from
    starting, and so all of the region's applications from their clients."""
    memory = os.memfd_create("certificate")
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(text)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{memory}")
    except ssl.SSLError as error:
        why = (error.reason or "no reason told").replace("_", " ").lower()
        raise CertificateError(f"OpenSSL does not take it: {why}") from None
    finally:
        os.close(memory)


def _names(certificate: x509.Certificate) -> Iterable[str]:
    """As clients look at them: the common name only where there are no others."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(each.value) for each in common]
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*(name.lower() for name in found.get_values_for_type(x509.DNSName)), *map(str, addresses)]
