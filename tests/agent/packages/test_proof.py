"""What an agent launches: packages signed as the release says, and as its own settings do."""

from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.core.ports import HostSpec, PackageError
from repave_agent.packages.proof import Proof
from repave_protos.package import bundles
from repave_protos.package.bundles import Identity
from repave_protos.package.signatures import SignatureError, public_key
from repave_protos.package.signing import IdentitySettings, Signing, signing_of, told
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName
from tests.fakes.agent.region_values import BLUE, a_state
from tests.fakes.agent.worker_rig import fast_group, worker_rig
from tests.fakes.signing import Signer
from tests.fakes.sigstore import ISSUER, WORKFLOW, Sigstore
from tests.fakes.templates import a_template
from tests.fakes.waiting import until

CI, OTHER = Signer(), Signer(b"otherkey")
CONTENT = b"the files of an application"
OWN = signing_of({"shop": [CI.line]})


def spec(signature: str, *signers: Signer, application: str = "shop") -> HostSpec:
    template = a_template(signature=signature, signers=tuple(each.line for each in signers))
    name, group = HostName(f"{application}-v001-1"), GroupName(f"{application}-v001")
    return HostSpec(name, group, ApplicationName(application), Digest("d" * 64), template)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "package"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    ("signing", "host"),
    [
        (Signing(), spec("")),
        (Signing(), spec(CI.minisign(CONTENT), CI)),
        (Signing(), spec(CI.signify(CONTENT), OTHER, CI)),
        (OWN, spec(CI.minisign(CONTENT))),
        (OWN, spec(CI.minisign(CONTENT), CI)),
        (OWN, spec("", application="web")),
    ],
    ids=["no rule", "minisign", "signify", "own rule alone", "both rules", "rule of another application"],
)
async def test_what_is_signed_as_it_must_be_is_launched(
    signing: Signing, host: HostSpec, package: Path
) -> None:
    proof = Proof(signing)
    await proof.check(host, package)
    await proof.check(host, package)


@pytest.mark.parametrize(
    ("signing", "host", "says"),
    [
        (Signing(), spec("", CI), "is not signed, and the controller's settings"),
        (Signing(), spec(OTHER.minisign(CONTENT), CI), "79656B726568746F, which is not one that counts"),
        (Signing(), spec(CI.minisign(b"evil"), CI), "of another package than this one"),
        (OWN, spec(""), "this agent's settings"),
        (OWN, spec(OTHER.minisign(CONTENT), OTHER), "this agent's settings"),
        (signing_of({"shop": [OTHER.line]}), spec(CI.minisign(CONTENT), CI), "this agent's settings"),
    ],
    ids=[
        "none",
        "other key",
        "other package",
        "a controller that asks for none",
        "a controller with keys of its own",
        "keys that have changed since",
    ],
)
async def test_nothing_else_is(signing: Signing, host: HostSpec, says: str, package: Path) -> None:
    with pytest.raises(PackageError, match="Release it with") as caught:
        await Proof(signing).check(host, package)
    assert says in str(caught.value)


async def test_a_package_that_was_good_under_one_key_is_looked_at_again_under_others(package: Path) -> None:
    proof = Proof()
    await proof.check(spec(CI.minisign(CONTENT), CI), package)
    with pytest.raises(PackageError, match="not one that counts"):
        await proof.check(spec(CI.minisign(CONTENT), OTHER), package)


async def test_no_host_of_an_unsigned_package_is_made_and_the_report_says_why(tmp_path: Path) -> None:
    async with worker_rig(tmp_path) as rig:
        await rig.desire(a_state(fast_group(BLUE, signers=(CI.line,)), rev=1))
        await until(lambda: rig.report(BLUE).trouble != "")
        assert "the package is not signed, and the controller's settings" in rig.report(BLUE).trouble
        assert rig.cloud.hosts == {}


ACME = Sigstore()
ROOT = ACME.trusted_root()
WORKFLOWS = Identity(WORKFLOW, ISSUER, ROOT)


def bundled(text: str, *asked: Identity) -> HostSpec:
    lines, roots = told(asked)
    host = spec(text)
    return replace(host, template=replace(host.template, signers=lines, trusted_roots=roots))


async def test_a_bundle_of_sigstore_is_looked_at_as_the_controller_and_these_settings_say(
    package: Path, tmp_path: Path
) -> None:
    (tmp_path / "root.json").write_text(ROOT)
    named = IdentitySettings(identity=WORKFLOW, issuer=ISSUER, trusted_root=str(tmp_path / "root.json"))
    own = signing_of({"shop": [named]})
    good, other = ACME.bundle(CONTENT), Sigstore()
    for signing, host in ((Signing(), bundled(good, WORKFLOWS)), (own, bundled(good))):
        await Proof(signing).check(host, package)
    for signing, host, says in (
        (Signing(), bundled("", WORKFLOWS), "is not signed"),
        (Signing(), bundled(ACME.bundle(b"evil"), WORKFLOWS), "digest mismatch"),
        (Signing(), bundled(ACME.bundle(CONTENT, "eve@acme.example"), WORKFLOWS), "eve@acme.example"),
        (own, bundled(""), "this agent's settings"),
        (own, bundled(other.bundle(CONTENT), replace(WORKFLOWS, root=other.trusted_root())), "this agent's"),
    ):
        with pytest.raises(PackageError, match="Release it with") as caught:
            await Proof(signing).check(host, package)
        assert says in str(caught.value)


async def test_an_identity_without_its_root_or_without_the_extra_launches_nothing(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = bundled(ACME.bundle(CONTENT), WORKFLOWS)
    with pytest.raises(PackageError, match="comes without its trusted root"):
        await Proof().check(replace(host, template=replace(host.template, trusted_roots=())), package)
    monkeypatch.setattr(bundles, "find_spec", lambda _: None)
    with pytest.raises(PackageError, match=r"pip install 'repave\[sigstore\]'"):
        await Proof().check(host, package)


def test_an_agent_that_knows_keys_alone_finds_none_in_the_line_of_an_identity() -> None:
    """As version 0.1 reads it: so it launches nothing."""
    with pytest.raises(SignatureError):
        public_key(told([WORKFLOWS])[0][0])
