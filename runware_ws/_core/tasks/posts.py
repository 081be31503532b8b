"""Tasks that go over HTTP: which POSTs are open, which wait, and for how long.

A POST has a number, as a socket does. It is below zero, so that it is never mistaken for a
socket's. A POST that was given up changes nothing, whatever it says. If the server cannot be
reached, all waiting tasks are posted again after one delay: one gate for all, not one per task.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from runware_ws._core.effects import Drop, Post
from runware_ws._core.states import FOREVER

if TYPE_CHECKING:
    from runware_ws._core.context import Context
    from runware_ws._core.tasks.record import TaskRecord

__all__ = ["Posts"]


class Posts:
    """The POSTs of one client."""

    def __init__(self, out: Context) -> None:
        self._out = out
        self.waiting: OrderedDict[str, TaskRecord] = OrderedDict()
        self.open: dict[str, TaskRecord] = {}
        self._numbers: dict[str, int] = {}
        self._count = 0
        # The gate: how often in a row the server was not reached, and when POSTs may go out again.
        self._failures = 0
        self._opens_at = FOREVER
        # POSTs of streams that were given up, by the time until which they are read.
        self._left: list[tuple[float, int, TaskRecord]] = []
        self.trouble = ""

    def add(self, record: TaskRecord) -> None:
        """Post it as soon as the gate and ``max_posts`` allow."""
        self.waiting[record.uuid] = record
        self._let_go()

    def _let_go(self) -> None:
        if self._opens_at != FOREVER:
            return
        while self.waiting and len(self.open) < self._out.options.max_posts:
            uuid, record = self.waiting.popitem(last=False)
            self._count += 1
            self._numbers[uuid] = -self._count
            self.open[uuid] = record
            self._out.effects.append(Post(record, -self._count))

    @property
    def latest(self) -> int:
        """The number of the newest POST."""
        return -self._count

    def find(self, uuid: str, number: int) -> TaskRecord | None:
        """The task of this POST; ``None`` if it was given up."""
        return self.open.get(uuid) if self._numbers.get(uuid) == number else None

    def end(self, record: TaskRecord) -> None:
        """Its POST is over. The next one may go out."""
        del self.open[record.uuid]
        del self._numbers[record.uuid]
        self._let_go()

    def drop(self, record: TaskRecord) -> None:
        """The task ends: give up its POST, if it has one."""
        if self.waiting.pop(record.uuid, None) is None and record.uuid in self.open:
            self._out.effects.append(Drop(record.uuid, self._numbers[record.uuid]))
            self.end(record)

    def leave(self, record: TaskRecord) -> None:
        """The task is given up; its POST goes on, but only until the task's deadline."""
        if record.deadline != FOREVER:
            heappush(self._left, (record.deadline, self._numbers[record.uuid], record))
            self._out.rearm = True

    def reached(self) -> None:
        """The server answered: the count of failures starts again."""
        self._failures = 0

    def unreached(self, why: str) -> int:
        """The server was not reached; return how often in a row. Call :meth:`shut` next."""
        self._failures += 1
        self.trouble = why
        return self._failures

    def shut(self, until: float) -> None:
        """Post nothing before ``until``."""
        self._opens_at = until
        self._out.rearm = True

    @property
    def shut_now(self) -> bool:
        """Whether nothing may be posted now."""
        return self._opens_at != FOREVER

    def next_deadline(self) -> float:
        """When :meth:`on_deadline` is due; infinite if it is not."""
        return min(self._opens_at, self._left[0][0]) if self._left else self._opens_at

    def on_deadline(self, now: float) -> list[TaskRecord]:
        """Post what waits, if it is time; return the given-up streams whose time is over."""
        if now >= self._opens_at:
            self._opens_at = FOREVER
            self._let_go()
        late: list[TaskRecord] = []
        while self._left and self._left[0][0] <= now:
            _, number, record = heappop(self._left)
            if self._numbers.get(record.uuid) == number:
                late.append(record)
        return late
