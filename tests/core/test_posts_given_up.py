"""Streams that are given up are paid for: they are read to their end, and can be claimed."""

from __future__ import annotations

import pytest

from runware_ws._core.effects import PostEnding
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import Carrier
from runware_ws.events import LateResult
from tests.core.http_bench import CUT, DONE, HttpBench, refused


def test_a_stream_that_is_given_up_can_be_claimed_once_it_is_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "one, ")
    bench.core.cancel(record, bench.now)
    assert record.state is TaskState.CANCELLED
    assert not bench.drops(), "it is paid for: it is read to its end"
    bench.delta(record, "two", finishReason="stop")
    assert bench.core.claim(record.uuid) is None
    bench.end(record, DONE)
    assert [event.task_uuid for event in bench.events(LateResult)] == [record.uuid]
    (claimed,) = bench.core.claim(record.uuid) or []
    assert claimed["text"] == "one, two"
    assert bench.core.sizes()["posts"] == bench.core.sizes()["left"] == 0


@pytest.mark.parametrize("ending", [CUT, refused(500)])
def test_a_stream_that_is_given_up_and_breaks_leaves_nothing(ending: PostEnding) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "one, ")
    bench.core.cancel(record, bench.now)
    bench.end(record, ending)
    bench.step(30)
    assert bench.core.claim(record.uuid) is None
    assert bench.core.sizes()["posts"] == bench.core.sizes()["left"] == 0


def test_an_error_in_a_stream_that_is_given_up_leaves_nothing() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "one, ")
    bench.core.cancel(record, bench.now)
    bench.event(record, {"errors": [{"code": "inferenceError"}]})
    assert bench.core.claim(record.uuid) is None
    assert bench.core.sizes()["left"] == 0


def test_a_stream_that_is_given_up_is_read_until_its_deadline_and_no_longer() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent(timeout=20)
    bench.core.cancel(record, bench.now)
    bench.step(19)
    assert not bench.drops()
    bench.step(2)
    assert bench.drops() == [-1]


def test_no_more_are_read_than_can_be_claimed_and_none_behind_the_end() -> None:
    bench = HttpBench(claim_limit=1)
    bench.begin()
    first, second = bench.sent(), bench.sent()
    bench.core.cancel(first, bench.now)
    bench.core.cancel(second, bench.now)
    assert bench.drops() == [-1]
    bench.core.close(bench.now)
    assert bench.drops() == [-1, -2]


def test_a_socket_stream_that_is_given_up_can_be_claimed_as_well() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(Carrier.SOCKET)
    bench.written()
    say = {"taskType": record.task_type, "taskUUID": record.uuid}
    bench.say({"data": [{**say, "delta": {"text": "one, "}}]})
    bench.core.cancel(record, bench.now)
    bench.say({"data": [{**say, "delta": {"text": "two"}, "finishReason": "stop"}]})
    (claimed,) = bench.core.claim(record.uuid) or []
    assert claimed["text"] == "one, two"


def test_what_comes_of_a_given_up_stream_after_a_cut_is_no_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(Carrier.SOCKET)
    bench.written()
    bench.core.cancel(record, bench.now)
    bench.cut()
    bench.reconnect()
    bench.answer(record, "the last part, perhaps", finishReason="stop")
    assert bench.core.claim(record.uuid) is None


def test_a_socket_stream_that_is_given_up_in_an_outage_is_not_read_for_ever() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(Carrier.SOCKET)
    bench.written()
    bench.cut()
    bench.core.cancel(record, bench.now)
    bench.reconnect()
    assert bench.core.sizes()["left"] == 0
    bench.answer(record, "the last part, perhaps", finishReason="stop")
    assert bench.core.claim(record.uuid) is None
