"""Frames that are too big, either way: they end their task, never the session.

Outbound: a server that closes with 1009 refused a frame of ours. Whichever it
was, the biggest frame written on that socket is over its limit too (had the
server taken the biggest, it would have taken all). If it held several tasks,
each goes alone from then on; a task that was alone is tried once more, then
it fails. So no frame kills a third socket.

Inbound: a result over ``max_frame_bytes`` makes us close with 1009, and the
replay would bring it again. After the second time the session is abandoned,
so nothing is replayed, and the open tasks are asked for one at a time: the
question whose answer kills the socket names the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runware_ws._core.effects import Frame
from runware_ws._core.tasks.record import TaskRecord

if TYPE_CHECKING:
    from runware_ws._core.tasks.table import TaskTable

__all__ = ["Oversize"]


class Oversize:
    """Finds the task whose frame is too big."""

    def __init__(self, table: TaskTable) -> None:
        self._table = table
        self.limit: int | None = None
        self.abandon_session = False
        self._inbound = 0
        self._generation = 0
        # The biggest frame of this socket: its size, and whose tasks it carried.
        self._biggest: tuple[int, tuple[str, ...]] = (0, ())

    def wrote(self, frame: Frame, generation: int) -> None:
        """Remember a frame if it is the biggest of its socket."""
        size = len(frame.data)
        if generation != self._generation or size > self._biggest[0]:
            self._generation = generation
            self._biggest = (size, tuple(record.uuid for record in frame.records))

    def outbound(self, generation: int) -> TaskRecord | None:
        """The server closed with 1009. The task to fail, ``None`` while there is doubt."""
        if generation != self._generation:
            return None
        size, uuids = self._biggest
        alive = [self._table.tasks[uuid] for uuid in uuids if uuid in self._table.tasks]
        if len(uuids) > 1:
            for record in alive:
                record.climb().alone = True
            return None
        if not alive:
            return None
        record = alive[0]
        ladder = record.climb()
        ladder.strikes += 1
        ladder.alone = True
        if ladder.strikes < 2:
            return None
        self.limit = size if self.limit is None else min(self.limit, size)
        return record

    def inbound(self, asked: TaskRecord | None) -> TaskRecord | None:
        """We closed with 1009. ``asked``: the one task in question. The task to fail, if known."""
        self._inbound += 1
        if self.abandon_session and asked is not None:
            self._inbound = 0
            self.abandon_session = False
            return asked
        self.abandon_session = self._inbound >= 2
        return None

    def forgive(self) -> None:
        """All went well for a while: the search for a culprit is over."""
        self._inbound = 0
        self.abandon_session = False

    def question_window(self, usual: int) -> int:
        """How many questions may be in flight: one while a culprit is searched."""
        return 1 if self.abandon_session else usual
