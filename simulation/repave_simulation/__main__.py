"""Proves repave by seeds: `python -m repave_simulation --tier 1 --seeds 1000`; `--seed 42` replays one."""

import argparse
import sys
import time

from repave_simulation.campaigns.exhaustive import try_all
from repave_simulation.campaigns.seeds import Total, gaps, run_all, shrink
from repave_simulation.scenarios.scenario import STEPS, Scenario
from repave_simulation.tiers.run import Result, drawn, run

LINES_TOLD = 50
TIERS = "1: pure cores; 2: the real code; 3: the real code of several controllers"
SEEDS_FOR_COVERAGE = 1000
"""With fewer seeds it says nothing that a fault has not met a step."""


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when every promise held, 1 when one was broken, 3 when a fault never met a step."""
    parser = argparse.ArgumentParser(prog="python -m repave_simulation", description=__doc__)
    parser.add_argument("--tier", type=int, choices=(1, 2, 3), default=1, help=TIERS)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one, and tell its whole story")
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: one for each core)")
    parser.add_argument("--until-broken", action="store_true", help="stop at the first broken promise")
    parser.add_argument("--exhaustive", action="store_true", help="each fault at each effect, no seeds")
    parser.add_argument("--no-shrink", action="store_true", help="tell a broken run as it was")
    parser.add_argument("--coverage", action="store_true", help="how often each fault met each step")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return _replay(chosen.tier, chosen.seed, is_shrunk=not chosen.no_shrink)
    return _try_all(chosen.tier, chosen.jobs) if chosen.exhaustive else _run(chosen)


def _replay(tier: int, seed: int, *, is_shrunk: bool) -> int:
    result = run(tier, drawn(tier, seed))
    print("\n".join(result.lines))
    print(f"story {result.digest[:16]}; {result.happened} events in {result.seconds:.0f} virtual seconds")
    if result.broken is None:
        return 0
    _tell(tier, result, is_shrunk=is_shrunk)
    return 1


def _try_all(tier: int, jobs: int) -> int:
    began, count, broken = time.monotonic(), 0, 0
    for fault, found in try_all(tier, jobs=jobs):
        count += 1
        if found is not None:
            broken += 1
            print(f"{fault}: {found}")
    print(f"tier {tier}: {count} single faults, {broken} broke a promise; {time.monotonic() - began:.1f} s")
    return 1 if broken else 0


def _run(chosen: argparse.Namespace) -> int:
    began, total = time.monotonic(), Total()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    for total in run_all(chosen.tier, seeds, jobs=chosen.jobs, until_broken=chosen.until_broken):
        if sys.stderr.isatty():
            print(f"\r{total.seeds} seeds, {len(total.failed)} failed", end="", file=sys.stderr)
    seconds = time.monotonic() - began
    print(
        f"tier {chosen.tier}: {total.seeds} seeds, {len(total.failed)} failed; {total.rollouts} rollouts, "
        f"{total.seconds / 60:.0f} virtual minutes, {total.happened} events in {seconds:.1f} s"
    )
    for name, count in sorted(total.reached.items()):
        print(f"  {count:7} times {name}")
    missed = gaps(chosen.tier, total)
    if chosen.coverage:
        _print_coverage(total)
    for seed in sorted(total.failed)[:1]:
        _tell(chosen.tier, total.failed[seed], is_shrunk=not chosen.no_shrink)
    if total.failed:
        others = ", ".join(map(str, sorted(total.failed)[:20]))
        print(f"failed seeds: {others}")
        return 1
    if missed and total.seeds >= SEEDS_FOR_COVERAGE:
        print("\n".join(("Gaps:", *missed)))
        return 3
    return 0


def _tell(tier: int, result: Result, *, is_shrunk: bool) -> None:
    """What happened, as shortly as it can be told, and how to see it again."""
    smallest = shrink(tier, result) if is_shrunk else result
    print(f"\nseed {result.scenario.seed}: {result.broken}")
    print("It needs no more than:")
    for part in _parts(smallest.scenario):
        print(f"  {part}")
    print("The end of that story:")
    print("\n".join(smallest.lines[-LINES_TOLD:]))
    print(f"Replay: python -m repave_simulation --tier {tier} --seed {result.scenario.seed}\n")


def _parts(scenario: Scenario) -> list[str]:
    parts = [f"{command.at:8.1f} {command}" for command in scenario.commands]
    parts += [f"{strike.at:8.1f} {strike}" for strike in scenario.strikes]
    parts += [f"         {key}: {fate}" for key, fate in (scenario.fates or {}).items()]
    return sorted(parts)


def _print_coverage(total: Total) -> None:
    print(f"{'fault':28}" + "".join(f"{step:>9}" for step in STEPS))
    for fault in sorted({name for name, _ in total.met}):
        print(f"{fault:28}" + "".join(f"{total.met[fault, step]:9}" for step in STEPS))


if __name__ == "__main__":
    sys.exit(main())
