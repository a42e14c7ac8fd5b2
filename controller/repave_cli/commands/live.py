"""The live screen of a rollout that is followed at a terminal, on standard error."""

import contextlib
import os
import shutil
import sys
import textwrap
import threading
import time
from typing import Any

from repave_cli.commands.keys import HELP, HINT, Keyboard
from repave_cli.render.painter import Painter
from repave_cli.render.screen import GLYPHS, PLAIN, QUIET, WAITING, WIDTH_MIN, Line, screen
from repave_protos.daemon.printable import printable

TICK_SECONDS = 1.0


class LiveScreen:
    """Drawn at every change, and each second between: times pass, and terminals are resized."""

    def __init__(self, keyboard: Keyboard | None = None) -> None:
        self._keyboard = keyboard
        self._painter = Painter(sys.stderr, _size, has_colours="NO_COLOR" not in os.environ)
        self._glyphs = GLYPHS if _is_unicode() else PLAIN
        self._began = time.monotonic()
        self._status: dict[str, Any] | None = None
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self._ticks = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "LiveScreen":
        self._ticks.start()
        if self._keyboard is not None:
            self._keyboard.changed = self._paint
            self._keyboard.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._keyboard is not None:
            self._keyboard.__exit__()
            self._keyboard = None
            self._paint()  # without a word on keys
        self._is_over.set()
        self._ticks.join()
        self._painter.close()

    def show(self, status: dict[str, Any]) -> None:
        self._status = status
        if self._keyboard is not None:
            self._keyboard.status = status
        self._paint()

    def _tick(self) -> None:
        while not self._is_over.wait(TICK_SECONDS):
            self._paint()

    def _paint(self) -> None:
        with self._lock:
            if self._status is not None:
                columns, rows = _size()
                seconds = time.monotonic() - self._began
                foot = self._foot(columns - 1)
                lines = screen(self._status, columns - 1, rows - 1 - len(foot), seconds, self._glyphs)
                self._painter.paint([*lines, *foot])

    def _foot(self, width: int) -> list[Line]:
        """What keys there are, or what one has come to."""
        if self._keyboard is None:
            return []
        said = self._keyboard.keys.said
        style = QUIET if said in (HINT, HELP) else WAITING
        return [
            [(printable(each), style)] for each in textwrap.wrap(said, max(WIDTH_MIN, width), max_lines=2)
        ]


def _size() -> tuple[int, int]:
    found = shutil.get_terminal_size((80, 24))
    with contextlib.suppress(OSError, ValueError):
        found = os.get_terminal_size(sys.stderr.fileno())
    return max(1, found.columns), max(1, found.lines)


def _is_unicode() -> bool:
    return "utf" in (sys.stderr.encoding or "").lower()
