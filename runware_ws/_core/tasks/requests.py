"""What tasks asked for that were given up, for their second tries to be compared with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Requests"]

LIMIT_BYTES = 1 << 24

ENTRY = 300
"""The memory of a task's own entry, beside its payload, in bytes."""


class Requests:
    """The payloads of the tasks that were given up last, by taskUUID, in 16 MiB of memory.

    They are kept as they are. To work out what each asks for would stall the loop where thousands
    are given up at once, and few of them are tried again.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, uuid: str, payload: bytes) -> None:
        """Keep what a task asked for; the oldest go first."""
        self.drop(uuid)
        self._kept[uuid] = payload
        self.size += len(payload) + ENTRY
        while self.size > self._limit_bytes:
            self.drop(next(iter(self._kept)))

    def get(self, uuid: str) -> bytes | None:
        """What this task asked for; ``None`` if it is not known any more."""
        return self._kept.get(uuid)

    def drop(self, uuid: str) -> None:
        """Forget one."""
        payload = self._kept.pop(uuid, None)
        if payload is not None:
            self.size -= len(payload) + ENTRY

    def keep_only(self, wanted: Callable[[str], bool]) -> None:
        """Forget all others."""
        for uuid in [uuid for uuid in self._kept if not wanted(uuid)]:
            self.drop(uuid)
