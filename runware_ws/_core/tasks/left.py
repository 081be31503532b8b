"""Streams that were given up. They are still read until the socket or POST that carries them ends.

The server cannot cancel (documented), so the answer is paid for anyway. A stream's answer is its
deltas, so they are collected, and the whole can be claimed. A cut ends that: after it, only the
archive has the answer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runware_ws._core.tasks.record import TaskRecord

__all__ = ["LeftStreams"]


class LeftStreams:
    """The newest ``limit`` such streams, by taskUUID."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: OrderedDict[str, TaskRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: TaskRecord) -> list[TaskRecord]:
        """Go on reading a stream that was given up; return the streams that this evicts."""
        self._records[record.uuid] = record
        over = len(self._records) - self._limit
        return [self._records.popitem(last=False)[1] for _ in range(over)]

    def get(self, uuid: str) -> TaskRecord | None:
        """The stream with this taskUUID; ``None`` if it is not being read."""
        return self._records.get(uuid)

    def forget(self, uuid: str) -> TaskRecord | None:
        """Stop reading it; return its record, or ``None`` if it was not being read."""
        return self._records.pop(uuid, None)

    def socket_lost(self) -> None:
        """The socket is gone, and so are the streams that it carried."""
        for uuid in [uuid for uuid, record in self._records.items() if record.generation >= 0]:
            del self._records[uuid]

    def clear(self) -> list[TaskRecord]:
        """Stop reading all of them; return their records."""
        records = list(self._records.values())
        self._records.clear()
        return records
