"""Packages that must be signed: a release without the right signature is refused, and a spec has no say."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from repave_protos.package.signing import signing_of
from repave_protos.protocol.values import ApplicationName, RegionName
from tests.controller.api.conftest import SPEC, Asked, a_package
from tests.fakes.controller.asking import Answered
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.signing import Signer

CI, NEXT, OTHER = Signer(), Signer(b"the next"), Signer(b"otherkey")
SIGNING = signing_of({"hello": [CI.line, NEXT.line], "*": [OTHER.line]})


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path, signing=SIGNING) as started:
        yield started


def refused(answer: Answered, kind: str) -> str:
    assert (answer.status, answer.json["rule"]) == (409, kind), answer.content
    detail: str = answer.json["detail"]
    return detail


def test_a_release_without_its_signature_is_refused_and_names_key_and_remedy(api: Asked) -> None:
    detail = refused(api.release(), "signature")
    assert detail == (
        "packages of hello must be signed with 807060504030201 or 7478656E20656874, and this one has no "
        "signature; sign it with minisign -Sm PACKAGE, or as an identity with cosign sign-blob --bundle "
        "PACKAGE.sigstore.json PACKAGE, and release it with that file beside it, or with --signature FILE"
    )
    assert api.get("applications").json["items"] == []


@pytest.mark.parametrize("signer", [CI, NEXT], ids=["the old key", "the next key"])
def test_a_signed_release_goes_on_with_its_signature_and_a_later_one_of_it_needs_none(
    api: Asked, controller: ServedController, signer: Signer
) -> None:
    """While keys change both count; what was found right is kept beside the package."""
    signature = signer.minisign(a_package("v1"))
    assert api.release(signature=signature).status == 202
    api.ended()
    group = controller.desired[RegionName("paris")][ApplicationName("hello")].groups[0]
    assert (group.template.signature, group.template.signers) == (signature, (CI.line, NEXT.line))
    assert api.release(version="v1", force=True).json["group"] == "hello-v002"


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (OTHER.minisign(a_package("v1")), "made with the key 79656B726568746F, which is not one that counts"),
        (CI.minisign(a_package("v0")), "and of another package than this one"),
        (CI.signify(a_package("v0")), "and of another package than this one"),
        ("nonsense", "is no signature of minisign or signify"),
    ],
    ids=["other key", "other package", "signify of another", "unreadable"],
)
def test_a_wrong_signature_is_refused_and_none_of_it_is_kept(api: Asked, signature: str, says: str) -> None:
    assert says in refused(api.release(signature=signature), "signature")
    assert "has no signature" in refused(api.release(), "signature")


def test_a_spec_has_no_say_in_it(api: Asked) -> None:
    """Not by what it names as its signature, nor by another name: every application has its keys here."""
    api.push()
    for spec in (SPEC, SPEC.replace("{uri: ./app}", "{uri: ./app, signature: ./none.minisig}")):
        assert "has no signature" in refused(api.release(spec=spec), "signature")
    other = SPEC.replace("app: hello", "app: hello\nstack: test")
    body = {"spec": other, "digest": api.push(), "signature": CI.minisign(a_package("v1"))}
    assert "7965" in refused(api.post("applications/hello-test/releases", body), "signature")


def test_a_package_that_is_not_stored_yet_can_not_slip_by(api: Asked) -> None:
    digest = "0" * 64
    body = {"spec": SPEC, "digest": digest, "signature": CI.minisign(b"x")}
    assert api.post("applications/hello/releases", body).json["rule"] == "unknown-image"


def test_a_plan_says_who_signed_it_or_what_is_lacking(api: Asked) -> None:
    body = {"spec": SPEC, "digest": api.push(), "version": "v1"}
    assert "has no signature" in api.post("plan", body).json["problems"][0]
    good = api.post("plan", {**body, "signature": CI.minisign(a_package("v1"))}).json
    assert (good["problems"], good["signer"]) == ([], "807060504030201")
    early = {**body, "digest": "0" * 64, "will_push": True, "signature": CI.minisign(b"")}
    assert api.post("plan", early).json["problems"] == []  # of what is not there only the key is looked at
    early["signature"] = OTHER.minisign(b"")
    assert "not one that counts" in api.post("plan", early).json["problems"][0]


def test_a_region_whose_agent_does_not_look_gets_no_package_that_must_be_signed(
    api: Asked, controller: ServedController
) -> None:
    view = controller.sessions.known[RegionName("oslo")]
    view.hello = replace(view.hello, capabilities=("weights",))
    answer = api.release(signature=CI.minisign(a_package("v1")))
    assert refused(answer, "agents-do-not-verify").startswith(
        "packages of hello must be signed, and the agents of oslo are too old to look at signatures; upgrade"
    )
