"""The tables of a journal in PostgreSQL: in a schema of their own, created and known again."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import Connection

from runware_ws.errors import JournalError

__all__ = ["LOCKS", "SCHEMA_VERSION", "prepare", "recognise"]

SCHEMA_VERSION = 1

LOCKS = 0x5257_4A4C
"""The first number of all our advisory locks, "RWJL". The second is an owner's, or 0: creation."""

_SCHEMA: tuple[LiteralString, ...] = (
    "CREATE SCHEMA IF NOT EXISTS runware_ws",
    "CREATE TABLE runware_ws.journal (version integer NOT NULL)",
    """CREATE TABLE runware_ws.targets (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE)""",
    "CREATE SEQUENCE runware_ws.owner_numbers AS integer",
    """CREATE TABLE runware_ws.owners (
        id integer PRIMARY KEY, target integer NOT NULL, host text NOT NULL, pid integer NOT NULL,
        since double precision NOT NULL, session text, fenced boolean NOT NULL DEFAULT false)""",
    """CREATE TABLE runware_ws.entries (
        target integer NOT NULL, uuid text COLLATE "C" NOT NULL, key text COLLATE "C",
        attempt integer NOT NULL DEFAULT 1, digest bytea NOT NULL, payload bytea,
        owner integer NOT NULL, state smallint NOT NULL DEFAULT 0, outcome bytea,
        size integer NOT NULL DEFAULT 0, created double precision NOT NULL,
        ended double precision, PRIMARY KEY (target, uuid))""",
    """CREATE UNIQUE INDEX entry_of_key ON runware_ws.entries (target, key)
        WHERE key IS NOT NULL""",
    """CREATE INDEX left_by_owner ON runware_ws.entries (owner)
        WHERE state = 0 OR (state = 1 AND key IS NULL)""",
    """CREATE INDEX by_end ON runware_ws.entries (target, ended) INCLUDE (size)
        WHERE ended IS NOT NULL""",
)


def prepare(db: Connection[Any], place: str) -> None:
    """Create what is missing.

    Raises:
        JournalError: the journal is newer than this library.
        psycopg.Error: it cannot be read or written.
    """
    with db.transaction():
        # Two that create the same at once would fail, whatever IF NOT EXISTS says.
        db.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCKS,))
        if not recognise(db, place):
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute("INSERT INTO runware_ws.journal VALUES (%s)", (SCHEMA_VERSION,))


def recognise(db: Connection[Any], place: str) -> bool:
    """Whether there is a journal.

    Raises:
        JournalError: it is newer than this library.
        psycopg.Error: it cannot be read.
    """
    found = db.execute("SELECT to_regclass('runware_ws.journal')").fetchone()
    if found is None or found[0] is None:
        return False
    row = db.execute("SELECT version FROM runware_ws.journal").fetchone()
    version = 0 if row is None else row[0]
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{place}: a newer runware-ws wrote this journal (its version is {version}, this "
            f"one knows up to {SCHEMA_VERSION}): upgrade with `pip install -U runware-ws`, "
            "or choose another database"
        )
    return True
