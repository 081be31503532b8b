"""When a task that the server does not know may be sent again: the last question, not the second.

A task that runs can look like one that never arrived, and a server may keep the refusal of a copy
in the place of the answer. So a copy is sent only when

* the usual duration of a task of its kind has passed since it was written: if it had arrived, it
  would be done and known by now. It is learned; until then ``usual_duration`` stands for it, or a
  part of the task's own time if that is shorter, so that a lost request is still answered in time;
* a question about it, written after the last moment at which the last copy can have arrived, was
  answered ``resend_after`` ago: so the server is reading, and had the time to register the copy;
* every kind of question that the server answers was asked after that, and brought nothing.

The one assumption is about time: a server that answers on the current socket has read what older
sockets brought, or will very soon, and registers it within ``resend_after`` of that answer.
"""

from __future__ import annotations

from runware_ws._core.tasks.record import TaskRecord
from runware_ws.config import Config

__all__ = ["begun_at", "overdue_at", "resend_at"]

SHARE = 0.4
"""The part of a task's time that may pass before it is overdue, while durations are unknown."""

GOLDEN = 0.618034
"""The fractional parts of its multiples are spread evenly between 0 and 1."""
MOST_SPREAD = 8


def begun_at(record: TaskRecord) -> float:
    """When it was written, or submitted where an earlier try wrote it: it is at least as old."""
    return record.written_at if record.sends else record.submitted_at


def overdue_at(record: TaskRecord, options: Config) -> float:
    """When a task of its kind, written when this one was, would long be done."""
    begun = begun_at(record)
    if options.resend_early:
        return begun
    usual = min(options.usual_duration, SHARE * (record.deadline - begun))
    return begun + (usual if record.learned is None else record.learned.usual(usual))


def resend_at(record: TaskRecord, options: Config, answered_at: float) -> float:
    """When a task may be sent again at the earliest.

    ``answered_at``: when the first question about the last copy was answered.
    """
    registered = answered_at + options.resend_after * (1 + _spread(record))
    return max(registered, overdue_at(record, options))


def _spread(record: TaskRecord) -> float:
    """The extra delay of a resend, as a multiple of ``resend_after``; 0 for the first.

    The range grows with each resend, and each task has its own place in it. So a connection
    that is cut at regular intervals hits neither all tasks at once nor one task every time.
    """
    resends = record.sends - 1
    place = (int(record.uuid[-4:], 16) / 0x10000 + resends * GOLDEN) % 1
    return place * min(max(resends, 0), MOST_SPREAD)
