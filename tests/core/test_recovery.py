"""The recovery ladder, rung by rung, for sync tasks and for tasks with many results."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest

from runware_ws._core.states import TaskState
from runware_ws.errors import InvalidTask, OutcomeUnknown, Submitted, TaskError
from runware_ws.events import SessionLost, SessionResumed, TaskResent
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, item
from tests.core.questions import asked, deny, receipt

# Rung 1


def test_rung_1_a_task_that_was_never_written_is_written_after_the_reconnect() -> None:
    bench = Bench()
    bench.begin()
    bench.cut()
    record = bench.task()
    bench.reconnect()
    assert asked(bench) == [("textInference", record.uuid)]
    bench.answer(record)
    assert record.recovered_by is RecoveredBy.LIVE


# Rung 2


def test_rung_2_a_replayed_answer_is_taken_and_nothing_is_asked() -> None:
    bench = Bench()
    record = bench.begin_in_doubt()
    assert bench.offered() == SESSION
    assert record.state is TaskState.RECOVERING
    bench.step(0.4)
    assert asked(bench) == []
    bench.answer(record)
    assert record.state is TaskState.DONE
    assert record.recovered_by is RecoveredBy.REPLAY
    (resumed,) = bench.events(SessionResumed)
    assert resumed.replayed == 1


def test_rung_2_a_replay_before_the_authentication_reply_is_taken_and_counted() -> None:
    bench = Bench()
    bench.begin()
    record, open_task = bench.written_task(), bench.written_task()
    bench.cut()
    bench.step(0.25)
    bench.open()
    bench.answer(record, "early")
    assert record.state is TaskState.DONE
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": SESSION}]})
    bench.step(1)
    assert not open_task.ended
    (resumed,) = bench.events(SessionResumed)
    assert resumed.replayed == 1


def test_rung_2_a_replay_that_flows_holds_back_the_questions() -> None:
    bench = Bench()
    bench.begin()
    records = [bench.written_task() for _ in range(6)]
    bench.cut()
    bench.reconnect()
    for record in records[:5]:
        bench.step(0.3)
        assert asked(bench) == []
        bench.answer(record)
    bench.step(0.6)
    assert asked(bench) == [("getTaskDetails", records[5].uuid)]
    assert bench.events(SessionResumed)[0].replayed == 5


def test_a_live_answer_after_a_resume_counts_as_the_replay_it_cannot_be_told_from() -> None:
    bench = Bench()
    record = bench.begin_in_doubt()
    bench.step(5)
    bench.answer(record)
    assert record.recovered_by is RecoveredBy.REPLAY


# Rung 3


def test_rung_3_the_archive_answers_what_the_dying_socket_lost() -> None:
    bench = Bench()
    record = bench.begin_in_doubt()
    bench.step(0.5)
    ((kind, uuid),) = asked(bench)
    assert (kind, uuid) == ("getTaskDetails", record.uuid)
    response = {"data": [item(record, "from the archive")]}
    bench.say({"data": [{"taskType": kind, "taskUUID": uuid, "request": [], "response": response}]})
    assert record.items[0]["text"] == "from the archive"
    assert record.recovered_by is RecoveredBy.ARCHIVE


@pytest.mark.parametrize(
    "response",
    [
        pytest.param('{"data": [ITEM]}', id="frame"),
        pytest.param('{"data": ITEM}', id="frame with one item"),
        pytest.param("[ITEM]", id="list"),
        pytest.param("ITEM", id="item"),
    ],
)
def test_rung_3_the_shape_of_the_archived_response_does_not_matter(response: str) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    ((kind, uuid),) = asked(bench)
    shape = orjson.loads(response.replace("ITEM", orjson.dumps(item(record, "kept")).decode()))
    bench.say({"data": [{"taskType": kind, "taskUUID": uuid, "response": shape}]})
    assert record.items[0]["text"] == "kept"


@pytest.mark.parametrize("shape", [None, {}, [], {"data": []}, "text", 7, {"data": ["x"]}])
def test_rung_3_an_archive_without_an_answer_is_asked_again_later(shape: object) -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    ((kind, uuid),) = asked(bench)
    known: dict[str, object] = {
        "taskType": kind,
        "taskUUID": uuid,
        "request": [{}],
        "response": shape,
    }
    bench.say({"data": [known]})
    assert not record.ended
    assert record.submitted is Submitted.YES
    bench.step(3)
    assert asked(bench) == [(kind, uuid)]


@pytest.mark.parametrize("shape", [None, {}, {"data": []}])
def test_rung_3_an_archive_that_knows_nothing_of_the_task_denies_it(shape: object) -> None:
    bench = Bench(resend_after=0, resend_early=True)
    record = bench.begin_in_doubt(OTHER_SESSION)
    ((kind, uuid),) = asked(bench)
    bench.say({"data": [{"taskType": kind, "taskUUID": uuid, "request": [], "response": shape}]})
    assert record.submitted is Submitted.MAYBE
    assert bench.deny(0) == [("getResponse", uuid)]
    assert bench.deny(0) == [("textInference", uuid)]


def test_rung_3_an_archived_error_ends_the_task() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    ((kind, uuid),) = asked(bench)
    response = {"errors": [{"code": "providerError", "message": "m", "taskUUID": uuid}]}
    bench.say({"data": [{"taskType": kind, "taskUUID": uuid, "response": response}]})
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "providerError"


def test_rung_3_a_lost_session_is_told_with_the_tasks_at_risk_and_asked_for_at_once() -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.cut()
    queued = bench.task()
    bench.reconnect(OTHER_SESSION)
    (lost,) = bench.events(SessionLost)
    assert lost.session_uuid == SESSION
    assert lost.at_risk == (record.uuid,)
    assert asked(bench) == [("getTaskDetails", record.uuid), ("textInference", queued.uuid)]
    assert bench.core.session_uuid == OTHER_SESSION


def test_rung_3_questions_share_frames_and_stay_within_the_window() -> None:
    bench = Bench(question_window=10, batch_tasks=4, batch_bytes=100_000)
    bench.begin()
    records = [bench.written_task() for _ in range(30)]
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    first = bench.core.next_frame(bench.now)
    assert first is not None
    assert first.data.count(b"getTaskDetails") == 4
    assert len(asked(bench)) == 6
    for record in records[:3]:
        bench.answer(record)
    assert len(asked(bench)) == 3
    assert bench.core.sizes()["questions"] == 10


def test_rung_3_a_question_without_an_answer_is_asked_again() -> None:
    bench = Bench(question_timeout=5)
    record = bench.begin_in_doubt(OTHER_SESSION)
    assert len(asked(bench)) == 1
    bench.step(4.9)
    assert asked(bench) == []
    bench.step(0.2)
    assert asked(bench) == [("getResponse", record.uuid)], "the other way"
    assert bench.core.sizes()["questions"] == 1


def test_rung_3_questions_about_one_task_back_off() -> None:
    bench = Bench(question_backoff_cap=8)
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=1000)
    times: list[float] = []
    for _ in range(400):
        for kind, _uuid in asked(bench):
            assert kind == "getTaskDetails"
            times.append(bench.now)
            bench.say({"data": [{"taskType": kind, "taskUUID": record.uuid, "request": [{}]}]})
        bench.step(0.1)
    gaps = [round(b - a, 1) for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert max(gaps) == pytest.approx(8, abs=0.2)


def test_rung_3_one_more_question_goes_out_shortly_before_the_deadline() -> None:
    bench = Bench()
    record = bench.begin_written(timeout=50)
    deadline = bench.now + 50
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    last = 0.0
    while not record.ended:
        for kind, uuid in asked(bench):
            last = bench.now
            bench.say({"data": [{"taskType": kind, "taskUUID": uuid, "request": [{}]}]})
        bench.step(0.1)
    assert deadline - 2.5 < last < deadline


# Rung 4


def test_rung_4_a_task_that_the_server_does_not_know_is_sent_again_under_its_uuid() -> None:
    bench = Bench(resend_after=1.5)
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.resent(record)
    assert [event.task_uuid for event in bench.events(TaskResent)] == [record.uuid]
    bench.answer(record)
    assert record.recovered_by is RecoveredBy.RESUBMIT


def test_rung_4_a_conflict_after_our_resend_is_a_receipt() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.resent(record)
    receipt(bench, record)
    assert not record.ended
    assert record.submitted is Submitted.YES
    kinds = {kind for kind, _ in bench.deny(60)}
    assert kinds == {"getTaskDetails", "getResponse"}, "it goes on asking, and never sends again"
    bench.answer(record)
    assert record.state is TaskState.DONE
    assert record.recovered_by is RecoveredBy.REPLAY


def test_rung_4_never_means_never() -> None:
    bench = Bench(resubmit="never", resend_after=0)
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=60)
    while not record.ended:
        assert {kind for kind, _ in bench.deny(1)} <= {"getTaskDetails", "getResponse"}
    failure = ended(record, TaskState.UNKNOWN)
    assert isinstance(failure, OutcomeUnknown)
    assert failure.submitted is Submitted.MAYBE
    assert not failure.safe_to_resend


def test_rung_4_a_denial_that_comes_twice_does_not_end_the_task() -> None:
    bench = Bench(question_timeout=5)
    record = bench.begin_in_doubt(OTHER_SESSION)
    assert len(asked(bench)) == 1
    bench.step(5)
    assert len(asked(bench)) == 1
    for _ in range(3):
        bench.refuse(record, "taskNotFound")
    bench.resent(record)
    bench.refuse(record, "taskNotFound")
    assert not record.ended
    bench.answer(record)
    assert record.state is TaskState.DONE


def test_rung_4_a_second_resend_waits_from_the_denial_that_was_asked_behind_the_first() -> None:
    bench = Bench(question_timeout=5, resend_after=1.5)
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.resent(record)
    while not asked(bench):
        bench.step(0.5)
    assert record.ladder.question is not None
    deny(bench, record, record.ladder.question.value)
    # It is written again only if a task of its kind would be done; and from the second resend
    # on there is a part on top of resend_after, of up to another resend_after.
    assert 1.5 <= bench.resent(record) <= 25


def test_rung_4_a_receipt_before_the_resend_was_written_keeps_the_task_in_question() -> None:
    bench = Bench(resend_after=1.5)
    record = bench.begin_in_doubt(OTHER_SESSION)
    asked(bench)
    deny(bench, record)
    bench.step(1.5)
    receipt(bench, record)
    kinds = {kind for kind, _ in bench.deny(60)}
    assert kinds == {"getTaskDetails", "getResponse"}


def test_a_task_that_was_given_up_can_be_sent_again_under_its_uuid() -> None:
    bench = Bench()
    record = bench.begin_written(timeout=5)
    bench.cut()
    bench.step(5)
    assert record.state is TaskState.UNKNOWN
    bench.ready()
    bench.numbers -= 1
    again = bench.task()
    assert again.uuid == record.uuid
    assert again.submitted is Submitted.MAYBE
    ((kind, uuid),) = asked(bench)
    assert kind == "getTaskDetails", "the server may have it: it is asked first"
    answer = {"taskType": kind, "taskUUID": uuid, "response": {"data": [item(again)]}}
    bench.say({"data": [answer]})
    assert again.state is TaskState.DONE


def test_a_second_try_that_the_server_does_not_know_is_sent() -> None:
    bench = Bench(resend_after=1.5, resubmit="never")
    record = bench.begin_written(timeout=5)
    bench.step(5)
    asked(bench)
    bench.numbers -= 1
    again = bench.task()
    assert asked(bench) == [("getTaskDetails", again.uuid)]
    deny(bench, again)
    assert bench.resent(again) >= 20, "the first copy may still run"
    bench.answer(again)
    assert again.state is TaskState.DONE
    assert record.state is TaskState.TIMED_OUT
    bench.numbers -= 1
    with pytest.raises(InvalidTask):
        bench.task()


def test_rung_4_a_server_without_an_archive_is_asked_by_sending_the_same_task() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION)
    sent: list[str] = []
    while "textInference" not in sent:
        for kind, _ in asked(bench):
            sent.append(kind)
            if kind != "textInference":
                bench.refuse(record, "unsupportedTaskType", taskType=kind)
        bench.step(0.5)
    assert bench.now < 1000 + 30
    bench.answer(record)
    assert record.state is TaskState.DONE


# Rung 5


def test_rung_5_the_deadline_after_a_cut_says_that_nobody_can_know() -> None:
    bench = Bench()
    record = bench.begin_written(timeout=10)
    bench.cut()
    bench.step(10)
    failure = ended(record, TaskState.UNKNOWN)
    assert isinstance(failure, OutcomeUnknown)
    assert failure.submitted is Submitted.MAYBE
    assert "broke" in failure.message
    bench.ready()
    bench.answer(record, "late")
    assert bench.core.claim(record.uuid) == [item(record, "late")]


# Many results


def test_many_results_partly_delivered_before_the_cut_are_completed_by_the_archive() -> None:
    bench = Bench()
    record = bench.begin_written(expected=3)
    bench.answer(record, "0", resultIndex=0)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    ((kind, uuid),) = asked(bench)
    everything = [item(record, str(i), resultIndex=i) for i in range(3)]
    bench.say({"data": [{"taskType": kind, "taskUUID": uuid, "response": {"data": everything}}]})
    assert record.state is TaskState.DONE
    assert [i["text"] for i in record.items] == ["0", "1", "2"]


def test_many_results_replayed_once_more_are_delivered_once() -> None:
    bench = Bench()
    record = bench.begin_written(expected=3)
    bench.say({"data": [item(record, "0"), item(record, "1")]})
    bench.cut()
    bench.reconnect()
    bench.say({"data": [item(record, "1"), item(record, "0")]})
    bench.say({"data": [item(record, "2"), item(record, "1")]})
    assert record.state is TaskState.DONE
    assert [i["text"] for i in record.items] == ["0", "1", "2"]
