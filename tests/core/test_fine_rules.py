"""Rules of the core whose loss no other test noticed: found by ``python -m tests.mutation``."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._core.recovery.resending import resend_at
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import FOREVER, Carrier, TaskRecord
from runware_ws._core.tasks.schedule import Schedule
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config
from tests.core.bench import OTHER_SESSION, SESSION, Bench, item, uuid_of
from tests.core.questions import QUESTIONS, questions


def asked(bench: Bench) -> list[str]:
    """The kinds of questions that are due now; pings are answered."""
    return [task["taskType"] for task in questions(bench)]


def acknowledged(bench: Bench, **options: Any) -> TaskRecord:
    """An async task that the server has taken."""
    record = bench.written_task(delivery="async", **options)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    return record


# Results


def test_two_copies_of_one_image_may_have_other_addresses() -> None:
    bench = Bench()
    record = bench.begin_written(expected=2)

    def image(number: int, address: str) -> dict[str, Any]:
        return {
            "taskType": record.task_type,
            "taskUUID": record.uuid,
            "imageUUID": f"image-{number}",
            "imageURL": f"https://cdn.invalid/{number}?signed={address}",
        }

    bench.say({"data": [image(1, "then")]})
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.archive(record, {"data": [image(1, "now"), image(2, "now")]})
    assert record.state is TaskState.DONE
    assert [each["imageUUID"] for each in record.items] == ["image-1", "image-2"]


def test_two_equal_entries_of_a_listing_are_two_results() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, expected=2)
    bench.archive(record, {"data": [item(record, "same"), item(record, "same")]})
    assert record.state is TaskState.DONE
    assert [each["text"] for each in record.items] == ["same", "same"]


# Words


def test_denials_that_another_word_interrupts_start_anew() -> None:
    bench = Bench()
    bench.begin()
    record = acknowledged(bench, timeout=2_000)
    # Only of a task that a poll has told of do denials count.
    while not asked(bench):
        bench.step(0.5)
    running = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
    bench.say({"data": [running]})
    begun = bench.now
    while bench.now < begun + 1_000:
        for kind in asked(bench):
            # Now and then the server only says that it is busy.
            busy = int(bench.now - begun) // 60 % 2
            code = "internalServerError" if busy else "taskNotFound"
            bench.refuse(record, code, taskType=kind)
        assert not record.ended, f"lost after {bench.now - begun:g} s"
        bench.step(0.5)


def test_an_error_is_said_once_for_each_question_however_many_results_it_is_about() -> None:
    bench = Bench()
    record = bench.begin_in_doubt(OTHER_SESSION, expected=3)
    said: list[float] = []
    while len(said) < 3:
        assert not record.ended, f"believed after {len(said)} questions"
        for kind in asked(bench):
            # Three answers, more than 5 s from the first to the second.
            if len(said) != 1 or bench.now > said[0] + 6:
                said.append(bench.now)
                for _ in range(3):
                    bench.refuse(record, "inferenceError", taskType=kind)
        bench.step(0.5)
    assert record.state is TaskState.FAILED


def test_trouble_says_nothing_about_the_task_so_the_same_question_is_asked_again() -> None:
    bench = Bench(resend_early=True)
    record = bench.begin_in_doubt(OTHER_SESSION)
    kinds: list[str] = []
    while record.sends < 2:
        for kind in asked(bench):
            if kind not in QUESTIONS:
                continue
            kinds.append(kind)
            # One way to ask is in trouble once, the other denies.
            first = kind == "getResponse" and kinds.count(kind) == 1
            bench.refuse(record, "internalServerError" if first else "taskNotFound", taskType=kind)
        bench.step(0.25)
        assert bench.now < 1_090
    assert kinds.count("getResponse") >= 2


def test_what_was_asked_about_the_first_copy_says_nothing_of_the_second() -> None:
    bench = Bench(resend_after=0, resend_early=True)
    record = bench.begin_in_doubt(OTHER_SESSION)
    bench.resent(record)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    kinds: list[str] = []
    while record.sends < 3:
        for kind in asked(bench):
            if kind in QUESTIONS:
                kinds.append(kind)
                code = "taskNotFound" if kind == "getTaskDetails" else "internalServerError"
                bench.refuse(record, code, taskType=kind)
        bench.step(0.25)
        assert bench.now < 1_090
    # Trouble is no answer: only where it comes again is this way of asking of no use.
    assert kinds.count("getResponse") >= 2


# Room and queues


def test_a_task_that_stops_waiting_lets_a_smaller_one_in() -> None:
    bench = Bench(max_in_flight_bytes=1_000)
    bench.begin()
    first = bench.task()
    big = bench.task(size=5_000)
    small = bench.task()
    assert [first.state, big.state, small.state] == [
        TaskState.QUEUED,
        TaskState.WAITING,
        TaskState.WAITING,
    ]
    bench.core.cancel(big, bench.now)
    assert small.state is TaskState.QUEUED


def test_a_task_that_may_have_killed_a_socket_goes_alone_though_it_was_taken_back() -> None:
    bench = Bench()
    bench.begin()
    bench.task(size=3_000)
    bench.task(size=3_000)
    frame = bench.core.next_frame(bench.now)
    assert frame is not None
    assert len(frame.records) == 2
    # Not one byte of it went out; but the core cannot tell which frame was meant.
    bench.core.not_written(bench.core.generation, frame)
    bench.core.lost(bench.core.generation, Loss(LossKind.CLOSED, code=1009), bench.now)
    bench.reconnect()
    third = bench.task()
    sizes: list[int] = []
    while (frame := bench.core.next_frame(bench.now)) is not None:
        sizes.append(len(frame.records))
    assert third.sends == 1
    assert sizes == [1, 1, 1]


def test_a_heap_that_was_rebuilt_gives_what_is_due_in_order() -> None:
    rng = Random(3)
    schedule = Schedule(lambda record: record.ladder.next_at)
    records: list[TaskRecord] = []
    for number in range(400):
        record = TaskRecord(uuid_of(number), "textInference", b"{}")
        record.plan(float(rng.randrange(1, 1_000)))
        schedule.put(record, record.ladder.next_at)
        records.append(record)
    assert schedule.out_of_order > 300
    for record in sorted(records, key=lambda each: each.ladder.next_at)[:260]:
        record.end(TaskState.CANCELLED, 0.0, None)
        schedule.forget()
    assert len(schedule) < 300
    due: list[float] = []
    for record in schedule.due(2_000.0):
        due.append(record.ladder.next_at)
        record.plan(FOREVER)
    assert len(due) == 140
    assert due == sorted(due)


# Late results


def test_no_more_late_results_of_one_task_are_kept_than_a_model_gives() -> None:
    bench = Bench()
    record = bench.begin_written(timeout=1.0)
    bench.step(2)
    for number in range(100):
        bench.answer(record, f"late {number}")
    assert len(bench.core.claim(record.uuid) or []) == 32


@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_task_that_ends_leaves_its_question_to_nobody(kind: str) -> None:
    bench = Bench(question_window=1)
    bench.begin()
    first, second = bench.written_task(), bench.written_task()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    bench.step(1)
    assert len(asked(bench)) == 1
    bench.answer(first)
    bench.answer(second) if kind == "getResponse" else bench.core.cancel(second, bench.now)
    assert bench.core.sizes()["questions"] == 0


def test_two_copies_of_an_answer_in_one_message_are_one() -> None:
    bench = Bench()
    record = bench.begin_written()
    other = bench.written_task()
    bench.say({"data": [item(record), item(record), item(other)]})
    assert (record.state, other.state) == (TaskState.DONE, TaskState.DONE)
    assert bench.core.counters.duplicates == 1


def test_what_names_another_task_is_its_own_though_the_request_held_one() -> None:
    bench = Bench()
    bench.begin()
    asked_about, other = bench.written_task(), bench.written_task()
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    request = [{"taskType": "textInference", "taskUUID": asked_about.uuid}]
    bench.step(1)
    bench.written()
    entry: dict[str, Any] = {"taskType": "getTaskDetails", "taskUUID": asked_about.uuid}
    entry |= {"request": request, "response": {"data": [item(other, "the other's")]}}
    bench.say({"data": [entry]})
    assert not asked_about.ended
    assert [each["text"] for each in other.items] == ["the other's"]


def test_a_conflict_of_a_second_try_is_a_receipt() -> None:
    bench = Bench(resend_early=True)
    record = bench.begin_written()
    bench.core.cancel(record, bench.now)
    bench.numbers = 0
    again = bench.task()
    bench.resent(again)
    assert again.sends == 1
    bench.refuse(again, "conflictTaskUUID", taskType="textInference")
    assert not again.ended
    bench.answer(again)
    assert again.state is TaskState.DONE


def test_a_task_is_not_sent_again_before_it_is_overdue_though_no_question_is_answered() -> None:
    bench = Bench(question_timeout=2.0)
    record = bench.begin_in_doubt(OTHER_SESSION)
    begun = bench.now
    while record.sends < 2:
        for kind in asked(bench):
            # Both ways are silent at first, and then deny.
            if kind in QUESTIONS and bench.now > begun + 5:
                bench.refuse(record, "taskNotFound", taskType=kind)
        bench.step(0.25)
        assert bench.now < begun + 90
    assert bench.now - begun >= 19


def test_second_copies_of_several_tasks_do_not_go_out_together() -> None:
    options = Config()
    times: set[float] = set()
    for number in range(1, 9):
        record = TaskRecord(f"{uuid_of(1)[:-4]}{number * 7919 % 65536:04x}", "textInference", b"{}")
        record.admit()
        for _ in range(2):
            record.wrote(1, 0.0)
        times.add(round(resend_at(record, options, 100.0), 3))
    assert len(times) == 8
    assert max(times) - min(times) > options.resend_after / 2


# Pings


def test_a_far_server_has_three_round_trips() -> None:
    given = Config()
    bench = Bench(busy_ping_after=given.busy_ping_after, busy_ping_timeout=given.busy_ping_timeout)
    bench.start()
    bench.open()
    bench.step(2)
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": SESSION}]})
    bench.written_task()
    bench.step(given.busy_ping_after + 5.5)
    bench.written()
    assert not bench.closes()


def test_a_message_makes_a_ping_that_was_not_written_needless() -> None:
    bench = Bench()
    record = bench.begin_written()
    bench.step(11)  # the socket takes nothing meanwhile
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    assert not [task for task in bench.written() if task["taskType"] == "ping"]


# POSTs and keys


def test_what_an_earlier_post_of_a_task_says_changes_nothing() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task(delivery="stream", deltas=Deltas(), carrier=Carrier.HTTP)
    refused = Loss(LossKind.DIAL_FAILED, detail="refused")
    bench.core.post_ended(record.uuid, -1, PostEnding(Ending.UNREACHED, refused), bench.now)
    bench.step(1)
    assert bench.core.posting(record.uuid, -2, bench.now)
    late = b'{"delta": {"text": "late"}, "finishReason": "stop"}'
    bench.core.posted(record.uuid, -1, late, bench.now)
    bench.core.post_ended(record.uuid, -1, PostEnding(Ending.DONE), bench.now)
    assert not record.ended
    assert record.deltas is not None
    assert record.deltas.count == 0


def test_a_key_that_worked_again_has_one_more_refusal() -> None:
    bench = Bench(fixed_key=False)
    bench.begin()
    for _ in range(3):
        bench.cut(1008)
        bench.step(1)
        bench.ready()
        bench.step(5)
    assert bench.core.failure is None
