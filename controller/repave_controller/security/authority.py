"""The certificate authority: who issues, whom it trusts, and what its certificates say.

The controller's own authority is made at the first start, and rotated with an overlap: the new one issues at
once, and the former one serves until every agent has renewed. An operator's authority is read from files,
again whenever they change; the order in the file is its rotation.
"""

import ipaddress
import os
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from repave_protos.daemon.files import make_directory, replace
from repave_protos.protocol.certificates import (
    BACKDATED_SECONDS,
    CONTROLLER_NAME,
    AgentIdentity,
    CertificateError,
    certificates_in,
    identity_of,
    key_pem,
    new_key,
    pem_of,
    pin_of,
    spiffe_id,
)
from repave_protos.protocol.channel import Shown
from repave_protos.protocol.values import RegionName

HOUR, DAY = 3600.0, 86_400.0
AGENT_SECONDS = 72 * HOUR
"""An agent renews at half of it, and so outlives a controller that is away for a day and a half."""
SERVER_SECONDS = 30 * DAY
AUTHORITY_SECONDS = 3650 * DAY
AUTHORITIES_MAX = 8

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class AuthorityError(OSError):
    """The authority can't be used. The text names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority's certificate, and its key where it issues."""

    certificate: x509.Certificate
    key: Key | None = None

    @property
    def made_at(self) -> float:
        return self.certificate.not_valid_before_utc.timestamp() + BACKDATED_SECONDS


@dataclass(frozen=True, slots=True)
class Issuers:
    """Those in force: one issues to agents, one to the controller's own servers; several are trusted."""

    issuing: Issuer
    serving: Issuer
    trusted: tuple[Issuer, ...]


def in_force(known: Sequence[Issuer], now: float, overlap_seconds: float) -> Issuers:
    """Of authorities from the oldest to the newest. Until the newest is older than the overlap there may be
    agents that do not trust it: the one before serves, and is trusted."""
    settled = [place for place, each in enumerate(known) if now >= each.made_at + overlap_seconds]
    first = settled[-1] if settled else 0
    return Issuers(known[-1], known[first], tuple(known[first:]))


class Source(Protocol):
    """Where authorities come from."""

    def issuers(self, now: float) -> Issuers:
        """Raises AuthorityError."""


# ------------------------------------------------------------------------------------------------- our own


class OwnAuthority:
    """A directory of authorities that this controller made, each with its key: readable by it alone."""

    def __init__(
        self, directory: Path, name: str, now: float, overlap_seconds: float = AGENT_SECONDS
    ) -> None:
        """Makes the first one when there is none. Raises AuthorityError, UnsafeDirectoryError."""
        make_directory(directory)
        self._directory, self._name, self._overlap_seconds = directory, name, overlap_seconds
        self._known = [_read(each, each) for each in sorted(directory.glob("authority-*.pem"))]
        if not self._known:
            self._add(now)

    def issuers(self, now: float) -> Issuers:
        return in_force(self._known, now, self._overlap_seconds)

    def settles_at(self, now: float) -> float | None:
        """When the overlap of a rotation is over; None: none is under way."""
        newest = self._known[-1]
        ends_at = newest.made_at + self._overlap_seconds
        return ends_at if len(self.issuers(now).trusted) > 1 and ends_at > now else None

    def rotate(self, now: float, *, at_once: bool = False) -> None:
        """Adds a new authority; with `at_once` those before it are trusted no longer."""
        if at_once:
            for file in sorted(self._directory.glob("authority-*.pem")):
                file.rename(file.with_suffix(".retired"))
            self._known = []
        self._add(now)

    def _add(self, now: float) -> None:
        issuer, number = _self_signed(self._name, now), len(list(self._directory.glob("authority-*"))) + 1
        assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
        content = key_pem(issuer.key) + pem_of([issuer.certificate])
        replace(self._directory / f"authority-{number:04}.pem", content.encode())
        self._known.append(issuer)


def _self_signed(name: str, now: float) -> Issuer:
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"repave {name}")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_SECONDS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(for_authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    return Issuer(builder.sign(key, hashes.SHA256()), key)


# ---------------------------------------------------------------------------------------------- an operator's


class OperatorsAuthority:
    """Two files of the operator: certificates, of which the first issues and all are trusted, and its key."""

    def __init__(self, certificates: Path, key: Path) -> None:
        self._certificates, self._key = certificates, key
        self._stamp: tuple[object, ...] = ()
        self._issuers: Issuers | None = None

    def issuers(self, now: float) -> Issuers:
        """As the files are now; while one that was changed can't be used, the former pair stays."""
        try:
            stamp = tuple(
                (each.stat().st_mtime_ns, each.stat().st_ino) for each in (self._certificates, self._key)
            )
            if self._issuers is None or stamp != self._stamp:
                issuer = _read(self._certificates, self._key)
                others = [Issuer(each) for each in _certificates(self._certificates)[1:]]
                self._issuers, self._stamp = Issuers(issuer, issuer, (issuer, *others)), stamp
        except OSError as error:
            if self._issuers is None:
                raise AuthorityError(
                    f"{self._certificates}, {self._key}: {error.strerror or error}"
                ) from error
        return self._issuers


def _read(certificates: Path, key: Path) -> Issuer:
    """The first certificate of a file with its key. Raises AuthorityError."""
    certificate = _certificates(certificates)[0]
    try:
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"{key}: it holds no key without a passphrase, as PEM: {error}") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise AuthorityError(f"{key}: use a key of the kind ECDSA, RSA or Ed25519")
    if loaded.public_key() != certificate.public_key():
        raise AuthorityError(f"{key} is not the key of the first certificate in {certificates}")
    return Issuer(certificate, loaded)


def _certificates(file: Path) -> list[x509.Certificate]:
    try:
        found = certificates_in(file.read_text(errors="replace"))
        constraints = found[0].extensions.get_extension_for_class(x509.BasicConstraints).value
    except CertificateError as error:
        raise AuthorityError(f"{file}: {error}") from error
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    if not constraints.ca:
        raise AuthorityError(f"{file}: its first certificate is not an authority's (CA:TRUE)")
    return found


# --------------------------------------------------------------------------------------------- what it does


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a server of the controller shows, and whose clients it takes. All PEM."""

    key: str
    chain: str
    authorities: str
    renew_at: float


class Authority:
    """Issues to agents and to the controller's own servers, and recognises what it has issued."""

    def __init__(
        self,
        source: Source,
        trust_domain: str,
        names: Sequence[str],
        clock: Callable[[], float],
        directory: Path,
        agent_seconds: float = AGENT_SECONDS,
    ) -> None:
        """`names`: DNS names and addresses under which people reach the controller. `directory`: for what TLS
        reads from a file. Raises AuthorityError when nothing can be issued."""
        self.source, self.trust_domain, self.agent_seconds = source, trust_domain, agent_seconds
        self._names, self._clock, self._directory = tuple(names), clock, directory
        self._lock = threading.Lock()  # gRPC asks from a thread of its own
        self._server: ServerCertificate | None = None
        self._context: tuple[ServerCertificate, ssl.SSLContext] | None = None
        self.server()

    # ------------------------------------------------------------------------------------------- agents

    @property
    def pin(self) -> str:
        """Of the authority that serves now: what a joining agent meets."""
        return pin_of(self._in_force().serving.certificate)

    @property
    def pins(self) -> Sequence[str]:
        """Of all that are trusted."""
        return [pin_of(each.certificate) for each in self._in_force().trusted]

    @property
    def authorities(self) -> str:
        """All that are trusted, as PEM."""
        return pem_of([each.certificate for each in self._in_force().trusted])

    def issue(
        self, key: ec.EllipticCurvePublicKey, region: RegionName, agent: str
    ) -> tuple[str, AgentIdentity]:
        """A certificate for an agent of the region, with its chain as PEM, and what it says."""
        now, issuer = self._clock(), self._in_force().issuing
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, agent)])
        names = [x509.UniformResourceIdentifier(spiffe_id(self.trust_domain, region))]
        certificate = _signed(
            issuer, subject, names, key, ExtendedKeyUsageOID.CLIENT_AUTH, now, self.agent_seconds
        )
        return pem_of([certificate, issuer.certificate]), identity_of(certificate)

    def recognise(self, certificate: bytes) -> AgentIdentity:
        """Whose certificate (PEM or DER) it is, if this authority issued it and it holds now.

        TLS has looked at this already, but for authorities that are trusted no longer. Raises
        CertificateError.
        """
        try:
            is_pem = certificate.startswith(b"-----")
            loaded = (x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate)(
                certificate
            )
        except ValueError as error:
            raise CertificateError(f"it is no certificate: {error}") from error
        if not any(_issued(each.certificate, loaded) for each in self._in_force().trusted):
            raise CertificateError("it was not issued by an authority that this controller trusts now")
        identity = identity_of(loaded)
        if identity.trust_domain != self.trust_domain:
            raise CertificateError(
                f"it is of the installation {identity.trust_domain}, and this one is {self.trust_domain}"
            )
        return identity

    def objection(self, identity: AgentIdentity) -> str:
        """Why a certificate that was recognised counts no longer, or ""."""
        if self._clock() >= identity.expires_at:
            return "its certificate has expired"
        if identity.issuer not in map(_key_identifier, self._in_force().trusted):
            return "its certificate is of an authority that was replaced at once"
        return ""

    # ------------------------------------------------------------------------------------------ servers

    def server(self) -> ServerCertificate:
        """For gRPC, asked at each connection: issued anew at half of its life, or when authorities change."""
        with self._lock:
            now, issuers = self._clock(), self._in_force()
            authorities = pem_of([each.certificate for each in issuers.trusted])
            known = self._server
            is_valid = known is not None and now < known.renew_at and known.authorities == authorities
            if known is None or not is_valid:
                known = self._server = self._new_server(issuers.serving, authorities, now)
            return known

    def expiries(self) -> dict[str, float]:
        """When the authority that issues ends, and the certificate of the servers."""
        served = x509.load_pem_x509_certificate(self.server().chain.encode())
        authority = self._in_force().serving.certificate
        found = {"server": served, "authority": authority}
        return {name: each.not_valid_after_utc.timestamp() for name, each in found.items()}

    def shown(self) -> Shown:
        """The same as gRPC takes it."""
        server = self.server()
        return Shown(server.key, server.chain, server.authorities)

    def _new_server(self, issuer: Issuer, authorities: str, now: float) -> ServerCertificate:
        key = new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CONTROLLER_NAME)])
        names = [_general_name(each) for each in dict.fromkeys((CONTROLLER_NAME, *self._names))]
        certificate = _signed(
            issuer,
            subject,
            names,
            key.public_key(),
            ExtendedKeyUsageOID.SERVER_AUTH,
            now,
            SERVER_SECONDS,
        )
        chain = pem_of([certificate, issuer.certificate])
        return ServerCertificate(key_pem(key), chain, authorities, now + SERVER_SECONDS / 2)

    def http_context(self) -> ssl.SSLContext:
        """For an HTTPS server. Each handshake gets the certificate of its time; a client may show one of an
        agent, and none is needed."""
        context = self._context_now()

        def choose(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
            connection.context = self._context_now()

        context.sni_callback = choose
        return context

    def _context_now(self) -> ssl.SSLContext:
        server = self.server()
        if self._context is None or self._context[0] is not server:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(cadata=server.authorities)
            context.verify_mode = ssl.CERT_OPTIONAL
            self._load(context, server)
            self._context = server, context
        return self._context[1]

    def _load(self, context: ssl.SSLContext, server: ServerCertificate) -> None:
        """Python takes a key from a file only."""
        make_directory(self._directory)
        file = self._directory / f"server-{os.getpid()}.pem"
        replace(file, (server.key + server.chain).encode(), durable=False)
        try:
            context.load_cert_chain(file)
        finally:
            file.unlink()

    def _in_force(self) -> Issuers:
        return self.source.issuers(self._clock())


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signed(
    issuer: Issuer,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    key: ec.EllipticCurvePublicKey,
    purpose: x509.ObjectIdentifier,
    now: float,
    seconds: float,
) -> x509.Certificate:
    """A process's certificate: never an authority's, and good for one purpose. It ends with its issuer's."""
    assert issuer.key is not None, "the one that issues has its key"
    left = issuer.certificate.not_valid_after_utc.timestamp() - now
    if left <= 0:
        raise AuthorityError("the authority's certificate has expired: give another one, or rotate it")
    builder = (
        _builder(subject, issuer.certificate.subject, key, now, min(seconds, left))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(for_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_identifier_of(issuer.certificate), critical=False)
    )
    return builder.sign(
        issuer.key, None if isinstance(issuer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )


def _identifier_of(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        known = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = authority.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _key_identifier(issuer: Issuer) -> str:
    return (_identifier_of(issuer.certificate).key_identifier or b"").hex()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, seconds: float
) -> x509.CertificateBuilder:
    begins = datetime.fromtimestamp(int(now), UTC) - timedelta(seconds=BACKDATED_SECONDS)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(datetime.fromtimestamp(int(now + seconds), UTC))
    )


def _usage(*, for_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not for_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=for_authority,
        crl_sign=for_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
