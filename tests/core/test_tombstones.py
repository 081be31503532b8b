"""The memory of ended tasks keeps its word at 10,000 tasks a second, within its bound."""

from __future__ import annotations

import tracemalloc

import pytest

from runware_ws._core.states import DONE, TaskState
from runware_ws._core.tasks.tombstones import LOT, Tombstones

KEEP = 180
MIB = 1 << 20
RATE = 10_000


def uuid_of(number: int) -> str:
    """As ``bench.uuid_of``, but cheap, for millions are needed."""
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def _fill(tombs: Tombstones, first: int, count: int, now: float, seconds: float) -> float:
    """Add so many, evenly over so many seconds."""
    for number in range(first, first + count):
        now += seconds / count
        if now >= tombs.next_expiry():
            tombs.expire(now)
        tombs.add(uuid_of(number), DONE, now, number)
    return now


@pytest.mark.slow
def test_all_of_three_minutes_are_remembered_and_then_forgotten() -> None:
    tombs = Tombstones()
    now = _fill(tombs, 0, RATE * KEEP, 0.0, KEEP)
    assert all(tombs.get(uuid_of(number)) is DONE for number in range(0, RATE * KEEP, 7))
    assert tombs.get(uuid_of(RATE * KEEP)) is None
    now += 2 * KEEP
    while tombs.next_expiry() <= now:
        tombs.expire(tombs.next_expiry())
    assert len(tombs) == 0
    assert tombs.get(uuid_of(1)) is None


def test_each_lives_for_at_least_keep_and_at_most_twice_that() -> None:
    tombs = Tombstones(lot=16, generations=True)
    ends: dict[int, float] = {}
    now = 0.0
    # Now many at once, now a few, now nothing for a while.
    for number in range(6_000):
        now += 0.001 if number % 1_000 < 900 else 3.0 if number % 100 else 200.0
        while tombs.next_expiry() <= now:
            at = tombs.next_expiry()
            tombs.expire(at)
            for known, end in list(ends.items()):
                if tombs.get(uuid_of(known)) is None:
                    assert KEEP <= at - end <= 2 * KEEP, (known, end, at)
                    del ends[known]
        tombs.add(uuid_of(number), DONE, now, number)
        ends[number] = now
    assert all(now - end <= 2 * KEEP for end in ends.values())
    assert len(ends) < 6_000


@pytest.mark.slow
def test_more_than_the_limit_push_out_the_oldest() -> None:
    limit = 1 << 18
    count = limit + limit // 4
    tombs = Tombstones(limit)
    _fill(tombs, 0, count, 0.0, 1.0)
    assert len(tombs) <= limit + LOT
    assert tombs.get(uuid_of(1)) is None
    assert all(tombs.get(uuid_of(number)) is DONE for number in range(count // 2, count, 11))


@pytest.mark.slow
def test_an_entry_takes_few_bytes() -> None:
    tombs = Tombstones()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        _fill(tombs, 0, 8 * LOT, 0.0, 10.0)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # A segment of 1 MiB and one of 4, and no dict of more than LOT.
    assert used < 6 * MIB


def test_a_packed_entry_tells_all_that_was_remembered_until_it_is_taken() -> None:
    tombs = Tombstones(lot=8, generations=True)
    states = (TaskState.CANCELLED, TaskState.TIMED_OUT, TaskState.UNKNOWN, TaskState.FAILED)
    for number in range(100):
        stream = number % 3 == 0
        tombs.add(uuid_of(number), states[number % 4], 1.0, number - 50, stream=stream)
    for number in range(100):
        uuid = uuid_of(number)
        assert tombs.get(uuid) is states[number % 4]
        assert tombs.was_stream(uuid) is (number % 3 == 0)
        assert tombs.take(uuid) == number - 50
        assert tombs.get(uuid) is None
        assert tombs.take(uuid) == 0
    tombs.add(uuid_of(3), DONE, 2.0, 7)
    assert tombs.get(uuid_of(3)) is DONE
    assert tombs.take(uuid_of(3)) == 7
