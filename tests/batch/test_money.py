"""Guesses, budgets and totals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws import InvalidTask, OutcomeUnknown, Result, Submitted, TaskError, TaskTimeout
from runware_ws.batch.money import Budget, Forecast, LineCost, Price, cost_of_answer, dollars
from runware_ws.cli.exits import ExitCode, Stop


def task(text: str = "abcdefgh", **settings: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"taskType": "textInference", "messages": messages, "settings": settings}


def costing(cost: float) -> Result:
    return Result("u", [{"text": "x", "cost": cost}])


PENNY = LineCost(0, 2_000)  # At $5 a million: one cent at most.


def test_the_guess_of_a_line() -> None:
    assert LineCost.of(task()) == (6, 4096, True)
    assert LineCost.of(task(maxTokens=10, systemPrompt="abcd")) == (7, 10, True)
    assert LineCost.of(task("漢字") | {"numberResults": 3}) == (18, 3 * 4096, True)
    assert LineCost.of(task() | {"inputs": {"images": ["u", "v"]}}) == (3206, 4096, True)
    assert not LineCost.of(task() | {"inputs": {"documents": ["u"]}}).known
    assert not LineCost.of({"taskType": "imageInference"}).known
    assert LineCost.of(task() | {"tools": [{"name": "a"}]}).input_tokens > 6


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.sampled_from(["messages", "settings", "inputs", "tools", "numberResults", "taskType"]),
)
def test_a_guess_never_raises(value: object, name: str) -> None:
    cost = LineCost.of(task() | {name: value})
    assert cost.input_tokens >= 0
    assert cost.output_tokens >= 0


def test_prices() -> None:
    assert Price.parse("0.25, 1.5") == Price(0.25, 1.5)
    assert Price().of(1_000_000, 1_000_000) == 6.0
    for text in ("", "1", "1,2,3", "a,b", "-1,5", "nan,5", "1,inf"):
        with pytest.raises(Stop, match="--price") as caught:
            Price.parse(text)
        assert caught.value.code is ExitCode.USAGE


def test_what_an_answer_cost() -> None:
    price = Price()
    usage = {"inputTokens": 1_000_000, "outputTokens": 200_000}
    items: list[dict[str, Any]] = [{"cost": 0.5}, {"text": "free"}]
    assert cost_of_answer(costing(0.3), price) == 0.3
    assert cost_of_answer(Result("u", [{"usage": usage}]), price) == 2.0
    assert cost_of_answer(Result("u", [{"text": "x"}]), price) is None
    assert cost_of_answer(TaskError("no"), price) == 0.0
    assert cost_of_answer(TaskError("no", items=items), price) == 0.5
    assert cost_of_answer(InvalidTask("no"), price) == 0.0
    assert cost_of_answer(TaskTimeout("late"), price) == 0.0
    assert cost_of_answer(TaskTimeout("late", submitted=Submitted.MAYBE), price) is None
    assert cost_of_answer(OutcomeUnknown("who knows"), price) is None


def test_a_forecast() -> None:
    forecast = Forecast(spent=0.5, emulated=True)
    forecast.add(task(maxTokens=100), "prompts")
    forecast.add(task(maxTokens=100), "prompts", done=True)
    forecast.add({"taskType": "imageInference"}, "tasks")
    forecast.add(None, "broken lines")
    assert (forecast.lines, forecast.left, forecast.done, forecast.invalid) == (4, 2, 1, 1)
    assert forecast.most == pytest.approx((6 + 500) / 1e6)
    said = "\n".join(forecast.report())
    assert "4 lines (2 prompts, 1 tasks, 1 broken lines): 2 to send, 1 done before, 1 that" in said
    assert "about 6 tokens (guessed" in said
    assert "at most 100 tokens" in said
    assert "$0.0005 (emulated: nobody pays it), at $1 and $5" in said
    assert "1 lines may cost more" in said
    assert "this output has cost $0.5000 (emulated: nobody pays it) in earlier runs" in said


def test_emulated_money_is_called_so() -> None:
    assert dollars(0.00131) == "$0.0013"
    assert "emulated" in dollars(1, emulated=True)


def test_without_limits_all_is_admitted() -> None:
    budget = Budget(spent=2.0)
    for key in range(100):
        assert budget.admits(PENNY)
        budget.take(key, PENNY)
        budget.ended(key, costing(0.01))
    assert budget.total == pytest.approx(3.0)
    assert budget.run == pytest.approx(1.0)
    assert budget.why() is None


def test_a_limit_of_lines_counts_those_of_this_run() -> None:
    budget = Budget(max_lines=2)
    for key in (1, 2):
        assert budget.admits(PENNY)
        budget.take(key, PENNY)
    budget.ended(1, costing(0.01))
    assert not budget.admits(PENNY)
    assert budget.why() == "--limit 2: so many lines were taken"


def test_earlier_runs_count() -> None:
    assert not Budget(max_cost=1.0, spent=1.0).admits(PENNY)
    assert Budget(max_cost=1.0, spent=0.5).admits(PENNY)


def test_lines_in_flight_count_with_all_they_may_cost() -> None:
    budget = Budget(max_cost=0.0355)
    taken = 0
    while budget.admits(PENNY):
        budget.take(taken, PENNY)
        taken += 1
    assert taken == 3
    assert budget.in_flight == 3
    budget.ended(0, costing(0.001))
    # Now no line is thought to cost more than a fifth of a cent; two are held at a cent.
    while budget.admits(PENNY):
        budget.take(taken, PENNY)
        taken += 1
    assert taken == 3 + 7
    assert "--max-cost 0.0355: $0.0010 are spent in all runs" in str(budget.why())


def test_the_first_line_is_taken_alone_where_its_guess_is_above_the_limit() -> None:
    budget = Budget(max_cost=0.005)
    assert budget.admits(PENNY)
    budget.take(1, PENNY)
    assert not budget.admits(PENNY)
    budget.ended(1, costing(0.0001))
    assert budget.admits(PENNY)


def test_an_answer_for_nothing_teaches_nothing() -> None:
    budget = Budget(max_cost=0.02)
    budget.take(1, PENNY)
    budget.ended(1, costing(0.0))
    budget.take(2, PENNY)
    assert budget.held == pytest.approx(0.01)


def test_an_unknown_outcome_counts_with_all_it_may_cost() -> None:
    budget = Budget(max_cost=0.02)
    budget.take(1, PENNY)
    budget.ended(1, OutcomeUnknown("who knows"))
    assert (budget.run, budget.unsure) == (0.0, pytest.approx(0.01))
    budget.take(2, PENNY)
    assert not budget.admits(PENNY)
    assert "up to $0.0100 more" in str(budget.why())


def test_prices_that_are_too_low_are_noticed() -> None:
    budget = Budget(max_cost=1.0)
    budget.take(1, PENNY)
    budget.ended(1, costing(0.04))
    cheap = LineCost(0, 1_000)
    budget.take(2, cheap)
    # Guessed at half a cent: held at four times as much.
    assert budget.held == pytest.approx(0.02)


@given(
    st.lists(st.tuples(st.integers(1, 4_000), st.floats(0, 1)), min_size=1, max_size=60),
    st.floats(0.001, 0.2),
    st.integers(1, 20),
)
def test_the_limit_holds_where_guesses_do(
    lines: list[tuple[int, float]], limit: float, concurrency: int
) -> None:
    """Answers within their guess, and never dearer than the first: the limit is never passed."""
    budget = Budget(max_cost=limit)
    flying: list[tuple[int, float]] = []
    dearest = None
    for key, (tokens, share) in enumerate(lines):
        cost = LineCost(0, tokens)
        real = share * cost.dollars(Price())
        real = real if dearest is None else min(real, dearest)
        while flying and (len(flying) >= concurrency or not budget.admits(cost)):
            done, price = flying.pop(0)
            budget.ended(done, costing(price))
        if not budget.admits(cost):
            break
        budget.take(key, cost)
        flying.append((key, real))
        if dearest is None:
            dearest = real
            budget.ended(*(lambda each: (each[0], costing(each[1])))(flying.pop()))
    for done, price in flying:
        budget.ended(done, costing(price))
    first = lines[0][0] * 5e-6 * lines[0][1]
    assert budget.total <= max(limit, first) + 1e-9
    assert budget.in_flight == 0
