"""Certificates for tests: an authority, and what it signs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class TestAuthority:
    """A private authority."""

    __test__ = False
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def issue(
        self, folder: Path, address: str = "127.0.0.1", name: str = "server", dns: str = ""
    ) -> tuple[Path, Path]:
        """The files of a new certificate, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        known: list[x509.GeneralName] = [x509.IPAddress(ip_address(address))]
        known += [x509.DNSName(dns)] if dns else []
        names = x509.SubjectAlternativeName(known)
        certificate = (
            _begun(name, key).issuer_name(self.certificate.subject).add_extension(names, critical=False)
        ).sign(self.key, hashes.SHA256())
        files = folder / f"{name}.pem", folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files[1].touch(mode=0o600)
        files[1].write_bytes(secret)
        return files

    def combined(
        self, *names: str, begins: float = -1, days: float = 90, key: rsa.RSAPrivateKey | None = None
    ) -> bytes:
        """PEM of a certificate of these names, with its key. `begins`: days from now."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        begun = datetime.now(UTC) + begins * DAY
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_named(names[0]))
            .issuer_name(self.certificate.subject)
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begun)
            .not_valid_after(begun + days * DAY)
            .add_extension(alternatives, critical=False)
        ).sign(self.key, hashes.SHA256())
        secret = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM) + secret


def new_authority(name: str = "authority") -> TestAuthority:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(name, key).issuer_name(_named(name))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(
        x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
    )
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return TestAuthority(key, builder.sign(key, hashes.SHA256()))


def _begun(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
