"""Results that came too late or that nobody waits for, kept within limits for ``claim(uuid)``."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from runware_ws._core import wire
from runware_ws._core.tasks.items import are_copies

__all__ = ["Claims"]

MOST_ITEMS = 32
"""Results kept for one task; no model returns more at once."""

ENTRY = 400
"""The memory of a task's own entry, beside its items and its taskUUID, in bytes."""


class Claims:
    """Results that nobody waits for. Limited in tasks and in bytes of memory; the oldest go first.

    ``size`` is what they take up, within a factor of two. ``kept``, by taskUUID, is changed here
    only.
    """

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self.kept: OrderedDict[str, tuple[list[dict[str, Any]], int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self.kept)

    def add(self, uuid: str, item: dict[str, Any]) -> bool:
        """Keep ``item``. False if it was kept before, or is not kept."""
        items, weight = self.kept.get(uuid) or ([], ENTRY + uuid.__sizeof__())
        if len(items) >= MOST_ITEMS or any(are_copies(item, kept) for kept in items):
            return False
        added = wire.weight(item, self._limit_bytes)
        if weight + added > self._limit_bytes:
            # It would push out all others, and then itself.
            return False
        items.append(item)
        self.size += added if uuid in self.kept else weight + added
        self.kept[uuid] = (items, weight + added)
        self.kept.move_to_end(uuid)
        while len(self.kept) > self._limit or self.size > self._limit_bytes:
            _, (_, dropped) = self.kept.popitem(last=False)
            self.size -= dropped
        return True

    def take(self, uuid: str) -> list[dict[str, Any]] | None:
        """Return and forget what came for ``uuid``; ``None`` if nothing did."""
        found = self.kept.pop(uuid, None)
        if found is None:
            return None
        self.size -= found[1]
        return found[0]
