"""The recovery ladder for async tasks: polls, acknowledgements, and what a cut takes of them."""

from __future__ import annotations

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import TaskError
from runware_ws.models.results import RecoveredBy
from tests.core.bench import OTHER_SESSION, Bench, ended, error, item
from tests.core.questions import asked, deny, unsent


def acked(bench: Bench, **options: float | str) -> TaskRecord:
    """An async task that the server acknowledged."""
    record = bench.written_task(delivery="async", **options)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    return record


def test_async_is_polled_until_it_is_done_and_polls_share_frames() -> None:
    bench = Bench(poll_first=1.0)
    bench.begin()
    records = [acked(bench) for _ in range(3)]
    assert {record.state for record in records} == {TaskState.ACKNOWLEDGED}
    bench.step(0.99)
    assert asked(bench) == []
    bench.step(0.02)
    frame = bench.core.next_frame(bench.now)
    assert frame is not None
    assert frame.data.count(b"getResponse") == 3
    bench.say({"data": [item(r, status="success") for r in records[:2]]})
    processing = {"taskType": "textInference", "taskUUID": records[2].uuid, "status": "processing"}
    bench.say({"data": [processing]})
    assert [record.ended for record in records] == [True, True, False]
    assert records[0].recovered_by is RecoveredBy.POLL
    bench.step(0.5)
    assert asked(bench) == [("getResponse", records[2].uuid)]


def test_async_a_second_try_teaches_nothing_about_durations() -> None:
    bench = Bench(poll_first=1.0)
    bench.begin()
    first = acked(bench, timeout=0.5)
    bench.step(0.5)
    asked(bench)
    assert first.ended
    bench.numbers -= 1
    second = bench.task(delivery="async")
    assert asked(bench) == [("getResponse", second.uuid)]
    bench.say({"data": [item(second, status="success")]})
    assert second.state is TaskState.DONE
    acked(bench)
    bench.step(1.1)
    assert len(asked(bench)) == 1


def test_async_a_long_task_does_not_hold_back_the_polls_of_short_ones() -> None:
    bench = Bench(poll_first=1.0, question_backoff_cap=5)
    bench.begin()
    long = acked(bench, timeout=1000)
    for _ in range(300):
        bench.step(1)
        if asked(bench) and bench.now > 1200:
            break
    bench.say({"data": [item(long, status="success")]})
    assert long.ended
    acked(bench)
    bench.step(5.1)
    assert len(asked(bench)) == 1


def test_async_results_of_one_task_are_complete_over_several_polls() -> None:
    bench = Bench()
    bench.begin()
    record = acked(bench, expected=3)
    texts = ["a", "b", "b"]
    for known in (1, 2, 3):
        bench.step(5)
        assert asked(bench) == [("getResponse", record.uuid)]
        done = [item(record, text, status="success") for text in texts[:known]]
        rest = {"taskType": "textInference", "taskUUID": record.uuid, "status": "processing"}
        bench.say({"data": done + [rest] * (3 - known)})
    assert record.state is TaskState.DONE
    assert [i["text"] for i in record.items] == texts


def test_async_an_acknowledgement_lost_with_the_socket_is_found_out_by_a_poll() -> None:
    bench = Bench(resend_after=1.5)
    record = bench.begin_in_doubt(delivery="async")
    bench.step(1)
    assert asked(bench) == [("getResponse", record.uuid)]
    deny(bench, record, "getResponse")
    bench.resent(record)
    bench.say({"data": [{"taskType": record.task_type, "taskUUID": record.uuid}]})
    bench.step(1)
    assert asked(bench) == [("getResponse", record.uuid)]
    bench.say({"data": [item(record, status="success")]})
    assert record.state is TaskState.DONE


def test_async_a_cut_does_not_stop_the_polls_of_an_acknowledged_task() -> None:
    bench = Bench()
    bench.begin()
    record = acked(bench)
    bench.cut()
    bench.reconnect(OTHER_SESSION)
    assert asked(bench) == [("getResponse", record.uuid)]


def test_async_a_task_that_the_server_lost_ends_with_the_servers_word() -> None:
    bench = Bench()
    bench.begin()
    record = acked(bench, timeout=1000)
    known = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
    for number in range(2000):
        for kind, _ in asked(bench):
            if number < 10:
                bench.say({"data": [known]})
            else:
                bench.refuse(record, "taskFailedOrNotFound", taskType=kind)
        if record.ended:
            break
        bench.step(0.5)
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "taskFailedOrNotFound"


def test_async_a_status_of_error_ends_the_task() -> None:
    bench = Bench()
    bench.begin()
    record = acked(bench)
    bench.step(1.1)
    asked(bench)
    problem = {"code": "timeoutProvider", "message": "too slow"}
    body = {"taskType": "getResponse", "taskUUID": record.uuid, "status": "error", "error": problem}
    bench.say({"data": [body]})
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert failure.code == "timeoutProvider"
    assert failure.retryable


@pytest.mark.parametrize("task_type", ["textInference", "getResponse", None])
def test_async_the_error_of_one_of_several_results_beside_another_that_runs_waits(
    task_type: str | None,
) -> None:
    bench = Bench()
    bench.begin()
    record = acked(bench, expected=2)
    failed = error(record, "inferenceError", taskType=task_type)
    runs = {"taskType": record.task_type, "taskUUID": record.uuid, "status": "processing"}
    for _ in range(5):
        assert unsent(bench, 20)
        bench.say({"data": [runs], "errors": [failed]})
        assert not record.ended
    while not record.ended:
        assert unsent(bench, 20)
        bench.say({"data": [item(record, "paid", status="success")], "errors": [failed]})
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, TaskError)
    assert [each["text"] for each in failure.items] == ["paid"]
