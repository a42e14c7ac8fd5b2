"""The recording that README shows: what a terminal got, kept in asciinema's format and drawn as a picture."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deploy.recording.cast import Cast, read, record
from deploy.recording.picture import PAUSE_MAX, REST, Line, draw, lines_of
from tests.support.paths import ROOT

SVG = "{http://www.w3.org/2000/svg}"
KEPT = ROOT / "docs" / "demo.cast"


def test_a_command_is_recorded_as_it_prints_to_a_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print(sys.stdout.isatty(), 'ä'); sys.exit(3)"]
    cast, code = record(command, "a title", 80, 24, 60.0, tmp_path)
    assert code == 3
    assert "".join(text for _, text in cast.events) == "True ä\r\n"
    assert read(cast.text()) == Cast(
        "a title", 80, 24, tuple((round(at, 3), text) for at, text in cast.events)
    )


def test_a_command_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        record([sys.executable, "-c", "input()"], "", 80, 24, 0.2, tmp_path)


def test_another_version_of_the_format_is_refused() -> None:
    with pytest.raises(ValueError, match="version 3"):
        read('{"version": 3}\n')


def test_lines_have_their_colours_and_their_moments() -> None:
    events = ((0.5, "a \x1b[32mgreen\x1b[0m b\r\n"), (0.6, "be"), (90.0, "gun\r\n\r\nend"))
    assert lines_of(Cast("", 80, 24, events)) == [
        Line(0.5, (("", "a "), ("g", "green"), ("", " b"))),
        Line(0.6 + PAUSE_MAX, (("", "be"), ("", "gun"))),
        Line(0.6 + PAUSE_MAX, ()),
        Line(0.6 + PAUSE_MAX, (("", "end"),)),
    ]


@pytest.mark.parametrize("printed", ["50 %\r100 %\n", "\x1b[2K", "\x1b[3A", "\x1b7"])
def test_what_cannot_be_drawn_is_refused(printed: str) -> None:
    with pytest.raises(ValueError, match="can't be drawn"):
        draw(Cast("", 80, 24, ((0.0, printed),)))


def test_the_picture_needs_nothing_from_elsewhere_and_takes_text_as_text() -> None:
    text = draw(Cast("<t>", 80, 2, ((0.1, "<script>alert(1)</script> & co\r\n"), (1.0, "2\r\n3\r\n"))))
    picture = ElementTree.fromstring(text)
    assert [each.tag for each in picture.iter() if "script" in each.tag or "foreignObject" in each.tag] == []
    assert "".join(next(picture.iter(f"{SVG}text")).itertext()) == "<t>"
    assert "<script>alert(1)</script> & co" in "".join(picture.itertext())
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert f"{1.0 + REST:.2f}s step-end infinite" in text
    assert "@keyframes all{0%{transform:none}14.29%{transform:translateY(-19px)}}" in text


def test_the_kept_recording_is_the_demo_and_the_kept_picture_is_drawn_from_it() -> None:
    cast = read(KEPT.read_text())
    printed = re.sub(r"\x1b\[[0-9;]*m", "", "".join(text for _, text in cast.events))
    assert cast.title == "make demo"
    assert re.search(r"\n +failed +0\r\n", printed)
    assert (ROOT / "docs" / "demo.svg").read_text() == draw(cast)
