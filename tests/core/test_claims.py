"""What is kept for claims is counted as what it takes up, however it came."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest

from runware_ws._core import wire
from runware_ws._core.tasks.deltas import Deltas
from runware_ws.events import LateResult, UnknownTask

from .bench import Bench, item, uuid_of

MIB = 1 << 20

SHAPES: dict[str, Any] = {
    "text": "hello, world " * 20,
    "wide text": "plain \N{GRINNING FACE} text " * 30,
    "empty lists": [[]] * 300,
    "empty objects": [{}] * 300,
    "nested": [{"a": {"b": [{"c": 1}]}}] * 100,
    "small numbers": [1] * 1_000,
    "numbers": [10**12 + n for n in range(500)],
    "fractions": [n + 0.5 for n in range(500)],
    "nothing": [None, True, False, "", 0] * 100,
    "letters": ["a"] * 500,
    "many fields": {f"a field with a name of its own {n}": None for n in range(200)},
    "tiny": 1,
}


def _frame(number: int, value: Any) -> bytes:
    return orjson.dumps({"data": [{"taskUUID": uuid_of(number), "text": "t", "value": value}]})


@pytest.mark.parametrize("shape", SHAPES)
def test_an_item_weighs_what_it_takes_up(shape: str) -> None:
    frames = [_frame(number, SHAPES[shape]) for number in range(500)]
    wire.decode(frames[0])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        items = [wire.decode(frame)["data"][0] for frame in frames]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    weight = sum(wire.weight(item, MIB) for item in items)
    assert taken / 2 < weight < taken * 2


def test_the_walk_through_an_item_ends_where_it_is_too_heavy() -> None:
    assert 1_000 < wire.weight({"value": [[]] * 100_000 + ["x" * MIB]}, 1_000) < 10**6
    wide: dict[str, Any] = {"value": [[] for _ in range(1_000)]}
    assert 1_000 < wire.weight(wide, 1_000) < wire.weight(wide, MIB) // 5


@pytest.mark.parametrize("given_up", [True, False], ids=["given up", "never sent"])
@pytest.mark.parametrize(
    "shape", ["one large and many small", "many tiny objects", "equal parts of a large frame"]
)
def test_the_store_holds_no_more_than_it_may(shape: str, given_up: bool) -> None:
    limit = 2 * MIB
    bench = Bench(claim_bytes=limit, claim_limit=100_000, max_in_flight=100_000)
    bench.begin()
    records = [bench.task() for _ in range(200)] if given_up else []
    bench.written()
    for record in records:
        bench.core.cancel(record, bench.now)
    uuids = [uuid_of(1 + number) for number in range(200)]
    tracemalloc.start()
    try:
        bench.effects.clear()
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, 200, 20):
            items: list[dict[str, Any]] = [
                {"taskUUID": uuid, "text": "t"} for uuid in uuids[start : start + 20]
            ]
            if shape == "one large and many small":
                items[7]["text"] = "x" * (MIB - 100_000)
            elif shape == "many tiny objects":
                for each in items:
                    each["list"] = [[] for _ in range(500)]
            else:
                for each in items:
                    each["text"] = "x" * 100_000
            bench.say({"data": items})
            del items
            bench.effects.clear()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 1.5 * limit
    # It is used, too, and the newest are there.
    assert held > 0.4 * limit
    assert bench.core.claim(uuids[-1]) is not None


def test_a_text_that_is_no_taskuuid_is_not_kept() -> None:
    bench = Bench()
    bench.begin()
    bench.say({"data": [{"taskUUID": "x" * 1_000_000, "text": "t"}]})
    assert bench.core.sizes()["claims"] == 0
    assert bench.core.counters.strays == 1
    assert bench.events(UnknownTask) == []


def test_a_copy_of_what_is_kept_is_told_once() -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task()
    bench.core.cancel(record, bench.now)
    for _ in range(3):
        bench.answer(record)
    assert len(bench.events(LateResult)) == 1
    assert bench.core.claim(record.uuid) == [item(record)]


def test_streams_that_were_given_up_are_bounded_in_bytes_while_they_flow() -> None:
    bench = Bench(claim_bytes=100_000)
    bench.begin()
    records = [bench.written_task(delivery="stream", deltas=Deltas()) for _ in range(5)]
    for record in records:
        bench.say({"data": [{"taskUUID": record.uuid, "delta": {"text": "a"}}]})
        bench.core.cancel(record, bench.now)
    assert bench.core.sizes()["left"] == 5
    left = bench.core._table.left  # pyright: ignore[reportPrivateUsage]
    for number in range(60):
        for record in records:
            piece = {"taskUUID": record.uuid, "delta": {"text": f"{number}" * 250}}
            bench.say({"data": [piece]})
        assert left.size <= 100_000
    assert 1 <= bench.core.sizes()["left"] < 5
    last = records[-1]
    bench.say({"data": [{"taskUUID": last.uuid, "delta": {"text": "."}, "finishReason": "stop"}]})
    (whole,) = bench.core.claim(last.uuid) or []
    assert whole["text"].endswith(".")
    bench.cut()
    assert (bench.core.sizes()["left"], left.size) == (0, 0)


def test_the_archives_word_on_a_stream_that_was_kept_is_a_copy() -> None:
    bench = Bench()
    bench.begin()
    record = bench.written_task(delivery="stream", deltas=Deltas())
    bench.core.cancel(record, bench.now)
    told = {"taskType": record.task_type, "taskUUID": record.uuid}
    call = {"id": "c", "name": "search", "arguments": "{}"}
    bench.say({"data": [{**told, "delta": {"toolCalls": [{"index": 0, **call}]}}]})
    bench.say({"data": [{**told, "delta": {"text": ""}, "finishReason": "tool_calls"}]})
    # It was asked about before it was given up. The arguments are the same, read.
    read: dict[str, Any] = {**call, "arguments": {}}
    whole = {**told, "toolCalls": [read], "finishReason": "tool_calls"}
    asked = {"request": [told], "response": whole}
    bench.say({"data": [{**told, "taskType": "getTaskDetails", **asked}]})
    (kept,) = bench.core.claim(record.uuid) or []
    assert kept["toolCalls"] == [call]
