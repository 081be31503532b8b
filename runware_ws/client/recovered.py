"""The client's side of the journal: what a key means, and what an earlier process left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runware_ws._core.tasks.ladder import ABOUT_OTHERS
from runware_ws.client.handle import ResultOrError, error_of, outcome_of
from runware_ws.client.tasks import Task
from runware_ws.errors import ConfigurationError, InvalidTask, JournalError, RunwareError
from runware_ws.journal.keeper import JournalKeeper
from runware_ws.journal.keys import Keyed, checked_key
from runware_ws.journal.left import Left
from runware_ws.journal.outcomes import items_in, task_in
from runware_ws.models import RecoveredBy, Result, TextInference, ValidatedTask
from runware_ws.models.content import content_digest

__all__ = ["Recovered", "as_recovered", "keyed_of", "polled"]


@dataclass(frozen=True, slots=True)
class Recovered(ResultOrError):
    """A task that a dead process had left, and how it ended: with ``result`` or with ``error``.

    ``key`` is its idempotency key, ``None`` if it had none. ``task`` is the task as it was sent;
    ``None`` if the result had been recorded by the process that died.
    """

    key: str | None
    task_uuid: str
    task: dict[str, Any] | None
    result: Result | None = None
    error: RunwareError | None = None


def as_recovered(left: Left) -> Recovered:
    """What a caller sees of what was left."""
    entry, record = left.entry, left.record
    task = task_in(entry)
    if record is None:
        try:
            result = Result(entry.uuid, items_in(entry), RecoveredBy.JOURNAL)
        except JournalError as exc:
            return Recovered(entry.key, entry.uuid, task, error=exc)
        return Recovered(entry.key, entry.uuid, task, result)
    error = error_of(record)
    if error is not None:
        return Recovered(entry.key, entry.uuid, task, error=error)
    return Recovered(entry.key, entry.uuid, task, outcome_of(record))


def polled(task: Task) -> Task:
    """The task with ``deliveryMethod: async``, unless it says otherwise.

    What is polled can be had again; what was pushed to a process that died can not.
    """
    if isinstance(task, TextInference):
        if task.delivery_method is not None:
            return task
        return task.model_copy(update={"delivery_method": "async"})
    # What is not a task at all is refused by the check.
    known = isinstance(task, Mapping)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not known or "deliveryMethod" in task:
        return task
    return {**task, "deliveryMethod": "async"}


def keyed_of(valid: ValidatedTask, key: str, journal: JournalKeeper | None) -> Keyed:
    """The key of a task, with the content that belongs to it.

    Raises:
        ConfigurationError: there is no journal, or it cannot be a key.
        InvalidTask: it is a question about another task, which is no work of its own.
    """
    if journal is None:
        raise ConfigurationError(
            "key= needs a journal: Client(journal='agents.db') makes one in that file"
        )
    if valid.task_type in ABOUT_OTHERS:
        # Its taskUUID is what it asks; a key would let it be another one.
        raise InvalidTask(
            f"{valid.task_type} asks about another task, and can have no key: "
            "ask without one, as often as you like",
            problems=("key: not for questions",),
            task_uuid=valid.uuid,
        )
    return Keyed(checked_key(key), content_digest(valid.payload))
