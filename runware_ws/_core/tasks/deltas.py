"""A stream as the core sees it: deltas in order, and what a cut does to them.

Nothing on the wire numbers the deltas (documented: only ``delta``,
``finishReason``, ``usage``, ``cost``). So after a cut nobody can tell whether
the next one goes on, repeats, or leaves a hole. Then deltas are no longer
handed on: the whole answer is waited for (out of the archive, or from a copy
that was sent again), and what is missing of it comes as one last delta. If the
whole does not begin with what was handed on already, the stream is interrupted:
nothing is ever doubled or made up.

An answer has three kinds of output: reasoning, text and tool calls. A call has
an id and a name, which come once, and arguments, which come as pieces of text.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from runware_ws._core import wire
from runware_ws.models.delta import ToolCallPiece, tool_call_pieces
from runware_ws.models.jsonable import is_array, is_object

__all__ = ["Deltas"]

MOST_PENDING = 16_384
"""Deltas that may wait for a slow reader. Beyond that, neighbours are joined; none is lost."""

MOST_WAITING = 16 << 20
"""Bytes of memory that they may take up. Beyond that they are joined as well."""

FEW = 16
"""So many wait unweighed, as where a reader keeps up: to weigh one costs as much as the rest."""

_TEXTS = ("reasoningContent", "text")
_CALLS = "toolCalls"
_OUTPUT = (*_TEXTS, _CALLS)
"""In the order in which a reader takes them from one delta."""


@dataclass(slots=True)
class _Call:
    """The part of a tool call that was handed on."""

    id: str | None = None
    name: str | None = None
    parts: list[str] = field(default_factory=list[str])

    def take(self, piece: ToolCallPiece) -> None:
        self.id = self.id or piece.id
        self.name = self.name or piece.name
        if piece.arguments:
            self.parts.append(piece.arguments)

    def is_another(self, piece: ToolCallPiece) -> bool:
        """Whether a piece belongs to a different call."""
        if self.id is not None and piece.id not in (None, self.id):
            return True
        if self.name is None or piece.name is None:
            return False
        if piece.name != self.name:
            return True
        # Without ids. Arguments that are whole get no more, so the tool is called once more.
        without_ids = self.id is None and piece.id is None
        return without_ids and bool(piece.arguments.strip()) and self._is_whole()

    def _is_whole(self) -> bool:
        """Whether the arguments so far are a whole object."""
        # Most pieces do not end one, and to read everything again each time would be slow.
        if not self.parts or not self.parts[-1].rstrip().endswith("}"):
            return False
        return (_canonical("".join(self.parts)) or "").startswith("{")

    def missing(self, whole: ToolCallPiece) -> ToolCallPiece | None:
        """The part of the whole call that a reader lacks; ``None`` if the call does not fit."""
        if self.id not in (None, whole.id) or self.name not in (None, whole.name):
            return None
        rest = _missing_json("".join(self.parts), whole.arguments)
        if rest is None:
            return None
        return ToolCallPiece(
            whole.index,
            whole.id if self.id is None else None,
            whole.name if self.name is None else None,
            rest,
        )


class Deltas:
    """What has come of one stream. ``suspended``: the stream was cut.

    ``polled``: a poll about it was sent. So a result may be the answer to that.
    """

    __slots__ = (
        "_added",
        "_calls",
        "_last",
        "_places",
        "_room",
        "_texts",
        "_unclear",
        "_whole",
        "count",
        "finished",
        "first_at",
        "pending",
        "polled",
        "suspended",
    )

    def __init__(self) -> None:
        self.pending: deque[dict[str, Any]] = deque()
        self.count = 0
        self.first_at: float | None = None
        self.suspended = self.polled = False
        self.finished = False
        self._room = MOST_PENDING
        # The memory of what was put to those that wait since they were weighed.
        self._added = 0
        self._texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self._calls: dict[int, _Call] = {}
        self._places: dict[int, int] = {}  # from an index on the wire to the call it means
        self._last: dict[str, Any] = {}
        self._whole: dict[str, Any] | None = None
        self._unclear = False

    def text(self, name: str = "text") -> str:
        """The text, or other output, that was handed on so far."""
        return "".join(self._texts[name])

    def add(self, item: dict[str, Any], now: float) -> bool:
        """Take the next delta; True if it is the last one."""
        if _is_strange(item.get("delta")):
            self.hole()
        if self.suspended:
            return bool(item.get("finishReason"))
        delta = _delta_of(item)
        if item.get("finishReason") and not _has_output(delta) and _has_output(item):
            # The last item holds its output in a result's fields, not in a delta.
            return self.complete(item, now)
        self._take(item, delta, now)
        self.finished = self.finished or bool(item.get("finishReason"))
        return self.finished

    @staticmethod
    def has_output(item: dict[str, Any]) -> bool:
        """Whether an item has the output of a stream in its own fields."""
        return _has_output(item)

    def is_piece(self, item: dict[str, Any], incidental: Set[str]) -> bool:
        """Whether an item without a delta is no result either: usage, a sign of life, some note.

        ``incidental``: fields that are told of an answer and are none.
        """
        output = any(item.get(name) is not None for name in _OUTPUT)
        if output or item.get("finishReason") or item.get("status"):
            return False
        # The answer to a task of another kind has its output elsewhere; but it is no stream.
        return self.count > 0 or item.keys() <= incidental

    def hole(self) -> None:
        """A piece is lost: nobody can read it, or it named no task. What follows is not next."""
        if not self.finished:
            self.suspended = True

    def ended(self, now: float) -> bool:
        """The carrier said that the stream is over; True if :meth:`whole` is the result.

        False if nothing came, if something was lost, or if something came that may have been
        an error in words of its own.
        """
        if self.suspended or self._unclear or not self.count:
            return False
        self.finished = True
        return True

    def whole(self) -> dict[str, Any]:
        """The result: as it came, if it came whole; otherwise what the deltas add up to."""
        if self._whole is not None:
            return self._whole
        result = dict(self._last)
        for name in _TEXTS:
            if self._texts[name]:
                result[name] = self.text(name)
        if self._calls:
            result[_CALLS] = [
                _fields(call.id, call.name, "".join(call.parts))
                for _, call in sorted(self._calls.items())
            ]
        else:
            result.setdefault("text", "")
        return result

    def complete(self, result: dict[str, Any], now: float) -> bool:
        """A result came: hand on the missing rest of it as the last delta.

        A result that begins with what was handed on is the whole. Any other result is the last
        part of the stream, if that was never cut and never polled. If it was, such a result is
        useless: then this returns False, nothing is handed on, and the stream counts as cut.
        """
        missing: dict[str, Any] = {}
        fits = True
        for name in _TEXTS:
            given, had = result.get(name), self.text(name)
            given = given if isinstance(given, str) else ""
            if given.startswith(had):
                given = given[len(had) :]
            else:
                fits = False
            if given:
                missing[name] = given
        calls = self._missing_calls(result.get(_CALLS))
        if calls is None:
            fits = False
            if _CALLS in result:
                missing[_CALLS] = result[_CALLS]
        elif calls:
            missing[_CALLS] = calls
        self.suspended = not fits and (self.suspended or self.polled)
        if self.suspended:
            return False
        rest = {name: value for name, value in result.items() if name not in _OUTPUT}
        self._take({**rest, "delta": missing}, missing, now)
        if fits:
            self._whole = {name: value for name, value in result.items() if name != "delta"}
        self.finished = True
        return True

    def _take(self, item: dict[str, Any], delta: dict[str, Any], now: float) -> None:
        if self.first_at is None:
            self.first_at = now
        if item.get("message"):
            self._unclear = True
        if _has_output(delta):
            self._unclear = False
            # What came before it was not the last piece, nor the whole.
            self.finished = False
            self._whole = None
        for name, value in item.items():
            if name != "delta" and name not in _OUTPUT:
                self._last[name] = value
        for name in _TEXTS:
            part = delta.get(name)
            if isinstance(part, str) and part:
                self._texts[name].append(part)
        if delta.get(_CALLS):
            item = self._take_calls(item, delta)
        self.count += 1
        if len(self.pending) >= self._room:
            self._join_pending()
        self.pending.append(item)
        if len(self.pending) > FEW:
            self._added += wire.weight(item, MOST_WAITING)
            if self._added > MOST_WAITING:
                self._added = 0
                self._join_large()

    # Tool calls

    def _take_calls(self, item: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
        """Take the calls of a delta; return the item with an index that is unique to each call."""
        placed: list[ToolCallPiece] = []
        moved = False
        for piece in tool_call_pieces(delta[_CALLS]):
            index = self._place(piece)
            self._calls.setdefault(index, _Call()).take(piece)
            moved = moved or index != piece.index
            placed.append(ToolCallPiece(index, piece.id, piece.name, piece.arguments))
        return {**item, "delta": {**delta, _CALLS: _written(placed)}} if moved else item

    def _place(self, piece: ToolCallPiece) -> int:
        """The call that a piece belongs to.

        Some servers do not number calls that come one after another, or number them all 0. So a
        new id or a new name starts a new call, and so does a name whose call is whole. What
        follows at the same index belongs to it.
        """
        index = self._places.setdefault(piece.index, piece.index)
        call = self._calls.get(index)
        if call is not None and call.is_another(piece):
            known = (at for at, each in self._calls.items() if piece.id and each.id == piece.id)
            index = self._places[piece.index] = next(known, max(self._calls) + 1)
        return index

    def _missing_calls(self, value: Any) -> list[dict[str, Any]] | None:
        """The missing rest of the whole calls; ``None`` if they do not fit what came."""
        whole = tool_call_pieces(value)
        # A stream may start counting at another number than the list; the ids show it.
        at = {call.id: index for index, call in self._calls.items() if call.id}
        shift = next((at[each.id] - each.index for each in whole if each.id in at), 0)
        calls = {
            each.index + shift: ToolCallPiece(
                each.index + shift, each.id, each.name, each.arguments
            )
            for each in whole
        }
        if len(calls) < len(whole) or not self._calls.keys() <= calls.keys():
            return None
        rest: list[ToolCallPiece] = []
        for index, call in calls.items():
            had = self._calls.get(index)
            missing = call if had is None else had.missing(call)
            if missing is None:
                return None
            if had is None or missing != ToolCallPiece(index):
                rest.append(missing)
        return _written(rest)

    # A slow reader

    def _join_pending(self) -> None:
        """Join neighbours in pairs. If few can be joined, the next attempt comes much later."""
        waiting = list(self.pending)
        self.pending.clear()
        for number, item in enumerate(waiting):
            joined = _joined(self.pending[-1], item) if number % 2 else None
            if joined is None:
                self.pending.append(item)
            else:
                self.pending[-1] = joined
        self._room = max(MOST_PENDING, 2 * len(self.pending))

    def _join_large(self) -> None:
        """Join neighbours until they take up half of what they may, or none can be joined.

        Of what stands beside their output only the last is kept.
        """
        before = 0
        while before != len(self.pending) and self._weight() > MOST_WAITING // 2:
            before = len(self.pending)
            self._join_pending()

    def _weight(self) -> int:
        return sum(wire.weight(item, MOST_WAITING) for item in self.pending)


def _delta_of(item: dict[str, Any]) -> dict[str, Any]:
    delta = item.get("delta")
    return cast("dict[str, Any]", delta) if isinstance(delta, dict) else {}


def _is_strange(delta: Any) -> bool:
    """Whether a delta holds output in a shape that nobody can read."""
    if not is_object(delta):
        return bool(delta)
    for name in _TEXTS:
        part = delta.get(name)
        if part is not None and not isinstance(part, str):
            return True
    calls = delta.get(_CALLS)
    return bool(calls) and not (is_array(calls) and all(map(is_object, calls)))


def _has_output(fields: dict[str, Any]) -> bool:
    return any(fields.get(name) for name in _OUTPUT)


def _fields(id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    given = {"id": id, "name": name, "arguments": arguments}
    return {key: value for key, value in given.items() if value is not None}


def _written(pieces: Iterable[ToolCallPiece]) -> list[dict[str, Any]]:
    """Pieces as the entries of a delta."""
    return [
        {"index": piece.index, **_fields(piece.id, piece.name, piece.arguments)} for piece in pieces
    ]


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """Two neighbours as one; ``None`` if a reader would then see something else."""
    first, second = one.get("delta"), other.get("delta")
    if not isinstance(first, dict) or not isinstance(second, dict):
        return None
    a, b = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
    try:
        before = max((_OUTPUT.index(name) for name in a), default=0)
        behind = min((_OUTPUT.index(name) for name in b), default=before)
    except ValueError:  # an unknown field
        return None
    if before > behind:
        return None
    delta = {**a, **b}
    for name in a.keys() & b.keys():
        if name == _CALLS:
            delta[name] = _written(_merged(a[name], b[name]))
        elif isinstance(a[name], str) and isinstance(b[name], str):
            delta[name] = a[name] + b[name]
        else:
            return None
    return {**one, **other, "delta": delta}


def _merged(*lists: Any) -> Iterable[ToolCallPiece]:
    """The pieces of several deltas, those of one call joined."""
    calls: dict[int, _Call] = {}
    for pieces in map(tool_call_pieces, lists):
        for piece in pieces:
            calls.setdefault(piece.index, _Call()).take(piece)
    for index, call in calls.items():
        yield ToolCallPiece(index, call.id, call.name, "".join(call.parts))


# JSON text

_STRING_OR_SPACE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[ \t\r\n]+', re.DOTALL)


def _compact(text: str) -> str:
    """JSON text, or the beginning of one, written in one way: without white space between its
    tokens, and with the same escapes."""
    return _STRING_OR_SPACE.sub(lambda found: _escaped(found[0]), text)


def _escaped(token: str) -> str:
    """A string, or the beginning of one, in ASCII; nothing for white space."""
    if token[0] != '"':
        return ""
    for end in ("", '"'):
        with suppress(ValueError):
            written = json.dumps(json.loads(token + end))
            return written[: len(written) - len(end)]
    return token  # It ends in the middle of an escape.


def _canonical(text: str) -> str | None:
    """One canonical text per JSON value; ``None`` if ``text`` is not JSON.

    Not by comparing values: in Python 1, 1.0 and true are equal. Not by ``orjson``: integers
    beyond 64 bits would be rounded.
    """
    try:
        return json.dumps(json.loads(text or "{}"), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _missing_json(had: str, whole: str) -> str | None:
    """The rest of the JSON text ``whole`` after ``had``; ``None`` if they do not fit.

    The archive need not keep the text that the model wrote. So the same value may have other
    white space, other escapes and, if all of it was handed on, its keys in another order.
    """
    if whole.startswith(had):
        return whole[len(had) :]
    whole = whole or "{}"
    value = _canonical(whole)
    if value is None:
        return None
    if _canonical(had) == value:
        return ""
    begun, text = _compact(had), _compact(whole)
    rest = text[len(begun) :]
    # A space that was left out may have ended a number, so both together must give the same value.
    fits = text.startswith(begun) and _canonical(had + rest) == value
    return rest if fits else None
