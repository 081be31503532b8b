"""Results and errors as they stand in the output of ``run``."""

from __future__ import annotations

from typing import Any, cast

from runware_ws import (
    InvalidTask,
    OutcomeUnknown,
    RecoveredBy,
    Result,
    Submitted,
    TaskError,
)
from runware_ws.batch.writing import error_entry, result_entry
from runware_ws.models import parse_errors

__all__ = ["error_entry", "from_archive", "invalid_line", "result_entry", "unknown"]


def invalid_line(problem: str) -> InvalidTask:
    """The error of a line that no task can be made of."""
    return InvalidTask(problem)


def from_archive(task_uuid: str, answer: Result, wanted: int) -> Result | TaskError | None:
    """What became of a task, read from the answer to ``getTaskDetails``.

    ``wanted``: how many items the task has. ``None``: the server does not have them all yet.
    """
    items: list[dict[str, Any]] = []
    for item in answer.raw:
        if item.get("taskType") != "getTaskDetails":
            items.append(item)  # The task's own answer, replayed by the session.
            continue
        response = item.get("response")
        if not isinstance(response, dict):
            continue
        frame = cast("dict[str, Any]", response)
        data = frame.get("data")
        found = cast("list[Any]", data) if isinstance(data, list) else []
        items += [cast("dict[str, Any]", each) for each in found if isinstance(each, dict)]
        errors = parse_errors(frame)
        if errors:
            return TaskError(
                errors[0].message,
                code=errors[0].code,
                parameter=errors[0].parameter,
                documentation=errors[0].documentation,
                family=errors[0].family,
                retryable=errors[0].retryable,
                raw=errors[0].raw,
                items=items,
                task_uuid=task_uuid,
            )
    if len(items) < wanted:
        return None
    return Result(task_uuid, items, RecoveredBy.ARCHIVE)


def unknown(task_uuid: str, seconds: float) -> OutcomeUnknown:
    """A task of an earlier run that the server has, and of which it does not tell the outcome."""
    return OutcomeUnknown(
        f"the server knows this task of an earlier run, but told no outcome within {seconds:g} s; "
        "the next run asks again",
        task_uuid=task_uuid,
        submitted=Submitted.YES,
        safe_to_resend=False,
    )
