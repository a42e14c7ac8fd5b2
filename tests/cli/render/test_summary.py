"""The status of hundreds of regions fits a screen and a packet: regions that are alike are one line, those
that are not where they should be have their own."""

from dataclasses import replace
from typing import Any

import pytest

from repave_cli.render.progress import awaited, serving_text, status_lines
from repave_controller.api.answers.summary import (
    ALONE_MAX,
    KINDS_MAX,
    ApplicationSummary,
    summary,
    why_summary,
)
from repave_controller.api.answers.views import application_status
from repave_protos.protocol.values import GroupName, RegionName
from tests.fakes.controller.stepping import Region, World

BYTES_MAX = 20_000
LINES_MAX = 60


def names(count: int) -> list[RegionName]:
    return [RegionName(f"r{number:03d}") for number in range(count)]


def a_world(count: int) -> World:
    """Released once, with two hosts in each region."""
    world = World()
    world.regions = {name: Region() for name in names(count)}
    world.release("a", sizes=tuple((name, 2) for name in names(count)))
    world.finish()
    return world


def summed(world: World) -> ApplicationSummary:
    return summary(world.application, world.observed, world.because, {}, world.now)


def lines(world: World) -> list[str]:
    return status_lines(summed(world).model_dump(mode="json"))


def begin(world: World, digest: str = "b") -> None:
    world.release(digest, sizes=tuple((name, 2) for name in world.regions))


@pytest.fixture
def large() -> World:
    return a_world(100)


def test_regions_that_are_alike_are_one_line(large: World) -> None:
    assert lines(large) == [
        "hello: hello-v001 (a) serves, port 8000",
        "release of hello-v001: succeeded  [+scale] [+verify] [+weight] [+soak]",
        "  r000, r001, r002, ... (100 regions)",
        "    hello-v001           serving   200 verified of 200  traffic 100 %",
    ]
    told = summed(large).model_dump(mode="json")
    assert serving_text(told) == "hello-v001 serves hello in r000, r001, r002, ... (100 regions)"
    assert told["region_items"] == []


def test_those_that_are_not_where_they_should_be_stand_alone(large: World) -> None:
    large.regions[RegionName("r017")].is_connected = False
    large.regions[RegionName("r042")].sick = {GroupName("hello-v001")}
    large.settle()
    shown = lines(large)
    assert "  r017  AGENT AWAY" in shown
    assert shown[shown.index("  r042") + 1].endswith("answered 500")
    assert "  r000, r001, r002, ... (98 regions)" in shown
    assert "    hello-v001           serving   196 verified of 196  traffic 100 %" in shown


@pytest.mark.parametrize("count", [1, 2, ALONE_MAX])
def test_of_few_regions_all_stand_alone_as_in_the_whole(count: int) -> None:
    world = a_world(count)
    begin(world)
    world.settle()
    whole = application_status(world.application, world.observed, world.because, {}, world.now)
    assert lines(world) == status_lines(whole.model_dump(mode="json"))


def test_a_rollout_is_told_by_what_its_regions_do(large: World) -> None:
    begin(large)
    for name in names(30):
        large.regions[name].sick = {GroupName("hello-v002")}
    large.settle()
    shown = lines(large)
    assert "  r011" in shown  # as twelve of the ill ones do
    assert "  scale: r012, r013, r014, ... (88 regions)" in shown
    at = shown.index("  r012, r013, r014, ... (18 regions)")
    assert shown[at + 2].endswith("36 unhealthy of 36  traffic 0 %  answered 500")
    assert "  r030, r031, r032, ... (70 regions)" in shown
    assert shown[-1].startswith("  waits: r000, r001, r002, ... (30 regions): scale: 0 of 2 hosts run")
    assert len(shown) <= LINES_MAX


@pytest.mark.parametrize("is_away", [False, True])
@pytest.mark.parametrize("is_under_way", [False, True])
def test_it_takes_as_many_bytes_for_many_regions_as_for_fifty(is_away: bool, is_under_way: bool) -> None:
    def size(count: int) -> int:
        world = a_world(count)
        if is_under_way:
            begin(world)
        for region in world.regions.values():
            region.is_connected = not is_away
        world.decide()
        told = summed(world)
        assert len(status_lines(told.model_dump(mode="json"))) <= LINES_MAX
        return len(told.model_dump_json())

    few, many = size(50), size(200)
    assert many <= few + 500
    assert many <= BYTES_MAX


def test_what_is_too_varied_is_counted_not_dropped(large: World) -> None:
    for number, region in enumerate(large.regions.values()):
        assert region.reported is not None
        told = replace(region.reported.groups[0], trouble=f"exited with code {number}")
        region.reported = replace(region.reported, groups=(told,))
    found = summed(large)
    shown: list[dict[str, Any]] = [each.model_dump() for each in found.alike]
    assert len(shown) == KINDS_MAX
    assert ALONE_MAX + KINDS_MAX + found.regions_left == 100
    text = f"  and {found.regions_left} regions of other kinds: repave status hello -o wide"
    assert text in status_lines(found.model_dump(mode="json"))


def test_waits_that_are_alike_are_said_once(large: World) -> None:
    begin(large)
    for region in large.regions.values():
        region.is_connected = False
    large.decide()
    found = summed(large)
    assert len(large.because) >= 100
    assert len(found.because) < 10
    why = why_summary(large.application, large.observed, large.because, {})
    assert (why.because, why.waits_left, why.troubles_left) == (found.because, 0, 0)
    assert any("(100 regions)" in each.text for each in awaited(found.model_dump(mode="json")["because"]))
