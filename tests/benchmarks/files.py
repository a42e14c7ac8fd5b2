"""What a package of many small files costs: unpacked, noted and compared by `local`, and on a machine."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from repave_agent.providers.local import contents
from repave_agent.providers.ssh_pool.bootstrap import SCRIPT
from repave_protos.package.archive import inspect, pack, unpack
from tests.benchmarks.table import Line

RELEASED = 1_790_000_000
FILES_IN_FOLDER = 100


def run(place: Path, files: int) -> Iterator[Line]:
    package = place / "package.tar.gz"
    _write(place / "files", files)
    digest = ""

    def packed() -> None:
        nonlocal digest
        digest = pack(place / "files", package)

    def machine(verb: str, *words: str) -> Callable[[], object]:
        command = ["sh", str(SCRIPT), verb, str(place / "machine"), digest, *words]
        return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def unpacked() -> None:
        unpack(package, place / "app", read_only=True, released_at=RELEASED)

    yield _line(f"{files:,} small files: packed", _seconds(packed))
    yield _line(f"{files:,} small files: read through", _seconds(lambda: inspect(package)))
    yield _line(f"{files:,} small files: unpacked, local", _seconds(unpacked))
    noted = place / "contents.json"
    yield _line(f"{files:,} small files: noted, local", _seconds(lambda: contents.note(place / "app", noted)))
    compared = _seconds(lambda: contents.difference(place / "app", noted))
    yield _line(f"{files:,} small files: compared, local", compared)
    (place / "machine").mkdir()
    arrived = place / "arrived.tar.gz"
    package.rename(arrived)
    yield _line(f"{files:,} small files: unpacked on a machine", _seconds(machine("unpack", str(arrived))))
    yield _line(f"{files:,} small files: dated on a machine", _seconds(machine("date", str(RELEASED))))
    yield Line(
        f"{files:,} small files: `contents` on a machine", _seconds(machine("contents")), "s",
        "every 300 s", files / 10_000,
    )  # fmt: skip


def _line(what: str, seconds: float) -> Line:
    return Line(what, seconds, "s")


def _write(top: Path, files: int) -> None:
    for number in range(files):
        folder = top / f"d{number // FILES_IN_FOLDER}"
        if number % FILES_IN_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"f{number}").write_text(f"{number}\n")


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
