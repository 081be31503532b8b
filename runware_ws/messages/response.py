"""Turns a result into a message: ``to_message``. Pure."""

from __future__ import annotations

from typing import Any

from runware_ws.messages.objects import (
    ContentBlock,
    Message,
    RunwareDetails,
    StopReason,
    TextBlock,
    ThinkingBlock,
    Usage,
)
from runware_ws.messages.request import DEFAULT_MODEL
from runware_ws.messages.tools import invalid_input, tool_use_blocks
from runware_ws.models.results import Result
from runware_ws.models.usage import Usage as RunwareUsage

__all__ = ["message_id", "stop_reason", "to_message", "usage_of"]

# The first four words are the service's (observed). The others are those of other gateways and
# Anthropic's own, in case the provider's word is passed through.
_STOP_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "end_turn": "end_turn",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "refusal": "refusal",
}
_CUT_SHORT = ("max_tokens", "refusal")


def message_id(task_uuid: str) -> str:
    """The message's id: ``msg_`` and the taskUUID without hyphens."""
    return "msg_" + task_uuid.replace("-", "")


def stop_reason(finish_reason: str | None, *, tool_calls: bool) -> StopReason | None:
    """Translate ``finishReason``; ``None`` if the word is unknown.

    With tool calls it is ``tool_use``, whatever the server's word. The exception is an answer that
    was cut short: its last call may be incomplete, and must not be run.
    """
    reason = _STOP_REASONS.get(finish_reason or "")
    return "tool_use" if tool_calls and reason not in _CUT_SHORT else reason


def usage_of(usage: RunwareUsage | None) -> Usage:
    """Token counts, which a message must have: 0 if the server did not report them."""
    return Usage(
        input_tokens=(usage.input_tokens if usage is not None else None) or 0,
        output_tokens=(usage.output_tokens if usage is not None else None) or 0,
    )


def _beyond(result: Result) -> RunwareDetails:
    usage = result.usage
    invalid = {
        block["id"]: text
        for call, block in zip(
            result.tool_calls or (),
            tool_use_blocks(result.tool_calls, result.task_uuid),
            strict=True,
        )
        if (text := invalid_input(call)) is not None
    }
    more: dict[str, Any] = {"invalid_tool_input": invalid} if invalid else {}
    return RunwareDetails(
        task_uuid=result.task_uuid,
        finish_reason=result.finish_reason,
        usage=None if usage is None else usage.raw,
        cost=result.cost,
        recovered_by=result.recovered_by.value,
        **more,
    )


def to_message(result: Result, model: str = DEFAULT_MODEL) -> Message:
    """Translate the result of one task, whose ``numberResults`` is 1, into a message.

    ``content`` has the reasoning (if the service shows it), the text and the tool calls, in
    this order, as far as there are any. ``model`` is the name that the caller used.

    ``message.runware`` is beyond the shape: ``task_uuid``, ``finish_reason`` (the server's word),
    ``usage`` (the server's object; ``None``: it sent none, so the zeros in ``message.usage`` mean
    nothing), ``cost`` (US dollars or ``None``), ``recovered_by`` and, only if the model wrote
    arguments that are not a JSON object, ``invalid_tool_input`` (its words, by the call's id).
    """
    content: list[ContentBlock] = []
    if result.reasoning_content:
        content.append(
            ThinkingBlock(type="thinking", thinking=result.reasoning_content, signature="")
        )
    if result.text:
        content.append(TextBlock(type="text", text=result.text))
    tools = tool_use_blocks(result.tool_calls, result.task_uuid)
    return Message(
        id=message_id(result.task_uuid),
        type="message",
        role="assistant",
        content=[*content, *tools],
        model=model,
        stop_reason=stop_reason(result.finish_reason, tool_calls=bool(tools)),
        stop_sequence=None,
        usage=usage_of(result.usage),
        runware=_beyond(result),
    )
