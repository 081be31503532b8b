"""What came too late or for nobody: kept, bounded, for ``claim(uuid)``."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from runware_ws._core.states import TaskState

__all__ = ["Claims", "Tombstones"]

_BITS = 5
_END = 0b01111
_STREAM = 0b10000
_NEVER = float("inf")

MOST_ITEMS = 32
"""Results kept of one task; no model makes more at once."""


class Claims:
    """Results without a waiting owner. Bounded in tasks and bytes; the oldest go first."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._items: OrderedDict[str, tuple[list[dict[str, Any]], int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, uuid: str, item: dict[str, Any], size: int) -> bool:
        """Keep ``item``; ``size`` is what it weighs in bytes. False if it is not kept anew."""
        items, weight = self._items.pop(uuid, ([], 0))
        if len(items) >= MOST_ITEMS or item in items:
            self._items[uuid] = (items, weight)
            return False
        items.append(item)
        self._items[uuid] = (items, weight + size)
        self.size += size
        while len(self._items) > self._limit or self.size > self._limit_bytes:
            _, (_, dropped) = self._items.popitem(last=False)
            self.size -= dropped
        return uuid in self._items

    def take(self, uuid: str) -> list[dict[str, Any]] | None:
        """Hand out and forget what came for ``uuid``; ``None`` if nothing did."""
        found = self._items.pop(uuid, None)
        if found is None:
            return None
        self.size -= found[1]
        return found[0]


class Tombstones:
    """How recently ended tasks ended, so that a late copy is told from a stranger's.

    A copy can come as long as the server keeps its buffer, 120 s (documented).
    Entries are forgotten by the thousand, not one by one: each lives ``keep``
    seconds at least, and twice that at most. But there are never more than
    ``limit``: if more come, only the newest half of that many is sure.
    """

    def __init__(self, limit: int = 65_536, keep: float = 180.0) -> None:
        self._half = limit // 2
        self._keep = keep
        # The end, and the number of the socket on which the task was last written, in one number:
        # a pair for each entry would be one more object for the collector to look at. The first
        # entry of all is old at once, so that it does not live for longer than others.
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._turn_at = _NEVER

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(
        self, uuid: str, end: TaskState, now: float, generation: int, *, stream: bool = False
    ) -> bool:
        """Remember that ``uuid`` ended so at ``now``; ``generation``: where it was last written.

        True if :meth:`next_expiry` is another now.
        """
        young = self._young
        young[uuid] = generation << _BITS | (_STREAM if stream else 0) | end
        if self._turn_at == _NEVER or len(young) >= self._half:
            self._turn(now)
            return True
        return False

    def _turn(self, now: float) -> None:
        self._old, self._young = self._young, {}
        self._turn_at = now + self._keep if self._old else _NEVER

    def get(self, uuid: str) -> TaskState | None:
        """How ``uuid`` ended; ``None`` if it is not remembered."""
        found = self._young.get(uuid) or self._old.get(uuid)
        return None if found is None else TaskState(found & _END)

    def was_stream(self, uuid: str) -> bool:
        """Whether ``uuid`` is remembered, and was a stream."""
        return bool(((self._young.get(uuid) or self._old.get(uuid)) or 0) & _STREAM)

    def take(self, uuid: str) -> int:
        """Drop one entry; on which socket it was last written, 0 if it is not remembered."""
        old = self._old.pop(uuid, 0)
        return (self._young.pop(uuid, 0) or old) >> _BITS

    def next_expiry(self) -> float:
        """When the oldest entries are to go; infinite if there are none."""
        return self._turn_at

    def expire(self, now: float) -> None:
        """Drop what is old enough."""
        if now >= self._turn_at:
            self._turn(now)
