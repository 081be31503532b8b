"""The JSON text of a line: strict where a task is made of it, lenient where it is only told."""

from __future__ import annotations

import json
import math
from typing import Any

from runware_ws.batch.reading.errors import NotJSON
from runware_ws.models.jsonable import is_array, is_object, load_json

__all__ = ["read_text"]


def read_text(text: bytes) -> tuple[Any, str | None]:
    """The value of a JSON text, and why it cannot be sent; ``None``: it can.

    What Python's ``json`` writes though it is not JSON (NaN, half of a surrogate pair) is a
    mistake in one line, and no reason to take the file for something else.

    Raises:
        NotJSON: the text is broken.
    """
    try:
        return load_json(text), None
    except ValueError as exc:
        strict = str(exc)
    try:
        value: object = json.loads(text.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError as exc:
        raise NotJSON("not UTF-8", exc.start + 1) from None
    except json.JSONDecodeError as exc:
        raise NotJSON(exc.msg, exc.colno) from None
    except RecursionError:
        return None, "is nested too deeply"
    except ValueError:
        return None, "has an integer with more digits than can be read"
    return value, _unsendable(value) or strict


def _unsendable(root: object) -> str | None:
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return _at(place, "NaN and infinity are not JSON")
        if isinstance(value, str) and not _is_unicode(value):
            return _at(place, "must be valid Unicode (a lone surrogate cannot be sent)")
        if is_object(value):
            head = f"{place}." if place else ""
            for key, entry in value.items():
                if not _is_unicode(key):
                    return _at(place, "a name must be valid Unicode (it has a lone surrogate)")
                stack.append((head + key, entry))
        elif is_array(value):
            stack.extend((f"{place}[{number}]", entry) for number, entry in enumerate(value))
    return None


def _at(place: str, rule: str) -> str:
    return f"{place}: {rule}" if place else rule


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
