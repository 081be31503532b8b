"""The archive may list the whole array that a task was sent in, and keep the refusal of a copy."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import OutcomeUnknown, Submitted, TaskError
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, Bench, ended, error, item
from tests.core.questions import questions, say_kept, unsent


def three_in_doubt(bench: Bench) -> list[TaskRecord]:
    """Three tasks of one array, whose answers were lost in the cut."""
    bench.begin()
    records = [bench.task() for _ in range(3)]
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert len(bench.written()) == 3
    return records


def archived(records: list[TaskRecord], of: TaskRecord, **response: Any) -> dict[str, Any]:
    """The answer about one of them: request and response are those of the array."""
    request = [{"taskType": each.task_type, "taskUUID": each.uuid} for each in records]
    answer = {"taskType": "getTaskDetails", "taskUUID": of.uuid, "request": request}
    return {"data": [{**answer, "response": response}]}


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_a_listing_of_the_whole_array_gives_each_task_its_own(asked: int) -> None:
    bench = Bench()
    records = three_in_doubt(bench)
    data = [item(record, f"answer {number}") for number, record in enumerate(records)]
    bench.say(archived(records, records[asked], data=data[::-1]))
    for number, record in enumerate(records):
        assert record.state is TaskState.DONE
        assert record.items == [data[number]]


def test_what_names_no_task_in_a_shared_request_is_nobodys() -> None:
    bench = Bench()
    records = three_in_doubt(bench)
    bench.say(archived(records, records[0], data=[{"text": "whose?"}]))
    bench.say(archived(records, records[1], errors=[{"code": "inferenceError"}]))
    assert not any(record.ended for record in records)


def test_what_names_no_task_in_a_request_of_one_is_its_own() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.written()
    bench.say(archived([record], record, data=[{"text": "mine"}]))
    assert record.items == [{"text": "mine"}]


def test_the_error_of_another_task_of_the_array_is_that_tasks() -> None:
    bench = Bench()
    first, second, third = records = three_in_doubt(bench)
    told = archived(
        records, first, data=[item(third)], errors=[error(second, "contentPolicyViolation")]
    )
    bench.say(told)
    assert not first.ended, "the array was executed, and there is no word of this one yet"
    assert isinstance(ended(second, TaskState.FAILED), TaskError)
    assert third.state is TaskState.DONE


def test_a_listing_that_comes_late_for_one_task_still_serves_the_others() -> None:
    bench = Bench()
    first, second, third = records = three_in_doubt(bench)
    bench.answer(first, "pushed meanwhile")
    data = [item(first, "pushed meanwhile"), item(second, "two")]
    bench.say(archived(records, first, data=data, errors=[error(third, "inferenceError")]))
    assert second.items == [data[1]]
    assert isinstance(ended(third, TaskState.FAILED), TaskError)


def resent(bench: Bench, **options: Any) -> TaskRecord:
    """A task that was sent again while its first copy ran."""
    record = bench.begin_in_doubt(OTHER_SESSION, **options)
    bench.resent(record)
    bench.refuse(record, "conflictTaskUUID")
    return record


def until_archive_is_asked(bench: Bench, record: TaskRecord) -> bool:
    """Let time pass, while polls know nothing, until the archive is asked; False at the end."""
    while not record.ended:
        bench.step(0.25)
        for task in bench.written():
            if task["taskType"] == "ping":
                bench.say({"data": [{"taskType": "ping", "pong": True}]})
            elif task["taskType"] == "getResponse":
                bench.refuse(record, "taskNotFound", taskType="getResponse")
            else:
                assert task["taskType"] == "getTaskDetails"
                return True
    return False


def test_a_refusal_that_the_archive_keeps_is_a_receipt() -> None:
    bench = Bench()
    record = resent(bench, timeout=60)
    refusal = error(record, "conflictTaskUUID")
    until_archive_is_asked(bench, record)
    bench.say(archived([record], record, errors=[refusal]))
    assert not record.ended, "an executed task must not fail of its own copy's refusal"
    bench.answer(record, "the first copy's answer")
    assert record.items[0]["text"] == "the first copy's answer"


def test_where_nobody_has_the_answer_the_end_is_unknown() -> None:
    bench = Bench()
    record = resent(bench, timeout=60)
    refusal = error(record, "conflictTaskUUID")
    while not record.ended:
        if until_archive_is_asked(bench, record):
            bench.say(archived([record], record, errors=[refusal]))
    assert isinstance(ended(record, TaskState.UNKNOWN), OutcomeUnknown)


PIECES: list[dict[str, Any]] = [{"delta": {"text": "a"}}, {"delta": {"text": "b"}}]
"""The first pieces of a stream, as they were sent."""


SPENT: dict[str, Any] = {"usage": {"totalTokens": 3}}
ENDINGS: dict[str, tuple[list[dict[str, Any]], str, int | None]] = {
    "empty": ([{"delta": {}, "finishReason": "stop"}], "ab", None),
    "null": ([{"delta": None, "finishReason": "stop"}], "ab", None),
    "bare": ([{"finishReason": "stop"}], "ab", None),
    "part": ([{"text": "c", "finishReason": "stop"}], "abc", None),
    "whole": ([{"text": "abc", "finishReason": "stop"}], "abc", None),
    "spent-before": ([SPENT, {"finishReason": "stop"}], "ab", 3),
    "spent-behind": ([{"finishReason": "stop"}, SPENT], "ab", 3),
}
"""How a stream may end: with these pieces, as this text, at this price."""


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("listed", [False, True])
def test_pieces_of_a_stream_are_its_whole_however_the_last_one_looks(
    listed: bool, ending: str
) -> None:
    rest, text, spent = ENDINGS[ending]
    bench = Bench()
    deltas = Deltas()
    record = bench.begin_in_doubt(OTHER_SESSION, deltas=deltas)
    bench.written()
    about = {"taskType": record.task_type, "taskUUID": record.uuid}
    pieces = [{**about, **piece} for piece in PIECES + rest]
    bench.say(answer(record, pieces if listed else {"data": pieces}))
    ended(record, TaskState.DONE)
    (whole,) = record.items
    assert whole["text"] == text
    assert whole["finishReason"] == "stop"
    assert whole.get("usage", {}).get("totalTokens") == spent
    assert [piece["delta"] for piece in deltas.pending] == [{"text": text}]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("first", [False, True])
def test_a_whole_beside_its_pieces_is_the_whole(first: bool, ending: str) -> None:
    rest, text, _ = ENDINGS[ending]
    bench = Bench()
    deltas = Deltas()
    record = bench.begin_in_doubt(OTHER_SESSION, deltas=deltas)
    bench.written()
    about = {"taskType": record.task_type, "taskUUID": record.uuid}
    whole = item(record, text, finishReason="stop")
    pieces = [{**about, **piece} for piece in PIECES + rest]
    bench.say(answer(record, {"data": [whole, *pieces] if first else [*pieces, whole]}))
    ended(record, TaskState.DONE)
    assert [each["text"] for each in record.items] == [text]
    assert [piece["delta"] for piece in deltas.pending] == [{"text": text}]


def test_pieces_of_a_stream_without_the_last_one_are_no_result() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, deltas=Deltas())
    bench.written()
    about = {"taskType": record.task_type, "taskUUID": record.uuid}
    bench.say(answer(record, [{**about, **piece} for piece in [*PIECES, SPENT]]))
    assert not record.ended


def answer(record: TaskRecord, response: Any) -> dict[str, Any]:
    """The answer about a task that was sent alone."""
    about = {"taskType": "getTaskDetails", "taskUUID": record.uuid}
    return {"data": [{**about, "request": [{"taskUUID": record.uuid}], "response": response}]}


FAILURE = {"code": "contentPolicyViolation", "message": "not this one"}


@pytest.mark.parametrize(
    "failed",
    [
        {"status": "error", "error": FAILURE},
        {"status": "error", "errors": [FAILURE]},
        {"error": FAILURE},
        {"status": "error", **FAILURE},
    ],
    ids=["error", "errors", "without-status", "flat"],
)
@pytest.mark.parametrize("listed", [False, True])
def test_a_failed_item_in_the_archive_fails_with_its_own_words(
    listed: bool, failed: dict[str, Any]
) -> None:
    """An item with its error in it is documented for polls; the archive keeps what was sent."""
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.written()
    entry = {"taskType": record.task_type, "taskUUID": record.uuid, **failed}
    bench.say(answer(record, [entry] if listed else {"data": [entry]}))
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert (failure.code, failure.message) == (FAILURE["code"], FAILURE["message"])
    assert not failure.retryable


def test_a_receipt_in_an_item_of_the_archive_is_one() -> None:
    bench = Bench()
    record = resent(bench, timeout=60)
    until_archive_is_asked(bench, record)
    refusal = {"code": "conflictTaskUUID", "message": "used before"}
    entry = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "error"}
    bench.say(answer(record, {"data": [{**entry, "error": refusal}]}))
    assert not record.ended, "an executed task must not fail of its own copy's refusal"


def test_several_frames_in_the_archive_are_read_as_they_were_sent() -> None:
    """A task with several results may have been answered by several messages."""
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, expected=2)
    bench.written()
    bench.say(answer(record, [{"data": [item(record, text)]} for text in ("one", "two")]))
    ended(record, TaskState.DONE)
    assert [each["text"] for each in record.items] == ["one", "two"]


@pytest.mark.parametrize("first", [True, False])
def test_a_verdict_beside_a_refusal_of_a_copy_is_the_end(first: bool) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    (question,) = questions(bench)
    told = [error(record, "conflictTaskUUID"), error(record, "invalidPrompt")]
    say_kept(bench, record, question, errors=told if first else told[::-1])
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "invalidPrompt"


def test_the_error_of_one_of_several_results_waits_while_another_runs() -> None:
    bench = Bench()
    first, second = bench.begin_in_doubt(OTHER_SESSION, expected=2), bench.task(expected=2)
    question, _ = bench.written()
    runs = {"taskType": "textInference", "status": "processing"}
    failed = [error(each, "inferenceError") for each in (first, second)]
    data = [{**runs, "taskUUID": each.uuid} for each in (first, second)]
    say_kept(bench, first, question, data=data, errors=failed)
    assert not first.ended
    assert not second.ended
    # The other one is done: so is the task, and what came is not lost.
    (question,) = unsent(bench, 10)
    say_kept(bench, first, question, data=[item(first, "a")], errors=failed)
    for record, texts in ((first, ["a"]), (second, [])):
        failure = ended(record, TaskState.FAILED)
        assert isinstance(failure, TaskError)
        assert [each["text"] for each in failure.items] == texts


@pytest.mark.parametrize("told", ["textInference", "TEXTINFERENCE", None, "", 7])
@pytest.mark.parametrize("waits", [True, False])
def test_an_entry_is_known_by_request_and_response_whatever_its_type(
    told: str | int | None, waits: bool
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    (question,) = questions(bench)
    entry = {**question, "taskType": told, "request": [{"taskUUID": record.uuid}]}
    if told is None:
        del entry["taskType"]
    bench.say({"data": [{**entry, "response": {}}]})
    assert not record.ended
    assert record.submitted is Submitted.YES
    if not waits:
        bench.core.cancel(record, bench.now)
    bench.say({"data": [{**entry, "response": {"data": [item(record, "kept")]}}]})
    kept = list(record.items) if waits else bench.core.claim(record.uuid)
    assert kept == [item(record, "kept")]
    if waits:
        assert record.recovered_by is RecoveredBy.ARCHIVE


def test_a_result_that_tells_its_request_and_response_is_no_entry() -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.answer(record, "yes", request=[{}], response={"id": 1})
    assert record.state is TaskState.DONE
    assert record.items[0]["text"] == "yes"
