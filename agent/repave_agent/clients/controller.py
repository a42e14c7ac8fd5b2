"""How the controller's HTTPS API for agents is called: as one certain controller, and as one certain agent.

What is checked is the authority and the name that all controllers have, not the address that is dialled.
"""

import http.client
import ssl
import tempfile
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from repave_protos.protocol.certificates import CONTROLLER_NAME
from repave_protos.protocol.channel import Shown

Connect = Callable[[str, float], http.client.HTTPConnection]
"""A connection, not yet open, to the host of a URL, whose every wait is bounded by so many seconds."""


def plainly(url: str, timeout_seconds: float) -> http.client.HTTPConnection:
    """Without a certificate; in plaintext where the URL says so, as loopback allows."""
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout_seconds)


def trusting_also(authorities: Path | None) -> Connect:
    """As any client of the web, of whose authorities there are more. Raises OSError."""
    context: ssl.SSLContext | None = None
    if authorities is not None:
        context = ssl.create_default_context()
        context.load_verify_locations(cafile=authorities)

    def connect(url: str, timeout_seconds: float) -> http.client.HTTPConnection:
        nonlocal context
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https":
            return plainly(url, timeout_seconds)
        context = context or ssl.create_default_context()  # slow to make, and most agents need none
        return http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout_seconds, context=context
        )

    return connect


def over_tls(context: ssl.SSLContext) -> Connect:
    """Over TLS, and nothing else: a plaintext URL is refused."""

    def connect(url: str, timeout_seconds: float) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https":
            raise ConnectionError(f"{url} is not https://, and this agent has joined: it speaks TLS only")
        return _Controller(parts.hostname or "", parts.port, context, timeout_seconds)

    return connect


class _Controller(http.client.HTTPConnection):
    """Shakes hands by the name of controllers."""

    default_port = 443

    def __init__(self, host: str, port: int | None, context: ssl.SSLContext, timeout_seconds: float) -> None:
        super().__init__(host, port, timeout=timeout_seconds)
        self._tls = context

    def connect(self) -> None:
        super().connect()
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=CONTROLLER_NAME)


def trusting(authorities: str) -> ssl.SSLContext:
    """Of these authorities (PEM), and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=authorities)
    return context


def showing(shown: Shown, directory: Path) -> ssl.SSLContext:
    """The same, with the agent's certificate. Python reads a key from a file: one that is gone at once."""
    context = trusting(shown.authorities)
    with tempfile.NamedTemporaryFile("w", dir=directory, prefix="shown-", suffix=".pem") as file:  # 0600
        file.write(shown.key + shown.chain)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def unchecked() -> ssl.SSLContext:
    """For the one question whose answer is checked by itself: which authorities there are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
