"""Runs a controller or an agent as a process of its own, with no settings but those given."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.support.preloaded import PRELOADED, Forked

PROCESS_SECONDS = 30


def environment(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REPAVE_")}
    kept.pop("STATE_DIRECTORY", None)
    return {**kept, **settings}


def ended(module: str, *arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and everything said, by a process that must end by itself."""
    with TemporaryFile() as out:
        process = begun(module, out, *arguments, **settings)
        try:
            code = process.wait(PROCESS_SECONDS)
        finally:
            process.kill()
        out.seek(0)
        return code, out.read().decode()


def begun(module: str, out: IO[bytes], *arguments: str, **settings: str) -> Forked:
    """A process that writes all it says there."""
    with open(os.devnull, "rb") as nothing:
        words = [module, *arguments]
        return PRELOADED.start(words, environment(settings), Path.cwd(), (nothing, out, out))


@contextmanager
def started(module: str, said: str, *arguments: str, **settings: str) -> Iterator[tuple[Forked, list[str]]]:
    """A process that has `said` something, and its lines up to then; it is ended by SIGTERM."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as lines:
        with os.fdopen(write_end, "wb") as out:
            process = begun(module, out, *arguments, **settings)
        try:
            yield process, _until_said(lines, said)
        finally:
            process.terminate()
            try:
                process.wait(PROCESS_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _until_said(said_so_far: IO[str], said: str) -> list[str]:
    lines: list[str] = []
    for line in said_so_far:
        lines.append(line.rstrip("\n"))
        if said in line:
            return lines
    raise AssertionError(f"it ended without saying {said!r}: {lines}")
