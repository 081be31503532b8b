"""What a client has done so far, and what it is doing now."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A snapshot: counts since the client started, and its present state."""

    # Tasks
    submitted: int
    """Tasks that were accepted."""
    answered: int
    """Tasks that ended with a result."""
    failed: int
    """Tasks that ended with an error from the server, or because the client failed."""
    timed_out: int
    cancelled: int
    unknown: int
    """Tasks that ended with ``OutcomeUnknown``."""
    closed: int
    """Tasks that ended with ``ClientClosed``."""
    recovered_by: dict[str, int] = field(default_factory=dict[str, int])
    """Answered tasks, by how their result came (``RecoveredBy``)."""
    # Now
    pending: int
    """Tasks that have not ended."""
    in_flight: int
    """Pending tasks that were admitted."""
    state: str
    """The connection's state."""
    session_uuid: str | None
    # The connection
    dials: int
    connections: int
    """Sockets that were authenticated."""
    reconnects: int
    """Sockets that were authenticated after the first."""
    resumes: int
    """How many reconnects resumed the old session."""
    sessions_lost: int
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    pings: int
    posts: int
    """Requests over HTTP: streams that were posted."""
    # Recovery
    polls: int
    """``getResponse`` questions."""
    archive_questions: int
    """``getTaskDetails`` questions."""
    resends: int
    """Tasks resent under their own taskUUID."""
    receipts: int
    """Resends that the server answered with ``conflictTaskUUID``: the first copy had arrived."""
    # Oddities
    duplicates: int
    """Items that came again and were dropped."""
    strays: int
    """Items for tasks that were given up or are not ours, kept for ``claim()``; and items that
    name no task."""
    malformed: int
    notices: int
    """Errors that belong to none of our tasks for certain."""
