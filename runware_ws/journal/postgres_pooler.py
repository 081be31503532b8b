"""Whether a connection to PostgreSQL is the client's own, or a pooler's, lent for a transaction.

A lock, a LISTEN, a setting belong to a process of the server. A pooler in ``transaction`` mode
lends its connections for one transaction each, so the next one may be another process's, and the
locks stay with the first. Nothing says so, and everything seems to work.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import Connection

__all__ = ["is_pooled"]

_LOOKS = 4
_ANSWERS_WITHIN = 2.0
_PID = "SELECT pg_backend_pid()"


def is_pooled(db: Connection[Any], another: Callable[[], Connection[Any]]) -> bool:
    """Whether transactions of ``db`` may go to other processes of the server.

    ``another`` opens one more connection to the same address.

    Raises:
        psycopg.Error: there is no connection.
    """
    pids = {_pid_of(db) for _ in range(_LOOKS)}
    if len(pids) > 1:
        return True
    if pids == {db.info.backend_pid}:
        return False  # The server itself told who it is when we came.
    # Somebody stands between. If our process is lent to another client while we are idle, it is
    # not ours; poolers lend first what came back last.
    with contextlib.suppress(psycopg.Error), contextlib.closing(another()) as other:
        return _asked(other) in pids
    return False


def _pid_of(db: Connection[Any]) -> int:
    # Not prepared: that would be on one process, and might be missing on the next one.
    row = db.execute(_PID, prepare=False).fetchone()
    return 0 if row is None else int(row[0])


def _asked(db: Connection[Any]) -> int | None:
    """The same, if the answer comes soon: in a pool whose connections are all kept by clients it
    does not come at all."""
    until = time.monotonic() + _ANSWERS_WITHIN
    db.pgconn.send_query(_PID.encode())
    db.pgconn.flush()
    while db.pgconn.is_busy():
        if not select.select([db.fileno()], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        db.pgconn.consume_input()
    answer = db.pgconn.get_result()
    value = None if answer is None else answer.get_value(0, 0)
    return None if value is None else int(value)
