"""Sources of metrics and the systems that they ask, as far as the contract of sources needs them: the answers
follow what each vendor has documented."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from repave_controller.operations.analysis.sources.balancer import Balancer
from repave_controller.operations.analysis.sources.of_settings import sources_of
from repave_controller.operations.analysis.sources.ports import Side, Source, Window
from repave_controller.operations.traffic import Figures, GroupFigures
from repave_controller.settings import AnalysisSettings
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName

SHOP, PARIS = ApplicationName("shop"), RegionName("paris")
OLD, NEW = (Side(SHOP, (PARIS,), GroupName(f"shop-v00{n}"), f"{n}.0+b.1") for n in (1, 2))
BEGIN = 1_700_000_040.0  # a whole minute, for sources that have nothing finer
NAN = math.nan

Truth = Mapping[str, tuple[float, ...]]
"""Of each group a value for each minute from BEGIN on; NaN: there is none."""


def window(slots: int) -> Window:
    return Window(BEGIN, BEGIN + 60 * slots, 60)


@dataclass
class World:
    """`series`: how many the query has. `answer`: in place of what would be answered."""

    source: Source
    query: str
    truth: dict[str, tuple[float, ...]] = field(default_factory=dict)
    series: int = 1
    requests: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[web.Request], web.StreamResponse] | None = None
    is_silent: bool = False
    stop: Callable[[], Awaitable[None]] | None = None


# ------------------------------------------------------------------------------------------- as it is stored


def prometheus(world: World, asked: dict[str, str], _: Any) -> object:
    """The value at t is of the time before it; a value that is not there is left out, or is the text NaN."""
    group, step = _group(asked["query"]), float(asked["step"])
    first, last = float(asked["start"]), float(asked["end"])
    values = [
        [at, "NaN" if math.isnan(value) else repr(value)]
        for n, value in enumerate(world.truth.get(group, ()))
        if first <= (at := BEGIN + step * (n + 1)) <= last
    ]
    metrics = [{"metric": {"n": str(n)}, "values": values} for n in range(world.series if values else 0)]
    return {"status": "success", "data": {"resultType": "matrix", "result": metrics}}


def graphite(world: World, asked: dict[str, str], _: Any) -> object:
    assert asked["format"] == "json"
    points = [
        [None if math.isnan(value) else value, int(at)]
        for at, value in _points(world, asked["target"])
        if float(asked["from"]) < at <= float(asked["until"])
    ]
    return [{"target": f"t{n}", "datapoints": points} for n in range(world.series if points else 0)]


def influxdb(world: World, asked: dict[str, str], _: Any) -> object:
    assert (asked["db"], asked["epoch"]) == ("metrics", "ms")
    assert f"time >= {BEGIN:.0f}s" in asked["q"]
    points = [
        [int(at * 1000), None if math.isnan(value) else value] for at, value in _points(world, asked["q"])
    ]
    series = [
        {"name": "errors", "columns": ["time", "sum"], "values": points, "tags": {"n": str(n)}}
        for n in range(world.series if points else 0)
    ]
    return {"results": [{"statement_id": 0, **({"series": series} if series else {})}]}


def datadog(world: World, asked: dict[str, str], request: web.Request) -> object:
    assert (request.headers["DD-API-KEY"], request.headers["DD-APPLICATION-KEY"]) == ("hush-7f3", "hush-7f3")
    assert float(asked["from"]) == BEGIN
    points = [
        [at * 1000.0, None if math.isnan(value) else value] for at, value in _points(world, asked["query"])
    ]
    series = [{"pointlist": points, "interval": 60} for _ in range(world.series if points else 0)]
    return {"status": "ok", "res_type": "time_series", "series": series, "query": asked["query"]}


def cloudwatch(world: World, asked: dict[str, Any], request: web.Request) -> object:
    """Points that are not there are left out; the newest come first unless another order is asked for."""
    (query,) = asked["MetricDataQueries"]
    assert (query["Period"], asked["ScanBy"]) == (60, "TimestampAscending")
    assert request.headers["X-Amz-Target"] == "GraniteServiceVersion20100801.GetMetricData"
    assert "/eu-west-1/monitoring/aws4_request" in request.headers["Authorization"]
    points = [each for each in _points(world, query["Expression"]) if not math.isnan(each[1])]
    result = {
        "Id": "q",
        "Label": "errors",
        "Timestamps": [at for at, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": "Complete",
    }
    return {"MetricDataResults": [result] * world.series, "Messages": []}


def of_no_vendor(world: World, asked: dict[str, str], request: web.Request) -> object:
    points = [
        {"at": int(at * 1000), "n": None if math.isnan(value) else value}
        for at, value in _points(world, request.path)
    ]
    return {"data": {"points": points * world.series}}


FAKES: Mapping[str, tuple[Callable[[World, dict[str, Any], Any], object], str, dict[str, str]]] = {
    "prometheus": (prometheus, 'sum(errors{group="{group}"})', {}),
    "graphite": (graphite, "sumSeries(shop.{group}.*.errors)", {}),
    "influxdb": (
        influxdb,
        "SELECT sum(errors) FROM http WHERE \"group\" = '{group}' AND time >= {since}s AND time < {until}s "
        "GROUP BY time({step}s)",
        {"database": "metrics"},
    ),
    "datadog": (datadog, "sum:http.errors{group:{group}}.as_count().rollup(sum, {step})", {}),
    "cloudwatch": (
        cloudwatch,
        "SELECT SUM(errors) FROM SCHEMA(shop, ServerGroup) WHERE ServerGroup = '{group}'",
        {"region": "eu-west-1"},
    ),
    "http": (of_no_vendor, "", {"values": "data.points[*].n", "times": "data.points[*].at"}),
}
SECRETS: Mapping[str, tuple[str, ...]] = {
    "prometheus": ("token",),
    "graphite": ("token",),
    "influxdb": ("token",),
    "datadog": ("key", "application_key"),
    "cloudwatch": ("credentials",),
    "http": ("token",),
}
ASKED = tuple(FAKES)
"""Kinds that ask another process over HTTP."""
KINDS = (*ASKED, "file", "balancer")


@asynccontextmanager
async def world_of(kind: str, folder: Path, seconds: float = 30.0) -> AsyncIterator[World]:
    if kind == "file":
        yield _of_file(folder)
    elif kind == "balancer":
        yield _of_balancer()
    else:
        async with _of_fake(kind, folder, seconds) as world:
            yield world


def _of_file(folder: Path) -> World:
    file = folder / "metrics.csv"
    source = source_of({"kind": "file", "path": str(file)})

    class Written(dict[str, tuple[float, ...]]):
        """Kept in the file."""

        def __setitem__(self, group: str, values: tuple[float, ...]) -> None:
            super().__setitem__(group, values)
            lines = ["time,application,region,group,errors"]
            for name, each in self.items():
                lines += [
                    f"{BEGIN + 60 * n:.0f},shop,{region},{name},{'' if math.isnan(value) else value}"
                    for n, value in enumerate(each)
                    for region in (("paris", "oslo") if math.isnan(value) else ("paris",))
                ]
            file.write_text("\n".join(lines) + "\n")

    file.write_text("time,application,region,group,errors\n")
    return World(source, "errors", Written())


def _of_balancer() -> World:
    truth: dict[str, tuple[float, ...]] = {}

    class Reader:
        async def read(self, *_: object) -> Figures:
            """In slots of 5 seconds, all in the first one of a minute."""
            longest = max((len(each) for each in truth.values()), default=0)
            groups = {
                GroupName(name): GroupFigures(
                    tuple(0 if math.isnan(value) else 100 for value in values),
                    tuple(0 if math.isnan(value) else int(value) for value in values),
                    tuple(None if math.isnan(value) else value for value in values),
                )
                for name, values in truth.items()
            }
            at = tuple(int(BEGIN) + 60 * n for n in range(longest))
            return Figures(5, at, groups, (), {PARIS: BEGIN}, {})

    return World(Balancer(Reader()), "latency", truth)


@asynccontextmanager
async def _of_fake(kind: str, folder: Path, seconds: float) -> AsyncIterator[World]:
    fake, query, more = FAKES[kind]

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        is_form = request.content_type == "application/x-www-form-urlencoded"
        asked: dict[str, Any] = dict(await request.post()) if is_form else dict(request.query)
        if body and not is_form:
            asked = json.loads(body)
        world.requests.append({**asked, "path": request.raw_path, "Authorization": _authorization(request)})
        if world.is_silent:
            await asyncio.sleep(60)
        if world.answer is not None:
            return world.answer(request)
        return web.json_response(fake(world, asked, request))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        path = "/of/{group}?from={since}" if kind == "http" else ""
        source = source_of(
            {"kind": kind, "url": url + path, "seconds": seconds, **more, **secrets_of(kind, folder)}
        )
        world = World(source, query, stop=site.stop)
        yield world
    finally:
        await runner.cleanup()


def secrets_of(kind: str, folder: Path) -> dict[str, str]:
    """Files with what shows whose requests are; it is `hush-7f3`."""
    text = "hush-7f3\n"
    if kind == "cloudwatch":
        text = "[default]\naws_access_key_id = AKID\naws_secret_access_key = hush-7f3\n"
    found = {}
    for name in SECRETS[kind]:
        (folder / name).write_text(text)
        found[name] = str(folder / name)
    return found


def source_of(settings: dict[str, Any]) -> Source:
    class NoReader:
        async def read(self, *_: object) -> Figures:
            raise AssertionError("the balancer is not asked")

    of = AnalysisSettings.model_validate({"sources": {"it": settings}})
    return sources_of(of, Balancer(NoReader()), lambda: BEGIN)["it"]


def _authorization(request: web.Request) -> str:
    return request.headers.get("Authorization", "")


def _group(text: str) -> str:
    (found,) = (each for each in ("shop-v001", "shop-v002") if each in text)
    return found


def _points(world: World, text: str) -> list[tuple[float, float]]:
    return [(BEGIN + 60 * n, value) for n, value in enumerate(world.truth.get(_group(text), ()))]
