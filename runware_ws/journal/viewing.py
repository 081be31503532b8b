"""A journal as people look at it: all targets, and no owner that anybody could adopt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from runware_ws.journal.store import Entry, EntryState

__all__ = ["Listed", "OwnerState", "View"]


class OwnerState(StrEnum):
    """Of an owner. ``GONE``: it was closed, or adopted by another."""

    ALIVE = "alive"
    DEAD = "dead"
    FENCED = "fenced"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry without its contents. ``size``: bytes of the payload or the outcome.

    ``host`` and ``pid`` are the owner's; ``None`` if it is gone.
    """

    target: str
    uuid: str
    key: str | None
    attempt: int
    state: EntryState
    size: int
    created: float
    ended: float | None
    owner: int
    owner_state: OwnerState
    host: str | None
    pid: int | None


class View(Protocol):
    """All methods raise ``JournalError`` as those of a store do."""

    @property
    def place(self) -> str: ...

    def newest(self, limit: int, *, only_open: bool = False) -> Sequence[Listed]:
        """The entries that were begun last, the newest first."""
        ...

    def find(self, name: str) -> Sequence[tuple[str, Entry]]:
        """Entries with this key or taskUUID, each with its target."""
        ...

    def prune(self, before: float) -> int:
        """Forget what ended before; returns how many went."""
        ...

    def fence(self, owner: int) -> bool:
        """See :meth:`runware_ws.journal.store.Store.fence`."""
        ...

    def close(self) -> None: ...
