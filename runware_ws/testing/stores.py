"""Checks of a journal's store: try yours with them.

With pytest, all of it::

    import pytest
    from runware_ws.testing.stores import STORE_CHECKS, StoreCheck

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=str)
    def test_my_store(check: StoreCheck, tmp_path):
        check(lambda: MyStore(tmp_path / "journal"))

Without pytest, ``check(make)`` for each of ``STORE_CHECKS`` does the same: it raises
``AssertionError`` where the store does not do what :mod:`runware_ws.journal.store` says. Each check
wants a journal of its own, which is empty.

``make`` returns a new store of that journal, which is not open. Some checks kill an owner: they
fork, open a store in the child, and kill it with SIGKILL. For a store that lives in one process
only, say how one of its owners dies: ``check(make, kill=lambda store: store.die())``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runware_ws.testing.entry_checks import ENTRY_CHECKS
from runware_ws.testing.memory_store import MemoryJournal, MemoryStore
from runware_ws.testing.owner_checks import OWNER_CHECKS
from runware_ws.testing.store_bench import StoreBench, StoreMaker
from runware_ws.testing.store_likeness import Operation, check_like_memory, random_operations

__all__ = [
    "STORE_CHECKS",
    "MemoryJournal",
    "MemoryStore",
    "Operation",
    "StoreCheck",
    "StoreMaker",
    "check_like_memory",
    "random_operations",
]


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """One of ``STORE_CHECKS``. Call it with what makes a store, see the top of the module."""

    name: str
    _run: Callable[[StoreBench], None]

    def __call__(self, make: StoreMaker, *, kill: Callable[[Any], None] | None = None) -> None:
        """Run it on an empty journal.

        Raises:
            AssertionError: the store does not do what it must.
        """
        bench = StoreBench(make, kill)
        try:
            self._run(bench)
        finally:
            bench.close()

    def __str__(self) -> str:
        return self.name


STORE_CHECKS: Sequence[StoreCheck] = tuple(
    StoreCheck(run.__name__, run) for run in (*ENTRY_CHECKS, *OWNER_CHECKS)
)
"""All checks, each to be called with what makes a store."""
