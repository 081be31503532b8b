"""What a task asks for, whatever its taskUUID, its delivery and its spelling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

__all__ = ["NOT_CONTENT", "PRICE", "content_digest", "content_mark", "is_same_content"]

_EXACT = 1 << 53
"""Below it each integer is a float of its own."""

NOT_CONTENT = ("taskUUID", "deliveryMethod")
"""How the answer travels is no part of what is asked for."""

PRICE = "includeCost"
"""Nor is whether its price is told, too. But journals have digests with it, see
:func:`is_same_content`."""

_PRICES: tuple[dict[str, bool], ...] = ({}, {PRICE: True}, {PRICE: False})

LONGEST_MARKED = 1 << 16
"""Bytes of a task that gets a mark: a thousand that end at once must not stall the loop."""


def content_digest(payload: bytes) -> bytes:
    """A digest of what a task asks for, whatever its taskUUID, its delivery and its spelling."""
    return _digest(_content(payload))


def content_mark(payload: bytes) -> int:
    """A digest of 32 bits that leaves the price out, too; 0 for a task that is too long for one.

    Two contents have the same once in 4 * 10^9 times.
    """
    if not 0 < len(payload) <= LONGEST_MARKED:
        return 0
    content = _content(payload)
    content.pop(PRICE, None)
    return int.from_bytes(_digest(content)[:4], "big")


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
