"""How items are written: the case of UUIDs, and null where there is nothing."""

from __future__ import annotations

from typing import Any, cast

from .exact import dump_exact, load_exact
from .options import EmulatorOptions

__all__ = ["spelled"]

_NULLS = dict.fromkeys(
    ("text", "reasoningContent", "toolCalls", "finishReason", "delta", "status", "error", "usage")
)
_LISTS = ("request", "response", "data", "errors", "error")
"""What an entry of the archive has inside that names tasks."""


def spelled(body: bytes, options: EmulatorOptions, *, is_error: bool = False) -> bytes:
    """The same item as this server writes it."""
    if not options.null_fields and not options.upper_uuids:
        return body
    item = load_exact(body)
    if options.null_fields and not is_error and "taskUUID" in item:
        item = {**_NULLS, **item}
    return dump_exact(_upper(item) if options.upper_uuids else item)


def _upper(value: Any) -> Any:
    if isinstance(value, list):
        return [_upper(each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    entries = cast("dict[str, Any]", value)
    return {
        name: _upper(each)
        if name in _LISTS
        else each.upper()
        if name == "taskUUID" and isinstance(each, str)
        else each
        for name, each in entries.items()
    }
