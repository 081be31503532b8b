"""Streams that were given up: they are listened to until they end on the way that carries them.

The server cannot cancel (documented), so their answer is paid for. A stream has no other answer
than its deltas, so they are gathered, and the whole waits for ``claim``. A cut ends that: then
only the archive has it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runware_ws._core.tasks.record import TaskRecord

__all__ = ["LeftStreams"]


class LeftStreams:
    """The newest ``limit`` of them, by taskUUID."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: OrderedDict[str, TaskRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: TaskRecord) -> list[TaskRecord]:
        """Listen to a stream that was given up; those that make way for it."""
        self._records[record.uuid] = record
        over = len(self._records) - self._limit
        return [self._records.popitem(last=False)[1] for _ in range(over)]

    def get(self, uuid: str) -> TaskRecord | None:
        """The stream of this taskUUID; ``None`` if it is not listened to."""
        return self._records.get(uuid)

    def forget(self, uuid: str) -> TaskRecord | None:
        """Listen to it no more."""
        return self._records.pop(uuid, None)

    def socket_lost(self) -> None:
        """The socket is gone, and with it what came over it."""
        for uuid in [uuid for uuid, record in self._records.items() if record.generation >= 0]:
            del self._records[uuid]

    def clear(self) -> list[TaskRecord]:
        """Listen to nobody any more; those that were listened to."""
        records = list(self._records.values())
        self._records.clear()
        return records
