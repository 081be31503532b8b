"""The response and the stream's events: plain dicts that can also be read by attribute.

They are dicts because a gateway passes them on as JSON (``json.dumps`` and ``orjson`` take them
as they are). Their fields are attributes too, because that is how programs read a message.
``message["content"]`` and ``message.content`` are the same. No field has the name of a ``dict``
method. Each class declares its fields, so a type checker finds a misspelt one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

__all__ = [
    "ContentBlock",
    "ContentBlockDeltaEvent",
    "ContentBlockStartEvent",
    "ContentBlockStopEvent",
    "EndDelta",
    "InputJsonDelta",
    "JsonObject",
    "Message",
    "MessageDeltaEvent",
    "MessageEvent",
    "MessageStartEvent",
    "MessageStopEvent",
    "RunwareDetails",
    "StopReason",
    "TextBlock",
    "TextDelta",
    "ThinkingBlock",
    "ThinkingDelta",
    "ToolUseBlock",
    "Usage",
]

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]
"""Why a message ended."""


class JsonObject(dict[str, Any]):
    """A JSON object whose fields can be read, and written, as attributes."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a checker that saw this would accept any name

        def __getattr__(self, name: str) -> Any:
            try:
                return self[name]
            except KeyError:
                raise AttributeError(f"{type(self).__name__} has no field {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


# The message


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
    """A tool call by the model. ``input`` is empty if its JSON cannot be read."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock
"""One part of a message's content; ``type`` says which."""


class Usage(JsonObject):
    """Token counts. A count that the server did not report is 0."""

    input_tokens: int
    output_tokens: int


class RunwareDetails(JsonObject):
    """What the service says beyond the shape.

    ``finish_reason`` is the server's word. ``usage`` is the server's object; ``None``: it sent
    none, so the zeros in ``message.usage`` mean nothing. ``cost`` is in US dollars; ``None``: not
    reported. ``recovered_by`` says how the answer came. ``invalid_tool_input`` exists only if the
    model wrote arguments that are not a JSON object: its words, by the call's id.
    """

    task_uuid: str
    finish_reason: str | None
    usage: dict[str, Any] | None
    cost: float | None
    recovered_by: str
    invalid_tool_input: dict[str, str]


class Message(JsonObject):
    """The whole answer.

    ``stop_reason`` is ``None`` if the server's word is unknown. ``stop_sequence`` is always
    ``None``: the service does not report which one it met. ``runware`` is not a field of the
    shape, and the message of a stream does not have it.
    """

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[ContentBlock]
    model: str
    stop_reason: StopReason | None
    stop_sequence: None
    usage: Usage
    runware: RunwareDetails


# The events of a stream


class TextDelta(JsonObject):
    """The next part of a text block."""

    type: Literal["text_delta"]
    text: str


class ThinkingDelta(JsonObject):
    """The next part of the reasoning."""

    type: Literal["thinking_delta"]
    thinking: str


class InputJsonDelta(JsonObject):
    """The next piece of a call's arguments, as JSON text."""

    type: Literal["input_json_delta"]
    partial_json: str


class EndDelta(JsonObject):
    """Why the message ended; the fields are those of :class:`Message`."""

    stop_reason: StopReason | None
    stop_sequence: None


class MessageStartEvent(JsonObject):
    """The message begins; it has no content yet, and its counts are 0."""

    type: Literal["message_start"]
    message: Message


class ContentBlockStartEvent(JsonObject):
    """A block begins; it is still empty."""

    type: Literal["content_block_start"]
    index: int
    content_block: ContentBlock


class ContentBlockDeltaEvent(JsonObject):
    """The open block grows."""

    type: Literal["content_block_delta"]
    index: int
    delta: TextDelta | ThinkingDelta | InputJsonDelta


class ContentBlockStopEvent(JsonObject):
    """The open block is complete."""

    type: Literal["content_block_stop"]
    index: int


class MessageDeltaEvent(JsonObject):
    """Why the message ended, and what it used."""

    type: Literal["message_delta"]
    delta: EndDelta
    usage: Usage


class MessageStopEvent(JsonObject):
    """The true end of the message."""

    type: Literal["message_stop"]


MessageEvent = (
    MessageStartEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageDeltaEvent
    | MessageStopEvent
)
"""One event of a stream; ``type`` says which, and so which other fields it has."""
