"""Anthropic's Messages shape over Runware: pure translations, with ``Messages`` on top.

``to_task`` and ``to_message`` translate whole requests and results; ``EventBuilder`` makes the
events of a stream; ``tool_text`` and ``parse_tool_text`` are the text form of tool calls and
results in the history. ``docs/messages.md`` has the tables.
"""

from runware_ws.messages.events import EventBuilder, delta_of, events_of, events_of_result
from runware_ws.messages.objects import (
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    EndDelta,
    InputJsonDelta,
    JsonObject,
    Message,
    MessageDeltaEvent,
    MessageEvent,
    MessageStartEvent,
    MessageStopEvent,
    RunwareDetails,
    StopReason,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
)
from runware_ws.messages.params import (
    CacheControlParam,
    ContentBlockParam,
    DocumentBlockParam,
    ImageBlockParam,
    MessageCreateParams,
    MessageParam,
    ServerToolParam,
    TextBlockParam,
    ThinkingBlockParam,
    ToolChoiceParam,
    ToolParam,
    ToolResultBlockParam,
    ToolUseBlockParam,
)
from runware_ws.messages.reading import UnsupportedWarning
from runware_ws.messages.request import (
    DEFAULT_MODEL,
    ThinkingLevel,
    Unsupported,
    is_haiku,
    to_task,
)
from runware_ws.messages.resource import Messages, MessageStream
from runware_ws.messages.response import to_message
from runware_ws.messages.tools import parse_tool_text, tool_text
from runware_ws.models.delta import Delta, ToolCallPiece

__all__ = [
    "DEFAULT_MODEL",
    "CacheControlParam",
    "ContentBlock",
    "ContentBlockDeltaEvent",
    "ContentBlockParam",
    "ContentBlockStartEvent",
    "ContentBlockStopEvent",
    "Delta",
    "DocumentBlockParam",
    "EndDelta",
    "EventBuilder",
    "ImageBlockParam",
    "InputJsonDelta",
    "JsonObject",
    "Message",
    "MessageCreateParams",
    "MessageDeltaEvent",
    "MessageEvent",
    "MessageParam",
    "MessageStartEvent",
    "MessageStopEvent",
    "MessageStream",
    "Messages",
    "RunwareDetails",
    "ServerToolParam",
    "StopReason",
    "TextBlock",
    "TextBlockParam",
    "TextDelta",
    "ThinkingBlock",
    "ThinkingBlockParam",
    "ThinkingDelta",
    "ThinkingLevel",
    "ToolCallPiece",
    "ToolChoiceParam",
    "ToolParam",
    "ToolResultBlockParam",
    "ToolUseBlock",
    "ToolUseBlockParam",
    "Unsupported",
    "UnsupportedWarning",
    "Usage",
    "delta_of",
    "events_of",
    "events_of_result",
    "is_haiku",
    "parse_tool_text",
    "to_message",
    "to_task",
    "tool_text",
]
