"""The authority that a controller itself offers, believed by its fingerprint."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import re
import ssl

from repave_cli.transport.errors import CliError, UnreachableError
from repave_cli.transport.exit_codes import USAGE

PIN = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
SHORT_PIN = re.compile(r"[A-Za-z0-9_-]{43}")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
PEM_BYTES_MAX = 64 * 1024
TIMEOUT_SECONDS = 30.0


def fetched_authority(host: str, port: int, pin: str) -> str:
    """The authority that the controller offers, if it has this fingerprint. Nothing is sent that is secret,
    and what comes counts only by its fingerprint. Raises CliError."""
    wanted = _wanted(pin.strip())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)
    try:
        connection.request("GET", "/v1/authority")
        response = connection.getresponse()
        offered = response.read(PEM_BYTES_MAX).decode("ascii", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"cannot reach the controller at {host}:{port}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise CliError("this controller offers no authority; give its certificate: --ca FILE", USAGE)
    for found in CERTIFICATE.finditer(offered):
        with contextlib.suppress(ValueError):  # no certificate, or one without a key of a kind that is known
            if hmac.compare_digest(fingerprint(base64.b64decode(found[1])), wanted):
                return found[0] + "\n"
    raise CliError("the authority that answers is not the one of this pin: it may be another machine", USAGE)


def _wanted(pin: str) -> str:
    """In hexadecimal. Raises CliError."""
    written = PIN.fullmatch(pin.lower())
    if written is not None:
        return written[1]
    if SHORT_PIN.fullmatch(pin) is None:
        raise CliError("a pin is sha256: and 64 hexadecimal digits, or the 43 characters of agents", USAGE)
    return base64.urlsafe_b64decode(f"{pin}=").hex()


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo) of a certificate in DER."""
    from cryptography import x509  # slow to import, and needed at a log-in only
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
