"""The API over TLS: which versions, and certificates that are renewed while it runs."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from repave_controller.api.web import tls
from repave_controller.api.web.handshakes import Refusals
from repave_controller.api.web.server import serve
from repave_controller.api.web.tls import CertificateError, context_of, keep_fresh
from repave_controller.core.domain.instants import Instant
from repave_controller.security.authority import Authority, OwnAuthority
from tests.fakes.waiting import until
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


def of_files(directory: Path) -> tuple[ssl.SSLContext, str]:
    authority = new_authority()
    return context_of(*authority.issue(directory)), authority.pem


def of_its_own(directory: Path) -> tuple[ssl.SSLContext, str]:
    now = Instant(time.time())
    source = OwnAuthority(directory, "store-1", now)
    authority = Authority(source, "store-1", ("127.0.0.1",), lambda: now, directory)
    return authority.http_context(), authority.authorities


@pytest.mark.parametrize("made", [of_files, of_its_own])
async def test_only_tls_1_3_is_spoken(
    tmp_path: Path, made: Callable[[Path], tuple[ssl.SSLContext, str]]
) -> None:
    context, authority = made(tmp_path)
    async with serve(web.Application(), "127.0.0.1", 0, tls=context) as port:
        await presented(port, authority)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await presented(port, authority, maximum_version=ssl.TLSVersion.TLSv1_2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"HTTP" not in await reader.read()


async def test_a_handshake_that_is_refused_is_told_with_who_and_why(tmp_path: Path) -> None:
    authority, other = new_authority(), new_authority()
    (tmp_path / "other").mkdir()
    context = context_of(*authority.issue(tmp_path))
    context.load_verify_locations(cadata=authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    stranger = ssl.create_default_context(cadata=authority.pem)
    stranger.load_cert_chain(*other.issue(tmp_path / "other"))

    def try_it(port: int, tls: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as plain:
            found = plain if tls is None else tls.wrap_socket(plain, server_hostname="127.0.0.1")
            found.sendall(b"GET / HTTP/1.1\r\n\r\n")
            found.recv(100)

    async def tried(port: int, tls: ssl.SSLContext | None) -> None:
        await asyncio.to_thread(try_it, port, tls)

    old = ssl.create_default_context(cadata=authority.pem)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with structlog.testing.capture_logs() as logs:
        async with serve(web.Application(), "127.0.0.1", 0, tls=context) as port:
            await tried(port, None)
            await tried(port, old)
            await tried(port, ssl.create_default_context(cadata=other.pem))
            await until(lambda: len(logs) == 3)
    told = [each["why"] for each in logs]
    assert told[0] == "it speaks plain HTTP: the address begins with https://"
    assert told[1] == "it speaks no TLS 1.3"
    assert "does not trust this controller's" in told[2]
    assert {(each["event"], each["listener"], each["address"]) for each in logs} == {
        ("tls.refused", "http.listen", "127.0.0.1")
    }
    with structlog.testing.capture_logs() as logs:
        async with serve(web.Application(), "127.0.0.1", 0, tls=context, setting="agents.listen") as port:
            await tried(port, stranger)
            await until(lambda: len(logs) == 1)
    assert logs[0]["why"].startswith("its certificate does not count: ")


def test_refusals_are_told_so_often_only_that_the_log_stays_small() -> None:
    now = [0.0]
    refusals = Refusals("http.listen", lambda: now[0])
    with structlog.testing.capture_logs() as logs:
        for number in range(1000):
            refusals.tell(f"192.0.2.{number % 250}", f"192.0.2.{number % 250}", ConnectionAbortedError())
        assert len(logs) == 30
        now[0] = 60.0
        refusals.tell("192.0.2.1", "192.0.2.1", ConnectionAbortedError())
        assert logs[-1]["untold"] == 970
        for _ in range(10):
            refusals.tell("192.0.2.255", "192.0.2.255", ConnectionAbortedError())
            refusals.tell("192.0.2.255", "192.0.2.255", ConnectionResetError())  # a health check of the port
        assert len(logs) == 34


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
