"""Two runs side by side: which differences are more than chance, by a bootstrap over time.

Latencies that are near in time are alike, so single ones are no independent evidence. What is
drawn again and again are blocks of time, of each run on its own.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist, stdev
from typing import Any

from runware_ws.load.recorder import bin_seconds
from runware_ws.load.report import SCHEMA

__all__ = ["Change", "compare", "quantile_of_bins"]

_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_MOST_BLOCKS = 30
_LEAST_BLOCKS = 8
_CHANCE = 0.02
"""How often any of the figures of two equal runs may be flagged, all together. Blocks are few, and
a bootstrap over few is too sure of itself: it comes to less than one run in twenty."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of both runs: milliseconds, or a share of errors.

    ``change`` is the second over the first, less one; of error rates it is the difference. It lies
    between ``low`` and ``high`` with a confidence of 95 % at least, for all figures together.
    """

    figure: str
    base: float
    now: float
    change: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether it rose, and not by chance."""
        return self.low > 0

    @property
    def better(self) -> bool:
        """Whether it fell, and not by chance."""
        return self.high < 0

    @property
    def verdict(self) -> str:
        """In one word."""
        return "worse" if self.worse else "better" if self.better else "same"


def compare(
    base: Mapping[str, Any], now: Mapping[str, Any], *, draws: int = 400, seed: int = 0
) -> list[Change]:
    """Compare two reports of the same load, by so many ``draws`` of each.

    Raises:
        ValueError: one is no report, of another schema, or too short.
    """
    runs = [_Blocks(base), _Blocks(now)]
    rng = random.Random(seed)
    drawn = [[run.drawn(rng) for _ in range(draws)] for run in runs]
    # All figures together may be wrong so rarely, so each must be surer.
    sure = NormalDist().inv_cdf(1 - _CHANCE / 2 / (len(_SHARES) + 1))
    changes: list[Change] = []
    for number, figure in enumerate((*_SHARES, "error_rate")):
        before, after = (run.figures()[number] for run in runs)
        # Ratios are as wide upward as downward only as logarithms.
        there, back = (_same, _same) if figure == "error_rate" else (math.log, math.expm1)
        step = there(after) - there(before)
        spread = sure * stdev(
            there(second[number]) - there(first[number])
            for first, second in zip(*drawn, strict=True)
        )
        ends = (back(step - spread), back(step + spread))
        changes.append(Change(figure, before, after, back(step), *ends))
    return changes


def _same(value: float) -> float:
    return value


class _Blocks:
    """The blocks of one run: how many in each bin of latency, how many attempts and errors."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        if report.get("schema") != SCHEMA:
            raise ValueError(f"is no report of a load with the schema {SCHEMA}")
        try:
            series = report["series"]
            blocks: list[dict[int, int]] = [
                {int(number): int(count) for number, count in bins} for bins in series["bins"]
            ]
            failed = [int(count) for _, count in zip(blocks, series["failed"], strict=True)]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"is no whole report with the schema {SCHEMA}") from None
        used = [number for number, bins in enumerate(blocks) if bins or failed[number]]
        if len(used) < _LEAST_BLOCKS or not any(blocks):
            raise ValueError("is too short to be compared: it needs some seconds with answers")
        size = math.ceil(len(used) / _MOST_BLOCKS)
        groups = [used[at : at + size] for at in range(0, len(used), size)]
        self.bins = sorted({number for bins in blocks for number in bins})
        self.rows = [
            [
                *(sum(blocks[each].get(number, 0) for each in group) for number in self.bins),
                sum(failed[each] for each in group),
            ]
            for group in groups
        ]

    def figures(self, rows: Sequence[Sequence[int]] | None = None) -> list[float]:
        """The percentiles in milliseconds, and the share of errors."""
        *counts, failed = map(sum, zip(*(rows or self.rows), strict=True))
        sums = list(accumulate(counts))
        quantiles = [
            (_quantile(self.bins, counts, sums, share) or 0.0) * 1e3 for share in _SHARES.values()
        ]
        return [*quantiles, failed / (failed + sums[-1])]

    def drawn(self, rng: random.Random) -> list[float]:
        """The same of as many blocks, drawn at random; anew if none has an answer."""
        while True:
            figures = self.figures(rng.choices(self.rows, k=len(self.rows)))
            if figures[0]:
                return figures


def quantile_of_bins(bins: Sequence[int], counts: Sequence[int], share: float) -> float | None:
    """A percentile in seconds, between the edges of its bin; ``None`` of nothing."""
    return _quantile(bins, counts, list(accumulate(counts)), share)


def _quantile(
    bins: Sequence[int], counts: Sequence[int], sums: Sequence[int], share: float
) -> float | None:
    if not sums or not sums[-1]:
        return None
    rank = share * sums[-1]
    at = min(bisect_left(sums, max(rank, 1e-9)), len(sums) - 1)
    inside = (rank - (sums[at] - counts[at])) / counts[at]
    return bin_seconds(bins[at] + inside)
