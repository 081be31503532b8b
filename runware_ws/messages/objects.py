"""The response and the stream's events: plain dicts that can also be read by attribute.

They are dicts because a gateway writes them on as JSON (``json.dumps`` and ``orjson`` take them
as they are), and their fields are attributes because that is how programs read a message.
``message["content"]`` and ``message.content`` are the same. No field is called like a method of
``dict``.
"""

from __future__ import annotations

from typing import Any, Literal

__all__ = [
    "ContentBlock",
    "JsonObject",
    "Message",
    "MessageEvent",
    "StopReason",
    "TextBlock",
    "ThinkingBlock",
    "ToolUseBlock",
    "Usage",
]

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]


class JsonObject(dict[str, Any]):
    """A JSON object whose fields can be read as attributes."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}") from None


class TextBlock(JsonObject):
    """What the model wrote."""

    type: Literal["text"]
    text: str


class ThinkingBlock(JsonObject):
    """The model's reasoning. ``signature`` is always empty: the service sends none."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class ToolUseBlock(JsonObject):
    """A call that the model asks for. ``input`` is empty where its JSON cannot be read."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock


class Usage(JsonObject):
    """Token counts. A count that the server did not tell is 0."""

    input_tokens: int
    output_tokens: int


class Message(JsonObject):
    """The whole answer.

    ``stop_reason`` is ``None`` where the server's word is not known here. ``stop_sequence`` is
    always ``None``: the service does not tell which one it met. ``runware`` is no field of the
    shape: it holds what the service says beyond it (see ``to_message``).
    """

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[ContentBlock]
    model: str
    stop_reason: StopReason | None
    stop_sequence: None
    usage: Usage
    runware: JsonObject


class MessageEvent(JsonObject):
    """One event of a stream. ``type`` says which, and which other fields it has.

    ``message_start`` has ``message``; ``content_block_start`` has ``index`` and
    ``content_block``; ``content_block_delta`` has ``index`` and ``delta``;
    ``content_block_stop`` has ``index``; ``message_delta`` has ``delta`` and ``usage``;
    ``message_stop`` has nothing else.
    """

    type: Literal[
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
