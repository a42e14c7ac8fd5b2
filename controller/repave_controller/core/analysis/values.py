"""What an analysis compares, and what it finds: metrics, samples, judge, judgement. Plain values that can be
stored: the plan of an analysis is frozen into its step, and an old one is judged again from what was kept.

Nothing here knows of rollouts, sources or time: a window has a number of seconds, a look has a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class MetricKind(StrEnum):
    RATE = "rate"
    """Events out of trials: errors of requests."""
    COUNT = "count"
    """Events at a known exposure: restarts of host-seconds, log lines of requests."""
    VALUE = "value"
    """Samples of a quantity: a latency, a share of CPU."""


class Direction(StrEnum):
    """Which change of a metric is bad."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


class NanStrategy(StrEnum):
    """What stands for a window without a value."""

    REMOVE = "remove"
    REPLACE = "replace"
    """Zero."""


class OutlierStrategy(StrEnum):
    KEEP = "keep"
    REMOVE = "remove"


class EffectMeasure(StrEnum):
    """How large a difference is: the ratio of the means, or how often a sample of the canary is above one of
    the baseline (the common-language effect size)."""

    MEAN_RATIO = "meanRatio"
    CLES = "cles"


class JudgeName(StrEnum):
    REPAVE = "repave-v1"
    KAYENTA = "kayenta-v1"


@dataclass(frozen=True, slots=True)
class EffectSize:
    """`kayenta-v1`: what a significant difference must reach to count, and to be critical. None is no
    change: 1.0 of a ratio, 0.5 of a common-language effect size."""

    measure: EffectMeasure = EffectMeasure.MEAN_RATIO
    allowed_increase: float | None = None
    allowed_decrease: float | None = None
    critical_increase: float | None = None
    critical_decrease: float | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """What is compared, and how much of it matters. One list of metrics serves both judges."""

    name: str
    kind: MetricKind = MetricKind.VALUE
    direction: Direction = Direction.EITHER
    is_critical: bool = False
    """A bad verdict alone fails the canary."""
    must_have_data: bool = False
    is_muted: bool = False
    """Judged and shown, counted nowhere."""
    groups: tuple[str, ...] = ()
    """None: a group of its own name."""
    nan: NanStrategy = NanStrategy.REMOVE
    outliers: OutlierStrategy = OutlierStrategy.KEEP
    outlier_factor: float = 3.0
    effect_size: EffectSize = EffectSize()
    least_effect: float | None = None
    """`repave-v1`: the least change against the baseline that matters, 0.1 = 10 %. None: the kind's own,
    see `repave.LEAST_EFFECT`."""
    least_difference: float = 0.0
    """`repave-v1`: the least difference that matters, in the metric's unit (a rate: 0.001 = 0.1 of 100
    requests). A change must reach both."""
    min_samples: int | None = None
    """`repave-v1`: fewer on either side decide nothing. Trials of a rate, windows of a count, samples of a
    value. None: the kind's own, see `repave.MIN_SAMPLES`."""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    """One side of one metric over the window that a look sees, oldest first, one entry a step. NaN is a step
    without a value. A rate or count has `events` and `trials` (equally many), a value has `values`."""

    values: tuple[float, ...] = ()
    events: tuple[float, ...] = ()
    trials: tuple[float, ...] = ()
    """Of a rate: requests. Of a count: exposure, in any unit that both sides share; empty is 1 a step."""
    step_seconds: float = 60.0
    begins_at: float = 0.0
    """Unix time of the first step's begin. Both sides of a metric begin at the same time."""


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    name: JudgeName = JudgeName.REPAVE
    pass_score: float | None = None
    """None: the judge's own, 75 of `kayenta-v1`, 100 of `repave-v1`."""
    marginal_score: float | None = None
    """None: the judge's own, 50 of `kayenta-v1`, 75 of `repave-v1`."""
    group_weights: tuple[tuple[str, float], ...] = ()
    """Percent of the score by group; groups that are left out share what is left."""
    alpha: float | None = None
    """`repave-v1`: how often at most a canary as good as its baseline is called bad, over all metrics and
    all looks together. None: 0.01 where a release is watched, 0.05 of a single look."""
    is_sliding: bool = False
    """`repave-v1`: each look sees only the last part of the time, not all since the begin."""


class Verdict(StrEnum):
    """Of one metric."""

    PASS = "pass"  # noqa: S105  # a verdict
    HIGH = "high"
    LOW = "low"
    SUSPECT = "suspect"
    """`repave-v1`: looks worse, but not for sure. For a person to look at."""
    NODATA = "nodata"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Rule(StrEnum):
    """Which rule gave a metric its verdict. `wording/analysis.py` has a sentence for each."""

    SAME = "same"
    """Both sides have the same samples, or one value all over."""
    WITHIN = "within"
    """The interval of the difference reaches what is tolerated."""
    BEYOND = "beyond"
    """The interval of the difference is beyond what is tolerated, the effect beyond what is allowed."""
    EFFECT_ALLOWED = "effect-allowed"
    """The interval is beyond what is tolerated, but the effect is allowed."""
    NOT_WORSE = "not-worse"
    """No sign that the canary is worse by what matters, and none that it isn't."""
    CLEARLY_GOOD = "clearly-good"
    """Shown to be worse by less than what matters."""
    CLEARLY_BAD = "clearly-bad"
    """Shown to be worse by more than what matters."""
    SUSPICIOUS = "suspicious"
    TOO_FEW_SAMPLES = "too-few-samples"
    NO_DATA = "no-data"
    NO_DATA_BUT_REQUIRED = "no-data-but-required"
    NO_DATA_IS_ZERO = "no-data-is-zero"
    ONE_SIDED = "one-sided"
    """One side has data, the other has none."""
    FAILED_TO_JUDGE = "failed-to-judge"


class Trouble(StrEnum):
    """Why samples can't be compared."""

    NEGATIVE = "negative"
    NOT_FINITE = "not-finite"
    ALL_TIED = "all-tied"
    ARITHMETIC = "arithmetic"


class Incomparable(ValueError):
    """Samples can't be compared, for this reason."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of a metric came to, after cleaning."""

    samples: int
    """Of a rate or count: steps with a value."""
    mean: float | None = None
    """Of a rate: events of one trial; of a count: events of one unit of exposure."""
    median: float | None = None
    low: float | None = None
    high: float | None = None
    events: float | None = None
    trials: float | None = None


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """What was found about one metric, with the numbers that say why."""

    metric: str
    verdict: Verdict
    rule: Rule
    baseline: Side
    canary: Side
    effect: float | None = None
    """`repave-v1`: relative change of the canary against the baseline, 0.2 = 20 % more; None where the
    baseline is 0. `kayenta-v1`: the effect size by the metric's measure."""
    difference: float | None = None
    """Canary minus baseline in the metric's unit: of rates, or the Hodges-Lehmann estimate of a shift."""
    interval: tuple[float, float] | None = None
    """Of `difference`, at the judge's confidence."""
    p: float | None = None
    """`repave-v1`: evidence that the canary is worse by what matters, as a p-value that holds at every
    look. The smaller, the worse."""
    threshold: float | None = None
    """What `p` (`repave-v1`) had to fall to, or the end of `interval` (`kayenta-v1`) to pass, to be bad."""
    least_effect: float | None = None
    needed: int | None = None
    """Samples that were needed, where there were too few."""
    is_critical: bool = False
    """The metric is critical and its verdict decides."""
    is_muted: bool = False
    trouble: Trouble | None = None
    """What went wrong, of `error`."""
    kind: MetricKind = MetricKind.VALUE
    unit: str = ""


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105  # a verdict
    MARGINAL = "marginal"
    """Neither: for a person."""
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Grounds(StrEnum):
    """Why a judgement has its outcome. `wording/analysis.py` has a sentence for each."""

    SCORE = "score"
    CRITICAL = "critical"
    SUSPECT = "suspect"
    UNDECIDED = "undecided"
    """A metric that counts could not be judged."""
    NO_DATA = "no-data"
    TOO_MUCH_MISSING = "too-much-missing"
    """`kayenta-v1`: half of the metrics or more have no data."""
    NO_METRICS = "no-metrics"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one look found."""

    outcome: Outcome
    score: float
    """0 to 100."""
    grounds: Grounds
    decisive: tuple[str, ...] = ()
    """The metrics that decided, worst first."""
    verdicts: tuple[MetricVerdict, ...] = ()
    look: int = 1
    looks: int = 1
    is_final: bool = False
    """More data would not change it: the canary is clearly bad, or clearly good in every metric."""
    pass_score: float = 100.0
    marginal_score: float = 75.0
    group_scores: tuple[tuple[str, float], ...] = ()


SamplesByMetric = Mapping[str, Samples]
