"""What an item of the wire says about its task: an answer, a note, or a bare receipt."""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

from runware_ws._core.tasks.items import ACKNOWLEDGING, ENVELOPE, INCIDENTAL, has_output
from runware_ws._core.tasks.ladder import ABOUT_OTHERS, READ_ONLY, QuestionType
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.wire_errors import WireError

__all__ = [
    "RESULT",
    "Meaning",
    "is_about_authentication",
    "is_answer_about",
    "is_empty",
    "meaning",
    "meaning_for",
    "says_nothing",
    "tells_error",
]


class Meaning(Enum):
    """What one item means."""

    RESULT = "result"
    ERROR = "error"
    PROGRESS = "progress"
    RECEIPT = "receipt"
    ARCHIVE = "archive"
    DELTA = "delta"


RESULT = Meaning.RESULT
"""A module-level name for speed: see ``states``."""

_ARCHIVE = QuestionType.ARCHIVE.value

# Documented: processing, success, error. The others are what similar servers say
# for the same. An unknown status is judged by the other fields. Case does not matter.
RUNNING = frozenset({"processing", "pending", "queued", "running", "started", "in_progress"})
FINISHED = frozenset({"success", "succeeded", "completed", "complete", "done"})
FAILED = frozenset({"error", "failed", "failure"})


def meaning_for(record: TaskRecord, item: dict[str, Any]) -> Meaning:
    """Judge one item of ``record``."""
    means = meaning(item)
    if (
        means is RESULT
        and record.deltas is None
        and record.delivery != "async"
        and item.get("taskType") == record.task_type
    ):
        # Most items are this, so they take the shortest way.
        return RESULT
    if (
        means is RESULT
        and record.deltas is not None
        and "delta" in item
        and item.get("status") is None
        and not record.deltas.has_output(item)
    ):
        # It only says that the stream is over.
        return Meaning.DELTA
    if (
        record.deltas is not None
        and (means is RESULT or (means is Meaning.RECEIPT and not item.keys() <= ENVELOPE))
        and record.deltas.is_piece(item, INCIDENTAL)
    ):
        # Usage or a price in an event of its own.
        return Meaning.DELTA
    about = is_answer_about(record, item) or (
        means is Meaning.ARCHIVE and record.task_type != _ARCHIVE
    )
    if means is RESULT and (record.delivery == "async" or about) and is_empty(item):
        return Meaning.RECEIPT
    if record.task_type in READ_ONLY and means is not Meaning.ERROR and not about:
        # A piece of the stream that the caller asks about is no answer. A poll tells a status.
        piece = item.get("delta") is not None and item.get("status") is None
        return Meaning.DELTA if piece and record.task_type in ABOUT_OTHERS else RESULT
    return means


def is_answer_about(record: TaskRecord, item: dict[str, Any]) -> bool:
    """Whether an item has the type of a question about the task."""
    kind = item.get("taskType")
    return isinstance(kind, str) and kind in ABOUT_OTHERS and kind != record.task_type


def meaning(item: dict[str, Any]) -> Meaning:
    """Judge one item that names a task. A field that is null is as one that is not there.

    So is a status that is no text: nobody knows the numbers of a server.
    """
    status = item.get("status")
    if status is not None and status.__class__ is not str:
        status = None
    if (item.get("taskType") == _ARCHIVE or "response" in item) and _is_entry(item, status):
        return Meaning.ARCHIVE
    delta = item.get("delta")
    if delta is not None and (delta or not has_output(item)):
        if status is None:
            failed = ("error" in item or "errors" in item) and tells_error(item)
        else:
            failed = _word(status) in FAILED
        return Meaning.ERROR if failed else Meaning.DELTA
    if status is None:
        if ("error" in item or "errors" in item) and tells_error(item):
            return Meaning.ERROR
        if item.get("text"):
            return RESULT
        return Meaning.RECEIPT if _is_bare(item) else RESULT
    if status == "success":  # as a rule, and then no word has to be made of it
        return RESULT
    word = _word(status)
    if word in FINISHED:
        return RESULT
    if word in FAILED:
        return Meaning.ERROR
    if word in RUNNING:
        return Meaning.PROGRESS
    if tells_error(item):
        return Meaning.ERROR
    # It says how far the task is, unless there is an answer beside it.
    return RESULT if has_output(item) else Meaning.PROGRESS


def is_empty(item: dict[str, Any]) -> bool:
    """Whether an item is no more than an acknowledgement, or the empty answer to a question.

    Those may have any fields; a result has output, or a final status.
    """
    return _word(item.get("status")) not in FINISHED and not has_output(item)


def says_nothing(item: dict[str, Any]) -> bool:
    """Whether an item has nothing in it but its address."""
    return not any(value for key, value in item.items() if key not in ("taskType", "taskUUID"))


def _word(status: Any) -> str:
    return status.strip().lower() if isinstance(status, str) else ""


def _is_bare(item: dict[str, Any]) -> bool:
    """Whether an item says no more than an acknowledgement may."""
    if len(item) <= len(ACKNOWLEDGING) and item.keys() <= ACKNOWLEDGING:
        return True
    return None in item.values() and all(
        value is None for key, value in item.items() if key not in ACKNOWLEDGING
    )


def _is_entry(item: dict[str, Any], status: Any) -> bool:
    """Whether an item is an entry of the archive.

    It may have the type of the task, as an answer to a poll has, or none: then it is known by
    request and response (documented). Under the question's type it may be no entry, but tell an
    error or that the task runs.
    """
    if item.get("taskType") != _ARCHIVE:
        return "request" in item and not has_output(item)
    if item.get("response") is not None:
        return True
    return not (tells_error(item) or _word(status) in RUNNING or _word(status) in FAILED)


def tells_error(item: dict[str, Any]) -> bool:
    """Whether an item's error field holds an error: a result may carry an empty one."""
    return _tells(item.get("error")) or _tells(item.get("errors"))


def _tells(errors: Any) -> bool:
    if isinstance(errors, list):
        return any(map(_tells, cast("list[Any]", errors)))
    if isinstance(errors, dict):
        return any(value is not None for value in cast("dict[str, Any]", errors).values())
    return bool(errors)


def is_about_authentication(error: WireError) -> bool:
    """Whether an error is provably about our authentication.

    It says so; or it names no task and no other type, and its code is about a key or a session.
    (A code like that of a task must not end the client, whenever it comes: see "An error without
    an address" in ``docs/recovery.md``.)
    """
    if error.task_type is not None or error.task_uuid is not None:
        return error.task_type == "authentication"
    return error.family is ErrorFamily.AUTH or "session" in error.code[:200].lower()
