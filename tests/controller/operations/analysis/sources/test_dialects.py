"""What each metrics system says in a way of its own, and what its queries may be."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from repave_controller.fleet.presigning import Keys
from repave_controller.operations.analysis.sources.balancer import Balancer
from repave_controller.operations.analysis.sources.cloudwatch import CloudWatch, signed
from repave_controller.operations.analysis.sources.credentials import none
from repave_controller.operations.analysis.sources.csv_file import CsvFile
from repave_controller.operations.analysis.sources.http_json import HttpJson, values_at
from repave_controller.operations.analysis.sources.http_source import HttpSource
from repave_controller.operations.analysis.sources.influxdb import InfluxDb
from repave_controller.operations.analysis.sources.ports import SourceError, Window, on_grid
from repave_controller.operations.traffic import Figures, GroupFigures
from repave_controller.settings import AnalysisSettings, MetricsSource
from repave_protos.daemon.settings import SettingsError, load_settings
from repave_protos.protocol.values import GroupName
from tests.contracts.metrics_worlds import ASKED, BEGIN, NEW, OLD, PARIS, World, window, world_of

MINUTES = Window(BEGIN, BEGIN + 240, 60)


async def why_not(world: World) -> str:
    with pytest.raises(SourceError) as caught:
        await world.source.read(world.query, NEW, window(4))
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        ("prometheus", {"status": "error", "error": "query timed out"}, "query timed out"),
        ("prometheus", {"status": "success", "data": {"resultType": "scalar"}}, "of a scalar"),
        ("influxdb", {"results": [{"error": "database not found: x"}]}, "database not found"),
        (
            "influxdb",
            {"results": [{"series": [{"columns": ["time", "a", "b"], "values": []}]}]},
            "the columns time, a, b: name one",
        ),
        ("datadog", {"status": "error", "error": "Rate limit of 300 requests"}, "Rate limit"),
        (
            "cloudwatch",
            {"MetricDataResults": [{"StatusCode": "Forbidden", "Messages": [{"Value": "no access"}]}]},
            "Forbidden: no access",
        ),
        (
            "cloudwatch",
            {"MetricDataResults": [], "NextToken": "x"},
            "more than one page",
        ),
    ],
)
async def test_what_went_wrong_is_told_as_the_system_tells_it(
    kind: str, answer: dict[str, Any], told: str, tmp_path: Path
) -> None:
    async with world_of(kind, tmp_path) as world:
        world.answer = lambda _: web.json_response(answer)
        assert told in await why_not(world)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
async def test_what_is_no_number_to_prometheus_is_no_value(value: str, tmp_path: Path) -> None:
    found = {"resultType": "matrix", "result": [{"metric": {}, "values": [[BEGIN + 60, value]]}]}
    async with world_of("prometheus", tmp_path) as world:
        world.answer = lambda _: web.json_response({"status": "success", "data": found})
        assert (await world.source.read(world.query, NEW, window(2))).is_empty


@pytest.mark.parametrize(
    ("query", "objection"),
    [
        ("SELECT mean(a) FROM b WHERE time >= {since}s AND time < {until}s GROUP BY time({step}s)", ""),
        ("SELECT mean(a) FROM b", "choose its time"),
        ("DROP DATABASE metrics", "begin with SELECT"),
        (
            "SELECT a FROM b WHERE time >= {since}s AND time < {until}s; DROP DATABASE metrics",
            "one statement",
        ),
        ("", "begin with SELECT"),
    ],
)
def test_a_query_of_influxdb_reads_and_does_nothing_else(query: str, objection: str) -> None:
    found = InfluxDb("http://127.0.0.1", "m", none).objection(query)
    assert objection in found
    assert bool(found) == bool(objection)


def test_requests_to_aws_are_signed_as_its_own_client_signs_them(tmp_path: Path) -> None:
    keys, body = Keys("AKID", "SECRET", "TOKEN"), b'{"a": 1}'
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "G.GetMetricData"}
    url = URL("https://monitoring.eu-west-1.amazonaws.com/")
    own = signed(url, body, headers, "eu-west-1", keys, 1_700_000_000.0)
    theirs = AWSRequest("POST", str(url), headers={**headers, "X-Amz-Date": own["X-Amz-Date"]}, data=body)
    theirs.context["timestamp"] = own["X-Amz-Date"]
    signer = SigV4Auth(Credentials("AKID", "SECRET", "TOKEN"), "monitoring", "eu-west-1")
    theirs.headers["X-Amz-Security-Token"] = "TOKEN"
    request = signer.canonical_request(theirs)
    signature = signer.signature(signer.string_to_sign(theirs, request), theirs)
    assert own["Authorization"].endswith(f"Signature={signature}")
    assert f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(theirs))}" in own["Authorization"]


def test_cloudwatch_is_asked_for_whole_minutes(tmp_path: Path) -> None:
    dialect = CloudWatch("https://m", "eu-west-1", tmp_path)
    assert dialect.window(Window(100.0, 400.0, 5)) == Window(60.0, 400.0, 60)
    assert dialect.window(Window(120.0, 400.0, 61)).step_seconds == 120


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data[*].v", [1, 2]),
        ("data[1].v", [2]),
        ("data[7].v", []),
        ("rows[*][1]", ["a", "b"]),
        ("rows[*][*]", [0, "a", 1, "b"]),
        ("deep.er.x-y", [5]),
        ("nowhere.else", []),
        ("deep[0]", []),
    ],
)
def test_the_way_to_values(path: str, found: list[object]) -> None:
    answer = {"data": [{"v": 1}, {"v": 2}, {}], "rows": [[0, "a"], [1, "b"]], "deep": {"er": {"x-y": 5}}}
    assert values_at(answer, path) == found


def test_times_in_json_are_seconds_milliseconds_or_iso() -> None:
    dialect = HttpJson("http://127.0.0.1", "[*][1]", "[*][0]", none)
    answer = [
        [BEGIN, 1],
        [(BEGIN + 60) * 1000, "2.5"],
        ["2023-11-14T22:16:00Z", 3],
        ["2023-11-14T22:17:00", 4],
    ]
    points = dialect.points(answer, MINUTES)
    assert on_grid(points, MINUTES).values == (1.0, 2.5, 3.0, 4.0)


def test_without_times_an_answer_is_one_value_of_the_whole_window() -> None:
    dialect = HttpJson("http://127.0.0.1", "error.rate", "", none)
    whole = dialect.window(MINUTES)
    assert on_grid(dialect.points({"error": {"rate": 0.5}}, whole), whole).values == (0.5,)
    several = HttpJson("http://127.0.0.1", "[*]", "", none)
    with pytest.raises(SourceError, match="don't say where their times are"):
        several.points([1, 2], whole)


async def test_a_file_must_tell_the_sides_apart(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    source = CsvFile("it", file, 60, ("*",))
    for text, told in (
        ("time,errors\n", "neither a column group nor version"),
        ("group,errors\n", "no column time"),
        ("time,group\n", "no column errors: it has time, group"),
        ("time,group,errors\n1700000040,shop-v002,many\n", "where a number was expected"),
    ):
        file.write_text(text)
        with pytest.raises(SourceError, match=told):
            await source.read("errors", NEW, MINUTES)
    file.unlink()
    with pytest.raises(SourceError, match="No such file"):
        await source.read("errors", NEW, MINUTES)
    assert "says what a row is of" in source.objection("group")


async def test_both_sides_and_all_metrics_of_a_look_are_one_question_to_the_agents() -> None:
    asked = []
    groups = {
        GroupName("shop-v001"): GroupFigures((10, 30), (1, 0), (0.1, 0.3)),
        GroupName("shop-v002"): GroupFigures((4, 0), (2, 0), (0.2, None)),
    }

    class Reader:
        async def read(self, *of: object) -> Figures:
            asked.append(of)
            return Figures(5, (int(BEGIN), int(BEGIN) + 5), groups, (), {PARIS: BEGIN}, {})

    source = Balancer(Reader())
    within = Window(BEGIN, BEGIN + 60, 60)
    found = {
        query: [(await source.read(query, side, within)).values for side in (OLD, NEW)]
        for query in ("requests", "errors", "latency")
    }
    assert found["requests"] == [(40.0,), (4.0,)]
    assert found["errors"] == [(1.0,), (2.0,)]
    assert found["latency"][0][0] == pytest.approx(0.25)  # weighed by requests
    assert len(asked) == 1
    await source.read("errors", OLD, Window(BEGIN, BEGIN + 120, 60))
    assert len(asked) == 2


async def test_what_a_balancer_does_not_count_is_an_error_and_not_nothing() -> None:
    class Reader:
        async def read(self, *_: object) -> Figures:
            return Figures(5, (), {}, (), {}, {PARIS: "its balancer, x, does not count"})

    with pytest.raises(SourceError, match="paris: its balancer, x, does not count"):
        await Balancer(Reader()).read("errors", NEW, MINUTES)
    assert "requests, errors, latency" in Balancer(Reader()).objection("memory")


@pytest.mark.parametrize("at", [math.inf, -math.inf, math.nan, 1e308])
def test_a_point_of_no_time_is_left_out(at: float) -> None:
    assert on_grid([(at, 1.0), (BEGIN, 2.0)], MINUTES).values[0] == 2.0


async def test_a_number_that_no_float_holds_is_an_answer_of_another_form(tmp_path: Path) -> None:
    found = {"status": "ok", "series": [{"pointlist": [[10**400, 1]]}]}
    async with world_of("datadog", tmp_path) as world:
        world.answer = lambda _: web.json_response(found)
        assert "answered in a form that datadog does not have" in await why_not(world)


@pytest.mark.parametrize("kind", ASKED)
async def test_a_query_that_is_the_same_for_both_sides_is_refused(kind: str, tmp_path: Path) -> None:
    """It would find no difference, whatever the new version does."""
    async with world_of(kind, tmp_path) as world:
        assert not await world.source.is_by_version(world.query)
        assert isinstance(world.source, HttpSource)
        assert not world.source.objection(world.query)
        same = world.query.replace("{group}", "{region}")
        by_version = world.query.replace("{group}", "{version}")
        if kind == "http":  # its address may say it
            assert not world.source.objection("errors")
            plain = replace(world.source.dialect, url="https://m.example/{query}")  # type: ignore[type-var]
            world.source, same, by_version = replace(world.source, dialect=plain), "a", "a/{version}"
        assert "both have the same numbers" in world.source.objection_to_sides(same)
        assert not world.source.objection_to_sides(by_version)
        assert await world.source.is_by_version(by_version)


def test_a_point_belongs_to_one_step_whichever_time_it_tells_of() -> None:
    points = [(BEGIN, 1.0), (BEGIN + 60, 2.0), (BEGIN + 240, 4.0)]
    begins = on_grid(points, MINUTES).values
    ends = on_grid(points, MINUTES, are_ends=True).values
    assert [None if math.isnan(each) else each for each in begins] == [1.0, 2.0, None, None]
    assert [None if math.isnan(each) else each for each in ends] == [2.0, None, None, 4.0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "prometheus"}, 'kind = "prometheus" needs url'),
        ({"kind": "prometheus", "url": "metrics.example"}, "expected https://HOST/"),
        ({"kind": "prometheus", "url": "https://u:p@m.example"}, "without a user"),
        ({"kind": "prometheus", "url": "file:///etc/passwd"}, "expected https://HOST/"),
        ({"kind": "prometheus", "url": "https://m", "path": "/x"}, "path is for file, not for prometheus"),
        ({"kind": "prometheus", "url": "https://m", "user": "a"}, "give token, or user and password"),
        ({"kind": "influxdb", "url": "https://m"}, "needs database"),
        ({"kind": "datadog", "key": "/k"}, "needs application_key"),
        ({"kind": "cloudwatch", "credentials": "/k"}, "needs region"),
        ({"kind": "http", "url": "https://m", "values": "a b"}, "must be the way to values in JSON"),
        ({"kind": "http", "url": "https://m"}, "needs values"),
        ({"kind": "file"}, "needs path"),
        ({"kind": "nagios"}, "must be 'prometheus'"),
        ({"kind": "prometheus", "url": "https://m", "seconds": 0}, "must be at least 0.1"),
    ],
)
def test_a_mistake_in_the_settings_is_named(given: dict[str, object], told: str) -> None:
    environment = {"X_SOURCES": json.dumps({"it": given})}
    with pytest.raises(SettingsError) as caught:
        load_settings(AnalysisSettings, None, environment, "X_")
    assert told in str(caught.value)
    assert "sources.it" in str(caught.value)


def test_the_balancers_name_is_taken() -> None:
    with pytest.raises(ValueError, match="call it otherwise"):
        AnalysisSettings(sources={"balancer": MetricsSource(kind="file", path=Path("/x"))})


async def test_a_csv_is_parsed_once_for_all_that_is_asked_of_a_window(tmp_path: Path) -> None:
    """Content that looks the same to the file system is not looked at again."""
    file = tmp_path / "metrics.csv"
    file.write_text(f"time,group,errors,load\n{BEGIN},shop-v001,1,2\n{BEGIN},shop-v002,3,4\n")
    source = CsvFile("it", file, 60, ("*",))
    assert (await source.read("errors", OLD, MINUTES)).values[0] == 1.0
    at = file.stat().st_mtime_ns
    file.write_text(file.read_text().replace("3,4", "7,8"))
    os.utime(file, ns=(at, at))
    found = [(await source.read(name, NEW, MINUTES)).values[0] for name in ("errors", "load")]
    assert found == [3.0, 4.0]
    os.utime(file, ns=(at, at + 1))
    assert (await source.read("errors", NEW, MINUTES)).values[0] == 7.0


async def test_a_csv_with_versions_only_tells_groups_apart_by_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    source = CsvFile("it", file, 60, ("*",))
    for columns, is_so in (("time,version,errors", True), ("time,group,version,errors", False)):
        file.write_text(f"{columns}\n")
        assert await source.is_by_version("errors") is is_so
