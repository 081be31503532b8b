"""Streams in the core: pieces in order, and what a cut does to them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import MOST_PENDING, Deltas
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import StreamInterrupted
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, item, uuid_of
from tests.core.questions import QUESTIONS, deny, questions, unsent


def stream(bench: Bench, **options: Any) -> tuple[TaskRecord, Deltas]:
    """A stream that is on the wire."""
    deltas = Deltas()
    record = bench.task(delivery="stream", deltas=deltas, **options)
    bench.written()
    return record, deltas


def piece(bench: Bench, record: TaskRecord, text: str, **extra: Any) -> None:
    """The peer pushes a piece."""
    body = {"taskType": record.task_type, "taskUUID": record.uuid, "delta": {"text": text}}
    bench.say({"data": [{**body, **extra}]})


def handed_on(deltas: Deltas) -> list[str]:
    """The texts that a reader sees."""
    return [entry["delta"].get("text", "") for entry in deltas.pending]


def test_pieces_are_handed_on_in_order_and_make_the_whole() -> None:
    bench = Bench()
    bench.begin()
    record, pieces = stream(bench)
    for text in ("a", "b", "a"):
        piece(bench, record, text)
    assert handed_on(pieces) == ["a", "b", "a"]
    assert not record.ended
    piece(bench, record, "!", finishReason="stop", cost=0.5)
    assert record.state is TaskState.DONE
    (result,) = record.items
    assert (result["text"], result["finishReason"], result["cost"]) == ("aba!", "stop", 0.5)


def test_one_whole_result_is_one_piece() -> None:
    bench = Bench()
    bench.begin()
    record, pieces = stream(bench)
    bench.answer(record, "all of it", finishReason="stop")
    assert handed_on(pieces) == ["all of it"]
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("session", [SESSION, OTHER_SESSION])
@pytest.mark.parametrize("replayed", [["b", "c"], ["a", "b", "c"], ["c"], []])
def test_after_a_cut_the_rest_comes_as_one_piece_out_of_the_archive(
    session: str, replayed: list[str]
) -> None:
    bench = Bench()
    bench.begin()
    record, pieces = stream(bench)
    piece(bench, record, "a")
    bench.cut()
    bench.reconnect(session)
    for text in replayed:
        piece(bench, record, text)
    if replayed:
        piece(bench, record, "!", finishReason="stop")
    assert handed_on(pieces) == ["a"], "nobody can tell where these pieces belong"
    bench.step(1)
    (question,) = [task for task in bench.written() if task["taskType"] == "getTaskDetails"]
    whole = item(record, "abc!", finishReason="stop")
    bench.say({"data": [{**question, "response": {"data": [whole]}}]})
    assert handed_on(pieces) == ["a", "bc!"]
    assert record.state is TaskState.DONE
    assert record.items == [whole]


def test_a_whole_that_does_not_fit_interrupts_the_stream() -> None:
    bench = Bench()
    bench.begin()
    record, pieces = stream(bench)
    piece(bench, record, "abc")
    bench.cut()
    bench.reconnect()
    bench.answer(record, "another answer")
    assert not record.ended, "what is pushed after a cut may be the last part only"
    bench.archive(record, item(record, "another answer"))
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, StreamInterrupted)
    assert failure.text == "abc"
    assert handed_on(pieces) == ["abc"]


def test_a_whole_that_is_pushed_after_a_cut_is_believed_once_the_archive_says_the_same() -> None:
    bench = Bench()
    bench.begin()
    record, deltas = stream(bench)
    piece(bench, record, "ha")
    bench.cut()
    bench.reconnect()
    bench.answer(record, "haha", finishReason="stop")
    assert (record.ended, handed_on(deltas)) == (False, ["ha"])
    whole = item(record, "hahaha", finishReason="stop")
    bench.archive(record, whole)
    assert handed_on(deltas) == ["ha", "haha"]
    assert record.items == [whole]


def test_a_stream_that_is_sent_again_asks_for_its_whole() -> None:
    bench = Bench()
    bench.begin()
    record, deltas = stream(bench)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.resent(record)
    assert orjson.loads(record.payload)["deliveryMethod"] == "sync"
    bench.answer(record, "whole")
    assert handed_on(deltas) == ["whole"]
    assert record.state is TaskState.DONE


def test_a_second_try_does_not_take_the_first_ones_deltas_for_its_own() -> None:
    bench = Bench()
    bench.begin()
    first, _ = stream(bench)
    piece(bench, first, "a")
    bench.core.cancel(first, bench.now)
    bench.numbers -= 1
    record, deltas = stream(bench)
    assert record.uuid == first.uuid
    piece(bench, record, "b", finishReason="stop")
    assert handed_on(deltas) == [], "it began with another"
    assert not record.ended
    bench.step(1)
    (question,) = bench.written()
    assert question["taskType"] == "getTaskDetails"
    bench.say({"data": [{**question, "response": item(record, "ab", finishReason="stop")}]})
    assert handed_on(deltas) == ["ab"]
    assert record.state is TaskState.DONE


def test_a_second_try_does_not_take_the_first_ones_last_part_for_the_whole() -> None:
    bench = Bench()
    bench.begin()
    first, _ = stream(bench, timeout=5)
    piece(bench, first, "a")
    bench.step(6)
    bench.numbers -= 1
    record, deltas = stream(bench)
    bench.say({"data": [item(record, "b", finishReason="stop")]})
    assert (record.ended, handed_on(deltas)) == (False, [])
    bench.archive(record, item(record, "ab", finishReason="stop"))
    assert handed_on(deltas) == ["ab"]


LAST: list[dict[str, Any]] = [
    {"delta": {"text": "c"}, "finishReason": "stop"},
    {"delta": {"text": "c"}, "finishReason": "stop", "status": "success"},
    {"text": "c", "finishReason": "stop"},
    {"delta": {}, "finishReason": "stop"},
    {"finishReason": "stop"},
]
"""The last piece of a stream, in forms that it may have."""

FORMS = ["delta", "status", "fields", "empty", "bare"]


def until_asked(bench: Bench, record: TaskRecord) -> None:
    """Polls know nothing, until the archive is asked."""
    while (question := unsent(bench, 10)[0]["taskType"]) != "getTaskDetails":
        deny(bench, record, question)


@pytest.mark.parametrize("last", LAST, ids=FORMS)
@pytest.mark.parametrize(
    "life", ["in this process", "to be polled", "forgotten", "adopted", "by its key"]
)
def test_the_last_piece_of_a_first_try_is_no_answer_to_a_second_that_wants_the_whole(
    life: str, last: dict[str, Any]
) -> None:
    bench = Bench(journaled=life in ("adopted", "by its key"))
    bench.begin()
    if life in ("in this process", "to be polled"):
        first, _ = stream(bench, timeout=5)
        piece(bench, first, "ab")
        bench.step(6)
        bench.numbers -= 1
        record = bench.task(delivery="async" if life == "to be polled" else "sync")
    elif life == "forgotten":
        first, _ = stream(bench, timeout=900)
        bench.core.cancel(first, bench.now)
        for _ in range(500):
            # It flows on for longer than a taskUUID is remembered.
            bench.step(1)
            piece(bench, first, "a")
            if bench.written():
                bench.say({"data": [{"taskType": "ping", "pong": True}]})
        bench.numbers -= 1
        record = bench.task()
    else:
        adopted = life == "adopted"
        record = bench.task(delivery="stream" if adopted else "async")
        if not adopted:
            body = {"taskType": record.task_type, "taskUUID": uuid_of(99)}
            payload = orjson.dumps({**body, "deliveryMethod": "stream"})
            bench.core.rebind(record, uuid_of(99), payload)
        bench.core.entered(record, bench.now, known=True)
        bench.take()
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid, **last}]})
    assert not record.ended
    until_asked(bench, record)
    about = {"taskType": "getTaskDetails", "taskUUID": record.uuid}
    bench.say({"data": [{**about, "response": item(record, "abc", finishReason="stop")}]})
    ended(record, TaskState.DONE)
    assert [each["text"] for each in record.items] == ["abc"]


@pytest.mark.parametrize("last", LAST, ids=FORMS)
@pytest.mark.parametrize("life", ["pieces came", "asked for as a stream", "by its key"])
def test_the_last_piece_of_what_another_process_sent_is_not_kept_as_its_answer(
    life: str, last: dict[str, Any]
) -> None:
    bench = Bench(journaled=life == "by its key")
    bench.begin()
    about = {"taskType": "textInference", "taskUUID": uuid_of(99)}
    if life == "pieces came":
        bench.say({"data": [{**about, "delta": {"text": "ab"}}]})
    bench.say({"data": [{**about, **last}]})
    if life == "by its key":
        record = bench.task(delivery="async")
        payload = orjson.dumps({**about, "deliveryMethod": "stream"})
        bench.core.rebind(record, uuid_of(99), payload)
        bench.core.entered(record, bench.now, known=True)
        bench.take()
    else:
        assert life != "pieces came" or bench.core.claim(uuid_of(99)) is None
        bench.numbers = 98
        streamed = life == "asked for as a stream"
        deltas = Deltas() if streamed else None
        record = bench.task(delivery="stream" if streamed else "sync", deltas=deltas)
    assert not record.ended
    until_asked(bench, record)
    whole = item(record, "abc", finishReason="stop")
    bench.say({"data": [{**about, "taskType": "getTaskDetails", "response": whole}]})
    ended(record, TaskState.DONE)
    assert [each["text"] for each in record.items] == ["abc"]


def test_pieces_for_a_task_that_is_no_stream_are_a_sign_of_life() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    piece(bench, record, "He")
    assert not record.ended
    bench.answer(record, "Hello")
    assert record.items[0]["text"] == "Hello"


def test_a_slow_reader_is_bounded_and_loses_nothing() -> None:
    pieces = Deltas()
    for number in range(MOST_PENDING + 1000):
        pieces.add({"taskUUID": "u", "delta": {"text": f"{number} "}}, 0.0)
    assert len(pieces.pending) == MOST_PENDING // 2 + 1000
    assert "".join(handed_on(pieces)) == pieces.text()


def call_delta(bench: Bench, record: TaskRecord, arguments: str, **fields: Any) -> None:
    """The peer pushes a piece of a tool call."""
    body = {"taskType": record.task_type, "taskUUID": record.uuid}
    entry = {"index": 0, **fields, "arguments": arguments}
    bench.say({"data": [{**body, "delta": {"toolCalls": [entry]}}]})


def test_calls_are_in_the_result() -> None:
    bench = Bench()
    bench.begin()
    record, _ = stream(bench)
    call_delta(bench, record, '{"a":', id="x", name="f")
    call_delta(bench, record, "{}", index=1, id="y", name="g")
    call_delta(bench, record, "1}")
    piece(bench, record, "", finishReason="tool_calls")
    assert record.state is TaskState.DONE
    assert record.items[0]["toolCalls"] == [
        {"id": "x", "name": "f", "arguments": '{"a":1}'},
        {"id": "y", "name": "g", "arguments": "{}"},
    ]


@pytest.mark.parametrize(
    ("arguments", "rest"), [({"a": 12}, "2}"), ('{"a" : 12}', None), ({"b": 12}, None)]
)
def test_after_a_cut_a_call_gets_its_rest_or_the_stream_is_interrupted(
    arguments: Any, rest: str | None
) -> None:
    bench = Bench()
    bench.begin()
    record, deltas = stream(bench)
    call_delta(bench, record, '{"a":1 ' if isinstance(arguments, str) else '{"a":1', name="f")
    bench.cut()
    bench.reconnect()
    bench.archive(record, item(record, "", toolCalls=[{"name": "f", "arguments": arguments}]))
    if rest is None:
        assert isinstance(ended(record, TaskState.FAILED), StreamInterrupted)
        assert len(deltas.pending) == 1
    else:
        assert record.state is TaskState.DONE
        assert deltas.pending[-1]["delta"] == {"toolCalls": [{"index": 0, "arguments": rest}]}


def test_the_last_part_of_a_stream_may_be_no_delta() -> None:
    bench = Bench()
    bench.begin()
    record, deltas = stream(bench)
    piece(bench, record, "How ")
    bench.answer(record, "many", finishReason="stop")
    assert handed_on(deltas) == ["How ", "many"]
    assert record.state is TaskState.DONE
    assert record.items == [item(record, "How many", finishReason="stop")]


@pytest.mark.parametrize("taken", [0.25, 1.75], ids=["in time", "late"])
@pytest.mark.parametrize("began", [0, 6])
def test_what_may_answer_a_poll_is_not_taken_for_the_last_part(began: int, taken: float) -> None:
    bench = Bench(question_timeout=1.0)
    bench.begin()
    bench.step(began)
    record, deltas = stream(bench, timeout=60.0)
    piece(bench, record, "How ")
    bench.say({"number": 0})  # It may have been anything.
    while not any(task["taskType"] == "getResponse" for task in questions(bench)):
        bench.step(0.25)
    bench.step(taken)
    bench.answer(record, "how many", status="success")
    assert handed_on(deltas) == ["How "]
    assert not record.items


@pytest.mark.parametrize(
    ("had", "rest"),
    [
        ('{"city": "Z\\u00fcr', 'ich\\ud83d\\ude00"}'),
        ('{"city":"Zür', 'ich\U0001f600"}'),
        ('{"city":"Zürich\\ud83d', '\\ude00"}'),
        ('{"city":"Zürich\\ud83d\\ud', None),
        ('{"city":"Zur', None),
    ],
)
def test_after_a_cut_a_call_may_be_told_with_other_escapes(had: str, rest: str | None) -> None:
    bench = Bench()
    bench.begin()
    record, deltas = stream(bench)
    call_delta(bench, record, had, name="f")
    bench.cut()
    bench.reconnect()
    call = {"name": "f", "arguments": {"city": "Zürich\U0001f600"}}
    bench.archive(record, item(record, "", toolCalls=[call]))
    if rest is None:
        assert isinstance(ended(record, TaskState.FAILED), StreamInterrupted)
    else:
        assert deltas.pending[-1]["delta"] == {"toolCalls": [{"index": 0, "arguments": rest}]}


def test_the_archive_never_has_the_last_part_only() -> None:
    """Nothing was cut, but what was asked for is whole, or it is none."""
    bench = Bench()
    bench.begin()
    record, deltas = stream(bench, timeout=15.0)
    piece(bench, record, "How ")
    bench.step(14.5)
    (question,) = [task for task in bench.written() if task["taskType"] == "getTaskDetails"]
    bench.say({"data": [{**question, "response": {"data": [item(record, "many")]}}]})
    assert isinstance(ended(record, TaskState.FAILED), StreamInterrupted)
    assert handed_on(deltas) == ["How "]


def test_a_polls_final_answer_is_the_whole_of_a_stream_that_was_cut() -> None:
    bench = Bench()
    bench.begin()
    record, deltas = stream(bench)
    piece(bench, record, "ha")
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    while not record.ended:
        bench.step(0.25)
        for task in bench.written():
            if task["taskType"] == "getTaskDetails":
                told = {"code": "archiveUnavailable", "message": "m", "taskUUID": record.uuid}
                bench.say({"errors": [told]})
            elif task["taskType"] == "getResponse":
                bench.say({"data": [item(record, "haha", status="success")]})
    assert handed_on(deltas) == ["ha", "ha"]
    assert record.state is TaskState.DONE


def test_a_whole_that_is_not_believed_is_not_asked_for_again_and_again() -> None:
    bench = Bench(question_window=2, question_timeout=4)
    bench.begin()
    record, _ = stream(bench, timeout=60)
    bench.task(timeout=60)
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    asked = 0
    while not record.ended:
        due = questions(bench)
        for question in due:
            # The archive never answers: it is given up, and has its half of the window.
            if question == {"taskType": "getResponse", "taskUUID": record.uuid}:
                asked += 1
                bench.say({"data": [item(record, "whole")]})
                assert asked < 20
        if not due:
            bench.step(0.25)
    assert asked > 1


def given_up_and_asked_about(bench: Bench, kind: str) -> tuple[TaskRecord, TaskRecord]:
    """A stream that was given up behind its first piece, and the caller's question about it."""
    bench.begin()
    record, _ = stream(bench)
    piece(bench, record, "a")
    bench.core.cancel(record, bench.now)
    payload = orjson.dumps({"taskType": kind, "taskUUID": record.uuid})
    question = TaskRecord(record.uuid, kind, payload, deadline=bench.now + 60, now=bench.now)
    bench.core.submit(question)
    assert bench.written() == [orjson.loads(payload)]
    return record, question


@pytest.mark.parametrize("kind", QUESTIONS)
@pytest.mark.parametrize("last", LAST[:3], ids=FORMS[:3])
def test_a_piece_of_a_stream_that_was_given_up_answers_no_question_about_it(
    kind: str, last: dict[str, Any]
) -> None:
    bench = Bench()
    record, question = given_up_and_asked_about(bench, kind)
    piece(bench, record, "b")
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid, **last}]})
    assert not question.ended
    claimed = bench.core.claim(record.uuid)
    assert claimed is not None, "the question takes nothing from the stream"
    assert claimed[0]["text"] == "abc"
    answer = {"taskType": record.task_type, "taskUUID": record.uuid, "text": "abc"}
    if kind == "getResponse":
        bench.say({"data": [{**answer, "status": "success"}]})
    else:
        about = {"taskType": kind, "taskUUID": record.uuid}
        bench.say({"data": [{**about, "response": {"data": [answer]}}]})
    ended(question, TaskState.DONE)
