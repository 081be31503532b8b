"""What happens to the connection and its tasks, as typed events.

``client.events()`` yields them in the order in which they happened. State
events are paired: every ``Connected`` is followed by exactly one
``Disconnected`` of the same ``generation`` before the next ``Connected``. No
event carries the API key.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Closed",
    "Connected",
    "DialFailed",
    "Dialing",
    "Disconnected",
    "Draining",
    "Event",
    "KeyRefused",
    "LateResult",
    "MalformedFrame",
    "NoHttpSide",
    "PeerSuspected",
    "ServerNotice",
    "SessionLost",
    "SessionResumed",
    "SessionStarted",
    "SlowConsumer",
    "TaskResent",
    "UnknownTask",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events. ``at`` is the driver's monotonic clock, in seconds."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialing(Event):
    """A socket is being opened. ``attempt`` counts from 1 since the last good connection."""

    generation: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DialFailed(Event):
    """The socket could not be opened or authenticated. ``retry_after``: seconds, drawn."""

    generation: int
    attempt: int
    reason: str
    retry_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(Event):
    """The socket is authenticated. ``resumed``: the server echoed the session we offered."""

    generation: int
    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected(Event):
    """An authenticated socket is gone. ``code``: its close code, ``None`` without a close frame."""

    generation: int
    reason: str
    code: int | None
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted(Event):
    """The server opened a new session for us."""

    session_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResumed(Event):
    """The replay after a resume is over. ``replayed``: tasks whose answer it brought.

    The server does not say when a replay ends, so this event comes once all
    tasks that were pending are answered, or once ``replay_grace`` is over.
    """

    session_uuid: str
    replayed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLost(Event):
    """The server no longer knows our session: what it had buffered will not be replayed.

    ``at_risk`` lists the taskUUIDs that were written and not yet answered.
    They are not given up: each is asked for, and sent again if that is safe.
    """

    session_uuid: str | None
    at_risk: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRefused(Event):
    """The server refused the API key. ``final``: the client ends."""

    reason: str
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoHttpSide(Event):
    """The server takes no POST (HTTP ``status`` 501 or 426): streams go over the socket now."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResent(Event):
    """A task was sent again under the same taskUUID, for the server said it does not know it."""

    task_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LateResult(Event):
    """A result came for a task that had ended without one. ``client.claim(uuid)`` has it."""

    task_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownTask(Event):
    """A result came for a taskUUID this client never sent. ``client.claim(uuid)`` has it."""

    task_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MalformedFrame(Event):
    """A frame could not be read; it was skipped. ``sample``: its first bytes, the key removed."""

    reason: str
    sample: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNotice(Event):
    """An error that belongs to no task of ours for sure."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSuspected(Event):
    """Nothing came in for too long; a probe was sent before the socket is given up."""

    generation: int
    silent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowConsumer(Event):
    """This reader of ``events()`` fell behind: so many events before this one were dropped."""

    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining(Event):
    """``drain()`` began: no new task is taken. ``pending``: tasks still in flight."""

    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """The client ended. ``reason`` is empty after a plain ``aclose()``. The last event."""

    reason: str
