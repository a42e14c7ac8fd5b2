"""Runs many seeds on all cores, and sums up what they met; makes a failing one as small as it gets."""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from repave_simulation.kernel.story import Broken
from repave_simulation.scenarios.plural import PLURAL_STRIKES
from repave_simulation.scenarios.scenario import STEPS, STRIKES, Scenario
from repave_simulation.tiers.run import Result, drawn, run
from repave_simulation.world.world import FATES

CHUNK = 10
NOT_IN_TIER = {1: ("fetch", "shared-commit"), 2: ("shared-commit", "measure"), 3: ("commit", "measure")}
"""Kinds of effects that it has not."""
SHRINK_RUNS_MAX = 400


@dataclass(slots=True)
class Total:
    """What a number of seeds came to. `failed` are their results, by seed."""

    seeds: int = 0
    happened: int = 0
    rollouts: int = 0
    seconds: float = 0.0  # of virtual time
    failed: dict[int, Result] = field(default_factory=dict)
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.happened += result.happened
        self.rollouts += result.rollouts
        self.seconds += result.seconds
        self.met += result.met
        self.reached += result.reached
        if result.broken is not None:
            self.failed[result.scenario.seed] = result


def run_all(tier: int, seeds: Iterable[int], *, jobs: int = 0, until_broken: bool = False) -> Iterator[Total]:
    """The total so far, again and again as it grows; `until_broken` stops at the first failure."""
    total = Total()
    chosen = list(seeds)
    size = 1 if until_broken else CHUNK
    chunks = [(tier, chosen[start : start + size]) for start in range(0, len(chosen), size)]
    with multiprocessing.get_context("fork").Pool(jobs or len(os.sched_getaffinity(0))) as pool:
        for results in pool.imap(_run_chunk, chunks):
            for result in results:
                total.add(result)
            yield total
            if until_broken and total.failed:
                return


def _run_chunk(work: tuple[int, Sequence[int]]) -> list[Result]:
    tier, seeds = work
    return [run(tier, drawn(tier, seed)) for seed in seeds]


def gaps(tier: int, total: Total) -> list[str]:
    """Faults that never met a step of a release: nothing is known about these."""
    strikes = PLURAL_STRIKES if tier == 3 else STRIKES
    missed = [
        f"{strike} never met {step}" for strike in strikes for step in STEPS if not total.met[strike, step]
    ]
    for kind, fates in FATES.items():
        if kind in NOT_IN_TIER[tier]:
            continue
        for _, fate in fates:
            name = f"{kind} {fate}"
            if not any(total.met[name, step] for step in STEPS):
                missed.append(f"{name} never happened")
    return missed


# ------------------------------------------------------------------------------------------- shrinking


def shrink(tier: int, failed: Result) -> Result:
    """The same promise broken with as few commands, strikes and fates as a few hundred runs find."""
    assert failed.broken is not None
    wanted, best, runs = _words(failed.broken), failed, 0

    def still_breaks(scenario: Scenario) -> Result | None:
        nonlocal runs
        runs += 1
        result = run(tier, scenario) if runs <= SHRINK_RUNS_MAX else None
        return result if result and result.broken and _words(result.broken) == wanted else None

    scripted = still_breaks(replace(failed.scenario, fates=dict(failed.fates), rates={}))
    best = scripted or best
    for _ in range(2):
        best = _fewer(best, still_breaks, _strikes)
        if best.scenario.fates is not None:
            best = _fewer(best, still_breaks, _fates)
        best = _fewer(best, still_breaks, _commands)
    return best


def _words(broken: Broken) -> tuple[int, str]:
    """What is the same of two breaks of one kind: neither names nor numbers."""
    return broken.promise, " ".join(word for word in broken.text.split() if word.isalpha())


def _fewer(
    best: Result,
    still_breaks: Callable[[Scenario], Result | None],
    part: Callable[[Scenario], tuple[tuple[object, ...], Callable[[tuple[object, ...]], Scenario]]],
) -> Result:
    """Leaves out halves, quarters, ... of one kind of part while the promise still breaks."""
    size = len(part(best.scenario)[0])
    while size >= 1:
        start = 0
        while start < len(part(best.scenario)[0]):
            parts, rebuild = part(best.scenario)
            found = still_breaks(rebuild(parts[:start] + parts[start + size :]))
            if found is not None:
                best = found
            else:
                start += size
        size //= 2
    return best


def _strikes(scenario: Scenario) -> tuple[tuple[object, ...], Callable[[tuple[object, ...]], Scenario]]:
    return scenario.strikes, lambda parts: replace(scenario, strikes=parts)


def _commands(scenario: Scenario) -> tuple[tuple[object, ...], Callable[[tuple[object, ...]], Scenario]]:
    return scenario.commands, lambda parts: replace(scenario, commands=parts)


def _fates(scenario: Scenario) -> tuple[tuple[object, ...], Callable[[tuple[object, ...]], Scenario]]:
    items = tuple((scenario.fates or {}).items())
    return items, lambda parts: replace(scenario, fates=dict(parts))
