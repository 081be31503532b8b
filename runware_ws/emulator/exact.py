"""JSON in which integers are exact, whatever their size; ``orjson`` alone rounds long ones."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import orjson

__all__ = ["dump_exact", "load_exact"]

_LONG = re.compile(rb"[0-9]{19}")


def load_exact(body: bytes) -> Any:
    """Decode. Raises ``orjson.JSONDecodeError``."""
    value: Any = orjson.loads(body)
    return value if _LONG.search(body) is None else json.loads(body)


def dump_exact(value: Any) -> bytes:
    """Encode. Raises ``TypeError``."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_with_fragments(value))


def _with_fragments(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value))
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return {key: _with_fragments(entry) for key, entry in entries.items()}
    if isinstance(value, list | tuple):
        return [_with_fragments(entry) for entry in cast("list[Any]", value)]
    return value
