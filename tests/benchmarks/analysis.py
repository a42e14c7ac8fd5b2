"""What a judgement of a canary costs: the goals of interactive use, by both judges, with ties and without."""

import random
import statistics
import time
from collections.abc import Iterator, Mapping

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.values import JudgeConfig, JudgeName, Metric, MetricKind, Samples
from tests.benchmarks.table import Line

LOOKS = 60
GOALS_MS = {850: 150.0, 60: 10.0}
METRICS = 30
METRICS_SECONDS_MAX = 0.5


def run() -> Iterator[Line]:
    """The last of many planned looks, in either direction: what costs most."""
    chance = random.Random(1)
    for name in JudgeName:
        for size, goal in GOALS_MS.items():
            metric = Metric("m")
            smooth = [Samples(tuple(chance.lognormvariate(5, 0.2) for _ in range(size))) for _ in range(2)]
            tied = [Samples(tuple(round(v, -1) for v in side.values)) for side in smooth]
            took, with_ties = (_median_ms(name, [metric], {"m": s[0]}, {"m": s[1]}) for s in (smooth, tied))
            beside = f"{took:.1f} ms without ties"
            yield Line(f"{name}: {size} against {size} samples, ties", with_ties, "ms", beside, goal)
        metrics = [Metric(f"m{k}", list(MetricKind)[k % 3]) for k in range(METRICS)]
        base, canary = ({m.name: _samples(chance, m.kind) for m in metrics} for _ in range(2))
        took = _median_ms(name, metrics, base, canary)
        yield Line(f"{name}: {METRICS} metrics of 60 steps", took / 1000, "s", "", METRICS_SECONDS_MAX)


def _samples(chance: random.Random, kind: MetricKind) -> Samples:
    if kind is MetricKind.VALUE:
        return Samples(tuple(chance.lognormvariate(5, 0.2) for _ in range(60)))
    return Samples(events=tuple(float(chance.randrange(5)) for _ in range(60)), trials=(100.0,) * 60)


def _median_ms(
    name: JudgeName, metrics: list[Metric], base: Mapping[str, Samples], canary: Mapping[str, Samples]
) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        judge(JudgeConfig(name), metrics, base, canary, LOOKS, LOOKS)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000
