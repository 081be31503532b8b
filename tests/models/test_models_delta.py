"""A streamed item as its reader sees it."""

from __future__ import annotations

from typing import Any

import pytest

from runware_ws import Delta, ToolCallPiece


def pieces_of(*calls: Any) -> tuple[ToolCallPiece, ...]:
    return Delta.of({"delta": {"toolCalls": list(calls)}}).tool_calls


@pytest.mark.parametrize(
    "call",
    [
        {"id": "1", "name": "f", "arguments": '{"a":1}'},
        {"id": "1", "name": "f", "arguments": {"a": 1}},
        {"id": "1", "name": "f", "input": {"a": 1}},
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "1", "index": 0, "function": {"name": "f", "arguments": {"a": 1}}},
    ],
)
def test_calls_in_the_shapes_of_a_whole_result(call: dict[str, Any]) -> None:
    assert pieces_of(call) == (ToolCallPiece(0, "1", "f", '{"a":1}'),)


def test_numbers_are_those_given_or_the_place() -> None:
    found = pieces_of({"index": 7}, {"name": "f"}, "no call", {"index": True}, {"index": "1"})
    assert [piece.index for piece in found] == [7, 1, 3, 4]


@pytest.mark.parametrize("arguments", ["", None, {}])
def test_the_head_of_a_call_has_no_arguments_yet(arguments: Any) -> None:
    for call in ({"arguments": arguments}, {"input": arguments}, {"function": {"name": ""}}):
        assert pieces_of({"id": "", **call}) == (ToolCallPiece(0),)
