"""Packages that certain identities must have signed with sigstore: the same refusals, and who gets them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from repave_protos.package.signing import IdentitySettings, signing_of
from repave_protos.protocol.values import ApplicationName, RegionName
from tests.controller.api.conftest import SPEC, Asked, a_package
from tests.fakes.controller.asking import Answered
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.signing import Signer
from tests.fakes.sigstore import ISSUER, WORKFLOW, Sigstore

ACME, KEY = Sigstore(), Signer()
ROOT = ACME.trusted_root()
NAMED = f"{WORKFLOW} (sigstore, {ISSUER})"


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    root = tmp_path / "trusted_root.json"
    root.write_text(ROOT)
    named = IdentitySettings(identity=WORKFLOW, issuer=ISSUER, trusted_root=str(root))
    with served(tmp_path, signing=signing_of({"*": [KEY.line, named]})) as started:
        yield started


def refused(answer: Answered, kind: str) -> str:
    assert (answer.status, answer.json["rule"]) == (409, kind), answer.content
    detail: str = answer.json["detail"]
    return detail


def test_a_release_goes_on_with_its_bundle_and_what_agents_need_to_verify_it(
    api: Asked, controller: ServedController
) -> None:
    bundle = ACME.bundle(a_package("v1"))
    body = {"spec": SPEC, "digest": api.push(), "version": "v1", "signature": bundle}
    plan = api.post("plan", body).json
    assert (plan["problems"], plan["signer"]) == ([], NAMED)
    assert api.release(signature=bundle).status == 202
    api.ended()
    template = controller.desired[RegionName("paris")][ApplicationName("hello")].groups[0].template
    assert template.signature == bundle
    assert template.signers == (f"sigstore 0 {ISSUER} {WORKFLOW}",)
    assert template.trusted_roots == (ROOT,)
    assert api.release(version="v1", force=True).json["group"] == "hello-v002"  # with what was kept


def test_a_bundle_that_does_not_count_is_refused_and_nothing_of_it_is_kept(api: Asked) -> None:
    package = a_package("v1")
    assert f"or {NAMED}, and this one has no signature" in refused(api.release(), "signature")
    for bundle, says in (
        (ACME.bundle(package, WORKFLOW.replace("acme", "evil")), "evil/web"),
        (Sigstore().bundle(package), "certificate chain"),
        (ACME.bundle(a_package("v0")), "digest mismatch"),
        (ACME.bundle(package)[:-9], "no bundle of sigstore"),
    ):
        assert says in refused(api.release(signature=bundle), "signature")
    huge = api.release(signature=ACME.bundle(package) + " " * 65_536)
    assert (huge.status, huge.json["rule"]) == (400, "bad-request")
    assert "has no signature" in refused(api.release(), "signature")
    assert api.get("applications").json["items"] == []


def test_a_region_whose_agent_can_not_verify_bundles_gets_packages_signed_with_keys_alone(
    api: Asked, controller: ServedController
) -> None:
    view = controller.sessions.known[RegionName("oslo")]
    view.hello = replace(view.hello, capabilities=("weights", "signatures"))
    detail = refused(api.release(signature=ACME.bundle(a_package("v1"))), "agents-do-not-verify")
    assert "the agents of oslo can't verify its bundle; upgrade them first, with the extra: pip" in detail
    assert api.release(signature=KEY.minisign(a_package("v1"))).status == 202
    api.ended()
    template = controller.desired[RegionName("oslo")][ApplicationName("hello")].groups[0].template
    assert (template.signers, template.trusted_roots) == ((KEY.line,), ())
