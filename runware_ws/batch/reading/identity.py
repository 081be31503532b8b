"""What a line is known by: its content, and how many equal ones came before it in its file.

So lines may be inserted, deleted, moved and written in another way, and each stays what it was.
"""

from __future__ import annotations

import json
import marshal
from array import array
from hashlib import blake2b
from typing import Any

import orjson

from runware_ws.models.jsonable import encode_json, is_object

__all__ = ["DigestCounts", "LineId", "LineKey", "TaskUUIDs", "content_digest", "line_key"]

LineId = tuple[str, str | int | float] | None
"""The name under which a line has its id, and the id."""

LineKey = int
"""128 bits: 96 of the content's digest, then the number of equal lines before it.

Among ten million lines the odds of two equal digests are one in 10 to the 15."""

_DIGEST_BYTES = 12
_OCCURRENCE_BITS = 32

# Neither changes the answer.
_NO_CONTENT: tuple[str, ...] = ("includeCost", "includeUsage")
_ABOUT_OTHERS = ("getResponse", "getTaskDetails")


def content_digest(content: Any, line_id: LineId) -> int:
    """96 bits of a line's content: its task, or what stands there if none can be made of it.

    The id counts, and not under which name it stands. A task's own ``taskUUID`` does not, unless
    it is the task that is asked about.
    """
    if is_object(content) and "taskType" in content:
        about_another = content["taskType"] in _ABOUT_OTHERS
        without = _NO_CONTENT if about_another else (*_NO_CONTENT, "taskUUID")
        content = {name: value for name, value in content.items() if name not in without}
    text = _canonical([None if line_id is None else line_id[1], content])
    return int.from_bytes(blake2b(text, digest_size=_DIGEST_BYTES).digest(), "big")


def line_key(digest: int, before: int) -> LineKey:
    """The key of a line that ``before`` equal ones stand before."""
    return digest << _OCCURRENCE_BITS | before


def _canonical(value: Any) -> bytes:
    try:
        return encode_json(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError):
        # What cannot be sent: lone surrogates, huge numbers, great depth.
        try:
            return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        except RecursionError:
            return marshal.dumps(value)


class DigestCounts:
    """Counts digests in about 20 bytes each: a hash table of bare 64-bit numbers.

    A set of Python's integers would take five times as much, a gigabyte for ten million lines.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 << 10))
        self._used = 0
        self.repeated: dict[int, int] = {}
        """How often each digest came again."""

    def add(self, digest: int) -> int:
        """Count a digest; returns how many times it came before."""
        if self._put(_low(digest)):
            return 0
        before = self.repeated[digest] = self.repeated.get(digest, 0) + 1
        return before

    def knows(self, digest: int) -> bool:
        """Whether a digest came."""
        return self._slots[self._place(_low(digest))] != 0

    def _place(self, low: int) -> int:
        """Where it stands, or would stand."""
        slots = self._slots
        mask = len(slots) - 1
        at = low & mask
        while slots[at] and slots[at] != low:
            at = (at + 1) & mask
        return at

    def _put(self, low: int) -> bool:
        slots, at = self._slots, self._place(low)
        if slots[at]:
            return False
        slots[at] = low
        self._used += 1
        if self._used * 3 > len(slots) * 2:
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", bytes(8 * len(old) * 2))
        self._used = 0
        for low in old:
            if low:
                self._put(low)


class TaskUUIDs:
    """A set of taskUUIDs, in upper or lower case, of about 20 bytes each.

    Among ten million, one of 10 to the 12 others is taken to be in it, too.
    """

    def __init__(self) -> None:
        self._digests = DigestCounts()

    def add(self, uuid: str) -> None:
        """Put one in."""
        if uuid not in self:
            self._digests.add(hash(uuid.lower()))

    def __contains__(self, uuid: object) -> bool:
        return isinstance(uuid, str) and self._digests.knows(hash(uuid.lower()))


def _low(digest: int) -> int:
    """What is kept of a digest; 0 is an empty slot."""
    return digest & 0xFFFF_FFFF_FFFF_FFFF or 1
