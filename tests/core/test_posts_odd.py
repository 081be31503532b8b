"""Streams over HTTP from servers that are legal and unusual, and what one does to the others."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runware_ws._core.effects import Post
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import Carrier, TaskRecord
from runware_ws.errors import AuthenticationError, Submitted
from runware_ws.events import SessionResumed
from tests.core.bench import OTHER_SESSION, SESSION, ended, item
from tests.core.http_bench import CUT, DONE, HttpBench, refused

USAGE: dict[str, Any] = {"usage": {"promptTokens": 3}}


# What is no output


@pytest.mark.parametrize("extra", [USAGE, {"cost": 0.5}, {"type": "ping"}], ids=str)
@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("ending", [DONE, CUT], ids=["done", "cut"])
def test_an_event_without_output_ends_no_stream(
    extra: dict[str, Any], before: int, ending: Any
) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    parts = ["a", "b", "c"]
    for text in parts[:before]:
        bench.delta(record, text)
    bench.event(record, {"taskUUID": record.uuid, **extra})
    for text in parts[before:]:
        bench.delta(record, text)
    bench.end(record, ending)
    if ending is DONE:
        assert record.items[0]["text"] == "abc"
        assert extra.items() <= record.items[0].items()
    else:
        assert not record.ended, "what came is not the whole"
        bench.archive(record, {"data": [item(record, "abcd", finishReason="stop")]})
        assert record.items[0]["text"] == "abcd"
    assert record.deltas is not None
    told = [entry.get("delta", {}).get("text", "") for entry in record.deltas.pending]
    assert "".join(told) == record.items[0]["text"]


def test_an_error_in_words_of_its_own_does_not_make_a_whole() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "half an ans")
    bench.event(record, {"message": "overloaded", "type": "server_error"})
    bench.end(record, CUT)
    assert not record.ended
    bench.archive(record, {"data": [item(record, "half an answer")]})
    assert record.items[0]["text"] == "half an answer"


@pytest.mark.parametrize("carrier", [Carrier.HTTP, Carrier.SOCKET])
def test_usage_in_an_event_of_its_own_is_part_of_the_whole(carrier: Carrier) -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream(carrier)
    say = bench.say
    if carrier is Carrier.HTTP:
        bench.posting(record)
    else:
        bench.written()

    def tell(fields: dict[str, Any]) -> None:
        told = {"taskUUID": record.uuid, **fields}
        bench.event(record, told) if carrier is Carrier.HTTP else say({"data": [told]})

    tell(USAGE)
    tell({"delta": {"text": "ab"}})
    tell({"cost": 0.25})
    assert not record.ended
    tell({"delta": {"text": "c"}, "finishReason": "stop"})
    if carrier is Carrier.HTTP:
        tell({"cost": 0.5})
        bench.end(record, DONE)
    (result,) = record.items
    assert (result["text"], result["usage"]) == ("abc", USAGE["usage"])
    assert result["cost"] == (0.5 if carrier is Carrier.HTTP else 0.25)


def test_output_behind_a_last_piece_shows_that_it_was_not_the_last() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    bench.delta(record, "a", finishReason="stop")
    bench.delta(record, "b")
    bench.end(record, CUT)
    assert not record.ended
    whole, second = bench.sent(), bench.sent()
    bench.event(whole, item(whole, "a"))
    bench.event(second, item(second, "a"))
    bench.delta(second, "b")
    bench.end(whole, CUT)
    bench.end(second, CUT)
    assert whole.items[0]["text"] == "a"
    assert not second.ended


def test_a_result_without_text_is_one() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.sent()
    picture = {"taskType": "imageInference", "taskUUID": record.uuid, "imageURL": "https://x/y"}
    bench.event(record, {"data": [picture]})
    bench.end(record, DONE)
    assert record.items == [picture]


# The key


def test_a_key_that_others_may_use_fails_the_one_that_it_is_refused_for() -> None:
    bench = HttpBench(fixed_key=False)
    bench.begin()
    refused_one = bench.sent()
    for _ in range(5):
        if refused_one.ended:
            break
        bench.end(refused_one, refused(401))
        other = bench.sent()
        bench.delta(other, "a", finishReason="stop")
        bench.end(other, DONE)
        if not refused_one.ended:
            bench.posting(refused_one)
    assert isinstance(ended(refused_one, TaskState.FAILED), AuthenticationError)
    assert bench.core.failure is None
    assert len([post for post in bench.posts() if post.record is refused_one]) == 2


@pytest.mark.parametrize("fixed_key", [True, False])
def test_what_was_refused_for_its_key_did_not_run(fixed_key: bool) -> None:
    bench = HttpBench(fixed_key=fixed_key)
    bench.start()
    record, other = bench.sent(), bench.sent()
    bench.end(record, refused(401))
    if not fixed_key:
        bench.posting(record)
        bench.end(record, refused(401))
    error = ended(record, TaskState.FAILED)
    assert isinstance(error, AuthenticationError)
    assert error.submitted is Submitted.NO
    assert other.submitted is Submitted.MAYBE
    assert isinstance(other.error, AuthenticationError)


# What a POST does to the socket


def test_what_a_post_brings_does_not_calm_the_redials() -> None:
    bench = HttpBench(delay=1.0)
    bench.begin()
    record = bench.sent()
    for _ in range(4):
        bench.delta(record, "a")
        bench.cut()
        bench.reconnect(OTHER_SESSION, wait=1.0)
    assert bench.delays == [1, 2, 3, 4]
    bench.delta(record, "a", finishReason="stop")
    bench.end(record, DONE)
    bench.cut()
    assert bench.delays == [1, 2, 3, 4, 5]


def test_what_a_post_brings_before_the_authentication_is_no_replay() -> None:
    bench = HttpBench()
    bench.begin()
    record, other = bench.sent(), bench.written_task()
    bench.cut()
    bench.step(0.25)
    bench.open()
    bench.delta(record, "a", finishReason="stop")
    bench.end(record, DONE)
    bench.say({"data": [{"taskType": "authentication", "connectionSessionUUID": SESSION}]})
    bench.answer(other)
    bench.step(5)
    assert [event.replayed for event in bench.events(SessionResumed)] == [1]


# The memory of what ended


def test_a_uuid_whose_given_up_stream_still_flows_is_asked_for_and_not_posted_again() -> None:
    bench = HttpBench()
    bench.begin()
    left = bench.sent(timeout=2000)
    bench.delta(left, "a")
    bench.core.cancel(left, bench.now)
    bench.step(1000)
    # Long forgotten as a task that ended, but not as one that is being answered.
    again = TaskRecord(
        left.uuid,
        "textInference",
        orjson.dumps({"taskType": "textInference", "taskUUID": left.uuid}),
        delivery="stream",
        deltas=Deltas(),
        carrier=Carrier.HTTP,
        deadline=bench.now + 100,
        now=bench.now,
    )
    bench.core.submit(again)
    assert [effect for effect in bench.take() if isinstance(effect, Post)] == []
    sizes = bench.core.sizes()
    assert (sizes["second_tries"], sizes["left"], sizes["posts"]) == (1, 0, 0)


def test_events_of_a_post_that_told_of_no_sending_show_that_it_was_sent() -> None:
    bench = HttpBench()
    bench.begin()
    record = bench.stream()
    bench.delta(record, "a")
    bench.end(record, CUT)
    bench.step(5)
    assert len(bench.posts()) == 1, "it is not posted a second time"
