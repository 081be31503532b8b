"""Rules about sockets and sessions whose loss no other test noticed: see ``tests.mutation``."""

from __future__ import annotations

from typing import Any

import orjson

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import ConnectionFailed
from runware_ws.events import Closed, Connected
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, SESSION, Bench, item
from tests.core.questions import QUESTIONS
from tests.core.questions import questions as due


def questions(bench: Bench) -> list[tuple[str, str]]:
    """What is asked now, and about which task; pings are answered."""
    return [(task["taskType"], task["taskUUID"]) for task in due(bench)]


def deny(bench: Bench, kind: str, uuid: str) -> None:
    """There is no such task."""
    told = {"code": "taskNotFound", "message": "m", "taskType": kind, "taskUUID": uuid}
    bench.say({"errors": [told]})


# Questions


def test_a_freed_question_slot_wakes_the_writer() -> None:
    bench = Bench(question_window=1)
    bench.begin()
    first, second = bench.written_task(), bench.written_task()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.step(1)
    assert len(questions(bench)) == 1
    running = {"taskType": "textInference", "taskUUID": first.uuid, "status": "processing"}
    bench.core.receive(bench.core.generation, orjson.dumps({"data": [running]}), bench.now)
    todo = bench.core.take()
    assert todo is not None
    assert todo.writable
    assert [uuid for _, uuid in questions(bench)] == [second.uuid]


def test_a_replay_without_end_holds_questions_back_for_some_seconds_only() -> None:
    bench = Bench()
    bench.begin()
    lost = bench.written_task()
    others = [bench.written_task() for _ in range(60)]
    bench.cut()
    bench.reconnect(SESSION)
    begun = bench.now
    for record in others:
        bench.step(0.25)
        bench.answer(record)
        if lost.uuid in [uuid for _, uuid in questions(bench)]:
            break
    assert bench.now - begun <= 7


def test_the_last_question_is_of_the_usual_kind() -> None:
    for timeout in range(40, 60):
        bench = Bench(resubmit="never")
        bench.begin_in_doubt(OTHER_SESSION, timeout=float(timeout))
        end = 1_000.0 + timeout
        last: list[str] = []
        while not last:
            for kind, uuid in questions(bench):
                if bench.now >= end - 2:
                    last.append(kind)
                deny(bench, kind, uuid)
            bench.step(0.25)
            assert bench.now < end + 1
        assert last[0] == "getTaskDetails", timeout


def test_of_a_task_that_runs_polls_are_asked_more_often_than_the_archive() -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task(delivery="async", timeout=900.0)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    kinds: list[str] = []
    while len(kinds) < 12:
        for kind, uuid in questions(bench):
            kinds.append(kind)
            told = {"code": "internalServerError", "message": "m", "taskType": kind}
            bench.say({"errors": [{**told, "taskUUID": uuid}]})
        bench.step(0.5)
        assert bench.now < 1_800
    assert kinds.count("getResponse") == 8


def test_what_is_about_to_be_sent_again_is_not_if_the_server_shows_it() -> None:
    bench = Bench(resend_early=True)
    record = bench.begin_in_doubt(OTHER_SESSION)
    while not bench.core.sizes()["resending"]:
        bench.step(0.25)
        frame = bench.core.next_frame(bench.now)
        for task in orjson.loads(frame.data) if frame is not None else ():
            deny(bench, task["taskType"], task["taskUUID"])
        assert bench.now < 1_090
    running = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
    bench.say({"data": [running]})
    assert questions(bench) == []
    assert record.sends == 1


# Sessions


def test_what_comes_before_the_reply_to_the_authentication_is_a_replay() -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.cut()
    bench.step(0.25)
    bench.open()
    bench.answer(record)
    assert record.state is TaskState.DONE
    assert record.recovered_by is RecoveredBy.REPLAY


def test_a_session_in_capitals_is_the_same() -> None:
    session = "5d7c1a52-7a0c-4c39-9d3d-3d9b6f0c2a11"
    bench = Bench()
    bench.begin(session)
    bench.cut()
    bench.reconnect(session.upper())
    assert [event.resumed for event in bench.events(Connected)] == [False, True]


def test_a_stream_that_is_given_up_behind_a_cut_is_not_read_on() -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task(delivery="stream", deltas=Deltas())
    bench.cut()
    bench.reconnect(SESSION)
    bench.core.cancel(record, bench.now)
    assert bench.core.sizes()["left"] == 0


def test_a_dial_is_pulled_near_once() -> None:
    bench = Bench(delay=8.0)
    bench.begin_written()
    bench.cut()
    drawn = len(bench.delays)
    for _ in range(5):
        bench.task()
    assert len(bench.delays) == drawn + 1


def test_a_client_that_failed_tells_of_its_end_once() -> None:
    bench = Bench()
    bench.begin_written()
    bench.core.fail(ConnectionFailed("it cannot go on"), bench.now)
    bench.core.close(bench.now)
    bench.core.close(bench.now)
    assert len(bench.events(Closed)) == 1


# Results over a limit


def too_big(bench: Bench) -> None:
    """The socket ends over a result that is too big for us."""
    bench.cut(loss=Loss(LossKind.INBOUND_TOO_BIG, detail="frame over the limit"))


def refused(bench: Bench) -> None:
    """The server ends the socket over a message that is too big."""
    bench.cut(1009)


def test_what_went_through_is_not_too_big_so_it_was_a_result() -> None:
    bench = Bench()
    bench.begin()
    big = bench.written_task(size=9_000)
    bench.written_task()
    bench.answer(big)
    refused(bench)
    bench.reconnect(SESSION)
    refused(bench)
    bench.step(0.25)
    bench.open()
    assert bench.offered() is None, "after the second time nothing is to be replayed"


def sent_again(bench: Bench, record: TaskRecord) -> None:
    """On a new socket the task is denied until it is sent again; other questions stay open."""
    bench.reconnect(OTHER_SESSION)
    for _ in range(200):
        for kind, uuid in questions(bench):
            if uuid == record.uuid and kind not in QUESTIONS:
                return
            if uuid == record.uuid:
                deny(bench, kind, uuid)
        bench.step(0.25)
    raise AssertionError("it was not sent again")


def test_a_request_beside_open_questions_is_blamed_later_than_one_alone() -> None:
    bench = Bench(resend_after=0, question_timeout=1_000, keepalive=1_000)
    bench.begin()
    giant = bench.written_task()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.step(1)
    assert [uuid for _, uuid in questions(bench)] == [giant.uuid]
    innocent = bench.written_task(size=9_000)
    refused(bench)
    sent_again(bench, innocent)
    refused(bench)
    assert not innocent.ended, "the giant's answer may have done it"


def two_after_two_giants(bench: Bench) -> list[str]:
    """Two tasks, and two sockets that ended over a result; their taskUUIDs."""
    bench.begin()
    uuids = [bench.written_task().uuid for _ in range(2)]
    for _ in range(2):
        too_big(bench)
        bench.reconnect(OTHER_SESSION)
    return uuids


def test_the_first_task_that_was_asked_about_may_be_innocent() -> None:
    bench = Bench()
    uuids = two_after_two_giants(bench)
    bench.step(1)
    ((_, asked),) = questions(bench)
    assert asked in uuids
    too_big(bench)
    assert bench.core.pending == 2, "a result that came by itself may have done it"


def test_the_search_for_a_giant_result_ends() -> None:
    bench = Bench(keepalive=1_000.0)
    uuids = two_after_two_giants(bench)
    for _ in range(80):
        bench.step(0.5)
        for kind, uuid in questions(bench):
            if kind in QUESTIONS:
                running = {"taskType": "textInference", "taskUUID": uuid, "status": "processing"}
                bench.say({"data": [running]})
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.step(1)
    assert sorted(uuid for _, uuid in questions(bench)) == sorted(uuids)


# Requests that the server closes over


def suspects(bench: Bench) -> list[Any]:
    """Three tasks of one frame over which the server closed; all are to be sent again now."""
    bench.begin()
    records = [bench.task() for _ in range(3)]
    bench.written()
    bench.cut(1007)
    bench.reconnect(OTHER_SESSION)
    while bench.core.sizes()["resending"] < 3:
        bench.step(0.25)
        while bench.core.sizes()["asking"]:
            # Questions go first.
            frame = bench.core.next_frame(bench.now)
            assert frame is not None
            for task in orjson.loads(frame.data):
                if task["taskType"] in QUESTIONS:
                    deny(bench, task["taskType"], task["taskUUID"])
        assert bench.now < 1_090
    return records


def sent(bench: Bench) -> list[str]:
    """The tasks that go out now."""
    return [task["taskUUID"] for task in bench.written() if task["taskType"] not in QUESTIONS]


def test_suspects_go_out_one_by_one() -> None:
    bench = Bench(resend_early=True)
    records = suspects(bench)
    seen: list[str] = []
    times: list[float] = []
    while len(seen) < 3:
        bench.step(0.1)
        now = sent(bench)
        assert len(now) <= 1
        seen += now
        times += [bench.now] * len(now)
        assert bench.now < 1_095
    assert sorted(seen) == sorted(record.uuid for record in records)
    assert times[1] - times[0] >= 0.5
    assert times[2] - times[1] >= 0.5


def test_an_answered_suspect_lets_the_next_one_go() -> None:
    bench = Bench(resend_early=True)
    records = {record.uuid: record for record in suspects(bench)}
    (first,) = sent(bench)
    answer = orjson.dumps({"data": [item(records[first])]})
    bench.core.receive(bench.core.generation, answer, bench.now)
    todo = bench.core.take()
    assert todo is not None
    assert todo.writable
    assert len(sent(bench)) == 1


def test_what_was_held_back_wakes_the_writer() -> None:
    bench = Bench(resend_early=True)
    suspects(bench)
    assert len(sent(bench)) == 1
    due = bench.core.next_deadline()
    assert due <= bench.now + 1
    bench.core.on_deadline(due)
    todo = bench.core.take()
    assert todo is not None
    assert todo.writable


# Keys


def test_a_refused_key_of_long_ago_does_not_count() -> None:
    bench = Bench(fixed_key=False)
    refusal = {"code": "invalidApiKey", "message": "no", "taskType": "authentication"}
    bench.start()
    bench.open()
    bench.say({"errors": [refusal]})
    begun = bench.now
    while bench.now < begun + 700:
        # Then nobody is there.
        bench.step(10)
        bench.cut(loss=Loss(LossKind.DIAL_FAILED, detail="nobody listens"))
    bench.step(10)
    bench.open()
    bench.say({"errors": [refusal]})
    assert bench.core.failure is None
