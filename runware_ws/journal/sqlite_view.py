"""A journal in SQLite, as people look at it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from runware_ws.errors import JournalError
from runware_ws.journal.owner_locks import is_held, require_locks
from runware_ws.journal.sqlite_errors import explain, is_hidden, why_not
from runware_ws.journal.sqlite_files import resolved
from runware_ws.journal.sqlite_schema import recognise
from runware_ws.journal.sqlite_transaction import FIELDS, SqliteTransaction, entry_of
from runware_ws.journal.store import Entry, EntryState
from runware_ws.journal.viewing import Listed, OwnerState, can_be_recorded, is_number, prune_targets

__all__ = ["SqliteView"]

_STATES = (EntryState.OPEN, EntryState.DONE, EntryState.FAILED)
_BUSY_TIMEOUT = 10.0

_NEWEST = """
    SELECT t.name, e.uuid, e.key, e.attempt, e.state, coalesce(length(e.payload), e.size),
        e.created, e.ended, abs(e.owner), o.fenced, o.lock, o.host, o.pid
    FROM entries e JOIN targets t ON t.id = e.target LEFT JOIN owners o ON o.id = abs(e.owner)
    WHERE e.state = 0 OR NOT ? ORDER BY e.created DESC, e.id DESC LIMIT ?"""


class SqliteView:
    """See :class:`runware_ws.journal.viewing.View`.

    Raises:
        JournalError: it is not there, or cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = resolved(path)
        require_locks()
        self._locks = self._path.with_name(self._path.name + ".owners")
        if not (os.path.exists(self._path) or is_hidden(self._path)) and os.path.isdir(
            self._path.parent
        ):
            raise JournalError(f"{self._path}: there is no journal: look for its path")
        if not os.path.isfile(self._path):
            raise JournalError(f"{self._path}: {why_not(self._path)}")
        with self._explained():
            self._db = sqlite3.connect(
                f"{self._path.as_uri()}?mode=rw",
                uri=True,
                timeout=_BUSY_TIMEOUT,
                isolation_level=None,
            )
        try:
            with self._explained():
                recognise(self._db, self._path)
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        return str(self._path)

    def newest(self, limit: int, *, only_open: bool = False) -> Sequence[Listed]:
        with self._explained():
            rows = self._db.execute(_NEWEST, (only_open, limit)).fetchall()
        held: dict[str, bool] = {}
        listed: list[Listed] = []
        for target, uuid, key, attempt, state, size, created, ended, owner, *about in rows:
            fenced, lock, host, pid = cast("tuple[int, str | None, str, int]", about)
            if lock is not None and lock not in held:
                held[lock] = is_held(self._locks, lock)
            owner_state = OwnerState.GONE if lock is None else _liveness(bool(fenced), held[lock])
            listed.append(
                Listed(
                    *(target, uuid, key, attempt, _STATES[int(state)], size, created, ended),
                    *(owner, owner_state, host, pid),
                )
            )
        return listed

    def all_keys(self) -> Generator[tuple[str, str]]:
        """The targets and the keys of all entries that have a key."""
        with self._explained():
            yield from self._db.execute(
                "SELECT t.name, e.key FROM entries e JOIN targets t ON t.id = e.target "
                "WHERE e.key IS NOT NULL"
            )

    def find(self, name: str) -> Sequence[tuple[str, Entry]]:
        if not can_be_recorded(name):
            return []
        with self._explained():
            rows = self._db.execute(
                f"SELECT t.name, {FIELDS} FROM targets t JOIN entries ON target = t.id "
                "WHERE uuid = ? OR key = ? ORDER BY created",
                (name, name),
            ).fetchall()
        return [(row[0], entry_of(row[1:])) for row in rows]

    def prune(self, before: float) -> int:
        with self._explained():
            targets = self._db.execute("SELECT id FROM targets").fetchall()
            return prune_targets((target for (target,) in targets), self._transaction, before)

    def fence(self, owner: int) -> bool:
        if not is_number(owner):
            return False
        with self._explained(), self._transaction(0) as work:
            return work.fence(owner)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self, target: int) -> Generator[SqliteTransaction]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield SqliteTransaction(self._run, 0, target, lambda _: False)
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _run(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._db.execute(sql, values)

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise explain(exc, self._path, _BUSY_TIMEOUT) from exc


def _liveness(fenced: bool, held: bool) -> OwnerState:
    if fenced:
        return OwnerState.FENCED
    return OwnerState.ALIVE if held else OwnerState.DEAD
