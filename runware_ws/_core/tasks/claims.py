"""Results that came too late or that nobody waits for, kept within limits for ``claim(uuid)``."""

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
"""Results kept for one task; no model returns more at once."""


class Claims:
    """Results that nobody waits for. Limited in tasks and bytes; the oldest go first."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._items: OrderedDict[str, tuple[list[dict[str, Any]], int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, uuid: str, item: dict[str, Any], size: int) -> bool:
        """Keep ``item``, of ``size`` bytes. False if it was kept before, or is not kept."""
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
        """Return and forget what came for ``uuid``; ``None`` if nothing did."""
        found = self._items.pop(uuid, None)
        if found is None:
            return None
        self.size -= found[1]
        return found[0]


class Tombstones:
    """How recently ended tasks ended, so that a late copy is told from a stranger's.

    A copy can come as long as the server keeps its buffer, 120 s (documented).
    Entries are forgotten in bulk, not one by one: each lives for at least ``keep``
    seconds and at most twice that. But there are never more than ``limit``: if
    more come, only the newest ``limit / 2`` are certain to be remembered.
    """

    def __init__(self, limit: int = 65_536, keep: float = 180.0) -> None:
        self._half = limit // 2
        self._keep = keep
        # How the task ended and the socket on which it was last written, packed into one number:
        # a pair would be one more object per entry for the garbage collector. The very first
        # entry counts as old at once, so that it does not live longer than the others.
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._turn_at = _NEVER

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(
        self, uuid: str, end: TaskState, now: float, generation: int, *, stream: bool = False
    ) -> bool:
        """Remember how ``uuid`` ended, at ``now``. ``generation``: where it was last written.

        True if :meth:`next_expiry` has changed.
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
        """Drop one entry; return the socket on which it was last written, 0 if it is not known."""
        old = self._old.pop(uuid, 0)
        return (self._young.pop(uuid, 0) or old) >> _BITS

    def next_expiry(self) -> float:
        """When the oldest entries expire; infinite if there are none."""
        return self._turn_at

    def expire(self, now: float) -> None:
        """Drop the entries that have expired."""
        if now >= self._turn_at:
            self._turn(now)
