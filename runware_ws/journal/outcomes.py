"""What the journal keeps of an outcome, and how it is told again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from runware_ws._core.states import DONE, FAILED
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.errors import JournalError, RunwareError, Submitted, TaskError
from runware_ws.journal.store import Entry, EntryState
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.jsonable import encode_json, is_array, is_object, load_json

__all__ = [
    "error_in",
    "has_outcome",
    "is_attempt_over",
    "is_stream",
    "items_in",
    "outcome_to_record",
    "paid_items",
    "task_in",
]


def has_outcome(record: TaskRecord) -> bool:
    """Whether a task ended with its results, or with the server's verdict."""
    return record.state is DONE or (record.state is FAILED and isinstance(record.error, TaskError))


def outcome_to_record(record: TaskRecord) -> tuple[EntryState, bytes] | None:
    """What of an ended task is recorded: its results, or the server's verdict; else ``None``."""
    if record.state is DONE:
        return EntryState.DONE, encode_json({"items": record.items})
    error = record.error
    if record.state is FAILED and isinstance(error, TaskError):
        return EntryState.FAILED, encode_json({"error": _told(error)})
    return None


def paid_items(record: TaskRecord) -> Sequence[Mapping[str, Any]]:
    """The items of an ended task that was answered: also of one that failed behind some of them."""
    error = record.error
    return error.items if isinstance(error, TaskError) else record.items


def _told(error: TaskError) -> dict[str, Any]:
    return {
        "message": error.message,
        "code": error.code,
        "parameter": error.parameter,
        "documentation": error.documentation,
        "family": error.family,
        "retryable": error.retryable,
        "raw": error.raw,
        "items": error.items,
        "submitted": error.submitted,
        "safe_to_resend": error.safe_to_resend,
    }


def _part(entry: Entry, name: str) -> Any:
    try:
        return load_json(entry.outcome or b"")[name]
    except (ValueError, LookupError, TypeError):
        raise _damaged(entry) from None


def _damaged(entry: Entry) -> JournalError:
    return JournalError(
        f"what the journal has of task {entry.uuid} is damaged: its end cannot be told. "
        "The same work under a new key may run twice",
        task_uuid=entry.uuid,
        submitted=Submitted.YES,
    )


def task_in(entry: Entry) -> dict[str, Any] | None:
    """The task of an entry; ``None`` where it is kept no longer."""
    return cast("dict[str, Any]", load_json(entry.payload)) if entry.payload else None


def is_stream(entry: Entry) -> bool:
    """Whether the task of an entry was sent as a stream."""
    task = task_in(entry)
    return task is not None and task.get("deliveryMethod") == "stream"


def items_in(entry: Entry) -> list[dict[str, Any]]:
    """The results of an entry that is done.

    Raises:
        JournalError: it is damaged.
    """
    items = _part(entry, "items")
    if not is_array(items) or not items or not all(map(is_object, items)):
        raise _damaged(entry)
    return cast("list[dict[str, Any]]", items)


def error_in(entry: Entry) -> RunwareError:
    """The verdict of an entry that has failed; if it is damaged, an error that says so."""
    try:
        return _verdict(entry.uuid, _part(entry, "error"))
    except JournalError as exc:
        return exc
    except (ValueError, LookupError, TypeError):
        return _damaged(entry)


def _verdict(uuid: str, told: Any) -> TaskError:
    told = dict(told)
    parameter = told.pop("parameter")
    family = told.pop("family")
    return TaskError(
        told.pop("message"),
        parameter=tuple(cast("list[str]", parameter)) if isinstance(parameter, list) else parameter,
        family=None if family is None else ErrorFamily(family),
        submitted=Submitted(told.pop("submitted")),
        task_uuid=uuid,
        **told,
    )


def is_attempt_over(entry: Entry) -> bool:
    """Whether its verdict is that nothing ran: then the key may be tried anew."""
    error = error_in(entry) if entry.state is EntryState.FAILED else None
    return isinstance(error, TaskError) and error.safe_to_resend
