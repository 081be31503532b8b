"""What happens to the connection and its tasks, as typed events.

``client.events()`` yields them in the order in which they happened. State
events come in pairs: every ``Connected`` is followed by exactly one
``Disconnected`` of the same ``generation`` before the next ``Connected``. No
event carries the API key. Texts of the server are cut after 1,024 characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

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


LONGEST_TEXT = 1_024
"""In characters."""

BY_CALLER = "closed by the caller"
"""The ``reason`` of a ``Disconnected`` that nobody needs to worry about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events. ``at`` is a time on the event loop's clock, in seconds."""

    at: float

    def __post_init__(self) -> None:
        # Events wait for their readers, and a server may say megabytes. What comes here is
        # redacted already, so no half of a secret is left.
        for name in text_fields(type(self)):
            value = getattr(self, name)
            if value is not None and len(value) > LONGEST_TEXT:
                object.__setattr__(self, name, f"{value[: LONGEST_TEXT - 3]}...")


_TEXT_FIELDS: dict[type[Event], tuple[str, ...]] = {}


def text_fields(kind: type[Event]) -> tuple[str, ...]:
    """The names of the fields that hold a text."""
    names = _TEXT_FIELDS.get(kind)
    if names is None:
        names = tuple(field.name for field in fields(kind) if field.type in ("str", "str | None"))
        _TEXT_FIELDS[kind] = names
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialing(Event):
    """A socket is being opened. ``attempt`` counts from 1 since the last good connection."""

    generation: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DialFailed(Event):
    """A dial or authentication failed. ``retry_after``: seconds until the next dial."""

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
    """An authenticated socket ended. ``code``: its close code, ``None`` without a close frame."""

    generation: int
    reason: str
    code: int | None
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted(Event):
    """The server opened a new session for us, or gave ours another name."""

    session_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResumed(Event):
    """The replay after a resume is over. ``replayed``: tasks whose answer it brought.

    The server does not say when a replay ends. So this event comes once all pending
    tasks are answered, or once nothing has come for ``replay_grace``.
    """

    session_uuid: str
    replayed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLost(Event):
    """The server no longer knows our session: what it had buffered will not be replayed.

    ``at_risk`` lists the taskUUIDs that were written and not yet answered.
    They are not given up: the server is asked about each, and it is resent if that is safe.
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
    """A task was resent under the same taskUUID, because the server does not know it.

    ``metadata``: what its caller gave with it, ``None`` without.
    """

    task_uuid: str
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LateResult(Event):
    """A result came for a task that had ended without one. ``client.claim(uuid)`` has it."""

    task_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownTask(Event):
    """A result came for a taskUUID that this client did not send. ``client.claim(uuid)`` has it."""

    task_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MalformedFrame(Event):
    """A frame that cannot be read was skipped. ``sample``: its first bytes, the key redacted."""

    reason: str
    sample: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNotice(Event):
    """The server reported an error that belongs to none of our tasks for certain."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSuspected(Event):
    """Nothing has come in for too long; if that goes on, the socket is given up."""

    generation: int
    silent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowConsumer(Event):
    """This reader of ``events()`` fell behind: ``dropped`` events before this one are lost."""

    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining(Event):
    """``drain()`` began: no new tasks are taken. ``pending``: tasks that have not ended."""

    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """The client ended: the last event. ``reason`` is empty after a plain ``aclose()``."""

    reason: str
