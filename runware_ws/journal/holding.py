"""Tasks that have ended and whose callers are not told yet, and what they are told in the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy

from runware_ws._core.states import DONE
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import (
    Fenced,
    InvalidTask,
    JournalError,
    KeyConflict,
    RunwareError,
    Submitted,
    TaskCancelled,
)
from runware_ws.journal.outcomes import has_outcome

__all__ = [
    "Held",
    "as_journal_error",
    "for_task",
    "has_verdict",
    "in_doubt",
    "key_conflict",
    "never_sent",
    "uuid_used",
]

GRACE = 1.0
"""A result that came in time may be told so much after its deadline, in seconds."""

PATIENCE = 2.0
"""What ended in another way is held no longer than so many seconds."""


class Held:
    """Tasks that are held, and until when at most."""

    def __init__(self) -> None:
        self._until: dict[TaskRecord, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, record: TaskRecord) -> bool:
        return record in self._until

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self._until)

    def add(self, records: Iterable[TaskRecord], now: float) -> None:
        """Hold these."""
        for record in records:
            until = max(record.deadline, now) + GRACE if record.state is DONE else now + PATIENCE
            self._until.setdefault(record, until)

    def take(self, records: Iterable[TaskRecord]) -> list[TaskRecord]:
        """Hold them no longer; returns those that were held."""
        until = self._until
        return [record for record in records if until.pop(record, None) is not None]

    def late(self, now: float) -> list[TaskRecord]:
        """Those that were held long enough."""
        return [record for record, until in self._until.items() if until <= now]


def has_verdict(record: TaskRecord) -> bool:
    """Whether the server's result or verdict on it may be told, also to others who ask."""
    return has_outcome(record) and (record.error is None) is (record.state is DONE)


def never_sent(record: TaskRecord) -> bool:
    """Whether its caller is told that the same work may safely be sent again."""
    if record.error is not None:
        return record.error.safe_to_resend
    return record.submitted is Submitted.NO


def as_journal_error(error: BaseException | None) -> JournalError:
    """Anything that ended a transaction, as the journal's error."""
    if isinstance(error, JournalError):
        return copy(error)
    return JournalError(f"the journal failed: {type(error).__name__}: {error}")


def for_task(error: BaseException | None, record: TaskRecord) -> JournalError:
    """Why a task could not be entered."""
    told = as_journal_error(error)
    told.task_uuid, told.submitted = record.uuid, record.submitted
    if told.in_doubt and told.submitted is Submitted.NO:
        # Whoever opens the journal next may find it there, and send it.
        told.submitted = Submitted.MAYBE
    told.safe_to_resend = told.submitted is Submitted.NO
    return told


def in_doubt(record: TaskRecord, error: BaseException | None) -> RunwareError:
    """What is told of a task whose end could not be recorded, or not in time.

    A result is not told, because another process may answer for the task by now. And that a task
    was never sent is not told, because it may still be in the journal, and another process may
    send it.
    """
    if isinstance(error, Fenced):
        fenced = for_task(error, record)
        fenced.submitted = Submitted.MAYBE if record.submitted is Submitted.NO else record.submitted
        fenced.safe_to_resend = False
        return fenced
    if record.state is not DONE:
        return _unsure(record)
    if error is None:
        why = "the journal does not answer in time, or has no open entry of this task any more"
        error = JournalError(why, temporary=True)
    told = for_task(error, record)
    told.message = f"the result is here, but it cannot be recorded, so it is not told: {told}"
    told.args = (told.message,)
    told.submitted, told.safe_to_resend = Submitted.YES, False
    return told


def _unsure(record: TaskRecord) -> RunwareError:
    if record.error is not None:
        told = copy(record.error)
    else:
        told = TaskCancelled("the caller gave the task up", task_uuid=record.uuid)
        told.submitted = record.submitted
    if told.submitted is Submitted.NO:
        told.submitted = Submitted.MAYBE
    told.safe_to_resend = False
    return told


def key_conflict(record: TaskRecord, key: str) -> KeyConflict:
    """The key belongs to another content."""
    return KeyConflict(
        f"the key {key!r} was used for a task with another content: use a new key, "
        "or give the same task",
        problems=("key: used for another task",),
        task_uuid=record.uuid,
    )


def uuid_used(record: TaskRecord) -> InvalidTask:
    """The taskUUID belongs to another task of the journal."""
    return InvalidTask(
        f"taskUUID {record.uuid} is that of another task in the journal: give every task a new one",
        problems=("taskUUID: used before",),
        task_uuid=record.uuid,
    )
