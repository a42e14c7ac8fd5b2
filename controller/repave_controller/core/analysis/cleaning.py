"""What of a side's samples is compared: without what is no number, and without outliers where the metric says
so."""

from collections.abc import Sequence
from math import isfinite, isnan

from repave_controller.core.analysis.ranks import percentile
from repave_controller.core.analysis.values import (
    Incomparable,
    Metric,
    MetricKind,
    NanStrategy,
    OutlierStrategy,
    Samples,
    Trouble,
)

LARGEST = 1e150
"""Numbers beyond it are wrong, and could not be added up or multiplied."""


def series(metric: Metric, samples: Samples) -> tuple[float, ...]:
    """One number a step, NaN where there is none: events of one trial, events of one exposure, or the
    value."""
    if metric.kind is MetricKind.VALUE:
        return samples.values
    return tuple(
        e / t if t > 0 else float("nan") for e, t in zip(samples.events, exposure(samples), strict=False)
    )


def exposure(samples: Samples) -> tuple[float, ...]:
    """Trials by step; 1 a step where nothing is known of them."""
    return samples.trials or (1.0,) * len(samples.events)


def cleaned(metric: Metric, values: Sequence[float]) -> tuple[float, ...]:
    """In their order. Raises `Incomparable`."""
    if metric.nan is NanStrategy.REPLACE:
        kept = tuple(0.0 if isnan(v) else v for v in values)
    else:
        kept = tuple(v for v in values if not isnan(v))
    if not all(map(isfinite, kept)):
        raise Incomparable(Trouble.NOT_FINITE)
    if any(abs(v) > LARGEST for v in kept):
        raise Incomparable(Trouble.ARITHMETIC)
    return (
        without_outliers(kept, metric.outlier_factor) if metric.outliers is OutlierStrategy.REMOVE else kept
    )


def without_outliers(values: Sequence[float], factor: float) -> tuple[float, ...]:
    """Without what is outside of Tukey's fences, `factor` times the middle half beyond it, but never without
    what is between the 1st and the 99th percentile."""
    if not values:
        return ()
    ordered = sorted(values)
    low_quarter, high_quarter = percentile(ordered, 0.25), percentile(ordered, 0.75)
    reach = factor * (high_quarter - low_quarter)
    low = min(percentile(ordered, 0.01), low_quarter - reach)
    high = max(percentile(ordered, 0.99), high_quarter + reach)
    return tuple(v for v in values if low <= v <= high)
