"""JSON both ways without loss: what orjson would silently change is kept, or refused.

orjson writes NaN and infinities as ``null``. A task would then differ from what its author
meant, so such a number is an error here. It reads an integer beyond 64 bits as a float, which
makes one of two long ids, and cannot write one; here they stay exact.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import orjson

__all__ = [
    "dump_json",
    "encode_json",
    "exact_json",
    "find_non_finite",
    "is_array",
    "is_object",
    "json_object_snapshot",
    "load_json",
]


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


# An integer with fewer digits fits into 64 bits. Two passes in C take a tenth of a pattern's time.
_LONG = b"0" * 19
_DIGITS = bytes.maketrans(b"123456789", b"000000000")


def load_json(data: bytes | str) -> Any:
    """Return the value of a JSON text. Integers are exact, whatever their size.

    Raises ``ValueError`` (mostly ``json.JSONDecodeError``) if it is not JSON, is nested too
    deeply, or has a number beyond the range of a double, about 309 digits.
    """
    return exact_json(orjson.loads(data), data)


def exact_json(value: Any, data: bytes | str) -> Any:
    """Return ``value``, which orjson read from ``data``, with exact integers: see `load_json`."""
    raw = data.encode() if isinstance(data, str) else data
    if raw.translate(_DIGITS).find(_LONG) < 0:  # takes two thirds of the time of ``in``
        return value
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def encode_json(value: Any, *, option: int | None = None) -> bytes:
    """Return what ``orjson.dumps`` does, with integers beyond 64 bits written exactly.

    Raises ``TypeError`` as orjson does, and ``ValueError`` for an integer of more than 4,300
    digits.
    """
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        # Only these make a difference, so anything else that is wrong is found again.
        return orjson.dumps(_fragments(value, _DEEPEST), option=option)


_DEEPEST = 254  # levels that orjson writes


def _fragments(value: Any, levels: int) -> Any:
    """A copy in which each integer beyond 64 bits is its own JSON text."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(int(value)))
    if not levels:
        return value
    if is_object(value):
        return {key: _fragments(entry, levels - 1) for key, entry in value.items()}
    if is_array(value):
        return [_fragments(entry, levels - 1) for entry in value]
    return value


_SMALL = 2048


def dump_json(value: Any) -> bytes:
    """Return ``value`` as JSON. Raises ``ValueError`` with the reason, never with the value.

    Refused: keys that are not strings, other types, lone surrogates, more than 254 levels, NaN
    and infinities. Integers are exact, whatever their size.
    """
    try:
        payload = encode_json(value)
    except TypeError as error:  # orjson's own error is a TypeError
        raise ValueError(f"cannot be written as JSON: {error}") from None
    # Only a payload with a ``null`` can hide such a number. Few have one, so the search is rare.
    if payload.rfind(b"null") >= 0:  # takes a third of the time of ``in``
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
    copy: dict[str, Any] = load_json(dump_json(value))
    return copy
