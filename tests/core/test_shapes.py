"""Items in shapes that only some servers write: null for what is not there, statuses and errors in
words of their own, numbers as text, answers that name nobody."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import TaskError
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, Bench, ended, item
from tests.core.questions import questions, say_about

NULLS: list[dict[str, Any]] = [
    {"text": None, "finishReason": None},
    {"text": None, "toolCalls": None, "delta": None, "error": None, "status": None},
    {"imageURL": None, "usage": None},
]
TROUBLE = {"code": "inferenceError", "message": "no"}


def _about(record: TaskRecord, **fields: Any) -> dict[str, Any]:
    return {"taskType": record.task_type, "taskUUID": record.uuid, **fields}


# Null is as not there


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("nulls", NULLS)
def test_a_receipt_whose_other_fields_are_null_is_a_receipt(
    delivery: str, nulls: dict[str, Any]
) -> None:
    bench = Bench(poll_first=1)
    record = bench.begin_written(delivery=delivery)
    bench.say({"data": [_about(record, **nulls)]})
    assert not record.ended
    bench.step(1)
    assert len(questions(bench)) == (delivery == "async"), "what is receipted is polled soon"
    bench.answer(record, status="success")
    assert [entry["text"] for entry in record.items] == ["yes"]


def test_a_note_whose_other_fields_are_null_is_a_note() -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.say({"data": [_about(record, **NULLS[1] | {"status": "processing", "progress": 40})]})
    assert record.ladder.progress is not None
    assert record.ladder.progress["progress"] == 40


def test_async_nor_does_a_field_that_nobody_knows_make_it_a_result() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async")
    bench.say({"data": [_about(record, text=None, imageURL=None, ticket="t")]})
    assert not record.ended


@pytest.mark.parametrize("nothing", [None, {}])
@pytest.mark.parametrize("late", [False, True])
def test_a_result_with_an_empty_delta_is_a_result(nothing: Any, late: bool) -> None:
    bench = Bench()
    record = bench.begin_written(timeout=10)
    if late:
        bench.step(10)
    bench.answer(record, finishReason="stop", delta=nothing)
    kept = bench.core.claim(record.uuid) if late else record.items
    assert [entry["text"] for entry in kept or ()] == ["yes"]


@pytest.mark.parametrize("empty", [{"code": None, "message": None}, [{"code": None}], {}, [{}]])
@pytest.mark.parametrize("field", ["error", "errors"])
def test_a_result_with_an_error_without_content_is_a_result(field: str, empty: Any) -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.answer(record, **{field: empty})
    assert record.state is TaskState.DONE


def test_equal_results_with_a_null_status_are_pushed_and_not_listed() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(expected=3)
    asked = ""
    while asked != "getResponse":
        bench.step(0.5)
        for question in questions(bench):
            asked = question["taskType"]
            if asked != "getResponse":
                say_about(bench, question, "internalServerError", "question")
    bench.say({"data": [item(record, "same", status=None)] * 2})
    assert len(record.items) == 1, "it may be one result and its copy"


def test_a_null_response_of_the_archive_is_no_denial_where_it_says_that_the_task_runs() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.step(1)
    (question,) = questions(bench)
    bench.say({"data": [{**question, "request": None, "response": None, "status": "processing"}]})
    assert record.ladder.confirmed


# Statuses that nobody knows


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("status", ["ERROR", "Failed", "rejected", "cancelled"])
def test_a_failure_in_other_words_is_a_failure(status: str, delivery: str) -> None:
    bench = Bench()
    record = bench.begin_written(delivery=delivery)
    bench.say({"data": [_about(record, status=status, error=TROUBLE)]})
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "inferenceError"


@pytest.mark.parametrize("status", ["PROCESSING", "generating"])
def test_a_note_in_other_words_is_no_result(status: str) -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.say({"data": [_about(record, status=status, stage="decoding")]})
    assert not record.ended
    bench.answer(record, status="Succeeded")
    assert record.items[0]["text"] == "yes"


@pytest.mark.parametrize("fields", [{}, {"queuePosition": 3}])
@pytest.mark.parametrize("status", [202, 1.0, True, {"code": 1}, []])
def test_a_receipt_with_a_status_that_is_no_word_is_no_result(
    status: Any, fields: dict[str, Any]
) -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.say({"data": [_about(record, status=status, **fields)]})
    assert not record.ended
    bench.answer(record, status=200)
    assert record.state is TaskState.DONE
    assert record.items[0]["text"] == "yes"


def test_async_a_success_in_capitals_without_output_is_the_end() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async")
    bench.say({"data": [_about(record, status="SUCCESS", somethingNew=1)]})
    assert record.state is TaskState.DONE


# What the archive keeps


def test_async_an_acknowledgement_that_the_archive_keeps_is_no_result() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async")
    bench.say({"data": [_about(record)]})
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    kept = _about(record, ticket="t")
    asked = 0
    while asked < 2:
        bench.step(1)
        for question in questions(bench):
            if question["taskType"] == "getResponse":
                say_about(bench, question, "taskNotFound", "question")
                continue
            asked += 1
            data = [kept] if asked == 1 else [kept, item(record, "done")]
            asked_for = [{"taskUUID": record.uuid}]
            bench.say({"data": [{**question, "request": asked_for, "response": {"data": data}}]})
            assert record.ended is (asked == 2)
    assert [entry["text"] for entry in record.items] == ["done"]


# Results that are hard to tell apart


@pytest.mark.parametrize("numbers", [("0", "1"), (0.0, 1.0), ("0", 1)])
def test_equal_results_are_told_apart_by_an_index_of_another_type(numbers: tuple[Any, Any]) -> None:
    bench = Bench()
    record = bench.begin_written(expected=2)
    for number in numbers:
        bench.answer(record, "same", resultIndex=number)
    assert len(record.items) == 2
    assert record.state is TaskState.DONE


def test_one_index_as_text_and_as_a_number_is_one_result() -> None:
    bench = Bench()
    record = bench.begin_written(expected=2)
    bench.answer(record, "same", resultIndex="0")
    bench.answer(record, "same", resultIndex=0)
    assert len(record.items) == 1


def test_an_index_that_counts_within_a_frame_loses_no_result() -> None:
    bench = Bench()
    record = bench.begin_written(expected=2)
    for text in ("one", "one", "two"):
        bench.answer(record, text, resultIndex=0)
    assert [entry["text"] for entry in record.items] == ["one", "two"]


# What names nobody


@pytest.mark.parametrize("uuid", [{}, {"taskUUID": ""}, {"taskUUID": None}, {"taskUUID": 7}])
def test_a_result_that_names_nobody_is_counted_and_its_kind_is_asked_for_soon(
    uuid: dict[str, Any],
) -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.say({"data": [{"taskType": record.task_type, "text": "whose?", **uuid}]})
    assert not record.ended
    assert bench.core.counters.strays == 1
    bench.archive(record, {"data": [item(record)]})
    assert record.recovered_by is RecoveredBy.ARCHIVE


def test_one_of_another_kind_asks_nothing() -> None:
    bench = Bench()
    bench.begin_written()
    bench.say({"data": [{"taskType": "imageInference", "imageURL": "u"}, {"taskType": "ping"}]})
    bench.step(2)
    assert not questions(bench)
    assert bench.core.counters.strays == 1


# Questions of the caller


@pytest.mark.parametrize("task_type", ["getResponse", "modelSearch"])
@pytest.mark.parametrize("cut", [False, True])
def test_the_answer_to_a_callers_question_is_all_that_came_with_it(
    task_type: str, cut: bool
) -> None:
    """Nothing in the question says how many results the other task has."""
    bench = Bench()
    record = bench.begin_written(task_type=task_type)
    if cut:
        bench.cut()
        bench.reconnect(OTHER_SESSION)
        assert [task["taskUUID"] for task in bench.written()] == [record.uuid]
    answers = [item(record, text, status="success", resultIndex=n) for n, text in enumerate("abc")]
    bench.say({"data": [*answers, answers[0]]})
    assert record.state is TaskState.DONE
    assert [entry["text"] for entry in record.items] == ["a", "b", "c"]
    assert bench.resolved() == [record]
    assert bench.core.counters.duplicates == 1
    bench.say({"data": [item(record, "d", status="success", resultIndex=3)]})
    assert len(record.items) == 3


@pytest.mark.parametrize("task_type", ["getResponse", "getTaskDetails", "modelSearch"])
def test_the_answer_to_a_callers_question_may_have_a_delta_that_is_null(task_type: str) -> None:
    bench = Bench()
    record = bench.begin_written(task_type=task_type)
    answer: dict[str, Any] = {"response": {"data": []}, "text": None, "delta": None, "status": None}
    bench.say({"data": [_about(record, **answer)]})
    assert record.items == [_about(record, **answer)]


@pytest.mark.parametrize("task_type", ["modelSearch", "getResponse"])
def test_an_entry_of_the_archive_is_no_answer_to_another_question_of_the_caller(
    task_type: str,
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, task_type=task_type)
    (question,) = questions(bench)
    assert question["taskType"] == "getTaskDetails"
    response = {"data": [item(record, "found")]}
    bench.say(
        {"data": [{**question, "taskType": task_type, "request": None, "response": response}]}
    )
    assert record.items == [item(record, "found")]
