"""The pace of a batch, against servers that are simulated in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runware_ws import (
    ClientClosed,
    ConnectionFailed,
    HttpRefused,
    InvalidTask,
    OutcomeUnknown,
    Result,
    RunwareError,
    Submitted,
    TaskError,
    TaskTimeout,
)
from runware_ws.batch.pacing import Pacer, Retries, SameEnd, Setback, retry_after_of, setback_of


@dataclass
class Simulation:
    """Lines through a pacer to a server that may refuse.

    ``server(now, in_flight)`` says how long it takes, what comes, and what it asks to wait.
    """

    server: Callable[[float, int], tuple[float, Setback | None, float | None]]
    most: int
    lines: int
    retries: int = 8
    now: float = 0.0
    results: int = 0
    failed: int = 0
    peak: int = 0
    starts: list[float] = field(default_factory=list[float])
    refusals: list[float] = field(default_factory=list[float])
    why: str | None = None
    busy: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def run(self, until: float = 1e6) -> None:
        pacer, retries = Pacer(self.most), Retries[int](self.retries)
        flying: list[tuple[float, int, int, Setback | None, float | None]] = []
        fresh = iter(range(self.lines))
        waiting: int | None = next(fresh, None)
        while self.why is None and self.now < until:
            wait = pacer.wait(self.now)
            line = retries.due(self.now) if wait == 0 else None
            if wait == 0 and line is None and waiting is not None:
                line, waiting = waiting, next(fresh, None)
            if line is not None:
                assert pacer.in_flight < pacer.limit <= self.most
                number = pacer.started()
                retries.started(line)
                self.starts.append(self.now)
                takes, setback, after = self.server(self.now, pacer.in_flight)
                heapq.heappush(flying, (self.now + takes, number, line, setback, after))
                self.peak = max(self.peak, pacer.in_flight)
                self.busy.append((self.now, pacer.in_flight))
                continue
            times = [flying[0][0]] if flying else []
            if wait is not None and (waiting is not None or len(retries)):
                due = 0.0 if waiting is not None else retries.wait(self.now) or 0.0
                times.append(self.now + max(wait, due))
            if not times:
                break
            soonest = min(times)
            if flying and flying[0][0] <= soonest:
                self.now, number, line, setback, after = heapq.heappop(flying)
                self._end(pacer, retries, number, line, setback, after)
            else:
                assert soonest > self.now, "it would spin"
                self.now = soonest
        assert pacer.in_flight == len(flying)

    def _end(
        self,
        pacer: Pacer,
        retries: Retries[int],
        number: int,
        line: int,
        setback: Setback | None,
        after: float | None,
    ) -> None:
        pacer.ended(number, self.now, setback, after)
        if setback is Setback.PUSHBACK:
            self.refusals.append(self.now)
            self.why = SameEnd().refused(line, TaskError("full", code="429"), pacer.fruitless)
        if setback is not None and retries.again(line, line, self.now, setback, after):
            return
        retries.ended(line, result=setback is None)
        self.results += setback is None
        self.failed += setback is not None


def capacity(room: int, takes: float = 1.0, after: float | None = None) -> Callable[..., object]:
    """A server that works on so many at once, and refuses all others at once."""

    def serve(now: float, in_flight: int) -> tuple[float, Setback | None, float | None]:
        if in_flight > room:
            return 0.01, Setback.PUSHBACK, after
        return takes, None, None

    return serve


def rated(per_second: float, burst: int) -> Callable[..., object]:
    """A server with a bucket of tokens."""
    tokens, last = float(burst), 0.0

    def serve(now: float, in_flight: int) -> tuple[float, Setback | None, float | None]:
        nonlocal tokens, last
        tokens, last = min(burst, tokens + (now - last) * per_second), now
        if tokens < 1:
            return 0.01, Setback.PUSHBACK, None
        tokens -= 1
        return 0.2, None, None

    return serve


@settings(deadline=None, max_examples=40)
@given(
    room=st.integers(1, 60),
    most=st.integers(1, 200),
    takes=st.floats(0.05, 5.0),
    after=st.none() | st.floats(0, 5),
)
def test_all_lines_get_through_a_server_with_little_room(
    room: int, most: int, takes: float, after: float | None
) -> None:
    sim = Simulation(capacity(room, takes, after), most, lines=400)  # type: ignore[arg-type]
    sim.run()
    assert (sim.results, sim.failed) == (400, 0)
    assert sim.peak <= most
    # Above the ideal time: a few pauses, the climbing back, and what the server asks to wait.
    ideal = 400 * takes / min(room, most)
    assert sim.now <= 4 * ideal + 30 + len(sim.refusals) * (after or 0)
    # It is not refused more often than it is answered, but for the beginning.
    assert len(sim.refusals) <= 400 + 2 * most


def test_the_room_is_used_and_hardly_ever_asked_for_more() -> None:
    sim = Simulation(capacity(20), most=500, lines=5_000)  # type: ignore[arg-type]
    sim.run()
    assert (sim.results, sim.failed) == (5_000, 0)
    # Nearly all come from the beginning, when 500 are tried, then 250, then 125 …
    assert len(sim.refusals) < 1_100
    assert sum(now > 30 for now in sim.refusals) < 0.05 * 4_500
    late = [count for now, count in sim.busy if now > 30]
    assert max(late) <= 22
    assert sim.now < 5_000 / 20 * 1.6


def test_without_pushbacks_nothing_is_held_back() -> None:
    sim = Simulation(capacity(1000), most=100, lines=1_000)  # type: ignore[arg-type]
    sim.run()
    assert sim.now == pytest.approx(10.0)
    assert sim.refusals == []


def test_a_limit_of_rate_slows_the_run_down() -> None:
    sim = Simulation(rated(10, burst=10), most=100, lines=500)  # type: ignore[arg-type]
    sim.run()
    assert (sim.results, sim.failed) == (500, 0)
    assert len(sim.refusals) < 500
    assert sim.now < 3 * 500 / 10


@pytest.mark.parametrize("after", [None, 2.0])
def test_a_server_that_always_refuses_is_left_in_peace(after: float | None) -> None:
    sim = Simulation(capacity(0, after=after), most=100, lines=1_000)  # type: ignore[arg-type]
    sim.run()
    assert (sim.results, sim.failed) == (0, 0)
    assert "8 times in a row the server had room for no line" in str(sim.why)
    assert "429: full: run it again later" in str(sim.why)
    assert len(sim.starts) < 250
    assert 15 < sim.now < 60


def test_few_lines_that_are_always_refused_end_with_their_retries() -> None:
    sim = Simulation(capacity(0), most=100, lines=3, retries=4)  # type: ignore[arg-type]
    sim.run()
    assert (sim.results, sim.failed, sim.why) == (0, 3, None)
    assert len(sim.starts) == 3 * 5


def test_no_retries_means_none() -> None:
    sim = Simulation(capacity(0), most=4, lines=10, retries=0)  # type: ignore[arg-type]
    sim.run()
    assert (sim.failed, len(sim.starts)) == (10, 10)


def test_it_climbs_back_when_room_comes_back() -> None:
    def serve(now: float, in_flight: int) -> tuple[float, Setback | None, float | None]:
        if now < 20 and in_flight > 2:
            return 0.01, Setback.PUSHBACK, None
        return 0.5, None, None

    sim = Simulation(serve, most=50, lines=5_000)
    sim.run()
    assert sim.results == 5_000
    # From 2 to 50 by one a round of half a second.
    first = next(now for now, count in sim.busy if now > 20 and count == 50)
    assert 20 < first < 20 + 48 * 0.5 + 5


def test_one_burst_of_pushbacks_halves_once() -> None:
    pacer = Pacer(64)
    numbers = [pacer.started() for _ in range(64)]
    assert pacer.wait(0.0) is None
    for number in numbers:
        pacer.ended(number, 1.0, Setback.PUSHBACK)
    assert (pacer.limit, pacer.pushbacks) == (32, 64)
    assert pacer.wait(1.0) == pytest.approx(0.25)
    assert pacer.wait(1.25) == 0.0


def test_a_full_round_raises_the_limit_by_about_one_also_if_it_ends_at_once() -> None:
    pacer = Pacer(8)
    pacer.ended(pacer.started(), 0.0, Setback.PUSHBACK)
    for expected in (4, 5, 6, 7, 8, 8):
        for number in [pacer.started() for _ in range(pacer.limit)]:
            pacer.ended(number, 0.0, None)
        assert pacer.limit == expected


def test_who_does_not_use_the_limit_does_not_raise_it() -> None:
    pacer = Pacer(8)
    pacer.ended(pacer.started(), 0.0, Setback.PUSHBACK)
    for _ in range(100):
        pacer.ended(pacer.started(), 0.0, None)
    assert pacer.limit == 4


def test_what_the_server_asks_for_is_waited() -> None:
    pacer = Pacer(4)
    first, second = pacer.started(), pacer.started()
    pacer.ended(first, 0.0, Setback.PUSHBACK, 7.0)
    pacer.ended(second, 1.0, Setback.PUSHBACK, 9.0)
    assert pacer.wait(1.0) == 9.0
    assert pacer.wait(10.0) == 0.0
    pacer.ended(pacer.started(), 10.0, Setback.PUSHBACK, 1e9)
    assert pacer.wait(10.0) == 300.0


def test_other_trouble_does_not_slow_the_run_down() -> None:
    pacer = Pacer(8)
    for setback in (Setback.PASSING, Setback.FINAL, None):
        pacer.ended(pacer.started(), 0.0, setback)
    assert (pacer.limit, pacer.wait(0.0)) == (8, 0.0)
    with pytest.raises(ValueError, match="at least 1"):
        Pacer(0)


def test_passing_trouble_waits_longer_each_time() -> None:
    retries = Retries[str](3)
    waits: list[float | None] = []
    while True:
        retries.started(1)
        if not retries.again(1, "line", 0.0, Setback.PASSING):
            break
        waits.append(retries.wait(0.0))
        assert retries.due(0.0) is None
        assert retries.due(100.0) == "line"
    assert waits == [0.25, 0.5, 1.0]
    assert retries.wait(0.0) is None


def test_a_final_error_is_not_tried_again() -> None:
    retries = Retries[str](3)
    retries.started(1)
    assert not retries.again(1, "line", 0.0, Setback.FINAL)
    assert len(retries) == 0


def test_pushbacks_count_only_while_nobody_is_answered() -> None:
    retries = Retries[str](1)
    for _ in range(5):
        retries.started(1)
        retries.started(2)
        retries.ended(2, result=True)
        assert retries.again(1, "line", 0.0, Setback.PUSHBACK)
        assert retries.due(0.0) == "line"
    retries.started(1)
    assert retries.again(1, "line", 0.0, Setback.PUSHBACK)
    retries.started(1)
    retries.started(2)
    retries.ended(2, result=False)
    assert not retries.again(1, "line", 0.0, Setback.PUSHBACK)


def test_what_waits_is_handed_back_at_an_early_end() -> None:
    retries = Retries[str](3)
    retries.again(1, "late", 0.0, Setback.PUSHBACK, 9.0)
    retries.again(2, "soon", 0.0, Setback.PUSHBACK)
    assert retries.left() == ["soon", "late"]
    assert len(retries) == 0


ANSWERS: list[tuple[Result | RunwareError, Setback | None]] = [
    (Result("u", []), None),
    (TaskError("x", code="providerRateLimitExceeded", retryable=True), Setback.PUSHBACK),
    (TaskError("x", code="429"), Setback.PUSHBACK),
    (TaskError("x", code="noAvailableServer", retryable=True), Setback.PUSHBACK),
    (TaskError("x", code="serviceUnavailable", retryable=True), Setback.PUSHBACK),
    (TaskError("x", code="inferenceError", retryable=True), Setback.PASSING),
    (TaskError("x", code="invalidField"), Setback.FINAL),
    (HttpRefused("x", status=429), Setback.PUSHBACK),
    (HttpRefused("x", status=400), Setback.FINAL),
    (TaskTimeout("x"), Setback.PASSING),
    (TaskTimeout("x", submitted=Submitted.YES), Setback.FINAL),
    (OutcomeUnknown("x", submitted=Submitted.MAYBE), Setback.FINAL),
    (ConnectionFailed("x"), Setback.FINAL),
    (ClientClosed("x"), Setback.FINAL),
    (InvalidTask("x"), Setback.FINAL),
]


@pytest.mark.parametrize(("answer", "setback"), ANSWERS)
def test_what_an_answer_means(answer: Result | RunwareError, setback: Setback | None) -> None:
    assert setback_of(answer) is setback


def test_where_retry_after_stands() -> None:
    assert retry_after_of(HttpRefused("x", retry_after=3.0)) == 3.0
    for said in (4, "4", 4.0):
        assert retry_after_of(TaskError("x", raw={"retryAfter": said})) == 4.0
    assert retry_after_of(TaskError("x", raw={"retry_after": 1})) == 1.0
    for value in (-1, "soon", None, True, float("inf"), "nan", 10**400):
        assert retry_after_of(TaskError("x", raw={"retryAfter": value})) is None
    assert retry_after_of(Result("u", [])) is None
    assert retry_after_of(TaskTimeout("x")) is None


def failing(code: str = "insufficientCredits", **more: object) -> TaskError:
    return TaskError("no money", code=code, **more)  # type: ignore[arg-type]


def test_a_run_that_fails_the_same_way_stops() -> None:
    same = SameEnd(after=20)
    assert all(same.ended(line, failing("invalidModel")) is None for line in range(7, 26))
    why = same.ended(26, failing("invalidModel"))
    assert why is not None
    assert "all 20 lines so far" in why
    assert "line 7: invalidModel: no money" in why
    assert "--retry-errors" in why
    assert same.counts == {"TaskError invalidModel": 20}


def test_what_may_pass_is_told_so() -> None:
    same = SameEnd(after=2)
    same.ended(1, TaskError("busy", code="rateLimit", retryable=True))
    why = same.ended(2, TaskError("busy", code="rateLimit", retryable=True))
    assert "run it again later" in str(why)


def test_one_other_end_and_the_run_goes_on() -> None:
    for other in (Result("u", []), failing("invalidImage")):
        same = SameEnd(after=3)
        same.ended(1, other)
        assert all(same.ended(line, failing("invalidModel")) is None for line in range(2, 99))


def test_an_account_that_runs_dry_stops_the_run_at_any_time() -> None:
    same = SameEnd(after=3)
    for line in range(1, 10):
        assert same.ended(line, Result("u", [])) is None
    assert same.ended(10, failing()) is None
    assert same.ended(11, Result("u", [])) is None
    whys = [same.ended(line, failing()) for line in (12, 13, 14)]
    assert whys[:2] == [None, None]
    assert "the last 3 lines ended with the same error, the first of them line 12" in str(whys[2])


def test_lines_that_are_no_task_stop_nothing() -> None:
    same = SameEnd(after=2)
    assert all(same.ended(line, InvalidTask("bad")) is None for line in range(9))
    assert same.counts.total() == 0
