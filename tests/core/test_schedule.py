"""Records by time: nothing is lost, nothing comes early, and the dead take no room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import FOREVER, TaskRecord
from runware_ws._core.tasks.schedule import Schedule
from tests.core.bench import Bench, uuid_of

_TIMES = st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, FOREVER])


def _planned() -> tuple[Schedule, list[TaskRecord]]:
    return Schedule(lambda record: record.ladder.next_at), []


def _put(schedule: Schedule, records: list[TaskRecord], at: float) -> bool:
    record = TaskRecord(uuid_of(len(records)), "textInference", b"{}")
    record.plan(at)
    records.append(record)
    return schedule.put(record, at)


def _end(schedule: Schedule, record: TaskRecord) -> None:
    record.end(TaskState.CANCELLED, 0.0, None)
    if record.ladder.next_at != FOREVER:
        schedule.forget()


def _live(records: list[TaskRecord]) -> list[TaskRecord]:
    return [r for r in records if not r.ended and r.ladder.next_at != FOREVER]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), _TIMES, st.just(0)),
            st.tuples(st.just("move"), _TIMES, st.integers(0, 50)),
            st.tuples(st.just("end"), st.just(0.0), st.integers(0, 50)),
            st.tuples(st.just("due"), _TIMES.filter(lambda at: at != FOREVER), st.just(0)),
        )
    ),
    st.booleans(),
)
def test_what_is_due_comes_in_order_and_once(
    steps: list[tuple[str, float, int]], look: bool
) -> None:
    schedule, records = _planned()
    told = FOREVER
    for step, at, number in steps:
        if step == "put":
            # Whoever waits for what was told last must be told of something sooner.
            sooner = _put(schedule, records, at)
            assert sooner or at >= told
            told = min(told, at)
        elif step == "due":
            wanted = sorted(r.ladder.next_at for r in _live(records) if r.ladder.next_at <= at)
            found: list[float] = []
            for record in schedule.due(at):
                found.append(record.ladder.next_at)
                record.plan(FOREVER)
            assert found == wanted
        elif records and not (record := records[number % len(records)]).ended:
            if step == "end":
                _end(schedule, record)
            elif at != record.ladder.next_at:
                planned = record.ladder.next_at != FOREVER
                record.plan(at)
                if planned:
                    schedule.forget()
                assert schedule.put(record, at) or at >= told
                told = min(told, at)
        if look:
            told = schedule.first()
            assert told == min((r.ladder.next_at for r in _live(records)), default=FOREVER)
    for record in _live(records):
        _end(schedule, record)
    assert schedule.first() == FOREVER
    assert len(schedule) == 0


def test_the_dead_are_never_more_than_the_living() -> None:
    schedule, records = _planned()
    for number in range(5_000):
        _put(schedule, records, 1000.0 + number if number % 3 else 500.0 - number)
    assert len(schedule) == 5_000
    # The oldest stays: nothing can be dropped from the head of the queue.
    for number, record in enumerate(records[2:], 2):
        _end(schedule, record)
        assert len(schedule) <= max(2 * (5_000 - number), 0) + 65
    assert {record.uuid for record in schedule.due(1e9)} == {r.uuid for r in records[:2]}
    assert len(schedule) == 0
    assert schedule.clear() == []


def test_the_same_time_again_is_the_same_entry() -> None:
    bench = Bench()
    record = bench.begin_in_doubt()
    receipt = {
        "taskType": "textInference",
        "taskUUID": record.uuid,
        "status": "error",
        "error": {"code": "conflictTaskUUID", "message": "known"},
    }
    bench.say({"data": [receipt] * 10_000})
    assert bench.core.sizes()["planned"] <= 70
    bench.step(2)
    bench.written()
    bench.answer(record)
    assert bench.core.sizes()["planned"] == 0


def test_one_far_deadline_does_not_send_all_others_to_the_heap() -> None:
    schedule, records = _planned()
    _put(schedule, records, 1_000.0)
    for number in range(900):
        _put(schedule, records, float(number))
    assert schedule.out_of_order == 1
    assert schedule.first() == 0.0
    times = [record.ladder.next_at for record in schedule.due(1e9)]
    assert times == [*map(float, range(900)), 1_000.0]
