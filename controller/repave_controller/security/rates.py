"""How often one may ask: a bucket for each name that fills with time, and a bound on the buckets."""

from collections import OrderedDict
from dataclasses import dataclass

NAMES_MAX = 10_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rates:
    """`per_second` on average, `burst` at once."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, name: str, now: float) -> float:
        """0: one may ask now, which is what it asks."""
        bucket = self._filled(name, now)
        return 0.0 if bucket.left >= 1 else (1 - bucket.left) / self._per_second

    def take(self, name: str, now: float) -> float:
        """Takes one; returns 0, or how long to wait where none is left."""
        bucket = self._filled(name, now)
        if bucket.left < 1:
            return (1 - bucket.left) / self._per_second
        bucket.left -= 1
        return 0.0

    def _filled(self, name: str, now: float) -> _Bucket:
        bucket = self._buckets.pop(name, None) or _Bucket(self._burst, now)
        bucket.left = min(self._burst, bucket.left + max(0.0, now - bucket.at) * self._per_second)
        bucket.at = now
        self._buckets[name] = bucket
        if len(self._buckets) > NAMES_MAX:
            self._buckets.popitem(last=False)
        return bucket
