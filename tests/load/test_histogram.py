"""Percentiles: as exact as promised, and the same in one piece or in eight."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable

import pytest

from runware_ws.load import Histogram

SHARES = (0.5, 0.9, 0.99, 0.999)
DRAWS: dict[str, Callable[[random.Random], float]] = {
    "lognormal": lambda rng: rng.lognormvariate(-2, 1),
    "exponential": lambda rng: rng.expovariate(10),
    "uniform": lambda rng: rng.uniform(0.05, 0.2),
    "two humps": lambda rng: rng.gauss(0.01, 0.001) if rng.random() < 0.98 else rng.uniform(5, 20),
    "microseconds to hours": lambda rng: 10 ** rng.uniform(-6, 4),
}


def exact(values: list[float], share: float) -> float:
    """The nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def drawn(draw: str, count: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [abs(DRAWS[draw](rng)) for _ in range(count)]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 1000, 20_000])
def test_within_a_thousandth_of_the_exact_percentiles(draw: str, count: int) -> None:
    values = drawn(draw, count)
    histogram = Histogram(values)
    for share in SHARES:
        assert histogram.quantile(share) == pytest.approx(exact(values, share), rel=0.001)
    assert histogram.maximum == max(values)
    assert histogram.mean == pytest.approx(sum(values) / count)


@pytest.mark.parametrize("draw", DRAWS)
def test_no_percentile_is_beyond_the_extremes(draw: str) -> None:
    for count in range(1, 40):
        values = drawn(draw, count, seed=count)
        histogram = Histogram(values)
        for share in (*SHARES, 0.0, 1.0):
            found = histogram.quantile(share)
            assert found is not None
            assert min(values) <= found <= max(values)


def test_eight_that_are_merged_equal_one() -> None:
    values = drawn("lognormal", 8_000)
    whole = Histogram(values)
    merged = Histogram()
    for part in range(8):
        # As between processes.
        merged.merge(pickle.loads(pickle.dumps(Histogram(values[part::8]))))
    assert merged.count == whole.count
    assert (merged.minimum, merged.maximum) == (whole.minimum, whole.maximum)
    assert [merged.quantile(rank / 999) for rank in range(1000)] == [
        whole.quantile(rank / 999) for rank in range(1000)
    ]
    assert list(merged.curve()) == list(whole.curve())


def test_an_empty_one_says_nothing() -> None:
    empty = Histogram()
    assert empty.quantile(0.5) is None
    assert set(empty.summary().values()) == {None, 0}
    assert list(empty.curve()) == []
    whole = Histogram([1.0])
    whole.merge(empty)
    assert whole.summary() == Histogram([1.0]).summary()


def test_a_clock_that_goes_back_counts_as_no_time() -> None:
    assert Histogram([-1e-9, 0.0]).quantile(1.0) == 0.0


def test_the_curve_goes_up_to_the_maximum() -> None:
    points = list(Histogram(drawn("exponential", 5_000)).curve())
    assert points == sorted(points)
    assert points[-1][0] == 1.0
    assert points[-1][1] == pytest.approx(max(drawn("exponential", 5_000)) * 1e3)
