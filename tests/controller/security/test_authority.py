"""The authority: what it issues, what it recognises, how it is rotated, and what is kept on disk."""

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from repave_controller.security.authority import (
    AGENT_SECONDS,
    SERVER_SECONDS,
    Authority,
    AuthorityError,
    Issuer,
    OperatorsAuthority,
    OwnAuthority,
    in_force,
)
from repave_protos.protocol.certificates import (
    CONTROLLER_NAME,
    CertificateError,
    certificates_in,
    identity_of,
    key_pem,
    new_key,
    pem_of,
    pin_of,
    request_for,
    requested_key,
)
from repave_protos.protocol.values import RegionName
from tests.fakes.controller.enrolled import BEGAN, INSTALLATION, of_own_authority

PARIS = RegionName("paris")
DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        return self.now


def own(directory: Path, clock: Clock, names: tuple[str, ...] = ()) -> Authority:
    return Authority(OwnAuthority(directory, INSTALLATION, clock()), INSTALLATION, names, clock, directory)


def test_an_agents_certificate_says_its_region_and_nothing_that_the_request_said(tmp_path: Path) -> None:
    authority, key = own(tmp_path, Clock()), new_key()
    asked = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "controller")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(CONTROLLER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, identity = authority.issue(requested_key(pem_of([asked])), PARIS, "0a0a0a0a")  # type: ignore[list-item]  # it has public_bytes too
    leaf = certificates_in(chain)[0]
    assert (identity.region, identity.agent, identity.trust_domain) == (PARIS, "0a0a0a0a", INSTALLATION)
    assert (identity.issued_at, identity.expires_at) == (BEGAN, BEGAN + AGENT_SECONDS)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(f"spiffe://{INSTALLATION}/agent/paris")]
    assert leaf.public_key() == key.public_key()
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.recognise(chain.encode()) == identity


def test_a_servers_certificate_has_the_name_that_agents_expect_and_those_that_people_use(
    tmp_path: Path,
) -> None:
    clock = Clock()
    authority = own(tmp_path, clock, ("repave.example", "127.0.0.1"))
    server = authority.server()
    leaf = certificates_in(server.chain)[0]
    assert list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [
        x509.DNSName(CONTROLLER_NAME),
        x509.DNSName("repave.example"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    with pytest.raises(CertificateError, match="no certificate of an agent"):
        authority.recognise(server.chain.encode())
    assert authority.server() is server
    clock.now += SERVER_SECONDS / 2
    assert authority.server().chain != server.chain


def test_the_authority_outlives_a_restart_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "security"
    first, clock = own(directory, Clock()), Clock()
    chain, identity = first.issue(new_key().public_key(), PARIS, "0a0a0a0a")
    clock.now += DAY
    again = own(directory, clock)
    assert again.pin == first.pin
    assert again.recognise(chain.encode()) == identity
    again.http_context()
    files = sorted(directory.iterdir())
    assert [each.name for each in files] == ["authority-0001.pem"]
    assert [stat.S_IMODE(each.stat().st_mode) for each in (directory, *files)] == [0o700, 0o600]


@pytest.mark.parametrize(
    ("later_seconds", "refused"),
    [(AGENT_SECONDS - 1, ""), (AGENT_SECONDS, "expired"), (AGENT_SECONDS + DAY, "expired")],
)
def test_a_certificate_counts_until_it_expires(tmp_path: Path, later_seconds: float, refused: str) -> None:
    clock = Clock()
    authority = own(tmp_path, clock)
    chain, _ = authority.issue(new_key().public_key(), PARIS, "0a0a0a0a")
    identity = authority.recognise(chain.encode())
    clock.now += later_seconds
    assert refused in authority.objection(identity)
    assert bool(authority.objection(identity)) == bool(refused)


def test_what_another_authority_issued_is_not_recognised(tmp_path: Path) -> None:
    authority = own(tmp_path / "ours", Clock())
    theirs = of_own_authority(tmp_path / "theirs", "paris")
    with pytest.raises(CertificateError, match="not issued by an authority that this controller trusts"):
        authority.recognise(theirs.chain.encode())
    for nonsense in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\x30\x03abc"):
        with pytest.raises(CertificateError):
            authority.recognise(nonsense)


def signed_by(authority: OwnAuthority, *names: x509.GeneralName, common: str = "0a0a0a0a") -> bytes:
    """A certificate that only a mistake of ours, or the key's thief, could have issued."""
    issuer = authority.issuers(BEGAN).issuing
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    begins = datetime.fromtimestamp(BEGAN, UTC)
    return pem_of(
        [
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
            .issuer_name(issuer.certificate.subject)
            .public_key(new_key().public_key())
            .serial_number(1)
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(hours=1))
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(issuer.key, hashes.SHA256())
        ]
    ).encode()


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ((uri("spiffe://store-2/agent/paris"),), "of the installation store-2"),
        ((uri("spiffe://store-1/controller/paris"),), "names no region"),
        ((uri("spiffe://store-1/agent/paris/x"),), "names no region"),
        ((uri("spiffe://store-1/agent/Paris"),), "names no region"),
        ((uri("spiffe://store-1/agent/"),), "names no region"),
        ((uri("spiffe://store-1/agent/paris?x"),), "names no region"),
        ((uri("spiffe://store-1/agent/paris"), uri("spiffe://store-1/agent/oslo")), "names no region"),
        ((x509.DNSName("paris"),), "names no region"),
    ],
)
def test_a_name_is_read_strictly(tmp_path: Path, names: tuple[x509.GeneralName, ...], why: str) -> None:
    source = OwnAuthority(tmp_path, INSTALLATION, BEGAN)
    authority = Authority(source, INSTALLATION, (), Clock(), tmp_path)
    with pytest.raises(CertificateError, match=why):
        authority.recognise(signed_by(source, *names))


def test_an_agent_must_be_named_too(tmp_path: Path) -> None:
    source = OwnAuthority(tmp_path, INSTALLATION, BEGAN)
    (certificate,) = certificates_in(
        signed_by(source, uri("spiffe://store-1/agent/paris"), common="anything").decode()
    )
    with pytest.raises(CertificateError, match="names no region"):
        identity_of(certificate)


# --------------------------------------------------------------------------------------------------- rotation


def test_a_rotation_overlaps_until_every_agent_has_renewed(tmp_path: Path) -> None:
    clock = Clock()
    authority = own(tmp_path, clock)
    source = authority.source
    assert isinstance(source, OwnAuthority)
    former_pin = authority.pin
    before, _ = authority.issue(new_key().public_key(), PARIS, "0a0a0a0a")
    clock.now += DAY
    source.rotate(clock.now)
    after, _ = authority.issue(new_key().public_key(), PARIS, "0b0b0b0b")
    assert authority.pin == former_pin, "an agent that has not renewed trusts the former one alone"
    assert len(certificates_in(authority.authorities)) == 2
    assert authority.recognise(before.encode())
    assert authority.recognise(after.encode())
    clock.now += AGENT_SECONDS - 1
    assert authority.pin == former_pin
    clock.now += 1
    assert authority.pin != former_pin
    assert len(certificates_in(authority.authorities)) == 1
    assert pin_of(certificates_in(authority.server().chain)[1]) == authority.pin
    with pytest.raises(CertificateError, match="not issued by an authority"):
        authority.recognise(before.encode())
    again = own(tmp_path, clock)
    assert again.pin == authority.pin


def test_a_rotation_at_once_ends_all_that_the_former_authority_issued(tmp_path: Path) -> None:
    clock = Clock()
    authority = own(tmp_path, clock)
    source = authority.source
    assert isinstance(source, OwnAuthority)
    chain, _ = authority.issue(new_key().public_key(), PARIS, "0a0a0a0a")
    identity = authority.recognise(chain.encode())
    source.rotate(clock.now, at_once=True)
    assert "replaced at once" in authority.objection(identity)
    with pytest.raises(CertificateError):
        authority.recognise(chain.encode())
    again = own(tmp_path, clock)
    assert again.pin == authority.pin


@pytest.mark.parametrize(
    ("ages", "serving", "trusted"),
    [
        ((100.0,), 0, 1),  # the first one serves from its first second on
        ((100.0, 0.0), 0, 2),
        ((100.0, 9.9), 0, 2),
        ((100.0, 10.0), 1, 1),
        ((100.0, 50.0, 5.0), 1, 2),  # the oldest was settled long ago
        ((100.0, 5.0, 1.0), 0, 3),  # two rotations within one overlap
        ((5.0,), 0, 1),
    ],
)
def test_which_of_several_authorities_serve(ages: tuple[float, ...], serving: int, trusted: int) -> None:
    known = [aged(each) for each in ages]
    found = in_force(known, BEGAN, 10.0)
    assert found.issuing is known[-1]
    assert found.serving is known[serving]
    assert found.trusted == tuple(known[len(known) - trusted :])


def aged(seconds: float) -> Issuer:
    return object.__new__(type("Aged", (Issuer,), {"made_at": BEGAN - seconds, "__slots__": ()}))


# ----------------------------------------------------------------------------------------- an operator's own


def write_operators(directory: Path, name: str, *also: str) -> tuple[Path, Path]:
    """An authority's certificate and key as files, with other certificates behind it."""
    made = OwnAuthority(directory / name, name, BEGAN).issuers(BEGAN).issuing
    assert isinstance(made.key, ec.EllipticCurvePrivateKey)
    certificates, key = directory / "ca.pem", directory / "ca.key"
    certificates.write_text(pem_of([made.certificate]) + "".join(also))
    key.write_text(key_pem(made.key))
    return certificates, key


def test_an_operators_authority_is_read_again_when_its_files_change(tmp_path: Path) -> None:
    certificates, key = write_operators(tmp_path, "one")
    former = certificates.read_text()
    authority = Authority(OperatorsAuthority(certificates, key), INSTALLATION, (), Clock(), tmp_path / "s")
    chain, _ = authority.issue(new_key().public_key(), PARIS, "0a0a0a0a")
    pin = authority.pin
    write_operators(tmp_path, "two", former)
    assert authority.pin != pin
    assert authority.recognise(chain.encode()), "the former one is still in the file"
    assert pin_of(certificates_in(authority.server().chain)[1]) == authority.pin
    certificates.write_text("half a file")
    assert authority.recognise(chain.encode()), "files that can't be used change nothing"


def test_files_that_are_no_authority_are_refused_by_name(tmp_path: Path) -> None:
    certificates, key = write_operators(tmp_path, "one")
    leaf = of_own_authority(tmp_path / "other", "paris")
    certificates.write_text(leaf.chain)
    with pytest.raises(AuthorityError, match=r"ca.pem: its first certificate is not an authority's"):
        OperatorsAuthority(certificates, key).issuers(BEGAN)
    write_operators(tmp_path, "two")
    key.write_text(leaf.key)
    with pytest.raises(AuthorityError, match=r"ca.key is not the key of the first certificate in .*ca.pem"):
        OperatorsAuthority(certificates, key).issuers(BEGAN)
    key.write_text("no key")
    with pytest.raises(AuthorityError, match=r"ca.key: it holds no key"):
        OperatorsAuthority(certificates, key).issuers(BEGAN)
    key.unlink()
    with pytest.raises(AuthorityError, match=r"ca.key: No such file"):
        OperatorsAuthority(certificates, key).issuers(BEGAN)


def test_a_request_that_proves_no_key_is_refused() -> None:
    good = request_for(new_key())
    assert requested_key(good)
    lines = good.splitlines()
    broken = "\n".join([*lines[:2], lines[2][:-6] + "AAAAAA", *lines[3:]])
    rsa = "x" * 70_000
    for bad in ("", "-----BEGIN CERTIFICATE REQUEST-----", broken, rsa):
        with pytest.raises(CertificateError):
            requested_key(bad)
