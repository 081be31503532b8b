"""A task's life in calm weather: admission, frames, routing, results, errors, ends."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import (
    ClientClosed,
    InvalidTask,
    Submitted,
    TaskError,
    TaskTimeout,
)
from runware_ws.events import (
    Connected,
    LateResult,
    MalformedFrame,
    ServerNotice,
    SessionStarted,
    UnknownTask,
)
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.results import RecoveredBy
from tests.core.bench import Bench, ended, error, item, uuid_of


def test_a_task_before_the_first_connection_waits_and_is_written_once_ready() -> None:
    bench = Bench()
    bench.start()
    record = bench.task()
    assert record.state is TaskState.QUEUED
    assert bench.written() == []
    bench.ready()
    assert [task["taskUUID"] for task in bench.written()] == [record.uuid]
    assert record.state is TaskState.WRITTEN
    bench.answer(record, "hello")
    assert record.state is TaskState.DONE
    assert record.items == [item(record, "hello")]
    assert record.recovered_by is RecoveredBy.LIVE
    assert bench.resolved() == [record]
    (connected,) = bench.events(Connected)
    assert not connected.resumed
    assert len(bench.events(SessionStarted)) == 1


def test_nothing_is_written_before_the_authentication_is_answered() -> None:
    bench = Bench()
    bench.start()
    bench.open()
    bench.task()
    assert bench.written() == []


def test_results_come_in_any_order_and_several_to_a_frame() -> None:
    bench = Bench()
    bench.begin()
    one, two, three = bench.task(), bench.task(), bench.task()
    bench.written()
    bench.say({"data": [item(three, "3"), item(one, "1")]})
    bench.answer(two, "2")
    assert [r.items[0]["text"] for r in (one, two, three)] == ["1", "2", "3"]


def test_many_tasks_share_frames_within_bounds() -> None:
    bench = Bench(batch_tasks=10, batch_bytes=2_000)
    bench.begin()
    records = [bench.task(size=150) for _ in range(25)]
    sizes: list[int] = []
    counts: list[int] = []
    while (frame := bench.core.next_frame(bench.now)) is not None:
        sizes.append(len(frame.data))
        counts.append(len(frame.records))
    assert sum(counts) == len(records)
    assert max(counts) <= 10
    assert max(sizes) <= 2_000


def test_a_frame_that_never_touched_the_socket_is_written_again_in_order() -> None:
    bench = Bench(batch_tasks=2)
    bench.begin()
    records = [bench.task() for _ in range(3)]
    frame = bench.core.next_frame(bench.now)
    assert frame is not None
    bench.core.not_written(bench.core.generation, frame)
    assert records[0].submitted is Submitted.NO
    assert [task["taskUUID"] for task in bench.written()] == [r.uuid for r in records]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([[0, 1, 2]], id="one frame"),
        pytest.param([[0], [1], [2]], id="three frames"),
        pytest.param([[2, 0], [1]], id="two frames, out of order"),
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_number_results_in_any_framing(frames: list[list[int]], indexed: bool) -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=3)
    bench.written()
    for frame in frames:
        assert not record.ended
        extra: list[dict[str, Any]] = [{"resultIndex": i} if indexed else {} for i in frame]
        bench.say(
            {"data": [item(record, f"text {i}", **e) for i, e in zip(frame, extra, strict=True)]}
        )
    assert record.state is TaskState.DONE
    assert sorted(i["text"] for i in record.items) == ["text 0", "text 1", "text 2"]


def test_each_item_is_delivered_once() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=2)
    bench.written()
    for _ in range(3):
        bench.answer(record, "a", resultIndex=0)
    assert not record.ended
    bench.answer(record, "b", resultIndex=1)
    assert [i["text"] for i in record.items] == ["a", "b"]
    bench.answer(record, "b", resultIndex=1)
    assert bench.core.counters.duplicates == 3
    assert bench.core.claim(record.uuid) is None


def test_equal_results_without_an_index_are_told_from_copies_by_the_archive() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=2)
    bench.written()
    bench.answer(record, "same")
    bench.answer(record, "same")
    assert not record.ended, "a copy and a twin look the same, and no item may come twice"
    bench.step(1)
    (question,) = bench.written()
    assert question == {"taskType": "getTaskDetails", "taskUUID": record.uuid}
    twins = [item(record, "same"), item(record, "same")]
    bench.say({"data": [{**question, "response": {"data": twins}}]})
    assert record.state is TaskState.DONE
    assert [i["text"] for i in record.items] == ["same", "same"]


def test_an_error_ends_its_task_and_no_other() -> None:
    bench = Bench()
    bench.begin()
    bad, good = bench.task(), bench.task()
    bench.written()
    bench.say(
        {
            "errors": [error(bad, "invalidValue", parameter="settings", taskType="textInference")],
            "data": [item(good)],
        }
    )
    failure = ended(bad, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert (failure.code, failure.parameter, failure.family) == (
        "invalidValue",
        "settings",
        ErrorFamily.VALIDATION,
    )
    assert failure.submitted is Submitted.YES
    assert failure.safe_to_resend
    assert not failure.retryable
    assert good.state is TaskState.DONE


def test_results_before_an_error_of_the_same_frame_are_kept_with_it() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=2)
    bench.written()
    bench.say({"errors": [error(record, "providerError")], "data": [item(record, "half")]})
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert [i["text"] for i in failure.items] == ["half"]
    assert failure.retryable


def test_an_error_for_one_of_several_results_does_not_say_that_nothing_ran() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(expected=2)
    bench.written()
    bench.say({"errors": [error(record, "invalidSeed")]})
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.family is ErrorFamily.VALIDATION
    # Results come in any order: the other one may be on its way.
    assert not failure.safe_to_resend
    bench.say({"data": [item(record, "half")]})
    assert bench.core.claim(record.uuid) == [item(record, "half")]


def test_a_conflict_on_a_first_send_is_an_error_for_that_caller_only() -> None:
    bench = Bench()
    bench.begin()
    record, other = bench.task(), bench.task()
    bench.written()
    bench.refuse(record, "conflictTaskUUID")
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert not failure.safe_to_resend
    assert not other.ended


def test_the_same_uuid_twice_is_refused_before_the_wire() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.numbers -= 1
    with pytest.raises(InvalidTask, match="used before"):
        bench.task()
    bench.written()
    bench.answer(record)
    bench.numbers -= 1
    with pytest.raises(InvalidTask, match="used before"):
        bench.task()


def test_a_question_of_the_caller_gets_its_own_answer_and_does_not_use_up_the_uuid() -> None:
    bench = Bench()
    bench.begin()
    question = bench.task()
    question.task_type = "getTaskDetails"
    bench.written()
    bench.refuse(question, "taskNotFound", taskType="getTaskDetails")
    failure = ended(question, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "taskNotFound"
    bench.numbers -= 1
    record = bench.task()
    assert record.uuid == question.uuid
    assert [task["taskUUID"] for task in bench.written()] == [record.uuid]


def test_an_error_without_a_task_is_never_broadcast() -> None:
    bench = Bench()
    bench.begin()
    one, two = bench.task(), bench.task()
    bench.written()
    bench.say({"errors": [{"code": "internalServerError", "message": "oops"}]})
    assert not one.ended
    assert not two.ended
    (notice,) = bench.events(ServerNotice)
    assert (notice.code, notice.message) == ("internalServerError", "oops")


def test_an_error_without_a_task_goes_to_the_one_task_it_can_be_about() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    bench.say({"errors": [{"code": "missingModel", "message": "m", "taskType": "textInference"}]})
    assert isinstance(ended(record, TaskState.FAILED), TaskError)


def test_after_a_task_was_given_up_an_error_without_a_task_proves_nothing() -> None:
    bench = Bench()
    bench.begin()
    given_up, record = bench.task(), bench.task()
    bench.written()
    bench.core.cancel(given_up, bench.now)
    bench.say({"errors": [{"code": "missingModel", "message": "m", "taskType": "textInference"}]})
    assert not record.ended


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"not json",
        b"[1,2]",
        b'"text"',
        b"null",
        b'{"data":',
        b"\xff\xfe\x00",
        b"[" * 2000 + b"]" * 2000,
        b'{"data": 7}',
        b'{"data": ["x", null, []]}',
        b"{}",
    ],
)
def test_a_broken_frame_is_counted_sampled_and_skipped(frame: bytes) -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    bench.say(frame)
    assert bench.core.counters.malformed >= 1
    assert bench.events(MalformedFrame)[0].count == 1
    assert bench.closes() == []
    bench.answer(record)
    assert record.state is TaskState.DONE


def test_a_result_for_nobody_is_kept_for_a_claim() -> None:
    bench = Bench()
    bench.begin()
    stranger = uuid_of(999)
    bench.say({"data": [{"taskType": "textInference", "taskUUID": stranger.upper(), "text": "?"}]})
    (event,) = bench.events(UnknownTask)
    assert event.task_uuid == stranger
    claimed = bench.core.claim(stranger)
    assert claimed is not None
    assert claimed[0]["text"] == "?"
    assert bench.core.claim(stranger) is None


def test_the_store_of_claims_is_bounded_in_tasks_and_bytes() -> None:
    bench = Bench(claim_limit=3, claim_bytes=6_000)
    bench.begin()

    def come(number: int, length: int) -> None:
        item = {"taskType": "t", "taskUUID": uuid_of(number), "text": "x" * length}
        bench.say({"data": [item]})

    for number in range(10):
        come(100 + number, 1)
    assert bench.core.sizes()["claims"] == 3
    come(500, 4_500)
    assert bench.core.sizes()["claims"] == 1
    # One that is over the limit by itself pushes nothing out.
    come(501, 7_000)
    assert bench.core.claim(uuid_of(501)) is None
    assert bench.core.claim(uuid_of(500)) is not None
    # What was claimed makes room.
    come(502, 4_500)
    assert bench.core.claim(uuid_of(502)) is not None


def test_a_late_result_of_a_cancelled_task_waits_for_a_claim() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    assert bench.core.cancel(record, bench.now)
    assert not bench.core.cancel(record, bench.now)
    bench.answer(record, "late")
    assert [e.task_uuid for e in bench.events(LateResult)] == [record.uuid]
    claimed = bench.core.claim(record.uuid)
    assert claimed is not None
    assert claimed[0]["text"] == "late"


def test_a_task_cancelled_before_it_was_written_is_never_sent() -> None:
    bench = Bench()
    bench.start()
    record = bench.task()
    bench.core.cancel(record, bench.now)
    bench.ready()
    assert bench.written() == []


def test_a_deadline_ends_a_task_and_says_what_is_known() -> None:
    bench = Bench(max_in_flight=1)
    bench.start()
    unsent, waiting = bench.task(timeout=5), bench.task(timeout=5)
    assert waiting.state is TaskState.WAITING
    bench.step(5)
    for record in (unsent, waiting):
        failure = ended(record, TaskState.TIMED_OUT)
        assert isinstance(failure, TaskTimeout)
        assert failure.submitted is Submitted.NO
        assert failure.safe_to_resend
    bench.ready()
    written = bench.task(timeout=5)
    bench.written()
    bench.step(5)
    failure = ended(written, TaskState.TIMED_OUT)
    assert isinstance(failure, TaskTimeout)
    assert failure.submitted is Submitted.MAYBE
    assert not failure.safe_to_resend


def test_admission_is_bounded_in_tasks_and_in_bytes_and_is_first_come_first_served() -> None:
    bench = Bench(max_in_flight=2, max_in_flight_bytes=1_000)
    bench.begin()
    big = bench.task(size=5_000)
    assert big.state is TaskState.QUEUED, "one task over the bytes passes alone"
    small = bench.task()
    assert small.state is TaskState.WAITING
    third = bench.task()
    bench.written()
    bench.answer(big)
    assert small.state is TaskState.QUEUED
    assert third.state is TaskState.QUEUED
    fourth = bench.task()
    assert fourth.state is TaskState.WAITING
    bench.written()
    bench.answer(third)
    assert fourth.state is TaskState.QUEUED


def test_draining_refuses_new_tasks_and_finishes_the_old() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.core.drain(bench.now)
    with pytest.raises(ClientClosed, match="draining"):
        bench.task()
    bench.written()
    bench.answer(record)
    assert record.state is TaskState.DONE


def test_closing_ends_every_task_and_says_whether_it_was_submitted() -> None:
    bench = Bench()
    bench.begin()
    written = bench.task()
    bench.written()
    queued = bench.task()
    bench.core.close(bench.now)
    bench.core.close(bench.now)
    bench.take()
    for record, submitted in ((written, Submitted.MAYBE), (queued, Submitted.NO)):
        failure = ended(record, TaskState.CLOSED)
        assert isinstance(failure, ClientClosed)
        assert failure.submitted is submitted
    (close,) = bench.closes()
    assert close.graceful
    with pytest.raises(ClientClosed):
        bench.task()


def test_a_task_that_ended_unsent_leaves_the_queue() -> None:
    bench = Bench(batch_tasks=1)
    bench.begin()
    first, second = bench.task(), bench.task()
    bench.core.cancel(second, bench.now)
    frame = bench.core.next_frame(bench.now)
    assert frame is not None
    assert frame.records == (first,)
    bench.cut()
    bench.core.close(bench.now)
    assert bench.core.sizes()["queue"] == 0


@pytest.mark.slow
def test_tasks_without_an_answer_are_remembered_however_many_are_answered() -> None:
    bench = Bench(max_in_flight=100_000, batch_tasks=1_000, batch_bytes=10_000_000)
    bench.begin()
    given_up = bench.task(timeout=1)
    bench.written()
    bench.step(1)
    assert given_up.state is TaskState.TIMED_OUT
    for _ in range(70):
        records = [bench.task() for _ in range(1_000)]
        bench.written()
        bench.say({"data": [item(record) for record in records]})
    bench.numbers = 0
    again = bench.task()
    assert again.uuid == given_up.uuid
    assert [task["taskType"] for task in bench.written()] == ["getTaskDetails"]


def test_a_refused_second_try_can_be_made_later() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(timeout=1)
    bench.written()
    bench.step(1)
    question = TaskRecord(record.uuid, "getResponse", b"{}", now=bench.now)
    bench.core.submit(question)
    bench.written()
    bench.numbers = 0
    with pytest.raises(InvalidTask, match="used before"):
        bench.task()
    bench.core.cancel(question, bench.now)
    bench.numbers = 0
    bench.task()
    assert [task["taskType"] for task in bench.written()] == ["getTaskDetails"]


def test_many_deadlines_at_once_are_met_in_pieces() -> None:
    bench = Bench(max_in_flight=100_000)
    bench.begin()
    records = [bench.task(timeout=5) for _ in range(2_500)]
    bench.now += 6
    calls = 0
    while not all(record.ended for record in records):
        before = sum(record.ended for record in records)
        assert bench.core.next_deadline() <= bench.now
        bench.core.on_deadline(bench.now)
        calls += 1
        assert sum(record.ended for record in records) - before <= 1_000
    assert calls == 3


def test_every_map_queue_and_timer_returns_to_zero() -> None:
    bench = Bench()
    bench.begin()
    for delivery in ("sync", "async") * 50:
        record = bench.task(delivery=delivery)
        bench.written()
        if delivery == "async":
            bench.say({"data": [{"taskType": "textInference", "taskUUID": record.uuid}]})
        bench.answer(record)
    bench.step(179)
    assert bench.core.sizes()["tombstones"] == 100
    bench.step(182)
    sizes = bench.core.sizes()
    leftovers = {k: v for k, v in sizes.items() if v and k not in ("deadlines", "planned")}
    assert leftovers == {}
    assert sizes["deadlines"] <= 64
    assert sizes["planned"] <= 64


def test_the_results_before_an_error_are_in_the_order_of_their_index() -> None:
    bench = Bench()
    record = bench.begin_written(expected=4)
    for place in (2, 0, 1):
        bench.answer(record, f"{place}", resultIndex=place)
    bench.refuse(record, "providerError", taskType="textInference")
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert [each["text"] for each in failure.items] == ["0", "1", "2"]


def test_a_session_that_is_renamed_on_a_ready_socket_is_told_once() -> None:
    bench = Bench()
    bench.begin()
    reply = {"taskType": "authentication", "connectionSessionUUID": uuid_of(7)}
    for _ in range(2):
        bench.say({"data": [reply]})
    _, renamed = bench.events(SessionStarted)
    assert renamed.session_uuid == uuid_of(7)
    bench.cut()
    bench.step(0.25)
    bench.open()
    assert bench.offered() == uuid_of(7)
