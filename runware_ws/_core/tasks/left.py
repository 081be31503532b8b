"""Streams that were given up. They are still read until the socket or POST that carries them ends.

The server cannot cancel (documented), so the answer is paid for anyway. A stream's answer is its
deltas, so they are collected, and the whole can be claimed. A cut ends that: after it, only the
archive has the answer.

Of a stream that another process sent, pieces may come too, and the last one looks like an answer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from runware_ws._core import wire

if TYPE_CHECKING:
    from runware_ws._core.tasks.record import TaskRecord

__all__ = ["LeftStreams"]


class LeftStreams:
    """The newest ``limit`` such streams, by taskUUID, in ``limit_bytes`` of memory.

    ``size`` is what they take up, within a factor of two. ``foreign``: the newest ``limit`` of
    those that were not sent by us. Both are changed here only.
    """

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self.records: OrderedDict[str, TaskRecord] = OrderedDict()
        self.foreign: OrderedDict[str, None] = OrderedDict()
        self._weights: dict[str, int] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self.records)

    def add(self, record: TaskRecord) -> list[TaskRecord]:
        """Go on reading a stream that was given up; return the streams that this evicts."""
        assert record.deltas is not None
        self.records[record.uuid] = record
        self._weights[record.uuid] = 0
        return self.grew(record, record.deltas.whole())

    def grew(self, record: TaskRecord, item: dict[str, Any]) -> list[TaskRecord]:
        """More of a stream came; return the streams that this evicts, maybe itself."""
        added = wire.weight(item, self._limit_bytes)
        self._weights[record.uuid] += added
        self.size += added
        evicted: list[TaskRecord] = []
        while len(self.records) > self._limit or self.size > self._limit_bytes:
            uuid, oldest = self.records.popitem(last=False)
            self.size -= self._weights.pop(uuid)
            evicted.append(oldest)
        return evicted

    def saw_piece(self, uuid: str) -> None:
        """A piece came of a stream that was not sent by us."""
        self.foreign[uuid] = None
        if len(self.foreign) > self._limit:
            self.foreign.popitem(last=False)

    def get(self, uuid: str) -> TaskRecord | None:
        """The stream with this taskUUID; ``None`` if it is not being read."""
        return self.records.get(uuid)

    def forget(self, uuid: str) -> TaskRecord | None:
        """Stop reading it; return its record, or ``None`` if it was not being read."""
        self.foreign.pop(uuid, None)
        self.size -= self._weights.pop(uuid, 0)
        return self.records.pop(uuid, None)

    def socket_lost(self) -> None:
        """The socket is gone, and so are the streams that it carried."""
        for uuid in [uuid for uuid, record in self.records.items() if record.generation >= 0]:
            self.forget(uuid)

    def clear(self) -> list[TaskRecord]:
        """Stop reading all of them; return their records."""
        records = list(self.records.values())
        self.records.clear()
        self.foreign.clear()
        self._weights.clear()
        self.size = 0
        return records
