"""Whether and when errors rose: the stretch of time whose error rate stands out most from all the rest.

The likelihood ratio of a binomial scan statistic (Kulldorff 1997), over a coarse grid first, whose ends are
then found exactly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log
from typing import Final

BINS_MAX: Final = 48
STRENGTH_MIN: Final = 12.0
"""Of the likelihood ratio's logarithm: the best of a thousand stretches of pure chance stays below it."""
SINCE_MIN: Final = 4.0
"""Of the same against what was before it alone: else errors that only fell would have risen."""
RISE_MIN: Final = 0.002
"""A smaller part of all requests is none that people look for."""
FACTOR_MIN: Final = 1.5
ERRORS_MIN: Final = 5
BEFORE_MIN: Final = 20
"""So many requests have to be known from before it."""


@dataclass(frozen=True, slots=True)
class Rise:
    """`at`: when it began, `until`: when it ended, or the end of what is known (Unix time). `before` and
    `during`: error rates outside and inside of it."""

    at: float
    until: float
    before: float
    during: float
    requests: int
    errors: int
    strength: float


class _Sums:
    """Of requests and errors up to each slot."""

    def __init__(self, requests: Sequence[int], errors: Sequence[int]) -> None:
        self._requests = [0, *accumulate(requests)]
        self._errors = [0, *accumulate(errors)]

    @property
    def slots(self) -> int:
        return len(self._requests) - 1

    def of(self, begin: int, end: int) -> tuple[int, int]:
        """(requests, errors)"""
        return self._requests[end] - self._requests[begin], self._errors[end] - self._errors[begin]

    def strength(self, begin: int, end: int) -> float:
        """How much likelier it is that the rate in between is another, higher one; 0: it is not high enough.

        5 of 100 in between, 1 of 900 around: 9.0
        """
        (inside, wrong), (requests, errors) = self.of(begin, end), self.of(0, self.slots)
        outside, others = requests - inside, errors - wrong
        if wrong < ERRORS_MIN or self._requests[begin] < BEFORE_MIN:
            return 0.0
        during, before = wrong / inside, others / outside
        if during - before < RISE_MIN or during < FACTOR_MIN * before:
            return 0.0
        found = _ratio(inside, wrong, outside, others)
        if found < STRENGTH_MIN:
            return 0.0
        earlier, failed = self.of(0, begin)
        is_higher = during >= FACTOR_MIN * failed / earlier
        return found if is_higher and _ratio(inside, wrong, earlier, failed) >= SINCE_MIN else 0.0


def rise_of(
    step_seconds: int, begins_at: float, requests: Sequence[int], errors: Sequence[int]
) -> Rise | None:
    """Of numbers for each slot; None: nothing stands out."""
    sums = _Sums(requests, errors)
    width = max(1, -(-sums.slots // BINS_MAX))
    edges = [*range(0, sums.slots, width), sums.slots]
    found = max(
        ((sums.strength(begin, end), begin, end) for begin, end in _pairs(edges)), default=(0.0, 0, 0)
    )
    _, rough, end = found
    around = range(max(1, rough - width), min(end, rough + width + 1))
    strength, begin = max(((sums.strength(each, end), each) for each in around), default=(0.0, 0))
    if strength < STRENGTH_MIN:
        return None
    until = max(range(max(begin + 1, end - width), min(sums.slots, end + width) + 1), key=lambda each: (
        sums.strength(begin, each), each
    ))  # fmt: skip
    inside, wrong = sums.of(begin, until)
    all_requests, all_errors = sums.of(0, sums.slots)
    return Rise(
        begins_at + begin * step_seconds,
        begins_at + until * step_seconds,
        (all_errors - wrong) / (all_requests - inside),
        wrong / inside,
        inside,
        wrong,
        strength,
    )


def _pairs(edges: Sequence[int]) -> Iterator[tuple[int, int]]:
    for number, begin in enumerate(edges):
        if begin:
            for end in edges[number + 1 :]:
                yield begin, end


def _ratio(requests: int, errors: int, others: int, failed: int) -> float:
    """The logarithm of how much likelier two rates are than one."""
    apart = _likelihood(errors, requests) + _likelihood(failed, others)
    return apart - _likelihood(errors + failed, requests + others)


def _likelihood(errors: int, requests: int) -> float:
    """The logarithm of the highest that some rate gives."""
    if not 0 < errors < requests:
        return 0.0
    rate = errors / requests
    return errors * log(rate) + (requests - errors) * log(1 - rate)
