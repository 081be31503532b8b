"""What the server may answer to a question about a task, and what that may never do to it."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import OutcomeUnknown, Submitted, TaskError
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, error, item
from tests.core.questions import QUESTIONS, deny, questions, say_about, unsent

TROUBLE = [
    "archiveUnavailable",
    "invalidRequest",
    "insufficientCredits",
    "providerUnavailable",
    "internalServerError",
    "rateLimitExceeded",
    "unauthorized",
    "timeoutGateway",
    "somethingNobodyKnows",
]


@pytest.mark.parametrize("second", TROUBLE)
def test_two_errors_in_one_message_are_one_answer_to_a_question(second: str) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    assert questions(bench)
    told = [error(record, "unknownParameter", parameter="taskUUID"), error(record, second)]
    bench.say({"errors": told})
    assert not record.ended
    bench.step(1)
    assert [each["taskType"] for each in questions(bench)] == ["getResponse"], "the other kind"
    bench.say({"errors": told})
    assert not record.ended
    bench.step(10)
    assert [each["taskType"] for each in questions(bench)] == ["getTaskDetails"], "by turns"
    bench.answer(record)
    assert record.state is TaskState.DONE


@pytest.mark.parametrize(
    "second", ["somethingNobodyKnows", "serviceUnavailable", "rateLimitExceeded", "unauthorized"]
)
def test_a_failure_without_a_type_may_come_before_the_answer_to_an_open_question(
    second: str,
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    (question,) = questions(bench)
    bench.refuse(record, "inferenceError")
    bench.refuse(record, second)
    assert not record.ended, "this one was the answer"
    kept = [error(record, "inferenceError", taskType=record.task_type)]
    while not record.ended:
        bench.step(1)
        for question in questions(bench):
            bench.say({"data": [{**question, "response": {"errors": kept}}]})
    failed = ended(record, TaskState.FAILED)
    assert isinstance(failed, TaskError)
    assert failed.code == "inferenceError"


def test_the_tasks_own_error_behind_one_about_the_question_is_its_end() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    assert questions(bench)
    own = error(record, "inferenceError", taskType=record.task_type)
    bench.say({"errors": [error(record, "archiveUnavailable"), own]})
    failed = ended(record, TaskState.FAILED)
    assert isinstance(failed, TaskError)
    assert failed.code == "inferenceError"


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("typed", ["question", "none"])
@pytest.mark.parametrize("code", TROUBLE)
def test_an_error_that_may_be_the_questions_does_not_end_a_running_task(
    code: str, typed: str, delivery: str
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, delivery=delivery)
    asked = 0
    while asked < 2:
        for question in questions(bench):
            assert question["taskType"] in QUESTIONS
            asked += 1
            say_about(bench, question, code, typed)
        assert not record.ended
        bench.step(0.5)
    bench.answer(record, "done", status="success")
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("typed", ["question", "none"])
def test_the_error_of_an_answer_may_come_behind_the_next_question(typed: str) -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async", expected=2)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})

    def asked() -> dict[str, Any]:
        while not (due := questions(bench)):
            bench.step(0.25)
        (question,) = due
        return question

    first = asked()
    bench.answer(record, "one", status="success")
    second = asked()
    say_about(bench, first, "rateLimitExceeded", typed)
    assert not record.ended
    # The second is not answered yet: this may be about it.
    say_about(bench, second, "somethingNobodyKnows", "none")
    assert not record.ended


@pytest.mark.parametrize("typed", ["question", "none"])
@pytest.mark.parametrize(
    "code", ["archiveUnavailable", "insufficientCredits", "internalServerError", "rateLimitHit"]
)
def test_trouble_of_load_account_or_archive_is_never_the_tasks_end(code: str, typed: str) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=90)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    while not record.ended:
        for question in questions(bench):
            say_about(bench, question, code, typed)
        bench.step(0.5)
    assert isinstance(ended(record, TaskState.UNKNOWN), OutcomeUnknown)


@pytest.mark.parametrize("typed", ["question", "none"])
@pytest.mark.parametrize("delivery", ["sync", "async"])
def test_a_verdict_that_the_server_repeats_is_believed(typed: str, delivery: str) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, delivery=delivery)
    begun = bench.now
    while not record.ended:
        for question in questions(bench):
            say_about(bench, question, "inferenceError", typed)
        bench.step(0.5)
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "inferenceError"
    assert 5 <= bench.now - begun < 15


def test_a_verdict_that_is_taken_back_is_not_believed() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, delivery="async", timeout=120)
    running = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
    polls = 0
    while polls < 10:
        for question in questions(bench):
            polls += question["taskType"] == "getResponse"
            if question["taskType"] == "getResponse" and polls % 2 == 0:
                bench.say({"data": [running]})
            else:
                say_about(bench, question, "inferenceError", "none")
        assert not record.ended
        bench.step(0.5)


def test_an_error_under_the_tasks_own_type_ends_it_though_a_question_is_open() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    assert questions(bench)
    bench.refuse(record, "inferenceError", taskType=record.task_type)
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_an_error_that_no_question_can_have_caused_ends_the_task() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    (question,) = questions(bench)
    told: dict[str, Any] = {"request": [{"taskUUID": record.uuid}], "response": {}}
    answer = {**question, **told}
    bench.say({"data": [answer]})
    bench.refuse(record, "inferenceError")
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_a_late_answer_to_a_question_that_was_given_up_is_still_the_questions() -> None:
    bench = Bench(question_timeout=5)
    record = bench.begin_in_doubt(OTHER_SESSION)
    assert questions(bench)
    bench.step(5.1)
    bench.written()
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    bench.refuse(record, "providerUnavailable")
    assert not record.ended


def test_a_poll_that_is_answered_late_is_told_as_one_whatever_was_asked_since() -> None:
    bench = Bench(question_timeout=4)
    record = bench.begin_in_doubt(OTHER_SESSION)
    # Nothing is answered in time, so the kinds of question take turns.
    asked: list[str] = []
    while asked[-2:] != ["getResponse", "getTaskDetails"]:
        asked += [question["taskType"] for question in questions(bench)]
        bench.step(0.5)
    bench.answer(record, status="success")
    assert record.recovered_by is RecoveredBy.POLL


def test_what_tells_a_status_is_no_poll_where_none_was_asked() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(SESSION)
    bench.step(1)
    assert [question["taskType"] for question in questions(bench)] == ["getTaskDetails"]
    bench.answer(record, status="success")
    assert record.recovered_by is RecoveredBy.REPLAY


@pytest.mark.parametrize("code", ["taskFailedOrNotFound", "internalServerError", "inferenceError"])
def test_an_answer_to_the_first_trys_question_does_not_end_the_second(code: str) -> None:
    bench = Bench()
    first = bench.begin_written(delivery="async", timeout=10)
    bench.say({"data": [{"taskType": first.task_type, "taskUUID": first.uuid}]})
    bench.step(8.1)
    bench.written()
    bench.step(2)
    assert first.ended
    bench.numbers -= 1
    second = bench.task(delivery="async")
    bench.refuse(second, code)
    assert not second.ended


@pytest.mark.parametrize("delivery", ["sync", "async"])
def test_a_denial_while_the_task_may_run_leads_back_to_the_usual_question(delivery: str) -> None:
    bench = Bench(usual_duration=100)
    bench.begin_in_doubt(OTHER_SESSION, delivery=delivery, timeout=1_000)
    kinds: list[str] = []
    while len(kinds) < 4:
        for question in questions(bench):
            kinds.append(question["taskType"])
            code = "internalServerError" if len(kinds) == 1 else "taskNotFound"
            say_about(bench, question, code, "question")
        bench.step(0.25)
    usual, other = QUESTIONS if delivery == "async" else QUESTIONS[::-1]
    assert kinds == [usual, other, usual, usual]


# Receipts


def test_after_a_conflict_a_sync_task_is_asked_for_both_ways() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.resent(record)
    bench.refuse(record, "conflictTaskUUID")
    kept = {"errors": [error(record, "conflictTaskUUID")]}
    while not record.ended:
        for question in questions(bench):
            if question["taskType"] == "getTaskDetails":
                bench.say({"data": [{**question, "response": kept}]})
            else:
                bench.say({"data": [item(record, "by the poll", status="success")]})
        bench.step(0.5)
    assert record.items[0]["text"] == "by the poll"
    assert record.recovered_by is RecoveredBy.POLL


# Empty answers


def lost(bench: Bench, number: int, delivery: str = "async") -> list[TaskRecord]:
    """So many tasks whose requests were lost in a dying socket."""
    bench.begin()
    records = [bench.task(delivery=delivery) for _ in range(number)]
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    return records


@pytest.mark.parametrize("one_for_all", [True, False])
@pytest.mark.parametrize("number", [1, 3, 83])
def test_an_empty_answer_counts_for_a_task_that_was_never_confirmed(
    number: int, one_for_all: bool
) -> None:
    bench = Bench()
    records = lost(bench, number)
    while not all(record.ended for record in records):
        bench.step(0)
        while (frame := bench.core.next_frame(bench.now)) is not None:
            for record in frame.records:
                bench.answer(record, status="success")
            asked = frame.data.count(b"getResponse") + frame.data.count(b"getTaskDetails")
            for _ in range(min(asked, 1) if one_for_all else asked):
                bench.say({"data": []})
        bench.step(0.5)
    assert {record.state for record in records} == {TaskState.DONE}
    assert {record.sends for record in records} == {2}
    assert bench.now < 1000 + 40


def test_an_empty_answer_about_a_confirmed_task_means_that_it_runs() -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task(delivery="async", timeout=280)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    for _ in range(500):
        if questions(bench):
            bench.say({"data": []})
        bench.step(0.5)
    assert not record.ended
    assert record.sends == 1
    while not questions(bench):
        bench.step(0.5)
    bench.say({"data": [item(record, "at last", status="success")]})
    assert record.state is TaskState.DONE


def test_an_empty_answer_without_a_question_is_nothing() -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.say({"data": []})
    assert not record.ended
    assert record.submitted is Submitted.MAYBE


# Acknowledgements

MORE = [
    {"cost": 0.01},
    {"message": "queued"},
    {"queuePosition": 3},
    {"somethingNew": {"a": 1}},
    {"status": "queued", "estimatedTime": 5},
    {"status": "accepted", "ticket": "t"},
    {"webhookURL": "https://example.com/hook", "model": "m"},
]


@pytest.mark.parametrize("more", MORE)
def test_a_receipt_with_more_fields_is_a_receipt(more: dict[str, Any]) -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async")
    told = {"taskType": record.task_type, "taskUUID": record.uuid, **more}
    for _ in range(2):
        bench.say({"data": [told]})
        assert not record.ended
    assert record.submitted is Submitted.YES
    bench.step(2)
    assert [task["taskType"] for task in bench.written()] == ["getResponse"]
    bench.say({"data": [item(record, "done", status="success")]})
    assert record.items[0]["text"] == "done"


@pytest.mark.parametrize("output", [{"text": ""}, {"finishReason": "stop"}, {"imageURL": "u"}])
def test_a_result_without_a_status_is_a_result(output: dict[str, Any]) -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async")
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid, **output}]})
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("more", [{"message": "working"}, {"queuePosition": 1}, {"cost": 0.1}])
def test_a_note_about_a_sync_task_is_not_its_answer(more: dict[str, Any]) -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid, **more}]})
    assert not record.ended
    bench.answer(record)
    assert record.state is TaskState.DONE


# Results that one copy tells more of than another


@pytest.mark.parametrize("more", [{"model": "m"}, {"createdAt": 1, "seed": 2}, {"anything": []}])
def test_an_archive_that_tells_more_brings_no_result_twice(more: dict[str, Any]) -> None:
    bench = Bench()
    record = bench.begin_written(expected=2)
    bench.answer(record, "first")
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    (question,) = questions(bench)
    both = [item(record, text, **more) for text in ("first", "second")]
    bench.say({"data": [{**question, "response": {"data": both}}]})
    assert record.state is TaskState.DONE
    assert [i["text"] for i in record.items] == ["first", "second"]


def test_two_equal_results_with_more_fields_in_the_archive_are_two() -> None:
    bench = Bench()
    record = bench.begin_written(expected=2)
    bench.answer(record, "same")
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    (question,) = questions(bench)
    both = [item(record, "same", model="m"), item(record, "same", model="m")]
    bench.say({"data": [{**question, "response": {"data": both}}]})
    assert [i["text"] for i in record.items] == ["same", "same"]


def test_a_late_result_that_the_archive_tells_more_of_is_claimed_once() -> None:
    bench = Bench()
    record = bench.begin_written(timeout=1)
    bench.step(1)
    bench.answer(record, "late")
    bench.answer(record, "late", model="m")
    assert bench.core.claim(record.uuid) == [item(record, "late")]


def test_the_last_call_asks_both_ways() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=40)
    late: set[str] = set()
    while not record.ended:
        for question in questions(bench):
            if bench.now > 1038:
                late.add(question["taskType"])
            say_about(bench, question, "taskNotFound", "question")
        bench.step(0.1)
    assert late == set(QUESTIONS)


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("running", QUESTIONS)
def test_the_last_call_asks_the_other_way_though_the_one_says_that_the_task_runs(
    running: str, delivery: str
) -> None:
    """An archive may lag for long behind what a poll would bring, and the other way round."""
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=40, delivery=delivery)
    while not record.ended:
        for question in questions(bench):
            if question["taskType"] == running:
                bench.say({"data": [{**question, "status": "processing"}]})
            elif bench.now <= 1038:
                say_about(bench, question, "taskNotFound", "question")
            else:
                bench.say({"data": [item(record, status="success")]})
        bench.step(0.1)
    assert record.state is TaskState.DONE


def test_the_last_call_begins_with_the_way_that_has_told_of_the_task() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=60)
    while unsent(bench, 10)[0]["taskType"] != "getResponse":
        deny(bench, record)
    running = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
    bench.say({"data": [running]})
    while bench.now < record.deadline - 2.5:
        bench.step(0.25)
        for question in questions(bench):
            if question["taskType"] == "getTaskDetails":
                deny(bench, record)
            else:
                bench.say({"data": [running]})
    bench.step(record.deadline - 2 - bench.now)
    assert [each["taskType"] for each in questions(bench)] == ["getResponse"]


def test_the_last_call_of_a_task_does_not_wait_for_questions_about_others() -> None:
    bench = Bench(question_window=1)
    bench.begin()
    other, record = bench.written_task(timeout=300), bench.written_task(timeout=40)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    while not record.ended:
        for question in questions(bench):
            assert bench.core.sizes()["questions"] <= 2
            if question["taskUUID"] == record.uuid and bench.now > 1038:
                bench.say({"data": [{**question, "response": {"data": [item(record)]}}]})
        bench.step(0.1)
    assert record.state is TaskState.DONE
    assert not other.ended


# What cannot be read, and what names nobody


@pytest.mark.parametrize("broken", [b"\xff\xfe", b'{"data": [', b"[]", b'{"other": 1}'])
def test_after_a_message_that_cannot_be_read_its_tasks_are_asked_for_soon(broken: bytes) -> None:
    bench = Bench()
    record = bench.begin_written(timeout=300)
    bench.say(broken)
    bench.step(2)
    (question,) = questions(bench)
    assert question["taskUUID"] == record.uuid
    bench.say({"data": [{**question, "response": {"data": [item(record)]}}]})
    assert record.state is TaskState.DONE


def test_a_flood_of_messages_that_cannot_be_read_asks_no_more_than_now_and_then() -> None:
    bench = Bench()
    bench.begin_written(timeout=300)
    asked = 0
    for _ in range(1000):
        bench.say(b"{")
        for question in questions(bench):
            asked += 1
            say_about(bench, question, "taskNotFound", "question")
        bench.step(0.1)
    assert 1 <= asked <= 30
    assert bench.core.counters.resends == 0, "it went through no cut"


def test_messages_that_cannot_be_read_soon_after_one_are_acted_on_together() -> None:
    bench = Bench()
    bench.begin()
    first_asked: dict[str, float] = {}
    tasks: list[str] = []
    while len(first_asked) < 10:
        assert bench.now < 1_060
        if len(tasks) < 10:
            tasks.append(bench.written_task(timeout=300).uuid)
            bench.say(b"{")
        bench.step(0.1)
        for question in questions(bench):
            first_asked.setdefault(question["taskUUID"], bench.now)
            say_about(bench, question, "taskNotFound", "question")
    alone, *together = [first_asked[each] for each in tasks]
    assert alone < together[0]
    assert len(set(together)) == 1


def test_a_flood_on_one_socket_puts_nothing_off_on_the_next() -> None:
    bench = Bench()
    bench.begin_written(timeout=300)
    for _ in range(1000):
        bench.say(b"{")
        bench.step(0.1)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    record = bench.written_task(timeout=300)
    bench.say(b"{")
    bench.step(2)
    assert record.uuid in {question["taskUUID"] for question in questions(bench)}


@pytest.mark.parametrize("kind", [{}, {"taskType": "textInference"}])
def test_an_error_that_names_nobody_may_be_anybodys_so_it_is_asked_for_soon(
    kind: dict[str, Any],
) -> None:
    bench = Bench()
    failed, running = bench.begin_written(timeout=300), bench.written_task(timeout=300)
    bench.say({"errors": [{"code": "inferenceError", "message": "m", **kind}]})
    assert not failed.ended
    assert not running.ended
    bench.step(2)
    asked = questions(bench)
    assert [each["taskUUID"] for each in asked] == [failed.uuid, running.uuid]
    response = {"errors": [error(failed, "inferenceError")]}
    bench.say({"data": [{**asked[0], "response": response}]})
    assert failed.state is TaskState.FAILED
    assert not running.ended


def test_an_error_that_names_nobody_but_another_kind_asks_nothing() -> None:
    bench = Bench()
    bench.begin_written(timeout=300)
    bench.say({"errors": [{"code": "c", "message": "m", "taskType": "imageInference"}]})
    bench.step(2)
    assert not questions(bench)


@pytest.mark.parametrize("code", ["insufficientCredits", "internalServerError", "inferenceError"])
def test_an_error_without_an_address_before_the_authentications_reply_is_not_about_it(
    code: str,
) -> None:
    bench = Bench()
    bench.start()
    bench.open()
    bench.say({"errors": [{"code": code, "message": "m"}]})
    assert bench.core.failure is None
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": OTHER_SESSION}]})
    record = bench.written_task()
    bench.answer(record)
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("code", TROUBLE)
def test_trouble_that_always_stands_beside_some_of_the_results_is_the_tasks(code: str) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, expected=2, timeout=10_000)
    begun = bench.now
    while not record.ended:
        assert bench.now - begun < 100, "it is asked about for ever"
        for question in questions(bench):
            if question["taskType"] == "getResponse":
                first = item(record, resultIndex=0, status="success")
                bench.say({"data": [first]})
            say_about(bench, question, code, "none")
        bench.step(0.5)
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == code
    assert [result["resultIndex"] for result in failure.items] == [0]
