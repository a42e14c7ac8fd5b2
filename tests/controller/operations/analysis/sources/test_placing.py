"""Names stand in a query of Prometheus where they were meant to stand, and nowhere else."""

import re
from dataclasses import replace

import pytest

from repave_controller.operations.analysis.sources.placing import (
    in_labels,
    in_url,
    objection_to_labels,
    plain,
)
from repave_controller.operations.analysis.sources.ports import Side, SourceError, Window
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName

SIDE = Side(ApplicationName("shop"), (RegionName("paris"),), GroupName("shop-v002"), "2.0+b.1")
BOTH = replace(SIDE, regions=(RegionName("oslo"), RegionName("eu.west-1")))
WINDOW = Window(1000.0, 1600.0, 15)


@pytest.mark.parametrize(
    ("query", "placed"),
    [
        ('up{group="{group}"}', 'up{group="shop-v002"}'),
        ("up{group='{group}',v=`{version}`}", "up{group='shop-v002',v=`2.0+b.1`}"),
        ('up{v=~"{version}"}', r'up{v=~"2\\.0\\+b\\.1"}'),
        ('up{v =~ "x-{version}"}', r'up{v =~ "x-2\\.0\\+b\\.1"}'),
        ("up{v!~`{version}`}", r"up{v!~`2\.0\+b\.1`}"),
        ('up{v!="{version}"}', 'up{v!="2.0+b.1"}'),
        ("increase(x[{step}s])", "increase(x[15s])"),
        ('a{b="\\"{group}"}', 'a{b="\\"shop-v002"}'),
        ('a{b="}{group}{"}', 'a{b="}shop-v002{"}'),
        ('a{b="c"} # "{group}\n+ d{e="{group}"}', 'a{b="c"} + d{e="shop-v002"}'),
        ('a{region="{region}"}', 'a{region="paris"}'),
        ("a{group}", None),
        ('a{b="c"}{group}', None),
        ('sum by ({group}) (a{b="c"})', None),
        ('a{b="c', None),
        ("a{b='c\\'}", None),
    ],
)
def test_a_name_stands_in_quotes_or_nowhere(query: str, placed: str | None) -> None:
    if placed is None:
        with pytest.raises(SourceError):
            in_labels(query, SIDE, WINDOW)
    else:
        assert in_labels(query, SIDE, WINDOW) == placed
        assert objection_to_labels(query) == ""


def test_several_regions_are_a_pattern_or_refused() -> None:
    placed = in_labels('a{region=~"{region}"}', BOTH, WINDOW)
    assert placed == r'a{region=~"oslo|eu\\.west\\-1"}'
    pattern = re.search(r'"(.*)"', placed)[1].replace("\\\\", "\\")  # type: ignore[index]
    assert [re.fullmatch(pattern, each) is not None for each in ("oslo", "eu.west-1", "euxwest-1")] == [
        True,
        True,
        False,
    ]
    with pytest.raises(SourceError, match="2 are judged together"):
        in_labels('a{region="{region}"}', BOTH, WINDOW)


def test_what_stands_in_an_address_is_quoted_and_a_query_is_one_part_of_it() -> None:
    url = "https://m.example/q?q={query}&g={group}&since={since}&until={until}&v={version}"
    assert in_url(url, "sum:a{x:{group}} & b", SIDE, WINDOW) == (
        "https://m.example/q?q=sum%3Aa%7Bx%3Ashop-v002%7D%20%26%20b&g=shop-v002&since=1000&until=1600&v=2.0%2Bb.1"
    )


def test_what_is_no_placeholder_stays() -> None:
    assert plain("avg:a{host:b} {other} {group} {window}", SIDE, WINDOW) == (
        "avg:a{host:b} {other} shop-v002 600"
    )
