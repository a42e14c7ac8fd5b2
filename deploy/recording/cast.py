"""Records what a command prints to a terminal, and reads and writes it in asciinema's format, version 2."""

import codecs
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time
from dataclasses import dataclass
from pathlib import Path

CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Cast:
    """`events` are (seconds since the start, what was printed)."""

    title: str
    columns: int
    rows: int
    events: tuple[tuple[float, str], ...]

    @property
    def seconds(self) -> float:
        return self.events[-1][0] if self.events else 0.0

    def text(self) -> str:
        header = {"version": 2, "width": self.columns, "height": self.rows, "title": self.title}
        lines = [header, *([round(at, 3), "o", text] for at, text in self.events)]
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def read(text: str) -> Cast:
    """What stands in a file of version 2; anything but output is left out."""
    header, *lines = (json.loads(line) for line in text.splitlines() if line)
    if header.get("version") != 2:
        raise ValueError(f"version {header.get('version')} of asciinema's format; expected 2")
    events = tuple((float(at), str(printed)) for at, kind, printed in lines if kind == "o")
    return Cast(header.get("title", ""), header["width"], header["height"], events)


def record(
    command: list[str], title: str, columns: int, rows: int, seconds_max: float, cwd: Path
) -> tuple[Cast, int]:
    """Runs the command on a terminal of that size to its end; returns what it printed, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(rows)}
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            events = _read_all(ours, began, seconds_max)
        except TimeoutError:
            process.terminate()
            raise
        finally:
            os.close(ours)
        code = process.wait()
    return Cast(title, columns, rows, tuple(events)), code


def _read_all(terminal: int, began: float, seconds_max: float) -> list[tuple[float, str]]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    events: list[tuple[float, str]] = []
    while True:
        left = began + seconds_max - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            raise TimeoutError(f"the command has not ended within {seconds_max:.0f} s")
        try:
            printed = os.read(terminal, CHUNK)
        except OSError:  # EIO: the last process that had the terminal has ended
            printed = b""
        if not printed:
            return events
        if text := decoder.decode(printed):
            events.append((time.monotonic() - began, text))
