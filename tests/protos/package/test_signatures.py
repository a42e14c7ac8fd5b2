"""Signatures of packages: what counts, and every way in which one does not; with the real tools too."""

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from repave_protos.package.signatures import (
    Fault,
    PublicKey,
    SignatureError,
    public_key,
    read_signature,
    verify,
)
from repave_protos.package.signing import signing_of
from tests.fakes.signing import Signer

CI, OTHER = Signer(), Signer(b"otherkey")
CONTENT = b"the files of an application" * 1000
KEYS = (public_key(CI.line, "ci"), public_key(Signer(b"the next").line, "next"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "app.tar.gz"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    "text",
    [CI.minisign(CONTENT), CI.minisign(CONTENT, is_hashed=False), CI.signify(CONTENT)],
    ids=["minisign", "minisign legacy", "signify"],
)
def test_a_package_signed_with_any_of_the_keys_counts(package: Path, text: str) -> None:
    assert verify(package, text, KEYS) == KEYS[0]
    assert verify(package, text.replace("\n", "\r\n"), KEYS[::-1]) == KEYS[0]
    package.write_bytes(CONTENT + b"\0")
    with pytest.raises(SignatureError, match=r"ci \(807060504030201\), and of another package") as caught:
        verify(package, text, KEYS)
    assert caught.value.fault is Fault.WRONG


def _line(text: str, number: int, change: Callable[[str], str]) -> str:
    lines = text.split("\n")
    lines[number] = change(lines[number])
    return "\n".join(lines)


def _other_kind(line: str) -> str:
    raw = base64.b64decode(line)
    return base64.b64encode((b"ED" if raw[:2] == b"Ed" else b"Ed") + raw[2:]).decode()


GOOD = CI.minisign(CONTENT, "file:app.tar.gz")
FORGED = Signer(CI.number)
"""Another key under the same number."""
BAD = {
    "of an unknown key": (OTHER.minisign(CONTENT), Fault.UNKNOWN_KEY),
    "of another key of the same number": (FORGED.minisign(CONTENT), Fault.WRONG),
    "of another package": (CI.minisign(b"evil"), Fault.WRONG),
    "a trusted comment that was changed": (GOOD.replace("file:app", "file:web"), Fault.WRONG),
    "a trusted comment of another signature": (
        "\n".join(GOOD.split("\n")[:2] + CI.minisign(b"evil").split("\n")[2:]),
        Fault.WRONG,
    ),
    "a hash that passes for the bytes": (_line(GOOD, 1, _other_kind), Fault.WRONG),
    "bytes that pass for a hash": (
        _line(CI.minisign(CONTENT, is_hashed=False), 1, _other_kind),
        Fault.WRONG,
    ),
    "a hash without a trusted comment": ("\n".join(GOOD.split("\n")[:2]), Fault.UNREADABLE),
    "one line more": (GOOD + "x\n", Fault.UNREADABLE),
    "cut": (GOOD[:60], Fault.UNREADABLE),
    "no base64": (_line(GOOD, 1, lambda line: "!" + line[1:]), Fault.UNREADABLE),
    "too short": (_line(GOOD, 1, lambda line: line[:-8]), Fault.UNREADABLE),
    "no comment": (_line(GOOD, 0, lambda _: ""), Fault.UNREADABLE),
    "empty": ("", Fault.UNREADABLE),
    "endless": (GOOD.replace("a test", "a" * 5000), Fault.UNREADABLE),
    "of OpenPGP": ("-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n", Fault.UNREADABLE),
}


@pytest.mark.parametrize("name", BAD)
def test_no_other_signature_counts(package: Path, name: str) -> None:
    text, fault = BAD[name]
    with pytest.raises(SignatureError) as caught:
        verify(package, text, KEYS)
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    "text", ["", "RWQ", "ssh-ed25519 AAAA", CI.line + "\n" + OTHER.line, base64.b64encode(b"x" * 42).decode()]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(SignatureError, match="is no public key of minisign or signify"):
        public_key(text)


def test_the_first_glob_says_which_keys_count(tmp_path: Path) -> None:
    file = tmp_path / "ci.pub"
    file.write_text(f"untrusted comment: minisign public key\n{CI.line}\n")
    signing = signing_of({"web-*": [str(file), OTHER.line], "*-open": [OTHER.line], "shop": [CI.line]})
    assert [key.name for key in signing.keys_for("web-open")] == ["ci", ""]
    assert signing.keys_for("x-open") == (public_key(OTHER.line),)
    assert signing.keys_for("shopping") == ()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "name 1 to 20 keys"),
        (["RWnonsense"], "nor the absolute path"),
        (["/no/such.pub"], "can't be read"),
    ],
)
def test_settings_without_a_key_that_can_be_read_are_refused(keys: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        signing_of({"*": keys})


def test_what_minisign_itself_signs_counts(package: Path) -> None:
    key = _generate(package, "minisign", "-G", "-W", "-p", "m.pub", "-s", "m.key")
    for flags in ([], ["-l"]):
        _run(package, "minisign", "-S", *flags, "-s", "m.key", "-m", package.name, "-t", "version 2.0, ü")
        text = package.with_name("app.tar.gz.minisig").read_text()
        assert verify(package, text, [key]) == key
        assert read_signature(text).is_hashed is (not flags)
        _run(package, "minisign", "-V", "-p", "m.pub", "-m", package.name)
    printed = subprocess.run(
        ["minisign", "-R", "-s", "m.key", "-p", "again.pub"],
        cwd=package.parent,
        capture_output=True,
        check=True,
    )
    assert printed.returncode == 0
    assert key.number in package.with_name("again.pub").read_text()  # the number that people see


def test_what_signify_itself_signs_counts(package: Path) -> None:
    key = _generate(package, "signify-openbsd", "-G", "-n", "-p", "m.pub", "-s", "m.sec")
    _run(package, "signify-openbsd", "-S", "-s", "m.sec", "-m", package.name)
    assert verify(package, package.with_name("app.tar.gz.sig").read_text(), [key]) == key


def _generate(package: Path, *command: str) -> PublicKey:
    _run(package, *command)
    return public_key(package.with_name("m.pub").read_text(), "real")


def _run(package: Path, *command: str) -> None:
    subprocess.run(command, cwd=package.parent, check=True, capture_output=True, timeout=20)


def test_a_number_is_written_as_minisign_does_without_leading_zeros() -> None:
    raw = b"Ed" + bytes.fromhex("7867508081d6870d") + bytes(32)
    assert PublicKey(base64.b64encode(raw).decode()).number == "D87D68180506778"
