"""What an item of the wire says about its task: an answer, a note, or a bare receipt."""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

import orjson

from runware_ws.session.record import Question, TaskRecord

__all__ = ["Meaning", "archived", "copies", "meaning", "meaning_for"]


class Meaning(Enum):
    """What one item means."""

    RESULT = "result"
    ERROR = "error"
    PROGRESS = "progress"
    RECEIPT = "receipt"
    ARCHIVE = "archive"


# Documented: processing, success, error. The others are what servers of this kind
# say for the same; a status that is not known is judged by what stands beside it.
RUNNING = frozenset({"processing", "pending", "queued", "running", "started", "in_progress"})
FINISHED = frozenset({"success", "succeeded", "completed", "complete", "done"})
FAILED = frozenset({"error", "failed", "failure"})

# Fields that carry no output. An item of nothing but these is a receipt:
# documented for ``async``, and harmless to take as one everywhere, for it
# holds no answer.
ENVELOPE = frozenset(
    {"taskType", "taskUUID", "status", "progress", "deliveryMethod", "createdAt", "updatedAt"}
)


# Observed: these only read, so whatever answers one of them is its result.
READ_ONLY = frozenset({"getResponse", "getTaskDetails", "modelSearch", "accountManagement"})


def meaning_for(record: TaskRecord, item: dict[str, Any]) -> Meaning:
    """Judge one item of ``record``."""
    means = meaning(item)
    if record.task_type in READ_ONLY and means is not Meaning.ERROR:
        return Meaning.RESULT
    return means


def meaning(item: dict[str, Any]) -> Meaning:
    """Judge one item that names a task."""
    task_type = item.get("taskType")
    if task_type == Question.ARCHIVE.value:
        return Meaning.ARCHIVE
    status = item.get("status")
    if status is None:
        # A result may carry an empty error field; one with content is an error.
        if item.get("error") or item.get("errors"):
            return Meaning.ERROR
        return Meaning.RECEIPT if item.keys() <= ENVELOPE else Meaning.RESULT
    if status in FINISHED:
        return Meaning.RESULT
    if status in FAILED:
        return Meaning.ERROR
    if status in RUNNING or item.keys() <= ENVELOPE:
        return Meaning.PROGRESS
    return Meaning.RESULT


def _identity(item: dict[str, Any]) -> object:
    """What tells this item from the others of its task.

    ``resultIndex`` where it is there (observed); else an id of the output
    itself (``imageUUID`` and the like); else the whole content.
    """
    index = item.get("resultIndex")
    if isinstance(index, int) and not isinstance(index, bool):
        return index
    for key, value in item.items():
        if key.endswith("UUID") and key != "taskUUID" and isinstance(value, str):
            return key, value
    content = {k: v for k, v in item.items() if k not in ENVELOPE}
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def copies(
    record: TaskRecord, items: list[dict[str, Any]], *, listing: bool
) -> list[dict[str, Any]]:
    """Return those of ``items`` that are new to ``record``, and remember them.

    Two results without an index may rightly be equal, and a copy of one looks
    the same. Pushed items that are equal count as copies: no item is ever
    delivered twice. A ``listing`` (the archive, a poll) names all results at
    once, so what it holds twice is two results.
    """
    keys = record.keys
    if keys is None:
        keys = record.keys = {}
    fresh: list[dict[str, Any]] = []
    seen_here: dict[object, int] = {}
    for item in items:
        key = _identity(item)
        count = seen_here[key] = seen_here.get(key, 0) + 1
        exact = isinstance(key, bytes)
        wanted = count if listing and exact else 1
        if keys.get(key, 0) < wanted:
            keys[key] = wanted
            fresh.append(item)
    return fresh


def archived(item: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The results and the errors in an answer to ``getTaskDetails``.

    The answer's ``response`` is an object (documented); what stands in it is
    not, so a frame, a list of items and one item are all understood.
    """
    response = item.get("response")
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    candidates: list[Any]
    if isinstance(response, dict):
        body = cast("dict[str, Any]", response)
        data = body.get("data")
        found = body.get("errors") or body.get("error")
        if isinstance(found, list):
            errors += [e for e in cast("list[Any]", found) if isinstance(e, dict)]
        elif isinstance(found, dict):
            errors.append(cast("dict[str, Any]", found))
        if isinstance(data, list):
            candidates = cast("list[Any]", data)
        elif isinstance(data, dict):
            candidates = [data]
        else:
            candidates = [] if found or "data" in body else [body]
    elif isinstance(response, list):
        candidates = cast("list[Any]", response)
    else:
        candidates = []
    for candidate in candidates:
        if not isinstance(candidate, dict):
            continue
        entry = cast("dict[str, Any]", candidate)
        match meaning(entry):
            case Meaning.RESULT:
                results.append(entry)
            case Meaning.ERROR:
                errors.append(entry)
            case _:
                pass
    return results, errors
