"""How recently ended tasks ended, so that a late copy is told from a stranger's.

A copy can come as long as the server keeps its buffer, 120 s (documented), and a taskUUID that
was answered is refused for three minutes. That has to hold at 10,000 tasks a second too. So most
entries are numbers in a few large arrays: 16 bytes of memory for each, not 200.
"""

from __future__ import annotations

from array import array
from collections import deque

from runware_ws._core.states import TaskState

__all__ = ["Tombstones"]

_BITS = 5
_FLAGS = 0b11111
_END = 0b01111
_STREAM = 0b10000
_NEVER = float("inf")

_WORD = 0xFFFF_FFFF_FFFF_FFFF
_PRINT = _WORD ^ _FLAGS
"""The bits of a key that come from the hash of the taskUUID; the others are the flags."""

LOT = 8_192
"""So many entries are packed at once. It takes a few milliseconds."""

_SMALL, _LARGE = 1 << 17, 1 << 21
"""How many slots a segment has: the first one, and the largest."""


class _Segment:
    """A hash table of numbers, with open addressing, that is at most half full.

    A key is the hash of a taskUUID with its lowest bits replaced by how the task ended. Python's
    hash of a string is keyed at random, so nobody can make two taskUUIDs collide, and by chance
    two do once in 10^17 pairs. Flags of zero mark an entry that was taken out.
    """

    __slots__ = ("_generations", "_mask", "_slots", "count", "newest", "since")

    def __init__(self, slots: int, since: float, *, generations: bool) -> None:
        self._mask = slots - 1
        self._slots = array("Q", [0]) * slots
        self._generations = array("q", [0]) * slots if generations else None
        self.count = 0
        # When its oldest entry was made, at the earliest, and its newest, at the latest.
        self.since = self.newest = since

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def room(self) -> int:
        return len(self._slots) // 2 - self.count

    def add(self, entries: dict[str, int]) -> None:
        slots, mask, generations = self._slots, self._mask, self._generations
        for uuid, entry in entries.items():
            number = hash(uuid)
            place = (number >> _BITS) & mask
            while slots[place]:
                place = (place + 1) & mask
            slots[place] = (number & _PRINT) | (entry & _FLAGS)
            if generations is not None:
                generations[place] = entry >> _BITS
        self.count += len(entries)

    def find(self, number: int) -> int:
        """The slot of the taskUUID with this hash; -1 if it has none."""
        slots, mask, wanted = self._slots, self._mask, number & _PRINT
        place = (number >> _BITS) & mask
        while found := slots[place]:
            if found & _PRINT == wanted and found & _FLAGS:
                return place
            place = (place + 1) & mask
        return -1

    def flags(self, place: int) -> int:
        return self._slots[place] & _FLAGS

    def take(self, place: int) -> int:
        """Take the entry out; return its generation, 0 if those are not kept."""
        self._slots[place] &= _PRINT
        return self._generations[place] if self._generations is not None else 0


class Tombstones:
    """How recently ended tasks ended.

    Entries are forgotten in bulk, not one by one: each lives for at least ``keep`` seconds and at
    most twice that. If more than about ``limit`` come in that time, the oldest go earlier.
    ``generations``: whether :meth:`take` is needed, which doubles the memory of packed entries.
    ``lot``: how many are packed at once; ``None``: ``LOT``.
    """

    def __init__(
        self,
        limit: int = 1 << 22,
        keep: float = 180.0,
        *,
        generations: bool = False,
        lot: int | None = None,
    ) -> None:
        self._slots = 2 * limit
        self._keep = keep
        self._with_generations = generations
        self._lot = LOT if lot is None else lot
        # How the task ended and the socket on which it was last written, packed into one number:
        # a pair would be one more object per entry for the garbage collector. The very first
        # entry counts as old at once, so that it does not live longer than the others.
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._turn_at = _NEVER
        # The young ones, once they are many; the last segment is the one that is filled.
        self._segments: deque[_Segment] = deque()
        # When the oldest of the young ones was made, at the earliest.
        self._since = 0.0

    def __len__(self) -> int:
        packed = sum(segment.count for segment in self._segments)
        return len(self._young) + len(self._old) + packed

    def add(
        self, uuid: str, end: TaskState, now: float, generation: int, stream: bool = False
    ) -> bool:
        """Remember how ``uuid`` ended, at ``now``. ``generation``: where it was last written.

        True if :meth:`next_expiry` has changed.
        """
        young = self._young
        young[uuid] = generation << _BITS | (_STREAM if stream else 0) | end
        if self._turn_at == _NEVER:
            self._turn(now)
            return True
        if len(young) >= self._lot:
            self._pack(now)
            return True
        return False

    def _turn(self, now: float) -> None:
        self._old, self._young = self._young, {}
        self._since = now
        self._turn_at = now + self._keep if self._old else _NEVER

    def _pack(self, now: float) -> None:
        """Move the young entries into a segment, which takes up less memory."""
        segments = self._segments
        last = segments[-1] if segments else None
        if last is None or last.room < self._lot or now - last.since >= self._keep:
            slots = self._next_size(last)
            while segments and sum(map(len, segments)) + slots > self._slots:
                segments.popleft()
            last = _Segment(slots, self._since, generations=self._with_generations)
            segments.append(last)
        last.add(self._young)
        last.newest = self._since = now
        self._young = {}

    def _next_size(self, last: _Segment | None) -> int:
        """Few large segments, because each look-up goes through all; but no larger than needed."""
        smallest = max(_SMALL, 1 << (2 * self._lot - 1).bit_length())
        if last is None:
            return smallest
        full = last.room < self._lot
        size = 4 * len(last) if full else len(last) // 2
        return max(smallest, min(size, _LARGE, self._slots // 4))

    def _find(self, uuid: str) -> int:
        """The entry of ``uuid``, perhaps without its generation; 0 if it is not remembered."""
        found = self._young.get(uuid) or self._old.get(uuid)
        if found is None and self._segments:
            return self._find_packed(uuid)
        return found or 0

    def _find_packed(self, uuid: str) -> int:
        number = hash(uuid)
        for segment in self._segments:
            place = segment.find(number)
            if place >= 0:
                return segment.flags(place)
        return 0

    def knows(self, uuid: str) -> bool:
        """Whether ``uuid`` is remembered."""
        # As short as it can be: each new task asks. (And no ``in``, which calls Python through C.)
        if uuid in self._young or uuid in self._old:
            return True
        return bool(self._segments) and self._find_packed(uuid) != 0

    def get(self, uuid: str) -> TaskState | None:
        """How ``uuid`` ended; ``None`` if it is not remembered."""
        found = self._find(uuid)
        return TaskState(found & _END) if found else None

    def was_stream(self, uuid: str) -> bool:
        """Whether ``uuid`` is remembered, and was a stream."""
        return bool(self._find(uuid) & _STREAM)

    def take(self, uuid: str) -> int:
        """Drop one entry; return the socket on which it was last written, 0 if it is not known."""
        generation = 0
        number = hash(uuid)
        for segment in self._segments:
            place = segment.find(number)
            if place >= 0:
                generation = segment.take(place)
        old = self._old.pop(uuid, 0)
        entry = self._young.pop(uuid, 0) or old
        return entry >> _BITS if entry else generation

    def next_expiry(self) -> float:
        """When the oldest entries expire; infinite if there are none."""
        if self._segments:
            return min(self._turn_at, self._segments[0].newest + self._keep)
        return self._turn_at

    def expire(self, now: float) -> None:
        """Drop the entries that have expired."""
        if now >= self._turn_at:
            self._turn(now)
        segments = self._segments
        while segments and now >= segments[0].newest + self._keep:
            segments.popleft()
