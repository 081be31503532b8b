"""Rules that only the mutants of a second look broke unnoticed: see ``tests.mutation``."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.durations import Durations
from runware_ws._core.tasks.record import Carrier, TaskRecord
from runware_ws._core.tasks.requests import Requests
from runware_ws._core.tasks.schedule import TURN
from runware_ws._core.tasks.tombstones import Tombstones
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import InvalidTask, ProtocolError, Submitted, TaskError
from runware_ws.events import Draining, SessionLost, SessionResumed
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, error, item, uuid_of
from tests.core.http_bench import UNREACHED, HttpBench, refused
from tests.core.questions import QUESTIONS, asked, deny, questions


def _running(record: TaskRecord) -> dict[str, Any]:
    return {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}


# Requests


def _refused_over(size: int) -> tuple[Bench, int]:
    """A server that refused a frame with a task of this size; how many bytes that frame had."""
    bench = Bench()
    bench.begin()
    record = bench.written_task(size=size)
    for _ in range(3):
        bench.cut(1009)
        if record.ended:
            break
        bench.reconnect()
        bench.resent(record)
    assert isinstance(record.error, ProtocolError)
    return bench, record.size + 2


def test_a_frame_of_the_very_size_that_was_refused_is_refused_before_the_wire() -> None:
    bench, refused = _refused_over(10_000)
    bench.reconnect()
    with pytest.raises(InvalidTask, match=f"refused a frame of {refused}"):
        bench.task(size=10_000)
    assert bench.task(size=9_999).state is TaskState.QUEUED


def test_resends_share_frames_within_the_limit_in_bytes() -> None:
    bench = Bench(resend_early=True, batch_bytes=5_000)
    bench.begin()
    for _ in range(9):
        bench.written_task(size=2_000)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    resent = 0
    while resent < 9:
        bench.step(0.25)
        while (frame := bench.core.next_frame(bench.now)) is not None:
            assert len(frame.data) <= 5_000
            resent += len(frame.records)
            if not frame.records:
                _deny_all(bench, frame.data)
        assert bench.now < 1_060


def _deny_all(bench: Bench, data: bytes) -> None:
    for task in orjson.loads(data):
        if task["taskType"] in QUESTIONS:
            told = {"code": "taskNotFound", "message": "m", "taskType": task["taskType"]}
            bench.say({"errors": [{**told, "taskUUID": task["taskUUID"]}]})


def test_what_may_be_too_big_is_sent_again_with_nobody_behind_it() -> None:
    bench = Bench(resend_early=True)
    bench.begin()
    suspect = bench.written_task(size=5_000)
    bench.cut(1009)
    bench.reconnect(OTHER_SESSION)
    other = bench.written_task()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    while bench.core.sizes()["resending"] < 2:
        bench.step(0.25)
        frame = bench.core.next_frame(bench.now) if bench.core.sizes()["asking"] else None
        if frame is not None:
            _deny_all(bench, frame.data)
        assert bench.now < 1_060
    frames = [bench.core.next_frame(bench.now) for _ in range(2)]
    sent = [[record.uuid for record in frame.records] for frame in frames if frame is not None]
    assert sent == [[suspect.uuid], [other.uuid]]


# What is planned is not lost


@pytest.mark.parametrize("note", ["running", "receipt"])
def test_what_waits_to_be_sent_again_and_is_shown_is_asked_for_again(note: str) -> None:
    bench = Bench(resend_early=True, ping_after=1_000.0, busy_ping_after=1_000.0, keepalive=1_000)
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=600.0)
    while not bench.core.sizes()["resending"]:
        bench.step(0.25)
        frame = bench.core.next_frame(bench.now)
        if frame is not None:
            _deny_all(bench, frame.data)
        assert bench.now < 1_090
    # The socket takes nothing for longer than a question waits for its answer.
    bench.step(30)
    if note == "running":
        bench.say({"data": [_running(record)]})
    else:
        bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    bench.step(30)
    assert record.uuid in [uuid for kind, uuid in asked(bench) if kind in QUESTIONS]


def test_a_replay_that_a_cut_ends_is_told_of() -> None:
    bench = Bench()
    bench.begin()
    first, _ = bench.written_task(), bench.written_task()
    bench.cut()
    bench.reconnect(SESSION)
    bench.answer(first)
    bench.cut()
    (told,) = bench.events(SessionResumed)
    assert told.replayed == 1


@pytest.mark.parametrize("delivery", ["async", "sync"])
def test_a_replay_that_nobody_waits_for_is_over_at_once(delivery: str) -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task(delivery=delivery)
    if delivery == "sync":
        bench.answer(record)
    bench.cut()
    bench.step(0.25)
    bench.ready(SESSION)
    (told,) = bench.events(SessionResumed)
    assert told.replayed == 0


def test_a_task_that_is_given_up_during_a_replay_was_not_replayed() -> None:
    bench = Bench()
    bench.begin()
    first, second = bench.written_task(), bench.written_task()
    bench.cut()
    bench.reconnect(SESSION)
    bench.core.cancel(first, bench.now)
    bench.answer(second)
    (told,) = bench.events(SessionResumed)
    assert told.replayed == 1


def test_what_a_replay_held_back_is_held_by_no_dead_socket() -> None:
    bench = Bench()
    bench.begin()
    first, *others = [bench.written_task() for _ in range(40)]
    bench.cut()
    bench.reconnect(SESSION)
    for record in others:
        bench.step(0.1)
        bench.answer(record)
        if bench.core.sizes()["held"]:
            break
    assert not first.ended
    bench.cut()
    assert bench.core.sizes()["held"] == 0


def test_what_usually_takes_long_is_asked_for_as_soon_as_anything_is() -> None:
    bench = Bench(ping_after=500.0, busy_ping_after=500.0, question_backoff_cap=10.0)
    bench.durations.of("sync").observe(200.0)
    record = bench.begin_in_doubt(SESSION, timeout=900.0)
    bench.step(11)
    assert ("getTaskDetails", record.uuid) in asked(bench)


def test_a_task_without_a_deadline_is_asked_for_for_ever() -> None:
    bench = Bench(ping_after=50.0, busy_ping_after=50.0)
    bench.begin()
    record = bench.written_task(delivery="async", timeout=float("inf"))
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    # Nothing that a task is asked with counts as long as it lives.
    while record.ladder.asks < 1_100:
        bench.step(5)
        for task in questions(bench):
            told = {"code": "internalServerError", "message": "m", "taskType": task["taskType"]}
            bench.say({"errors": [{**told, "taskUUID": record.uuid}]})


def test_a_flood_that_lasts_an_hour_puts_nothing_off_for_longer_than_one_of_a_minute() -> None:
    bench = Bench(ping_after=1_000.0, busy_ping_after=1_000.0)
    bench.begin_written(timeout=float("inf"))
    for _ in range(90):
        bench.step(40)
        bench.written()
        bench.say(b"{")
    late = bench.written_task(timeout=float("inf"))
    bench.say(b"{")
    bench.step(60)
    assert late.uuid in [uuid for _, uuid in asked(bench)]


# What the caller is told


def test_a_denial_of_what_was_asked_before_a_task_was_overdue_counts_for_nothing() -> None:
    bench = Bench(usual_duration=20.0, question_timeout=10.0)
    record = bench.begin_in_doubt(OTHER_SESSION)
    overdue = record.written_at + 20.0
    counted: dict[str, float] = {}
    waiting: list[tuple[float, dict[str, Any]]] = []
    while record.sends == 1:
        bench.step(0.25)
        waiting += [(bench.now, task) for task in questions(bench) if task["taskType"] in QUESTIONS]
        for at, task in [each for each in waiting if bench.now >= each[0] + 4]:
            waiting.remove((at, task))
            if at >= overdue:
                counted[task["taskType"]] = at
            deny(bench, record, task["taskType"])
        assert bench.now < 1_090
    # Each kind said so about what was asked when the task was overdue.
    assert set(counted) == set(QUESTIONS)


def test_draining_twice_is_told_once() -> None:
    bench = Bench()
    bench.begin()
    bench.core.drain(bench.now)
    bench.core.drain(bench.now)
    assert len(bench.events(Draining)) == 1


def test_a_lost_session_is_told_though_nothing_was_at_risk() -> None:
    bench = Bench()
    bench.begin()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    (lost,) = bench.events(SessionLost)
    assert (lost.session_uuid, lost.at_risk) == (SESSION, ())


def test_a_claim_may_be_written_in_capitals() -> None:
    bench = Bench()
    bench.numbers = 0xABC
    record = bench.begin_written()
    bench.core.cancel(record, bench.now)
    bench.answer(record)
    assert record.uuid.upper() != record.uuid
    assert bench.core.claim(record.uuid.upper()) == [item(record)]


def test_a_socket_that_has_ended_is_not_heard_though_none_came_after_it() -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.cut()
    assert bench.core.state is ConnectionState.BACKOFF
    bench.answer(record)
    bench.say({"errors": [error(record, "inferenceError", taskType=record.task_type)]})
    assert not record.ended


# Bounds


def test_what_is_remembered_of_empty_answers_is_bounded() -> None:
    bench = Bench()
    bench.begin()
    records = [bench.written_task(timeout=9_000.0) for _ in range(4)]
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    found = bench.core._recovery.questions  # pyright: ignore[reportPrivateUsage]
    most = 0
    for number in range(4_000):
        bench.step(1)
        for kind, uuid in asked(bench):
            if kind not in QUESTIONS:
                continue
            if number // 100 % 2:
                bench.say({"data": []})
            else:
                running = {"taskType": "textInference", "taskUUID": uuid, "status": "processing"}
                bench.say({"data": [running]})
        remembered = len(found._emptied) + len(found._unanswered)  # pyright: ignore[reportPrivateUsage]
        most = max(most, remembered)
    assert not any(record.ended for record in records)
    assert most <= 4 * len(records)


def test_pieces_of_streams_that_others_sent_are_remembered_within_the_limit() -> None:
    bench = Bench(claim_limit=5)
    bench.begin()
    for number in range(20):
        piece = {"taskType": "textInference", "taskUUID": uuid_of(1_000 + number)}
        bench.say({"data": [{**piece, "delta": {"text": "x"}}]})
    foreign = bench.core._table.left.foreign  # pyright: ignore[reportPrivateUsage]
    assert [*foreign] == [uuid_of(1_015 + number) for number in range(5)]
    bench.numbers = 1_018
    again = bench.task()
    assert again.uuid == uuid_of(1_019)
    assert again.uuid not in foreign
    assert again.ladder.reused


def test_what_is_learned_of_kinds_of_tasks_is_bounded() -> None:
    durations = Durations(limit=3)
    first = durations.of(0)
    for kind in range(1, 4):
        durations.of(kind)
    assert durations.of(0) is not first


def test_what_is_remembered_of_ended_tasks_is_bounded() -> None:
    tombstones = Tombstones(limit=1 << 16, lot=1 << 12)
    for number in range(300_000):
        tombstones.add(str(number), TaskState.DONE, 0.0, 1)
    assert len(tombstones) <= 1 << 17


def test_what_a_task_asked_for_is_counted_once_however_often_it_is_given_up() -> None:
    requests = Requests()
    for _ in range(3):
        requests.add("a", b"x" * 100)
    requests.drop("a")
    assert (len(requests), requests.size) == (0, 0)


def test_no_delta_of_a_stream_that_was_given_up_waits_for_a_reader() -> None:
    bench = Bench()
    bench.begin()
    deltas = Deltas()
    record = bench.written_task(delivery="stream", deltas=deltas)
    piece = {"taskType": record.task_type, "taskUUID": record.uuid, "delta": {"text": "x"}}
    bench.say({"data": [piece]})
    bench.core.cancel(record, bench.now)
    for _ in range(10):
        bench.say({"data": [piece]})
    assert (deltas.text(), len(deltas.pending)) == ("x" * 11, 0)


# Ends


def test_a_refusal_of_a_second_try_is_not_safe_to_send_again() -> None:
    bench = Bench()
    first = bench.begin_written()
    bench.core.cancel(first, bench.now)
    bench.numbers = 0
    again = bench.task()
    bench.resent(again)
    bench.refuse(again, "invalidModel", taskType=again.task_type)
    bench.step(60)
    for _ in range(40):
        if again.ended:
            break
        bench.step(0.5)
        bench.written()
        bench.refuse(again, "invalidModel", taskType=again.task_type)
    assert isinstance(again.error, TaskError)
    assert not again.error.safe_to_resend


def test_a_second_try_that_runs_since_an_older_socket_is_in_doubt_at_its_deadline() -> None:
    bench = Bench(ping_after=500.0, busy_ping_after=500.0)
    first = bench.begin_written()
    bench.core.cancel(first, bench.now)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.numbers = 0
    again = bench.task(timeout=20.0)
    assert [uuid for _, uuid in asked(bench)] == [again.uuid]
    bench.say({"data": [_running(again)]})
    bench.step(21)
    error = ended(again, TaskState.UNKNOWN)
    assert error is not None
    assert error.submitted is Submitted.YES


def test_the_servers_verdict_shows_that_it_had_the_task() -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.refuse(record, "inferenceError", taskType=record.task_type)
    assert record.submitted is Submitted.YES


def test_what_a_poll_repeats_is_believed_whatever_the_archive_says_of_the_request() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async", timeout=300.0)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    request = [{"taskUUID": record.uuid}]
    for _ in range(800):
        bench.step(0.25)
        for kind, uuid in asked(bench):
            if kind == "getResponse":
                bench.refuse(record, "inferenceError", taskType=kind)
            elif kind == "getTaskDetails":
                bench.say({"data": [{"taskType": kind, "taskUUID": uuid, "request": request}]})
        if record.ended:
            break
    assert isinstance(record.error, TaskError)


def test_a_refusal_that_may_be_the_end_is_not_asked_for_without_a_pause_at_the_deadline() -> None:
    bench = Bench(resend_early=True)
    record = bench.begin_in_doubt(OTHER_SESSION, timeout=40.0)
    bench.resent(record)
    bench.refuse(record, "rateLimitExceeded", taskType=record.task_type)
    assert record.ladder.barred
    asks = 0
    while not record.ended:
        bench.step(0.1)
        for kind, uuid in asked(bench):
            asks += 1
            told = {"code": "internalServerError", "message": "m", "taskType": kind}
            bench.say({"errors": [{**told, "taskUUID": uuid}]})
    assert asks < 40


def test_tasks_that_are_answered_before_their_turn_after_a_cut_are_left_alone() -> None:
    bench = Bench(max_in_flight=5_000)
    bench.begin()
    records = [bench.task() for _ in range(2 * TURN + 500)]
    bench.written()
    bench.cut()
    bench.step(0.25)
    bench.ready(SESSION)
    bench.say({"data": [item(record) for record in records[TURN:]]})
    bench.step(0)
    assert [record.state for record in records[TURN:]] == [TaskState.DONE] * (TURN + 500)


# POSTs


def test_what_a_server_without_an_http_side_did_not_take_was_not_submitted() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent(carrier=Carrier.EITHER)
    bench.end(record, refused(501))
    assert record.submitted is Submitted.NO
    bench.written()
    assert (record.sends, record.submitted) == (1, Submitted.MAYBE)


def test_an_error_about_the_task_refuses_no_key() -> None:
    bench = HttpBench()
    bench.begin()
    for _ in range(3):
        record = bench.sent()
        told = {"code": "invalidApiKey", "message": "m", "taskUUID": record.uuid}
        bench.end(record, refused(403, orjson.dumps({"errors": [told]})))
        assert isinstance(record.error, TaskError)
    assert bench.core.failure is None


def test_the_driver_is_told_when_posts_may_go_out_again() -> None:
    bench = HttpBench(delay=3.0)
    bench.begin()
    record = bench.stream()
    bench.core.post_ended(record.uuid, bench.number(record), UNREACHED, bench.now)
    todo = bench.core.take()
    assert todo is not None
    assert todo.deadline == bench.now + 3.0


def test_a_server_that_is_not_reached_puts_posts_off_for_no_longer_than_the_cap() -> None:
    bench = HttpBench(delay=3.0, retry_after_cap=20.0)
    bench.begin()
    record = bench.stream()
    loss = Loss(LossKind.DIAL_FAILED, retry_after=10_000.0)
    bench.end(record, PostEnding(Ending.UNREACHED, loss))
    bench.step(23)
    assert len(bench.posts()) == 2
