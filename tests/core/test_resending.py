"""A task is sent again only as the last question: when, on whose word, and what that costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from runware_ws._core.states import FOREVER, TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.events import TaskResent
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, Bench, ended, item
from tests.core.questions import QUESTIONS, asked, questions, say_about, say_kept


def learn(bench: Bench, seconds: float, times: int = 10) -> None:
    """So many tasks took so long."""
    for _ in range(times):
        record = bench.written_task(timeout=300)
        bench.step(seconds)
        bench.answer(record)


def test_it_waits_until_a_task_of_its_kind_would_be_done() -> None:
    bench = Bench()
    bench.begin()
    learn(bench, 4)
    record = bench.written_task(timeout=300)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert 7 < bench.resent(record) < 10, "twice the usual 4 s"


def test_it_does_not_wait_where_that_time_has_passed() -> None:
    bench = Bench()
    bench.begin()
    learn(bench, 0.5)
    record = bench.written_task(timeout=300)
    bench.step(5)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert 2.5 <= bench.resent(record) < 3.5, "resend_after behind the first answer"


@pytest.mark.parametrize(("timeout", "wait"), [(10, 4), (30, 12), (300, 20), (10**9, 20)])
def test_where_nothing_is_learned_a_bound_leaves_time_for_the_answer(
    timeout: float, wait: float
) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=timeout)
    assert wait - 0.5 < bench.resent(record) < wait + 1
    bench.answer(record)
    assert record.recovered_by is RecoveredBy.RESUBMIT


def test_a_few_quick_tasks_do_not_shorten_the_bound() -> None:
    bench = Bench()
    bench.begin()
    learn(bench, 0.1, times=3)
    record = bench.written_task(timeout=300)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert bench.resent(record) > 19


def test_one_slow_task_among_quick_ones_is_remembered() -> None:
    bench = Bench()
    bench.begin()
    learn(bench, 0.1)
    learn(bench, 8, times=1)
    learn(bench, 0.1, times=40)
    record = bench.written_task(timeout=300)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert bench.resent(record) > 7


def test_polled_tasks_are_learned_from_the_archive_where_every_poll_fails() -> None:
    bench = Bench()
    bench.begin()

    def play(record: TaskRecord, known: bool) -> None:
        end = bench.now + 60
        while not record.ended and bench.now < end:
            bench.step(0.1)
            for question in questions(bench):
                if question["taskType"] == "getResponse":
                    say_about(bench, question, "internalServerError", "question")
                elif question["taskType"] != "getTaskDetails":
                    return
                elif known:
                    say_kept(bench, record, question, data=[item(record)])
                else:
                    say_about(bench, question, "taskNotFound", "question")

    usual = 0.0
    for _ in range(5):
        record = bench.written_task(delivery="async", timeout=300)
        bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
        play(record, known=True)
        ended(record, TaskState.DONE)
        usual = record.ended_at - record.written_at
    lost = bench.written_task(delivery="async", timeout=300)
    begun = bench.now
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    play(lost, known=False)
    assert lost.sends == 2
    assert bench.now - begun < 5 + usual, "and not 20 s, as where nothing is learned"


def test_a_task_that_the_archive_lists_beside_another_teaches_nothing_too_short() -> None:
    bench = Bench(poll_first=2.0)
    bench.begin()
    for _ in range(6):
        asked_about, beside = (bench.task(delivery="async", timeout=300) for _ in range(2))
        bench.written()
        known = {"taskType": asked_about.task_type, "taskUUID": asked_about.uuid}
        bench.say({"data": [known]})
        while not asked_about.ended:
            bench.step(0.1)
            for question in questions(bench):
                if question["taskType"] == "getResponse":
                    say_about(bench, question, "internalServerError", "question")
                else:
                    say_kept(bench, asked_about, question, data=[item(asked_about), item(beside)])
        ended(beside, TaskState.DONE)
        assert beside.ladder.asks == 0
    assert bench.durations.of("async").usual(20.0) > 2.0


def test_it_can_be_told_not_to_wait() -> None:
    bench = Bench(resend_early=True)
    record = bench.begin_in_doubt(OTHER_SESSION)
    assert 2.5 <= bench.resent(record) < 3.5


def test_both_kinds_of_question_are_asked_behind_the_last_copy_and_behind_the_wait() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.step(0)
    seen: list[tuple[float, str]] = []
    while not seen or seen[-1][1] != "textInference":
        seen += [(bench.now, kind) for kind, _ in bench.deny(0)]
        bench.step(0.25)
    kinds = {kind for at, kind in seen if at - 1000 >= 20}
    assert kinds == {*QUESTIONS, "textInference"}
    assert record.sends == 2


@pytest.mark.parametrize("silent", QUESTIONS)
def test_a_kind_of_question_that_is_never_answered_does_not_hold_it_up(silent: str) -> None:
    bench = Bench(question_timeout=5)
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=300)
    while record.sends < 2:
        bench.step(0.25)
        for task in bench.written():
            if task["taskType"] == "ping":
                bench.say({"data": [{"taskType": "ping", "pong": True}]})
            elif task["taskType"] in QUESTIONS and task["taskType"] != silent:
                bench.refuse(record, "taskNotFound", taskType=task["taskType"])
    assert bench.now < 1000 + 35


def test_where_no_kind_of_question_is_taken_it_still_waits_until_the_task_is_overdue() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=300)
    begun = bench.now
    while record.sends < 2:
        bench.step(0.25)
        for task in bench.written():
            if task["taskType"] == "ping":
                bench.say({"data": [{"taskType": "ping", "pong": True}]})
            elif task["taskType"] in QUESTIONS:
                bench.refuse(record, "unsupportedTaskType", taskType=task["taskType"])
    assert 19.5 < bench.now - begun < 25


def test_a_server_that_answers_no_question_gets_no_second_copy() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=200)
    while not record.ended:
        bench.step(1)
        for task in bench.written():
            assert task["taskType"] != "textInference"
            bench.say({"data": [{"taskType": "ping", "pong": True}]})
    assert record.state is TaskState.UNKNOWN


@pytest.mark.parametrize("stall", [1.0, 3.0, 8.0])
def test_a_server_that_stalled_with_the_request_unread_runs_it_once(stall: float) -> None:
    """It reads what the dead socket had brought when it answers again, and registers it 1 s later.

    The durations of the kind are long known, and short.
    """
    bench = Bench()
    bench.begin()
    learn(bench, 0.2)
    begun = bench.now
    record = bench.written_task(timeout=120)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.step(begun + stall - bench.now)
    registered = bench.now + 1
    while not record.ended:
        bench.step(0)
        for task in bench.written():
            kind = task["taskType"]
            if kind == "ping":
                bench.say({"data": [{"taskType": "ping", "pong": True}]})
            elif kind == "textInference":
                assert bench.now >= registered, "it would run twice"
                bench.refuse(record, "conflictTaskUUID")
            elif kind == "getTaskDetails" and bench.now > registered + 5:
                response = {"data": [item(record)]}
                bench.say({"data": [{**task, "request": [{}], "response": response}]})
            else:
                bench.refuse(record, "taskNotFound", taskType=kind)
        bench.step(0.1)
    assert record.state is TaskState.DONE


def test_of_a_hundred_running_tasks_none_is_copied_though_they_look_unknown() -> None:
    """The session was forgotten, and a running task is "not found" by either question."""
    bench = Bench()
    bench.begin()
    learn(bench, 5, times=20)
    done_at: dict[str, float] = {}
    records: list[TaskRecord] = []
    for number in range(100):
        record = bench.task(timeout=300)
        records.append(record)
        done_at[record.uuid] = bench.now + 0.06 * number
    bench.written()
    bench.step(1)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    while not all(record.ended for record in records):
        bench.step(0)
        for task in bench.written():
            kind, uuid = task["taskType"], task.get("taskUUID", "")
            if kind == "ping":
                bench.say({"data": [{"taskType": "ping", "pong": True}]})
                continue
            assert kind in QUESTIONS, "a copy"
            record = next(each for each in records if each.uuid == uuid)
            if kind == "getTaskDetails" and bench.now >= done_at[uuid]:
                response = {"data": [item(record)]}
                bench.say({"data": [{**task, "request": [{}], "response": response}]})
            else:
                bench.refuse(record, "taskNotFound", taskType=kind)
        bench.step(0.1)
    assert bench.core.counters.resends == 0


@pytest.mark.parametrize("named", [True, False])
def test_a_late_denial_of_one_kind_is_no_answer_to_the_other(named: bool) -> None:
    bench = Bench(usual_duration=4, question_timeout=3)
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=60)

    def deny(kind: str) -> None:
        told = {"code": "taskNotFound", "taskType": kind, "taskUUID": record.uuid}
        bench.say({"errors": [told]} if named else {"data": []})

    def asked(kind: str) -> bool:
        bench.step(0.25)
        return {"taskType": kind, "taskUUID": record.uuid} in bench.written()

    assert {"taskType": "getTaskDetails", "taskUUID": record.uuid} in bench.written()
    deny("getTaskDetails")
    # The poll's answer is late: it comes when the archive has been asked once more.
    for kind in ("getResponse", "getTaskDetails"):
        assert any(asked(kind) for _ in range(30))
    deny("getResponse")
    bench.step(0)
    assert record.task_type not in [task["taskType"] for task in bench.written()]
    bench.say(
        {
            "data": [
                {
                    "taskType": "getTaskDetails",
                    "taskUUID": record.uuid,
                    "response": {"data": [item(record, "done")]},
                }
            ]
        }
    )
    assert record.state is TaskState.DONE
    assert bench.core.counters.resends == 0


def test_what_slept_with_the_host_has_no_duration() -> None:
    bench = Bench()
    slept = bench.begin_written()
    bench.now += 500
    bench.answer(slept)
    assert slept.state is TaskState.DONE
    lost = bench.written_task()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert bench.resent(lost) < 30


def test_what_ran_while_timers_came_due_on_time_has_a_duration() -> None:
    bench = Bench(busy_ping_after=0.5, busy_ping_timeout=5)
    bench.begin()
    for _ in range(10):
        record = bench.written_task(timeout=300)
        for _ in range(4):
            bench.step(1)
            assert bench.written(), "a ping"
            bench.say({"data": [{"taskType": "ping", "pong": True}]})
        bench.answer(record)
    lost = bench.written_task(timeout=300)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert 7 < bench.resent(lost) < 10, "twice the usual 4 s"


def test_a_resend_that_was_not_sent_is_none() -> None:
    bench = Bench(resend_early=True, resend_after=0)
    record = bench.begin_in_doubt(OTHER_SESSION)
    for kind in ("getTaskDetails", "getResponse"):
        assert [task["taskType"] for task in bench.written()] == [kind]
        bench.refuse(record, "taskNotFound", taskType=kind)
        bench.step(0)
    frame = bench.core.next_frame(bench.now)
    assert frame is not None
    assert frame.records == (record,)
    bench.core.not_written(bench.core.generation, frame)
    bench.cut()
    bench.reconnect()
    assert bench.core.counters.resends == 0
    assert not bench.events(TaskResent)
    bench.answer(record)
    assert record.recovered_by.value == "replay"


# A kind of question that is never answered


def _until_sent(bench: Bench, mute: str, *, empty: bool) -> list[str]:
    """The server knows no task, and never answers one kind of question; what it is sent till then.

    Its denials name nobody and no kind.
    """
    seen: list[str] = []
    while seen[-1:] != ["textInference"]:
        bench.step(0.25)
        for question in asked(bench):
            seen.append(question[0])
            if question[0] not in (mute, "textInference"):
                denial = {"code": "taskNotFound", "message": "m", "taskUUID": question[1]}
                bench.say({"data": []} if empty else {"errors": [denial]})
    return seen


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("mute", QUESTIONS)
def test_a_kind_that_is_never_answered_holds_a_lost_request_up_for_two_timeouts(
    mute: str, delivery: str, empty: bool
) -> None:
    bench = Bench()
    bench.begin_in_doubt(OTHER_SESSION, delivery=delivery, timeout=300)
    begun = bench.now
    _until_sent(bench, mute, empty=empty)
    assert bench.now - begun < 20 + 2 * 10 + 2


def test_one_silence_about_many_tasks_proves_no_kind_mute() -> None:
    bench = Bench()
    bench.begin()
    for _ in range(3):
        bench.task(timeout=300)
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert _until_sent(bench, "getResponse", empty=False).count("getResponse") == 2 * 3


def test_a_question_that_the_deadline_left_little_time_proves_no_kind_mute() -> None:
    bench = Bench()
    bench.begin()
    for _ in range(2):
        short = bench.written_task(timeout=8, delivery="async")
        bench.say({"data": [{"taskType": short.task_type, "taskUUID": short.uuid}]})
        bench.step(2)
    record = bench.written_task(timeout=300)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    polls = 0
    while record.sends == 1:
        bench.step(0.25)
        for kind, uuid in asked(bench):
            polls += (kind, uuid) == ("getResponse", record.uuid)
            if kind == "getTaskDetails":
                bench.say({"errors": [{"code": "taskNotFound", "message": "m", "taskUUID": uuid}]})
    assert polls == 2


@pytest.mark.parametrize("late", [False, True])
def test_on_a_socket_where_a_kind_is_mute_one_silence_of_it_is_enough(late: bool) -> None:
    bench = Bench()
    lost = bench.begin_in_doubt(OTHER_SESSION, timeout=300, delivery="async" if late else "sync")
    if late:
        # What names the other kind does not show that this one is answered.
        bench.step(0)
        assert asked(bench) == [("getResponse", lost.uuid)]
        bench.refuse(lost, "taskNotFound", taskType="getTaskDetails")
    _until_sent(bench, "getResponse", empty=False)
    record = bench.written_task()
    bench.core.cancel(record, bench.now)
    bench.numbers -= 1
    again = bench.task(timeout=300)
    seen: list[str] = []
    while not again.sends:
        bench.step(0.25)
        for kind, uuid in asked(bench):
            if uuid == again.uuid:
                seen.append(kind)
            if kind == "getTaskDetails":
                bench.say({"errors": [{"code": "taskNotFound", "message": "m", "taskUUID": uuid}]})
    assert seen.count("getResponse") == 1


def test_a_kind_that_was_answered_once_is_only_slow_and_gets_more_time() -> None:
    bench = Bench(resubmit="never")
    bench.begin_in_doubt(OTHER_SESSION, timeout=300)
    polls = 0
    while polls < 3:
        bench.step(0.25)
        for kind, uuid in asked(bench):
            polls += kind == "getResponse"
            told = {"code": "internalServerError", "message": "m", "taskUUID": uuid}
            if kind == "getTaskDetails":
                bench.say({"data": []})
            elif polls == 1:
                bench.say({"errors": [{**told, "taskType": kind}]})
    for _ in range(19):
        bench.step(1)
        assert not asked(bench)
    bench.step(2)
    assert asked(bench)


def _play(bench: Bench, mute: str, known_at: float, until: float) -> Counter[str]:
    """The server never answers one kind of question, and the other after a tenth of a second.

    It denies every task until ``known_at``, and has the results of all from then on. Returns how
    often each task was asked about or sent.
    """
    seen: Counter[str] = Counter()
    answers: list[dict[str, Any]] = []
    while bench.core.pending and bench.now < until:
        bench.step(0.1)
        for answer in answers:
            bench.say(answer)
        answers.clear()
        for kind, uuid in asked(bench):
            seen[uuid] += 1
            about = {"taskType": kind, "taskUUID": uuid}
            result = {"taskType": "textInference", "taskUUID": uuid, "text": "yes"}
            if kind == mute:
                continue
            if kind not in QUESTIONS:
                answers.append({"data": [result]})
            elif bench.now < known_at:
                answers.append({"errors": [{"code": "taskNotFound", "message": "m", **about}]})
            elif kind == "getResponse":
                answers.append({"data": [{**result, "status": "success"}]})
            else:
                answers.append({"data": [{**about, "response": {"data": [result]}}]})
    return seen


def _in_doubt(bench: Bench, number: int, delivery: str = "sync") -> list[TaskRecord]:
    """So many tasks went through a cut; 16 may be asked about at once."""
    bench.begin()
    records = [bench.task(timeout=100, delivery=delivery) for _ in range(number)]
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    return records


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("mute", QUESTIONS)
def test_questions_that_are_never_answered_do_not_hold_up_those_that_are(
    mute: str, delivery: str
) -> None:
    bench = Bench(question_window=16, resubmit="never")
    records = _in_doubt(bench, 480, delivery)
    seen = _play(bench, mute, known_at=bench.now + 30, until=bench.now + 80)
    assert all(record.state is TaskState.DONE for record in records)
    assert max(seen.values()) < 25


@pytest.mark.parametrize("number", [12, 480])
@pytest.mark.parametrize("mute", QUESTIONS)
def test_a_mute_kind_holds_many_lost_requests_up_no_longer_than_one(mute: str, number: int) -> None:
    bench = Bench(question_window=16)
    records = _in_doubt(bench, number)
    seen = _play(bench, mute, known_at=FOREVER, until=bench.now + 80)
    assert all(record.recovered_by is RecoveredBy.RESUBMIT for record in records)
    assert max(seen.values()) < 25


def test_a_kind_that_is_answered_after_all_is_asked_again() -> None:
    bench = Bench(question_window=16, resubmit="never")
    records = _in_doubt(bench, 40, "async")
    speaks_at, until = bench.now + 12, bench.now + 60
    while bench.core.pending and bench.now < until:
        bench.step(0.25)
        for kind, uuid in asked(bench):
            if kind == "getTaskDetails":
                bench.say({"errors": [{"code": "taskNotFound", "message": "m", "taskUUID": uuid}]})
            elif bench.now > speaks_at:
                result = {"taskType": "textInference", "taskUUID": uuid, "text": "yes"}
                bench.say({"data": [{**result, "status": "success"}]})
    assert all(record.recovered_by is RecoveredBy.POLL for record in records)


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("mute", QUESTIONS)
@pytest.mark.parametrize("timeout", [5, 30, 47, 100])
def test_before_the_deadline_a_question_that_is_not_answered_leaves_time_for_the_other(
    mute: str, delivery: str, timeout: int
) -> None:
    bench = Bench(resubmit="never")
    record = bench.begin_in_doubt(OTHER_SESSION, delivery=delivery, timeout=timeout)
    deadline = record.deadline
    _play(bench, mute, known_at=deadline - 2, until=deadline)
    ended(record, TaskState.DONE)
