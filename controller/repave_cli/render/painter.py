"""Shows lines in place on a terminal: each frame is one write, in which only the lines that changed are drawn
anew, so that nothing flickers. After a change of width what the terminal has wrapped is cleared first."""

from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

from repave_cli.render.screen import Line, text_of

COLOURS: Final[Mapping[str, str]] = {
    "bad": "31;1", "waiting": "33", "moving": "36", "good": "32", "quiet": "2", "strong": "1",
}  # fmt: skip
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know them show the frame at once; others ignore them."""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Painter:
    """`size` tells columns and rows."""

    def __init__(self, stream: IO[str], size: Callable[[], tuple[int, int]], has_colours: bool) -> None:
        self._stream = stream
        self._size = size
        self._has_colours = has_colours
        self._shown: list[str] = []
        self._lengths: list[int] = []
        self._columns = 0

    def paint(self, lines: Sequence[Line]) -> None:
        columns, _ = self._size()
        drawn = [self._drawn(line) for line in lines]
        if columns == self._columns and drawn == self._shown:
            return
        is_resized = self._columns not in (0, columns)
        rows = (
            sum(max(1, -(-length // columns)) for length in self._lengths) if is_resized else len(self._shown)
        )
        parts = [BEGIN, "" if self._columns else HIDE, f"\x1b[{rows}A" if rows else "", "\r"]
        parts.append("\x1b[J" if is_resized else "")
        before = [] if is_resized else self._shown
        for number, line in enumerate(drawn):
            is_same = number < len(before) and before[number] == line
            parts.append("\n" if is_same else f"{line}\x1b[K\n")
        parts.append("\x1b[J" if len(before) > len(drawn) else "")
        self._stream.write("".join([*parts, END]))
        self._stream.flush()
        self._shown, self._columns = drawn, columns
        self._lengths = [len(text_of(line)) for line in lines]

    def close(self) -> None:
        """The last frame stays."""
        if self._columns:
            self._stream.write(SHOW)
            self._stream.flush()

    def _drawn(self, line: Line) -> str:
        return "".join(self._styled(text, style) for text, style in line)

    def _styled(self, text: str, style: str) -> str:
        if not (self._has_colours and style and text):
            return text
        return f"\x1b[{COLOURS[style]}m{text}\x1b[0m"
