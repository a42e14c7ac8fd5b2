"""A worker whose hosts' health the real HAProxy tells (`health.by: balancer`)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.core.host_health import ProbeResult
from repave_agent.core.observation import Limits
from repave_agent.health.prober import Execute, Prober, probe
from repave_agent.runtime.journal import Journal
from repave_agent.runtime.journal_file import FileDisk
from repave_agent.runtime.worker import Worker
from repave_protos.protocol.values import GroupReport, HostName, Probe
from tests.fakes.agent.haproxy_rig import HaproxyRig, needs_haproxy
from tests.fakes.agent.packages import FakePackages
from tests.fakes.agent.provider import FakeCloud, FakeProvider
from tests.fakes.agent.region_values import BLUE, SHOP, a_group, a_state
from tests.fakes.agent.worker_rig import Told
from tests.fakes.waiting import until
from tests.fakes.web import Web
from tests.support.ports import free_port

pytestmark = needs_haproxy

BY_AGENT = b"x-asked-by: agent\r\n"


class CountingWeb(Web):
    """Counts who asks for its health, and answers 503 to it while it is ill."""

    def __init__(self, port: int) -> None:
        super().__init__("blue", ("127.90.0.1",))
        self.port, self.is_ill = port, False
        self.by_agent = self.by_haproxy = 0

    def say(self, request: bytes, transport: asyncio.Transport) -> None:
        if b" /health" in request:
            self.by_agent += BY_AGENT in request
            self.by_haproxy += BY_AGENT not in request
        if not self.is_ill:
            super().say(request, transport)
            return
        transport.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        transport.close()


class Site:
    """One host behind two HAProxys, and the worker that looks after it."""

    def __init__(self, web: CountingWeb, worker: Worker, told: Told) -> None:
        self.web, self.worker, self.told = web, worker, told

    @property
    def report(self) -> GroupReport:
        application = self.told.newest.get(SHOP)
        return (application and application.group(BLUE)) or GroupReport(BLUE)


@pytest.fixture
async def site(rig: HaproxyRig, tmp_path: Path) -> AsyncIterator[Site]:
    web, told = CountingWeb(free_port()), Told()
    rig.webs.append(web)
    await web.start()
    provider = FakeProvider(FakeCloud())

    async def ask(asked: Probe, address: str, execute: Execute) -> ProbeResult:
        return await probe(replace(asked, headers=(("X-Asked-By", "agent"),)), address, execute)

    async def nothing(host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        raise AssertionError("no command is to be run")

    prober = Prober(time.monotonic, nothing, ask)
    worker = Worker(
        provider=provider,
        balancer=rig.balancer(),
        packages=FakePackages(tmp_path),
        prober=prober,
        journal=Journal(FileDisk(tmp_path / "journal.json")),
        upwards=told,
        clock=time.monotonic,
        limits=Limits(),
    )
    await worker.start()
    running = asyncio.create_task(worker.run())
    yield Site(web, worker, told)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await prober.close()


async def test_haproxy_tells_of_a_verified_host_and_the_agent_asks_it_no_more(site: Site) -> None:
    asks = Probe("http", site.web.port, "/health", interval_seconds=0.1)
    group = a_group(
        run=("serve",), probe=asks, count=1, weight_bp=10_000, min_healthy_seconds=0.2, health_by="balancer"
    )
    await site.worker.on_desired(a_state(group, port=free_port()))
    await until(lambda: (site.report.verified, site.report.weight_bp) == (1, 10_000))
    assert site.web.by_agent > 0, "it was proved by the agent"
    await until(lambda: not site.worker._prober.health([HostName("shop-v001-1")]))

    by_agent, by_haproxy = site.web.by_agent, site.web.by_haproxy
    await until(lambda: site.web.by_haproxy >= by_haproxy + 10)
    assert site.web.by_agent <= by_agent + 1, "one may have been on its way"

    site.web.is_ill = True
    await until(lambda: site.report.unhealthy == 1)
    assert "HAProxy's check was answered with status 503, expected 200" in site.report.trouble
    asked = site.web.by_agent
    await until(lambda: site.web.by_agent > asked)
