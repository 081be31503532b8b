"""Strict JSON output: refuses what orjson would silently change.

orjson writes NaN and infinities as ``null``. A task would then differ from what its author
meant, so such a number is an error here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import orjson

__all__ = ["dump_json", "find_non_finite", "is_array", "is_object", "json_object_snapshot"]


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a decoded JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a JSON array, or a tuple, which is written as one."""
    return isinstance(value, list | tuple)


def find_non_finite(value: Any, place: str = "") -> str | None:
    """Return the place of the first NaN or infinity in ``value``, else ``None``."""
    stack: list[tuple[str, Any]] = [(place, value)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, float):
            if not math.isfinite(node):
                return where
        elif is_object(node):
            head = f"{where}." if where else ""
            stack.extend((head + key, entry) for key, entry in node.items())
        elif is_array(node):
            stack.extend((f"{where}[{i}]", entry) for i, entry in enumerate(node))
    return None


_SMALL = 2048


def dump_json(value: Any) -> bytes:
    """Return ``value`` as JSON. Raises ``ValueError`` with the reason, never with the value.

    Refused: keys that are not strings, other types, integers beyond 64 bits, lone surrogates,
    more than 254 levels, NaN and infinities.
    """
    try:
        payload = orjson.dumps(value)
    except TypeError as error:  # orjson's own error is a TypeError
        raise ValueError(f"cannot be written as JSON: {error}") from None
    # Only a payload with a ``null`` can hide such a number. Few have one, so the search is rare.
    if b"null" in payload:
        place = find_non_finite(value)
        if place is not None:
            raise ValueError(f"{place or 'value'}: NaN and infinity cannot be written as JSON")
    # A payload lives as long as its task, and orjson's bytes keep all of the 4 KiB or so that
    # it writes into. A copy of a small one takes far less memory.
    return b"".join((payload, b"")) if len(payload) < _SMALL else payload


def json_object_snapshot(value: Any) -> dict[str, Any]:
    """Return a deep copy of a JSON object, made of plain JSON types only.

    Raises ``ValueError`` if ``value`` is not a dict or cannot be written as JSON.
    """
    if not is_object(value):
        raise ValueError("must be an object")
    copy: dict[str, Any] = orjson.loads(dump_json(value))
    return copy
