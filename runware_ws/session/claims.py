"""What came too late or for nobody: kept, bounded, for ``claim(uuid)``."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from runware_ws.session.states import TaskState

__all__ = ["Claims", "Tombstones"]

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
        """Keep ``item``; ``size`` is what it weighs in bytes. False where it is not kept anew."""
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
        """Hand out and forget what came for ``uuid``; ``None`` where nothing did."""
        found = self._items.pop(uuid, None)
        if found is None:
            return None
        self.size -= found[1]
        return found[0]


class Tombstones:
    """How recently ended tasks ended, so that a late copy is told from a stranger's.

    A copy can come as long as the server keeps its buffer, 120 s (documented);
    each entry lives ``keep`` seconds, and there are never more than ``limit``.
    """

    def __init__(self, limit: int = 65_536, keep: float = 180.0) -> None:
        self._limit = limit
        self._keep = keep
        self._ends: OrderedDict[str, tuple[TaskState, float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, uuid: str, end: TaskState, now: float, generation: int) -> None:
        """Remember that ``uuid`` ended so at ``now``; ``generation``: where it was last written."""
        self._ends[uuid] = (end, now, generation)
        if len(self._ends) > self._limit:
            self._ends.popitem(last=False)

    def get(self, uuid: str) -> TaskState | None:
        """How ``uuid`` ended; ``None`` where it is not remembered."""
        found = self._ends.get(uuid)
        return None if found is None else found[0]

    def take(self, uuid: str) -> int:
        """Drop one entry; on which socket it was last written, 0 where it is not remembered."""
        found = self._ends.pop(uuid, None)
        return 0 if found is None else found[2]

    def next_expiry(self) -> float:
        """When the oldest entry is to go; infinite where there is none."""
        if not self._ends:
            return float("inf")
        return next(iter(self._ends.values()))[1] + self._keep

    def expire(self, now: float) -> None:
        """Drop what is old enough."""
        while self._ends and self.next_expiry() <= now:
            self._ends.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._ends.clear()
