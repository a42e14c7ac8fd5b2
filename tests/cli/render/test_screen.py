"""What `repave watch` shows: it fits at every width and height, failing regions first, then moving ones, done
ones in one line; and painting it draws no more than what changed."""

import io
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from repave_cli.render.painter import Painter
from repave_cli.render.screen import PLAIN, Line, lines_as_text, places_of, screen
from repave_controller.api.answers.views import application_status
from repave_protos.protocol.values import GroupName
from tests.cli.render.test_summary import a_world, begin, names, summed
from tests.fakes.controller.stepping import World

WIDTHS = (60, 80, 120, 200)


@cache
def failing(count: int) -> World:
    """A release in so many regions, of which a tenth fail."""
    world = a_world(count)
    begin(world)
    for name in names(count)[: max(1, count // 10)]:
        world.regions[name].sick = {GroupName("hello-v002")}
    world.settle()
    return world


def told(world: World) -> dict[str, Any]:
    return summed(world).model_dump(mode="json")


def shown(status: dict[str, Any], width: int = 80, rows: int = 24) -> list[str]:
    return lines_as_text(screen(status, width, rows, 133.0))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [10, 24, 60])
@pytest.mark.parametrize("count", [1, 3, 100])
def test_it_fits_and_tells_of_what_fails_first(count: int, rows: int, width: int) -> None:
    status = told(failing(count))
    lines = shown(status, width, rows)
    assert max(map(len, lines)) <= width
    assert len(lines) <= rows
    marks = "".join(line[0] for line in lines if re.match(r"[✗▶·✓] (r\d\d\d|\d+ regions) ", line))
    assert re.fullmatch("✗+▶*", marks), lines
    assert any("answered 500" in line for line in lines)
    assert lines[0].startswith("release of hello-v002")
    assert lines[0].endswith("running  2 min")


def test_a_thousand_regions_are_counted_by_what_they_do() -> None:
    status = told(failing(100))
    for alike in (status["alike"][0], status["current_rollout"]["waves"][0]["regions"][-1]):
        alike["count"] += 900
    lines = shown(status, 60)
    assert lines[2].startswith("✗ 10 failing  ▶ 990 moving")
    assert len(lines) <= 24
    assert any(line.startswith("▶ 990 regions  v002  █") for line in shown(status, 60, 40))
    world = a_world(100)
    begin(world)
    world.finish()
    assert shown(told(world))[2:] == [
        f"✓ 100 done  {'━' * 26}",
        "✓ done: r000, r001, r002, ... (100 regions)",
    ]


def test_what_does_not_fit_is_counted() -> None:
    lines = shown(told(failing(100)), 80, 12)
    (left,) = (int(match[1]) for line in lines if (match := re.match(r"  … and (\d+) more", line)))
    assert left + sum(line.startswith("✗ r") for line in lines) == 100


@pytest.mark.parametrize("width", WIDTHS)
def test_the_whole_of_few_regions_is_shown_as_its_summary_is(width: int) -> None:
    world = failing(3)
    whole = application_status(world.application, world.observed, world.because, {}, world.now)
    assert shown(whole.model_dump(mode="json"), width) == shown(told(world), width)


def test_without_a_release_there_is_a_name() -> None:
    status = {**told(a_world(1)), "current_rollout": None}
    assert shown(status)[0] == "hello"


def test_terminals_of_ascii_get_ascii() -> None:
    text = "\n".join(lines_as_text(screen(told(failing(100)), 80, 24, 1.0, PLAIN)))
    assert text.isascii()
    assert "! r000" in text


def test_every_region_is_in_exactly_one_place() -> None:
    for count in (1, 12, 13, 100):
        places = places_of(told(failing(count)))
        assert sum(each.where.count for each in places) == count


# -------------------------------------------------------------------------------------------------- painting


class Screen:
    """As much of a terminal as Painter uses."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines: list[str] = [""]
        self.at = 0
        self.drawn = 0
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        for part in re.findall(r"\x1b\[[?\d;]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", text):
            match part:
                case "\n":
                    self.at += 1
                    self.lines += [""] * (self.at + 1 - len(self.lines))
                case "\x1b[J":
                    self.lines[self.at :] = [""]
                case up if re.fullmatch(r"\x1b\[\d+A", up):
                    self.at -= int(up[2:-1])
                    assert self.at >= 0
                case shown if not shown.startswith(("\x1b", "\r")):
                    assert len(shown) <= self.columns
                    self.lines[self.at] = shown
                    self.drawn += 1
        return len(text)

    def flush(self) -> None:
        pass


def plain(lines: Sequence[str]) -> list[Line]:
    return [[(line, "")] for line in lines]


def test_only_lines_that_changed_are_drawn_and_a_frame_is_one_write() -> None:
    terminal = Screen(60)
    painter = Painter(terminal, lambda: (terminal.columns, 24), has_colours=False)  # type: ignore[arg-type]  # as much of a stream as it uses
    painter.paint(plain(["a", "b", "c"]))
    assert (terminal.lines, terminal.drawn, terminal.writes) == (["a", "b", "c", ""], 3, 1)
    painter.paint(plain(["a", "B", "c"]))
    assert (terminal.lines, terminal.drawn, terminal.writes) == (["a", "B", "c", ""], 4, 2)
    painter.paint(plain(["a", "B", "c"]))
    assert terminal.writes == 2
    painter.paint(plain(["a"]))
    assert (terminal.lines, terminal.drawn) == (["a", ""], 4)
    painter.paint(plain(["a", "d"]))
    assert terminal.lines == ["a", "d", ""]


def test_after_a_change_of_width_what_was_wrapped_is_cleared() -> None:
    terminal = Screen(40)
    painter = Painter(terminal, lambda: (terminal.columns, 24), has_colours=False)  # type: ignore[arg-type]  # as much of a stream as it uses
    painter.paint(plain(["x" * 39, "y"]))
    terminal.columns = 20
    terminal.lines[0:1] = ["x" * 20, "x" * 19]  # as terminals wrap what is there
    terminal.at += 1
    painter.paint(plain(["x" * 19, "y"]))
    assert terminal.lines == ["x" * 19, "y", ""]


def test_colours_are_only_where_they_are_wanted() -> None:
    for has_colours in (True, False):
        stream = io.StringIO()
        painter = Painter(stream, lambda: (80, 24), has_colours=has_colours)
        painter.paint([[("bad", "bad"), ("  plain", "")]])
        painter.close()
        assert ("\x1b[31;1mbad\x1b[0m" in stream.getvalue()) is has_colours
        assert stream.getvalue().endswith("\x1b[?25h")
