"""Cuts that come again and again: nothing starves, and nothing is asked twice at once."""

from __future__ import annotations

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import Submitted
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, item
from tests.core.questions import asked, deny


def test_questions_and_replays_survive_any_number_of_cuts() -> None:
    bench = Bench()
    bench.begin()
    records = [bench.written_task(timeout=1000) for _ in range(20)]
    for number in range(6):
        bench.cut()
        bench.reconnect(SESSION if number % 2 else OTHER_SESSION)
        bench.step(0.5)
        asked(bench)
        assert 0 <= bench.core.sizes()["questions"] <= 20
        bench.answer(records[number])
    bench.cut()
    bench.reconnect()
    for record in records[6:]:
        bench.answer(record)
    assert all(record.state is TaskState.DONE for record in records)
    assert bench.core.sizes()["questions"] == 0


def test_a_reconnect_with_very_many_tasks_is_worked_off_in_pieces() -> None:
    bench = Bench(max_in_flight=100_000, batch_tasks=1000, batch_bytes=10_000_000)
    bench.begin()
    records = [bench.task(timeout=1000) for _ in range(5_000)]
    bench.written()
    bench.cut()
    bench.step(0.25)
    bench.ready()
    assert sum(r.state is TaskState.RECOVERING for r in records) < 5_000
    bench.step(0.01)
    assert all(r.state is TaskState.RECOVERING for r in records)


@pytest.mark.parametrize("life", [0.2, 0.4, 1.0])
def test_quick_cuts_do_not_starve_a_task_that_never_arrived(life: float) -> None:
    usual = 20.0
    bench = Bench(delay=0.1, usual_duration=usual)
    record = bench.begin_written(timeout=60)
    while not record.ended:
        bench.cut()
        bench.reconnect(SESSION, wait=0.1)
        end = bench.now + life
        while bench.now < end and not record.ended:
            for kind, _ in asked(bench):
                if kind == "textInference":
                    bench.answer(record)
                else:
                    deny(bench, record, kind)
            bench.step(0.05)
    assert record.state is TaskState.DONE
    assert record.recovered_by is RecoveredBy.RESUBMIT
    assert bench.now < 1000 + usual + 6


def test_regular_cuts_do_not_meet_every_resend_of_a_task() -> None:
    """A wire is cut every 0.2 s, and a task that was written less than 0.1 s before is lost."""
    bench = Bench(delay=0.05, replay_grace=0.1, resend_after=0.1, resend_early=True)
    bench.begin()
    records: list[TaskRecord] = []
    while len(records) < 100:
        # The last digits of a taskUUID give each task its place.
        bench.numbers += 0x10000 // 100
        records.append(bench.written_task(timeout=100))
    arriving: dict[str, float] = {}
    while not all(record.ended for record in records):
        bench.cut()
        arriving.clear()
        bench.reconnect(SESSION, wait=0.05)
        for _ in range(30):
            for kind, uuid in asked(bench):
                record = next(r for r in records if r.uuid == uuid)
                if kind == "textInference":
                    arriving[uuid] = bench.now + 0.1
                else:
                    deny(bench, record, kind)
            for record in records:
                if not record.ended and arriving.get(record.uuid, bench.now + 1) <= bench.now:
                    bench.answer(record)
            bench.step(0.005)
    assert {record.state for record in records} == {TaskState.DONE}
    assert bench.now < 1000 + 20


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("life", [0.8, 1.2, 3.0, 4.0])
def test_questions_that_fail_soon_after_each_reconnect_succeed_later(
    life: float, delivery: str
) -> None:
    """The wire is cut at regular times, and each time all questions fail for a while; polls do
    always."""
    bench = Bench()
    bench.begin()
    for _ in range(6):  # what a task of its kind takes is known
        quick = bench.written_task(timeout=60)
        bench.step(0.5)
        bench.answer(quick)
    record = bench.written_task(timeout=60, delivery=delivery)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    begun = bench.now
    while not record.ended:
        bench.cut()
        bench.reconnect(OTHER_SESSION)
        healthy_at, end = bench.now + 0.4, bench.now + life
        while bench.now < end and not record.ended:
            for kind, _ in asked(bench):
                about = {"taskType": kind, "taskUUID": record.uuid}
                if bench.now < healthy_at or kind == "getResponse":
                    bench.refuse(record, "providerUnavailable", taskType=kind)
                else:
                    bench.say({"data": [{**about, "response": {"data": [item(record)]}}]})
            bench.step(0.05)
    assert record.state is TaskState.DONE
    assert bench.now - begun < 5


def test_a_second_try_that_meets_its_deadline_unsent_is_told_as_such() -> None:
    bench = Bench()
    bench.begin_written(timeout=5)
    bench.cut()
    bench.step(5)
    bench.numbers -= 1
    again = bench.task(timeout=5)
    assert again.state is TaskState.QUEUED
    bench.step(5)
    failure = ended(again, TaskState.UNKNOWN)
    assert failure is not None
    assert failure.submitted is Submitted.MAYBE
    assert not failure.safe_to_resend
