"""Deadlines of many tasks behind one timer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

from runware_ws._core.states import DONE, FOREVER
from runware_ws._core.tasks.record import TaskRecord

__all__ = ["TURN", "Schedule"]

_SLACK = 64

TURN = 1_000
"""Tasks handled in one go, so that 100,000 of them do not stall the loop."""


class Schedule:
    """Records by time. An entry is not removed when it dies, but later.

    Most entries come in the order of their times, because most tasks have the same
    timeout: these are kept in a queue. The others go into a heap. ``time_of`` reads
    the record's own time. An entry is dead if its time is no longer the record's, or
    if its task ended. Dead entries are dropped when they come up, and all at once
    when they are the majority, so the size stays in proportion to the live tasks.
    """

    __slots__ = ("_count", "_dead", "_heap", "_queue", "_time_of", "_times")

    def __init__(self, time_of: Callable[[TaskRecord], float]) -> None:
        self._time_of = time_of
        # Two parallel queues: a pair would be one more object per entry for the garbage collector.
        self._times: deque[float] = deque()
        self._queue: deque[TaskRecord] = deque()
        self._heap: list[tuple[float, int, TaskRecord]] = []
        self._count = 0
        self._dead = 0

    def __len__(self) -> int:
        return len(self._times) + len(self._heap)

    def put(self, record: TaskRecord, at: float) -> bool:
        """Schedule ``record``. The caller has just set the record's own time to ``at``.

        True if that is earlier than what :meth:`first` returned last.
        """
        times = self._times
        if times and at >= times[-1]:
            # The usual case, thousands of times a second.
            if at != FOREVER:
                times.append(at)
                self._queue.append(record)
            return False
        if at == FOREVER:
            return False
        sooner = at < self.first()
        queue = self._queue
        if len(times) == 1 or (times and at >= times[-2]):
            # One entry with a distant time must not send all later ones to the heap.
            self._push(times.pop(), queue.pop())
        if times and at < times[-1]:
            self._push(at, record)
        else:
            times.append(at)
            queue.append(record)
        return sooner

    def _push(self, at: float, record: TaskRecord) -> None:
        self._count += 1
        heappush(self._heap, (at, self._count, record))

    @property
    def out_of_order(self) -> int:
        """How many entries are in the heap."""
        return len(self._heap)

    def forget(self) -> None:
        """Note that one entry died: its record has ended, or has another time."""
        self._dead += 1
        queue = self._queue
        # The oldest usually die first, and this drops them.
        while queue and queue[0].state >= DONE:
            queue.popleft()
            self._times.popleft()
            self._dead -= 1
        if self._dead > _SLACK and self._dead * 2 > len(queue) + len(self._heap):
            self._rebuild()

    def clear(self) -> list[TaskRecord]:
        """Drop every entry; return their records."""
        records = [*self._queue, *(record for _, _, record in self._heap)]
        self._times.clear()
        self._queue.clear()
        self._heap.clear()
        self._dead = 0
        return records

    def first(self) -> float:
        """When the next live entry is due; infinite if there is none."""
        while self._times and not self._alive(self._times[0], self._queue[0]):
            self._times.popleft()
            self._queue.popleft()
            self._dead -= 1
        while self._heap and not self._alive(self._heap[0][0], self._heap[0][2]):
            heappop(self._heap)
            self._dead -= 1
        at = self._times[0] if self._times else FOREVER
        return min(at, self._heap[0][0]) if self._heap else at

    def due(self, now: float) -> Iterator[TaskRecord]:
        """Take out the live entries that are due, in order of time, but no more than ``TURN``.

        The caller must give each one another time, or end it, before it takes the next.
        """
        for _ in range(TURN):
            at = self.first()
            if at > now:
                return
            if self._times and self._times[0] == at:
                self._times.popleft()
                yield self._queue.popleft()
            else:
                yield heappop(self._heap)[2]

    def _alive(self, at: float, record: TaskRecord) -> bool:
        return record.state < DONE and self._time_of(record) == at

    def _rebuild(self) -> None:
        entries = zip(self._times, self._queue, strict=True)
        live = [(at, record) for at, record in entries if self._alive(at, record)]
        self._times = deque(at for at, _ in live)
        self._queue = deque(record for _, record in live)
        self._heap = [e for e in self._heap if self._alive(e[0], e[2])]
        heapify(self._heap)
        self._dead = 0
