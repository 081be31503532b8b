"""What a client runs: a task as the user gives it, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runware_ws.errors import InvalidTask
from runware_ws.models import TextInference, ValidatedTask, validate_task

__all__ = ["Task", "validate_stream", "validate_whole"]

Task = TextInference | Mapping[str, Any]
"""What can be run: a request model, or a plain dict in the wire's spelling."""


def validate_stream(task: Task) -> ValidatedTask:
    """Check a task whose answer is read as a stream, which it becomes if it is none."""
    stream: Task
    if isinstance(task, TextInference):
        stream = task.model_copy(update={"delivery_method": "stream"})
    else:
        # What is not a task at all is refused by the check.
        known = isinstance(task, Mapping)  # pyright: ignore[reportUnnecessaryIsInstance]
        stream = {**task, "deliveryMethod": "stream"} if known else task
    valid = validate_task(stream)
    if valid.number_results > 1:
        raise InvalidTask(
            "numberResults: a stream has one result, and nothing tells the parts of two apart",
            problems=("numberResults: must be 1 in a stream",),
            task_uuid=valid.uuid,
        )
    return valid


def validate_whole(task: Task) -> ValidatedTask:
    """Check a task whose answer is read as a whole."""
    valid = validate_task(task)
    if valid.delivery == "stream":
        raise InvalidTask(
            "deliveryMethod: use client.stream(task) for a stream",
            problems=("deliveryMethod: 'stream' needs client.stream",),
            task_uuid=valid.uuid,
        )
    return valid
