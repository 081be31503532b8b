"""An idempotency key, and the content that belongs to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from runware_ws._checks import refusal
from runware_ws.errors import ConfigurationError, InvalidTask

__all__ = [
    "NOT_CONTENT",
    "PRICE",
    "Keyed",
    "checked_key",
    "content_digest",
    "is_same_content",
    "under_uuid",
]

LONGEST_KEY = 500
"""Characters of a key."""

_EXACT = 1 << 53
"""Below it each integer is a float of its own."""

NOT_CONTENT = ("taskUUID", "deliveryMethod")
"""How the answer travels is no part of what is asked for."""

PRICE = "includeCost"
"""Nor is whether its price is told, too. But journals have digests with it, see
:func:`is_same_content`."""

_PRICES: tuple[dict[str, bool], ...] = ({}, {PRICE: True}, {PRICE: False})


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


def content_digest(payload: bytes) -> bytes:
    """A digest of what a task asks for, whatever its taskUUID, its delivery and its spelling."""
    return _digest(_content(payload))


def is_same_content(recorded: bytes, digest: bytes, payload: bytes) -> bool:
    """Whether a task asks for that of which ``recorded`` is the digest. ``digest`` is its own.

    A gateway asks for the price where a caller has a budget, and that comes and goes. So a task
    that differs in this alone is the same.
    """
    if recorded == digest:
        return True
    content = _content(payload)
    content.pop(PRICE, None)
    return recorded in (_digest({**content, **price}) for price in _PRICES)


def _content(payload: bytes) -> dict[str, Any]:
    # Not orjson: it rounds integers beyond 64 bits, and two tasks would be one.
    task = cast("dict[str, Any]", _DECODER.decode(payload.decode("utf-8", "surrogatepass")))
    for name in NOT_CONTENT:
        task.pop(name, None)
    return task


def _digest(content: Mapping[str, Any]) -> bytes:
    text = _ENCODER.encode(content)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _number(text: str) -> float | int:
    """7.0 is 7: some tools write one, some the other."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


# Made once: json.loads and json.dumps make one for each call that has options.
_DECODER = json.JSONDecoder(parse_float=_number)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


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
