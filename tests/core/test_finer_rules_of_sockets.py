"""More rules about sockets and keys whose loss no other test noticed: see ``tests.mutation``."""

from __future__ import annotations

import pytest

from runware_ws._core.connection.culprits import Culprits
from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import ProtocolError
from runware_ws.events import Disconnected
from tests.core.bench import OTHER_SESSION, SESSION, Bench, item
from tests.core.questions import asked

REFUSED = {"code": "invalidApiKey", "message": "m", "taskType": "authentication"}


# Who ends a socket


def test_a_task_that_the_server_has_is_no_suspect() -> None:
    bench = Bench(resend_early=True)
    bench.begin()
    running = bench.written_task(delivery="async")
    bench.say({"data": [{"taskType": running.task_type, "taskUUID": running.uuid}]})
    bad = bench.written_task()
    for _ in range(2):
        bench.cut(1007)
        if not bad.ended:
            bench.reconnect(OTHER_SESSION)
            bench.resent(bad)
    assert isinstance(bad.error, ProtocolError)
    assert not running.ended


def test_a_peer_that_breaks_the_protocol_blames_no_request() -> None:
    bench = Bench(resend_early=True)
    record = bench.begin_written()
    loss = Loss(LossKind.PEER_BROKE_PROTOCOL, detail="a bad frame")
    bench.cut(loss=loss)
    bench.reconnect(OTHER_SESSION)
    bench.resent(record)
    bench.cut(loss=loss)
    assert not record.ended


def test_the_smallest_limit_that_was_found_counts() -> None:
    culprits = Culprits()
    for generation, size in enumerate((10_000, 12_000), start=1):
        culprits.wrote(size, ("a",), generation)
        culprits.found_limit()
    assert culprits.limit == 10_000


def test_the_end_of_a_socket_that_ends_the_client_is_told_once() -> None:
    bench = Bench()
    bench.begin()
    bench.cut(1007)
    bench.reconnect()
    bench.cut(1007)
    assert bench.core.state is ConnectionState.FAILED
    assert len(bench.events(Disconnected)) == 2


# Dials and keys


def test_each_overload_makes_the_next_dial_later() -> None:
    bench = Bench()
    bench.begin()
    bench.cut(1013)
    bench.step(0.25)
    bench.cut(loss=Loss(LossKind.DIAL_FAILED))
    assert bench.delays == [2, 3]


def test_a_key_that_is_refused_twice_is_tried_without_the_session() -> None:
    bench = Bench(fixed_key=False)
    bench.begin()
    bench.cut()
    for session in (SESSION, SESSION):
        bench.step(0.25)
        bench.open()
        assert bench.offered() == session
        bench.say({"errors": [REFUSED]})
    # On the same socket, once.
    assert bench.offered() is None
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": OTHER_SESSION}]})
    assert bench.core.state is ConnectionState.READY


def test_a_session_that_costs_too_much_does_not_end_the_client() -> None:
    bench = Bench()
    bench.begin()
    bench.cut()
    bench.step(0.25)
    bench.open()
    bench.say({"errors": [{"code": "sessionQuotaExceeded", "message": "m"}]})
    assert bench.core.failure is None


def test_a_code_that_its_user_calls_terminal_ends_the_client_whatever_was_offered() -> None:
    bench = Bench(close_codes={4000: "terminal"}, session_uuid=SESSION)
    bench.start()
    bench.open()
    bench.cut(4000)
    assert bench.core.state is ConnectionState.FAILED


# Pings


def test_a_task_from_the_socket_before_makes_the_next_one_busy() -> None:
    bench = Bench(busy_ping_after=2.0, busy_ping_timeout=2.0)
    bench.begin_in_doubt(SESSION)
    bench.step(2.5)
    assert "ping" in [task["taskType"] for task in bench.written()]


def test_a_ping_that_is_due_wakes_the_writer() -> None:
    bench = Bench()
    bench.begin()
    bench.written()
    bench.now = bench.core.next_deadline()
    bench.core.on_deadline(bench.now)
    todo = bench.core.take()
    assert todo is not None
    assert todo.writable
    assert bench.core.counters.pings == 0
    assert [task["taskType"] for task in bench.written()] == ["ping"]


def test_timers_that_are_always_late_save_no_dead_peer() -> None:
    bench = Bench()
    bench.begin()
    for _ in range(20):
        bench.now = bench.core.next_deadline() + 1.0
        bench.core.on_deadline(bench.now)
        bench.written()
        if bench.closes():
            break
    assert bench.closes()
    assert bench.now < 1_040


# Streams


def test_a_delta_before_the_reply_to_the_authentication_is_not_the_next() -> None:
    bench = Bench()
    bench.begin()
    deltas = Deltas()
    record = bench.written_task(delivery="stream", deltas=deltas)
    piece = {"taskType": record.task_type, "taskUUID": record.uuid}
    bench.say({"data": [{**piece, "delta": {"text": "a"}}]})
    bench.cut()
    bench.step(0.25)
    bench.open()
    bench.say({"data": [{**piece, "delta": {"text": "c"}}]})
    assert deltas.text() == "a"


# Polls


def test_notes_that_come_often_put_off_no_poll() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async")
    polls = 0
    for number in range(200):
        bench.step(0.25)
        note = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
        bench.say({"data": [{**note, "progress": number / 2}]})
        polls += sum(kind == "getResponse" for kind, _ in asked(bench))
    assert polls > 3


def test_polls_that_bring_the_same_again_are_followed_by_the_other_question() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async", expected=2, timeout=600.0)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    kinds: list[str] = []
    for _ in range(800):
        bench.step(0.25)
        for kind, _ in asked(bench):
            kinds.append(kind)
            if kind == "getResponse":
                bench.say({"data": [item(record, "one", status="success", resultIndex=0)]})
    assert "getTaskDetails" in kinds


def test_a_conflict_that_a_poll_lists_is_a_receipt() -> None:
    bench = Bench(resend_early=True)
    record = bench.begin_in_doubt(OTHER_SESSION, delivery="async")
    bench.resent(record)
    told = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "error"}
    bench.say({"data": [{**told, "error": {"code": "conflictTaskUUID", "message": "m"}}]})
    assert record.state is not TaskState.FAILED


def test_what_was_asked_for_behind_an_outage_teaches_no_duration() -> None:
    bench = Bench()
    record = bench.begin_written(delivery="async")
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    bench.cut()
    bench.reconnect(SESSION)
    bench.step(1)
    assert ("getResponse", record.uuid) in asked(bench)
    bench.say({"data": [item(record, status="success")]})
    assert record.state is TaskState.DONE
    assert bench.durations.of("async").seen == 0


@pytest.mark.parametrize("silent", range(40, 100, 10))
def test_who_is_silent_on_a_dying_socket_is_asked_on_the_next(silent: int) -> None:
    bench = Bench(resend_early=True, ping_after=500.0, busy_ping_after=500.0, question_timeout=4.0)
    bench.begin_in_doubt(OTHER_SESSION, timeout=900.0)
    # Nothing is answered for so long that each kind is given up more than once.
    for _ in range(4 * silent):
        bench.step(0.25)
        bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    seen = {kind for kind, _ in bench.deny(60)}
    assert seen == {"getResponse", "getTaskDetails", "textInference"}


def test_trouble_that_is_told_twice_is_told_once() -> None:
    bench = Bench(usual_duration=1.0)
    record = bench.begin_in_doubt(OTHER_SESSION)
    polls = 0
    while record.sends == 1:
        bench.step(0.25)
        for kind, uuid in asked(bench):
            told = {"message": "m", "taskType": kind, "taskUUID": uuid}
            if kind == "getTaskDetails":
                bench.say({"errors": [{**told, "code": "taskNotFound"}]})
            elif kind == "getResponse":
                polls += 1
                for _ in range(2):
                    bench.say({"errors": [{**told, "code": "internalServerError"}]})
        assert bench.now < 1_090
    assert polls > 1
