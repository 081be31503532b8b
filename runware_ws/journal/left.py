"""What dead clients left: what of it runs here again, and what has ended and nobody asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from runware_ws._core.tasks.record import TaskRecord
from runware_ws._io.wakeups import Waiter, Waiting
from runware_ws.journal.store import Entry

__all__ = ["Left", "Leftovers"]


@dataclass(frozen=True, slots=True)
class Left:
    """What a dead client left, as far as it is known: the entry, and its end if it has one here."""

    entry: Entry
    record: TaskRecord | None


class Leftovers:
    """See the top of the module. ``running``: tasks that run here again."""

    def __init__(self) -> None:
        self.running: dict[TaskRecord, Entry] = {}
        self._ended: deque[Left] = deque()
        self._waiters: dict[Waiter, None] = {}
        self._wake: Waiting | None = None

    def add(self, entry: Entry, record: TaskRecord | None = None) -> None:
        """This has ended; ``record``: here."""
        self._ended.append(Left(entry, record))
        self.changed()

    def changed(self) -> None:
        """Something has ended, or runs no more."""
        waiters, self._waiters = self._waiters, {}
        if self._wake is not None:
            for waiter in waiters:
                self._wake.wake(waiter)

    async def next(self, waiting: Waiting) -> Left | None:
        """The next that has ended; ``None`` once nothing runs any more. Cancel-safe."""
        self._wake = waiting
        while not self._ended:
            if not self.running:
                return None
            waiter = waiting.waiter()
            self._waiters[waiter] = None
            try:
                await waiter
            finally:
                self._waiters.pop(waiter, None)
        return self._ended.popleft()
