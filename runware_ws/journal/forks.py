"""What becomes of open stores when the process forks.

A forked child must keep nothing of its parent's store:

- The owner's lock would outlive the parent in it, and nobody could adopt the parent's tasks.
- SQLite keeps one account of its file locks for the whole process. A child that inherits it, and
  opens the same file, holds no lock of its own, so its parent deletes the write-ahead log under it.

So the fork waits until no store is in a transaction, and the child then closes what it got.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["Forkable", "on_fork"]

_PATIENCE = 30.0
"""How many seconds a fork waits for the transactions of other threads."""


class Forkable(Protocol):
    """A store that is open. ``guard`` is held while it does anything."""

    guard: threading.RLock

    def leave_to_parent(self, *, calm: bool) -> None:
        """In a forked child: give up everything, without a trace on the parent's.

        ``calm``: nothing was going on in it when the process forked.
        """
        ...


_open: weakref.WeakSet[Forkable] = weakref.WeakSet()


class _Held(threading.local):
    """What the thread that forks holds meanwhile, and whether it got each."""

    def __init__(self) -> None:
        self.stores: list[tuple[Forkable, bool]] = []


_held = _Held()


def on_fork(store: Forkable) -> None:
    """Look after ``store`` when this process forks."""
    _open.add(store)


def _before() -> None:
    for store in list(_open):
        _held.stores.append((store, store.guard.acquire(timeout=_PATIENCE)))


def _in_parent() -> None:
    while _held.stores:
        store, taken = _held.stores.pop()
        if taken:
            store.guard.release()


def _in_child() -> None:
    _open.clear()
    while _held.stores:
        store, taken = _held.stores.pop()
        store.leave_to_parent(calm=taken)
        if taken:
            store.guard.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
