"""What a client runs: a task as the user gives it, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runware_ws.errors import InvalidTask
from runware_ws.models import TextInference, ValidatedTask, validate_task

__all__ = ["Task", "as_stream", "validate_whole"]

Task = TextInference | Mapping[str, Any]
"""What can be run: a request model, or a plain dict in the wire's spelling."""


def as_stream(task: Task) -> Task:
    """The same task, with its answer as a stream."""
    if isinstance(task, TextInference):
        return task.model_copy(update={"delivery_method": "stream"})
    return {**task, "deliveryMethod": "stream"}


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
