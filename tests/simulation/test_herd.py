"""Ten thousand clients lose one server in the same moment: do they come back at once?"""

from __future__ import annotations

import random
from collections import Counter
from heapq import heapify, heappop, heappush

import pytest

from runware_ws._core.core import SessionCore
from runware_ws._core.effects import Effect, Open
from runware_ws._core.states import ConnectionState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.backoff import Backoff, default_wait
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config

CLIENTS = 10_000
MINUTES = 2.5
WINDOW = 0.1
REFUSED_AFTER = 0.02
REPLY = b'{"data":[{"taskType":"authentication","connectionSessionUUID":"s"}]}'
DOWN = Loss(LossKind.DIAL_FAILED, detail="connection refused")


def _effects(core: SessionCore) -> list[Effect]:
    todo = core.take()
    return [] if todo is None else list(todo.effects)


def _herd(config: Config) -> list[SessionCore]:
    """Clients that were connected for a while, and lose their server at 0."""
    backoff = Backoff(default_wait(), cap=config.backoff_cap)
    cores: list[SessionCore] = []
    for _ in range(CLIENTS):
        core = SessionCore(config, draw=backoff)
        core.start(-60.0)
        core.connected(1, -60.0)
        core.receive(1, REPLY, -60.0)
        assert core.state is ConnectionState.READY
        _effects(core)
        core.lost(1, Loss(LossKind.CLOSED), 0.0)
        _effects(core)
        cores.append(core)
    return cores


def _task(number: int, now: float) -> TaskRecord:
    uuid = f"{number:08x}-0000-4000-8000-000000000000"
    return TaskRecord(uuid, "textInference", b"{}", now=now)


def _dials(
    cores: list[SessionCore], until: float, tasks_per_second: float = 0.0
) -> list[list[float]]:
    """When each client dials while the server stays down, and tasks come at random."""
    submitted = 0
    numbers = {core: number for number, core in enumerate(cores)}
    dials: list[list[float]] = [[] for _ in cores]
    timers = [(core.next_deadline(), number) for number, core in enumerate(cores)]
    if tasks_per_second:
        timers.append((0.0, -1))
    heapify(timers)
    while timers and timers[0][0] <= until:
        now, number = heappop(timers)
        core = cores[number]
        if number < 0:
            core = random.choice(cores)
            submitted += 1
            core.submit(_task(submitted, now))
            _effects(core)
            number = numbers[core]
            heappush(timers, (now + random.expovariate(tasks_per_second), -1))
            heappush(timers, (core.next_deadline(), number))
            continue
        if now < core.next_deadline():
            continue
        core.on_deadline(now)
        if any(isinstance(effect, Open) for effect in _effects(core)):
            dials[number].append(now)
            core.lost(core.generation, DOWN, now + REFUSED_AFTER)
            _effects(core)
        heappush(timers, (core.next_deadline(), number))
    return dials


def _most_in_a_window(times: list[float]) -> int:
    """The largest number of dials in any window, wherever it begins."""
    times = sorted(times)
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] > WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.slow
def test_from_the_third_attempt_on_at_most_one_in_a_hundred_dial_within_100_ms() -> None:
    random.seed(20)
    dials = _dials(_herd(Config()), until=MINUTES * 60)
    assert all(len(mine) >= 3 for mine in dials), "somebody gave up"
    late = [at for mine in dials for at in mine[2:]]
    assert _most_in_a_window(late) <= CLIENTS // 100


@pytest.mark.slow
def test_tasks_that_keep_coming_do_not_drive_the_herd_together() -> None:
    random.seed(22)
    dials = _dials(_herd(Config()), until=60, tasks_per_second=500.0)
    late = [at for mine in dials for at in mine[2:]]
    assert _most_in_a_window(late) <= CLIENTS // 100


@pytest.mark.slow
def test_the_herd_does_not_fall_into_step() -> None:
    """Long after the loss the dials of each second are spread evenly."""
    random.seed(21)
    dials = _dials(_herd(Config()), until=MINUTES * 60)
    end = int(MINUTES * 60)
    seconds = Counter(int(at) for mine in dials for at in mine if at > end - 30)
    busiest = max(seconds.values())
    assert busiest <= 2 * CLIENTS * 1.0 / 20
