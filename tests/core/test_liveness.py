"""A dead peer is found fast where it hurts, and a living one is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import ConnectionState, TaskState
from runware_ws.config import Config
from runware_ws.events import PeerSuspected
from tests.core.bench import Bench, uuid_of

PONG = {"data": [{"taskType": "ping", "pong": True}]}


def busy_bench(**options: Any) -> Bench:
    """A bench with the limits that a client has."""
    given = Config()
    limits: dict[str, Any] = {
        "busy_ping_after": given.busy_ping_after,
        "busy_ping_timeout": given.busy_ping_timeout,
        "keepalive": 1000.0,
    }
    return Bench(**(limits | options))


def pings(bench: Bench) -> int:
    """How many pings the core hands out now."""
    return sum(task["taskType"] == "ping" for task in bench.written())


def until_dead(bench: Bench, most: float = 60.0) -> float:
    """Let the peer be silent, with a writer that works; return how long it took."""
    start = bench.now
    closes = len(bench.closes())
    while len(bench.closes()) == closes:
        assert bench.now - start < most, "the peer was never judged dead"
        bench.step(0.05)
        bench.written()
    return bench.now - start


def test_with_a_task_in_flight_a_silent_peer_is_left_within_5_seconds() -> None:
    bench = busy_bench()
    bench.begin_written()
    assert until_dead(bench) <= 5
    assert not bench.closes()[0].graceful
    assert bench.core.state is ConnectionState.BACKOFF


def test_a_task_that_is_written_does_not_put_off_the_ping_of_an_idle_connection() -> None:
    bench = busy_bench(ping_after=10)
    bench.begin()
    bench.step(9.5)
    bench.written_task()
    bench.step(0.6)
    assert pings(bench) == 1


def test_the_first_ping_goes_out_after_2_seconds_of_silence_and_no_sooner() -> None:
    bench = busy_bench()
    bench.begin_written()
    bench.step(1.9)
    assert pings(bench) == 0
    bench.step(0.2)
    assert pings(bench) == 1


def test_an_idle_connection_is_pinged_as_before_and_left_within_20_seconds() -> None:
    bench = busy_bench()
    bench.begin()
    bench.step(9.9)
    assert pings(bench) == 0
    assert 5 < until_dead(bench) + 9.9 <= 20


@pytest.mark.parametrize("idle", [3.0, 9.0, 11.0, 15.0])
def test_the_first_task_after_an_idle_spell_brings_the_verdict_near(idle: float) -> None:
    bench = busy_bench()
    bench.begin()
    for _ in range(int(idle / 0.05)):
        bench.step(0.05)
        bench.written()
    bench.written_task()
    assert until_dead(bench) <= 5


def test_the_driver_is_told_that_the_deadline_came_nearer() -> None:
    bench = busy_bench()
    bench.begin()
    bench.step(5)
    bench.task()
    bench.core.take()
    bench.core.next_frame(bench.now)
    todo = bench.core.take()
    assert todo is not None
    assert todo.deadline == pytest.approx(bench.now + 2)


def test_under_steady_traffic_the_timer_is_left_alone() -> None:
    bench = busy_bench()
    bench.begin()
    bench.answer(bench.written_task())
    told = 0
    for _ in range(100):
        bench.now += 0.01
        record = bench.task(timeout=1000)
        bench.core.next_frame(bench.now)
        todo = bench.core.take()
        told += todo is not None and todo.deadline is not None
        bench.answer(record)
    assert told <= 2


def test_a_long_task_costs_one_ping_each_2_seconds_and_no_connection() -> None:
    bench = busy_bench()
    record = bench.begin_written()
    sent = 0
    for _ in range(600):
        bench.step(0.1)
        if pings(bench):
            sent += 1
            bench.say(PONG)
    assert 25 <= sent <= 30
    assert bench.closes() == []
    bench.answer(record)
    assert record.state is TaskState.DONE


@pytest.mark.parametrize(
    "frame",
    [
        {"data": [{"taskType": "ping", "ping": True}]},
        {"data": [{"taskType": "ping"}, {"taskType": "ping", "ping": True}]},
        {"data": [{"taskType": "ping", "ping": True}], "errors": []},
        {"data": {"taskType": "ping", "ping": True}, "errors": None, "error": False},
    ],
)
def test_the_pings_of_the_peer_are_no_sign_of_life(frame: Any) -> None:
    bench = busy_bench()
    bench.begin_written()
    start = bench.now
    while not bench.closes():
        bench.step(0.5)
        bench.written()
        bench.say(frame)
        assert bench.now - start <= 5.5


@pytest.mark.parametrize(
    "frame",
    [
        PONG,
        {"data": [{"taskType": "textInference", "taskUUID": uuid_of(99), "text": "x"}]},
        {"errors": [{"code": "providerError", "message": "m", "taskUUID": uuid_of(99)}]},
        {"data": []},
        b"not json",
    ],
)
def test_a_pong_and_any_other_message_are_signs_of_life(frame: Any) -> None:
    bench = busy_bench()
    bench.begin_written()
    for _ in range(60):
        bench.step(1)
        bench.written()
        bench.say(frame)
    assert bench.closes() == []


@pytest.mark.parametrize(("bytes_per_second", "alive"), [(1, False), (200, False), (20_000, True)])
def test_a_large_message_proves_life_only_while_it_flows(
    bytes_per_second: int, alive: bool
) -> None:
    bench = busy_bench()
    bench.begin_written()
    for _ in range(300):
        bench.step(0.1)
        bench.written()
        if bench.core.probing:
            bench.core.moving(bytes_per_second // 10 or 1)
    assert bool(bench.closes()) is not alive
    if alive:
        assert until_dead(bench) <= 5, "it stopped in the middle"


def test_a_far_server_is_given_some_of_its_round_trips() -> None:
    bench = busy_bench()
    bench.start()
    bench.open()
    bench.step(1.5)
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": uuid_of(5)}]})
    bench.written_task()
    assert 3 * 1.5 < until_dead(bench) <= 7.5


def test_the_measured_round_trip_replaces_the_first_guess() -> None:
    bench = busy_bench()
    bench.start()
    bench.open()
    bench.step(3)
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": uuid_of(5)}]})
    bench.written_task()
    bench.step(2)
    assert pings(bench) == 1
    bench.step(0.1)
    bench.say(PONG)
    assert until_dead(bench) <= 5


def test_a_round_trip_of_1_5_seconds_is_no_false_alarm() -> None:
    bench = busy_bench()
    bench.begin_written()
    answers: list[float] = []
    for _ in range(1200):
        bench.step(0.05)
        answers += [bench.now + 1.5] * pings(bench)
        while answers and answers[0] <= bench.now:
            answers.pop(0)
            bench.say(PONG)
    assert bench.closes() == []
    assert bench.events(PeerSuspected) == []


@pytest.mark.parametrize("blocked", [3.0, 30.0, 3600.0])
@pytest.mark.parametrize("before", [0.5, 2.1, 4.2])
def test_a_loop_that_was_blocked_looks_at_the_backlog_first(before: float, blocked: float) -> None:
    bench = busy_bench()
    bench.begin_written()
    bench.step(before)
    bench.written()
    bench.now += blocked
    bench.core.on_deadline(bench.now)
    bench.step(0.2)
    assert bench.closes() == [], "the pong may lie in the kernel's buffer"
    bench.written()
    bench.say(PONG)
    bench.step(1)
    assert bench.closes() == []


def test_a_loop_that_was_blocked_finds_a_dead_peer_all_the_same() -> None:
    bench = busy_bench()
    bench.begin_written()
    bench.step(2.1)
    bench.written()
    bench.now += 30
    bench.core.on_deadline(bench.now)
    assert until_dead(bench) <= 5


def test_the_limits_of_an_idle_connection_bound_those_of_a_busy_one() -> None:
    bench = busy_bench(ping_after=0.5, ping_timeout=0.5)
    bench.begin_written()
    assert until_dead(bench) <= 1.6


def test_a_task_that_comes_while_an_idle_peer_is_pinged_makes_nothing_late() -> None:
    bench = Bench(ping_after=3, ping_timeout=3, busy_ping_after=2, busy_ping_timeout=2.25)
    bench.begin()
    begun = bench.now
    bench.step(3)
    assert [task["taskType"] for task in bench.written()] == ["ping"]
    bench.step(2.9)
    bench.written_task()
    bench.step(1)
    assert len(bench.closes()) == 1, "3 s for the ping, and half a second for a look"
    assert bench.now - begun < 7
