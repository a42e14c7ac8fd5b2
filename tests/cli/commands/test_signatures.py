"""How a package's signature is handed in: beside it, by the spec, by an option; and what plan says of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_protos.package.signing import IdentitySettings, signing_of
from tests.controller.api.conftest import a_package
from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.signing import Signer
from tests.fakes.sigstore import ISSUER, WORKFLOW, Sigstore

CI, ACME = Signer(), Sigstore()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    key = tmp_path / "ci.pub"
    key.write_text(CI.line)
    root = tmp_path / "trusted_root.json"
    root.write_text(ACME.trusted_root())
    workflow = IdentitySettings(identity=WORKFLOW, issuer=ISSUER, trusted_root=str(root))
    signing = signing_of({"*": [str(key), workflow]})
    with served(tmp_path / "controller", signing=signing) as started:
        yield started


@pytest.fixture
def package(repave: CommandLine) -> Path:
    (repave.folder / "repave.yaml").write_text(SPEC.replace("./app", "'dist/{app}-{version}.tar.gz'"))
    path = repave.folder / "dist" / "hello-2.0.tar.gz"
    path.parent.mkdir()
    path.write_bytes(a_package("2.0"))
    return path


def test_a_signature_beside_the_package_goes_along(repave: CommandLine, package: Path) -> None:
    refused = repave("release", "--version", "2.0")
    assert (refused.code, "must be signed with ci (807060504030201)" in refused.err) == (5, True)
    package.with_name(f"{package.name}.sig").write_bytes(b"\x89 of something else")
    assert "has no signature" in repave("plan", "--version", "2.0").err
    package.with_name(f"{package.name}.sig").write_text(CI.signify(package.read_bytes()))
    plan = repave("plan", "--version", "2.0")
    assert (plan.code, "  signed   with ci (807060504030201)" in plan.out.splitlines()) == (0, True)
    package.with_name(f"{package.name}.minisig").write_text(CI.minisign(package.read_bytes()))
    assert repave("release", "--version", "2.0").code == 0


def test_the_spec_or_an_option_can_name_it(repave: CommandLine, package: Path) -> None:
    signatures = repave.folder / "signatures"
    signatures.mkdir()
    (signatures / "2.0.minisig").write_text(CI.minisign(package.read_bytes()))
    assert repave("plan", "--version", "2.0", "--signature", "signatures/2.0.minisig").code == 0
    spec = repave.folder / "repave.yaml"
    spec.write_text(spec.read_text().replace("{uri:", "{signature: 'signatures/{version}.minisig', uri:"))
    assert repave("validate").code == 0
    assert repave("plan", "--version", "2.0").code == 0
    missing = repave("plan", "--version", "2.0", "--signature", "no.minisig")
    assert (missing.code, "--signature: no.minisig: No such file" in missing.err) == (2, True)
    (signatures / "2.0.minisig").write_text("-----BEGIN PGP SIGNATURE-----\n")
    unreadable = repave("plan", "--version", "2.0")
    assert (unreadable.code, "2.0.minisig is no signature of minisign or signify" in unreadable.err) == (
        2,
        True,
    )


def test_a_bundle_of_sigstore_is_found_beside_the_package_or_named(
    repave: CommandLine, package: Path
) -> None:
    bundle = package.with_name(f"{package.name}.sigstore.json")
    bundle.write_text(ACME.bundle(package.read_bytes()))
    plan = repave("plan", "--version", "2.0")
    assert plan.code == 0
    assert f"  signed   with {WORKFLOW} (sigstore, {ISSUER})" in plan.out.splitlines()
    bundle.rename(repave.folder / "other.json")
    assert "has no signature" in repave("plan", "--version", "2.0").err
    assert repave("release", "--version", "2.0", "--signature", "other.json").code == 0
    (repave.folder / "other.json").write_text("{" + " " * 70_000 + "}")
    huge = repave("plan", "--version", "2.0", "--signature", "other.json")
    assert (huge.code, "other.json is no signature of" in huge.err) == (2, True)
