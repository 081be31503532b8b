"""A peer that says odd things: nothing raises, and no unrelated task is touched."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runware_ws._core.context import Context
from runware_ws._core.core import SessionCore
from runware_ws._core.inbound.router import Router
from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config
from runware_ws.errors import AuthenticationError, ConnectionFailed, TaskError
from runware_ws.events import MalformedFrame, ServerNotice
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, error, item, uuid_of


@pytest.mark.parametrize("status", [[], {}, 7, True, 1.5, "", "someday"])
def test_an_odd_status_raises_nothing(status: Any) -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    bench.say({"data": [{"taskUUID": uuid_of(77), "status": status}]})
    assert not record.ended
    bench.answer(record, status=status)
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("status", ["error", "failed", "failure"])
def test_a_failure_without_an_error_object_still_ends_the_task(status: str) -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    bench.say({"data": [{"taskUUID": record.uuid, "status": status}]})
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_an_empty_error_beside_a_result_is_no_error() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    bench.answer(record, errors=[None], error=None)
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("admitted", [True, False])
def test_an_answer_for_a_task_that_was_not_written_yet_is_taken(admitted: bool) -> None:
    bench = Bench(max_in_flight=1)
    bench.begin()
    if not admitted:
        bench.task()
    record = bench.task()
    bench.say({"data": [{"taskType": "textInference", "taskUUID": record.uuid}]})
    bench.answer(record)
    assert record.state is TaskState.DONE


def test_a_task_that_the_server_knows_before_it_was_written_takes_a_conflict_as_a_receipt() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(timeout=5)
    bench.say({"data": [{"taskType": "textInference", "taskUUID": record.uuid}]})
    bench.written()
    bench.refuse(record, "conflictTaskUUID")
    assert not record.ended
    bench.step(5)
    assert record.ended


def test_items_around_an_authentication_reply_in_one_frame() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.written()
    bench.cut()
    bench.step(0.25)
    bench.open()
    reply = {"taskType": "authentication", "connectionSessionUUID": OTHER_SESSION}
    bench.say({"data": [item(record), reply, item(record)]})
    assert record.state is TaskState.DONE
    assert bench.core.sizes()["questions"] == 0


def test_the_window_of_questions_never_drifts() -> None:
    bench = Bench(question_window=1)
    bench.begin()
    records = [bench.task() for _ in range(4)]
    bench.written()
    for record in records[:3]:
        bench.cut()
        bench.reconnect(OTHER_SESSION)
        bench.step(0.6)
        assert len(bench.written()) == 1
        bench.cut()
        bench.core.cancel(record, bench.now)
        assert bench.core.sizes()["questions"] == 0
        bench.reconnect(OTHER_SESSION)
        bench.step(0.6)
        assert len(bench.written()) == 1, "one question at a time"


@pytest.mark.parametrize("depth", [150, 300, 1000])
def test_deep_nesting_is_skipped(depth: int) -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=2)
    bench.written()
    nested = b"[" * depth + b"]" * depth
    for uuid in (record.uuid, uuid_of(55), uuid_of(55)):
        frame = b'{"data":[{"taskUUID":"%b","x":%b}]}' % (uuid.encode(), nested)
        bench.say(frame)
        bench.say(b'{"errors":[{"code":"c","taskUUID":"%b","x":%b}]}' % (b"u", nested))
    assert bench.core.state is ConnectionState.READY


@pytest.mark.parametrize(
    "code", ["rateLimitExceeded", "internalServerError", "unauthorized", "timeoutGateway"]
)
def test_an_error_that_answers_a_question_does_not_end_the_task(code: str) -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert len(bench.written()) == 1
    bench.refuse(record, code)
    assert not record.ended
    bench.step(5)
    assert [task["taskType"] for task in bench.written()] == ["getResponse"], "another way"


def test_the_tasks_own_not_found_ends_it_though_a_question_is_open() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.written()
    bench.refuse(record, "modelNotFound", taskType="textInference")
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_an_error_without_a_task_is_not_blamed_on_the_one_that_is_left() -> None:
    bench = Bench()
    bench.begin()
    one, two = bench.task(), bench.task()
    bench.written()
    nameless = {"code": "missingY", "message": "m", "taskType": "textInference"}
    bench.say({"errors": [error(one, "invalidX"), nameless]})
    assert one.ended
    assert not two.ended
    assert len(bench.events(ServerNotice)) == 1


def test_an_error_without_a_task_may_be_replayed_whatever_the_session_is_called() -> None:
    bench = Bench()
    bench.begin()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    record = bench.written_task()
    bench.say({"errors": [{"code": "missingY", "message": "m", "taskType": "textInference"}]})
    assert not record.ended
    assert len(bench.events(ServerNotice)) == 1


def test_a_read_only_task_is_not_answered_by_our_own_question_about_it() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    record.task_type = "modelSearch"
    bench.written()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.written()
    reply: dict[str, object] = {"taskType": "getTaskDetails", "taskUUID": record.uuid}
    reply |= {"request": [], "response": {}}
    bench.say({"data": [reply]})
    assert not record.ended


def test_errors_of_tasks_before_the_authentication_reply_are_no_refusals() -> None:
    bench = Bench()
    bench.begin()
    bench.cut()
    bench.step(0.25)
    bench.open()
    bench.say({"errors": [{"code": "inferenceError", "message": "m", "taskType": "textInference"}]})
    assert bench.core.state is ConnectionState.AUTHENTICATING
    assert bench.core.session_uuid == SESSION


@pytest.mark.parametrize("code", ["noAvailableServer", "internalServerError", "timeout"])
def test_a_server_in_trouble_does_not_refuse_the_key(code: str) -> None:
    bench = Bench()
    bench.start()
    bench.open()
    bench.say({"errors": [{"code": code, "message": "m", "taskType": "authentication"}]})
    assert bench.core.state is ConnectionState.BACKOFF
    bench.reconnect()
    assert bench.core.state is ConnectionState.READY


def test_an_empty_account_is_told_as_such() -> None:
    bench = Bench()
    bench.start()
    bench.open()
    refusal = {"code": "insufficientCredits", "message": "m", "taskType": "authentication"}
    bench.say({"errors": [refusal]})
    assert isinstance(bench.core.failure, ConnectionFailed)
    assert not isinstance(bench.core.failure, AuthenticationError)


def test_two_refusals_in_one_frame_are_one() -> None:
    bench = Bench(session_uuid=SESSION)
    bench.start()
    bench.open()
    refusals = [
        {"code": code, "message": "m", "taskType": "authentication"}
        for code in ("sessionNotFound", "invalidConnectionSessionUUID")
    ]
    bench.say({"errors": refusals})
    assert bench.core.state is ConnectionState.AUTHENTICATING
    assert bench.offered() is None
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": OTHER_SESSION}]})
    assert bench.core.state is ConnectionState.READY


def test_results_with_an_index_here_and_without_one_there_are_told_apart() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=2)
    bench.written()
    bench.answer(record, "a", resultIndex=0, cost=0.1)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.written()
    listing = [item(record, "a"), item(record, "b")]
    reply = {"taskType": "getTaskDetails", "taskUUID": record.uuid, "response": {"data": listing}}
    bench.say({"data": [reply]})
    assert [i["text"] for i in record.items] == ["a", "b"]


def test_results_that_share_an_id_of_their_input_are_two() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=2)
    bench.written()
    for name in ("one", "two"):
        bench.answer(record, "same", inputImageUUID="input", imageUUID=name)
    assert record.state is TaskState.DONE
    assert [i["imageUUID"] for i in record.items] == ["one", "two"]


TOO_BIG = Loss(LossKind.INBOUND_TOO_BIG)


def _searching() -> tuple[Bench, TaskRecord]:
    """Two sockets ended over a result: its task is being looked for, and one is open."""
    bench = Bench()
    asked = bench.begin_written()
    for _ in range(2):
        bench.cut(loss=TOO_BIG)
        bench.reconnect(OTHER_SESSION)
    return bench, asked


def test_a_culprit_is_only_the_task_in_question() -> None:
    bench, asked = _searching()
    assert len(bench.written()) == 1
    bench.say({"data": [{"taskUUID": asked.uuid, "status": "processing"}]})
    bench.task()
    bench.written()
    bench.cut(loss=TOO_BIG)
    assert not asked.ended


def test_the_result_of_a_task_that_was_given_up_is_no_proof_against_another() -> None:
    bench, asked = _searching()
    for _ in range(2):
        assert [task["taskUUID"] for task in bench.written()] == [asked.uuid], "asked alone"
        late = bench.written_task(timeout=0.3)
        bench.step(0.3)
        assert late.state is TaskState.TIMED_OUT
        bench.cut(loss=TOO_BIG)
        assert not asked.ended
        bench.reconnect(OTHER_SESSION)


def test_an_error_after_some_results_is_not_safe_to_send_again() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=2)
    bench.written()
    bench.answer(record, "paid")
    bench.refuse(record, "rateLimitExceeded", taskType="textInference")
    failure = ended(record, TaskState.FAILED)
    assert failure is not None
    assert not failure.safe_to_resend


def test_a_task_that_never_left_can_be_given_again() -> None:
    bench = Bench()
    bench.start()
    bench.task(timeout=1)
    bench.step(1)
    bench.numbers -= 1
    again = bench.task()
    bench.ready()
    bench.written()
    bench.answer(again)
    assert again.recovered_by is RecoveredBy.LIVE


def test_a_frame_of_broken_items_is_one_event() -> None:
    bench = Bench()
    bench.begin()
    bench.say({"data": [1] * 10_000})
    assert len(bench.events(MalformedFrame)) == 1


def test_secrets_are_taken_out_of_what_is_shown_and_the_frame_stays_whole() -> None:
    config = Config()
    core = SessionCore(
        config, draw=lambda _: 0.1, redact=lambda text: text.replace("12345", "[redacted]")
    )
    core.start(0)
    core.connected(1, 0)
    reply = {"taskType": "authentication", "connectionSessionUUID": SESSION}
    core.receive(1, orjson.dumps({"data": [reply]}), 0)
    core.receive(1, b'{"errors":[{"code":"c","message":"key 12345","n":91234567}]}', 0)
    core.receive(1, b"key 12345 " + b"x" * 500 + b"12345", 0)
    shown = repr(core.take())
    assert "12345'" not in shown.replace("91234567", "")
    assert "key [redacted]" in shown


def test_nothing_is_planned_after_the_end() -> None:
    bench = Bench()
    bench.begin()
    for delivery in ("sync", "async"):
        bench.task(delivery=delivery)
    bench.written()
    bench.core.close(bench.now)
    assert bench.core.sizes()["planned"] == 0
    assert bench.core.next_deadline() > bench.now


def test_what_a_resumed_session_replays_is_not_blamed_on_the_task_in_question() -> None:
    bench, asked = _searching()
    for session in (OTHER_SESSION, SESSION, OTHER_SESSION):
        bench.step(1)
        bench.written()
        bench.cut()
        # The new session has had results of others by then.
        bench.reconnect(session)
        bench.step(1)
        assert [task["taskUUID"] for task in bench.written()] == [asked.uuid]
        bench.cut(loss=TOO_BIG)
        assert not asked.ended
        bench.reconnect(SESSION if session == OTHER_SESSION else OTHER_SESSION)


def test_a_request_is_not_blamed_while_a_question_about_a_result_is_open() -> None:
    bench = Bench(resend_after=0, resend_early=True)
    giant = bench.begin_written(timeout=1000)
    other = bench.task(size=1000, timeout=1000)
    for _ in range(2):
        bench.cut(loss=TOO_BIG)
        bench.reconnect(OTHER_SESSION)
    ends, flying = 0, False
    while ends < 3:
        bench.step(0.05)
        flying |= any("padding" in task for task in bench.written())
        if other.ladder.question is not None:
            bench.refuse(other, "taskNotFound", taskType=other.ladder.question.value)
        elif giant.ladder.question is not None:
            # Its result is late, and the server sends it only now.
            if flying:
                bench.cut(1009)
                ends, flying = ends + 1, False
                bench.reconnect(SESSION if ends % 2 else OTHER_SESSION)
            else:
                bench.say({"data": [{"taskUUID": giant.uuid, "status": "processing"}]})
        assert not other.ended, (ends, other)


def test_a_close_long_after_its_frame_is_not_blamed_on_the_only_task() -> None:
    bench = Bench(resend_after=0, resend_early=True)
    record = bench.begin_written(timeout=1000)
    for _ in range(3):
        bench.step(9)
        bench.written()
        bench.cut(1008)
        bench.reconnect(OTHER_SESSION)
        bench.resent(record)
    assert not record.ended


@pytest.mark.parametrize(("others", "times"), [(False, 2), (True, 4)])
def test_the_task_in_question_is_to_blame_sooner_if_no_other_result_can_come(
    others: bool, times: int
) -> None:
    bench, asked = _searching()
    ends = 0
    while not asked.ended:
        assert [task["taskUUID"] for task in bench.written()] == [asked.uuid]
        other = bench.task()
        if others:
            assert len(bench.written()) == 1
        bench.cut(loss=TOO_BIG)
        ends += 1
        bench.core.cancel(other, bench.now)
        bench.reconnect(SESSION if ends % 2 else OTHER_SESSION)
    assert ends == times


@pytest.mark.parametrize("quoted", [False, True])
def test_an_error_of_many_words_is_searched_for_secrets_in_one_go(quoted: bool) -> None:
    searched: list[str] = []

    def redact(text: str) -> str:
        searched.append(text)
        return text.replace("12345", "[redacted]")

    router = Router(Context(Config()), {}, redact=redact)
    error = {f"field {number}": ["words"] * 10 for number in range(100)}
    said = {"code": "c", "message": "12345" if quoted else "m", "more": error}
    (found,) = router.errors_of({"errors": [said]})
    assert "12345" not in repr(found)
    assert found.raw["more"] == error
    assert quoted or len(searched) == 1


@pytest.mark.parametrize("name", ["s" * 1_000_000, "of 12345"], ids=["endless", "secret"])
@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
def test_a_session_that_cannot_be_told_is_not_offered_again(name: str, later: bool) -> None:
    core = SessionCore(
        Config(), draw=lambda _: 0.1, redact=lambda text: text.replace("12345", "[redacted]")
    )
    core.start(0)
    core.connected(1, 0)
    for uuid in (SESSION, name) if later else (name,):
        reply = {"taskType": "authentication", "connectionSessionUUID": uuid}
        core.receive(1, orjson.dumps({"data": [reply]}), 0)
    assert core.state is ConnectionState.READY
    assert core.session_uuid == (SESSION if later else None)
    assert name not in repr(core.take())


def _refused_once(loss: Loss, *errors: str) -> float:
    """How long after a key was refused the next dial is; ``draw`` gives 10 s for each attempt."""
    core = SessionCore(Config(), draw=lambda attempt: 10.0 * attempt)
    core.start(0)
    core.connected(1, 0)
    reply = {"taskType": "authentication", "connectionSessionUUID": SESSION}
    core.receive(1, orjson.dumps({"data": [reply]}), 0)
    core.lost(1, Loss(LossKind.CLOSED, code=1001), 1.0)
    core.on_deadline(11.0)
    assert core.generation == 2
    if errors:
        core.connected(2, 11.0)
    for code in errors:
        said = {"code": code, "message": "no", "taskType": "authentication"}
        core.receive(2, orjson.dumps({"errors": [said]}), 11.0)
    core.lost(2, loss, 11.0)
    return core.next_deadline() - 11.0


def test_no_retry_after_puts_off_the_second_try_of_a_refused_key() -> None:
    loss = Loss(LossKind.HTTP_REFUSED, status=401, retry_after=60.0)
    assert _refused_once(loss) == 10.0


def test_a_socket_that_ends_over_a_refused_session_is_followed_at_once() -> None:
    assert _refused_once(Loss(LossKind.CLOSED, code=1000), "sessionExpired") == 10.0
