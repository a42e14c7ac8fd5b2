"""How often each judge is wrong, and how soon it is right: canaries that are good or bad by a known amount,
watched for ten minutes at several traffic levels.

python -m tests.benchmarks.canary_rates [--runs N] [--write]    prints the tables of docs/canary.md, writes
its plot
"""

import argparse
import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from multiprocessing.pool import Pool as PoolOfProcesses
from pathlib import Path

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.values import (
    Direction,
    JudgeConfig,
    JudgeName,
    Metric,
    MetricKind,
    NanStrategy,
    Outcome,
    Samples,
)
from tests.benchmarks.table import Line

STEP_SECONDS = 10
STEPS_IN_A_LOOK = 6
MINUTES = 10
USUAL_ERRORS = 0.001
SPREAD = 0.5
"""Deviation of one request's latency, lognormal, as a part of its mean."""
PLOT = Path(__file__).resolve().parents[2] / "docs" / "canary.svg"


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second of both sides together, and the canary's part."""

    requests: float
    share: float

    def __str__(self) -> str:
        return f"{self.share:.0%} of {self.requests:g} req/s".replace("%", " %")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is wrong with the canary: its errors, how much slower it is, how far both sides wander together,
    and how much of a step's own noise stays in the next."""

    name: str
    errors: float = USUAL_ERRORS
    slower: float = 0.0
    wander: float = 0.0
    stays: float = 0.0


LOADS = (Load(20, 0.05), Load(200, 0.05), Load(200, 0.5), Load(2000, 0.05))
GOOD = (Truth("good"), Truth("good, load wanders by 50 %", wander=0.5), Truth("good, noise stays", stays=0.5))
ERRORS = tuple(
    Truth(f"{rate * 100:g} % errors", errors=rate) for rate in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
)
SLOWER = tuple(
    Truth(f"{by:.0%} slower".replace("%", " %"), slower=by) for by in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
)
ALL = (*GOOD, *ERRORS, *SLOWER)


@dataclass(frozen=True, slots=True)
class Found:
    """Of many runs: how many were failed, were left to a person, and the minutes to those that were
    failed."""

    failed: float
    held: float
    minutes: float | None


def once(judges: Sequence[JudgeName], load: Load, truth: Truth, seed: int) -> tuple[tuple[Outcome, int], ...]:
    """How each judge ends the same run, and at which look."""
    steps = list(_steps(load, truth, random.Random(seed)))
    return tuple(_watched(name, steps) for name in judges)


def _watched(name: JudgeName, steps: Sequence["_Step"]) -> tuple[Outcome, int]:
    metrics = [
        Metric("errors", MetricKind.RATE, Direction.INCREASE, nan=NanStrategy.REPLACE),
        Metric("latency", MetricKind.VALUE, Direction.INCREASE),
    ]
    outcome = Outcome.PASS
    for look in range(1, MINUTES + 1):
        seen = steps[: look * STEPS_IN_A_LOOK]
        base, canary = (_sampled([s[side] for s in seen]) for side in (0, 1))
        found = judge(JudgeConfig(name), metrics, base, canary, look, MINUTES)
        outcome = found.outcome
        if outcome is Outcome.FAIL:
            return outcome, look
    return outcome, MINUTES


_OneSide = tuple[float, float, float]
"""Requests, errors, mean latency of one step."""
_Step = tuple[_OneSide, _OneSide]


def _sampled(sides: Sequence[_OneSide]) -> Mapping[str, Samples]:
    return {
        "errors": Samples(events=tuple(s[1] for s in sides), trials=tuple(s[0] for s in sides)),
        "latency": Samples(tuple(s[2] for s in sides)),
    }


def _steps(load: Load, truth: Truth, chance: random.Random) -> Iterator[_Step]:
    noise = [0.0, 0.0]
    for at in range(MINUTES * STEPS_IN_A_LOOK):
        wave = 1 + truth.wander * math.sin(2 * math.pi * at / 40)
        sides: list[_OneSide] = []
        for side, share in enumerate((1 - load.share, load.share)):
            requests = _poisson(chance, load.requests * share * STEP_SECONDS * wave)
            is_canary = side == 1
            errors = _binomial(chance, requests, (truth.errors if is_canary else USUAL_ERRORS) * wave)
            mean = 100.0 * wave * (1 + truth.slower * is_canary)
            own = chance.gauss(0, SPREAD / math.sqrt(requests)) if requests else math.nan
            if requests and not math.isnan(noise[side]):
                own = truth.stays * noise[side] + math.sqrt(1 - truth.stays**2) * own
            noise[side] = own
            sides.append((requests, errors, mean * math.exp(own)))
        yield sides[0], sides[1]


def _poisson(chance: random.Random, mean: float) -> int:
    if mean > 200:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, k, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        k += 1
        product *= chance.random()
    return k


def _binomial(chance: random.Random, trials: int, rate: float) -> int:
    if trials * rate > 50 or trials > 400:
        return min(trials, _poisson(chance, trials * rate))
    return sum(chance.random() < rate for _ in range(trials))


def rates(load: Load, truth: Truth, runs: int, pool: PoolOfProcesses | None = None) -> dict[JudgeName, Found]:
    names = tuple(JudgeName)
    ask = partial(once, names, load, truth)
    results = list(pool.map(ask, range(runs), 8) if pool else map(ask, range(runs)))
    found = {}
    for index, name in enumerate(names):
        ends = [each[index] for each in results]
        looks = [look for outcome, look in ends if outcome is Outcome.FAIL]
        held = sum(outcome in (Outcome.MARGINAL, Outcome.INCONCLUSIVE) for outcome, _ in ends)
        minutes = statistics.median(looks) if looks else None
        found[name] = Found(len(looks) / runs, held / runs, minutes)
    return found


def run(runs: int) -> Iterator[Line]:
    """Good canaries that are failed, and bad ones that are not, at the first load."""
    for truth, goal, is_least in ((GOOD[0], 5.0, False), (ERRORS[-1], 95.0, True), (SLOWER[4], 95.0, True)):
        found = rates(LOADS[1], truth, runs)
        mine, theirs = found[JudgeName.REPAVE], found[JudgeName.KAYENTA]
        what = f"canary, {truth.name}, {LOADS[1]}: failed by repave-v1"
        yield Line(what, mine.failed * 100, "%", f"kayenta-v1 {theirs.failed:.0%}", goal, is_least)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--write", action="store_true", help=f"write {PLOT.name}")
    chosen = parser.parse_args()
    with Pool(2) as pool:
        table = {(load, truth): rates(load, truth, chosen.runs, pool) for load in LOADS for truth in ALL}
    for line in _markdown(table):
        print(line)
    if chosen.write:
        PLOT.write_text(drawn(table))


Table = Mapping[tuple[Load, Truth], Mapping[JudgeName, Found]]


def _markdown(table: Table) -> Iterator[str]:
    yield "| canary | " + " | ".join(str(load) for load in LOADS) + " |"
    yield "|---" * (len(LOADS) + 1) + "|"
    for truth in ALL:
        cells = [
            " / ".join(_cell(table[load, truth][name]) for name in (JudgeName.REPAVE, JudgeName.KAYENTA))
            for load in LOADS
        ]
        yield f"| {truth.name} | " + " | ".join(cells) + " |"


def _cell(found: Found) -> str:
    text = f"{found.failed:.0%}".replace("%", " %")
    if found.held:
        text += f" +{found.held * 100:.0f}"
    return text + (f" ({found.minutes:g} min)" if found.minutes and found.failed >= 0.5 else "")


WIDTH, HEIGHT, LEFT, TOP, PANEL, GAP = 960, 560, 60, 70, 190, 30
DARK, GREY = "#1f2328", "#57606a"
COLOURS = {JudgeName.REPAVE: "#0b6bcb", JudgeName.KAYENTA: "#c2410c"}


def drawn(table: Table) -> str:
    """Share of canaries that are failed over how bad they are: a row for errors, one for latency, a panel a
    load."""
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        "<title>Share of canaries that each judge fails within ten minutes, by how bad they are</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(
            LEFT, 24, "Canaries that are failed within ten minutes, by how bad they are", 15, "start", DARK
        ),
    ]
    for index, (name, colour) in enumerate(COLOURS.items()):
        x = LEFT + index * 130
        parts.append(f'<line x1="{x}" y1="42" x2="{x + 24}" y2="42" stroke="{colour}" stroke-width="3"/>')
        parts.append(_text(x + 30, 46, name, 12, "start", DARK))
    for row, truths in enumerate(((GOOD[0], *ERRORS), (GOOD[0], *SLOWER))):
        for column, load in enumerate(LOADS):
            x, y = LEFT + column * (PANEL + GAP), TOP + row * (PANEL + 55)
            parts += _panel(table, load, truths, x, y, is_first=column == 0, is_top=row == 0)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    table: Table, load: Load, truths: Sequence[Truth], x: float, y: float, *, is_first: bool, is_top: bool
) -> Iterator[str]:
    yield f'<rect x="{x}" y="{y}" width="{PANEL}" height="{PANEL}" fill="none" stroke="#c9d1d9"/>'
    if is_top:
        yield _text(x, y - 6, str(load), 12, "start")
    for percent in (0, 25, 50, 75, 100):
        at = y + PANEL * (1 - percent / 100)
        yield f'<line x1="{x}" y1="{at:g}" x2="{x + PANEL}" y2="{at:g}" stroke="#eaeef2"/>'
        if is_first:
            yield _text(x - 6, at + 4, f"{percent} %", 12, "end")
    places = [x + 10 + k * (PANEL - 20) / (len(truths) - 1) for k in range(len(truths))]
    for place, truth in zip(places, truths, strict=True):
        yield _text(place, y + PANEL + 14, truth.name.split(" ")[0].replace("good", "0"))
    what = "% of requests fail (usually 0.1)" if is_top else "% slower"
    yield _text(x + PANEL / 2, y + PANEL + 28, what)
    for name, colour in COLOURS.items():
        points = [
            f"{place:.1f},{y + PANEL * (1 - table[load, truth][name].failed):.1f}"
            for place, truth in zip(places, truths, strict=True)
        ]
        yield f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for point in points:
            cx, cy = point.split(",")
            yield f'<circle cx="{cx}" cy="{cy}" r="2.5" fill="{colour}"/>'


def _text(x: float, y: float, text: str, size: int = 10, anchor: str = "middle", colour: str = GREY) -> str:
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{text}</text>'


if __name__ == "__main__":
    main()
