"""Bundles of sigstore: what counts with no network, and every way in which one does not."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from repave_protos.package import bundles
from repave_protos.package.bundles import Identity, identity, verify
from repave_protos.package.signatures import Fault, SignatureError
from repave_protos.package.signing import IdentitySettings, heard, signer_of, signing_of, told
from tests.fakes.signing import Signer
from tests.fakes.sigstore import ISSUER, SIGNED_AT, WORKFLOW, Sigstore

ACME, OTHER = Sigstore(), Sigstore()
CONTENT = b"the files of an application"
ROOT = ACME.trusted_root()
CI = Identity(WORKFLOW, ISSUER, ROOT)
TAGS = Identity(WORKFLOW.replace("heads/main", "tags/v*"), ISSUER, ROOT)
KEY = Signer()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "app.tar.gz"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (WORKFLOW, CI),
        (WORKFLOW.replace("heads/main", "tags/v2.0"), TAGS),
        ("ann@acme.example", Identity("ann@acme.example", ISSUER, ROOT)),
    ],
    ids=["a branch", "a tag", "a person"],
)
def test_a_bundle_of_an_identity_that_counts_does_so_without_a_network(
    package: Path, name: str, counts: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("no server is asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    text = ACME.bundle(CONTENT, name)
    others = [Identity(WORKFLOW, ISSUER, OTHER.trusted_root()), CI, TAGS, counts]
    assert verify(package, text, others) == counts
    package.write_bytes(CONTENT + b"\0")
    with pytest.raises(SignatureError, match="digest mismatch") as caught:
        verify(package, text, others)
    assert caught.value.fault is Fault.WRONG


Json = dict[str, Any]


def entry(made: Json) -> Json:
    found: Json = made["verificationMaterial"]["tlogEntries"][0]
    return found


def without(*path: str) -> Callable[[Json], None]:
    def change(made: Json) -> None:
        place = entry(made)
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return change


def flipped(*path: str) -> Callable[[Json], None]:
    """One bit of what is in base64 there."""

    def change(made: Json) -> None:
        place = made if path[0] in made else entry(made)
        for name in path[:-1]:
            place = place[name]
        raw = bytearray(base64.b64decode(place[path[-1]]))
        raw[-1] ^= 1
        place[path[-1]] = base64.b64encode(raw).decode()

    return change


def body_of_another(made: Json) -> None:
    made["verificationMaterial"]["tlogEntries"] = json.loads(ACME.bundle(b"evil"))["verificationMaterial"][
        "tlogEntries"
    ]


def evil_digest(made: Json) -> None:
    made["messageSignature"] = json.loads(ACME.bundle(b"evil"))["messageSignature"]


def no_digest_of_evil(made: Json) -> None:
    evil_digest(made)
    del made["messageSignature"]["messageDigest"]


def later(made: Json) -> None:
    entry(made)["integratedTime"] = str(int(SIGNED_AT.timestamp()) + 60)


def no_entry(made: Json) -> None:
    made["verificationMaterial"]["tlogEntries"] = []


def certificate_of_another(made: Json) -> None:
    other = json.loads(ACME.with_other("signs").bundle(CONTENT))
    made["verificationMaterial"]["certificate"] = other["verificationMaterial"]["certificate"]


def attested(made: Json) -> None:
    del made["messageSignature"]
    envelope = {"payload": "e30=", "payloadType": "application/vnd.in-toto+json"}
    made["dsseEnvelope"] = {**envelope, "signatures": [{"sig": "AAAA", "keyid": ""}]}


UNKNOWN, WRONG, UNREADABLE = Fault.UNKNOWN_KEY, Fault.WRONG, Fault.UNREADABLE
PULL = WORKFLOW.replace("heads/main", "pull/7/merge")
GOOD = ACME.bundle(CONTENT)
BAD = {
    "of a pull request": (ACME.bundle(CONTENT, PULL), UNKNOWN, "refs/pull/7/merge"),
    "of another repository": (ACME.bundle(CONTENT, WORKFLOW.replace("acme", "evil")), UNKNOWN, "evil/web"),
    "of a name that only begins so": (ACME.bundle(CONTENT, WORKFLOW + "2"), UNKNOWN, "heads/main2"),
    "of a tag of another workflow": (
        ACME.bundle(CONTENT, WORKFLOW.replace("release.yml@refs/heads/main", "test.yml@refs/tags/v1")),
        UNKNOWN,
        "test.yml",
    ),
    "of another issuer": (ACME.bundle(CONTENT, issuer="https://gitlab.com"), UNKNOWN, "another issuer"),
    "of an issuer that only begins so": (
        ACME.bundle(CONTENT, issuer=ISSUER + ".evil.example"),
        UNKNOWN,
        "another issuer",
    ),
    "of another package": (ACME.bundle(b"evil"), WRONG, "digest mismatch"),
    "of another installation": (OTHER.bundle(CONTENT), WRONG, "certificate chain"),
    "of another authority": (ACME.with_other("authority").bundle(CONTENT), WRONG, "certificate chain"),
    "of another log": (ACME.with_other("log").bundle(CONTENT), WRONG, "checkpoint: invalid signature"),
    "of another log of certificates": (
        ACME.with_other("certificates").bundle(CONTENT),
        WRONG,
        "SCT verify failed",
    ),
    "logged after the certificate's end": (
        ACME.bundle(CONTENT, at=SIGNED_AT + timedelta(hours=1)),
        WRONG,
        "not valid at validation time",
    ),
    "logged before it began": (
        ACME.bundle(CONTENT, at=SIGNED_AT - timedelta(hours=1)),
        WRONG,
        "not valid at validation time",
    ),
    "a time that was changed": (ACME.bundle(CONTENT, change=later), WRONG, "SET: invalid inclusion promise"),
    "an entry of another package": (
        ACME.bundle(CONTENT, change=body_of_another),
        WRONG,
        "inconsistent with other materials",
    ),
    "a signature of another package": (ACME.bundle(CONTENT, change=evil_digest), WRONG, "digest mismatch"),
    "another package's, without its digest": (
        ACME.bundle(CONTENT, change=no_digest_of_evil),
        WRONG,
        "Signature is invalid",
    ),
    "another certificate": (
        ACME.bundle(CONTENT, change=certificate_of_another),
        WRONG,
        "Signature is invalid",
    ),
    "a body that was changed": (
        ACME.bundle(CONTENT, change=flipped("canonicalizedBody")),
        WRONG,
        "invalid root hash",
    ),
    "a promise that was changed": (
        ACME.bundle(CONTENT, change=flipped("inclusionPromise", "signedEntryTimestamp")),
        WRONG,
        "SET: invalid",
    ),
    "a proof that was changed": (
        ACME.bundle(CONTENT, change=flipped("inclusionProof", "rootHash")),
        WRONG,
        "invalid root hash",
    ),
    "a signature that was changed": (
        ACME.bundle(CONTENT, change=flipped("messageSignature", "signature")),
        WRONG,
        "Signature is invalid",
    ),
    "no promise": (
        ACME.bundle(CONTENT, change=without("inclusionPromise")),
        UNREADABLE,
        "inclusion promise or signed timestamp",
    ),
    "no time": (
        ACME.bundle(CONTENT, change=without("integratedTime")),
        WRONG,
        "not enough sources of verified time",
    ),
    "no proof": (ACME.bundle(CONTENT, change=without("inclusionProof")), UNREADABLE, "inclusionProof"),
    "no checkpoint": (
        ACME.bundle(CONTENT, change=without("inclusionProof", "checkpoint")),
        UNREADABLE,
        "with checkpoint",
    ),
    "no entry": (ACME.bundle(CONTENT, change=no_entry), UNREADABLE, "exactly one log entry"),
    "an attestation": (ACME.bundle(CONTENT, change=attested), WRONG, "Missing bundle message signature"),
    "cut": (GOOD[:-20], UNREADABLE, "EOF while parsing"),
    "of another kind": (GOOD.replace("bundle.v0.3", "bundle.v9"), UNREADABLE, "mediaType"),
    "empty": ("{}", UNREADABLE, "Field required"),
    "deep": ('{"a":' * 10_000 + "1" + "}" * 10_000, UNREADABLE, "recursion limit"),
    "huge": (GOOD + " " * bundles.BUNDLE_LENGTH_MAX, UNREADABLE, "longer than 65,536"),
}


@pytest.mark.parametrize("name", BAD)
def test_no_other_bundle_counts(package: Path, name: str) -> None:
    text, fault, says = BAD[name]
    with pytest.raises(SignatureError) as caught:
        signer_of(package, text, [CI, TAGS])
    assert caught.value.fault is fault, str(caught.value)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_keys_and_identities_do_not_stand_in_for_each_other(package: Path) -> None:
    key = signing_of({"*": [KEY.line]}).keys_for("web")
    for text, signers in ((GOOD, key), (KEY.minisign(CONTENT), (CI,))):
        with pytest.raises(SignatureError) as caught:
            signer_of(package, text, signers)
        assert caught.value.fault is Fault.UNKNOWN_KEY
    assert signer_of(package, GOOD, (*key, CI)) == CI
    assert signer_of(package, KEY.minisign(CONTENT), (CI, *key)) == key[0]


def test_before_there_is_a_package_only_its_name_is_looked_at() -> None:
    assert signer_of(None, GOOD, [TAGS, CI]) == CI


def test_agents_hear_what_they_are_told() -> None:
    signers = (*signing_of({"*": [KEY.line]}).keys_for("web"), CI, TAGS, Identity("a@b.c", ISSUER, ROOT))
    lines, roots = told(signers)
    assert (heard(lines, roots), roots, lines[0]) == (signers, (ROOT,), KEY.line)
    for broken in (roots[:0], ("{}",)):
        with pytest.raises(SignatureError):
            heard(lines, broken)


@pytest.mark.parametrize(
    ("name", "issuer", "root", "says"),
    [
        ("https://github.com/acme/*", ISSUER, ROOT, "taken only as the end of a branch or tag"),
        ("*", ISSUER, ROOT, "taken only as"),
        (WORKFLOW.replace("web", "*"), ISSUER, ROOT, "taken only as"),
        ("", ISSUER, ROOT, "is none"),
        ("two words", ISSUER, ROOT, "is none"),
        (WORKFLOW, "token.actions.githubusercontent.com", ROOT, "an address, such as"),
        (WORKFLOW, ISSUER, "{}", "the trusted root is none of sigstore"),
        (WORKFLOW, ISSUER, GOOD, "the trusted root is none of sigstore"),
        (WORKFLOW, ISSUER, ROOT[:-9], "the trusted root is none of sigstore"),
        (WORKFLOW, ISSUER, ROOT.replace('"ctlogs"', '"others"'), "the trusted root is none of sigstore"),
        (WORKFLOW, ISSUER, ROOT + " " * bundles.ROOT_LENGTH_MAX, "is longer than 65,536"),
    ],
)
def test_settings_that_would_let_in_more_or_none_are_refused(
    name: str, issuer: str, root: str, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "trusted_root.json"
    file.write_text(root)
    with pytest.raises(ValueError, match=says):
        signing_of({"*": [IdentitySettings(identity=name, issuer=issuer, trusted_root=str(file))]})


def test_without_the_extra_settings_and_bundles_are_refused_with_the_remedy(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "find_spec", lambda _: None)
    remedy = r"pip install 'repave\[sigstore\]'"
    with pytest.raises(SignatureError, match=remedy):
        verify(package, GOOD, [CI])
    with pytest.raises(SignatureError, match=remedy):
        identity(WORKFLOW, ISSUER, Sigstore().trusted_root())
