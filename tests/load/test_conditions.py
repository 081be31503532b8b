"""What a run must keep, and the highest rate that keeps it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from runware_ws.load import (
    Arrivals,
    Recorder,
    Sample,
    Slo,
    parse_condition,
    parse_fault,
    parse_rate,
    parse_slo,
)
from runware_ws.load.conditions import FIGURES, figure_of
from runware_ws.load.faults import check_faults, order_faults
from runware_ws.load.limit import find_limit
from runware_ws.load.report import RunFacts, make_report
from runware_ws.load.targets import Answer, Unanswered
from tests import virtual


def report(latencies: list[float], *, unanswered: tuple[Unanswered, ...] = ()) -> dict[str, Any]:
    recorder = Recorder(1.0, slo=1.0)
    for latency in latencies:
        answer = Answer(("x",), "live", tokens=3, cost=0.5)
        recorder.take(Sample("task", "u", 0, 0, latency, answer))
    for number, each in enumerate(unanswered):
        recorder.take(Sample("task", str(number), 0, 0, 1, unanswered=each))
    return make_report(recorder, Arrivals(parse_rate("1", 10)), RunFacts("made up"))


def test_conditions_hold_or_are_told() -> None:
    found = report([0.5] * 98 + [1.5] * 2, unanswered=(Unanswered("busy"),))
    for text in ("p99<2s", "p99 <= 1500ms", "p50>=499ms", "lost==0", "error_rate<1%", "max<1.6",
                 "attempted==101", "failed!=0", "sent.p99<2s", "cost<51", "goodput>9"):  # fmt: skip
        assert parse_condition(text).broken(found) is None, text
    assert parse_condition("p99<1s").broken(found) == "p99<1s: p99 is 1.5"
    assert parse_condition("failed==0").broken(found) == "failed==0: failed is 1"


def test_what_cannot_be_known_keeps_no_condition() -> None:
    found = report([0.5])
    assert found["run_twice"] is None
    why = parse_condition("run_twice==0").broken(found)
    assert why == "run_twice==0: run_twice cannot be known of this run"
    assert parse_condition("first_delta.p99<1s").broken(found) is not None


@pytest.mark.parametrize("text", ["", "p99", "p99<", "p99=2", "p98<2s", "p99<soon", "loss==0"])
def test_a_bad_condition_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a|no figure"):
        parse_condition(text)


def test_every_figure_is_in_a_report() -> None:
    found = report([0.5])
    for name in FIGURES:
        value = figure_of(found, name)
        assert value is None or isinstance(value, int | float)
    with pytest.raises(ValueError, match="no figure"):
        figure_of(found, "p98")


def test_lost_is_what_may_have_run_and_has_no_verdict() -> None:
    ends = (
        Unanswered("TaskTimeout", left=True),
        Unanswered("ConnectionFailed"),
        Unanswered("server: busy"),
        Unanswered("OutcomeUnknown", unknown=True, left=True),
    )
    found = report([0.5], unanswered=ends)
    told = {name: found[name] for name in ("attempted", "answered", "failed", "lost", "unknown")}
    assert told == {"attempted": 5, "answered": 1, "failed": 4, "lost": 1, "unknown": 1}
    assert sum(found["errors"].values()) == 4


def test_an_slo_is_read() -> None:
    assert parse_slo("p99<2s") == parse_slo("2s") == Slo(0.99, 2.0)
    assert parse_slo(" p99.9 <= 300ms ") == Slo(0.999, 0.3)
    for bad in ("", "p0<2s", "p101<1s", "fast", "0", "p99>2s"):
        with pytest.raises(ValueError, match=r"SLO|duration"):
            parse_slo(bad)


def test_an_slo_counts_what_has_no_answer() -> None:
    slo = Slo(0.99, 1.0)
    assert slo.kept(report([0.5] * 99 + [1.5]))
    assert not slo.kept(report([0.5] * 98 + [1.5] * 2))
    assert not slo.kept(report([0.5] * 98, unanswered=(Unanswered("busy"),) * 2))
    assert not slo.kept(report([]))


# The limit


def server_of(capacity: float) -> Any:
    rates: list[float] = []

    async def measure(rate: float) -> dict[str, Any]:
        rates.append(rate)
        fast = 100 if rate <= capacity else 50
        return {"attempted": 100, "good": fast, "own_lag_ok": rate < 5_000}

    return measure, rates


@pytest.mark.anyio
@pytest.mark.parametrize("capacity", [3.0, 64.0, 100.0, 777.0, 1234.5])
async def test_the_limit_is_found(capacity: float) -> None:
    measure, rates = server_of(capacity)
    found = await find_limit(measure, Slo(0.99, 1.0), first=100.0)
    assert capacity / 1.05 - 0.01 <= found.rate <= capacity
    assert found.failed_at is not None
    assert found.failed_at > capacity
    assert len(rates) == len(found.steps) <= 15
    assert not found.by_generator


@pytest.mark.anyio
async def test_the_most_that_is_allowed_may_be_kept() -> None:
    measure, rates = server_of(1e9)
    found = await find_limit(measure, Slo(0.99, 1.0), first=100.0, most=350.0)
    assert rates == [100, 200, 350]
    assert (found.rate, found.failed_at) == (350, None)


@pytest.mark.anyio
async def test_a_generator_that_lags_is_no_limit_of_the_server() -> None:
    measure, _ = server_of(1e9)
    found = await find_limit(measure, Slo(0.99, 1.0), first=1000.0)
    assert found.by_generator
    assert found.rate < 5_000


@pytest.mark.anyio
async def test_a_server_that_keeps_nothing_has_no_limit() -> None:
    measure, _ = server_of(0.0)
    found = await find_limit(measure, Slo(0.99, 1.0), first=4.0)
    assert (found.rate, found.report) == (0.0, None)
    assert [step.rate for step in found.steps] == [4, 2, 1, 0.5]


# Faults


@virtual.only()
@pytest.mark.anyio
async def test_faults_come_and_go_when_they_should() -> None:
    given: list[tuple[float, str]] = []
    began = anyio.current_time()

    async def give(order: str) -> None:
        given.append((anyio.current_time() - began, order))

    faults = [
        parse_fault(text)
        for text in ("cut-every=2s@30s..60s", "lose-results@40s..50s", "shuffle", "cut@5s")
    ]
    await order_faults(give, faults, began)
    assert [(round(at, 6), order) for at, order in given] == [
        (0, "shuffle"),
        (5, "cut"),
        (30, "cut-every=2s"),
        (40, "lose-results"),
        (50, "heal"),
        (50, "cut-every=2s"),
        (50, "shuffle"),
        (60, "heal"),
        (60, "shuffle"),
    ]


@pytest.mark.parametrize("text", ["fire", "cut@soon", "cut@5s..5s", "cut@5s..2s", "cut@"])
def test_a_bad_fault_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"fault|duration|must end"):
        parse_fault(text)


@pytest.mark.anyio
async def test_a_bad_value_of_a_fault_is_told() -> None:
    check_faults([parse_fault("cut-every=2s"), parse_fault("lose-results")])
    with pytest.raises(ValueError, match="bad fault"):
        check_faults([parse_fault("cut-every@3s")])
