"""An installation of sigstore in memory: an authority, a log of certificates, a log of signatures, and what
they make of a package. Each can be swapped for another one's, for forgeries."""

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

WORKFLOW = "https://github.com/acme/web/.github/workflows/release.yml@refs/heads/main"
ISSUER = "https://token.actions.githubusercontent.com"
SIGNED_AT = datetime(2026, 5, 1, 12, 0, 5, tzinfo=UTC)
CERTIFIED_AT = SIGNED_AT - timedelta(seconds=5)

_ISSUER_OID = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_TIMESTAMPS_OID = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_SHA256 = ec.ECDSA(hashes.SHA256())

Json = dict[str, Any]


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Sigstore:
    """One installation. `signs` is what people have on their machines for a moment."""

    authority: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    certificates: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    signs: ec.EllipticCurvePrivateKey = field(default_factory=_key)

    def trusted_root(self) -> str:
        since = {"start": "2020-01-01T00:00:00Z"}
        authority = {
            "subject": {"organization": "acme", "commonName": "acme"},
            "uri": "https://fulcio.acme.invalid",
            "certChain": {"certificates": [{"rawBytes": _text(_der(self._root()))}]},
            "validFor": since,
        }
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [_log_of(self.log, "https://rekor.acme.invalid")],
                "certificateAuthorities": [authority],
                "ctlogs": [_log_of(self.certificates, "https://ctfe.acme.invalid")],
                "timestampAuthorities": [],
            }
        )

    def bundle(
        self,
        content: bytes,
        name: str = WORKFLOW,
        issuer: str = ISSUER,
        *,
        at: datetime = SIGNED_AT,
        change: Callable[[Json], None] = lambda _: None,
    ) -> str:
        """`at`: when the log says that it saw it. `change` is of what was made."""
        certificate = self._certificate(name, issuer)
        digest, signature = hashlib.sha256(content).digest(), self.signs.sign(content, _SHA256)
        body = _body(certificate, digest, signature)
        made = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": _text(_der(certificate))},
                "tlogEntries": [self._entry(body, int(at.timestamp()))],
            },
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": _text(digest)},
                "signature": _text(signature),
            },
        }
        change(made)
        return json.dumps(made)

    def with_other(self, *parts: str) -> "Sigstore":
        """One that has other keys for these."""
        return replace(self, **{part: _key() for part in parts})

    def _root(self) -> x509.Certificate:
        key = self.authority
        return (
            x509.CertificateBuilder()
            .subject_name(_named("acme"))
            .issuer_name(_named("acme"))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )

    def _certificate(self, name: str, issuer: str) -> x509.Certificate:
        """For ten minutes, with the timestamp of the log of certificates in it."""
        kind = x509.UniformResourceIdentifier if "://" in name else x509.RFC822Name
        key = self.authority
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(_named("acme"))
            .public_key(self.signs.public_key())
            .serial_number(7)
            .not_valid_before(CERTIFIED_AT)
            .not_valid_after(CERTIFIED_AT + timedelta(minutes=10))
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([kind(name)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_OID, _utf8(issuer)), critical=False)
        )
        early = builder.add_extension(
            x509.UnrecognizedExtension(_TIMESTAMPS_OID, self._timestamps(b"")), critical=False
        ).sign(key, hashes.SHA256())
        timestamps = self._timestamps(early.tbs_precertificate_bytes)
        return builder.add_extension(
            x509.UnrecognizedExtension(_TIMESTAMPS_OID, timestamps), critical=False
        ).sign(key, hashes.SHA256())

    def _timestamps(self, content: bytes) -> bytes:
        """RFC 6962, 3.2 and 3.3."""
        millis = int(CERTIFIED_AT.timestamp() * 1000)
        entry = _id(self.authority) + len(content).to_bytes(3, "big") + content
        signed = struct.pack("!BBQH", 0, 0, millis, 1) + entry + b"\0\0"
        signature = self.certificates.sign(signed, _SHA256)
        one = b"\0" + _id(self.certificates) + struct.pack("!QHBBH", millis, 0, 4, 3, len(signature))
        one += signature
        listed = struct.pack("!HH", len(one) + 2, len(one)) + one
        return b"\x04" + _length(listed) + listed

    def _entry(self, body: bytes, at: int) -> Json:
        """The second of two in its log."""
        first, own = hashlib.sha256(b"\0another").digest(), hashlib.sha256(b"\0" + body).digest()
        root = hashlib.sha256(b"\1" + first + own).digest()
        promised = {
            "body": _text(body),
            "integratedTime": at,
            "logID": _id(self.log).hex(),
            "logIndex": 1,
        }
        canonical = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        note = f"rekor.acme.invalid - 1\n2\n{_text(root)}\n"
        sealed = _text(_id(self.log)[:4] + self.log.sign(note.encode(), _SHA256))
        return {
            "logIndex": "1",
            "logId": {"keyId": _text(_id(self.log))},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
            "integratedTime": str(at),
            "inclusionPromise": {"signedEntryTimestamp": _text(self.log.sign(canonical, _SHA256))},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": _text(root),
                "treeSize": "2",
                "hashes": [_text(first)],
                "checkpoint": {"envelope": f"{note}\n\u2014 rekor.acme.invalid {sealed}\n"},
            },
            "canonicalizedBody": _text(body),
        }


def _body(certificate: x509.Certificate, digest: bytes, signature: bytes) -> bytes:
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    spec = {
        "data": {"hash": {"algorithm": "sha256", "value": digest.hex()}},
        "signature": {"content": _text(signature), "publicKey": {"content": _text(pem)}},
    }
    body = {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _log_of(key: ec.EllipticCurvePrivateKey, url: str) -> Json:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _text(_public(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        },
        "logId": {"keyId": _text(_id(key))},
    }


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_public(key)).digest()


def _utf8(text: str) -> bytes:
    return b"\x0c" + _length(text.encode()) + text.encode()


def _length(content: bytes) -> bytes:
    """As DER has it."""
    size = len(content)
    if size < 128:
        return bytes([size])
    return bytes([0x81, size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
