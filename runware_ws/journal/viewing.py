"""A journal as people look at it: all targets, and no owner that anybody could adopt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from runware_ws.journal.store import Entry, EntryState, Transaction

__all__ = ["Listed", "OwnerState", "View", "can_be_recorded", "is_number", "prune_targets"]

_UNBOUNDED = 1 << 62  # bytes


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


def can_be_recorded(name: str) -> bool:
    """Whether a key or a taskUUID can be this."""
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, or a byte that was no text
        return False
    return "\0" not in name


def is_number(owner: int) -> bool:
    """Whether the number of an owner can be this."""
    return 0 < owner < 1 << 31


def prune_targets(
    targets: Iterable[int],
    transaction: Callable[[int], AbstractContextManager[Transaction]],
    before: float,
) -> int:
    """Forget what ended before, lot by lot, each in a transaction on its target; how many went."""
    gone = 0
    for target in targets:
        while True:
            with transaction(target) as work:
                now_gone = work.prune(before, _UNBOUNDED)
            gone += now_gone
            if not now_gone:
                break
    return gone


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
