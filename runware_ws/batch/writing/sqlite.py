"""SQLite: the table ``answers``, one row a line, there as soon as the line ends."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Container, Generator, Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from runware_ws.batch.writing.base import (
    Order,
    PriorAnswers,
    Row,
    check_source,
    foreign,
    key_of,
    row_error,
    unwritable,
)
from runware_ws.batch.writing.entries import (
    COLUMNS,
    OURS,
    ROW,
    AnswerEntry,
    bill_of,
    key_text,
    record_of,
    row_of,
)
from runware_ws.batch.writing.files import Lock, require_same
from runware_ws.batch.writing.jsontext import dumps, loads
from runware_ws.batch.writing.stale import Stale
from runware_ws.cli.exits import ExitCode, Stop

__all__ = ["SqliteWriter"]

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another program that holds the database."""

_OURS = 0x52575753  # "RWWS": SQLite keeps a place for it in the file's header.
_VERSION = 1
_TYPES = {int: "INTEGER", float: "REAL", bool: "INTEGER", str: "TEXT"}
_NAMES = ", ".join(COLUMNS)
_TABLE = ", ".join(
    f"{name} {_TYPES[kind]}"
    + {"key": " NOT NULL PRIMARY KEY", "line": " NOT NULL", "source": " NOT NULL"}.get(name, "")
    for name, kind in COLUMNS.items()
)
_PUT = (
    f"INSERT INTO answers ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{n} = excluded.{n}' for n in COLUMNS)} "
    # A result beats every error.
    "WHERE NOT (answers.error_type IS NULL AND excluded.error_type IS NOT NULL)"
)


class SqliteWriter:
    """Each line is a transaction of its own; the protocol is :class:`~.base.Writer`.

    Raises:
        Stop: the file is not ours, or cannot be written.
    """

    can_resume = True

    def __init__(self, path: Path, name: str, *, sort: bool, source: str, lock: Lock) -> None:
        self.name = name
        self._source, self._sort, self._lock = source, sort, lock
        self._stale = Stale(path, (OURS, ROW), source)
        self._aside: set[int] = set()
        self._prior = PriorAnswers()
        self._written = 0
        with self._said():
            # A loop may open it in a thread, so that nothing else waits.
            self._db = sqlite3.connect(
                path, isolation_level=None, timeout=BUSY_TIMEOUT, check_same_thread=False
            )
            try:
                self._prepare()
                self._path, self._held = path, os.stat(path)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        mark = self._number("PRAGMA application_id")
        version = self._number("PRAGMA user_version")
        tables = self._number("SELECT count(*) FROM sqlite_master")
        if mark == _OURS and version > _VERSION:
            raise Stop(
                ExitCode.USAGE,
                f"{self.name}: a newer version of this command wrote it: upgrade, "
                "or choose another output",
            )
        if mark != _OURS and (tables or mark):
            raise foreign(self.name)
        if mark != _OURS:
            self._db.executescript(
                f"BEGIN; CREATE TABLE answers ({_TABLE}); PRAGMA application_id = {_OURS}; "
                f"PRAGMA user_version = {_VERSION}; COMMIT;"
            )

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])

    @contextmanager
    def _said(self) -> Generator[None]:
        """Turn SQLite's errors into one line."""
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            code = getattr(exc, "sqlite_errorname", "")
            if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_SCHEMA")):
                raise foreign(self.name) from None
            cure = ""
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                cure = ": close the program that holds it, then run it again"
            elif code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
                cure = ": make room, then run it again"
            if isinstance(exc, OSError):
                raise unwritable(self.name, exc, self._written) from None
            kept = f"; the {self._written} lines before are kept" if self._written else ""
            raise Stop(
                ExitCode.USAGE, f"{self.name}: cannot be written: {exc}{kept}{cure}"
            ) from None

    def _rows(self, more: str = "", *values: object) -> Iterator[Row]:
        cursor = self._db.execute(f"SELECT {_NAMES} FROM answers {more}", values)
        for cells in cursor:
            row: Row = dict(zip(COLUMNS, cells, strict=True))
            if row["error_retryable"] is not None:
                row["error_retryable"] = bool(row["error_retryable"])
            yield row

    def known(self, watched: Container[str] = frozenset()) -> PriorAnswers:
        """What earlier runs wrote."""
        prior = PriorAnswers(watched=watched)
        with self._said():
            prior.aside = self._stale.known(watched)
            for row in self._rows():
                place = f"{self.name}: line {row['line']}"
                key = key_of(row["key"])
                if key is None:
                    raise foreign(place)
                check_source(place, row["source"], self._source)
                prior.note(key, row_error(row))
                prior.count(key, row["task_uuid"], bill_of(row))
            prior.bill = prior.bill.plus(prior.aside.bill)
        self._prior = prior
        return prior

    def set_aside(self, keys: Set[int]) -> None:
        """Move these to ``OUT.stale`` in the end."""
        self._aside |= keys

    def bring_back(self, keys: Set[int]) -> None:
        """Move these from ``OUT.stale`` to the table."""
        with self._said(), self._stale.taking(keys) as lines:
            for line in lines:
                self._put(row_of(loads(line)))

    def write(self, entry: AnswerEntry) -> None:
        """Put one row, at once."""
        row = row_of(record_of(entry, self._source, OURS))
        with self._said():
            require_same(self._path, self._held)
            if not self._written:
                # A kill loses no row, and readers are not in the way.
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
            if entry.key in self._prior.errors:
                self._keep_paid(entry.key)
            self._put(row)
        self._written += 1

    def _put(self, row: Row) -> None:
        self._db.execute(_PUT, tuple(row.values()))

    def _keep_paid(self, key: int) -> None:
        old = list(self._rows("WHERE key = ?", key_text(key)))
        self._stale.add(dumps(row) + b"\n" for row in old if bill_of(row))

    def finish(self, order: Order | None = None) -> None:
        """Set aside what is stale; with ``sort``, put the rows in the order of the input."""
        with self._said():
            require_same(self._path, self._held)
            for key in self._aside:
                old = list(self._rows("WHERE key = ?", key_text(key)))
                self._stale.add(dumps(row) + b"\n" for row in old)
                self._db.execute("DELETE FROM answers WHERE key = ?", (key_text(key),))
            self._aside.clear()
            if self._sort and order is not None:
                self._put_in_order(order)
            self._leave_one_file()

    def _leave_one_file(self) -> None:
        """All in the file itself, and no log beside it unless somebody else has it open."""
        try:
            self._db.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError:
            busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise

    def _put_in_order(self, order: Iterable[tuple[int, int]]) -> None:
        db = self._db
        db.execute("CREATE TEMP TABLE wanted (key TEXT PRIMARY KEY, line INTEGER)")
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(
                "INSERT OR IGNORE INTO wanted VALUES (?, ?)",
                ((key_text(key), number) for key, number in order),
            )
            db.execute(
                "UPDATE answers SET line = wanted.line FROM wanted "
                "WHERE wanted.key = answers.key AND wanted.line <> answers.line"
            )
            db.execute("CREATE TEMP TABLE places (old INTEGER PRIMARY KEY, new INTEGER)")
            db.execute(
                "INSERT INTO places SELECT answers.rowid, row_number() OVER "
                "(ORDER BY wanted.rowid IS NULL, wanted.rowid, answers.rowid) "
                "FROM answers LEFT JOIN wanted USING (key)"
            )
            # Not a new table: the user's views and indexes are of this one. First to places that
            # nobody has.
            db.execute(
                "UPDATE answers SET rowid = -places.new FROM places "
                "WHERE places.old = answers.rowid AND places.old <> places.new"
            )
            db.execute("UPDATE answers SET rowid = -rowid WHERE rowid < 0")
            db.execute("DROP TABLE places")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        db.execute("DROP TABLE wanted")

    def close(self) -> None:
        """Close the database, and let go of the lock."""
        self._db.close()
        self._lock.release()
