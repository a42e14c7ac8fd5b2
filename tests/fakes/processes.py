"""Runs a controller or an agent as a process of its own, with no settings but those given."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PROCESS_SECONDS = 30


def environment(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REPAVE_")}
    kept.pop("STATE_DIRECTORY", None)
    return {**kept, **settings}


def ended(module: str, *arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and everything said, by a process that must end by itself."""
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PROCESS_SECONDS,
        check=False,
    )
    return process.returncode, process.stdout.decode()


@contextmanager
def started(
    module: str, said: str, *arguments: str, **settings: str
) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """A process that has `said` something, and its lines up to then; it is ended by SIGTERM."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(
        command,
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            lines = _until_said(process, said)
            yield process, lines
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=PROCESS_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _until_said(process: "subprocess.Popen[str]", said: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if said in line:
            return lines
    raise AssertionError(f"it ended without saying {said!r}: {lines}")
