"""What a client did so far, and what it is doing."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A snapshot of counts since the client started, and of the present."""

    # Tasks
    submitted: int
    """Tasks taken in."""
    answered: int
    """Tasks that ended with a result."""
    failed: int
    """Tasks that ended with an error of the server, or with the end of the client."""
    timed_out: int
    cancelled: int
    unknown: int
    """Tasks that ended with ``OutcomeUnknown``."""
    closed: int
    """Tasks that ended with ``ClientClosed``."""
    recovered_by: dict[str, int] = field(default_factory=dict[str, int])
    """Answered tasks by the way that their result took."""
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
    """Of these, how many got the old session."""
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
    """Tasks sent again under their own taskUUID."""
    receipts: int
    """Resends that the server answered with ``conflictTaskUUID``: the first copy had arrived."""
    # Oddities
    duplicates: int
    """Items that came once more and were dropped."""
    strays: int
    """Items for tasks that were given up or never ours; kept for ``claim()``."""
    malformed: int
    notices: int
    """Errors that belong to no task of ours for sure."""
