"""Streams over HTTP are tasks of the core: the common way, and the rules of all tasks."""

from __future__ import annotations

import pytest

from runware_ws._core.states import TaskState
from runware_ws.errors import ClientClosed, RunwareError, Submitted, TaskError, TaskTimeout
from runware_ws.events import Closed
from tests.core.bench import OTHER_SESSION, SESSION, ended, item
from tests.core.http_bench import CUT, DONE, HttpBench, refused, texts

# The common way


def test_a_stream_is_posted_at_once_and_needs_no_socket() -> None:
    bench = HttpBench()
    bench.start()
    record = bench.stream()
    assert [post.record for post in bench.posts()] == [record]
    assert record.submitted is Submitted.NO
    bench.posting(record)
    assert record.submitted is Submitted.MAYBE
    bench.delta(record, "a")
    assert record.submitted is Submitted.YES
    bench.delta(record, "b", finishReason="stop", cost=0.5)
    assert texts(record) == ["a", "b"]
    assert not record.ended, "the POST is still under way"
    bench.end(record, DONE)
    assert record.state is TaskState.DONE
    (result,) = record.items
    assert (result["text"], result["finishReason"], result["cost"]) == ("ab", "stop", 0.5)
    assert not bench.drops()
    assert bench.core.counters.posts == 1


def test_the_end_mark_makes_the_whole_without_a_finish_reason() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "whole")
    bench.end(record, DONE)
    assert record.items[0]["text"] == "whole"


def test_a_finished_stream_that_breaks_before_its_end_mark_is_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "whole", finishReason="stop")
    bench.end(record, CUT)
    assert record.items[0]["text"] == "whole"


def test_a_finished_stream_whose_end_mark_never_comes_is_whole_at_the_deadline() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent(timeout=20)
    bench.delta(record, "whole", finishReason="stop")
    bench.step(21)
    assert record.items[0]["text"] == "whole"
    assert bench.drops() == [-1]


def test_a_whole_result_is_one_delta_and_comes_unaltered() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    answer = item(record, "all of it", finishReason="stop", odd={"kept": [1]})
    bench.event(record, {"data": [answer]})
    bench.end(record, DONE)
    assert texts(record) == ["all of it"]
    assert record.items == [answer]


def test_items_belong_to_their_request_unless_they_name_another() -> None:
    bench = HttpBench()
    bench.begin()
    record, other = bench.sent(), bench.sent()
    bench.event(record, {"taskUUID": "", "delta": {"text": "a"}})
    bench.event(record, {"delta": {"text": "b"}})
    bench.event(record, {"taskUUID": record.uuid.upper(), "delta": {"text": "c"}})
    bench.event(record, {"taskUUID": other.uuid, "delta": {"text": "not mine"}})
    bench.event(record, {"data": [item(other, "not mine")]})
    assert (texts(record), texts(other)) == (["a", "b", "c"], [])
    assert bench.core.counters.strays == 2
    bench.event(record, {"errors": [{"code": "inferenceError", "taskUUID": other.uuid}]})
    assert not record.ended
    assert not other.ended


def test_what_cannot_be_read_is_counted_and_skipped() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    for data in (b"not json", b"[1]", b'{"data": 3}'):
        bench.event(record, data)
    bench.delta(record, "a", finishReason="stop")
    bench.end(record, DONE)
    assert record.items[0]["text"] == "a"
    assert bench.core.counters.malformed == 2


def test_an_error_in_the_stream_is_the_tasks_own() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "a")
    bench.event(record, {"errors": [{"code": "rateLimitExceeded", "message": "m"}]})
    error = ended(record, TaskState.FAILED)
    assert isinstance(error, TaskError)
    assert (error.code, error.safe_to_resend) == ("rateLimitExceeded", False)
    assert bench.drops() == [-1]


# The rules of all tasks


def test_limits_hold_over_both_carriers() -> None:
    bench = HttpBench(max_in_flight=2)
    bench.begin()
    first = bench.sent()
    bench.written_task()
    third = bench.stream()
    assert third.state is TaskState.WAITING
    bench.delta(first, "a", finishReason="stop")
    bench.end(first, DONE)
    assert bench.posts()[-1].record is third


def test_so_many_posts_at_once_and_the_rest_in_turn() -> None:
    bench = HttpBench(max_posts=1)
    bench.begin()
    first, second, third = bench.sent(), bench.stream(), bench.stream()
    assert [post.record for post in bench.posts()] == [first]
    bench.core.cancel(second, bench.now)
    bench.end(first, refused(429))
    assert [post.record for post in bench.posts()] == [first, third]
    assert not bench.drops(), "the second was never posted"


def test_a_task_uuid_is_taken_once_whatever_carries_it() -> None:
    bench = HttpBench()
    bench.begin()
    bench.sent()
    bench.numbers -= 1
    with pytest.raises(RunwareError, match="used before"):
        bench.task()


def test_drain_and_close_hold_for_streams() -> None:
    bench = HttpBench()
    bench.begin()
    unsent, sent, begun = bench.stream(), bench.sent(), bench.sent()
    bench.delta(begun, "a")
    bench.core.drain(bench.now)
    with pytest.raises(ClientClosed):
        bench.stream()
    bench.core.close(bench.now)
    assert sorted(bench.drops()) == [-3, -2, -1]
    told = [ended(record, TaskState.CLOSED) for record in (unsent, sent, begun)]
    assert [error.submitted.value for error in told if error] == ["no", "maybe", "yes"]
    assert isinstance(bench.events()[-1], Closed)


def test_a_deadline_before_the_first_byte_leaves_nothing_in_doubt() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(timeout=10)
    bench.step(11)
    error = ended(record, TaskState.TIMED_OUT)
    assert isinstance(error, TaskTimeout)
    assert (error.submitted, error.safe_to_resend) == (Submitted.NO, True)
    assert bench.drops() == [-1]


@pytest.mark.parametrize("connected", [True, False])
def test_a_deadline_of_a_running_post_has_nothing_to_do_with_sockets(connected: bool) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent(timeout=10)
    bench.cut()
    if connected:
        bench.reconnect()
    bench.step(11)
    assert isinstance(ended(record, TaskState.TIMED_OUT), TaskTimeout)


@pytest.mark.parametrize("session", [SESSION, OTHER_SESSION])
def test_a_cut_of_the_socket_does_not_touch_a_running_post(session: str) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "a")
    bench.cut()
    bench.reconnect(session)
    bench.step(5)
    assert bench.written() == [], "nothing is asked: the POST is under way"
    bench.delta(record, "b", finishReason="stop")
    bench.end(record, DONE)
    assert record.items[0]["text"] == "ab"


def test_what_a_post_says_that_was_given_up_changes_nothing() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream()
    number = bench.number(record)
    bench.core.cancel(record, bench.now)
    assert bench.drops() == [number]
    before = bench.core.sizes()
    for data in (b'{"delta": {"text": "late"}}', b"garbage"):
        bench.core.posted(record.uuid, number, data, bench.now)
    assert bench.core.posting(record.uuid, number, bench.now) is False, "nothing is to be sent"
    bench.core.post_ended(record.uuid, number, CUT, bench.now)
    assert bench.core.sizes() == before
    assert record.state is TaskState.CANCELLED
