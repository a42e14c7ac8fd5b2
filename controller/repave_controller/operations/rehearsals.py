"""Runs `repave simulate` for those who look at a page: in a process of its own, one at a time, last in line
for the processor, with bounds on its time and its memory. The controller's loop only waits for it.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

COMMAND: Final = (sys.executable, "-m", "repave_cli.main", "simulate")
CPU_SECONDS_MAX: Final = 240
WALL_SECONDS_MAX: Final = 900.0
MEMORY_BYTES_MAX: Final = 2 << 30
ANSWER_BYTES_MAX: Final = 64 << 20
NICENESS: Final = 19
KEPT_MAX: Final = 4
TOLD_MAX: Final = 400
"""Of what a failed one has written."""


class RehearsalBusyError(Exception):
    """Another one runs."""


class RehearsalFailedError(Exception):
    """It ended without an answer; says why."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What is rehearsed. `serving`: the hosts that serve before, by region; none: nothing does."""

    spec: str
    serving: tuple[tuple[str, int], ...]
    faults: str

    def words(self, file: str) -> list[str]:
        before = ",".join(f"{region}={size}" for region, size in self.serving)
        fleet = ["--serving", before] if before else ["--from-scratch"]
        return ["-f", file, "-o", "json", "--faults", self.faults, *fleet]


class Rehearsals:
    """One for an API. `command`: what is run, with the words of `repave simulate` behind it."""

    def __init__(self, command: Sequence[str] = COMMAND, cpu_seconds: int = CPU_SECONDS_MAX) -> None:
        self._command, self._cpu_seconds = command, cpu_seconds
        self._kept: dict[Rehearsed, dict[str, Any]] = {}
        self._is_busy = False

    async def run(self, asked: Rehearsed) -> Mapping[str, Any]:
        """What `repave simulate -o json` prints. The last few are kept, for it gives the same again.
        Raises RehearsalBusyError and RehearsalFailedError."""
        found = self._kept.pop(asked, None)
        if found is None:
            if self._is_busy:
                raise RehearsalBusyError
            self._is_busy = True
            try:
                found = await self._answer(asked)
            finally:
                self._is_busy = False
        self._kept[asked] = found
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        return found

    async def _answer(self, asked: Rehearsed) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="repave-") as place:
            file = Path(place) / "repave.yaml"
            await asyncio.to_thread(file.write_text, asked.spec)
            code, out, told = await self._run(asked.words(str(file)), place)
        if code not in (0, 1) or not out:
            raise RehearsalFailedError(_why(code, told, self._cpu_seconds))
        answer: dict[str, Any] = await asyncio.to_thread(json.loads, out)
        return answer

    async def _run(self, words: Sequence[str], place: str) -> tuple[int, bytes, str]:
        """(exit code, standard output, standard error)."""
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *words,
            cwd=place,
            env={**environment, "HOME": place, "REPAVE_URL": "http://127.0.0.1:1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=ANSWER_BYTES_MAX,
        )
        try:
            self._bound(process.pid)
            async with asyncio.timeout(WALL_SECONDS_MAX):
                out, told = await process.communicate()
        except TimeoutError as error:
            text = f"it was not done within {WALL_SECONDS_MAX / 60:.0f} minutes"
            raise RehearsalFailedError(text) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out, told.decode(errors="replace")

    def _bound(self, pid: int) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
            resource.prlimit(pid, resource.RLIMIT_CPU, (self._cpu_seconds, self._cpu_seconds + 1))
            resource.prlimit(pid, resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        except ProcessLookupError:
            pass  # it has ended already


def _why(code: int, told: str, cpu_seconds: int) -> str:
    if code < 0:
        return f"it was ended by signal {-code}: it may take {cpu_seconds} s of processor time and 2 GiB"
    return told.strip()[-TOLD_MAX:] or f"it ended with {code} and said nothing"
