"""Faults for real processes, disks and networks, and the moments at which they strike."""

import errno
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from repave_agent.providers.local import processes
from repave_agent.providers.local.host import Folder
from tests.support.stage import Process, Stage

MOMENT_SECONDS = 60.0
LOOK_SECONDS = 0.001

# --------------------------------------------------------------------------------------------------- moments


class Moment:
    """Comes with an event of this kind; watches from when it is made."""

    def __init__(self, stage: Stage, kind: str, word: str = "", application: str = "") -> None:
        self.text = f"{kind} {word} {application}".strip()
        self._stage, self._kind, self._word, self._application = stage, kind, word, application
        newest = stage.get("events?newest=1&limit=1")["items"]
        self._after = newest[-1]["sequence"] if newest else 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(MOMENT_SECONDS)
        assert not self._thread.is_alive(), f"{self.text} never came\n{self._stage.logs()}"

    def _watch(self) -> None:
        for event in self._stage.events(self._after):
            is_named = self._application in ("", event["application"])
            if event["kind"] == self._kind and self._word in event["text"] and is_named:
                return


# ------------------------------------------------------------------------------------------------- processes


def freeze(process: Process) -> None:
    """It does nothing any more, but its connections stay open."""
    process.send_signal(signal.SIGSTOP)
    threads = Path(f"/proc/{process.pid}/task")
    while any(not _is_stopped(each) for each in threads.glob("*/stat")):
        time.sleep(LOOK_SECONDS)


def _is_stopped(thread: Path) -> bool:
    """Or ended meanwhile."""
    try:
        return thread.read_text().rpartition(")")[2].split()[0] in ("T", "Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


def thaw(process: Process) -> None:
    process.send_signal(signal.SIGCONT)


def is_connected(stage: Stage, region: str) -> bool:
    """Whether the controller hears the region's agent."""
    return any(each["name"] == region and each["connected"] for each in stage.get("regions")["items"])


def leader_of(stage: Stage, region: str, host: str) -> processes.Identity:
    """The first process of a host."""
    session = Folder(stage.directory / region / "hosts" / host).session()
    assert session is not None
    return session.leader


# ----------------------------------------------------------------------------------------------------- disks


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator["SmallDisk"]:
    """A file system of its own at `directory`; skips the test where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    directory.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(directory)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield SmallDisk(directory)
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


class SmallDisk:
    """Can be filled to the last byte, and emptied again of what filled it."""

    def __init__(self, directory: Path) -> None:
        self._ballast = directory / "ballast"

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (1 << 16, 1 << 12, 1):
                while _is_written(ballast.fileno(), secrets.token_bytes(size)):
                    pass

    def make_room(self) -> None:
        self._ballast.unlink()


def _is_written(descriptor: int, block: bytes) -> bool:
    try:
        return os.write(descriptor, block) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
