"""TLS for the API from files, read anew when they change."""

import asyncio
import ssl
import stat
from pathlib import Path

import structlog
from cryptography import x509

LOOKED_AT_SECONDS = 5.0

log = structlog.get_logger()

Look = tuple[tuple[int, int, int], ...]


class CertificateError(ValueError):
    """The files can't serve. The text names them and the fix."""


def context_of(certificate: Path, key: Path) -> ssl.SSLContext:
    """For new connections; TLS 1.3. Raises CertificateError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load(context, certificate, key)
    return context


def expiry_of(certificate: Path) -> float:
    """When the first certificate of the file ends, Unix time; 0: it can't be read."""
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return 0.0


async def keep_fresh(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Takes what is renewed, until cancelled; what can't be used leaves the former one in force."""
    seen = _look(certificate, key)
    while True:
        await asyncio.sleep(LOOKED_AT_SECONDS)
        now = _look(certificate, key)
        if now != seen:
            seen = now
            try:
                context_of(certificate, key)  # nothing of a pair that is half new gets into the one in use
                _load(context, certificate, key)
                log.info("tls.renewed", certificate=str(certificate))
            except CertificateError as error:
                log.error("tls.not_renewed", error=str(error))


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        mode = key.stat().st_mode
        if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
            raise CertificateError(f"http.key: others may read or change {key}; chmod 600 {key}")
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        text = f"http.certificate: {certificate} and {key} are no certificate in PEM with its key"
        raise CertificateError(f"{text} ({error.reason or error})") from error
    except OSError as error:
        where = error.filename or certificate
        raise CertificateError(f"http.certificate: {where}: {error.strerror}") from error


def _look(*files: Path) -> Look:
    found = []
    for each in files:
        try:
            known = each.stat()
            found.append((known.st_ino, known.st_size, known.st_mtime_ns))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
