"""Results: lazy, tolerant, summed, picklable."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runware_ws.models import RecoveredBy, Result, ResultItem, ToolCall, Usage

UUID = "0b0f6ee2-1ed6-4d6c-9a46-6a1c8a0f7a11"
FIELDS = [
    "text", "finishReason", "usage", "cost", "reasoningContent", "toolCalls", "resultIndex",
    "status", "progress", "taskType", "taskUUID", "delta",
]  # fmt: skip
ATTRIBUTES = [
    "text", "finish_reason", "usage", "cost", "reasoning_content", "tool_calls", "result_index",
    "status", "progress", "task_type", "task_uuid", "delta_text", "delta_reasoning",
]  # fmt: skip


def item(**more: Any) -> dict[str, Any]:
    return {"taskType": "textInference", "taskUUID": UUID, "text": "Hello", **more}


def test_item_attributes() -> None:
    view = ResultItem(
        item(
            finishReason="stop",
            usage={"promptTokens": 3, "completionTokens": 4},
            cost=0.5,
            reasoningContent="Hm",
            resultIndex=1,
            status="success",
            progress=100,
            delta={"text": "d", "reasoningContent": "r"},
            novel={"kept": True},
        )
    )
    assert (view.task_uuid, view.task_type, view.text) == (UUID, "textInference", "Hello")
    assert (view.finish_reason, view.cost, view.reasoning_content) == ("stop", 0.5, "Hm")
    assert (view.result_index, view.status, view.progress) == (1, "success", 100.0)
    assert (view.delta_text, view.delta_reasoning) == ("d", "r")
    assert view.usage == Usage({"promptTokens": 3, "completionTokens": 4})
    assert view["novel"] == {"kept": True}
    assert "novel" in view
    assert view.get("none", 7) == 7
    assert list(view) == list(view.raw)
    with pytest.raises(KeyError):
        view["none"]


def test_result_of_one_item() -> None:
    result = Result(UUID, [item(cost=0.1, usage={"totalTokens": 5}, finishReason="length")])
    assert (result.text, result.finish_reason, result.cost) == ("Hello", "length", 0.1)
    assert result.usage is not None
    assert result.usage.total_tokens == 5
    assert result.recovered_by is RecoveredBy.LIVE
    assert result.items[0].raw is result.raw[0]
    assert result.items is result.items


def test_usage_and_cost_are_sums_and_the_text_is_the_first() -> None:
    first = {"promptTokens": 1, "completionTokens": 2, "details": {"cached": 1}, "tier": "a"}
    second = {"promptTokens": 10, "completionTokens": 20, "details": {"cached": 2, "new": 5}}
    raw = [item(cost=0.1, usage=first), item(text="B", cost=0.2, usage=second), item(cost="?")]
    before = copy.deepcopy(raw)
    result = Result(UUID, raw)
    assert result.text == "Hello"
    assert result.cost == pytest.approx(0.3)
    assert result.usage is not None
    assert result.usage.raw == {
        "promptTokens": 11,
        "completionTokens": 22,
        "details": {"cached": 3, "new": 5},
        "tier": "a",
    }
    assert result.usage.total_tokens == 33
    assert raw == before


def test_nothing_sent_reads_as_none() -> None:
    for result in (Result(UUID, []), Result(UUID, [{}])):
        assert (result.text, result.usage, result.cost, result.finish_reason) == (None,) * 4
        assert result.reasoning_content is None
        assert result.tool_calls is None


def test_items_follow_raw_while_it_grows() -> None:
    result = Result(UUID, [item()])
    assert len(result.items) == 1
    result.raw.append(item(text="B"))
    assert [entry.text for entry in result.items] == ["Hello", "B"]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"inputTokens": 1, "outputTokens": 2, "totalTokens": 9}, (1, 2, 9)),
        ({"prompt_tokens": 1, "completion_tokens": 2}, (1, 2, 3)),
        ({"input_tokens": 1}, (1, None, None)),
        ({"inputTokens": "1", "outputTokens": True}, (None, None, None)),
    ],
)
def test_spellings_of_usage(usage: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    view = Usage(usage)
    assert (view.input_tokens, view.output_tokens, view.total_tokens) == expected
    assert all(view[key] == value for key, value in usage.items())
    assert view.get("none") is None


@pytest.mark.parametrize(
    "call",
    [
        {"id": "1", "name": "f", "arguments": {"a": 1}},
        {"id": "1", "name": "f", "arguments": '{"a": 1}'},
        {"id": "1", "name": "f", "input": {"a": 1}},
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    ],
)
def test_tool_calls_in_several_shapes(call: dict[str, Any]) -> None:
    result = Result(UUID, [item(toolCalls=[call, 5, {"no": "name"}])])
    assert result.tool_calls == (ToolCall(id="1", name="f", arguments={"a": 1}, raw=call),)


@pytest.mark.parametrize("arguments", ["{broken", "[1]", 5, None, [1]])
def test_broken_arguments_read_as_empty_and_stay_in_raw(arguments: Any) -> None:
    calls = ResultItem(item(toolCalls=[{"name": "f", "arguments": arguments}])).tool_calls
    assert calls is not None
    assert (calls[0].id, calls[0].arguments, calls[0].raw["arguments"]) == (None, {}, arguments)


def test_equality_pickle_and_repr() -> None:
    result = Result(UUID, [item(text="x" * 500)], RecoveredBy.REPLAY)
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.recovered_by is RecoveredBy.REPLAY
    assert copy.deepcopy(result) == result
    assert result != Result(UUID, result.raw)
    assert result != "x"
    assert len(repr(result)) < 300
    assert "500 characters" in repr(result)
    assert "replay" in repr(result)
    for view in (result.items[0], Usage({"a": 1})):
        assert pickle.loads(pickle.dumps(view)) == view
        assert view != 5
        assert repr(view)
    with pytest.raises(TypeError):
        hash(result)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["text", "name", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), anything), max_size=3))
def test_whatever_the_server_sends_nothing_raises_and_nothing_is_lost(
    raw: list[dict[str, Any]],
) -> None:
    before = repr(raw)
    result = Result(UUID, raw)
    for view in result.items:
        for name in ATTRIBUTES:
            getattr(view, name)
        repr(view)
    for name in ("text", "finish_reason", "usage", "cost", "reasoning_content", "tool_calls"):
        getattr(result, name)
    repr(result)
    assert repr(result.raw) == before
