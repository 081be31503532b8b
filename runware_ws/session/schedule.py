"""Deadlines of many tasks behind one timer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

from runware_ws.session.record import FOREVER, TaskRecord

__all__ = ["Schedule"]

_SLACK = 64


class Schedule:
    """A heap of records by time, with entries that die in place.

    ``time_of`` reads the record's own time: an entry that no longer agrees
    with it, or whose task ended, is dead. Dead entries are dropped when they
    come up, and all at once when they are the majority, so the heap stays in
    proportion to the live tasks.
    """

    __slots__ = ("_count", "_dead", "_heap", "_time_of")

    def __init__(self, time_of: Callable[[TaskRecord], float]) -> None:
        self._time_of = time_of
        self._heap: list[tuple[float, int, TaskRecord]] = []
        self._count = 0
        self._dead = 0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, record: TaskRecord, at: float) -> None:
        """Schedule ``record``; the caller has set the record's own time to ``at``."""
        if at == FOREVER:
            return
        self._count += 1
        heappush(self._heap, (at, self._count, record))

    def forget(self) -> None:
        """Note that one entry died."""
        self._dead += 1
        if self._dead > _SLACK and self._dead * 2 > len(self._heap):
            self._rebuild()

    def clear(self) -> None:
        """Drop every entry."""
        self._heap.clear()
        self._dead = 0

    def first(self) -> float:
        """When the next live entry is due; infinite where there is none."""
        while self._heap:
            at, _, record = self._heap[0]
            if self._alive(at, record):
                return at
            heappop(self._heap)
            self._dead = max(0, self._dead - 1)
        return FOREVER

    def due(self, now: float) -> Iterator[TaskRecord]:
        """Take out every live entry that is due."""
        while self.first() <= now:
            yield heappop(self._heap)[2]

    def _alive(self, at: float, record: TaskRecord) -> bool:
        return not record.ended and self._time_of(record) == at

    def _rebuild(self) -> None:
        self._heap = [e for e in self._heap if self._alive(e[0], e[2])]
        heapify(self._heap)
        self._dead = 0
