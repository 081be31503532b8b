"""Answers to questions in shapes and at times that only some servers have.

None ends a running task, none makes it be sent again while it may run, and a lost request is sent
all the same.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runware_ws._core.recovery import recovery
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.durations import FEW
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import OutcomeUnknown, Submitted, TaskError
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, error, item
from tests.core.test_questions import QUESTIONS, questions, say_about

_ASKED = {"taskType": "textInference"}


def _unsent(bench: Bench, seconds: int) -> list[dict[str, Any]]:
    """Let time pass until questions are due; return them. Nothing else may be sent."""
    for _ in range(4 * seconds):
        bench.step(0.25)
        if due := questions(bench):
            assert all(task["taskType"] in QUESTIONS for task in due), bench.now
            return due
    return []


def _say_kept(
    bench: Bench, record: TaskRecord, question: dict[str, Any], **response: list[dict[str, Any]]
) -> None:
    """The archive keeps the request of a task, and this response to it."""
    request = [{"taskUUID": record.uuid}]
    bench.say({"data": [{**question, "request": request, "response": response}]})


def _sent_again(bench: Bench, question: dict[str, Any]) -> bool:
    return question["taskType"] not in QUESTIONS


# Nothing but trouble

_NO_ANSWERS: list[Any] = [
    ("rateLimitExceeded", "rateLimitExceeded"),
    ("internalServerError", "unsupportedTaskType"),
    ("invalidRequest", "archiveUnavailable"),
    ("rateLimitExceeded", ""),
]


@pytest.mark.parametrize("codes", _NO_ANSWERS)
def test_where_no_question_is_answered_no_copy_is_sent(codes: tuple[str, str]) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    asked = 0
    while due := _unsent(bench, 40):
        asked += len(due)
        for question in due:
            code = codes[1] if question["taskType"] == "getResponse" else codes[0]
            if code:
                say_about(bench, question, code, "question")
    assert record.state is TaskState.UNKNOWN
    assert asked < 25


def test_one_denial_makes_up_for_another_kind_that_is_in_trouble() -> None:
    bench = Bench()
    bench.begin_in_doubt(OTHER_SESSION)
    while True:
        bench.step(0.25)
        for question in questions(bench):
            if _sent_again(bench, question):
                return
            archive = question["taskType"] == "getTaskDetails"
            code = "taskNotFound" if archive else "internalServerError"
            say_about(bench, question, code, "question")


def test_a_server_that_takes_longer_than_the_timeout_is_understood() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=300)
    late: list[tuple[float, dict[str, Any]]] = []
    while not record.ended:
        bench.step(0.25)
        for question in questions(bench):
            if _sent_again(bench, question):
                return
            late.append((bench.now + 12, question))
        while late and late[0][0] <= bench.now:
            say_about(bench, late.pop(0)[1], "taskNotFound", "question")
    raise AssertionError("a lost request was not sent again")


# The refusal of a copy


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


def test_nor_does_such_a_refusal_that_the_archive_keeps_while_the_first_may_run() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=1_000)
    bench.resent(record)
    copied = bench.now
    bench.refuse(record, "rateLimitExceeded", taskType=record.task_type)
    told = 0
    while not record.ended:
        for question in _unsent(bench, 60):
            if question["taskType"] == "getTaskDetails":
                told += 1
                _say_kept(bench, record, question, errors=[error(record, "rateLimitExceeded")])
    # Nobody else says anything, and a task that runs would be done.
    assert told >= 2
    assert bench.now - copied >= 20
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
    while due := _unsent(bench, 60):
        for question in due:
            if question["taskType"] == "getTaskDetails":
                told += 1
                _say_kept(bench, record, question, errors=[error(record, "rateLimitExceeded")])
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
        for question in _unsent(bench, 60):
            if question["taskType"] == "getTaskDetails":
                _say_kept(bench, record, question, errors=[error(record, "insufficientCredits")])
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
        for question in _unsent(bench, 60):
            archive = question["taskType"] == "getTaskDetails"
            if archive and not refused:
                refused = True
                bench.refuse(record, "insufficientCredits", taskType=record.task_type)
            if not archive:
                say_about(bench, question, "taskNotFound", "question")
            elif bench.now < record.deadline - 10:
                bench.say({"data": [{**question, "request": [{"taskUUID": record.uuid}]}]})
            else:
                _say_kept(bench, record, question, errors=[error(record, "insufficientCredits")])
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_also_where_the_next_question_was_planned_for_the_end() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=100)
    bench.resent(record)
    while not record.ended:
        for question in _unsent(bench, 60):
            if record.ladder.barred is None:
                bench.say({"data": [{**question, "request": [{"taskUUID": record.uuid}]}]})
                if record.ladder.next_at > record.deadline - 5:
                    bench.refuse(record, "insufficientCredits", taskType=record.task_type)
            elif question["taskType"] == "getResponse":
                say_about(bench, question, "taskNotFound", "question")
            else:
                _say_kept(bench, record, question, errors=[error(record, "insufficientCredits")])
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
        for question in _unsent(bench, 60):
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
        for question in _unsent(bench, 60):
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


# Answers that a replay brings, or that look like those of a poll


@pytest.mark.parametrize("early", [False, True])
def test_a_replayed_answer_to_a_question_of_the_dead_socket_ends_no_task(early: bool) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(SESSION)
    assert _unsent(bench, 1)
    bench.cut()
    if early:
        bench.step(0.25)
        bench.open()
    else:
        bench.reconnect(SESSION)
    for _ in range(3):  # what had come may come again
        bench.refuse(record, "providerUnavailable")
    assert not record.ended
    bench.answer(record)
    assert record.state is TaskState.DONE


def test_a_replay_does_not_wait_for_the_turn_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "TURN", 1)
    bench = Bench()
    bench.begin()
    records = [bench.task(delivery="async") for _ in range(3)]
    bench.written()
    for record in records:
        bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    bench.step(10)
    assert len(questions(bench)) == 3
    bench.cut()
    bench.step(0.25)
    bench.ready(SESSION)
    for record in records:
        for _ in range(3):
            bench.refuse(record, "providerUnavailable")
        assert not record.ended


def _polled(bench: Bench) -> None:
    """Deny what is asked, until a poll was denied."""
    while True:
        for question in _unsent(bench, 30):
            say_about(bench, question, "taskNotFound", "question")
            if question["taskType"] == "getResponse":
                return


@pytest.mark.parametrize("early", [False, True])
def test_copies_in_one_replayed_message_are_one_result(early: bool) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(SESSION, expected=2)
    _polled(bench)
    bench.cut()
    bench.step(0.25)
    reply = {"data": [{"taskType": "authentication", "connectionSessionUUID": SESSION}]}
    one = item(record, "one", status="success")
    bench.open()
    for message in ({"data": [one, one]}, reply) if early else (reply, {"data": [one, one]}):
        bench.say(message)
    assert not record.ended
    bench.answer(record, "two", status="success")
    assert [each["text"] for each in record.items] == ["one", "two"]


# Empty answers


def test_an_empty_answer_about_another_task_of_the_frame_denies_nothing() -> None:
    bench = Bench()
    bench.begin()
    runs, lost = bench.task(), bench.task()
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    overdue = bench.now + 19.5
    while True:
        due = questions(bench)
        assert runs.uuid not in [task["taskUUID"] for task in due if _sent_again(bench, task)]
        for question in due:
            if question["taskType"] == "getTaskDetails":
                say_about(bench, question, "taskNotFound", "question")
        polls = [task for task in due if task["taskType"] == "getResponse"]
        if polls and bench.now > overdue:
            break
        for _ in polls:
            bench.say({"data": []})
        bench.step(0.25)
    assert [task["taskUUID"] for task in polls] == [runs.uuid, lost.uuid]
    bench.say({"data": []})  # about the second
    assert not [task for task in bench.written() if task["taskType"] not in QUESTIONS]
    bench.step(0.3)
    bench.say({"data": [{**_ASKED, "taskUUID": runs.uuid, "status": "processing"}]})
    bench.step(2)
    assert lost.uuid in [task["taskUUID"] for task in bench.written() if _sent_again(bench, task)]
    assert runs.sends == 1


@pytest.mark.parametrize("nothing", [None, {}, {"message": "nothing"}, {"detail": "nothing"}])
def test_an_answer_without_anything_in_it_is_a_denial(nothing: Any) -> None:
    bench = Bench()
    bench.begin_in_doubt(OTHER_SESSION)
    while bench.now < 1060:
        bench.step(0.25)
        for question in questions(bench):
            if _sent_again(bench, question):
                return
            bench.say({"data": None if nothing is None else [{**question, **nothing}]})
    raise AssertionError("a lost request was not sent again")


# Items that are no entries

_ERRORS: list[dict[str, Any]] = [
    {"error": {"code": "rateLimitExceeded"}},
    {"errors": [{"code": "archiveUnavailable"}]},
    {"status": "error", "error": {"code": "internalServerError"}},
]


@pytest.mark.parametrize("kind", QUESTIONS)
@pytest.mark.parametrize("failed", _ERRORS)
def test_an_error_in_an_item_of_the_questions_own_type_is_about_the_question(
    kind: str, failed: dict[str, Any]
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    while due := _unsent(bench, 40):
        for question in due:
            if question["taskType"] == kind:
                bench.say({"data": [{**question, **failed}]})
    assert record.state is TaskState.UNKNOWN


@pytest.mark.parametrize(
    "told",
    [
        {"status": "processing"},
        {"response": {"status": "processing"}},
        {"response": {"data": [{"status": "processing"}]}},
    ],
)
def test_an_archive_that_tells_that_a_task_runs_does_not_deny_it(told: dict[str, Any]) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    while due := _unsent(bench, 40):
        for question in due:
            if question["taskType"] == "getTaskDetails":
                bench.say({"data": [{**question, **told}]})
            else:
                say_about(bench, question, "taskNotFound", "question")
    assert record.state is TaskState.UNKNOWN


def test_an_error_of_the_old_style_in_the_archive_is_the_tasks() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    (question,) = _unsent(bench, 1)
    old = {"error": True, "errorId": 55, "errorMessage": "it broke"}
    entry = {"request": [{"taskUUID": record.uuid}], "response": old}
    bench.say({"data": [{**question, **entry}]})
    assert "it broke" in str(ended(record, TaskState.FAILED))


def test_what_names_nobody_is_nobodys_where_the_request_is_kept_as_text() -> None:
    bench = Bench()
    bench.begin()
    records = [bench.task(), bench.task()]
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    request = orjson.dumps([{"taskUUID": record.uuid} for record in records]).decode()
    for question in questions(bench):
        response = {"data": [{"text": "of the first"}, {"text": "of the second"}]}
        bench.say({"data": [{**question, "request": request, "response": response}]})
    assert not any(record.items for record in records)


# Running tasks and their results


def test_an_accepted_task_that_looks_unknown_while_it_runs_is_asked_for_to_the_end() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, delivery="async", timeout=600)
    bench.say({"data": [{**_ASKED, "taskUUID": record.uuid}]})
    while bench.now < 1300:
        for question in _unsent(bench, 40):
            say_about(bench, question, "taskFailedOrNotFound", "question")
        assert not record.ended
    bench.answer(record, status="success")
    assert record.state is TaskState.DONE


def test_the_error_of_one_result_waits_for_those_that_still_run() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async", expected=3)
    about = {**_ASKED, "taskUUID": record.uuid}
    bench.say({"data": [about]})
    one, two = (item(record, text, status="success") for text in ("one", "two"))
    failed = {**about, "status": "error", "error": {"code": "inferenceError"}}
    assert _unsent(bench, 3)
    bench.say({"data": [one, failed, {**about, "status": "processing"}]})
    assert not record.ended
    assert _unsent(bench, 3)
    bench.say({"data": [one, failed, two]})
    assert ended(record, TaskState.FAILED)
    assert [each["text"] for each in record.items] == ["one", "two"]


def test_the_number_of_a_request_does_not_make_a_copy_another_result() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async", expected=2)
    about = {**_ASKED, "taskUUID": record.uuid}
    bench.say({"data": [about]})
    one, two = (item(record, text, status="success") for text in ("one", "two"))
    assert _unsent(bench, 3)
    bench.say({"data": [{**one, "requestId": "1"}, {**about, "status": "processing"}]})
    assert _unsent(bench, 3)
    bench.say({"data": [{**one, "requestId": "2"}, {**two, "requestId": "2"}]})
    assert [each["text"] for each in record.items] == ["one", "two"]


def test_a_message_that_cannot_be_read_is_asked_about_however_many_came_before() -> None:
    bench = Bench()
    bench.begin()
    first = bench.written_task()
    bench.say(b"not json")
    bench.step(0.1)
    second = bench.written_task(timeout=float("inf"))
    bench.say(b'{"data": [{"taskUUID": torn')
    for _ in range(20):
        if second.uuid in [question["taskUUID"] for question in _unsent(bench, 10)]:
            return
    raise AssertionError(first, second)


@pytest.mark.parametrize("asked", ["getResponse", "getTaskDetails"])
def test_what_the_server_insists_on_beside_some_of_the_results_is_the_end_after_a_copy_too(
    asked: str,
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, expected=2, delivery="async", timeout=10_000)
    bench.resent(record)
    first = item(record, resultIndex=0, status="success")
    verdict = error(record, "insufficientCredits", taskType=record.task_type)
    bench.say({"errors": [verdict]})
    begun = bench.now
    while not record.ended:
        assert bench.now - begun < 100, "it is asked about for ever"
        bench.step(0.5)
        for question in questions(bench):
            if question["taskType"] != asked or record.ended:
                say_about(bench, question, "internalServerError", "question")
            elif asked == "getResponse":
                bench.say({"data": [first]})
                bench.say({"errors": [verdict]})
            else:
                _say_kept(bench, record, question, data=[first], errors=[verdict])
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "insufficientCredits"
    assert bench.now - begun >= 5


@pytest.mark.parametrize("times", [1, 2, 3])
def test_copies_with_and_without_an_index_in_one_frame_are_one_result(times: int) -> None:
    bench = Bench()
    record = bench.begin_written(expected=3)
    bare = item(record, "one")
    named = item(record, "one", resultIndex=0)
    bench.say({"data": [bare, *[named] * times, bare, named]})
    assert not record.ended
    assert [each["text"] for each in record.items] == ["one"]


def test_two_listings_in_one_frame_name_each_result_once() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(SESSION, expected=3, delivery="async")
    assert _unsent(bench, 10)
    runs = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
    one, two = (item(record, text, status="success") for text in ("one", "two"))
    # The answers to two polls, as a replay may join them.
    bench.say({"data": [one, runs, one, two, runs]})
    assert [each["text"] for each in record.items] == ["one", "two"]
    # In a whole listing, equal results are as many as it names.
    assert _unsent(bench, 10)
    bench.say({"data": [one, two, two]})
    assert ended(record, TaskState.DONE) is None
    assert [each["text"] for each in record.items] == ["one", "two", "two"]


def test_whole_listings_that_a_replay_joins_name_each_result_once() -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task(expected=2, delivery="async")
    (asked,) = _unsent(bench, 60)
    bench.cut()
    bench.reconnect(SESSION)
    assert _unsent(bench, 10)
    one = item(record, "one", status="success")
    # Two polls of the socket before were answered by what there was then.
    bench.say({"data": [one, one]})
    assert [each["text"] for each in record.items] == ["one"]
    # A replay is over some time; then equal results are as many as a poll names.
    while not record.ended:
        if any(due["taskType"] == asked["taskType"] for due in _unsent(bench, 60)):
            bench.say({"data": [one, one]})
    assert [each["text"] for each in record.items] == ["one", "one"]
    assert bench.now < 1_030
