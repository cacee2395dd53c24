"""Times of calls in a memory that does not grow with their number."""

from __future__ import annotations

import math
from collections import Counter

__all__ = ["Latencies"]

_STEP = math.log(1.01)
"""Width of a bucket: 1 %."""


class Latencies:
    """Counts times in buckets of 1 %.

    Attributes:
        count: number of times.
        most: the longest, in seconds.
    """

    def __init__(self) -> None:
        self.count = 0
        self.most = 0.0
        self._sum = 0.0
        self._buckets = Counter[int]()

    def add(self, seconds: float) -> None:
        """Count a time."""
        self.count += 1
        self._sum += seconds
        self.most = max(self.most, seconds)
        self._buckets[math.ceil(math.log(max(seconds, 1e-9)) / _STEP)] += 1

    def mean(self) -> float:
        """Return the mean, in seconds; 0 if there are none."""
        return self._sum / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the time within which this share of the calls was done, in seconds.

        At most 1 % too much; 0 if there are none.
        """
        left = math.ceil(self.count * percent / 100)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(math.exp(bucket * _STEP), self.most)
        return 0.0
