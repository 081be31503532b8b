"""Tool calls in a result. The shape on the wire is not certain, so several are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runware_ws.models.jsonable import is_array, is_object, load_json

__all__ = ["ToolCall", "call_source", "parse_tool_calls"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call by the model.

    ``id`` is ``None`` if the server gave none. ``arguments`` is empty if the server's
    arguments are not a JSON object (a model can write broken JSON); ``raw`` has them then.
    """

    id: str | None
    name: str
    arguments: dict[str, Any] = field(hash=False)
    raw: dict[str, Any] = field(repr=False, hash=False)


def _arguments(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = load_json(value)
        except ValueError:
            return {}
    return value if is_object(value) else {}


def call_source(entry: dict[str, Any]) -> dict[str, Any]:
    """The object with the name and arguments of a call: some gateways nest it in ``function``."""
    inner = entry.get("function")
    return inner if is_object(inner) else entry


def _tool_call(entry: Any) -> ToolCall | None:
    if not is_object(entry):
        return None
    raw = entry
    source = call_source(raw)
    name = source.get("name")
    if not isinstance(name, str):
        return None
    identity = raw.get("id")
    arguments = source.get("arguments", source.get("input"))
    return ToolCall(
        id=identity if isinstance(identity, str) else None,
        name=name,
        arguments=_arguments(arguments),
        raw=raw,
    )


def parse_tool_calls(value: Any) -> tuple[ToolCall, ...] | None:
    """Read a ``toolCalls`` list; entries without a name are skipped; ``None`` if none is left.

    Never raises.
    """
    if not is_array(value):
        return None
    calls = tuple(call for entry in value if (call := _tool_call(entry)) is not None)
    return calls or None
