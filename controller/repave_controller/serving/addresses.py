"""Where a controller listens, by which certificates, and what others are told of it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from repave_controller.api.web.tls import context_of, expiry_of, keep_fresh
from repave_controller.security.enrolment import Enrolment
from repave_controller.settings import ControllerSettings
from repave_protos.protocol.channel import (
    InsecureAddressError,
    join,
    loopback_only,
    split_address,
)


def address_of(settings: ControllerSettings) -> tuple[str, int]:
    """Where the API listens. Raises ValueError: beyond this machine only with TLS and accounts."""
    listen = settings.http.listen
    if settings.accounts and uses_tls(settings):
        return split_address(listen, "http.listen")
    try:
        return loopback_only(listen, "http.listen")
    except InsecureAddressError:
        port = split_address(listen, "http.listen")[1]
        raise InsecureAddressError(
            f"http.listen: {listen} is not a loopback address, and who reaches the API may do everything: "
            "give the controller accounts and TLS (--accounts, and the settings tls.enabled or "
            f"http.certificate and http.key), or use 127.0.0.1:{port} and an SSH tunnel "
            f"(ssh -L {port}:127.0.0.1:{port} HOST)"
        ) from None


def uses_tls(settings: ControllerSettings) -> bool:
    """Whether the API does: by files, or where people have accounts by the authority of the agents. Raises
    ValueError."""
    http = settings.http
    if (http.certificate is None) != (http.key is None):
        raise ValueError("http.certificate and http.key belong together: give both, or none")
    if http.certificate is not None and http.key is not None:
        context_of(http.certificate, http.key)
        return True
    return settings.accounts and settings.tls.enabled


def url_of(settings: ControllerSettings) -> str:
    """Where people and agents reach the API. Raises ValueError."""
    scheme = "https" if uses_tls(settings) else "http"
    return settings.http.url.rstrip("/") or f"{scheme}://{join(*address_of(settings))}"


def agents_url(settings: ControllerSettings) -> str:
    """Where agents reach this controller, as far as it knows."""
    host, port = split_address(settings.agents.listen, "agents.listen")
    name = next(iter(settings.tls.names.split()), host)
    return f"https://{join(socket.gethostname() if name in ('0.0.0.0', '::') else name, port)}"  # noqa: S104  # asked, not bound


def tls_of(settings: ControllerSettings, enrolment: Enrolment | None) -> ssl.SSLContext | None:
    """None: plaintext. Raises ValueError."""
    http = settings.http
    if http.certificate is not None and http.key is not None:
        return context_of(http.certificate, http.key)
    if enrolment is not None and uses_tls(settings):
        return enrolment.authority.http_context()
    return None


def authority_of(settings: ControllerSettings, enrolment: Enrolment | None) -> Callable[[], str]:
    """What people check the API's certificate with, where it is not one that every machine knows."""
    http = settings.http
    if http.authority is not None:
        text = http.authority.read_text()
        return lambda: text
    if http.certificate is None and enrolment is not None:
        return lambda: enrolment.authority.authorities
    return str


def expiries_of(settings: ControllerSettings, enrolment: Enrolment | None) -> dict[str, float]:
    """When the controller's own certificates end, by what they are for."""
    found = enrolment.authority.expiries() if enrolment is not None else {}
    if settings.http.certificate is not None:
        found["http"] = expiry_of(settings.http.certificate)
    return found


@asynccontextmanager
async def renewing(settings: ControllerSettings, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Takes renewed certificates while the block lasts."""
    http = settings.http
    if tls is None or http.certificate is None or http.key is None:
        yield
        return
    task = asyncio.create_task(keep_fresh(tls, http.certificate, http.key), name="certificates")
    try:
        yield
    finally:
        task.cancel()
