"""What goes out on a socket: items, and the frames that carry them."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Protocol

from .admission import Overload
from .exact import dump_exact
from .options import EmulatorOptions
from .spelling import spelled

__all__ = [
    "PING",
    "Envelope",
    "Kind",
    "Unit",
    "UnitSource",
    "close_frame",
    "data_frame",
    "pack",
    "shuffle",
    "weight",
]

PING = b"\x89\x00"
"""The wire bytes of a ping of the WebSocket protocol."""


class Kind(Enum):
    """What an item is to the session that it belongs to."""

    RESULT = "result"
    ERROR = "error"
    DELTA = "delta"  # its stream knows what a resumed session gets
    ACK = "ack"
    ANSWER = "answer"  # to a question about a task
    CONTROL = "control"  # a dead socket takes it with it


_ORDERED = (Kind.ANSWER, Kind.CONTROL)


class UnitSource(Protocol):
    """What a unit may be a part of, as the socket that writes it sees it."""

    def wrote(self, number: int) -> None:
        """TCP has taken the unit with this number. Units go out in order."""
        ...


class Unit:
    """One item of a ``data`` or ``errors`` list, serialised.

    ``stream`` and ``number`` are set if it is part of a stream: only the stream buffers it then.
    ``overload``: it refuses a task because there are too many; HTTP has a status for that.
    """

    __slots__ = ("body", "is_error", "kind", "number", "overload", "stream")

    def __init__(
        self,
        kind: Kind,
        item: dict[str, Any],
        *,
        is_error: bool = False,
        overload: Overload | None = None,
    ) -> None:
        self.overload = overload
        self.kind = kind
        self.is_error = is_error
        self.stream: UnitSource | None = None
        self.number = 0
        self.body = dump_exact(item)


class Envelope:
    """Items meant for one frame."""

    __slots__ = ("replay", "then_cut", "units")

    def __init__(
        self,
        units: Sequence[Unit] = (),
        *,
        replay: bool = False,
        then_cut: bool = False,
    ) -> None:
        self.units = units
        self.replay = replay
        self.then_cut = then_cut  # the socket ends when this is written


def pack(units: Iterable[Unit], options: EmulatorOptions) -> bytes:
    """Make the body of one server message. ``data`` and errors may stand in it together.

    Without units it is an empty answer, which names nobody.
    """
    data: list[bytes] = []
    errors: list[bytes] = []
    for unit in units:
        body = spelled(unit.body, options, is_error=unit.is_error)
        (errors if unit.is_error else data).append(body)
    parts: list[bytes] = []
    if data or not errors:
        parts.append(b'"data":[' + b",".join(data) + b"]")
    if errors:
        spelling = options.error_spelling
        name = b'"errors":' if spelling == "errors" else b'"error":'
        if spelling == "error" and len(errors) == 1:
            parts.append(name + errors[0])
        else:
            parts.append(name + b"[" + b",".join(errors) + b"]")
    return b"{" + b",".join(parts) + b"}"


def weight(units: Iterable[Unit]) -> int:
    """How many results and errors of tasks are among the units."""
    return sum(unit.kind in (Kind.RESULT, Kind.ERROR) for unit in units)


def shuffle(outbox: deque[Envelope | bytes | None], rng: random.Random) -> None:
    """Put what waits for a socket in another order, where its order means nothing."""
    places = [
        index
        for index, entry in enumerate(outbox)
        if isinstance(entry, Envelope)
        and not entry.then_cut
        and entry.units
        and all(u.kind not in _ORDERED and u.stream is None for u in entry.units)
    ]
    if len(places) > 1:
        entries = [outbox[index] for index in places]
        rng.shuffle(entries)
        for index, entry in zip(places, entries, strict=True):
            outbox[index] = entry


def data_frame(body: bytes, *, binary: bool = False) -> bytes:
    """The wire bytes of one unmasked, unfragmented message (RFC 6455, section 5.2)."""
    first = b"\x82" if binary else b"\x81"
    size = len(body)
    if size < 126:
        return first + bytes((size,)) + body
    if size < 65536:
        return first + b"\x7e" + size.to_bytes(2, "big") + body
    return first + b"\x7f" + size.to_bytes(8, "big") + body


def close_frame(code: int, reason: str = "") -> bytes:
    """The wire bytes of a close frame with any 16-bit code, legal or not. 1005: no code.

    Raises:
        ValueError: the code does not fit 16 bits, or the reason is over 123 bytes.
    """
    if not 0 <= code <= 0xFFFF:
        raise ValueError("a close code has 16 bits")
    text = reason.encode()
    if len(text) > 123:
        raise ValueError("a close reason has at most 123 bytes")
    payload = b"" if code == 1005 else code.to_bytes(2, "big") + text
    return b"\x88" + bytes((len(payload),)) + payload
