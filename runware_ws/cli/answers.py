"""Results and errors as they stand in the output of ``run``."""

from __future__ import annotations

from typing import Any, cast

from runware_ws import (
    InvalidTask,
    OutcomeUnknown,
    RecoveredBy,
    Result,
    RunwareError,
    Submitted,
    TaskError,
)
from runware_ws.models import parse_errors

__all__ = ["error_entry", "from_archive", "invalid_line", "result_entry", "unknown"]


def result_entry(result: Result) -> dict[str, Any]:
    """A result: the parts that are read most, and ``raw`` with all that the server sent."""
    usage = result.usage
    entry: dict[str, Any] = {
        "text": result.text,
        "finish_reason": result.finish_reason,
        "usage": None if usage is None else usage.raw,
        "cost": result.cost,
        "recovered_by": result.recovered_by.value,
        "task_uuid": result.task_uuid,
        "raw": result.raw,
    }
    if len(result.items) > 1:
        entry["texts"] = [item.text for item in result.items]
    return entry


def error_entry(error: RunwareError) -> dict[str, Any]:
    """An error. ``retryable``: the next run with the same output tries this line again."""
    if isinstance(error, TaskError):
        retryable = error.retryable
    else:
        # What is no verdict on the task itself says nothing against another try.
        retryable = not isinstance(error, InvalidTask)
    entry: dict[str, Any] = {
        "type": type(error).__name__,
        "code": getattr(error, "code", None),
        "message": error.message,
        "submitted": error.submitted.value,
        "safe_to_resend": error.safe_to_resend,
        "retryable": retryable,
        "task_uuid": error.task_uuid,
    }
    if isinstance(error, TaskError):
        entry |= {
            "parameter": error.parameter,
            "documentation": error.documentation,
            "raw": error.raw,
        }
        if error.items:
            entry["items"] = list(error.items)
    return entry


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
