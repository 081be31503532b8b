"""From what a user gives as a journal to the store behind it."""

from __future__ import annotations

import os

from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.store import Store

__all__ = ["JournalPlace", "open_store"]

JournalPlace = str | os.PathLike[str] | Store
"""What can be given as a journal."""


def open_store(journal: JournalPlace) -> Store:
    """The store, not yet open."""
    return journal if isinstance(journal, Store) else SqliteStore(os.fspath(journal))
