"""Jobs of a CI log in by the token that their CI has signed: only those that are trusted, and once each."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.controller.api.test_accounts import UNBOUNDED, Signed, rows
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.issuer import KEY, OTHER_KEY, Issuer, an_issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with an_issuer() as made:
        yield made


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path, has_accounts=True, bounds=UNBOUNDED) as started:
        yield started


@pytest.fixture
def admin(controller: ServedController, issuer: Issuer) -> Signed:
    admin = Signed(controller.url, controller.admin)
    claims = {"repository": "acme/web", "ref": "refs/heads/main"}
    assert admin.post("trusts", {"name": "ci-web", "issuer": issuer.url, "claims": claims}).status == 201
    admin.post("roles/grant", {"to": "ci-web", "role": "deployer", "applications": "hello"})
    return admin


def log_in(controller: ServedController, token: str) -> tuple[int, Any]:
    answer = Signed(controller.url).post("login", {"token": token})
    return answer.status, answer.json


def test_a_job_gets_a_token_for_a_while_in_its_own_name(
    controller: ServedController, admin: Signed, issuer: Issuer
) -> None:
    status, told = log_in(controller, issuer.token())
    assert status == 201, told
    job = Signed(controller.url, told["token"])
    assert job.get("whoami").json["name"] == "ci-web"
    assert job.post("images", b"x").json["rule"] != "denied"
    assert job.get("tokens").json["rule"] == "denied"
    logged = next(each for each in rows(admin) if each["action"] == "POST login")
    assert logged["facts"]["repository"] == "acme/web"
    assert (logged["who"], logged["kind"]) == ("ci-web", "job")


def test_a_job_s_token_is_good_for_one_log_in(
    controller: ServedController, admin: Signed, issuer: Issuer
) -> None:
    token = issuer.token()
    assert [log_in(controller, token)[0] for _ in range(2)] == [201, 401]


def test_that_holds_over_a_restart_of_the_controller(tmp_path: Path, issuer: Issuer) -> None:
    token = issuer.token()
    with served(tmp_path, has_accounts=True, bounds=UNBOUNDED) as first:
        admin = Signed(first.url, first.admin)
        claims = {"repository": "acme/web"}
        admin.post("trusts", {"name": "ci-web", "issuer": issuer.url, "claims": claims})
        assert log_in(first, token)[0] == 201
    with served(tmp_path, former=first, has_accounts=True, bounds=UNBOUNDED) as second:
        assert log_in(second, token)[1]["detail"].startswith("this job's token was used before")
        assert log_in(second, issuer.token())[0] == 201


def public_key() -> bytes:
    return KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def by_its_public_key(issuer: Issuer) -> str:
    """As if the public key were a shared secret; made by hand, since the library refuses to."""
    import base64
    import hashlib
    import hmac

    def packed(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signed = f"{packed({'alg': 'HS256', 'kid': 'k1'})}.{packed(issuer.claims())}"
    mac = base64.urlsafe_b64encode(hmac.digest(public_key(), signed.encode(), hashlib.sha256)).rstrip(b"=")
    return f"{signed}.{mac.decode()}"


FORGED: dict[str, Callable[[Issuer], str]] = {
    "another key": lambda issuer: issuer.token(OTHER_KEY),
    "an unknown key": lambda issuer: issuer.token(OTHER_KEY, "k2"),
    "no signature": lambda issuer: issuer.token("", alg="none"),
    "the public key as a secret": by_its_public_key,
    "another algorithm": lambda issuer: issuer.token(alg="RS512"),
    "another kind of key": lambda issuer: issuer.token(ec.generate_private_key(ec.SECP256R1()), alg="ES256"),
    "changed claims": lambda issuer: ".".join(
        [issuer.token().split(".")[0], issuer.token(sub="x").split(".")[1], issuer.token().split(".")[2]]
    ),
    "another issuer": lambda issuer: issuer.token(iss="https://gitlab.com"),
    "another audience": lambda issuer: issuer.token(aud="vault"),
    "another repository": lambda issuer: issuer.token(repository="acme/web2"),
    "a pattern": lambda issuer: issuer.token(repository="*"),
    "a list": lambda issuer: issuer.token(repository=["acme/web"]),
    "another branch": lambda issuer: issuer.token(ref="refs/heads/mainly"),
    "no branch": lambda issuer: issuer.token(ref=None),
    "expired": lambda issuer: issuer.token(exp=time.time() - 61),
    "never expires": lambda issuer: issuer.token(exp="never"),
    "not yet": lambda issuer: issuer.token(nbf=time.time() + 3600),
    "too long": lambda issuer: issuer.token(more="x" * 20_000),
    "no token": lambda issuer: "a.b.c",
    "empty parts": lambda issuer: "..",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_token_that_is_forged_or_of_another_job_is_refused(
    controller: ServedController, admin: Signed, issuer: Issuer, forge: Callable[[Issuer], str]
) -> None:
    status, told = log_in(controller, forge(issuer))
    assert (status, told["rule"]) in ((401, "not-trusted"), (400, "bad-request")), told


def test_an_issuer_is_not_asked_again_for_each_unknown_key(
    controller: ServedController, admin: Signed, issuer: Issuer
) -> None:
    for number in range(5):
        log_in(controller, issuer.token(OTHER_KEY, f"unknown-{number}"))
    assert issuer.asked.count("/keys") == 1


def test_who_is_not_trusted_makes_the_controller_ask_no_one(
    controller: ServedController, issuer: Issuer
) -> None:
    assert log_in(controller, issuer.token())[0] == 401
    assert issuer.asked == []


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": {}},
        {"claims": {"ref": "refs/heads/main"}},
        {"issuer": "http://gitlab.example"},
        {"issuer": "file:///etc"},
        {"name": "local"},
    ],
)
def test_a_trust_that_would_let_in_all_the_world_is_refused(admin: Signed, changes: dict[str, Any]) -> None:
    body = {"name": "ci", "issuer": "https://gitlab.com", "claims": {"sub": "x"}, **changes}
    assert admin.post("trusts", body).status == 400


def test_what_is_no_longer_trusted_logs_in_no_longer(
    controller: ServedController, admin: Signed, issuer: Issuer
) -> None:
    trust = admin.get("trusts").json["items"][0]["id"]
    assert admin.post(f"trusts/{trust}/remove", {}).status == 200
    assert log_in(controller, issuer.token())[0] == 401
    assert admin.post(f"trusts/{trust}/remove", {}).json["rule"] == "unknown-trust"
