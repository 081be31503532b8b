"""Streams in the core: pieces in order, and what a cut does to them."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import MOST_PENDING, Deltas
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import StreamInterrupted
from tests.core.bench import OTHER_SESSION, SESSION, Bench, ended, item


def stream(bench: Bench, **options: Any) -> tuple[TaskRecord, Deltas]:
    """A stream that is on the wire."""
    deltas = Deltas()
    record = bench.task(delivery="stream", deltas=deltas, **options)
    bench.written()
    return record, deltas


def piece(bench: Bench, record: TaskRecord, text: str, **extra: Any) -> None:
    """The peer pushes a piece."""
    body = {"taskType": record.task_type, "taskUUID": record.uuid, "delta": {"text": text}}
    bench.say({"data": [{**body, **extra}]})


def handed_on(deltas: Deltas) -> list[str]:
    """The texts that a reader sees."""
    return [entry["delta"].get("text", "") for entry in deltas.pending]


def test_pieces_are_handed_on_in_order_and_make_the_whole() -> None:
    bench = Bench()
    bench.begin()
    record, pieces = stream(bench)
    for text in ("a", "b", "a"):
        piece(bench, record, text)
    assert handed_on(pieces) == ["a", "b", "a"]
    assert not record.ended
    piece(bench, record, "!", finishReason="stop", cost=0.5)
    assert record.state is TaskState.DONE
    (result,) = record.items
    assert (result["text"], result["finishReason"], result["cost"]) == ("aba!", "stop", 0.5)


def test_one_whole_result_is_one_piece() -> None:
    bench = Bench()
    bench.begin()
    record, pieces = stream(bench)
    bench.answer(record, "all of it", finishReason="stop")
    assert handed_on(pieces) == ["all of it"]
    assert record.state is TaskState.DONE


@pytest.mark.parametrize("session", [SESSION, OTHER_SESSION])
@pytest.mark.parametrize("replayed", [["b", "c"], ["a", "b", "c"], ["c"], []])
def test_after_a_cut_the_rest_comes_as_one_piece_out_of_the_archive(
    session: str, replayed: list[str]
) -> None:
    bench = Bench()
    bench.begin()
    record, pieces = stream(bench)
    piece(bench, record, "a")
    bench.cut()
    bench.reconnect(session)
    for text in replayed:
        piece(bench, record, text)
    if replayed:
        piece(bench, record, "!", finishReason="stop")
    assert handed_on(pieces) == ["a"], "nobody can tell where these pieces belong"
    bench.step(1)
    (question,) = [task for task in bench.written() if task["taskType"] == "getTaskDetails"]
    whole = item(record, "abc!", finishReason="stop")
    bench.say({"data": [{**question, "response": {"data": [whole]}}]})
    assert handed_on(pieces) == ["a", "bc!"]
    assert record.state is TaskState.DONE
    assert record.items == [whole]


def test_a_whole_that_does_not_fit_interrupts_the_stream() -> None:
    bench = Bench()
    bench.begin()
    record, pieces = stream(bench)
    piece(bench, record, "abc")
    bench.cut()
    bench.reconnect()
    bench.answer(record, "another answer")
    failure = ended(record, TaskState.FAILED)
    assert isinstance(failure, StreamInterrupted)
    assert failure.text == "abc"
    assert handed_on(pieces) == ["abc"]


def test_a_second_try_does_not_take_the_first_ones_deltas_for_its_own() -> None:
    bench = Bench()
    bench.begin()
    first, _ = stream(bench)
    piece(bench, first, "a")
    bench.core.cancel(first, bench.now)
    bench.numbers -= 1
    record, deltas = stream(bench)
    assert record.uuid == first.uuid
    piece(bench, record, "b", finishReason="stop")
    assert handed_on(deltas) == [], "it began with another"
    assert not record.ended
    bench.step(1)
    (question,) = bench.written()
    assert question["taskType"] == "getTaskDetails"
    bench.say({"data": [{**question, "response": item(record, "ab", finishReason="stop")}]})
    assert handed_on(deltas) == ["ab"]
    assert record.state is TaskState.DONE


def test_pieces_for_a_task_that_is_no_stream_are_a_sign_of_life() -> None:
    bench = Bench()
    bench.begin()
    record = bench.task()
    bench.written()
    piece(bench, record, "He")
    assert not record.ended
    bench.answer(record, "Hello")
    assert record.items[0]["text"] == "Hello"


def test_a_slow_reader_is_bounded_and_loses_nothing() -> None:
    pieces = Deltas()
    for number in range(MOST_PENDING + 1000):
        pieces.add({"taskUUID": "u", "delta": {"text": f"{number} "}}, 0.0)
    assert len(pieces.pending) == MOST_PENDING
    assert "".join(handed_on(pieces)) == pieces.text()
