"""The tables of a journal in SQLite: created, known again, refused."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from runware_ws.errors import JournalError

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "prepare", "recognise"]

APPLICATION_ID = 0x5257_4A4C
"""In the file's header, "RWJL": tells a journal from any other database."""

SCHEMA_VERSION = 1

_SCHEMA = (
    "CREATE TABLE targets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # AUTOINCREMENT: the number of an owner that is forgotten is never given again.
    """CREATE TABLE owners (
        id INTEGER PRIMARY KEY AUTOINCREMENT, target INTEGER NOT NULL, lock TEXT NOT NULL,
        host TEXT NOT NULL, pid INTEGER NOT NULL, since REAL NOT NULL,
        session TEXT, fenced INTEGER NOT NULL DEFAULT 0)""",
    # ``size`` is that of the outcome: kept beside it, so that an index has all that pruning needs.
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, target INTEGER NOT NULL, uuid TEXT NOT NULL, key TEXT,
        attempt INTEGER NOT NULL DEFAULT 1, digest BLOB NOT NULL, payload BLOB,
        owner INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0, outcome BLOB,
        size INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, ended REAL)""",
    "CREATE UNIQUE INDEX entry_of_uuid ON entries (target, uuid)",
    "CREATE UNIQUE INDEX entry_of_key ON entries (target, key) WHERE key IS NOT NULL",
    """CREATE INDEX left_by_owner ON entries (owner)
        WHERE state = 0 OR (state = 1 AND key IS NULL)""",
    "CREATE INDEX by_end ON entries (target, ended, size) WHERE ended IS NOT NULL",
)

_STEP = 0.02
_BUSY = 5


def prepare(db: sqlite3.Connection, path: Path, patience: float) -> None:
    """Make the database a journal if it is empty; nothing is written to one that is not.

    Raises:
        JournalError: it is not a journal, or newer than this library.
        sqlite3.Error: it cannot be read or written.
    """
    db.execute("BEGIN")  # So that what is read is of one moment.
    empty = _is_empty(db, path)
    db.execute("COMMIT")
    # Writers do not wait for each other in here, whatever the time limit: SQLite's rule.
    until = time.monotonic() + patience
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise JournalError(
                    f"{path}: this file system cannot hold a journal (SQLite finds no shared "
                    "memory): choose a path on a local disk"
                )
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != _BUSY or time.monotonic() > until:
                raise
            time.sleep(_STEP)
    if empty:
        db.execute("BEGIN IMMEDIATE")
        if _is_empty(db, path):
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


def recognise(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a journal, or not one yet.

    Raises:
        JournalError: it is not, or newer than this library.
        sqlite3.Error: it cannot be read.
    """
    if _is_empty(db, path):
        raise JournalError(f"{path}: there is no journal in this file yet: look for its path")


def _is_empty(db: sqlite3.Connection, path: Path) -> bool:
    """Whether nothing is in it yet. False: it is a journal that we can use."""
    application: int = db.execute("PRAGMA application_id").fetchone()[0]
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    tables: int = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == 0 and version == 0 and tables == 0:
        return True
    if application != APPLICATION_ID:
        raise JournalError(
            f"{path}: this is a database of another program, not a journal: choose another path"
        )
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path}: a newer runware-ws wrote this journal (its version is {version}, this one "
            f"knows up to {SCHEMA_VERSION}): upgrade with `pip install -U runware-ws`, "
            "or choose another path"
        )
    return False
