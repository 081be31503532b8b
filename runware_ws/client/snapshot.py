"""The public snapshot of a client's counts and state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import SOURCE_RANK
from runware_ws.stats import Stats

if TYPE_CHECKING:
    from runware_ws._core.core import SessionCore

__all__ = ["stats_of"]


def stats_of(core: SessionCore) -> Stats:
    """The counts and the state of this core, now."""
    counts = core.counters
    return Stats(
        submitted=counts.submitted,
        answered=counts.ends[TaskState.DONE],
        failed=counts.ends[TaskState.FAILED],
        timed_out=counts.ends[TaskState.TIMED_OUT],
        cancelled=counts.ends[TaskState.CANCELLED],
        unknown=counts.ends[TaskState.UNKNOWN],
        closed=counts.ends[TaskState.CLOSED],
        recovered_by={
            source.value: counts.sources[rank]
            for source, rank in SOURCE_RANK.items()
            if counts.sources[rank]
        },
        pending=core.pending,
        in_flight=core.in_flight,
        state=core.state.value,
        session_uuid=core.session_uuid,
        dials=counts.dials,
        connections=counts.connections,
        reconnects=max(0, counts.connections - 1),
        resumes=counts.resumes,
        sessions_lost=counts.sessions_lost,
        frames_in=counts.frames_in,
        frames_out=counts.frames_out,
        bytes_in=counts.bytes_in,
        bytes_out=counts.bytes_out,
        pings=counts.pings,
        posts=counts.posts,
        polls=counts.polls,
        archive_questions=counts.archive_questions,
        resends=counts.resends,
        receipts=counts.receipts,
        duplicates=counts.duplicates,
        strays=counts.strays,
        malformed=counts.malformed,
        notices=counts.notices,
    )
