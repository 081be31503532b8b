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
from runware_ws.errors import TaskError
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, error, item
from tests.core.questions import QUESTIONS, questions, say_about, say_kept, sent_again, unsent

_ASKED = {"taskType": "textInference"}


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
    while due := unsent(bench, 40):
        asked += len(due)
        for question in due:
            code = codes[1] if question["taskType"] == "getResponse" else codes[0]
            if code:
                say_about(bench, question, code, "question")
    assert record.state is TaskState.UNKNOWN
    assert asked < 25


@pytest.mark.parametrize("denial", ["taskNotFound", ""])
@pytest.mark.parametrize("denies", QUESTIONS)
def test_one_denial_makes_up_for_another_kind_that_is_in_trouble(denies: str, denial: str) -> None:
    bench = Bench()
    bench.begin_in_doubt(OTHER_SESSION)
    begun = bench.now
    while True:
        bench.step(0.25)
        for question in questions(bench):
            if sent_again(question):
                # Twenty seconds is the usual duration; the trouble is not waited for.
                assert bench.now - begun < 25
                return
            if question["taskType"] != denies:
                say_about(bench, question, "internalServerError", "question")
            elif denial:
                say_about(bench, question, denial, "question")
            else:
                bench.say({"data": []})


@pytest.mark.parametrize("timeout", [8, 15, 20, 30, 300])
@pytest.mark.parametrize(
    ("delivery", "denies"), [("sync", "getResponse"), ("async", "getTaskDetails")]
)
def test_where_one_kind_met_trouble_the_other_is_asked_at_once_once_a_task_is_overdue(
    delivery: str, denies: str, timeout: float
) -> None:
    bench = Bench()
    bench.begin_in_doubt(OTHER_SESSION, timeout=timeout, delivery=delivery)
    overdue = bench.now + min(20, 0.4 * timeout)
    while bench.now < overdue + 0.5:
        due = questions(bench)
        for question in due:
            if sent_again(question):
                return
            code = "taskNotFound" if question["taskType"] == denies else "internalServerError"
            say_about(bench, question, code, "question")
        if not due:
            bench.step(0.25)
    raise AssertionError("a lost request waited, although its denial was to be had")


def test_a_server_that_takes_longer_than_the_timeout_is_understood() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=300)
    late: list[tuple[float, dict[str, Any]]] = []
    while not record.ended:
        bench.step(0.25)
        for question in questions(bench):
            if sent_again(question):
                return
            late.append((bench.now + 12, question))
        while late and late[0][0] <= bench.now:
            say_about(bench, late.pop(0)[1], "taskNotFound", "question")
    raise AssertionError("a lost request was not sent again")


# Answers that a replay brings, or that look like those of a poll


@pytest.mark.parametrize("session", [SESSION, OTHER_SESSION])
@pytest.mark.parametrize("early", [False, True])
def test_a_replayed_answer_to_a_question_of_the_dead_socket_ends_no_task(
    early: bool, session: str
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(SESSION)
    assert unsent(bench, 1)
    bench.cut()
    if early:
        bench.step(0.25)
        bench.open()
    else:
        bench.reconnect(session)
    for code in ("providerUnavailable", "providerUnavailable", "somethingNobodyKnows"):
        bench.refuse(record, code)  # what had come may come again
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
        for code in ("providerUnavailable", "somethingNobodyKnows"):
            bench.refuse(record, code)
        assert not record.ended


def _polled(bench: Bench) -> None:
    """Deny what is asked, until a poll was denied."""
    while True:
        for question in unsent(bench, 30):
            say_about(bench, question, "taskNotFound", "question")
            if question["taskType"] == "getResponse":
                return


@pytest.mark.parametrize("session", [SESSION, OTHER_SESSION])
@pytest.mark.parametrize("early", [False, True])
def test_copies_in_one_replayed_message_are_one_result(early: bool, session: str) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(SESSION, expected=2)
    _polled(bench)
    bench.cut()
    bench.step(0.25)
    reply = {"data": [{"taskType": "authentication", "connectionSessionUUID": session}]}
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
        assert runs.uuid not in [task["taskUUID"] for task in due if sent_again(task)]
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
    assert lost.uuid in [task["taskUUID"] for task in bench.written() if sent_again(task)]
    assert runs.sends == 1


@pytest.mark.parametrize("nothing", [None, {}, {"message": "nothing"}, {"detail": "nothing"}])
def test_an_answer_without_anything_in_it_is_a_denial(nothing: Any) -> None:
    bench = Bench()
    bench.begin_in_doubt(OTHER_SESSION)
    while bench.now < 1060:
        bench.step(0.25)
        for question in questions(bench):
            if sent_again(question):
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
    while due := unsent(bench, 40):
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
    while due := unsent(bench, 40):
        for question in due:
            if question["taskType"] == "getTaskDetails":
                bench.say({"data": [{**question, **told}]})
            else:
                say_about(bench, question, "taskNotFound", "question")
    assert record.state is TaskState.UNKNOWN


def test_an_error_of_the_old_style_in_the_archive_is_the_tasks() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    (question,) = unsent(bench, 1)
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
        for question in unsent(bench, 40):
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
    assert unsent(bench, 3)
    bench.say({"data": [one, failed, {**about, "status": "processing"}]})
    assert not record.ended
    assert unsent(bench, 3)
    bench.say({"data": [one, failed, two]})
    assert ended(record, TaskState.FAILED)
    assert [each["text"] for each in record.items] == ["one", "two"]


def test_the_number_of_a_request_does_not_make_a_copy_another_result() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async", expected=2)
    about = {**_ASKED, "taskUUID": record.uuid}
    bench.say({"data": [about]})
    one, two = (item(record, text, status="success") for text in ("one", "two"))
    assert unsent(bench, 3)
    bench.say({"data": [{**one, "requestId": "1"}, {**about, "status": "processing"}]})
    assert unsent(bench, 3)
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
        if second.uuid in [question["taskUUID"] for question in unsent(bench, 10)]:
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
                say_kept(bench, record, question, data=[first], errors=[verdict])
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
    assert unsent(bench, 10)
    runs = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
    one, two = (item(record, text, status="success") for text in ("one", "two"))
    # The answers to two polls, as a replay may join them.
    bench.say({"data": [one, runs, one, two, runs]})
    assert [each["text"] for each in record.items] == ["one", "two"]
    # In a whole listing, equal results are as many as it names.
    assert unsent(bench, 10)
    bench.say({"data": [one, two, two]})
    assert ended(record, TaskState.DONE) is None
    assert [each["text"] for each in record.items] == ["one", "two", "two"]


@pytest.mark.parametrize("session", [SESSION, OTHER_SESSION])
def test_whole_listings_that_a_replay_joins_name_each_result_once(session: str) -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task(expected=2, delivery="async")
    (asked,) = unsent(bench, 60)
    bench.cut()
    bench.reconnect(session)
    assert unsent(bench, 10)
    one = item(record, "one", status="success")
    # Two polls of the socket before were answered by what there was then.
    bench.say({"data": [one, one]})
    assert [each["text"] for each in record.items] == ["one"]
    # A replay is over some time; then equal results are as many as a poll names.
    while not record.ended:
        if any(due["taskType"] == asked["taskType"] for due in unsent(bench, 60)):
            bench.say({"data": [one, one]})
    assert [each["text"] for each in record.items] == ["one", "one"]
    assert bench.now < 1_030
