"""Whether a webhook comes from whom its settings name: each sender's own scheme, over the bytes as they came.
Pure.

Most senders sign the body alone, so that an old delivery under a new id still counts: such a delivery is
known by its body. With Standard Webhooks id and time are signed, too. Either way a delivery's name can stand
in an address: it has no signs that mean something there.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from repave_controller.security.standard_webhooks import ID, SIGNATURE, NotSigned, check, is_same

GITHUB, GITLAB, CIRCLECI = "x-hub-signature-256", "x-gitlab-token", "circleci-signature"
TRAVIS, TOKEN, JENKINS = "signature", "x-repave-token", "x-repave-signature-256"
SENDER_IDS = (ID, "x-github-delivery", "x-gitlab-event-uuid", "x-gitlab-webhook-uuid", "travis-repo-slug")
FORM = "application/x-www-form-urlencoded"
SHOWN_LENGTH_MAX = 100
BY_BODY = "b-"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came. Names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def sender_id(self) -> str:
        """As its sender calls it; it proves nothing."""
        found = next((self.headers[each] for each in SENDER_IDS if self.headers.get(each)), "")
        return "".join(each for each in found[:SHOWN_LENGTH_MAX] if each.isprintable())


def verified(sender: str, arrived: Arrived, secrets: Sequence[str], now: float) -> str:
    """What the delivery is known by from now on. `secrets`: of Travis, PEM of its public keys. Raises
    NotSigned; ValueError for a secret that can't be one."""
    if not secrets:
        raise ValueError("there is no secret")
    match sender:
        case "github":
            _check_hex(arrived, GITHUB, "sha256=", secrets)
        case "gitlab":
            if SIGNATURE in arrived.headers:
                return named(check(secrets, arrived.headers, arrived.body, now))
            _check_token(arrived, GITLAB, secrets)
        case "circleci":
            _check_circleci(arrived, secrets)
        case "travis":
            _check_travis(arrived, secrets)
        case "jenkins":
            return _jenkins(arrived, secrets, now)
        case _:
            return named(check(secrets, arrived.headers, arrived.body, now))
    return known_by(arrived.body)


def named(signed_id: str) -> str:
    """By the id that was signed, where that is plain; else by its digest."""
    if _PLAIN.fullmatch(signed_id):
        return f"m-{signed_id}"
    return f"h-{hashlib.sha256(signed_id.encode(errors='surrogateescape')).hexdigest()[:32]}"


def is_known_by_body(name: str) -> bool:
    return name.startswith(BY_BODY)


def known_by(body: bytes) -> str:
    return f"{BY_BODY}{hashlib.sha256(body).hexdigest()[:32]}"


def _jenkins(arrived: Arrived, secrets: Sequence[str], now: float) -> str:
    """Jenkins signs nothing by itself: a step signs, or sends a token."""
    if ID in arrived.headers:
        return named(check(secrets, arrived.headers, arrived.body, now))
    if JENKINS in arrived.headers:
        _check_hex(arrived, JENKINS, "sha256=", secrets)
    else:
        _check_token(arrived, TOKEN, secrets)
    return known_by(arrived.body)


def _check_hex(arrived: Arrived, header: str, prefix: str, secrets: Sequence[str]) -> None:
    shown = arrived.headers.get(header, "")
    if not shown:
        raise NotSigned(f"{header} is needed")
    expected = [f"{prefix}{_hex(secret, arrived.body)}" for secret in secrets]
    if not any([is_same(shown, each) for each in expected]):  # noqa: C419  # all of them, whichever it is
        raise NotSigned(f"{header} is no signature of this body with this secret")


def _check_circleci(arrived: Arrived, secrets: Sequence[str]) -> None:
    """`v1=HEX`, perhaps among others with commas between."""
    shown = arrived.headers.get(CIRCLECI, "")
    if not shown:
        raise NotSigned(f"{CIRCLECI} is needed")
    given = [each.strip().removeprefix("v1=") for each in shown.split(",")[:20] if "v1=" in each]
    expected = [_hex(secret, arrived.body) for secret in secrets]
    if not any([is_same(one, other) for one in given for other in expected]):  # noqa: C419  # as above
        raise NotSigned(f"{CIRCLECI} is no signature of this body with this secret")


def _check_token(arrived: Arrived, header: str, secrets: Sequence[str]) -> None:
    shown = arrived.headers.get(header, "")
    if not shown:
        raise NotSigned(f"{header} is needed")
    if not any([is_same(shown, each) for each in secrets]):  # noqa: C419  # as above
        raise NotSigned(f"{header} is another one")


def _check_travis(arrived: Arrived, keys: Sequence[str]) -> None:
    """RSA over the value of the form's field `payload`."""
    try:
        signature = base64.b64decode(arrived.headers.get(TRAVIS, ""), validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if not signature:
        raise NotSigned("Signature is needed, in base64")
    payload = payload_of(arrived).encode(errors="surrogateescape")
    for each in keys:
        try:
            key = load_pem_public_key(each.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError(f"Travis's public key can't be read: {error}") from None
        if not isinstance(key, RSAPublicKey):
            raise ValueError("Travis's public key is of another kind than RSA")
        try:
            key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303  # as Travis signs
        except InvalidSignature:
            continue
        return
    raise NotSigned("Signature is none of this payload with Travis's key")


def payload_of(arrived: Arrived) -> str:
    """The JSON that came, alone or as a form's field `payload`."""
    if arrived.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return arrived.body.decode(errors="surrogateescape")
    try:
        fields = parse_qs(arrived.body.decode(), max_num_fields=20, errors="surrogateescape")
    except ValueError:
        return ""
    return fields.get("payload", [""])[0]


def _hex(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
