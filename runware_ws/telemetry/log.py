"""The logger ``runware_ws``: what happens to the connection, and at DEBUG what happens to tasks.

A line says only what this library knows by itself. What the server says, and what is asked and
answered, is in no line: a server may repeat a prompt, and logs go far. The server's own words are
in errors and in ``client.events()``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from runware_ws._core.effects import TaskStep
from runware_ws._core.states import DONE, TaskState
from runware_ws.classify import LossKind
from runware_ws.errors import RunwareError, TaskError
from runware_ws.events import (
    BY_CALLER,
    Closed,
    Connected,
    DialFailed,
    Dialing,
    Disconnected,
    Draining,
    Event,
    KeyRefused,
    LateResult,
    MalformedFrame,
    NoHttpSide,
    PeerSuspected,
    ServerNotice,
    SessionLost,
    SessionResumed,
    UnknownTask,
)
from runware_ws.models.error_codes import ErrorFamily, family
from runware_ws.models.formats import is_uuid4

if TYPE_CHECKING:
    from runware_ws._core.effects import Tell
    from runware_ws._core.tasks.record import TaskRecord

__all__ = ["LogWatcher", "error_type"]

_LOG = logging.getLogger("runware_ws")
# Without one, warnings go to the standard error of a program that has not set up its logs.
_LOG.addHandler(logging.NullHandler())

Line = tuple[int, str, tuple[object, ...]]
"""A level, a text with places, and what belongs there."""

_HEAD = re.compile(
    rf"(?:{'|'.join(kind.value.replace('-', ' ') for kind in LossKind)})"
    r"(?:, code \d{1,5})?(?:, HTTP \d{1,3})?"
)
# What follows these comes from the operating system or from this library, never from the peer.
_OURS = frozenset({"closed", "dial failed", "open timeout", "dead peer", "key unavailable"})


def _cause(reason: str) -> str:
    """Why a socket ended, without the peer's own words."""
    found = _HEAD.match(reason)
    if found is None:
        return "see client.events()"
    return reason if found[0] in _OURS else found[0]


def error_type(error: RunwareError | None, state: TaskState) -> str | None:
    """The kind of error that ended a task, out of a closed list; ``None`` if it has a result."""
    if isinstance(error, TaskError):
        # The code is the server's own word, so its family stands for it.
        return f"TaskError.{error.family or ErrorFamily.UNKNOWN}"
    if error is not None:
        return type(error).__name__
    return None if state is DONE else "TaskCancelled"


def _rarely(count: int) -> int:
    """The level of the warning number ``count``: a peer that sends rubbish must not fill a log."""
    return logging.WARNING if count & (count - 1) == 0 else logging.DEBUG


def _disconnected(event: Disconnected) -> Line:
    if event.reason == BY_CALLER:
        return logging.DEBUG, "disconnected: %s", (BY_CALLER,)
    return (
        logging.WARNING,
        "connection lost (%s) with %d tasks pending",
        (_cause(event.reason), event.pending),
    )


def _key_refused(event: KeyRefused) -> Line:
    what = "the client ends" if event.final else "it is fetched once more"
    return logging.ERROR, "the server refused the API key: %s", (what,)


def _closed(event: Closed) -> Line:
    if not event.reason:
        return logging.INFO, "closed", ()
    return logging.ERROR, "the client has ended for good: see the errors of its tasks", ()


def _kept(event: LateResult | UnknownTask) -> Line:
    # The server may write anything into the place of a taskUUID.
    uuid = event.task_uuid if is_uuid4(event.task_uuid) else "(no taskUUID)"
    owner = "a task that had ended" if isinstance(event, LateResult) else "no task of this client"
    return logging.INFO, "a result came for %s, %s: claim() has it", (owner, uuid)


_LINES: dict[type[Event], Callable[[Any], Line]] = {
    Dialing: lambda e: (logging.DEBUG, "dialing, attempt %d", (e.attempt,)),
    DialFailed: lambda e: (
        logging.WARNING,
        "no connection (%s) at attempt %d; the next dial is in %.3g s",
        (_cause(e.reason), e.attempt, e.retry_after),
    ),
    Connected: lambda e: (
        logging.INFO,
        "connected, %s",
        ("and the session is resumed" if e.resumed else "in a new session",),
    ),
    Disconnected: _disconnected,
    SessionResumed: lambda e: (
        logging.INFO,
        "the replay is over: it brought %d answers",
        (e.replayed,),
    ),
    SessionLost: lambda e: (
        logging.WARNING,
        "the session is lost: %d tasks are asked for one by one",
        (len(e.at_risk),),
    ),
    KeyRefused: _key_refused,
    NoHttpSide: lambda e: (
        logging.INFO,
        "the server takes no POST (HTTP %d): streams go over the socket",
        (e.status,),
    ),
    LateResult: _kept,
    UnknownTask: _kept,
    MalformedFrame: lambda e: (
        _rarely(e.count),
        "skipped a frame that cannot be read, %d so far",
        (e.count,),
    ),
    PeerSuspected: lambda e: (
        logging.INFO,
        "nothing has come in for %.3g s: the peer is asked for a sign of life",
        (e.silent,),
    ),
    Draining: lambda e: (logging.INFO, "draining: %d tasks are pending", (e.pending,)),
    Closed: _closed,
}
"""``TaskResent`` is a step of its task, ``SlowConsumer`` is for its reader alone, and a session
starts with ``Connected``."""


class LogWatcher:
    """Writes lines. Costs next to nothing while its level is off."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._notices = 0

    def event(self, event: Event) -> None:
        if isinstance(event, ServerNotice):
            self._notice(event)
            return
        line_of = _LINES.get(type(event))
        if line_of is not None:
            level, text, places = line_of(event)
            if _LOG.isEnabledFor(level):
                _LOG.log(level, text, *places)

    def _notice(self, event: ServerNotice) -> None:
        self._notices += 1
        kind, count = family(event.code).value, self._notices
        text = "the server reported an error of no known task (%s), %d so far"
        _LOG.log(_rarely(count), text, kind, count)

    def step(self, told: Tell) -> None:
        if not _LOG.isEnabledFor(logging.DEBUG):
            return
        record = told.record
        words = told.step.value
        if told.step is TaskStep.SUBMITTED:
            words = f"submitted ({record.delivery}, {record.size} bytes)"
        elif told.detail:
            words = f"{words} ({told.detail})"
        self._line(record, words)

    def ended(self, record: TaskRecord) -> None:
        if not _LOG.isEnabledFor(logging.DEBUG):
            return
        took = record.ended_at - record.submitted_at
        error = error_type(record.error, record.state)
        if error is None:
            how = f"{len(record.items)} results by way of {record.recovered_by.value}"
        else:
            how = f"{error}, submitted: {record.submitted.value}"
        self._line(record, f"ended after {took:.3f} s: {record.state.name.lower()}, {how}")

    def close(self) -> None:
        pass

    def _line(self, record: TaskRecord, words: str) -> None:
        metadata = self._clean(record.metadata)
        _LOG.debug(
            "task %s: %s%s",
            record.uuid,
            words,
            f" {metadata}" if metadata else "",
            extra={"task_uuid": record.uuid, "task_metadata": metadata},
        )

    def _clean(self, metadata: Mapping[str, str] | None) -> dict[str, str]:
        redact = self._redact
        return {redact(name): redact(value) for name, value in (metadata or {}).items()}
