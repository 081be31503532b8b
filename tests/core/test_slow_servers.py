"""Servers that are slow, answer one kind of question only, or say the same thing twice."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from tests.core.bench import OTHER_SESSION, Bench, error, item
from tests.core.questions import questions

STEP = 0.05


class SlowPeer:
    """It answers each question ``round_trip`` seconds later; of kinds that are ``mute``, none.

    It denies the task by polls, and tells of it by the archive once it is ``done_at``.
    """

    def __init__(self, bench: Bench, record: TaskRecord, round_trip: float, mute: str = "") -> None:
        self.bench = bench
        self.record = record
        self.round_trip = round_trip
        self.mute = mute
        self.done_at = float("inf")
        self.asked: list[tuple[float, str]] = []
        self._answers: list[tuple[float, float, dict[str, Any]]] = []

    def run(self) -> None:
        """Until the task ends."""
        while not self.record.ended:
            self.turn()

    def turn(self) -> None:
        """Answer what is due, hear what is asked, let a little time pass."""
        bench = self.bench
        while self._answers and self._answers[0][0] <= bench.now:
            _, read_at, question = self._answers.pop(0)
            bench.say(self._answer(read_at, question))
        for question in questions(bench):
            self.asked.append((bench.now, question["taskType"]))
            if question["taskType"] != self.mute:
                read_at = bench.now + self.round_trip / 2
                self._answers.append((bench.now + self.round_trip, read_at, question))
        bench.step(STEP)

    def _answer(self, read_at: float, question: dict[str, Any]) -> dict[str, Any]:
        record = self.record
        if read_at < self.done_at or question["taskType"] == "getResponse":
            return {"errors": [error(record, "taskNotFound", taskType=question["taskType"])]}
        return {"data": [{**question, "response": item(record)}]}


def _far(bench: Bench, round_trip: float) -> None:
    """The next socket is that of a server which is ``round_trip`` seconds away."""
    bench.step(0.25)
    generation = bench.open()
    bench.step(round_trip)
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": OTHER_SESSION}]})
    assert bench.core.generation == generation


@pytest.mark.parametrize("timeout", [20.0, 30.0, 60.0, 120.0])
@pytest.mark.parametrize("round_trip", [0.8, 1.5, 3.0, 5.0])
def test_what_a_far_server_has_is_asked_for_while_there_is_time_for_the_answer(
    round_trip: float, timeout: float
) -> None:
    bench = Bench(resubmit="never")
    record = bench.begin_written(timeout=timeout)
    bench.cut()
    _far(bench, round_trip)
    bench.refuse(record, "conflictTaskUUID", taskType=record.task_type)
    peer = SlowPeer(bench, record, round_trip)
    peer.done_at = record.deadline - 3 * round_trip - 0.1
    peer.run()
    assert record.state is TaskState.DONE, record.error
    assert len(peer.asked) <= 20


def test_behind_a_poll_without_an_answer_the_archive_is_asked() -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task(delivery="async", timeout=30.0)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    peer = SlowPeer(bench, record, 0.6, mute="getResponse")
    peer.done_at = bench.now
    peer.run()
    assert record.state is TaskState.DONE
    assert [kind for _, kind in peer.asked] == ["getResponse", "getTaskDetails"]


@pytest.mark.parametrize("code", ["archiveUnavailable", "invalidRequest", "rateLimitExceeded"])
@pytest.mark.parametrize("again", [0.0, 0.3, 3.0])
def test_an_answer_to_a_question_that_comes_twice_ends_nothing(code: str, again: float) -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.cut()
    bench.reconnect()
    bench.step(1)
    assert questions(bench)
    bench.refuse(record, code)
    bench.step(again)
    bench.refuse(record, code)
    assert not record.ended
    bench.answer(record)
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("timeout", [25.0, 40.0, 50.0, 80.0, 110.0])
def test_a_server_that_is_near_and_answers_slowly_is_asked_in_time_as_well(timeout: float) -> None:
    bench = Bench(resubmit="never")
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=timeout)
    bench.refuse(record, "conflictTaskUUID", taskType=record.task_type)
    peer = SlowPeer(bench, record, 4.0)
    peer.done_at = record.deadline - 12.1
    peer.run()
    assert record.state is TaskState.DONE, record.error


def test_one_slow_answer_makes_no_haste_for_long() -> None:
    bench = Bench(resubmit="never")
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=120.0)
    bench.refuse(record, "conflictTaskUUID", taskType=record.task_type)
    peer = SlowPeer(bench, record, 8.0)
    while len(peer.asked) < 2:
        peer.turn()
    peer.round_trip = 0.05
    peer.run()
    assert len(peer.asked) <= 25


def test_one_by_one_a_kind_that_is_not_answered_takes_half_of_the_time() -> None:
    bench = Bench(question_window=1)
    bench.begin()
    records = {record.uuid: record for record in [bench.written_task() for _ in range(15)]}
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    asked: list[str] = []
    for _ in range(36):
        for question in questions(bench):
            asked.append(question["taskType"])
            if asked[-1] == "getResponse":
                bench.answer(records[question["taskUUID"]], status="success")
        bench.step(1)
    assert all(record.state is TaskState.DONE for record in records.values())
    assert asked.count("getTaskDetails") == 2, "that it is answered by now may be"
