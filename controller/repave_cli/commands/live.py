"""The live screen of a rollout that is followed at a terminal, on standard error."""

import contextlib
import os
import shutil
import sys
import threading
import time
from typing import Any

from repave_cli.render.painter import Painter
from repave_cli.render.screen import GLYPHS, PLAIN, screen

TICK_SECONDS = 1.0


class LiveScreen:
    """Drawn at every change, and each second between: times pass, and terminals are resized."""

    def __init__(self) -> None:
        self._painter = Painter(sys.stderr, _size, has_colours="NO_COLOR" not in os.environ)
        self._glyphs = GLYPHS if _is_unicode() else PLAIN
        self._began = time.monotonic()
        self._status: dict[str, Any] | None = None
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self._ticks = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "LiveScreen":
        self._ticks.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._ticks.join()
        self._painter.close()

    def show(self, status: dict[str, Any]) -> None:
        self._status = status
        self._paint()

    def _tick(self) -> None:
        while not self._is_over.wait(TICK_SECONDS):
            self._paint()

    def _paint(self) -> None:
        with self._lock:
            if self._status is not None:
                columns, rows = _size()
                seconds = time.monotonic() - self._began
                self._painter.paint(screen(self._status, columns - 1, rows - 1, seconds, self._glyphs))


def _size() -> tuple[int, int]:
    found = shutil.get_terminal_size((80, 24))
    with contextlib.suppress(OSError, ValueError):
        found = os.get_terminal_size(sys.stderr.fileno())
    return max(1, found.columns), max(1, found.lines)


def _is_unicode() -> bool:
    return "utf" in (sys.stderr.encoding or "").lower()
