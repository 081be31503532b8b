"""SQLite's write-ahead log is copied into the database by a thread of its own.

By default whoever commits copies, and all who wait for a commit wait for the disk meanwhile. Here
most is copied beside the commits. What is durable, and when, stays as it was: it is SQLite that
syncs the log before it copies and the database afterwards, whichever connection does it, and a
commit syncs the log (``FULL``) or does not (``NORMAL``) regardless of that.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Literal, cast

from runware_ws.journal.forks import on_fork

__all__ = ["AUTOMATIC", "Checkpoints", "pragmas_of_sync"]

EVERY = 1_000
"""Copied is once so many rows have changed; each is some four pages of the log."""

RENEWED = 8_000
"""A log of so many pages is to be begun anew."""

AUTOMATIC = 16_000
"""With so many pages the one who commits copies after all: the thread could not keep up."""


def pragmas_of_sync(synchronous: Literal["FULL", "NORMAL"]) -> tuple[str, ...]:
    """What makes a connection sync as it should, also when it copies."""
    if synchronous == "NORMAL":
        return ("PRAGMA synchronous = NORMAL",)
    # What fsync does not do on macOS
    return "PRAGMA synchronous = FULL", "PRAGMA fullfsync = ON"


class Checkpoints:
    """For one store. ``commits`` is held while it is in a transaction.

    The connection is made for each time, so none is left when the store is closed, and a forked
    child gets none: a fork waits for ``guard``, as for ``commits``. Neither is taken while the
    other is held, here or there.
    """

    def __init__(
        self,
        path: Path,
        commits: AbstractContextManager[object],
        synchronous: Literal["FULL", "NORMAL"],
    ) -> None:
        self.guard = threading.RLock()
        self._path = path
        self._commits = commits
        self._pragmas = pragmas_of_sync(synchronous)
        self._thread: threading.Thread | None = None
        # So many rows had changed when it began last.
        self._begun_at = 0
        self._closed = False
        on_fork(self)

    def open(self) -> None:
        """The store was opened, perhaps not for the first time."""
        self._begun_at = 0
        self._closed = False

    def committed(self, changed: int) -> None:
        """Something was committed; with it ``changed`` rows since the store was opened."""
        if changed - self._begun_at < EVERY or self._closed:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        self._begun_at = changed
        self._thread = threading.Thread(target=self._run, name="runware_ws checkpoint", daemon=True)
        with suppress(RuntimeError):  # No more threads: it is done later.
            self._thread.start()

    def close(self) -> None:
        """Wait for what is being copied. Not to be called within a transaction."""
        self._closed = True
        if (thread := self._thread) is not None and thread.is_alive():
            thread.join()

    def leave_to_parent(self, *, calm: bool) -> None:
        """See :class:`runware_ws.journal.forks.Forkable`. The thread is not in the child."""
        self._closed = True

    def _run(self) -> None:
        # Whatever is wrong with the disk or the file, the commits will tell, and better.
        with suppress(sqlite3.Error):
            with self.guard:
                pages = self._copy("PASSIVE")
            if pages >= RENEWED:
                # The log is begun anew by the next to write, but only if all of it was copied, and
                # under load new pages have come meanwhile. They are few: commits wait for them.
                with self._commits:
                    self._copy("FULL")

    def _copy(self, mode: Literal["PASSIVE", "FULL"]) -> int:
        """How many pages the log had. Waits for nobody: not for one who reads, nor for another
        process that writes or copies."""
        with closing(
            sqlite3.connect(
                f"{self._path.as_uri()}?mode=rw", uri=True, timeout=0.0, isolation_level=None
            )
        ) as db:
            for pragma in self._pragmas:
                db.execute(pragma)
            return cast("int", db.execute(f"PRAGMA wal_checkpoint = {mode}").fetchone()[1])
