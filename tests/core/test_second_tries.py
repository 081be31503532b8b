"""A second try under the same taskUUID: what came for the first is its answer, and its end is true.

The first try is given up after it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.tombstones import LOT
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import (
    ConfigurationError,
    InvalidTask,
    OutcomeUnknown,
    ProtocolError,
    StreamInterrupted,
    Submitted,
    TaskError,
    TaskTimeout,
)
from runware_ws.events import LateResult
from runware_ws.models.results import RecoveredBy

from .bench import SESSION, Bench, ended, error, item, uuid_of
from .http_bench import CUT, HttpBench
from .questions import deny, questions, unsent


def _given_up(**options: Any) -> tuple[Bench, TaskRecord]:
    bench = Bench(**options)
    record = bench.begin_written()
    bench.core.cancel(record, bench.now)
    return bench, record


def _again(bench: Bench, **options: Any) -> TaskRecord:
    bench.numbers = 0
    return bench.task(**options)


def test_a_first_try_in_a_frame_that_never_touched_the_socket_left_no_trace() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    frame = bench.core.next_frame(bench.now)
    assert frame is not None
    bench.core.cancel(record, bench.now)
    bench.core.not_written(bench.core.generation, frame)
    again = _again(bench, size=10)
    assert [task["taskType"] for task in bench.written()] == ["textInference"]
    bench.answer(again)
    assert again.recovered_by is RecoveredBy.LIVE


@pytest.mark.parametrize("waiting", [False, True], ids=["admitted", "waiting for room"])
def test_one_in_an_outage_ends_as_unknown(waiting: bool) -> None:
    bench, _ = _given_up(max_in_flight=1)
    bench.cut()
    if waiting:
        bench.numbers = 50
        bench.task()
    again = _again(bench, timeout=5)
    assert again.state is (TaskState.WAITING if waiting else TaskState.QUEUED)
    bench.step(6)
    error = ended(again, TaskState.UNKNOWN)
    assert isinstance(error, OutcomeUnknown)
    assert error.submitted is Submitted.MAYBE
    assert not error.safe_to_resend
    assert "not sent" in error.message
    assert again.sends == 0
    # A third try is a second try too.
    bench.ready()
    third = _again(bench)
    assert {task["taskType"] for task in bench.written() if task["taskUUID"] == third.uuid} <= {
        "getTaskDetails"
    }


def test_one_that_is_only_asked_about_ends_as_unknown() -> None:
    bench, _ = _given_up()
    again = _again(bench, timeout=5)
    assert [task["taskType"] for task in bench.written()] == ["getTaskDetails"]
    bench.step(6)
    assert isinstance(ended(again, TaskState.UNKNOWN), OutcomeUnknown)


def test_one_that_the_server_runs_ends_as_a_timeout() -> None:
    bench, _ = _given_up()
    again = _again(bench, timeout=5)
    bench.written()
    bench.say({"data": [{"taskUUID": again.uuid, "status": "processing"}]})
    bench.step(6)
    error = ended(again, TaskState.TIMED_OUT)
    assert isinstance(error, TaskTimeout)
    assert error.submitted is Submitted.YES


@pytest.mark.parametrize("connected", [True, False])
def test_a_late_result_that_waits_for_a_claim_is_its_answer(connected: bool) -> None:
    bench, record = _given_up(max_in_flight=1)
    bench.answer(record, "late")
    if not connected:
        bench.cut()
    bench.numbers = 50
    bench.task()
    bench.written()
    again = _again(bench)
    assert again.state is TaskState.DONE
    assert again.items == [item(record, "late")]
    assert again.recovered_by is RecoveredBy.REPLAY
    assert again in bench.resolved()
    assert bench.written() == []
    assert bench.core.claim(record.uuid) is None
    assert bench.core.in_flight == 1
    with pytest.raises(InvalidTask, match="used before"):
        _again(bench)


def _late_receipts(record: TaskRecord) -> list[dict[str, Any]]:
    named = {"taskUUID": record.uuid, "ticket": "t"}
    return [
        {**named, "taskType": record.task_type},
        {**named, "taskType": record.task_type, "status": 202},
        {**named, "taskType": "getResponse"},
        {
            "taskType": "getTaskDetails",
            "taskUUID": record.uuid,
            "response": {"data": [{**named, "taskType": record.task_type}]},
        },
    ]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("delivery", ["sync", "async"])
def test_async_a_late_receipt_is_no_answer(delivery: str, number: int) -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async")
    bench.core.cancel(record, bench.now)
    bench.say({"data": [_late_receipts(record)[number]]})
    assert bench.core.claim(record.uuid) is None
    assert bench.events(LateResult) == []
    again = _again(bench, delivery=delivery)
    assert not again.ended
    bench.answer(again, "the answer", status="success")
    assert [each["text"] for each in again.items] == ["the answer"]


def test_async_nor_is_one_of_an_earlier_process() -> None:
    bench = Bench()
    bench.begin()
    stranger = TaskRecord(uuid_of(1), "textInference", b"{}")
    bench.say({"data": [_late_receipts(stranger)[0]]})
    record = bench.task(delivery="async")
    assert not record.ended
    assert record.submitted is Submitted.YES
    assert questions(bench)[0]["taskType"] == "getResponse"


def test_a_result_for_a_taskuuid_of_an_earlier_process_is_an_answer_too() -> None:
    bench = Bench()
    bench.begin()
    stranger = TaskRecord("c0ffee00-0000-4000-8000-000000000000", "textInference", b"{}")
    bench.answer(stranger, "theirs")
    record = TaskRecord(stranger.uuid, "textInference", b"{}", now=bench.now)
    bench.core.submit(record)
    assert record.items == [item(stranger, "theirs")]
    assert bench.written() == []


def _too_big() -> tuple[Bench, TaskRecord]:
    """Each of its answers ends the socket, until it is known to be the one."""
    bench = Bench()
    record = bench.begin_written()
    for _ in range(4):
        bench.cut(loss=Loss(LossKind.INBOUND_TOO_BIG, detail="frame over the limit"))
        bench.reconnect("another session")
        bench.step(1)
        questions(bench)
    assert isinstance(record.error, ProtocolError)
    return bench, record


def _begins_otherwise() -> tuple[Bench, TaskRecord]:
    """What had arrived of a stream is not the beginning of the answer that the archive has."""
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "abc")
    bench.end(record, CUT)
    (question,) = questions(bench)
    bench.say({"data": [{**question, "response": item(record, "xyz")}]})
    assert isinstance(record.error, StreamInterrupted)
    return bench, record


def _cannot_be_posted() -> tuple[Bench, TaskRecord]:
    """The way there is wrong, which may be put right."""
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.end(record, PostEnding(Ending.REFUSED, Loss(LossKind.CANNOT_DIAL, detail="no proxy")))
    assert isinstance(record.error, ConfigurationError)
    return bench, record


@pytest.mark.parametrize("fails", [_too_big, _begins_otherwise, _cannot_be_posted])
def test_what_ended_without_a_verdict_of_the_server_may_be_asked_for_again(
    fails: Callable[[], tuple[Bench, TaskRecord]],
) -> None:
    """It is asked about first, so it does not run twice."""
    bench, record = fails()
    assert record.state is TaskState.FAILED
    again = _again(bench, delivery="async")
    while not again.ended:
        for question in unsent(bench, 10):
            if question["taskType"] == "getTaskDetails":
                bench.say({"data": [{**question, "response": item(record, "small")}]})
            else:
                deny(bench, record, question["taskType"])
    assert [each["text"] for each in again.items] == ["small"]
    with pytest.raises(InvalidTask, match="used before"):
        _again(bench, delivery="async")


def test_some_of_several_count_and_the_rest_is_asked_for() -> None:
    bench = Bench()
    record = bench.begin_written(expected=3)
    bench.core.cancel(record, bench.now)
    bench.answer(record, "a", resultIndex=0)
    bench.answer(record, "c", resultIndex=2)
    again = _again(bench, expected=3)
    assert [each["text"] for each in again.items] == ["a", "c"]
    assert again.submitted is Submitted.YES
    listing = [item(record, text, resultIndex=place) for place, text in enumerate("abc")]
    assert [task["taskType"] for task in bench.written()] == ["getTaskDetails"]
    bench.say(
        {
            "data": [
                {
                    "taskType": "getTaskDetails",
                    "taskUUID": record.uuid,
                    "response": {"data": listing},
                }
            ]
        }
    )
    assert again.state is TaskState.DONE
    assert sorted(each["text"] for each in again.items) == ["a", "b", "c"]


@pytest.mark.parametrize("end", ["timeout", "unknown", "cancelled", "closed"])
def test_some_of_several_that_came_in_time_are_not_lost(end: str) -> None:
    bench = Bench()
    record = bench.begin_written(expected=3, timeout=10)
    bench.answer(record, "b", resultIndex=1)
    bench.answer(record, "a", resultIndex=0)
    if end == "cancelled":
        bench.core.cancel(record, bench.now)
    elif end == "closed":
        bench.core.close(bench.now)
    else:
        if end == "unknown":
            bench.cut()
        bench.step(10)
    assert record.ended
    if end == "closed":
        assert [each["text"] for each in bench.core.claim(record.uuid) or ()] == ["b", "a"]
        return
    if end != "unknown":
        bench.answer(record, "b", resultIndex=1)
        bench.answer(record, "c", resultIndex=2)
        assert [each["text"] for each in _again(bench, expected=3).items] == ["b", "a", "c"]
    else:
        again = _again(bench, expected=3)
        assert [each["text"] for each in again.items] == ["b", "a"]
        assert again.submitted is Submitted.YES
    assert bench.core.claim(record.uuid) is None


def test_those_beside_an_error_stand_in_it() -> None:
    bench = Bench()
    record = bench.begin_written(expected=3)
    bench.answer(record, "a")
    bench.refuse(record, "inferenceError", taskType=record.task_type)
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert [each["text"] for each in failure.items] == ["a"]
    assert bench.core.claim(record.uuid) is None


def test_more_than_are_wanted_are_cut() -> None:
    bench = Bench()
    record = bench.begin_written(expected=3)
    bench.core.cancel(record, bench.now)
    for place in range(3):
        bench.answer(record, f"{place}", resultIndex=place)
    assert [each["text"] for each in _again(bench, expected=2).items] == ["0", "1"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("answered", [False, True], ids=["open", "its answer waits"])
def test_another_task_under_the_same_taskuuid_is_refused(*, answered: bool, packed: bool) -> None:
    bench, record = _given_up()
    if packed:
        for _ in range(LOT):
            bench.core.cancel(bench.written_task(), bench.now)
    if answered:
        bench.answer(record)
    bench.numbers = 0
    with pytest.raises(InvalidTask, match="used before for another task"):
        bench.task(size=5)
    assert questions(bench) == []
    again = _again(bench)
    assert again.ended is answered
    bench.step(3)
    assert [each["taskUUID"] for each in questions(bench)] == [record.uuid] * (not answered)


@pytest.mark.parametrize("flows", [False, True], ids=["its answer waits", "it still flows"])
def test_another_task_is_refused_as_long_as_an_answer_of_the_first_may_be_had(flows: bool) -> None:
    bench = Bench()
    deltas = Deltas() if flows else None
    record = bench.begin_written(deltas=deltas, delivery="stream" if flows else "sync")
    bench.core.cancel(record, bench.now)
    if not flows:
        bench.answer(record)
    other = bench.written_task()
    bench.core.cancel(other, bench.now)
    for _ in range(40):
        bench.step(10)
        if flows:
            bench.say({"data": [{"taskUUID": record.uuid, "delta": {"text": "a"}}]})
    sizes = bench.core.sizes()
    assert (sizes["tombstones"], sizes["requests"]) == (0, 1)
    bench.numbers = 0
    with pytest.raises(InvalidTask, match="used before for another task"):
        bench.task(size=5)
    _again(bench)
    assert bench.core.sizes()["requests"] == 0
    # The other one has been forgotten.
    assert bench.task(size=5).uuid == other.uuid


def test_large_tasks_are_compared_too() -> None:
    bench = Bench()
    bench.begin()
    bench.core.cancel(bench.written_task(size=200_000), bench.now)
    bench.numbers = 0
    with pytest.raises(InvalidTask, match="used before for another task"):
        bench.task(size=200_001)


def test_of_very_many_given_up_at_once_the_last_are_compared() -> None:
    bench = Bench()
    bench.begin()
    records = [bench.written_task(size=(1 << 20) - number) for number in range(20)]
    for record in records:
        bench.core.cancel(record, bench.now)
    assert bench.core.sizes()["requests"] == 15
    bench.numbers = 5
    with pytest.raises(InvalidTask, match="used before for another task"):
        bench.task()
    bench.numbers = 4
    assert not bench.task().ended
    bench.core.close(bench.now)
    assert bench.core.sizes()["requests"] == 0


def test_the_same_task_spelled_otherwise_is_its_second_try() -> None:
    bench = Bench()
    bench.begin()

    def task(body: dict[str, Any]) -> TaskRecord:
        payload = orjson.dumps({"taskType": "textInference", "taskUUID": uuid_of(1), **body})
        record = TaskRecord(uuid_of(1), "textInference", payload, deadline=bench.now + 9)
        bench.core.submit(record)
        bench.written()
        return record

    first = task({"temperature": 1, "topK": 5, "deliveryMethod": "sync", "includeCost": True})
    bench.core.cancel(first, bench.now)
    again = task({"topK": 5, "temperature": 1.0, "includeUsage": True})
    bench.answer(again)
    ended(again, TaskState.DONE)


@pytest.mark.parametrize("streamed", [True, False], ids=["a stream", "whole"])
def test_a_stream_that_was_left_is_the_answer_of_a_second_try(streamed: bool) -> None:
    bench = Bench()
    bench.begin(SESSION)
    record = bench.written_task(delivery="stream", deltas=Deltas())
    bench.say({"data": [{**_piece(record, "Hel")}]})
    bench.core.cancel(record, bench.now)
    bench.say({"data": [{**_piece(record, "lo"), "finishReason": "stop"}]})
    deltas = Deltas() if streamed else None
    again = _again(bench, delivery="stream" if streamed else "sync", deltas=deltas)
    assert again.state is TaskState.DONE
    assert again.items[0]["text"] == "Hello"
    if deltas is not None:
        assert [delta["delta"]["text"] for delta in deltas.pending] == ["Hello"]
    assert bench.written() == []
    assert bench.core.sizes()["left"] == 0


def _piece(record: TaskRecord, text: str) -> dict[str, Any]:
    return {"taskType": record.task_type, "taskUUID": record.uuid, "delta": {"text": text}}


def test_one_that_is_asked_about_before_there_is_room_for_it_is_asked_about_once() -> None:
    bench = Bench(max_in_flight=1)
    bench.begin()
    first = bench.written_task(delivery="stream", deltas=Deltas())
    bench.core.cancel(first, bench.now)
    other = bench.written_task()
    again = _again(bench, timeout=60)
    assert again.state is TaskState.WAITING
    # The first try's last piece: the whole can be had.
    bench.say({"data": [{**_piece(first, "lo"), "delta": {}, "finishReason": "stop"}]})
    bench.say({"data": [item(first, "lo", finishReason="stop")]})
    asked = questions(bench)
    bench.answer(other)
    asked += questions(bench)
    assert [each["taskUUID"] for each in asked] == [again.uuid]


def test_a_denial_that_answers_the_first_try_does_not_end_the_second() -> None:
    bench, _ = _given_up()
    again = _again(bench)
    # The question of the first try is answered only now, and before the second try has asked.
    bench.say(
        {
            "error": {
                "code": "taskNotFound",
                "message": "there is no such task",
                "taskUUID": again.uuid,
                "taskType": again.task_type,
            }
        }
    )
    assert not again.ended
    bench.answer(again, "the answer")
    assert ended(again, TaskState.DONE) is None


@pytest.mark.parametrize("cut", ["", "before", "after"])
def test_what_answers_questions_of_the_first_try_does_not_end_the_second(cut: str) -> None:
    bench = Bench(question_window=1)
    first = bench.begin_in_doubt(SESSION, timeout=25)
    while not first.ended:
        bench.step(0.5)
        questions(bench)
    if cut == "after":
        # The question about another task is open, so this one is not asked about before the cut.
        bench.numbers = 70
        other = bench.written_task(timeout=900, delivery="async")
        while not other.ladder.asks:
            bench.step(0.5)
            questions(bench)
    if cut == "before":
        bench.cut()
    again = _again(bench)
    if cut == "after":
        assert not questions(bench)
        assert again.state is TaskState.RECOVERING
        bench.cut()
    if cut:
        bench.reconnect()
    else:
        assert questions(bench)
    for code in (*["providerUnavailable"] * 3, "somethingNobodyKnows"):
        # They may have waited for us all that time, and name no type.
        bench.refuse(again, code)
        assert not again.ended
    bench.answer(again)
    assert again.state is TaskState.DONE


def test_an_answer_to_a_poll_of_the_first_try_is_a_polls() -> None:
    bench = Bench()
    first = bench.begin_written(delivery="async", expected=2)
    bench.say({"data": [{"taskType": first.task_type, "taskUUID": first.uuid}]})
    bench.step(5)
    assert [task["taskType"] for task in bench.written()] == ["getResponse"]
    bench.core.cancel(first, bench.now)
    again = _again(bench, delivery="async", expected=2)
    bench.say({"data": [item(again, text, status="success") for text in ("one", "two")]})
    assert ended(again, TaskState.DONE) is None
    assert again.recovered_by is RecoveredBy.POLL


def test_a_verdict_that_polls_bring_is_heard_often_enough_before_the_deadline() -> None:
    # For all that is known the first try sent a copy, and this is what became of that one.
    bench, _ = _given_up(question_timeout=10, question_backoff_cap=30)
    record = _again(bench, delivery="async", timeout=60)
    begun = bench.now
    verdict = error(record, "insufficientCredits", taskType=record.task_type)
    while not record.ended:
        for _ in bench.written():
            running = bench.now < begun + 25
            note = item(record, status="processing")
            bench.say({"data": [note]} if running else {"errors": [verdict]})
        bench.step(0.5)
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    # What is open may have been answered by it, and is not waited for until its timeout.
    assert bench.now < begun + 35


def test_one_that_the_server_runs_is_polled_as_if_it_had_just_begun() -> None:
    """Nobody here knows how old it is: not as old as the clock."""
    bench = Bench(question_backoff_cap=30.0)
    bench.now += 10_000
    first = bench.begin_written(delivery="async")
    bench.core.cancel(first, bench.now)
    again = _again(bench, timeout=60, delivery="async")
    task = {"taskType": "textInference", "taskUUID": again.uuid, "status": "processing"}
    asked: list[float] = []
    until = bench.now + 5
    while bench.now < until:
        if any(each["taskUUID"] == again.uuid for each in bench.written()):
            asked.append(bench.now)
            bench.say({"data": [task]})
        bench.step(0.1)
    assert len(asked) > 4


def test_after_a_copy_it_is_asked_about_as_often_as_at_first() -> None:
    bench, _ = _given_up(resend_after=0, resend_early=True)
    record = _again(bench, timeout=300)
    while not bench.core.counters.resends:
        for task in bench.written():
            if task["taskUUID"] == record.uuid and "padding" not in task:
                bench.refuse(record, "taskNotFound", taskType=task["taskType"])
        bench.step(0.25)
    bench.refuse(record, "conflictTaskUUID")
    begun, asked = bench.now, 0
    while asked < 4:
        for task in bench.written():
            asked += 1
            bench.refuse(record, "taskNotFound", taskType=task["taskType"])
        bench.step(0.25)
    assert bench.now - begun < 10
