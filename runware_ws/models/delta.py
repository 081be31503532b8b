"""The deltas of a streamed answer.

Documented: ``delta: {text?, reasoningContent?}``, ``finishReason?``, ``usage?``, ``cost?``. The
shape of tool calls in a delta is not: this reads what similar servers send, and everything stays
in ``raw``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runware_ws.models.jsonable import encode_json, is_array, is_object
from runware_ws.models.results import ResultItem
from runware_ws.models.tool_calls import call_source
from runware_ws.models.usage import Usage

__all__ = ["Delta", "ToolCallPiece", "tool_call_pieces"]


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of a tool call. ``index`` tells the calls of an answer apart.

    ``id`` and ``name`` come once and are ``None`` in the other pieces. ``arguments`` is the next
    part of the call's JSON text, which stays empty if the call has no arguments.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next part of an answer. What is ``None`` or empty is not in this delta.

    Within one delta, reasoning comes before text, and text before tool calls. ``finish_reason``,
    ``usage`` and ``cost`` (US dollars) come with the last delta. ``raw`` is the object as it came.
    """

    text: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCallPiece, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    cost: float | None = None
    raw: dict[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)

    @classmethod
    def of(cls, item: dict[str, Any]) -> Delta:
        """Read one wire item; a field of the wrong type is ignored."""
        whole = ResultItem(item)
        delta = item.get("delta")
        return cls(
            text=whole.delta_text,
            reasoning=whole.delta_reasoning,
            tool_calls=tool_call_pieces(delta.get("toolCalls")) if is_object(delta) else (),
            finish_reason=whole.finish_reason,
            usage=whole.usage,
            cost=whole.cost,
            raw=item,
        )


def tool_call_pieces(calls: Any) -> tuple[ToolCallPiece, ...]:
    """Read the ``toolCalls`` of a delta or of a whole result; both have the same shape.

    An entry without an ``index`` is numbered by its place. Arguments that are not text are written
    as JSON. An empty object counts as no arguments, because the first piece of a call may have
    one. Never raises.
    """
    if not is_array(calls):
        return ()
    return tuple(_piece(entry, number) for number, entry in enumerate(calls) if is_object(entry))


def _piece(entry: dict[str, Any], number: int) -> ToolCallPiece:
    source = call_source(entry)
    arguments = source.get("arguments", source.get("input"))
    if not isinstance(arguments, str):
        empty = arguments is None or arguments == {}
        arguments = "" if empty else encode_json(arguments).decode("utf-8")
    index = entry.get("index")
    if not isinstance(index, int) or isinstance(index, bool):
        index = number
    return ToolCallPiece(index, _text(entry.get("id")), _text(source.get("name")), arguments)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
