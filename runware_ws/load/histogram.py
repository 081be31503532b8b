"""Percentiles that can be merged: a sketch of all durations, each within 0.05 % of its truth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from ddsketch import DDSketch

__all__ = ["QUANTILES", "Histogram"]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
"""The percentiles of each summary."""

_ACCURACY = 0.0005


class Histogram:
    """Durations in seconds, from microseconds to years.

    It keeps counts in buckets of equal relative width (a DDSketch), so its size does not grow with
    the number of durations, and two of them merge without a loss: the merged one equals the one
    that had recorded all.
    """

    __slots__ = ("_sketch", "count", "maximum", "minimum", "total")

    def __init__(self, durations: Iterable[float] = ()) -> None:
        self._sketch: Any = DDSketch(_ACCURACY)
        self.count = 0
        self.minimum = math.inf
        self.maximum = 0.0
        self.total = 0.0
        for seconds in durations:
            self.record(seconds)

    def record(self, seconds: float) -> None:
        """Count one duration. What is below 0 counts as 0: a clock's grain, not a time."""
        if seconds < 0.0:
            seconds = 0.0
        self._sketch.add(seconds)
        self.count += 1
        self.total += seconds
        if seconds > self.maximum:
            self.maximum = seconds
        if seconds < self.minimum:
            self.minimum = seconds

    def merge(self, other: Histogram) -> None:
        """Count all that ``other`` has counted."""
        if not other.count:
            return
        self._sketch.merge(other._sketch)
        self.count += other.count
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)
        self.minimum = min(self.minimum, other.minimum)

    def quantile(self, share: float) -> float | None:
        """The smallest duration that ``share`` (0 to 1) of all do not exceed; ``None`` if empty.

        Never above the maximum nor below the minimum, which are exact.
        """
        if not self.count:
            return None
        # The nearest rank, from 0. The sketch takes a share of the ranks: a quarter above the
        # rank is safe from rounding.
        rank = max(0, math.ceil(share * self.count - 1e-9) - 1)
        if rank >= self.count - 1:
            return self.maximum
        value: float = self._sketch.get_quantile_value((rank + 0.25) / (self.count - 1))
        return min(max(value, self.minimum), self.maximum)

    @property
    def mean(self) -> float | None:
        """The mean; ``None`` if empty."""
        return self.total / self.count if self.count else None

    def summary(self) -> dict[str, float | int | None]:
        """The percentiles, ``max`` and ``mean`` in milliseconds, and the ``count``."""
        values = {name: self.quantile(share) for name, share in QUANTILES.items()}
        values |= {"max": self.maximum if self.count else None, "mean": self.mean}
        return {**{name: _ms(value) for name, value in values.items()}, "count": self.count}

    def curve(self) -> Iterator[tuple[float, float]]:
        """Pairs of share and milliseconds, ever closer to the maximum."""
        if not self.count:
            return
        tail = 1.0
        while tail * self.count > 1:
            share = 1 - tail
            yield share, (self.quantile(share) or 0.0) * 1e3
            tail /= 10**0.125
        yield 1.0, self.maximum * 1e3


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 6)
