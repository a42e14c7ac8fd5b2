"""Draws a recording as one SVG that plays by itself, also within an <img>: no script, no font from elsewhere.

For output that only grows: text, ends of lines and colours. A line appears when it was printed, and the whole
moves up as a terminal scrolls. What moves the cursor or clears is refused, for it would be drawn wrongly.
"""

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

from deploy.recording.cast import Cast

CELL, LEADING, BASE, MARGIN, BAR = 7.8, 19, 14, 18, 38
"""In pixels: a column, a row, its base line, the space around the text, the title."""
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
PAUSE_MAX = 2.0
"""Longer silences are cut to this."""
REST = 6.0
"""For how long the end stands before it begins again."""
STYLES = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "34": "u"}
COLOURS = {
    "b": "#ffffff;font-weight:600",
    "d": "#8b949e",
    "r": "#ff8f87",
    "g": "#7ee2a8",
    "y": "#f2cc60",
    "u": "#8ab8ff",
}
ESCAPE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|\x1b.")


@dataclass(frozen=True, slots=True)
class Line:
    """`spans` are (class, text)."""

    at: float
    spans: tuple[tuple[str, str], ...]


def draw(cast: Cast) -> str:
    lines = lines_of(cast)
    total = (lines[-1].at if lines else 0.0) + REST
    width = cast.columns * CELL + 2 * MARGIN
    height = cast.rows * LEADING + MARGIN + BAR
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" '
            f'aria-labelledby="title"><title id="title">{escape(cast.title)}</title>',
            f"<style>{_style(lines, cast.rows, total)}</style>",
            f'<rect width="{width:.0f}" height="{height}" rx="10" fill="#0d1117"/>',
            *(f'<circle cx="{20 + 18 * n}" cy="18" r="5.5" fill="#30363d"/>' for n in range(3)),
            f'<text class="d" x="{width / 2:.0f}" y="22" text-anchor="middle">{escape(cast.title)}</text>',
            f'<svg y="{BAR}" width="{width:.0f}" height="{cast.rows * LEADING}"><g id="all">',
            *(_text(number, line) for number, line in enumerate(lines)),
            "</g></svg>",
            "</svg>\n",
        ]
    )


def lines_of(cast: Cast) -> list[Line]:
    """What was printed as lines, each from when its last piece came; silences are cut."""
    lines: list[Line] = []
    spans: list[tuple[str, str]] = []
    style, at, before = "", 0.0, 0.0
    for moment, printed in cast.events:
        at, before = at + min(moment - before, PAUSE_MAX), moment
        for piece in re.split(r"(\n|\x1b\[[0-9;]*[A-Za-z]|\x1b.)", printed.replace("\r\n", "\n")):
            if piece == "\n":
                lines.append(Line(at, tuple(spans)))
                spans = []
            elif piece.startswith("\x1b"):
                style = _style_after(piece)
            elif "\r" in piece:
                raise ValueError("a line was overwritten: that can't be drawn")
            elif piece:
                spans.append((style, piece))
    return [*lines, Line(at, tuple(spans))] if spans else lines


def _style_after(sequence: str) -> str:
    found = ESCAPE.fullmatch(sequence)
    if found is None or found[2] != "m":
        raise ValueError(f"{sequence!r} is not a colour: that can't be drawn")
    return STYLES.get(found[1].rpartition(";")[2], "")


def _text(number: int, line: Line) -> str:
    y = BASE + number * LEADING
    spans = "".join(
        f'<tspan class="{style}">{escape(text)}</tspan>' if style else escape(text)
        for style, text in line.spans
    )
    return f'<text id="l{number}" x="{MARGIN}" y="{y}" xml:space="preserve">{spans}</text>'


def _style(lines: list[Line], rows: int, total: float) -> str:
    """Each line's appearance and each scroll as a keyframe; who wants no motion sees the end."""

    def percent(at: float) -> str:
        return f"{at / total * 100:.2f}%"

    moved = {
        percent(line.at): LEADING * (rows - number - 1) for number, line in enumerate(lines) if number >= rows
    }
    frames = {"all": "0%{transform:none}" + "".join(f"{at}{{{_moved(by)}}}" for at, by in moved.items())}
    for number, line in enumerate(lines):
        if line.at > 0:
            frames[f"l{number}"] = f"0%{{opacity:0}}{percent(line.at)}{{opacity:1}}"
    motion = "".join(
        f"@keyframes {name}{{{each}}}#{name}{{animation-name:{name}}}" for name, each in frames.items()
    )
    colours = "".join(f".{name}{{fill:{value}}}" for name, value in COLOURS.items())
    end = _moved(LEADING * min(0, rows - len(lines)))
    return (
        f"text{{font:13px {FONTS};fill:#c9d1d9}}{colours}#all{{{end}}}"
        "@media (prefers-reduced-motion:no-preference){"
        f"#all,#all text{{animation:{total:.2f}s step-end infinite}}{motion}}}"
    )


def _moved(pixels: int) -> str:
    return f"transform:translateY({pixels}px)"
