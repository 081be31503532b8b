"""What was noted last, in a bounded number of bytes.

A ring has segments, and the oldest goes as a whole, so that nothing is done for single entries.
"""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["Ring"]

SEGMENTS = 4
"""So many fill a ring."""

Entry = tuple[Any, ...]


class RingSegment:
    """Entries in a row. ``size``: bytes, once the next segment has begun."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.size = 0


class Ring:
    """The last segments. Whoever notes something appends it to :attr:`entries`, and counts bytes.

    At most ``limit`` bytes of segments are kept, beside the one that is being filled, which
    should :meth:`turn` when it has a quarter of that.
    """

    def __init__(self, limit: int) -> None:
        self.turn_at = limit // SEGMENTS
        self.size = 0
        self.dropped = 0
        # With the one that is being filled it is ``limit``.
        self._limit = limit - self.turn_at
        self._segments: deque[RingSegment] = deque([RingSegment()])

    @property
    def entries(self) -> deque[Entry]:
        """Where the next entry goes."""
        return self._segments[-1].entries

    def turn(self, size: int) -> None:
        """Begin a new segment. ``size``: the bytes of the one that was filled."""
        self._segments[-1].size = size
        self.size += size
        while self.size > self._limit and self._segments:
            oldest = self._segments.popleft()
            self.size -= oldest.size
            self.dropped += len(oldest.entries)
        self._segments.append(RingSegment())

    def held(self) -> list[Entry]:
        """What is kept, the oldest first. May be called from any thread."""
        return [entry for part in self._segments.copy() for entry in part.entries.copy()]
