"""What certificates and join tokens say; both sides read them alike. Trust is decided elsewhere: by TLS, and
by the controller's authority.

An agent's certificate names its region as spiffe://TRUST_DOMAIN/agent/REGION and serves a client only; a
controller's serves a server only, under one name for every controller.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from repave_protos.protocol.values import RegionName

CONTROLLER_NAME = "controller.repave.internal"
"""An agent expects this name, whatever the address is that it dials: its authority gives it to controllers
alone."""
BACKDATED_SECONDS = 3600
"""So much earlier than it is issued a certificate begins: clocks of machines differ."""
PEM_BYTES_MAX = 64 * 1024
CURVE = ec.SECP256R1()

_SPIFFE_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})/agent/([a-z0-9]+(?:-[a-z0-9]+)*)")
_AGENT = re.compile(r"[0-9a-f]{8}")
_TOKEN = re.compile(r"rpj\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})")


class CertificateError(ValueError):
    """A certificate, a request for one or a join token is not what it should be. The text is for people."""


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Whose certificate it is. Times are Unix times."""

    trust_domain: str
    region: RegionName
    agent: str  # which of the region's agents: it was drawn when it joined
    serial: str
    issuer: str  # the identifier of its authority's key
    issued_at: float
    expires_at: float


def spiffe_id(trust_domain: str, region: str) -> str:
    return f"spiffe://{trust_domain}/agent/{region}"


def trust_domain_of(installation: str) -> str:
    """SPIFFE knows no capital letters."""
    return installation.lower()


def new_agent() -> str:
    return secrets.token_hex(4)


def identity_of(certificate: x509.Certificate) -> AgentIdentity:
    """What an agent's certificate says. Raises CertificateError: it is another kind of certificate."""
    said = _said(certificate)
    if said.usages != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        raise CertificateError("it is no certificate of an agent: those serve as a client and nothing else")
    if said.is_authority:
        raise CertificateError("it is the certificate of an authority, not of an agent")
    name = said.names[0] if len(said.names) == 1 else None
    uri = name.value if isinstance(name, x509.UniformResourceIdentifier) else ""
    found = _SPIFFE_ID.fullmatch(uri)
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    agent = str(common[0].value) if len(common) == 1 else ""
    if found is None or _AGENT.fullmatch(agent) is None:
        raise CertificateError("it names no region as spiffe://INSTALLATION/agent/REGION")
    return AgentIdentity(
        trust_domain=found[1],
        region=RegionName(found[2]),
        agent=agent,
        serial=f"{certificate.serial_number:x}",
        issuer=said.issuer,
        issued_at=certificate.not_valid_before_utc.timestamp() + BACKDATED_SECONDS,
        expires_at=certificate.not_valid_after_utc.timestamp(),
    )


@dataclass(frozen=True, slots=True)
class _Said:
    """What a certificate is for, whether it is an authority's, its names, and who signed it."""

    usages: list[x509.ObjectIdentifier]
    is_authority: bool
    names: list[x509.GeneralName]
    issuer: str


def _said(certificate: x509.Certificate) -> _Said:
    """Raises CertificateError."""
    said = _Said([], False, [], "")
    try:
        for extension in certificate.extensions:
            match extension.value:
                case x509.ExtendedKeyUsage() as found:
                    said = replace(said, usages=list(found))
                case x509.BasicConstraints() as found:
                    said = replace(said, is_authority=found.ca)
                case x509.SubjectAlternativeName() as found:
                    said = replace(said, names=list(found))
                case x509.AuthorityKeyIdentifier() as found:
                    said = replace(said, issuer=(found.key_identifier or b"").hex())
    except ValueError as error:
        raise CertificateError(f"it can't be read: {error}") from error
    return said


def certificates_in(pem: str) -> list[x509.Certificate]:
    """One or more, in their order. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise CertificateError(f"there is no certificate in it: {error}") from error


def pem_of(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


def pin_of(certificate: x509.Certificate) -> str:
    """The SHA-256 of its public key, which outlives a renewal of the certificate: 43 characters."""
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.urlsafe_b64encode(hashlib.sha256(key).digest()).rstrip(b"=").decode()


# -------------------------------------------------------------------------------- an agent's key


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(CURVE)


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def request_for(key: ec.EllipticCurvePrivateKey) -> str:
    """A signing request, which proves that the key is the agent's. It names nothing: what the certificate
    says is for the authority to decide."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def requested_key(pem: str) -> ec.EllipticCurvePublicKey:
    """The key of a signing request; all else that it says is ignored. Raises CertificateError."""
    if len(pem) > PEM_BYTES_MAX:
        raise CertificateError(f"the signing request is longer than {PEM_BYTES_MAX:,} bytes")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        is_signed, key = request.is_signature_valid, request.public_key()
    except Exception as error:  # of many kinds, for bytes of a stranger
        raise CertificateError(
            "the signing request can't be read; write a PKCS #10 request as PEM"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError("the signing request's key is of another kind; make one on the curve P-256")
    if not is_signed:
        raise CertificateError("the signing request is not signed with its own key")
    return key


# -------------------------------------------------------------------------------- join tokens


@dataclass(frozen=True, slots=True)
class JoinWord:
    """A join token as it is pasted: a secret, and the pin of the authority that will know it."""

    secret: str
    pin: str

    def __str__(self) -> str:
        return f"rpj.{self.secret}.{self.pin}"


def new_join_word(pin: str) -> JoinWord:
    return JoinWord(secrets.token_urlsafe(32), pin)


def read_join_word(text: str) -> JoinWord:
    """Raises CertificateError."""
    found = _TOKEN.fullmatch(text.strip())
    if found is None:
        raise CertificateError("this is no join token; paste the line that repave agents join REGION prints")
    return JoinWord(found[1], found[2])


def hash_of(secret: str) -> str:
    """What is stored of a secret of 256 random bits: such a one needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
