"""Deltas of text, reasoning and calls: cut anywhere, what was handed on and the rest are the whole.

Read as a reader reads them, with ``Delta.of``, and compared with the result as ``ResultItem`` reads
it.
"""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws._core.tasks import deltas as module
from runware_ws._core.tasks.deltas import MOST_WAITING, Deltas
from runware_ws.models.delta import Delta
from runware_ws.models.results import ResultItem
from tests.core.bench import uuid_of
from tests.core.streamed import EXAMPLES, Answer, arguments_in, streams


@dataclass
class Read:
    """What a reader has."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, list[Any]] = field(default_factory=dict[int, list[Any]])
    kinds: list[str] = field(default_factory=list[str])

    def take(self, delta: Delta) -> None:
        self.reasoning += delta.reasoning or ""
        self.text += delta.text or ""
        self.kinds += ["reasoning"] if delta.reasoning else []
        self.kinds += ["text"] if delta.text else []
        self.kinds += ["calls"] if delta.tool_calls else []
        for piece in delta.tool_calls:
            call = self.calls.setdefault(piece.index, [None, None, ""])
            for at, given_once in enumerate((piece.id, piece.name)):
                assert call[at] is None or given_once is None, "told twice"
                call[at] = call[at] or given_once
            call[2] += piece.arguments

    def said(self) -> tuple[Any, ...]:
        calls = [(call[0], call[1], meaning(call[2])) for _, call in sorted(self.calls.items())]
        return self.reasoning, self.text, calls


def read(items: Any) -> Read:
    reader = Read()
    for item in items:
        reader.take(Delta.of(item))
    return reader


def meaning(arguments: Any) -> str:
    """What arguments say; a text that is no JSON says itself."""
    if not isinstance(arguments, str):
        return json.dumps(arguments, sort_keys=True)
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except ValueError:
        return arguments


def said_by(result: dict[str, Any]) -> tuple[Any, ...]:
    """The same of a whole result."""
    item = ResultItem(result)
    calls: list[Any] = []
    for call in item.tool_calls or ():
        source = call.raw.get("function", call.raw)
        calls.append((call.id, call.name, meaning(source["arguments"])))
    return item.reasoning_content or "", item.text or "", calls


def fed(items: list[dict[str, Any]]) -> Deltas:
    deltas = Deltas()
    for item in items:
        assert not deltas.add(item, 1.0)
    return deltas


@EXAMPLES
@given(streams())
def test_deltas_make_the_whole(case: tuple[Answer, list[dict[str, Any]]]) -> None:
    answer, items = case
    deltas = fed(items)
    assert deltas.add({"taskUUID": "u", "delta": {}, "finishReason": "stop"}, 2.0)
    said = said_by(answer.whole([call.text for call in answer.calls]))
    assert read(deltas.pending).said() == said
    assert said_by(deltas.whole()) == said
    assert deltas.whole()["finishReason"] == "stop"
    assert deltas.finished


@EXAMPLES
@given(streams(), st.data())
def test_what_came_and_the_rest_are_the_whole(
    case: tuple[Answer, list[dict[str, Any]]], data: st.DataObject
) -> None:
    answer, items = case
    cut = data.draw(st.integers(0, len(items)))
    deltas = fed(items[:cut])
    deltas.suspended = data.draw(st.booleans())
    if deltas.suspended:
        for item in items[cut:]:
            assert not deltas.add(item, 1.0), "nobody can tell where it belongs"
    kinds = [data.draw(st.sampled_from(["same", "object", "spaced"])) for _ in answer.calls]
    whole = answer.whole(list(map(data.draw, map(st.composite(arguments_in), answer.calls, kinds))))
    assert deltas.complete(whole, 2.0)
    assert read(deltas.pending).said() == said_by(whole)
    assert deltas.whole() == whole, "the answer as it came"
    assert deltas.finished
    assert len(deltas.pending) == cut + 1


@EXAMPLES
@given(streams(), streams(), st.data())
def test_another_answer_is_refused_or_begins_alike(
    case: tuple[Answer, list[dict[str, Any]]],
    foreign: tuple[Answer, list[dict[str, Any]]],
    data: st.DataObject,
) -> None:
    answer, items = case
    deltas = fed(items[: data.draw(st.integers(0, len(items)))])
    other = foreign[0]
    if data.draw(st.booleans()):
        # Nearly the same: only the calls are of the other one.
        other = Answer(answer.text, answer.reasoning, other.calls, other.shape, other.numbers)
    whole = other.whole([call.value if call.value else call.text for call in other.calls])
    before = list(deltas.pending)
    deltas.suspended = True
    if deltas.complete(whole, 2.0):
        assert read(deltas.pending).said() == said_by(whole)
    else:
        assert list(deltas.pending) == before
        assert deltas.suspended
        assert not deltas.finished


@EXAMPLES
@given(streams(), st.sampled_from([2, 4, 6]))
def test_a_slow_reader_loses_nothing(case: tuple[Answer, list[dict[str, Any]]], most: int) -> None:
    _, items = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_PENDING", most)
        slow = fed(items)
    quick = fed(items)
    one, other = read(slow.pending), read(quick.pending)
    assert one.said() == other.said()
    assert [kind for kind, _ in groupby(one.kinds)] == [kind for kind, _ in groupby(other.kinds)]
    if len(set(other.kinds)) <= 1:
        assert len(slow.pending) <= most


def item(delta: Any = None, **fields: Any) -> dict[str, Any]:
    """An item of a stream; no delta at all where it is ``None``."""
    return {"taskUUID": "u", **({} if delta is None else {"delta": delta}), **fields}


def entry(arguments: Any, **fields: Any) -> dict[str, Any]:
    """The delta of one entry of a call."""
    return {"toolCalls": [{**fields, "arguments": arguments}]}


def calls_of(deltas: Deltas) -> list[tuple[str | None, str, dict[str, Any]]]:
    calls = ResultItem(deltas.whole()).tool_calls or ()
    return [(call.id, call.name, call.arguments) for call in calls]


def test_only_the_missing_rest_of_a_call_is_handed_on() -> None:
    deltas = fed([item(entry('{"a": 1', index=0, id="x", name="f")), item(entry("{}", index=1))])
    deltas.pending.clear()
    deltas.suspended = True
    calls = [
        {"id": "x", "name": "f", "arguments": {"a": 12}},
        {"id": "y", "name": "g", "arguments": "{}"},
        {"id": "z", "name": "h", "arguments": '{"c":3}'},
    ]
    assert deltas.complete(item(toolCalls=calls, finishReason="tool_calls"), 2.0)
    (last,) = deltas.pending
    assert last["delta"]["toolCalls"] == [
        {"index": 0, "arguments": "2}"},
        {"index": 1, "id": "y", "name": "g", "arguments": ""},
        {"index": 2, "id": "z", "name": "h", "arguments": '{"c":3}'},
    ]
    assert last["finishReason"] == "tool_calls"


@pytest.mark.parametrize("had", ["", "{", "{ ", "{}"])
@pytest.mark.parametrize("whole", ["{}", "{ }", {}, None, ""])
def test_no_arguments_are_an_empty_object(had: str, whole: Any) -> None:
    deltas = fed([item(entry(had, index=0, name="f"))])
    deltas.suspended = True
    assert deltas.complete(item(toolCalls=[{"name": "f", "arguments": whole}]), 2.0)
    assert read(deltas.pending).said() == ("", "", [(None, "f", "{}")])


def test_calls_that_a_reader_has_are_not_repeated() -> None:
    deltas = fed([item(entry('{"b": 2.50, "a": [1, 2]}', index=0, id="x", name="f"))])
    deltas.suspended = True
    call = {"id": "x", "name": "f", "arguments": {"a": [1, 2], "b": 2.5}}
    assert deltas.complete(item(toolCalls=[call]), 2.0)
    assert deltas.pending[-1]["delta"] == {}


@pytest.mark.parametrize(
    ("had", "whole"),
    [
        ({"arguments": '{"a":tr'}, {"arguments": {"a": 1}}),
        ({"arguments": '{"a":true}'}, {"arguments": {"a": 1}}),
        ({"arguments": '{"a":1}'}, {"arguments": {"a": 1.0}}),
        ({"arguments": '{"a":1 '}, {"arguments": {"a": 12}}),
        ({"arguments": '{"n":18446744073709551617}'}, {"arguments": '{ "n":18446744073709551616}'}),
        ({"arguments": '{"a":"x y'}, {"arguments": '{ "a": "xy" }'}),
        ({"arguments": '{ "a'}, {"arguments": '{"a": broken'}),
        ({"arguments": "", "id": "x"}, {"arguments": "", "id": "y"}),
        ({"arguments": "", "id": "x"}, {"arguments": ""}),
        ({"arguments": "", "name": "g"}, {"arguments": ""}),
        ({"arguments": "", "index": 1}, {"arguments": ""}),
    ],
)
def test_a_call_that_does_not_begin_with_what_came(
    had: dict[str, Any], whole: dict[str, Any]
) -> None:
    deltas = fed([item({"toolCalls": [{"name": "f", "index": 0, **had}]})])
    deltas.suspended = True
    assert not deltas.complete(item(text="", toolCalls=[{"name": "f", **whole}]), 2.0)
    assert not deltas.complete(item(text="no call at all"), 2.0)
    assert len(deltas.pending) == 1


def test_calls_that_come_one_after_the_other_without_numbers() -> None:
    """Each in a list of its own, so all stand at the same place: ids and names tell them apart."""
    deltas = fed(
        [
            item(entry("", id="x", name="f")),
            item(entry('{"a":')),
            item(entry("1}")),
            item(entry({"b": 2}, id="y", name="f")),
            item(entry("", id="z", name="g")),
            item(entry('{"c":3}')),
            item(entry({"d": 4}, name="h")),
        ]
    )
    assert calls_of(deltas) == [
        ("x", "f", {"a": 1}),
        ("y", "f", {"b": 2}),
        ("z", "g", {"c": 3}),
        (None, "h", {"d": 4}),
    ]
    assert [piece.index for each in deltas.pending for piece in Delta.of(each).tool_calls] == [
        *[0] * 3,
        *[1, 2, 2, 3],
    ]


def test_calls_of_one_tool_without_ids_and_numbers() -> None:
    """Arguments that are whole get no more: what names the tool again calls it once more."""
    deltas = fed(
        [
            item(entry({"a": 1}, name="f")),
            item(entry({"a": 1}, name="f")),
            item(entry('{"b":', name="f")),
            item(entry('{"c":2}', name="f")),
            item(entry("}", name="f")),
            item(entry("", name="f")),
            item(entry(" \n", name="f")),
        ]
    )
    calls = [("f", {"a": 1}), ("f", {"a": 1}), ("f", {"b": {"c": 2}})]
    assert calls_of(deltas) == [(None, *call) for call in calls]
    # Cut anywhere, the rest of the whole fits.
    cut = fed([item(entry({"a": 1}, name="f")), item(entry('{"a"', name="f"))])
    cut.suspended = True
    whole = item(toolCalls=[{"name": name, "arguments": given} for name, given in calls])
    assert cut.complete(whole, 2.0)
    assert calls_of(cut) == [(None, *call) for call in calls]


def test_the_last_item_has_its_output_in_the_fields_of_a_result() -> None:
    """Where it begins with what came it is the whole, otherwise the next part of it."""
    whole = item(text="abcd", toolCalls=[{"name": "f", "arguments": "{}"}], finishReason="stop")
    for last, expected in (
        (whole, whole),
        (item(text="cd", cost=0.5), item(text="abcd", cost=0.5)),
        (item(finishReason="stop"), item(text="ab", finishReason="stop")),
    ):
        deltas = fed([item({"text": "a"}), item({"text": "b"})])
        assert deltas.complete(last, 2.0)
        assert deltas.whole() == expected
        assert read(deltas.pending).said() == said_by(expected)
    # Each kind of output for itself: the text has come, the call has its end here.
    for last_call in ({"arguments": "1}"}, {"id": "x", "name": "f", "arguments": {"a": 1}}):
        deltas = fed([item({"text": "a"}), item(entry('{"a":', index=0, id="x", name="f"))])
        assert deltas.complete(item(toolCalls=[last_call]), 2.0)
        assert calls_of(deltas) == [("x", "f", {"a": 1})]
        assert read(deltas.pending).said() == said_by(deltas.whole())
        assert deltas.whole()["text"] == "a"


def test_a_last_delta_that_is_empty_beside_a_whole_result() -> None:
    deltas = fed([item({"text": "a"})])
    assert deltas.add(item({}, text="abc", finishReason="stop"), 2.0)
    assert read(deltas.pending).text == "abc"
    assert deltas.whole() == item(text="abc", finishReason="stop")


def test_the_end_of_the_carrier() -> None:
    assert not Deltas().ended(1.0)
    deltas = fed([item({"text": "ab"})])
    assert deltas.ended(2.0)
    assert deltas.finished
    assert deltas.whole() == item(text="ab")
    cut = fed([item({"text": "ab"})])
    cut.suspended = True
    assert not cut.ended(2.0)


@pytest.mark.parametrize("wrong", [5, {"text": 5}, {"toolCalls": 5}, {"toolCalls": [5]}])
def test_a_wrongly_typed_delta_is_a_hole(wrong: Any) -> None:
    deltas = fed([item({"text": "ab"}), item(wrong), item({"text": "ef"})])
    assert read(deltas.pending).text == "ab"
    assert deltas.suspended
    assert deltas.complete(item(text="abcdef"), 2.0)
    assert read(deltas.pending).text == "abcdef"


def test_wrongly_typed_parts_of_a_call_hand_on_nothing() -> None:
    deltas = fed([item({"toolCalls": [{"index": True, "function": 5}]})])
    assert read(deltas.pending).said() == ("", "", [(None, None, "{}")])


def test_what_comes_beside_deltas_that_nobody_reads_is_bounded() -> None:
    """Some servers tell all of the answer so far with each piece."""
    deltas = Deltas()
    tracemalloc.start()
    try:
        for number in range(2_000):
            beside = {"soFar": "words" * (number * 20)}
            deltas.add({"taskUUID": uuid_of(1), "delta": {"text": "words"}, **beside}, 0.0)
        assert tracemalloc.get_traced_memory()[0] < 2 * MOST_WAITING
    finally:
        tracemalloc.stop()
    told = [item["delta"]["text"] for item in deltas.pending]
    assert "".join(told) == deltas.text() == "words" * 2_000
