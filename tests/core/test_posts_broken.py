"""POSTs that break or reach no server: what is asked over the socket, and when they go again."""

from __future__ import annotations

import orjson
import pytest

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._core.states import TaskState
from runware_ws.classify import Loss, LossKind
from runware_ws.errors import OutcomeUnknown, StreamInterrupted, Submitted
from runware_ws.events import TaskResent
from tests.core.bench import ended, item
from tests.core.http_bench import CUT, DONE, UNREACHED, HttpBench, texts

# Cuts


def test_after_a_cut_the_rest_comes_over_the_socket() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "one, ")
    bench.end(record, CUT)
    bench.step(0)
    (question,) = bench.written()
    assert question == {"taskType": "getTaskDetails", "taskUUID": record.uuid}
    bench.say({"data": [{**question, "response": item(record, "one, two", finishReason="stop")}]})
    assert texts(record) == ["one, ", "two"]
    assert record.state is TaskState.DONE


def test_after_a_cut_in_an_outage_the_task_is_asked_for_once_there_is_a_socket() -> None:
    bench = HttpBench()
    bench.start()
    record = bench.sent()
    bench.end(record, CUT)
    bench.ready()
    bench.step(0)
    (question,) = bench.written()
    assert question["taskType"] == "getTaskDetails"


def test_a_whole_that_does_not_fit_interrupts_the_stream() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "abc")
    bench.end(record, CUT)
    bench.step(0)
    (question,) = bench.written()
    bench.say({"data": [{**question, "response": item(record, "xyz")}]})
    error = ended(record, TaskState.FAILED)
    assert isinstance(error, StreamInterrupted)
    assert error.text == "abc"


def test_a_request_that_was_lost_in_the_cut_is_sent_over_the_socket_for_its_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.end(record, CUT)
    assert bench.resent(record) >= 20, "not before it would be done, if it had arrived"
    assert orjson.loads(record.payload)["deliveryMethod"] == "sync"
    assert [event.task_uuid for event in bench.events(TaskResent)] == [record.uuid]
    bench.answer(record, "whole")
    assert texts(record) == ["whole"]


def test_never_means_never_for_streams_too() -> None:
    bench = HttpBench(resubmit="never")
    bench.begin()
    record = bench.sent(timeout=30)
    bench.end(record, CUT)
    for _ in range(40):
        bench.step(1)
        for task in bench.written():
            assert task["taskType"] in ("getTaskDetails", "getResponse", "ping")
            if task["taskType"] != "ping":
                bench.refuse(record, "taskNotFound", taskType=task["taskType"])
    assert isinstance(ended(record, TaskState.UNKNOWN), OutcomeUnknown)


def test_an_end_without_a_word_is_a_cut() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.end(record, DONE)
    bench.step(0)
    (question,) = bench.written()
    assert question["taskType"] == "getTaskDetails"


# The server is not reached


@pytest.mark.parametrize("how", [Ending.UNREACHED, Ending.CUT, Ending.DONE])
def test_what_was_never_sent_goes_back_to_the_queue(how: Ending) -> None:
    bench = HttpBench(delay=2.0)
    bench.begin()
    first, second = bench.stream(), bench.stream()
    ending = PostEnding(how, Loss(LossKind.DIAL_FAILED, detail="refused"))
    bench.end(first, ending)
    bench.end(second, ending)
    third = bench.stream()
    assert len(bench.posts()) == 2
    bench.step(1.9)
    assert len(bench.posts()) == 2
    bench.step(0.2)
    assert [post.record for post in bench.posts()[2:]] == [first, second, third]
    assert bench.delays == [1], "one gate for all"
    assert first.submitted is Submitted.NO


def test_an_unreached_server_is_told_at_the_deadline() -> None:
    bench = HttpBench(delay=5.0)
    bench.begin()
    record = bench.stream(timeout=12)
    while not record.ended:
        bench.end(record, UNREACHED)
        bench.step(5)
    error = ended(record, TaskState.TIMED_OUT)
    assert error is not None
    assert error.submitted is Submitted.NO
    assert "dial failed: refused" in error.message
    assert bench.delays == [1, 2, 3]


def test_an_answer_makes_the_next_failure_the_first_again() -> None:
    bench = HttpBench(delay=1.0)
    bench.begin()
    record = bench.stream()
    bench.end(record, UNREACHED)
    bench.step(1)
    bench.posting(record)
    bench.delta(record, "a")
    other = bench.stream()
    bench.end(other, UNREACHED)
    assert bench.delays == [1, 1]
