"""A journal in a SQLite file: for all processes of one host, on a disk of its own.

Write-ahead log, so readers and the one writer do not wait for each other. The file, its ``-wal``
and ``-shm`` are readable by their user alone, and are made so where they were not. Which owners
live is told by lock files in ``FILE.owners/``, see :mod:`runware_ws.journal.owner_locks`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

from runware_ws.errors import ConfigurationError, Fenced, JournalError
from runware_ws.journal.forks import on_fork
from runware_ws.journal.owner_locks import OwnerLock, is_held, remove, require_locks, sweep
from runware_ws.journal.sqlite_checkpoints import AUTOMATIC, Checkpoints, pragmas_of_sync
from runware_ws.journal.sqlite_errors import explain, explain_os, why_not
from runware_ws.journal.sqlite_files import (
    FileIds,
    close_without_copy,
    create_file,
    ids_of,
    make_private,
    require_one_name,
    resolved,
    which_is_lost,
)
from runware_ws.journal.sqlite_schema import prepare
from runware_ws.journal.sqlite_transaction import SqliteTransaction

__all__ = ["SqliteStore"]

_WAL_LIMIT = 64 << 20
"""The log is cut down to so many bytes when it was longer."""

_CHECK = "SELECT fenced FROM owners WHERE id = ?"

_left_open: list[sqlite3.Connection] = []
"""In a forked child: connections that must not be closed there."""


class SqliteStore:
    """A journal in the file ``path``; created if there is none.

    ``synchronous``: with ``"FULL"`` what was committed outlives a loss of power, with ``"NORMAL"``
    the death of the process only (and is faster). ``busy_timeout``: seconds to wait for another
    process that has the file locked.

    Raises:
        ConfigurationError: an option cannot work, or the system has no ``flock``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        busy_timeout: float = 10.0,
    ) -> None:
        if synchronous not in ("FULL", "NORMAL"):
            raise ConfigurationError(
                f"synchronous={synchronous!r}: must be FULL (outlives a loss of power) "
                "or NORMAL (outlives the process)"
            )
        self.path = resolved(path)
        require_locks()
        self.guard = threading.RLock()
        self._locks = self.path.with_name(self.path.name + ".owners")
        self.synchronous: Literal["FULL", "NORMAL"] = synchronous
        self._busy_timeout = busy_timeout
        self._checkpoints = Checkpoints(self.path, self.guard, synchronous)
        self._db: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._lock: OwnerLock | None = None
        self._files: FileIds = ()
        self.owner = 0
        """The number of this owner, once it is open."""
        self._target = 0

    @property
    def place(self) -> str:
        """The resolved path of the file."""
        return str(self.path)

    def open(self, target: str, now: float) -> None:
        """See :meth:`runware_ws.journal.store.Store.open`."""
        with self.guard:
            if self._db is not None:
                raise JournalError(f"{self.path}: this store is open already: make another one")
            try:
                with self._explained():
                    self._connect()
                    self._register(target, now)
            except BaseException:
                if self._lock is not None:
                    self._lock.remove()
                self._give_up()
                raise
            on_fork(self)

    def _connect(self) -> None:
        try:
            if self.path.exists() and not self.path.is_file():
                raise JournalError(f"{self.path}: {why_not(self.path)}")
            create_file(self.path)
            require_one_name(self.path)
        except OSError as exc:
            raise explain_os(exc, self.path) from exc
        self._db = db = sqlite3.connect(
            self.path,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        prepare(db, self.path, self._busy_timeout)
        make_private(self.path)
        for pragma in pragmas_of_sync(self.synchronous):
            db.execute(pragma)
        # Pages are changed again and again while tasks are in flight: held, and copied less often.
        db.execute("PRAGMA cache_size = -16000")
        db.execute(f"PRAGMA wal_autocheckpoint = {AUTOMATIC}")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        self._cursor = db.cursor()
        self._checkpoints.open()

    def _register(self, target: str, now: float) -> None:
        # The lock first: an owner that is known and whose lock is free counts as dead.
        try:
            self._lock = lock = OwnerLock(self._locks)
        except OSError as exc:
            raise explain_os(exc, self.path) from exc
        run = self._run
        run("BEGIN IMMEDIATE")
        run("INSERT INTO targets (name) VALUES (?) ON CONFLICT DO NOTHING", (target,))
        self._target = run("SELECT id FROM targets WHERE name = ?", (target,)).fetchone()[0]
        sweep(self._locks, {name for (name,) in run("SELECT lock FROM owners")} | {lock.name})
        run(
            "INSERT INTO owners (target, lock, host, pid, since) VALUES (?, ?, ?, ?, ?)",
            (self._target, lock.name, socket.gethostname(), os.getpid(), now),
        )
        self.owner = cast("sqlite3.Cursor", self._cursor).lastrowid or 0
        run("COMMIT")
        self._files = ids_of(self.path)

    @contextmanager
    def transaction(self) -> Generator[SqliteTransaction]:
        """See :meth:`runware_ws.journal.store.Store.transaction`."""
        with self.guard, self._explained():
            self._check_place()
            self._run("BEGIN IMMEDIATE")
            run = cast("sqlite3.Cursor", self._cursor).execute
            work = SqliteTransaction(run, self.owner, self._target, self._is_dead)
            try:
                row = run(_CHECK, (self.owner,)).fetchone()
                if row is None or row[0]:
                    raise Fenced(
                        f"{self.path}: this client was declared dead, and its tasks are "
                        "another's by now: make a new client"
                    )
                yield work
                run("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                work.over()
            for name in work.orphaned:
                remove(self._locks, name)
            if self._db is not None:
                self._checkpoints.committed(self._db.total_changes)

    def version(self) -> int:
        """See :meth:`runware_ws.journal.store.Store.version`."""
        with self.guard, self._explained():
            return cast("int", self._run("PRAGMA data_version").fetchone()[0])

    def fence(self, owner: int) -> bool:
        """See :meth:`runware_ws.journal.store.Store.fence`."""
        with self.transaction() as work:
            return work.fence(owner)

    def close(self) -> None:
        """See :meth:`runware_ws.journal.store.Store.close`. Never raises."""
        self._checkpoints.close()
        with self.guard:
            if self._db is None:
                return
            try:
                # An owner that leaves nothing need not be found dead by others.
                with self.transaction() as work:
                    work.leave()
            except JournalError:
                pass  # Whoever comes next adopts it.
            else:
                if self._lock is not None and work.left:
                    self._lock.remove()
            self._give_up()

    def leave_to_parent(self, *, calm: bool) -> None:
        """See :class:`runware_ws.journal.forks.Forkable`."""
        db, lock = self._db, self._lock
        self._db = self._cursor = self._lock = None
        if lock is not None:
            lock.let_go()
        if db is not None:
            if calm and not db.in_transaction:
                db.close()
            else:  # Closing would undo the parent's transaction.
                _left_open.append(db)

    # Inside

    def _run(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if self._cursor is None:
            raise JournalError(
                f"{self.path}: the journal is not open here: "
                "a store is of one process, from its open to its close"
            )
        return self._cursor.execute(sql, values)

    def _check_place(self) -> None:
        """Whether the open files are still those that others find by their names."""
        if self._db is not None and (lost := which_is_lost(self.path, self._files)):
            raise JournalError(
                f"{self.path}: the journal was removed or replaced while it was in use "
                f"(its {lost}): put it back, or end this client and make a new one"
            )

    def _is_dead(self, owner: int) -> bool:
        if owner == self.owner:
            return False
        row = self._run("SELECT fenced, lock FROM owners WHERE id = ?", (owner,)).fetchone()
        return row is None or bool(row[0]) or not is_held(self._locks, row[1])

    def _roll_back(self) -> None:
        if self._db is not None and self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")

    def _give_up(self) -> None:
        db, lock = self._db, self._lock
        self._db = self._cursor = self._lock = None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                if self._files and which_is_lost(self.path, self._files):
                    close_without_copy(db)
                else:
                    db.close()
        self._files = ()
        if lock is not None:
            lock.let_go()

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeError, OverflowError) as exc:
            raise explain(exc, self.path, self._busy_timeout) from exc
