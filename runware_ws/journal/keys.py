"""An idempotency key, and the content that belongs to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from runware_ws._checks import refusal
from runware_ws.errors import ConfigurationError, InvalidTask

__all__ = [
    "Keyed",
    "checked_key",
    "under_uuid",
]

LONGEST_KEY = 500
"""Characters of a key."""


@dataclass(slots=True)
class Keyed:
    """The key of a task. ``digest`` is of the content that belongs to it."""

    key: str
    digest: bytes


def checked_key(key: object) -> str:
    """The key, if it can be one.

    Raises:
        ConfigurationError: it cannot.
    """
    if not isinstance(key, str) or not key or len(key) > LONGEST_KEY:
        raise refusal("key", f"be a text of 1 to {LONGEST_KEY} characters", key)
    try:
        key.encode()
    except UnicodeEncodeError:
        raise ConfigurationError("key: contains a lone surrogate, which is no character") from None
    if "\0" in key:
        raise ConfigurationError("key: contains a zero character")
    return key


def under_uuid(payload: bytes, old: str, new: str) -> bytes:
    """The JSON of the same task under another taskUUID."""
    before, after = f'"taskUUID":"{old}"'.encode(), f'"taskUUID":"{new}"'.encode()
    if payload.count(before) == 1:
        return payload.replace(before, after)
    task = cast("dict[str, Any]", json.loads(payload))
    if task.get("taskUUID") != old:
        raise InvalidTask(f"a task under {old} was expected", task_uuid=old)
    text = json.dumps({**task, "taskUUID": new}, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")
