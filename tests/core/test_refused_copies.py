"""The refusal of a copy does not tell what became of the first one, which may run.

It ends no such task; what the server insists on does.
"""

from __future__ import annotations

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.durations import FEW
from runware_ws.errors import OutcomeUnknown, Submitted, TaskError
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, error, item
from tests.core.questions import questions, say_about, say_kept, unsent


@pytest.mark.parametrize(
    "code", ["rateLimitExceeded", "insufficientCredits", "serviceUnavailable", "unauthorized"]
)
def test_a_copy_that_is_not_let_in_does_not_end_the_task(code: str) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.resent(record)
    bench.refuse(record, code, taskType=record.task_type)
    assert not record.ended
    bench.answer(record, "of the first copy")
    assert record.state is TaskState.DONE


def test_nor_does_one_that_is_replayed_on_each_socket() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=200)
    bench.resent(record)
    for _ in range(30):
        bench.refuse(record, "rateLimitExceeded", taskType=record.task_type)
        for question in questions(bench):
            say_about(bench, question, "taskNotFound", "question")
        bench.step(1)
        bench.cut()
        bench.reconnect()
    assert not record.ended
    bench.answer(record, "of the first copy")
    assert record.state is TaskState.DONE


def test_nor_does_such_a_refusal_that_the_archive_keeps_while_the_first_may_run() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=1_000)
    bench.resent(record)
    copied = bench.now
    bench.refuse(record, "rateLimitExceeded", taskType=record.task_type)
    told = 0
    while not record.ended:
        for question in unsent(bench, 60):
            if question["taskType"] == "getTaskDetails":
                told += 1
                say_kept(bench, record, question, errors=[error(record, "rateLimitExceeded")])
    # Nobody else says anything, and a task that runs would be done.
    assert told >= 2
    assert bench.now - copied >= 20
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_nor_does_one_that_a_poll_lists() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=1_000)
    assert record.learned is not None
    for _ in range(FEW):
        record.learned.observe(30)
    bench.resent(record, within=80)
    copied = bench.now
    bench.refuse(record, "rateLimitExceeded", taskType=record.task_type)
    failed = error(record, "rateLimitExceeded")
    told = 0
    while not record.ended:
        for question in unsent(bench, 60):
            if question["taskType"] == "getResponse":
                told += 1
                answer = {"taskType": record.task_type, "taskUUID": record.uuid}
                bench.say({"data": [{**answer, "status": "error", "error": failed}]})
    assert told >= 3
    assert bench.now - copied >= 60
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


@pytest.mark.parametrize("left", [7.5, 8, 15])
def test_async_there_is_time_to_hear_it_repeated_where_polls_only_meet_trouble(left: float) -> None:
    bench = Bench(poll_first=1)
    first = bench.begin_written(delivery="async")
    bench.core.cancel(first, bench.now)
    bench.numbers = 0
    record = bench.task(delivery="async", timeout=60)
    while bench.now < record.deadline - left:
        if questions(bench):
            bench.say({"data": [{"taskUUID": record.uuid, "status": "processing"}]})
        bench.step(0.25)
    bench.refuse(record, "internalServerError", taskType=record.task_type)
    while not record.ended:
        for question in unsent(bench, 60):
            if question["taskType"] == "getTaskDetails":
                say_kept(bench, record, question, errors=[error(record, "internalServerError")])
            else:
                say_about(bench, question, "internalServerError", "question")
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_where_the_first_may_run_to_the_deadline_the_task_ends_as_unknown() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=100)
    assert record.learned is not None
    for _ in range(FEW):
        record.learned.observe(30)
    bench.resent(record, within=80)
    assert bench.now + 60 > record.deadline, "no task that began now would be overdue by then"
    bench.refuse(record, "rateLimitExceeded", taskType=record.task_type)
    told = 0
    while due := unsent(bench, 60):
        for question in due:
            if question["taskType"] == "getTaskDetails":
                told += 1
                say_kept(bench, record, question, errors=[error(record, "rateLimitExceeded")])
            else:
                say_about(bench, question, "taskNotFound", "question")
    assert told >= 3
    failure = ended(record, TaskState.UNKNOWN)
    assert isinstance(failure, OutcomeUnknown)
    assert failure.submitted is Submitted.MAYBE


def test_after_a_conflict_what_the_server_insists_on_is_no_refusal_of_the_last_copy() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=1_000)
    bench.resent(record)
    copied = bench.now
    # The first copy fails while the second is on its way.
    bench.refuse(record, "insufficientCredits", taskType=record.task_type)
    bench.refuse(record, "conflictTaskUUID")
    assert not record.ended
    while not record.ended:
        for question in unsent(bench, 60):
            if question["taskType"] == "getTaskDetails":
                say_kept(bench, record, question, errors=[error(record, "insufficientCredits")])
            else:
                say_about(bench, question, "taskNotFound", "question")
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "insufficientCredits"
    assert 5 <= bench.now - copied < 15


@pytest.mark.parametrize("timeout", range(100, 130, 6))
def test_there_is_time_to_hear_such_a_refusal_as_often_as_it_takes(timeout: int) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=timeout)
    bench.resent(record)
    refused = False
    while not record.ended:
        for question in unsent(bench, 60):
            archive = question["taskType"] == "getTaskDetails"
            if archive and not refused:
                refused = True
                bench.refuse(record, "insufficientCredits", taskType=record.task_type)
            if not archive:
                say_about(bench, question, "taskNotFound", "question")
            elif bench.now < record.deadline - 10:
                bench.say({"data": [{**question, "request": [{"taskUUID": record.uuid}]}]})
            else:
                say_kept(bench, record, question, errors=[error(record, "insufficientCredits")])
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_also_where_the_next_question_was_planned_for_the_end() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=100)
    bench.resent(record)
    while not record.ended:
        for question in unsent(bench, 60):
            if record.ladder.barred is None:
                bench.say({"data": [{**question, "request": [{"taskUUID": record.uuid}]}]})
                if record.ladder.next_at > record.deadline - 5:
                    bench.refuse(record, "insufficientCredits", taskType=record.task_type)
            elif question["taskType"] == "getResponse":
                say_about(bench, question, "taskNotFound", "question")
            else:
                say_kept(bench, record, question, errors=[error(record, "insufficientCredits")])
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_what_the_archive_lists_beside_results_is_soon_the_end() -> None:
    bench = Bench(usual_duration=100)
    record = bench.begin_in_doubt(OTHER_SESSION, expected=2, timeout=1_000)
    bench.resent(record, within=400)
    copied = bench.now
    one, failed = item(record, resultIndex=0), error(record, "internalServerError")
    bench.say({"data": [one], "errors": [{**failed, "taskType": record.task_type}]})
    assert not record.ended, "the error may only refuse the copy"
    while not record.ended:
        for question in unsent(bench, 60):
            if question["taskType"] == "getTaskDetails":
                response = {"response": {"data": [one], "errors": [failed]}}
                bench.say({"data": [{**question, **response}]})
    assert bench.now < copied + 100, "it need not be so late that a task that runs would be done"
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert len(failure.items) == 1


@pytest.mark.parametrize("session", [SESSION, OTHER_SESSION])
def test_an_error_beside_results_is_the_end_though_older_questions_may_be_answered(
    session: str,
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(session, expected=2, timeout=2_000)
    one = item(record, "one", status="success")
    kinds: list[str] = []
    while not record.ended:
        for question in unsent(bench, 60):
            kinds.append(question["taskType"])
            if kinds[-1] == "getTaskDetails":
                bench.say({"data": []})
                continue
            bench.say({"data": [one]})
            bench.say({"errors": [error(record, "insufficientCredits")]})
            enough = kinds.count("getResponse") > 3
            assert not record.ended or enough, "it may answer an older question"
    assert bench.now < 1_500
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.items == (one,)
    assert "getTaskDetails" in kinds[kinds.index("getResponse") :], "nor is only one kind asked"


def test_one_refusal_for_each_copy_is_not_the_server_that_insists() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=1_000)
    for _ in range(5):
        bench.resent(record, within=200)
        # So late that a task that runs would be done, and with no question answered meanwhile.
        late = bench.now + 25
        while bench.now < late:
            bench.step(0.25)
            questions(bench)
        bench.refuse(record, "rateLimitExceeded", taskType=record.task_type)
        assert not record.ended, "the first copy may have run, and its result be lost"


def test_the_refusal_of_a_second_try_does_not_tell_what_became_of_the_first() -> None:
    bench = Bench()
    first = bench.begin_written(timeout=10)
    bench.step(10)
    assert first.ended
    bench.numbers = 0
    again = bench.task()
    bench.resent(again)
    bench.refuse(again, "rateLimitExceeded", taskType=again.task_type)
    assert not again.ended
