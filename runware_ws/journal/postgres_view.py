"""A journal in PostgreSQL, as people look at it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import Connection

from runware_ws.errors import JournalError
from runware_ws.journal.postgres_errors import explain, place_of
from runware_ws.journal.postgres_schema import LOCKS, recognise
from runware_ws.journal.postgres_transaction import FIELDS, PostgresTransaction, Unsure, entry_of
from runware_ws.journal.store import Entry, EntryState
from runware_ws.journal.viewing import Listed, OwnerState, can_be_recorded, is_number, prune_targets

__all__ = ["PostgresView"]

_STATES = (EntryState.OPEN, EntryState.DONE, EntryState.FAILED)

_NEWEST: LiteralString = """
    SELECT t.name, e.uuid, e.key, e.attempt, e.state, coalesce(length(e.payload), e.size),
        e.created, e.ended, abs(e.owner),
        CASE WHEN o.id IS NULL THEN 'gone' WHEN o.fenced THEN 'fenced'
            WHEN l.pid IS NULL THEN 'dead' ELSE 'alive' END, o.host, o.pid
    FROM runware_ws.entries e JOIN runware_ws.targets t ON t.id = e.target
    LEFT JOIN runware_ws.owners o ON o.id = abs(e.owner)
    LEFT JOIN pg_locks l ON l.locktype = 'advisory' AND l.classid::bigint = %s AND l.granted
        AND l.objid::bigint = abs(e.owner) AND l.objsubid = 2 AND l.mode = 'ExclusiveLock'
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    WHERE e.state = 0 OR NOT %s ORDER BY e.created DESC, e.uuid LIMIT %s"""


class PostgresView:
    """See :class:`runware_ws.journal.viewing.View`.

    Raises:
        JournalError: it is not there, or cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._place = place_of(url)
        self._db: Connection[Any] | None = None
        try:
            with self._explained():
                self._db = psycopg.connect(url, autocommit=True, connect_timeout=10)
                if not recognise(self._db, self._place):
                    raise JournalError(f"{self._place}: there is no journal: look for its database")
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        return self._place

    def newest(self, limit: int, *, only_open: bool = False) -> Sequence[Listed]:
        listed: list[Listed] = []
        for row in self._rows(_NEWEST, (LOCKS, only_open, limit)):
            target, uuid, key, attempt, state, size, created, ended, owner, owner_state, *who = row
            host, pid = who
            listed.append(
                Listed(
                    *(target, uuid, key, attempt, _STATES[int(state)], size, created, ended),
                    *(owner, OwnerState(owner_state), host, pid),
                )
            )
        return listed

    def find(self, name: str) -> Sequence[tuple[str, Entry]]:
        if not can_be_recorded(name):
            return []
        rows = self._rows(
            f"SELECT t.name, {FIELDS} FROM runware_ws.targets t JOIN runware_ws.entries e "
            "ON e.target = t.id WHERE uuid = %s OR key = %s ORDER BY created",
            (name, name),
        )
        return [(row[0], entry_of(row[1:])) for row in rows]

    def prune(self, before: float) -> int:
        targets = self._rows("SELECT id FROM runware_ws.targets")
        return prune_targets((target for (target,) in targets), self._transaction, before)

    def fence(self, owner: int) -> bool:
        if not is_number(owner):
            return False
        with self._transaction(0) as work:
            return work.fence(owner)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def _connection(self) -> Connection[Any]:
        assert self._db is not None
        return self._db

    @contextmanager
    def _transaction(self, target: int) -> Generator[PostgresTransaction]:
        db = self._connection()
        with self._explained(), db.transaction(), db.cursor() as cursor:
            yield PostgresTransaction(cursor, 0, target, Unsure())

    def _rows(self, sql: LiteralString, values: Sequence[Any] = ()) -> list[Any]:
        with self._explained():
            return self._connection().execute(sql, values).fetchall()

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except psycopg.Error as exc:
            away = self._db is None or self._db.closed
            raise explain(exc, self._place, away=away) from exc
