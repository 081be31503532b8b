"""``to_message`` and the objects: against the seed's schema and the ``anthropic`` package."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import orjson
import pytest
from anthropic.types import Message as AnthropicMessage
from hypothesis import given
from hypothesis import strategies as st

from runware_ws import Result
from runware_ws.messages import JsonObject, TextBlock, parse_tool_text, to_message, to_task

from .support import HEX, JSON_OBJECT, JSON_VALUE, TEXT, UUID, result, validator

SEED = validator("response")


def test_a_whole_message() -> None:
    item = result(
        text="Hello.",
        finishReason="stop",
        usage={"promptTokens": 12, "completionTokens": 3, "more": 1},
        cost=0.002,
    )
    assert to_message(item, "anthropic:claude@haiku-4.5") == {
        "id": f"msg_{HEX}",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello."}],
        "model": "anthropic:claude@haiku-4.5",
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 3},
        "runware": {
            "task_uuid": UUID,
            "finish_reason": "stop",
            "usage": {"promptTokens": 12, "completionTokens": 3, "more": 1},
            "cost": 0.002,
            "recovered_by": "live",
        },
    }


def test_no_usage_is_zero_and_is_told() -> None:
    message = to_message(result(text="a"))
    assert message.usage == {"input_tokens": 0, "output_tokens": 0}
    assert message.runware.usage is None
    assert message.model == "anthropic/claude-haiku-4.5"


def test_reasoning_text_and_tools_in_this_order() -> None:
    calls = [
        {"id": "call-1", "name": "f", "arguments": {"a": 1}},
        {"function": {"name": "g", "arguments": '{"b": 2}'}},
    ]
    message = to_message(result(text="t", reasoningContent="r", toolCalls=calls))
    assert message.content == [
        {"type": "thinking", "thinking": "r", "signature": ""},
        {"type": "text", "text": "t"},
        {"type": "tool_use", "id": "call-1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": f"toolu_{HEX}_1", "name": "g", "input": {"b": 2}},
    ]
    assert "invalid_tool_input" not in message.runware


@pytest.mark.parametrize(
    ("arguments", "told"), [('{"a": ', '{"a": '), ("[1]", "[1]"), ([1], "[1]"), (5, "5")]
)
def test_arguments_that_are_no_object_are_told(arguments: Any, told: str) -> None:
    for call in (
        {"id": "c", "name": "f", "arguments": arguments},
        {"id": "c", "function": {"name": "f", "arguments": arguments}},
    ):
        message = to_message(result(toolCalls=[call]))
        assert message.content == [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]
        assert message.runware.invalid_tool_input == {"c": told}


@pytest.mark.parametrize("arguments", [{}, "{}", "", None, {"a": 1}])
def test_arguments_that_are_fine_are_not_told(arguments: Any) -> None:
    message = to_message(result(toolCalls=[{"name": "f", "arguments": arguments}]))
    assert "invalid_tool_input" not in message.runware


CALLS: Any = [{"name": "f", "arguments": {}}]


@pytest.mark.parametrize(
    ("word", "calls", "reason"),
    [
        ("stop", None, "end_turn"),
        ("length", None, "max_tokens"),
        ("content_filter", None, "refusal"),
        ("tool_calls", None, "tool_use"),
        ("stop_sequence", None, "stop_sequence"),
        ("end_turn", None, "end_turn"),
        ("unknown", None, None),
        ("something new", None, None),
        (None, None, None),
        (5, None, None),
        ("stop", CALLS, "tool_use"),
        ("tool_calls", CALLS, "tool_use"),
        (None, CALLS, "tool_use"),
        ("length", CALLS, "max_tokens"),
        ("content_filter", CALLS, "refusal"),
    ],
)
def test_stop_reasons(word: Any, calls: Any, reason: str | None) -> None:
    assert to_message(result(finishReason=word, toolCalls=calls)).stop_reason == reason


_ITEM: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXT | JSON_VALUE,
        "reasoningContent": TEXT | JSON_VALUE,
        "finishReason": st.sampled_from(["stop", "length", "content_filter"]) | JSON_VALUE,
        "usage": st.fixed_dictionaries({"inputTokens": st.integers(0, 9)}) | JSON_VALUE,
        "cost": JSON_VALUE,
        "toolCalls": JSON_VALUE
        | st.lists(
            JSON_VALUE
            | st.fixed_dictionaries(
                {"name": TEXT}, optional={"id": TEXT, "arguments": JSON_OBJECT | JSON_VALUE}
            ),
            max_size=3,
        ),
    },
)


@given(st.lists(_ITEM, max_size=1))
def test_whatever_comes_is_a_message(items: list[dict[str, Any]]) -> None:
    message = to_message(Result(UUID, items))
    SEED.validate(message)
    parsed = AnthropicMessage.model_validate(message)
    assert parsed.id == message.id
    assert json.loads(json.dumps(message)) == message
    assert orjson.loads(orjson.dumps(message)) == message


@given(_ITEM)
def test_content_goes_back_as_history(item: dict[str, Any]) -> None:
    message = to_message(Result(UUID, [item]))
    kept = [dict(block) for block in message.content if block["type"] != "thinking"]
    if not kept:
        return
    turn = {"role": "assistant", "content": message.content}
    task = to_task({"max_tokens": 1, "messages": [turn]})
    assert parse_tool_text(task.messages[0].content) == kept


def test_objects() -> None:
    message = to_message(result(text="a"))
    block = message.content[0]
    assert isinstance(block, TextBlock)
    assert block.text == message["content"][0]["text"] == "a"
    block.text = "b"
    assert message["content"] == [{"type": "text", "text": "b"}]
    assert copy.deepcopy(message) == message
    assert pickle.loads(pickle.dumps(message)) == message
    assert not hasattr(message, "nothing")
    untyped: Any = message
    with pytest.raises(AttributeError, match="Message has no field 'nothing'"):
        _ = untyped.nothing
    names = {"id", "type", "role", "content", "model", "usage", "input", "index", "delta", "text"}
    assert not names & set(dir(JsonObject))
