"""A journal in PostgreSQL: for the processes of many hosts. With the extra ``postgres``.

An owner's connection holds an advisory lock, which the server frees when the connection ends. So
an owner that lost its connection may be taken for dead by others. It connects again before its
next transaction: if it was adopted meanwhile it finds itself fenced, otherwise it takes the lock
again. The connection must be the client's own: a pool that gives each transaction another one
(PgBouncer's ``transaction`` mode) keeps no locks, and is refused, see ``postgres_pooler.py``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from psycopg import Connection, Notify
from psycopg.conninfo import conninfo_to_dict

from runware_ws.errors import Fenced, JournalError
from runware_ws.journal.forks import on_fork
from runware_ws.journal.postgres_errors import explain, place_of, pooled
from runware_ws.journal.postgres_pooler import is_pooled
from runware_ws.journal.postgres_schema import LOCKS, prepare
from runware_ws.journal.postgres_transaction import NOW, PostgresTransaction, Unsure

__all__ = ["PostgresStore"]

_PARAMETERS = {
    # Whatever the database's is: what it cannot keep is then refused by itself.
    "client_encoding": "utf8",
    "application_name": "runware-ws",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Unless the URL says otherwise: a link that is dead is noticed within half a minute."""

_SETTINGS = (
    # Whatever the database's is: each statement must see what others have committed by then. Who
    # takes a dead owner's entries over would miss the last ones otherwise, and forget the owner.
    "SET default_transaction_isolation = 'read committed'",
    # Who is frozen in a transaction keeps nobody waiting, and a host that lost its power is dead.
    "SET idle_in_transaction_session_timeout = '10s'",
    "SET lock_timeout = '15s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET client_min_messages = 'warning'",
    # A limit that the database has for its other users would end the same transaction each time it
    # is tried again, or take an idle owner's lock from it. Older servers do not know them all.
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN "
    "('statement_timeout', 'transaction_timeout', 'idle_session_timeout')",
)

_OTHERS_TOO = 15.0
"""So many seconds after an owner lost its connection it takes nobody for dead whose lock is free:
the database was away, and the others have to come back as well. So many seconds after the database
started, nobody takes those for dead who had their lock before."""

_left_open: list[Connection[Any]] = []
"""In a forked child: connections that must not be closed there."""


class PostgresStore:
    """A journal in the database at ``url``, in its schema ``runware_ws``; created if missing.

    Raises:
        ConfigurationError: it is no URL of PostgreSQL's.
    """

    def __init__(self, url: str) -> None:
        self._place = place_of(url)
        self._url = url
        self.guard = threading.RLock()
        self._db: Connection[Any] | None = None
        self._lost = False
        self._pid = 0
        self.owner = 0
        """The number of this owner, once it is open."""
        self._target = 0
        self._version = 0
        self._unsure = Unsure()
        # On the monotonic clock: until then a free lock says nothing.
        self._patient_until = 0.0

    def __repr__(self) -> str:
        return f"PostgresStore({self._place!r})"

    @property
    def place(self) -> str:
        """The URL, without a password."""
        return self._place

    def open(self, target: str, now: float) -> None:
        """See :meth:`runware_ws.journal.store.Store.open`."""
        with self.guard:
            if self.owner:
                raise JournalError(f"{self._place}: this store is open already: make another one")
            try:
                with self._explained():
                    db = self._connect()
                    prepare(db, self._place)
                    self._register(db, target)
            except BaseException:
                self._disconnect()
                raise
            on_fork(self)

    def _connect(self) -> Connection[Any]:
        given = conninfo_to_dict(self._url)
        wanted: dict[str, Any] = {k: v for k, v in _PARAMETERS.items() if k not in given}
        self._db = db = psycopg.connect(self._url, autocommit=True, prepare_threshold=2, **wanted)
        if is_pooled(db, lambda: psycopg.connect(self._url, autocommit=True, **wanted)):
            raise pooled(self._place)
        for setting in _SETTINGS:
            db.execute(cast("Any", setting))
        db.add_notify_handler(self._notified)
        db.execute("LISTEN runware_ws_journal")
        return db

    def _register(self, db: Connection[Any], target: str) -> None:
        with db.transaction():
            values = (target,)
            db.execute(
                "INSERT INTO runware_ws.targets (name) VALUES (%s) ON CONFLICT DO NOTHING", values
            )
        self._target = _one(db, "SELECT id FROM runware_ws.targets WHERE name = %s", (target,))
        owner = _one(db, "SELECT nextval('runware_ws.owner_numbers')")
        # The lock first: an owner that is known and whose lock is free counts as dead.
        self._lock(db, owner)
        db.execute(
            "INSERT INTO runware_ws.owners (id, target, host, pid, since) "
            f"VALUES (%s, %s, %s, %s, {NOW})",
            (owner, self._target, socket.gethostname(), os.getpid()),
        )
        self.owner = owner

    def _lock(self, db: Connection[Any], owner: int) -> None:
        _, self._pid = db.execute(
            "SELECT pg_advisory_lock(%s, %s), pg_backend_pid()", (LOCKS, owner)
        ).fetchone() or (None, 0)

    @contextmanager
    def transaction(self) -> Generator[PostgresTransaction]:
        """See :meth:`runware_ws.journal.store.Store.transaction`."""
        with self.guard, self._explained():
            db = self._connected()
            with db.cursor(binary=True) as cursor:
                work = PostgresTransaction(
                    *(cursor, self.owner, self._target, self._unsure),
                    patient=time.monotonic() < self._patient_until,
                    others_too=_OTHERS_TOO,
                )
                try:
                    cursor.execute("BEGIN")
                    if not work.check():
                        raise self._fenced()
                    if work.backend != self._pid:
                        raise pooled(self._place)
                    yield work
                    cursor.execute("SELECT pg_notify('runware_ws_journal', %s)", (str(self.owner),))
                    self._commit(cursor, work.did)
                except BaseException:
                    self._roll_back(db)
                    raise
                finally:
                    work.over()

    def _commit(self, cursor: psycopg.Cursor[Any], did: Unsure) -> None:
        try:
            cursor.execute("COMMIT")
        except psycopg.OperationalError as exc:
            if cursor.connection.broken:  # Nobody knows whether it arrived.
                self._unsure.uuids |= did.uuids
                self._unsure.adopted += did.adopted
                self._unsure.session = did.session or self._unsure.session
                told = explain(exc, self._place, away=True)
                told.in_doubt = True
                raise told from exc
            raise
        self._unsure.uuids.clear()
        self._unsure.adopted.clear()
        self._unsure.session = None

    def version(self) -> int:
        """See :meth:`runware_ws.journal.store.Store.version`. It also changes while there is no
        connection, so that whoever waits for it tries a transaction, and with it to connect."""
        with self.guard:
            if self._db is None:
                if not self.owner:
                    raise self._not_open()
                self._version += 1
                return self._version
            try:
                self._db.pgconn.consume_input()
                while (notified := self._db.pgconn.notifies()) is not None:
                    if notified.extra != str(self.owner).encode():
                        self._version += 1
            except psycopg.Error:
                self._version += 1
                self._disconnect()
            return self._version

    def fence(self, owner: int) -> bool:
        """See :meth:`runware_ws.journal.store.Store.fence`."""
        with self.transaction() as work:
            return work.fence(owner)

    def close(self) -> None:
        """See :meth:`runware_ws.journal.store.Store.close`. Never raises."""
        with self.guard:
            db = self._db
            if db is not None and not db.closed:
                with contextlib.suppress(JournalError, psycopg.Error):
                    with self.transaction() as work:
                        work.leave()
                    # The server notices the end of a connection a little later.
                    db.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCKS, self.owner))
            self._disconnect()
            self.owner = 0

    def leave_to_parent(self, *, calm: bool) -> None:
        """See :class:`runware_ws.journal.forks.Forkable`."""
        db, self._db = self._db, None
        self.owner = 0
        if db is not None and not db.closed:
            # To close it would tell the server that the parent goes. Only the child's end of the
            # socket is closed; otherwise it would keep the parent's lock once the parent is dead.
            os.close(db.fileno())
            _left_open.append(db)

    # Inside

    def _connected(self) -> Connection[Any]:
        """The connection, a new one if it was lost."""
        if not self.owner:
            raise self._not_open()
        if self._db is not None and not self._db.closed:
            return self._db
        before = self._pid
        self._disconnect()
        try:
            db = self._connect()
            self._take_lock_again(db, before)
        except BaseException:
            self._disconnect()
            raise
        self._version += 1  # What was told meanwhile was not heard.
        self._patient_until = time.monotonic() + _OTHERS_TOO
        return db

    def _take_lock_again(self, db: Connection[Any], before: int) -> None:
        # The server may not have noticed that the connection is lost, which still has the lock.
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND classid = %s AND objid = %s AND objsubid = 2 AND pid = %s AND granted "
            "AND mode = 'ExclusiveLock'",
            (LOCKS, self.owner, before),
        )
        self._lock(db, self.owner)
        mine = db.execute(
            f"UPDATE runware_ws.owners SET since = {NOW} WHERE id = %s AND NOT fenced",
            (self.owner,),
        )
        if not mine.rowcount:
            raise self._fenced()

    def _fenced(self) -> Fenced:
        return Fenced(
            f"{self._place}: this client was declared dead, and its tasks are another's by now: "
            "make a new client"
        )

    def _not_open(self) -> JournalError:
        return JournalError(
            f"{self._place}: the journal is not open here: "
            "a store is of one process, from its open to its close"
        )

    def _notified(self, notify: Notify) -> None:
        if notify.payload != str(self.owner):
            self._version += 1

    def _roll_back(self, db: Connection[Any]) -> None:
        try:
            if not db.closed:
                db.execute("ROLLBACK")
        except psycopg.Error:
            self._disconnect()

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(psycopg.Error):
                db.close()

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (psycopg.Error, UnicodeError) as exc:
            away = self._db is None or self._db.closed
            raise explain(exc, self._place, away=away) from exc


def _one(db: Connection[Any], sql: Any, values: tuple[object, ...] = ()) -> Any:
    row = db.execute(sql, values).fetchone()
    return None if row is None else row[0]
