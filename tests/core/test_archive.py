"""The archive may list the whole array that a task was sent in, and keep the refusal of a copy."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import OutcomeUnknown, TaskError
from tests.core.bench import OTHER_SESSION, Bench, ended, error, item


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
