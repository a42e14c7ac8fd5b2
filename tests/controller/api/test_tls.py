"""The API over TLS: which versions, and certificates that are renewed while it runs."""

import asyncio
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from repave_controller.api.web import tls
from repave_controller.api.web.server import serve
from repave_controller.api.web.tls import CertificateError, context_of, keep_fresh
from tests.support.certificates import new_authority


async def presented(port: int, authority: str, **versions: ssl.TLSVersion) -> bytes:
    """The certificate that is shown, in DER."""
    context = ssl.create_default_context(cadata=authority)
    for name, version in versions.items():
        setattr(context, name, version)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return shown
    finally:
        writer.close()


async def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOKED_AT_SECONDS", 0.01)
    authority = new_authority()
    certificate, key = authority.issue(tmp_path)
    context = context_of(certificate, key)
    async with serve(web.Application(), "127.0.0.1", 0, tls=context) as port:
        fresh = asyncio.ensure_future(keep_fresh(context, certificate, key))
        first = await presented(port, authority.pem)
        certificate.write_text("no certificate")
        await asyncio.sleep(0.05)
        assert await presented(port, authority.pem) == first
        authority.issue(tmp_path)
        seen = [first]

        async def changed() -> bool:
            seen.append(await presented(port, authority.pem))
            return seen[-1] != first

        async with asyncio.timeout(5):
            while not await changed():
                pass
        fresh.cancel()


async def test_only_tls_1_3_is_spoken(tmp_path: Path) -> None:
    authority = new_authority()
    async with serve(web.Application(), "127.0.0.1", 0, tls=context_of(*authority.issue(tmp_path))) as port:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await presented(port, authority.pem, maximum_version=ssl.TLSVersion.TLSv1_2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"HTTP" not in await reader.read()


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    certificate, key = new_authority().issue(tmp_path)
    key.chmod(0o644)
    with pytest.raises(CertificateError, match="chmod 600"):
        context_of(certificate, key)
    key.chmod(0o600)
    key.write_text("nonsense")
    with pytest.raises(CertificateError, match="no certificate in PEM with its key"):
        context_of(certificate, key)
    with pytest.raises(CertificateError, match="No such file"):
        context_of(certificate, tmp_path / "gone")
