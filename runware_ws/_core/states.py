"""The states of a connection and of a task, and which may follow which.

The tables below are the whole truth: a pair that is not listed is a bug in
this library and raises at once, in every build. The diagrams in
``docs/recovery.md`` are drawn from them.
"""

from __future__ import annotations

from enum import Enum, IntEnum

__all__ = [
    "CANCELLED",
    "CONNECTION_TRANSITIONS",
    "DONE",
    "END_STATES",
    "FAILED",
    "FOREVER",
    "QUEUED",
    "READY",
    "TASK_TRANSITIONS",
    "WAITING",
    "WRITTEN",
    "ConnectionState",
    "IllegalTransition",
    "TaskState",
    "check_connection",
    "check_task",
]


FOREVER = float("inf")
"""A time that never comes."""


class IllegalTransition(AssertionError):
    """A change of state that the tables do not list. Always a bug in this library."""


class ConnectionState(Enum):
    """The state of a client's one connection."""

    IDLE = "idle"
    BACKOFF = "backoff"
    DIALING = "dialing"
    AUTHENTICATING = "authenticating"
    READY = "ready"
    CLOSED = "closed"
    FAILED = "failed"


_C = ConnectionState

# Why these and no others:
#
# * IDLE is left once. A client that was closed before it ever dialled goes
#   straight to CLOSED.
# * A dial that fails, an authentication that is refused or times out, and a
#   ready socket that dies all lead to BACKOFF, never straight to DIALING: every
#   redial is drawn from the backoff, even the first, so that thousands of clients
#   that lose one server at once do not come back at once.
# * AUTHENTICATING -> AUTHENTICATING: the server refused the *session* with an
#   error and kept the socket; we authenticate afresh on the same socket, once.
# * FAILED is for refusals that another dial cannot cure (a refused key, a
#   broken TLS chain, a protocol error that came twice). Only closing leaves it.
CONNECTION_TRANSITIONS: dict[ConnectionState, frozenset[ConnectionState]] = {
    _C.IDLE: frozenset({_C.BACKOFF, _C.DIALING, _C.CLOSED}),
    _C.BACKOFF: frozenset({_C.DIALING, _C.FAILED, _C.CLOSED}),
    _C.DIALING: frozenset({_C.AUTHENTICATING, _C.BACKOFF, _C.FAILED, _C.CLOSED}),
    _C.AUTHENTICATING: frozenset({_C.AUTHENTICATING, _C.READY, _C.BACKOFF, _C.FAILED, _C.CLOSED}),
    _C.READY: frozenset({_C.BACKOFF, _C.FAILED, _C.CLOSED}),
    _C.FAILED: frozenset({_C.CLOSED}),
    _C.CLOSED: frozenset(),
}


class TaskState(IntEnum):
    """Where a task is in its life. The ends come last, so ``>= DONE`` means ended."""

    WAITING = 0
    QUEUED = 1
    WRITTEN = 2
    ACKNOWLEDGED = 3
    RECOVERING = 4
    DONE = 5
    FAILED = 6
    TIMED_OUT = 7
    CANCELLED = 8
    UNKNOWN = 9
    CLOSED = 10


_T = TaskState

# Looking up an enum member takes ten times as long as a module's own name (CPython 3.11), and each
# task uses these several times.
WAITING, QUEUED, WRITTEN = _T.WAITING, _T.QUEUED, _T.WRITTEN
DONE, FAILED, CANCELLED = _T.DONE, _T.FAILED, _T.CANCELLED
READY = _C.READY

END_STATES = frozenset({_T.DONE, _T.FAILED, _T.TIMED_OUT, _T.CANCELLED, _T.UNKNOWN, _T.CLOSED})

# Why these and no others:
#
# * WAITING (no room in flight) and QUEUED (admitted, not written) have never
#   touched a socket. They can end in any way all the same, because the taskUUID may
#   have been used before: by an earlier process whose buffered result comes now, or
#   by a first try, which may have left its result or may be unknown.
# * QUEUED -> RECOVERING is for a second try: its taskUUID was given up without an
#   answer before, so the server may have it. The server is asked before anything
#   is sent. WRITTEN -> QUEUED: the socket was found closed before the first byte of
#   the frame was handed over.
# * WRITTEN, ACKNOWLEDGED -> RECOVERING: the socket that carried them died.
# * RECOVERING never leads back to WRITTEN: a resent task is still recovering. It
#   ends, or goes on recovering.
TASK_TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    _T.WAITING: frozenset({_T.QUEUED}) | END_STATES,
    _T.QUEUED: frozenset({_T.WRITTEN, _T.RECOVERING}) | END_STATES,
    _T.WRITTEN: frozenset({_T.QUEUED, _T.ACKNOWLEDGED, _T.RECOVERING}) | END_STATES,
    _T.ACKNOWLEDGED: frozenset({_T.RECOVERING}) | END_STATES,
    _T.RECOVERING: END_STATES,
    _T.DONE: frozenset(),
    _T.FAILED: frozenset(),
    _T.TIMED_OUT: frozenset(),
    _T.CANCELLED: frozenset(),
    _T.UNKNOWN: frozenset(),
    _T.CLOSED: frozenset(),
}


def check_connection(old: ConnectionState, new: ConnectionState) -> ConnectionState:
    """Return ``new`` if ``old -> new`` is listed, otherwise raise :class:`IllegalTransition`."""
    if new not in CONNECTION_TRANSITIONS[old]:
        raise IllegalTransition(f"connection: {old.name} -> {new.name} is not in the table")
    return new


# The same table as bits, because every task passes here several times.
_TASK_BITS = tuple(sum(1 << new for new in TASK_TRANSITIONS[old]) for old in TaskState)


def check_task(old: TaskState, new: TaskState) -> TaskState:
    """Return ``new`` if ``old -> new`` is listed, otherwise raise :class:`IllegalTransition`."""
    if not _TASK_BITS[old] >> new & 1:
        raise IllegalTransition(f"task: {old.name} -> {new.name} is not in the table")
    return new
