"""What every source of metrics keeps, whichever system it asks."""

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from repave_controller.operations.analysis.sources.ports import Side, SourceError
from repave_protos.protocol.values import GroupName, RegionName
from tests.contracts.metrics_worlds import ASKED, BEGIN, KINDS, NAN, NEW, OLD, World, window, world_of


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(request.param, tmp_path) as world:
        yield world


@pytest.fixture(params=ASKED)
async def afar(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(request.param, tmp_path) as world:
        yield world


async def values(world: World, side: Side, slots: int = 4) -> list[float | None]:
    series = await world.source.read(world.query, side, window(slots))
    assert (series.begins_at, series.step_seconds) == (BEGIN, 60)
    return [None if math.isnan(each) else each for each in series.values]


async def why_not(world: World, side: Side = NEW) -> str:
    with pytest.raises(SourceError) as caught:
        await world.source.read(world.query, side, window(4))
    text = str(caught.value)
    assert "hush-7f3" not in text
    return text


async def test_each_side_has_its_own_values_step_by_step(world: World) -> None:
    world.truth["shop-v001"] = (3.0, 0.0, 7.0, 1.0)
    world.truth["shop-v002"] = (2.0, 9.0, 4.0, 8.0)
    assert await values(world, OLD) == [3.0, 0.0, 7.0, 1.0]
    assert await values(world, NEW) == [2.0, 9.0, 4.0, 8.0]
    assert world.source.objection(world.query) == ""


async def test_a_step_without_a_value_has_none(world: World) -> None:
    world.truth["shop-v002"] = (2.0, NAN, 4.0, NAN)
    assert await values(world, NEW) == [2.0, None, 4.0, None]


async def test_where_there_is_nothing_is_no_error(world: World) -> None:
    assert await values(world, NEW) == [None] * 4
    series = await world.source.read(world.query, NEW, window(4))
    assert series.is_empty


async def test_what_is_outside_of_the_window_does_not_count(world: World) -> None:
    world.truth["shop-v002"] = (2.0, 9.0, 4.0, 8.0)
    assert await values(world, NEW, 2) == [2.0, 9.0]


async def test_several_series_are_refused_for_none_of_them_is_meant(afar: World) -> None:
    afar.truth["shop-v002"] = (2.0,)
    afar.series = 2
    if afar.source.kind == "http":  # its points are one list
        assert await values(afar, NEW) == [2.0, None, None, None]
    else:
        assert "2 series" in await why_not(afar)


@pytest.mark.parametrize(
    "name", ['v1"} or up{a="', "v1'; DROP", "a b", "../x", "v{1}", "v1\n", "", "é", "a,b"]
)
async def test_a_name_can_not_change_what_is_asked(afar: World, name: str) -> None:
    told = await why_not(afar, replace(NEW, group=GroupName(name)))
    assert "signs that don't go into a query" in told
    assert not afar.requests


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 429, 500, 503])
async def test_an_error_is_told_in_the_words_of_the_source(afar: World, status: int) -> None:
    headers = {"Location": "http://169.254.169.254/"} if status == 301 else {}
    afar.answer = lambda _: web.json_response({"error": "parse error"}, status=status, headers=headers)
    told = await why_not(afar)
    assert f"answered {status}: parse error" in told
    assert len(afar.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        "[" * 100_000,
        "null",
        "7",
        "{}",
        "[7]",
        '{"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1]]}]}}',
        '{"results": [{"series": [{"columns": ["time", "a"], "values": [["x", 1]]}]}]}',
        '{"status": "ok", "series": [{"pointlist": 5}]}',
        '{"MetricDataResults": [{"Timestamps": [1], "Values": []}]}',
        '[{"target": "a", "datapoints": [[{}, 1]]}]',
    ],
)
async def test_an_answer_of_another_form_is_an_error_or_nothing(afar: World, body: str) -> None:
    afar.answer = lambda _: web.Response(text=body, content_type="application/json")
    if afar.source.kind == "http" and body[:1] in ("n", "7", "{", "[") and body[:2] != "[[":
        assert await values(afar, NEW) == [None] * 4  # what is not there is not there
    else:
        assert await why_not(afar)


async def test_a_huge_answer_is_read_no_further_than_a_bound(afar: World) -> None:
    afar.answer = lambda _: web.Response(text="[" + "1," * 3_000_000 + "1]", content_type="application/json")
    assert "answered with more than 2 MiB" in await why_not(afar)


@pytest.mark.parametrize("kind", ASKED)
async def test_a_source_that_does_not_answer_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    async with world_of(kind, tmp_path, seconds=0.1) as world:
        world.is_silent = True
        assert "did not answer within 0.1 s" in await why_not(world)


async def test_a_source_that_is_gone_is_named(afar: World) -> None:
    assert afar.stop is not None
    await afar.stop()
    assert "127.0.0.1" in await why_not(afar)


async def test_a_secret_is_read_each_time_and_one_that_is_gone_is_named(afar: World, tmp_path: Path) -> None:
    await values(afar, NEW)
    for file in tmp_path.iterdir():
        file.unlink()
    told = await why_not(afar)
    assert f"{tmp_path}/" in told
    assert "No such file" in told
    assert len(afar.requests) == 1


async def test_several_regions_are_not_taken_for_one(afar: World) -> None:
    both = replace(NEW, regions=(RegionName("oslo"), RegionName("paris")))
    afar.query = afar.query.replace("{group}", "{group}{region}")
    if afar.source.kind != "http":
        assert "2 are judged together" in await why_not(afar, both)
