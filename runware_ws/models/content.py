"""What a task asks for, whatever its taskUUID, its delivery and its spelling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

__all__ = ["NOT_CONTENT", "PRICE", "content_digest", "is_same_content", "is_same_task"]

_EXACT = 1 << 53
"""Below it each integer is a float of its own."""

NOT_CONTENT = ("taskUUID", "deliveryMethod")
"""How the answer travels is no part of what is asked for."""

PRICE = "includeCost"
"""Nor is whether its price is told, too. But journals have digests with it, see
:func:`is_same_content`."""

_PRICES: tuple[dict[str, bool], ...] = ({}, {PRICE: True}, {PRICE: False})

_TOLD_BESIDE = (PRICE, "includeUsage")
"""Nor are the tokens. ``messages.create`` asks for them."""


def content_digest(payload: bytes) -> bytes:
    """A digest of what a task asks for, whatever its taskUUID, its delivery and its spelling."""
    return _digest(_content(payload))


def is_same_task(first: bytes, second: bytes) -> bool:
    """Whether two tasks ask for the same, whatever is to be told beside it: price, tokens."""
    return first == second or _asked_for(first) == _asked_for(second)


def _asked_for(payload: bytes) -> str:
    content = _content(payload)
    for name in _TOLD_BESIDE:
        content.pop(name, None)
    return _ENCODER.encode(content)


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
