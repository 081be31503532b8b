"""The events of a stream, as the ``anthropic`` package's own accumulator reads them."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws import ProtocolError
from runware_ws.messages import (
    Delta,
    EventBuilder,
    MessageEvent,
    ToolCallPiece,
    delta_of,
    events_of,
    events_of_result,
    to_message,
)
from runware_ws.models import Usage
from tests.core.streamed import EXAMPLES

from .support import HEX, JSON_OBJECT, TEXT, UUID, accumulated, plain, result


def kinds(events: list[MessageEvent]) -> list[str]:
    """The kinds of events, with blocks and deltas told apart."""
    names: list[str] = []
    for event in events:
        inner: Any = event.get("content_block") or event.get("delta") or {}
        names.append(" ".join(filter(None, [event.type, inner.get("type")])))
    return names


def test_the_order_of_events() -> None:
    deltas = [
        Delta(reasoning="h"),
        Delta(reasoning="m", text="He"),
        Delta(text="llo"),
        Delta(),
        Delta(tool_calls=(ToolCallPiece(0, "t1", "f", '{"a"'), ToolCallPiece(0, arguments=":1}"))),
        Delta(finish_reason="stop", usage=Usage({"inputTokens": 2, "outputTokens": 5})),
    ]
    events = list(events_of(deltas, UUID, "m"))
    assert kinds(events) == [
        "message_start",
        "content_block_start thinking",
        "content_block_delta thinking_delta",
        "content_block_delta thinking_delta",
        "content_block_stop",
        "content_block_start text",
        "content_block_delta text_delta",
        "content_block_delta text_delta",
        "content_block_stop",
        "content_block_start tool_use",
        "content_block_delta input_json_delta",
        "content_block_delta input_json_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"].usage == {"input_tokens": 0, "output_tokens": 0}
    assert events[-2]["usage"] == {"input_tokens": 2, "output_tokens": 5}
    assert plain(accumulated(events)) == {
        "id": f"msg_{HEX}",
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        ],
        "model": "m",
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 2, "output_tokens": 5},
    }


def test_nothing_at_all_is_still_a_message() -> None:
    events = list(events_of([], UUID))
    assert kinds(events) == ["message_start", "message_delta", "message_stop"]
    assert accumulated(events).content == []


def test_the_message_so_far() -> None:
    builder = EventBuilder(UUID)
    builder.feed(Delta(text="a", finish_reason="stop"))
    builder.feed(Delta(text="b"))
    assert builder.message().content == [{"type": "text", "text": "ab"}]
    assert builder.message().stop_reason is None
    builder.finish()
    assert builder.message().stop_reason == "end_turn"
    for late in (builder.finish, lambda: builder.feed(Delta())):
        with pytest.raises(RuntimeError, match="finished"):
            late()


def test_mixed_calls_come_out_one_after_the_other() -> None:
    deltas = [
        Delta(tool_calls=(ToolCallPiece(0, "a", "f", "{"), ToolCallPiece(1, "b", "g", "{"))),
        Delta(tool_calls=(ToolCallPiece(1, arguments="}"), ToolCallPiece(0, arguments="}"))),
        Delta(text="done", tool_calls=(ToolCallPiece(2, arguments="{"), ToolCallPiece(3))),
        Delta(tool_calls=(ToolCallPiece(2, name="h", arguments="}"),)),
    ]
    events = list(events_of(deltas, UUID))
    assert [event["index"] for event in events if "index" in event] == [
        *[0] * 4,
        *[1] * 4,
        *[2] * 3,
        *[3] * 4,
    ]
    message = accumulated(events)
    assert [block.to_dict() for block in message.content] == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        {"type": "text", "text": "done"},
        {"type": "tool_use", "id": f"toolu_{HEX}_2", "name": "h", "input": {}},
    ]


def test_a_piece_behind_the_end_of_its_call() -> None:
    builder = EventBuilder(UUID)
    builder.feed(Delta(tool_calls=(ToolCallPiece(0, "a", "f", "{}"),)))
    builder.feed(Delta(text="b", tool_calls=(ToolCallPiece(0, "a", "f", " "),)))
    with pytest.raises(ProtocolError, match="after its end") as caught:
        builder.feed(Delta(tool_calls=(ToolCallPiece(0, arguments="}"),)))
    assert caught.value.task_uuid == UUID
    for late in (builder.finish, lambda: builder.feed(Delta())):
        with pytest.raises(ProtocolError):
            late()


def test_no_block_is_closed_over_half_a_call() -> None:
    """Text that comes in the middle of calls waits until all of them are whole."""
    deltas = [
        Delta(tool_calls=(ToolCallPiece(0, "a", "f", '{"x":{}'), ToolCallPiece(1, "b", "g", "{"))),
        Delta(text="one "),
        Delta(tool_calls=(ToolCallPiece(0, arguments="}"),)),
        Delta(reasoning="hm", text="two "),
        Delta(tool_calls=(ToolCallPiece(1, arguments="}"),)),
        Delta(text="three"),
        Delta(tool_calls=(ToolCallPiece(2, "c", "h", "{"),)),
        Delta(text="four"),
    ]
    builder = EventBuilder(UUID)
    rows = [builder.feed(delta) for delta in deltas]
    assert [number for number, row in enumerate(rows) if not row] == [1, 3, 7]
    events = [event for row in [*rows, builder.finish()] for event in row]
    assert [block.to_dict() for block in accumulated(events).content] == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": {}}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        {"type": "text", "text": "one "},
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "two three"},
        {"type": "tool_use", "id": "c", "name": "h", "input": {}},
        {"type": "text", "text": "four"},
    ]
    assert [event.type for event in events].count("content_block_stop") == 7


def test_arguments_that_break_off() -> None:
    builder = EventBuilder(UUID)
    builder.feed(Delta(tool_calls=(ToolCallPiece(0, "a", "f", '{"x'),), finish_reason="length"))
    assert builder.message().content == [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]
    assert builder.finish()[-2]["delta"].stop_reason == "max_tokens"


_CALL: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"name": TEXT, "arguments": JSON_OBJECT}, optional={"id": TEXT}
)
_RESULT: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXT,
        "reasoningContent": TEXT,
        "toolCalls": st.lists(_CALL, max_size=3),
        "finishReason": st.sampled_from(["stop", "length", "content_filter", "unknown"]),
        "usage": st.fixed_dictionaries({"inputTokens": st.integers(0), "outputTokens": st.just(1)}),
    },
)


def split(draw: st.DrawFn, whole: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@st.composite
def cut_up(draw: st.DrawFn) -> tuple[Any, list[Delta]]:
    """A result, and the same in pieces: calls one after the other, or mixed."""
    whole = result(**draw(_RESULT))
    delta = delta_of(whole)
    pieces = [Delta(reasoning=piece) for piece in split(draw, delta.reasoning or "")]
    pieces += [Delta(text=piece) for piece in split(draw, delta.text or "")]
    heads = [
        Delta(tool_calls=(ToolCallPiece(call.index, call.id, call.name),))
        for call in delta.tool_calls
    ]
    tails = [
        Delta(tool_calls=(ToolCallPiece(call.index, arguments=piece),))
        for call in delta.tool_calls
        for piece in split(draw, call.arguments)
    ]
    if not draw(st.booleans()):
        tails.sort(key=lambda each: each.tool_calls[0].index)
    end = Delta(finish_reason=delta.finish_reason, usage=delta.usage)
    return whole, [*pieces, *heads, *tails, end]


@EXAMPLES
@given(cut_up())
def test_pieces_make_the_same_message_as_the_whole(case: tuple[Any, list[Delta]]) -> None:
    whole, deltas = case
    expected = plain(to_message(whole))
    assert plain(accumulated(list(events_of_result(whole)))) == expected
    assert plain(accumulated(list(events_of(deltas, UUID)))) == expected
    builder = EventBuilder(UUID)
    for delta in deltas:
        builder.feed(delta)
    builder.finish()
    assert plain(builder.message()) == expected


def test_the_anthropic_client_reads_our_stream() -> None:
    """Its public ``messages.stream()``, fed with our events as server-sent events."""
    whole = result(
        text="It is cold.",
        toolCalls=[{"id": "t", "name": "f", "arguments": {"city": "Oslo"}}],
        usage={"inputTokens": 3, "outputTokens": 4},
    )

    def answer(_: httpx2.Request) -> httpx2.Response:
        lines = [
            f"event: {event.type}\ndata: {orjson.dumps(event).decode()}\n\n"
            for event in events_of_result(whole)
        ]
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, content="".join(lines).encode()
        )

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    with (
        anthropic.Anthropic(api_key="none", http_client=http) as client,
        client.messages.stream(
            model="claude-haiku-4-5",
            max_tokens=9,
            messages=[{"role": "user", "content": "Well?"}],
        ) as stream,
    ):
        assert "".join(stream.text_stream) == "It is cold."
        assert plain(stream.get_final_message()) == plain(to_message(whole))
