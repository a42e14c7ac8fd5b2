"""A real Prometheus, which scrapes a server of this process, or a real HAProxy: what the source reads of it,
and what it says of a query that is wrong."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from repave_controller.operations.analysis.sources.ports import Side, SourceError, Window
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName
from tests.contracts.metrics_worlds import source_of
from tests.fakes.waiting import until_async
from tests.support.ports import free_ports
from tests.support.prometheus import Prometheus, prometheus

HOSTILE = 'shop-v003"} or up{group="shop-v001'


def exposed(errors: int) -> str:
    return "".join(
        f'http_requests_total{{group="{group}",code="{code}"}} {count}\n'
        for group, factor in (("shop-v001", 1), ("shop-v002", 3), ("shop.v00", 1000))
        for code, count in (("200", 100 * factor), ("503", errors * factor))
    )


@asynccontextmanager
async def scraped() -> AsyncIterator[int]:
    """An application whose errors rise by 1 with each scrape; its port."""
    errors = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal errors
        errors += 1
        return web.Response(text=exposed(errors))

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.rig
@pytest.mark.timeout(120)
async def test_it_is_read_as_it_was_scraped_and_a_wrong_query_is_an_error(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with scraped() as application:
        running = prometheus(tmp_path / "p", port, {"shop": [f"127.0.0.1:{application}"]})
        found = await asyncio.to_thread(running.__enter__)
        try:
            await _reads(found)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


async def _reads(running: Prometheus) -> None:
    source = source_of({"kind": "prometheus", "url": running.url})
    errors = 'sum(http_requests_total{group="{group}",code=~"5.."})'
    at: list[float] = []

    async def is_scraped() -> bool:
        at[:] = await asyncio.to_thread(_scrapes, running)
        return len(at) > 1

    await until_async(is_scraped, 60.0)
    until = math.ceil(max(at)) + 1.0
    within = Window(until - 20, until, 1)

    async def read(query: str, group: str) -> list[float]:
        side = Side(ApplicationName("shop"), (RegionName("paris"),), GroupName(group), "1.0")
        series = await source.read(query, side, within)
        assert (series.begins_at, len(series.values)) == (until - 20, 20)
        return [each for each in series.values if not math.isnan(each)]

    old, new = await read(errors, "shop-v001"), await read(errors, "shop-v002")
    assert old
    assert old == sorted(old)
    assert new == [3 * each for each in old]
    assert await read('sum(http_requests_total{group=~"{group}",code="503"})', "shop.v00") == [
        1000 * each for each in old
    ]  # a dot of a name is no pattern
    assert await read('http_requests_total{group="{group}",code="503"} / 0', "shop-v001") == []  # infinite
    assert await read(errors, "shop-v009") == []
    for query, group, told in (
        ('http_requests_total{group="{group}"}', "shop-v001", "the query has 2 series"),
        ('sum(rate(x{group="{group}"}))', "shop-v001", "answered 400"),
        ('sum(x{group="{group}"}) by', "shop-v001", "parse error"),
        ('"{group}"', "shop-v001", "answered 400"),
        (errors, HOSTILE, "signs that don't go into a query"),
    ):
        with pytest.raises(SourceError, match=told):
            await read(query, group)


HAPROXY = """\
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend exporter
  bind 127.0.0.1:{exporter}
  http-request use-service prometheus-exporter if {{ path /metrics }}
frontend shop
  bind 127.0.0.1:{shop}
  use_backend %[path,field(2,/)]
backend shop-v001
  server one 127.0.0.1:{application}
backend shop-v002
  server one 127.0.0.1:{application}
"""
FAILED = 'sum(increase(haproxy_backend_http_responses_total{proxy="{group}",code="5xx"}[{step}s]))'


@asynccontextmanager
async def behind_haproxy(folder: Path, shop: int, exporter: int) -> AsyncIterator[None]:
    """A real HAProxy with its exporter; what it leads to as shop-v002 answers every request with 503."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503 if "v002" in request.path else 200)

    app = web.Application()
    app.router.add_get("/{group}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(shop=shop, exporter=exporter, application=runner.addresses[0][1]))
    process = await asyncio.create_subprocess_exec("haproxy", "-db", "-f", str(config))
    try:
        await until_async(lambda: accepts(shop))
        yield
    finally:
        process.terminate()
        await process.wait()
        await runner.cleanup()


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


@pytest.mark.rig
@pytest.mark.timeout(180)
async def test_what_haproxys_exporter_counts_of_each_group_is_read(tmp_path: Path) -> None:
    port, shop, exporter = free_ports(3)
    async with behind_haproxy(tmp_path, shop, exporter), aiohttp.ClientSession() as client:
        running = prometheus(tmp_path / "p", port, {"haproxy": [f"127.0.0.1:{exporter}"]})
        found = await asyncio.to_thread(running.__enter__)
        source = source_of({"kind": "prometheus", "url": found.url})
        try:

            async def failed(group: str) -> float:
                """In the steps of the last half minute, after more requests to both."""
                for each in ("shop-v001", "shop-v002"):
                    async with client.get(f"http://127.0.0.1:{shop}/{each}") as answer:
                        await answer.read()
                until = float(math.floor(time.time()))
                side = Side(ApplicationName("shop"), (RegionName("paris"),), GroupName(group), "1.0")
                series = await source.read(FAILED, side, Window(until - 30, until, 5))
                return sum(each for each in series.values if not math.isnan(each))

            async def is_seen() -> bool:
                return await failed("shop-v002") > 0

            await until_async(is_seen, 120.0)
            assert await failed("shop-v001") == 0
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


def _scrapes(running: Prometheus) -> list[float]:
    found = running.query('http_requests_total{group="shop-v001",code="503"}[1m]')
    return [at for each in found for at, _ in each["values"]]
