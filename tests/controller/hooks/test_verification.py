"""Each sender's scheme: what it signs counts, and nothing else does."""

import dataclasses
import json
from urllib.parse import quote

import pytest
from yarl import URL

from repave_controller.hooks.payloads import built_of
from repave_controller.hooks.verification import Arrived, known_by, named, payload_of, verified
from repave_controller.security.standard_webhooks import TOLERANCE_SECONDS, NotSigned, headers_for
from tests.controller.hooks.senders import (
    NOW,
    PAYLOADS,
    SECRET,
    TRAVIS_PEM,
    arrived,
    body_of,
    hex_of,
    secrets_of,
)

NAMES = sorted(PAYLOADS)
SIGNED_WHOLE = [each for each in NAMES if not each.startswith("gitlab")]
"""GitLab's token says nothing of the body."""


def check(name: str, came: Arrived, now: float = NOW) -> str:
    return verified(name.partition(" ")[0], came, secrets_of(name), now)


def with_headers(came: Arrived, **changes: str) -> Arrived:
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    return dataclasses.replace(came, headers={**came.headers, **changed})


def without_proof(came: Arrived) -> Arrived:
    kept = ("content-type", "x-github-event", "webhook-id", "webhook-timestamp")
    return dataclasses.replace(came, headers={key: each for key, each in came.headers.items() if key in kept})


@pytest.mark.parametrize("name", NAMES)
def test_what_is_signed_counts_and_is_known_by_the_same_name_again(name: str) -> None:
    came = arrived(name)
    assert check(name, came) == check(name, came)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_signed_does_not_count(name: str) -> None:
    with pytest.raises(NotSigned):
        check(name, without_proof(arrived(name)))


@pytest.mark.parametrize("name", [each for each in NAMES if not each.startswith("travis")])
@pytest.mark.parametrize("secret", ["", "wrong", SECRET[:-1], SECRET + " ", "ünïcode"])
def test_another_secret_does_not_count(name: str, secret: str) -> None:
    with pytest.raises(NotSigned) as caught:
        check(name, arrived(name, secret=secret))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", SIGNED_WHOLE)
def test_a_body_that_was_changed_or_cut_does_not_count(name: str) -> None:
    came = arrived(name)
    for body in (came.body[:-1], came.body + b" ", came.body.replace(b"main", b"evil"), b""):
        if body != came.body:
            with pytest.raises(NotSigned):
                check(name, dataclasses.replace(came, body=body))


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("github push", "x-hub-signature-256", "sha1=abc"),
        ("github push", "x-hub-signature-256", hex_of(SECRET, body_of("github push"))),
        ("github push", "x-hub-signature-256", "sha256=ü\udcff"),
        ("circleci workflow-completed", "circleci-signature", "v2=abc"),
        ("circleci workflow-completed", "circleci-signature", "v1="),
        ("travis build", "signature", "no base64"),
        ("travis build", "signature", ""),
        ("travis build", "signature", "AAAA"),
        ("jenkins build", "x-repave-signature-256", "sha256="),
        ("generic build", "webhook-signature", "v1,"),
    ],
)
def test_a_signature_of_another_form_does_not_count(name: str, header: str, value: str) -> None:
    came = arrived(name)
    with pytest.raises(NotSigned):
        check(name, dataclasses.replace(came, headers={**came.headers, header: value}))


def test_circleci_may_sign_in_several_versions() -> None:
    came = arrived("circleci workflow-completed")
    several = f"v0=abc, {came.headers['circleci-signature']},v2=xyz"
    assert check("circleci x", with_headers(came, circleci_signature=several))


def test_secrets_are_changed_without_a_gap() -> None:
    came = arrived("github push")
    assert verified("github", came, ["new", SECRET], NOW)
    with pytest.raises(ValueError, match="no secret"):
        verified("github", came, [], NOW)


def test_an_old_delivery_under_a_new_id_is_the_one_that_came() -> None:
    one, other = arrived("github push", id="d-1"), arrived("github push", id="d-2")
    assert check("github push", one) == check("github push", other) == known_by(one.body)


@pytest.mark.parametrize("late", [TOLERANCE_SECONDS + 1, -TOLERANCE_SECONDS - 1])
def test_what_says_when_it_was_sent_counts_for_minutes_only(late: float) -> None:
    with pytest.raises(NotSigned, match="away from now"):
        check("generic build", arrived("generic build"), NOW + late)


def test_gitlab_signs_where_its_hook_has_a_signing_token() -> None:
    body = body_of("gitlab pipeline")
    headers = headers_for(["whsec_c2VjcmV0"], "m-1", NOW, body)
    assert verified("gitlab", Arrived(headers, body), ["whsec_c2VjcmV0"], NOW) == "m-m-1"
    both = Arrived({**headers, "x-gitlab-token": "whsec_c2VjcmV0"}, body + b" ")
    with pytest.raises(NotSigned):  # a wrong signature is not rescued by a right token
        verified("gitlab", both, ["whsec_c2VjcmV0"], NOW)


def test_jenkins_may_send_a_token_or_sign_as_standard_webhooks_has_it() -> None:
    body = body_of("jenkins build")
    assert verified("jenkins", Arrived({"x-repave-token": SECRET}, body), [SECRET], NOW) == known_by(body)
    assert verified("jenkins", Arrived(headers_for([SECRET], "7", NOW, body), body), [SECRET], NOW) == "m-7"


def test_a_key_of_travis_that_is_none_is_our_fault() -> None:
    for key in ("", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        with pytest.raises(ValueError, match="can't be read"):
            verified("travis", arrived("travis build"), [key], NOW)
    assert verified("travis", arrived("travis build"), [TRAVIS_PEM], NOW)


def test_a_form_has_its_payload_in_a_field() -> None:
    assert payload_of(arrived("travis build")) == body_of("travis build").decode()
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert payload_of(Arrived(form, b"other=1")) == ""
    assert payload_of(Arrived(form, b"a=1&" * 50)) == ""


@pytest.mark.parametrize(
    "id", ["a/b", "../../x", "a%2Fb", "a b", "é", "?x=1", "#", "a\\b", "a:b", ".", "-x", "a\n", "x" * 150]
)
def test_a_deliverys_name_can_stand_in_an_address(id: str) -> None:
    name = named(id)
    assert quote(name, safe="") == name
    assert URL(f"http://here/{name}").path == f"/{name}"
    assert name == named(id) != named(f"{id}x")


@pytest.mark.parametrize("id", ["msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "7", "2026-08-12.1"])
def test_a_plain_id_is_shown_as_its_sender_wrote_it(id: str) -> None:
    assert named(id) == f"m-{id}"


@pytest.mark.parametrize(
    ("sender", "body"),
    [
        ("github", {"workflow_run": {"updated_at": "2026-08-12T15:26:29Z"}}),
        ("github", {"repository": {"pushed_at": 1786548389}}),
        ("github", {"release": {"published_at": "2026-08-12T17:26:29+02:00"}}),
        ("gitlab", {"object_attributes": {"finished_at": "2026-08-12 15:26:29 UTC"}}),
        ("gitlab", {"build_finished_at": "2026-08-12 15:26:29 UTC"}),
        ("circleci", {"happened_at": "2026-08-12T15:26:29.000000Z"}),
        ("travis", {"finished_at": "2026-08-12T15:26:29Z"}),
        ("jenkins", {"build": {"timestamp": 1786548389000}}),
    ],
)
def test_when_it_happened_is_read_as_its_sender_writes_it(sender: str, body: dict[str, object]) -> None:
    assert built_of(sender, json.dumps(body), {}).at == 1786548389.0


@pytest.mark.parametrize("at", [None, True, "yesterday", "", [], {}, 1e400, "9999-99-99", -(1 << 70), "\x00"])
def test_a_time_that_is_none_is_left_out(at: object) -> None:
    assert built_of("circleci", json.dumps({"happened_at": at}), {}).at == 0.0
