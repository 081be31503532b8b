"""Starts: at the rate that was asked for, the same for the same seed."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path

import pytest

from runware_ws.load import Arrivals, ClosedModel, Segment, intended_starts, parse_rate, read_trace


def test_a_constant_rate_is_even() -> None:
    starts = intended_starts(Arrivals(parse_rate("200", 30)))
    assert len(starts) == 6_000
    assert list(starts) == pytest.approx([number / 200 for number in range(6_000)])


def test_a_ramp_speeds_up_evenly() -> None:
    starts = intended_starts(Arrivals(parse_rate("50..500/60s")))
    assert len(starts) == 16_500
    assert list(starts) == sorted(starts)
    for second in (0, 10, 30, 59):
        found = sum(second <= at < second + 1 for at in starts)
        assert found == pytest.approx(50 + 7.5 * (second + 0.5), abs=1)


def test_a_ramp_may_go_down_and_to_nothing() -> None:
    starts = intended_starts(Arrivals(parse_rate("100..0/10s")))
    assert len(starts) == 500
    assert sum(at < 5 for at in starts) == 375
    assert max(starts) < 10


def test_steps_follow_each_other() -> None:
    starts = intended_starts(Arrivals(parse_rate("100/10s,200/10s,0/5s,50", 30)))
    counts = [sum(first <= at < last for at in starts) for first, last in
              ((0, 10), (10, 20), (20, 25), (25, 30))]  # fmt: skip
    assert counts == [1_000, 2_000, 0, 250]


def test_a_profile_is_cut_at_the_duration() -> None:
    assert parse_rate("0..100/10s,70/10s", 5) == (Segment(0, 50, 5),)
    assert parse_rate("10/5s,20", 5) == (Segment(10, 10, 5),)
    assert parse_rate("10/5s,20/1m", 8) == (Segment(10, 10, 5), Segment(20, 20, 3))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a rate"),
        ("fast", "not a rate"),
        ("-5", "not a rate"),
        ("5..", "not a rate"),
        ("50", "needs a time"),
        ("50,60/2s", "needs a time"),
        ("5/soon", "not a duration"),
        ("0/5s", "starts nothing"),
        ("5/0s", "last for some time"),
    ],
)
def test_a_bad_rate_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_rate(text)


def test_a_rate_that_starts_nothing_in_its_time_is_told() -> None:
    with pytest.raises(ValueError, match="starts nothing within 5 s"):
        parse_rate("0/10s,100/10s", 5)


@pytest.mark.parametrize(("process", "variation"), [("poisson", 1.0), ("gamma", 2.0)])
def test_random_pauses_have_their_mean_and_their_spread(process: str, variation: float) -> None:
    model = Arrivals(parse_rate("1000", 100), process=process, burst=2.0)  # type: ignore[arg-type]
    starts = intended_starts(model, seed=7)
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(starts) == pytest.approx(100_000, rel=0.02)
    mean = statistics.fmean(pauses)
    assert mean == pytest.approx(1e-3, rel=0.02)
    assert statistics.stdev(pauses) / mean == pytest.approx(variation, rel=0.03)


def test_a_random_process_follows_a_ramp() -> None:
    starts = intended_starts(Arrivals(parse_rate("0..1000/100s"), process="poisson"), seed=3)
    half = sum(at < 50 for at in starts)
    assert half / len(starts) == pytest.approx(0.25, abs=0.01)


def test_the_seed_decides() -> None:
    model = Arrivals(parse_rate("100", 10), process="poisson")
    assert intended_starts(model, 1) == intended_starts(model, 1)
    assert intended_starts(model, 1) != intended_starts(model, 2)


def test_a_trace_is_played_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text('12.5\n\n{"at": 10, "who": "me"}\n11\n')
    assert read_trace(file) == (0.0, 1.0, 2.5)
    model = Arrivals(trace=read_trace(file))
    assert list(intended_starts(model)) == [0.0, 1.0, 2.5]
    assert model.seconds == 2.5


@pytest.mark.parametrize("text", ["soon", "[1]", '{"when": 3}', "true", "", "\udcff"])
def test_a_bad_trace_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(ValueError, match="trace"):
        read_trace(file)


def test_models_that_cannot_work_are_refused() -> None:
    for make in (
        lambda: Arrivals(),
        lambda: Arrivals(parse_rate("5", 1), burst=0),
        lambda: Arrivals(parse_rate("5", 1), burst=1e6),  # which would never come to an end
        lambda: ClosedModel(0, 1),
        lambda: ClosedModel(1, 0),
        lambda: Segment(math.nan, 1, 1),
        lambda: Segment(1, -1, 1),
    ):
        with pytest.raises(ValueError, match=r"must|need"):
            make()
    with pytest.raises(ValueError, match="too many"):
        intended_starts(Arrivals(parse_rate("1000000", 1000)))
