"""Regressions are found, and chance is not taken for one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from runware_ws.load import Arrivals, Recorder, Sample, parse_rate
from runware_ws.load.compare import compare
from runware_ws.load.report import RunFacts, block_width, make_report
from runware_ws.load.targets import Answer, Unanswered

SECONDS, RATE = 15, 60


def run(
    seed: int, *, factor: float = 1.0, errors: float = 0.0, drift: float = 0.0, spread: float = 0.5
) -> Any:
    """A report of made-up latencies. ``drift``: how much neighbours in time are alike."""
    rng = random.Random(seed)
    recorder = Recorder(block_width(SECONDS))
    mood = 0.0
    for number in range(SECONDS * RATE):
        if number % RATE == 0:
            mood = rng.gauss(0, drift)
        at = number / RATE
        latency = rng.lognormvariate(-2 + mood, spread) * factor
        failed = rng.random() < errors
        recorder.take(
            Sample(
                "task",
                "",
                at,
                at,
                at + latency,
                None if failed else Answer(("",), "live"),
                Unanswered("trouble") if failed else None,
            )
        )
    return make_report(recorder, Arrivals(parse_rate(str(RATE), SECONDS)), RunFacts("made up"))


def verdicts(base: Any, now: Any) -> dict[str, str]:
    return {change.figure: change.verdict for change in compare(base, now, draws=200)}


@pytest.mark.slow
def test_equal_runs_are_not_flagged_in_19_of_20() -> None:
    pairs = [(run(2 * n, drift=0.05), run(2 * n + 1, drift=0.05)) for n in range(20)]
    flagged = [set(verdicts(*pair).values()) != {"same"} for pair in pairs]
    assert sum(flagged) <= 1


def test_a_tenth_more_is_found() -> None:
    for number in range(5):
        base, now = run(2 * number, spread=0.3), run(2 * number + 1, spread=0.3, factor=1.1)
        found = verdicts(base, now)
        assert found["p50"] == "worse"
        assert "better" not in found.values()
        assert verdicts(now, base)["p50"] == "better"


def test_errors_are_found_too() -> None:
    found = verdicts(run(1), run(2, errors=0.05))
    assert found["error_rate"] == "worse"
    assert found["p50"] == "same"


def test_the_interval_holds_the_truth() -> None:
    (change, *_) = compare(run(5, spread=0.3), run(6, spread=0.3, factor=1.1))
    assert change.low < 0.1 < change.high
    assert change.now == pytest.approx(change.base * (1 + change.change))
    # Median of the distribution: e^-2 seconds.
    assert change.base == pytest.approx(135.3, rel=0.03)


def test_what_is_no_report_is_refused() -> None:
    good = run(1)
    with pytest.raises(ValueError, match="no report"):
        compare({"schema": "runware-ws-load/0"}, good)
    series = good["series"]
    torn_ones: list[Any] = [None, [], {}, {**series, "bins": [["x"]]}, {**series, "failed": []}]
    for torn in torn_ones:
        with pytest.raises(ValueError, match="no whole report"):
            compare({**good, "series": torn}, good)
    empty = make_report(Recorder(1.0), Arrivals(parse_rate("1", 1)), RunFacts("nothing"))
    with pytest.raises(ValueError, match="too short"):
        compare(good, empty)
