"""Answers to questions that name nobody, from servers that answer both kinds, or only one."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from tests.core.bench import OTHER_SESSION, Bench, item
from tests.core.questions import QUESTIONS, asked, questions


class Nameless:
    """A server that answers questions about tasks it does not know with nothing, after a while.

    It never answers one kind of question, and has each task from its second copy on.
    """

    def __init__(self, mute: str | None, round_trip: float, records: list[TaskRecord]) -> None:
        self.mute = mute
        self.round_trip = round_trip
        self.pushed = {record.uuid for record in records if record.delivery == "sync"}
        self.known: set[str] = set()
        self.open: list[tuple[float, str, dict[str, Any]]] = []
        self.mixed = 0

    def play(self, bench: Bench, until: float) -> None:
        while bench.core.pending and bench.now < until:
            bench.step(0.1)
            while self.open and self.open[0][0] <= bench.now:
                bench.say(self.open.pop(0)[2])
            for kind, uuid in asked(bench):
                if kind != self.mute:
                    self.open.append((bench.now + self.round_trip, kind, self._answer(kind, uuid)))
            self.mixed += len({kind for _, kind, _ in self.open if kind in QUESTIONS}) > 1

    def _answer(self, kind: str, uuid: str) -> dict[str, Any]:
        result = {"taskType": "textInference", "taskUUID": uuid, "text": "yes"}
        if kind not in QUESTIONS:
            self.known.add(uuid)
            if uuid in self.pushed:
                return {"data": [result]}
            return {"data": [{"taskType": "textInference", "taskUUID": uuid}]}
        if uuid not in self.known:
            return {"data": []}
        if kind == "getResponse":
            return {"data": [{**result, "status": "success"}]}
        return {"data": [{"taskType": kind, "taskUUID": uuid, "response": {"data": [result]}}]}


def _both_ways(bench: Bench, number: int) -> list[TaskRecord]:
    """So many tasks went through a cut; every other one is polled."""
    bench.begin()
    records: list[TaskRecord] = []
    for each in range(number):
        records.append(bench.written_task(timeout=300, delivery=("sync", "async")[each % 2]))
        bench.step(1.3 / number)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    return records


@pytest.mark.parametrize(("window", "batch", "number"), [(2, 1, 2), (16, 16, 12), (256, 64, 12)])
@pytest.mark.parametrize("round_trip", [0.05, 0.9])
@pytest.mark.parametrize("mute", QUESTIONS)
def test_answers_that_name_nobody_are_not_those_of_a_kind_that_gets_none(
    mute: str, round_trip: float, window: int, batch: int, number: int
) -> None:
    bench = Bench(question_window=window, batch_tasks=batch)
    records = _both_ways(bench, number)
    begun = bench.now
    Nameless(mute, round_trip, records).play(bench, until=begun + 280)
    assert all(record.state is TaskState.DONE for record in records)
    assert max(record.ended_at for record in records) - begun < 70
    assert max(record.ladder.asks for record in records) < 15


def test_where_answers_name_nobody_the_kinds_are_asked_one_after_the_other() -> None:
    bench = Bench()
    records = _both_ways(bench, 200)
    begun = bench.now
    server = Nameless(None, 0.3, records)
    server.play(bench, until=begun + 280)
    assert all(record.state is TaskState.DONE for record in records)
    assert max(record.ended_at for record in records) - begun < 35
    # Only before the first such answer came.
    assert server.mixed < 6


def _two_in_one_frame() -> tuple[Bench, list[TaskRecord], list[dict[str, Any]]]:
    """Two tasks went through a cut, and are asked about: the bench, they, and the questions."""
    bench = Bench()
    bench.begin()
    records = [bench.written_task(timeout=300) for _ in range(2)]
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    while not (due := questions(bench)):
        bench.step(0.25)
    return bench, records, due


@pytest.mark.parametrize("first", ["the empty one", "the named one"])
def test_what_is_left_of_a_frame_after_the_named_answers_is_known_by_the_empty_ones(
    first: str,
) -> None:
    bench, (known, unknown), due = _two_in_one_frame()
    assert [each["taskUUID"] for each in due] == [known.uuid, unknown.uuid]
    running = {**due[0], "response": {"status": "processing"}}
    told: list[dict[str, Any]] = [{"data": []}, {"data": [running]}]
    for message in told if first == "the empty one" else reversed(told):
        bench.say(message)
    bench.step(1)
    again = [each["taskUUID"] for each in questions(bench)]
    assert unknown.uuid in again, "it is asked about at once, and not when the grace is over"


@pytest.mark.parametrize("first", ["the end", "the empty one"])
@pytest.mark.parametrize("how", ["cancelled", "answered by itself", "asked for"])
def test_an_empty_answer_may_be_about_a_task_that_ended_without_one(how: str, first: str) -> None:
    bench, (other, record), due = _two_in_one_frame()

    def end() -> None:
        if how == "cancelled":
            bench.core.cancel(other, bench.now)
        elif how == "answered by itself":
            bench.answer(other)
        else:
            bench.say({"data": [{**due[0], "response": {"data": [item(other)]}}]})

    if first == "the end":
        end()
    bench.say({"data": []})
    if first == "the empty one":
        end()
    bench.step(1.5)
    again = [each["taskUUID"] for each in questions(bench)]
    assert again == [record.uuid] * (how == "asked for")
    bench.step(3)
    questions(bench)
    assert record.ladder.asks >= 2, "no answer came by name"


def _play_joined(bench: Bench, records: list[TaskRecord], lost: int, running: bool) -> None:
    """Each frame of questions gets one answer, which leaves out what is not known.

    ``lost``: a bit for each of the first frames; its answer is lost. The archive alone has the
    results, 120 s later; until then it tells that the tasks are ``running``, or nothing.
    """
    begun, number = bench.now, 0
    by_uuid = {record.uuid: record for record in records}
    while bench.core.pending and bench.now < begun + 280:
        bench.step(0.1)
        told: list[dict[str, Any]] = []
        frame = asked(bench)
        for kind, uuid in frame:
            named = {"taskType": kind, "taskUUID": uuid}
            if kind not in QUESTIONS:
                bench.refuse(by_uuid[uuid], "conflictTaskUUID")
            elif kind == "getTaskDetails" and bench.now > begun + 120:
                told.append({**named, "response": item(by_uuid[uuid])})
            elif kind == "getTaskDetails" and running:
                told.append({**named, "status": "processing"})
        if any(kind in QUESTIONS for kind, _ in frame):
            if not lost >> number & 1:
                bench.say({"data": told})
            number += 1


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("number", [2, 5])
def test_a_kind_that_was_given_up_is_asked_again_whichever_answers_were_lost(
    number: int, running: bool
) -> None:
    for lost in range(64):
        bench = Bench()
        records = _both_ways(bench, number)
        _play_joined(bench, records, lost, running)
        assert [record.state for record in records] == [TaskState.DONE] * number, lost


def test_polls_are_not_held_up_by_answers_that_leave_out_what_runs() -> None:
    bench = Bench()
    bench.begin()
    records = [bench.written_task(timeout=300, delivery="async") for _ in range(40)]
    over = {record.uuid: bench.now + 1.0 + number for number, record in enumerate(records)}
    bench.say(
        {"data": [{"taskType": "textInference", "taskUUID": record.uuid} for record in records]}
    )
    while bench.core.pending:
        bench.step(0.05)
        told: list[dict[str, Any]] = []
        frame = asked(bench)
        for kind, uuid in frame:
            result = {"taskType": "textInference", "taskUUID": uuid, "text": "yes"}
            if bench.now < over[uuid]:
                continue
            if kind == "getResponse":
                told.append({**result, "status": "success"})
            else:
                response = {"data": [result]}
                told.append({"taskType": kind, "taskUUID": uuid, "response": response})
        if frame:
            bench.say({"data": told})
    assert all(record.state is TaskState.DONE for record in records)
    late = sorted(record.ended_at - over[record.uuid] for record in records)
    assert late[20] < 10, "as a rule, what an answer leaves out is asked for again soon"
    assert late[-1] < 20


def test_what_the_answer_to_several_leaves_out_is_asked_about_again_soon() -> None:
    bench = Bench(resend_early=True)
    bench.begin()
    known = [bench.written_task(timeout=300) for _ in range(2)]
    lost = bench.written_task(timeout=300)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    begun, frame = bench.now, asked(bench)
    while ("textInference", lost.uuid) not in frame:
        told = [
            {"taskType": kind, "taskUUID": uuid, "status": "processing"}
            for kind, uuid in frame
            if uuid != lost.uuid
        ]
        if frame:
            bench.say({"data": told})
        bench.step(0.05)
        frame = asked(bench)
    assert all(record.ladder.confirmed for record in known)
    assert bench.now - begun < 6, "half of the time for which an unanswered question is waited for"


def test_what_a_slow_answer_in_parts_has_not_told_yet_is_not_left_out() -> None:
    """A server looks for one task after the other, and tells of two at a time."""
    bench = Bench()
    bench.begin()
    records = {
        record.uuid: record for record in (bench.written_task(timeout=300) for _ in range(60))
    }
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    over, looked_at, number = bench.now + 20.0, bench.now, 0
    open_: list[tuple[str, str]] = []
    told: list[dict[str, Any]] = []
    while bench.core.pending and bench.now < over + 60:
        bench.step(0.1)
        due = asked(bench)
        assert all(kind in QUESTIONS for kind, _ in due), "a task that is known was sent again"
        number += len(due)
        open_ += due
        while open_ and looked_at + 0.3 <= bench.now:
            looked_at += 0.3
            kind, uuid = open_.pop(0)
            if bench.now < over:
                continue
            if kind == "getResponse":
                told.append(item(records[uuid], status="success"))
            else:
                response = {"data": [item(records[uuid])]}
                told.append({"taskType": kind, "taskUUID": uuid, "response": response})
        if not open_:
            looked_at = bench.now
        if len(told) >= 2 or (told and not open_):
            bench.say({"data": told})
            told = []
    assert all(record.state is TaskState.DONE for record in records.values())
    assert number < 200, "one that is still to be told of is not asked about again"


def _denials(kinds: list[str], how: str) -> list[dict[str, Any]]:
    """What a server says to these questions, about tasks that it does not know."""
    denied = {"code": "taskFailedOrNotFound", "message": "no such task"}
    if how == "errors of the kind":
        return [{"errors": [{**denied, "taskType": kind}]} for kind in kinds]
    if how == "errors":
        return [{"errors": [denied]} for _ in kinds]
    if how == "errors in one message":
        return [{"errors": [{**denied, "taskType": kind, "taskUUID": ""} for kind in kinds]}]
    return [{"data": [{"taskType": kind, "taskUUID": None} for kind in kinds]}]


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("how", ["errors of the kind", "errors", "errors in one message", "items"])
def test_a_denial_that_names_nobody_is_as_an_empty_answer(how: str, delivery: str) -> None:
    bench = Bench()
    bench.begin()
    records = [bench.task(delivery=delivery) for _ in range(4)]
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    resent: list[str] = []
    while bench.core.pending and len(resent) < len(records):
        bench.step(0.25)
        due = asked(bench)
        resent += [uuid for kind, uuid in due if kind not in QUESTIONS]
        kinds = [kind for kind, _ in due if kind in QUESTIONS]
        for message in _denials(kinds, how) if kinds else ():
            bench.say(message)
    assert sorted(resent) == [record.uuid for record in records]


def test_one_that_tells_of_another_type_is_no_answer_to_a_question() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    begun = bench.now
    while bench.now < begun + 60:
        bench.step(0.25)
        for kind, uuid in asked(bench):
            assert kind in QUESTIONS, f"{uuid} was sent again"
            denied = {"code": "taskNotFound", "message": "m", "taskType": record.task_type}
            bench.say({"errors": [denied]})
            bench.say({"data": [{"taskType": kind, "status": "processing"}]})
    assert not record.ended


def test_what_a_server_that_gives_empty_answers_leaves_out_is_asked_about_again_soon() -> None:
    bench, (known, unknown), _ = _two_in_one_frame()
    bench.say({"data": []})
    due: list[dict[str, Any]] = []
    while not due:
        bench.step(0.25)
        due = questions(bench)
    assert [each["taskUUID"] for each in due] == [known.uuid, unknown.uuid]
    bench.say({"data": [{**due[0], "status": "processing"}]})
    asked_before = unknown.ladder.asks
    bench.step(4)
    questions(bench)
    assert unknown.ladder.asks > asked_before
