"""Gives the metrics out on an address of their own, where the settings name one."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from aiohttp import web

from repave_agent.metrics.address import ListenError, check
from repave_agent.settings import MetricsSettings
from repave_protos.daemon.endpoint import endpoint, host_of
from repave_protos.daemon.metrics import Exposition
from repave_protos.daemon.scrape import shows

log = structlog.get_logger()

IDLE_SECONDS = 60.0
BACKLOG = 16


@asynccontextmanager
async def listening(settings: MetricsSettings, exposition: Exposition) -> AsyncIterator[int]:
    """Until the block ends; gives the port. Raises ListenError."""
    check(settings)
    application = web.Application(client_max_size=1024)
    application.router.add_get("/metrics", shows(exposition))
    runner = web.AppRunner(
        application, access_log=None, handle_signals=False, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=1
    )
    await runner.setup()
    try:
        host, port = host_of(settings.listen)
        try:
            tls = _context(settings.certificate, settings.key)
            await web.TCPSite(runner, host, port, ssl_context=tls, backlog=BACKLOG).start()
        except (OSError, ssl.SSLError) as error:
            raise ListenError(f"metrics.listen: {settings.listen}: {error.strerror or error}") from error
        found = int(runner.addresses[0][1])
        log.info("metrics.listening", address=endpoint(host, found), tls=tls is not None)
        yield found
    finally:
        await runner.cleanup()


def _context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS 1.3. Raises OSError."""
    if certificate is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context
