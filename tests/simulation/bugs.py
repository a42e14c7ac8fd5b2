"""Plants the bugs of `planted.py`, one after the other, and sees that the simulation finds each in fewer than
`SEEDS` seeds, by a promise that it breaks: `make simulate-bugs`.

A bug is planted in a copy of the code, which runs in a process of its own. The seed that found it last is
tried first (`--remember` writes these down); when it does not show itself there, all are.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.planted import BUGS, Bug
from tests.support.paths import ROOT

PACKAGES = {
    "controller": "repave_controller",
    "agent": "repave_agent",
    "protos": "repave_protos",
    "simulation": "repave_simulation",
}
SEEDS = 100
SEEN = Path(__file__).with_name("seen.json")
"""Names of bugs, and the seed by which each was found last."""
FOUND = re.compile(r"^seed (\d+): promise (\d+) at [\d.]+ s: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Found:
    """How a bug showed itself. `seed` is None when it did not."""

    bug: Bug
    seed: int | None
    promise: int
    text: str

    @property
    def is_right(self) -> bool:
        return self.seed is not None and self.promise in self.bug.promises


def plant(bug: Bug, into: Path) -> None:
    """A copy of the code with the bug in it. Raises ValueError when its words are not there."""
    for room, package in PACKAGES.items():
        shutil.copytree(ROOT / room / package, into / package)  # as it is compiled too
    for change in bug.changes:
        path = into / change.file.partition("/")[2]
        text = path.read_text()
        if text.count(change.old) != 1:
            raise ValueError(f"{bug.name}: {change.file} has {text.count(change.old)} times {change.old!r}")
        path.write_text(text.replace(change.old, change.new))


def hunt(bug: Bug, seeds: int = SEEDS) -> Found:
    """Plants the bug and runs seeds until it shows itself."""
    seen = json.loads(SEEN.read_text()) if SEEN.exists() else {}
    with tempfile.TemporaryDirectory(prefix="rpbug") as directory:
        plant(bug, Path(directory))
        if bug.name in seen:
            found = _run(bug, directory, "--seed", str(seen[bug.name]))
            if found.is_right:
                return found
        return _run(bug, directory, "--seeds", str(seeds), "--until-broken", "--jobs", "1")


def _run(bug: Bug, directory: str, *arguments: str) -> Found:
    done = subprocess.run(
        (sys.executable, "-m", "repave_simulation", "--tier", str(bug.tier), *arguments, "--no-shrink"),
        env={**os.environ, "PYTHONPATH": directory, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    match = FOUND.search(done.stdout)
    if match is None and done.returncode == 0:
        return Found(bug, None, 0, "")
    if match is None:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return Found(bug, 0, 0, f"it crashed: {last}")
    return Found(bug, int(match[1]), int(match[2]), match[3])


def hunt_all(bugs: Sequence[Bug], jobs: int) -> Iterator[Found]:
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(hunt, bugs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="words of the names of some bugs")
    parser.add_argument("--remember", action="store_true", help="look through all seeds, and write them down")
    chosen = parser.parse_args()
    if chosen.remember:
        SEEN.unlink(missing_ok=True)
    seen = {}
    bugs = [bug for bug in BUGS if not chosen.only or any(word in bug.name for word in chosen.only)]
    missed = 0
    for found in hunt_all(bugs, len(os.sched_getaffinity(0))):
        missed += not found.is_right
        if found.is_right:
            seen[found.bug.name] = found.seed
        where = f"seed {found.seed:3}" if found.seed is not None else "NOT FOUND"
        sign = "ok " if found.is_right else "!! "
        shown = f"promise {found.promise} {found.text[:90]}"
        print(f"{sign}{found.bug.name:55} tier {found.bug.tier} {where}: {shown}")
    if chosen.remember:
        SEEN.write_text(json.dumps(seen, indent=2) + "\n")
    print(f"{len(bugs) - missed} of {len(bugs)} bugs found in fewer than {SEEDS} seeds each")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
