"""A real HAProxy in a directory of its own, with applications in this process behind it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.clock import SystemClock
from repave_agent.core.certificates import CertificateKeeper
from repave_agent.core.ports import Backend, Frontend, Server, Structure
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe
from tests.fakes.web import Web

needs_haproxy = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="haproxy is not installed: apt install haproxy"
)


class HaproxyRig:
    """Makes balancers of one directory, and webs; everything ends with `haproxy_rig`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.balancers: list[HaproxyBalancer] = []
        self.webs: list[Web] = []

    def balancer(
        self, directory: str = "", certificates: CertificateKeeper | None = None, **options: Any
    ) -> HaproxyBalancer:
        made = HaproxyBalancer(
            self.directory / directory,
            HaproxyOptions(**options),
            clock=SystemClock(),
            certificates=certificates,
        )
        self.balancers.append(made)
        return self.balancers[-1]

    async def web(self, version: str) -> Web:
        self.webs.append(Web(version))
        await self.webs[-1].start()
        return self.webs[-1]


@asynccontextmanager
async def haproxy_rig() -> AsyncIterator[HaproxyRig]:
    with tempfile.TemporaryDirectory(prefix="hx") as directory:  # short: Unix sockets live in it
        rig = HaproxyRig(Path(directory))
        try:
            yield rig
        finally:
            for balancer in rig.balancers:
                await balancer.end()
            for web in rig.webs:
                await web.stop()


def frontend(application: str, port: int) -> Frontend:
    return Frontend(ApplicationName(application), port)


def backend(group: str, *ports: int, is_enabled: bool = True) -> Backend:
    servers = (
        Server(HostName(f"{group}-{number}"), "127.0.0.1", port, is_enabled)
        for number, port in enumerate(ports)
    )
    return Backend(GroupName(group), tuple(servers), Probe("http", 80, "/health"))


def structure(frontend: Frontend, *backends: Backend) -> Structure:
    return Structure((frontend,), backends)


async def get(port: int, path: str = "/") -> str:
    """The body of the answer, or "" with a failure; a new connection each time."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    except OSError:
        return ""
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode().strip() if head.startswith(b"HTTP/1.1 200") else ""
