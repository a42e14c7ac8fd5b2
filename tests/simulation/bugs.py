"""Plants the bugs of `planted.py`, one after the other, and sees that the simulation finds each in fewer than
`SEEDS` seeds, by a promise that it breaks: `make simulate-bugs`.

Each bug has a process of its own, forked from this one, in which functions get the code that they have with
the bug. The seed that found it last is tried first (`--remember` writes these down); when it does not show
itself there, all are.
"""

import argparse
import gc
import importlib
import inspect
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from repave_simulation.tiers import plural, processes  # noqa: F401  # once, before the forks
from repave_simulation.tiers.run import drawn, run
from tests.simulation.planted import BUGS, Bug, Change
from tests.support.paths import ROOT

SEEDS = 100
SEEN = Path(__file__).with_name("seen.json")
"""Names of bugs, and the seed by which each was found last."""


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


def plant(bug: Bug) -> None:
    """Gives functions of this process the code that they have with the bug. Raises ValueError where its words
    are not in the code, or in no function."""
    for file in dict.fromkeys(change.file for change in bug.changes):
        _plant(bug.name, file, [change for change in bug.changes if change.file == file])


def _plant(name: str, file: str, changes: Sequence[Change]) -> None:
    text = changed = (ROOT / file).read_text()
    for change in changes:
        if text.count(change.old) != 1:
            raise ValueError(f"{name}: {file} has {text.count(change.old)} times {change.old!r}")
        changed = changed.replace(change.old, change.new)
    module = importlib.import_module(file.partition("/")[2].removesuffix(".py").replace("/", "."))
    planted = 0
    for before, after in zip(_functions(text, file), _functions(changed, file), strict=True):
        if _is_changed(before, after):
            _function(module, after.co_qualname).__code__ = after
            planted += 1
    if not planted:
        raise ValueError(f"{name}: it changes no function of {file}")


def _functions(text: str, file: str) -> Iterator[CodeType]:
    """Those of a module and its classes, in order; what stands within a function is a part of it."""
    inside = [compile(text, file, "exec")]
    while inside:
        for each in inside.pop().co_consts:
            if isinstance(each, CodeType) and each.co_flags & inspect.CO_OPTIMIZED:
                yield each
            elif isinstance(each, CodeType):
                inside.append(each)


def _is_changed(before: CodeType, after: CodeType) -> bool:
    """But for the line on which it stands."""
    return _unplaced(before) != _unplaced(after)


def _unplaced(code: CodeType) -> CodeType:
    consts = tuple(_unplaced(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_firstlineno=1, co_linetable=b"", co_exceptiontable=b"", co_consts=consts)


def _function(module: object, qualified: str) -> FunctionType:
    held: Any = reduce(inspect.getattr_static, qualified.split("."), module)
    found = inspect.unwrap(getattr(held, "fget", None) or getattr(held, "__func__", held))
    assert isinstance(found, FunctionType), qualified
    return found


def hunt(bug: Bug, seeds: int = SEEDS) -> Found:
    """Plants the bug in this process and runs seeds until it shows itself."""
    plant(bug)
    seen = json.loads(SEEN.read_text()) if SEEN.exists() else {}
    if bug.name in seen:
        found = _run(bug, [seen[bug.name]])
        if found.is_right:
            return found
    return _run(bug, range(seeds))


def _run(bug: Bug, seeds: Iterable[int]) -> Found:
    for seed in seeds:
        try:
            broken = run(bug.tier, drawn(bug.tier, seed)).broken
        except Exception as error:  # whatever the bug does to the code
            return Found(bug, seed, 0, f"it crashed: {error!r}")
        if broken is not None:
            return Found(bug, seed, broken.promise, broken.text)
    return Found(bug, None, 0, "")


def hunt_all(bugs: Sequence[Bug], jobs: int) -> Iterator[Found]:
    """What is loaded here is shared by all the processes: collecting garbage in one would copy it."""
    with multiprocessing.get_context("fork").Pool(jobs, initializer=gc.freeze, maxtasksperchild=1) as pool:
        yield from pool.imap(hunt, bugs)


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
