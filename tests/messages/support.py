"""What the tests of the Messages shape share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
from anthropic.lib.streaming._messages import (  # the accumulator behind ``messages.stream()``
    accumulate_event,
)
from anthropic.types import Message as AnthropicMessage
from anthropic.types import RawMessageStreamEvent
from hypothesis import strategies as st
from pydantic import TypeAdapter

from runware_ws import Result
from runware_ws.messages import JsonObject, MessageEvent

UUID = "0b0f6ee2-1ed6-4d6c-9a46-6a1c8a0f7a11"
HEX = UUID.replace("-", "")
KEY = "key-of-the-messages-tests"
PNG = "iVBORw0KGgo="

_EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def validator(name: str) -> jsonschema_rs.Validator:
    """A validator of the second seed's schema, ``request`` or ``response`` (structure only)."""
    path = Path(__file__).with_name(f"messages_{name}.schema.json")
    return jsonschema_rs.validator_for(json.loads(path.read_text(encoding="utf-8")))


def request(content: Any = "Hello", **fields: Any) -> dict[str, Any]:
    """A request with one message of the user's."""
    return {"max_tokens": 64, "messages": [{"role": "user", "content": content}], **fields}


def result(**fields: Any) -> Result:
    """A result with one item."""
    return Result(UUID, [{"taskType": "textInference", "taskUUID": UUID, **fields}])


def accumulated(events: list[MessageEvent]) -> AnthropicMessage:
    """What the ``anthropic`` package makes of our events; each must be one of its types."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        parsed = _EVENT.validate_python(event)
        snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    assert isinstance(snapshot, AnthropicMessage)
    return snapshot


def plain(message: Any) -> dict[str, Any]:
    """The fields of a message that both sides have."""
    data: Any = message if isinstance(message, JsonObject) else message.to_dict()
    names = ("id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage")
    return {name: data[name] for name in names}


# Words that look like the text form are drawn often: the form must survive them.
_HOSTILE = st.sampled_from(
    [
        "<tool_use",
        "</tool_use>",
        '<tool_use id="a" name="b">',
        "<tool_result",
        '<tool_result tool_use_id="a">',
        '<tool_result tool_use_id="a" is_error="true">',
        "</tool_result>",
        "\\",
        "\n",
        "\r\n",
        "\u2028",
        '"',
        "{}",
        ">",
        " ",
    ]
)
_LETTERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
TEXT = st.lists(_HOSTILE | _LETTERS, max_size=8).map("".join)
JSON_VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
JSON_OBJECT: st.SearchStrategy[Any] = st.dictionaries(TEXT, JSON_VALUE, max_size=3)
