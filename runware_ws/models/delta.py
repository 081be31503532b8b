"""A piece of a streamed answer.

Documented: ``delta: {text?, reasoningContent?}``, ``finishReason?``, ``usage?``, ``cost?``. How
pieces of tool calls look is not; what is read here is what servers of this kind send, and
everything stays in ``raw``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from runware_ws.models.results import ResultItem
from runware_ws.models.usage import Usage

__all__ = ["Delta", "ToolCallPiece"]


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of a tool call. ``index`` tells the calls of an answer apart.

    ``id`` and ``name`` come once and are ``None`` in the other pieces. ``arguments`` is the next
    piece of the call's JSON text.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of an answer. Whatever is ``None`` or empty is not in this piece.

    Within one piece reasoning comes before text, and text before tool calls. ``finish_reason``,
    ``usage`` and ``cost`` (US dollars) come with the last piece. ``raw`` is the object as it came.
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
        """Read one wire item; a wrongly typed field gives nothing."""
        whole = ResultItem(item)
        delta = item.get("delta")
        pieces = cast("dict[str, Any]", delta).get("toolCalls") if isinstance(delta, dict) else None
        return cls(
            text=whole.delta_text,
            reasoning=whole.delta_reasoning,
            tool_calls=_pieces(pieces),
            finish_reason=whole.finish_reason,
            usage=whole.usage,
            cost=whole.cost,
            raw=item,
        )


def _pieces(calls: Any) -> tuple[ToolCallPiece, ...]:
    if not isinstance(calls, list):
        return ()
    found: list[ToolCallPiece] = []
    for number, call in enumerate(cast("list[Any]", calls)):
        if not isinstance(call, dict):
            continue
        entry = cast("dict[str, Any]", call)
        arguments = entry.get("arguments", entry.get("input", ""))
        if not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode("utf-8")
        index = entry.get("index", number)
        found.append(
            ToolCallPiece(
                index if isinstance(index, int) else number,
                _text(entry.get("id")),
                _text(entry.get("name")),
                arguments,
            )
        )
    return tuple(found)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
