"""Answers to ``getResponse`` and ``getTaskDetails``."""

from __future__ import annotations

from typing import Any

import anyio

from .state import ServerState
from .tasks import AcceptedTask, Generation
from .units import Kind, Unit
from .validation import task_error

__all__ = ["details_unit", "poll_units"]


def _refusal(code: str, message: str, task: dict[str, Any]) -> Unit:
    error = task_error(code, message, task, parameter="taskUUID")
    return Unit(Kind.CONTROL, error, is_error=True)


def _find(state: ServerState, key_id: int, task: dict[str, Any]) -> AcceptedTask | None:
    record = state.tasks.find(key_id, task.get("taskUUID"))
    if record is None:
        return None
    known_from = record.accepted_at + state.options.registration_delay
    return record if anyio.current_time() >= known_from else None


def poll_units(state: ServerState, key_id: int, task: dict[str, Any]) -> list[Unit]:
    """The answer to one ``getResponse``: every generation, each time it is asked."""
    if "taskUUID" not in task:
        return [_refusal("missingTaskUUID", "'taskUUID' is required.", task)]
    record = _find(state, key_id, task)
    if record is None or not (record.method == "async" or state.options.poll_sync_tasks):
        message = "The task failed, or no such task was found."
        return [_refusal("taskFailedOrNotFound", message, task)]
    now = anyio.current_time()
    return [
        _generation_unit(state, record, index, generation, now)
        for index, generation in enumerate(record.generations)
    ]


def _generation_unit(
    state: ServerState, record: AcceptedTask, index: int, generation: Generation, now: float
) -> Unit:
    if generation.item is not None:
        return Unit(Kind.CONTROL, {**generation.item, "status": "success"})
    if generation.error is not None and state.options.poll_errors == "errors":
        return Unit(Kind.CONTROL, generation.error, is_error=True)
    item: dict[str, Any] = {"taskType": record.task["taskType"], "taskUUID": record.uuid}
    style = state.options.result_index
    if style == "always" or (style == "many" and len(record.generations) > 1):
        item["resultIndex"] = index
    if generation.error is not None:
        item["status"] = "error"
        item["error"] = generation.error
    else:
        item["status"] = "processing"
        item["progress"] = generation.progress(now)
    return Unit(Kind.CONTROL, item)


def details_unit(state: ServerState, key_id: int, task: dict[str, Any]) -> Unit:
    """The answer to one ``getTaskDetails``: the archived request and response."""
    if "taskUUID" not in task:
        return _refusal("missingTaskUUID", "'taskUUID' is required.", task)
    record = _find(state, key_id, task)
    running = record is not None and not record.done
    if record is None or (running and state.options.details_while_running == "not-found"):
        return _refusal("taskNotFound", "No such task was found.", task)
    item: dict[str, Any] = {
        "taskType": "getTaskDetails",
        "taskUUID": record.uuid,
        "request": [record.task],
    }
    response: dict[str, Any] = {}
    if running:
        item["status"] = "processing"
    data = [each.item for each in record.generations if each.item is not None]
    errors = [each.error for each in record.generations if each.error is not None]
    if data or not errors:
        response["data"] = data
    if errors:
        response["errors"] = errors
    item["response"] = response
    return Unit(Kind.CONTROL, item)
