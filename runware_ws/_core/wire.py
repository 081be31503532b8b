"""Bytes to envelopes and back: tolerant in, strict out.

Every client message is a JSON array of task objects, even for one task
(documented). Every server message is a JSON object (documented).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import orjson

from runware_ws.models.jsonable import encode_json, exact_json, load_json

__all__ = [
    "PING",
    "MalformedFrameError",
    "authentication",
    "decode",
    "delivery_of",
    "frame_size",
    "join",
    "question",
    "sample",
    "weight",
    "with_delivery",
]

PING = b'{"taskType":"ping","ping":true}'
"""The application's ping, one task object (documented)."""

_SAMPLE = 120
_DEEP = 200
_SHORT = 2_000
"""A text of fewer bytes is written again in less time than its brackets are found."""
_GC = 16
"""What Python's collector adds to a dict or list, in bytes."""


class MalformedFrameError(ValueError):
    """A frame is not a JSON object. The message says what it is instead."""


def decode(data: bytes) -> dict[str, Any]:
    """Decode one server message.

    Raises:
        MalformedFrameError: not JSON, nested too deeply, or not an object.
    """
    try:
        frame: dict[str, Any] = orjson.loads(data)
        again = b""
        if len(data) < _SHORT or _may_be_deep(data):
            again = orjson.dumps(frame)
        if again != data:
            # What is written again as it came, as most frames are, has lost no digit.
            frame = exact_json(frame, data)
    except ValueError as exc:
        reason = exc.msg if isinstance(exc, orjson.JSONDecodeError) else str(exc)
        raise MalformedFrameError(f"not JSON: {reason}") from None
    except TypeError:
        raise MalformedFrameError("nested too deeply") from None
    if type(frame) is not dict:
        raise MalformedFrameError(f"not a JSON object but {type(frame).__name__}")
    return frame


def _may_be_deep(data: bytes) -> bool:
    """Whether the brackets could nest deeper than a value may be, to be re-encoded or compared."""
    left = _DEEP
    for bracket in (b"[", b"{"):
        # Not count(): with few brackets in many bytes it takes ten times as long.
        at = data.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return True
            at = data.find(bracket, at + 1)
    return False


def join(tasks: Iterable[bytes]) -> bytes:
    """One message made of task objects that are already JSON."""
    return b"[" + b",".join(tasks) + b"]"


def frame_size(payload: bytes) -> int:
    """The size in bytes of the smallest message that carries this task object."""
    return len(payload) + 2


def with_delivery(payload: bytes, method: str) -> bytes:
    """The same task object with another ``deliveryMethod``."""
    return encode_json({**load_json(payload), "deliveryMethod": method})


def delivery_of(payload: bytes) -> Any:
    """The ``deliveryMethod`` of a task object; ``None`` if it says none."""
    return load_json(payload).get("deliveryMethod")


def weight(item: dict[str, Any], most: int) -> int:
    """The memory that an item takes up, in bytes; something above ``most`` if it is more than that.

    Small objects take many times what they take on the wire. Names of fields count half, because
    the decoder may share them. The walk ends at ``most``, so its length is bounded too.
    """
    total = 0
    walks: list[Iterator[Any]] = [iter((item,))]
    while walks and total <= most:
        for value in walks[-1]:
            if isinstance(value, dict):
                fields = cast("dict[str, Any]", value)
                total += fields.__sizeof__() + _GC + sum(map(str.__sizeof__, fields)) // 2
                walks.append(iter(fields.values()))
                break
            if isinstance(value, list):
                entries = cast("list[Any]", value)
                total += entries.__sizeof__() + _GC
                walks.append(iter(entries))
                break
            # What Python shares takes up nothing: None, True, False, "" and the small numbers.
            if value and not (isinstance(value, int) and -5 <= value <= 256):
                total += value.__sizeof__()
                if total > most:
                    break
        else:
            walks.pop()
    return total


def question(task_type: str, task_uuid: str) -> bytes:
    """A ``getResponse`` or ``getTaskDetails`` task object about one task (documented)."""
    return b'{"taskType":"%b","taskUUID":"%b"}' % (task_type.encode(), task_uuid.encode())


def authentication(api_key: str, session_uuid: str | None) -> bytes:
    """The first message of a connection (documented). Never log what this returns."""
    task = {"taskType": "authentication", "apiKey": api_key}
    if session_uuid is not None:
        task["connectionSessionUUID"] = session_uuid
    return orjson.dumps([task])


def sample(data: bytes, redact: Callable[[str], str]) -> str:
    """The beginning of a frame for people to read, without secrets."""
    # Redact before cutting: half a secret would not be recognised.
    head = redact(data[: 8 * _SAMPLE].decode("utf-8", "backslashreplace"))
    return head if len(head) <= _SAMPLE else f"{head[:_SAMPLE]}... ({len(data)} bytes in all)"
