"""JSON text of a record and back, exact: no integer is rounded, no lone surrogate is an error.

``orjson`` does nearly all of it. What it cannot do is left to the standard library: it refuses to
write integers beyond 64 bits and lone surrogates, and it silently rounds such integers on reading.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

__all__ = ["dumps", "loads"]

# 19 digits in a row may be an integer beyond 64 bits. Mostly they stand in a string: then the
# slower way does no harm.
_LONG = re.compile(rb"[0-9]{19}")


def dumps(value: Any) -> bytes:
    """Return ``value`` as JSON on one line, without the line's end."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def loads(text: bytes) -> Any:
    """Return the value of JSON text.

    Raises:
        ValueError: it is no JSON.
    """
    if _LONG.search(text) is None:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # A lone surrogate, perhaps.
    return json.loads(text)
