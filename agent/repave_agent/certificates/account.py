"""The agent's account at its ACME server: a key, which only this machine has, and what is shown of it."""

import base64
import hashlib
import json
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from repave_agent.certificates.pem import key_pem, new_key
from repave_agent.core.certificates import CertificateError
from repave_protos.daemon import files

NUMBER_BYTES = 32  # of P-256


def account_key(path: Path, *, may_make: bool) -> ec.EllipticCurvePrivateKey:
    """The key that is there; `may_make`: a new one where there is none. Raises CertificateError."""
    try:
        text = files.read_file(path)
    except FileNotFoundError:
        if not may_make:
            raise CertificateError(f"certificates.acme.account_key: there is no file {path}") from None
        text = key_pem(new_key())
        _keep(path, text)
    except OSError as error:
        raise CertificateError(
            f"the key of the ACME account can't be read: {path}: {error.strerror}"
        ) from None
    try:
        key = load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError(
            f"{path} holds no key of an ACME account: make one with openssl ecparam -name prime256v1 -genkey "
            "-noout"
        )
    return key


def _keep(path: Path, text: bytes) -> None:
    try:
        files.make_directory(path.parent)
        files.replace(path, text)
    except OSError as error:
        raise CertificateError(f"the key of the ACME account can't be kept: {error}") from None


def thumbprint(key: ec.EllipticCurvePrivateKey) -> str:
    """What tells the account from others, RFC 7638. No secret: an ACME server reads it from every answer."""
    numbers = key.public_key().public_numbers()
    shown = {"crv": "P-256", "kty": "EC", "x": _number(numbers.x), "y": _number(numbers.y)}
    text = json.dumps(shown, separators=(",", ":"), sort_keys=True)
    return _base64(hashlib.sha256(text.encode()).digest())


def _number(value: int) -> str:
    return _base64(value.to_bytes(NUMBER_BYTES, "big"))


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
