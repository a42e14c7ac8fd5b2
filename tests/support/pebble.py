"""A real ACME server on loopback: Pebble, of those who make Let's Encrypt's, and the DNS that it asks."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import new_authority
from tests.support.ports import free_port

needs_pebble = pytest.mark.skipif(
    shutil.which("pebble") is None, reason="Pebble is not installed: make tools"
)
START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Pebble:
    """`directory_url`: what an agent names. `authority`: who vouches for its own address."""

    directory_url: str
    authority: Path
    http_port: int  # where it looks at names by HTTP-01


@asynccontextmanager
async def pebble(
    directory: Path, dns_port: int = 0, known: Mapping[str, str] | None = None
) -> AsyncIterator[Pebble]:
    """Each name is 127.0.0.1, unless a name server is given by `dns_port`. `known`: the ids and keys of those
    whose accounts alone it takes."""
    directory.mkdir(exist_ok=True)
    authority = new_authority()
    certificate, key = authority.issue(directory)
    (directory / "authority.pem").write_text(authority.pem)
    port, http_port = free_port(), free_port()
    settings = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(certificate),
        "privateKey": str(key),
        "httpPort": http_port,
        "tlsPort": free_port(),
        "externalAccountBindingRequired": known is not None,
        "externalAccountMACKeys": known or {},
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": settings}))
    async with AsyncExitStack() as running:
        if not dns_port:
            dns_port = free_port()
            dns = ("-dns01", f"127.0.0.1:{dns_port}", "-management", f"127.0.0.1:{free_port()}")
            others = ("-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "")
            await running.enter_async_context(_program(directory, "pebble-challtestsrv", *dns, *others))
        words = ("-config", str(directory / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns_port}")
        process = await running.enter_async_context(_program(directory, "pebble", *words))
        async with asyncio.timeout(START_SECONDS):
            await _until_it_listens(port, process, directory / "pebble.log")
        yield Pebble(f"https://127.0.0.1:{port}/dir", directory / "authority.pem", http_port)


@asynccontextmanager
async def _program(directory: Path, name: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Without the faults that Pebble makes by chance."""
    environment = {
        **os.environ,
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": "0",
        "PEBBLE_AUTHZREUSE": "0",
    }
    with (directory / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(name, *words, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _until_it_listens(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    while True:
        assert process.returncode is None, log.read_text()
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.02)
