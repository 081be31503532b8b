"""The tasks of the model server: registered, run once, finished, kept in the archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.simulation.traits import Plan, Traits

__all__ = ["Work", "details", "error_frame", "responses"]


@dataclass(slots=True, eq=False)
class Work:
    """One task as the server has it. Times are virtual; ``None``: not yet."""

    plan: Plan
    task_type: str
    session: str
    received_at: float
    registered_at: float
    executions: int = 1
    running: bool = False
    items: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    error: dict[str, Any] | None = None
    finished_at: float | None = None

    def item(self, index: int, *, upper: bool) -> dict[str, Any]:
        """The result number ``index``: it tells whose it is."""
        plan = self.plan
        text = f"{plan.uuid}#{'twin' if plan.twins else index}"
        item: dict[str, Any] = {
            "taskType": self.task_type,
            "taskUUID": plan.uuid.upper() if upper else plan.uuid,
            "text": text + "x" * plan.padding,
            "cost": 0.001,
        }
        if plan.indexed:
            item["resultIndex"] = index
        return item

    def failure(self, *, anonymous: bool) -> dict[str, Any]:
        """The error that ends it."""
        error: dict[str, Any] = {
            "code": self.plan.code,
            "message": f"it failed: {self.plan.uuid}",
            "taskType": self.task_type,
        }
        if not anonymous:
            error["taskUUID"] = self.plan.uuid
        return error


def error_frame(errors: list[dict[str, Any]], style: str) -> dict[str, Any]:
    """Errors in one of the spellings that servers use."""
    if style == "errors":
        return {"errors": errors}
    if style == "error-one" and len(errors) == 1:
        return {"error": errors[0]}
    return {"error": errors}


def _unknown(uuid: str, asked: str, task_type: str, traits: Traits) -> dict[str, Any]:
    error: dict[str, Any] = {
        "code": "taskFailedOrNotFound" if asked == "getResponse" else "taskNotFound",
        "message": "there is no such task",
        "taskUUID": uuid,
    }
    if traits.answers_typed == "question":
        error["taskType"] = asked
    elif traits.answers_typed == "task":
        error["taskType"] = task_type
    return error


def responses(
    work: Work | None, uuid: str, traits: Traits, now: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What ``getResponse`` answers: items and errors."""
    if work is None or now < work.registered_at or work.plan.delivery != "async":
        return [], [_unknown(uuid, "getResponse", "textInference", traits)]
    items = [{**item, "status": "success"} for item in work.items]
    if work.error is not None:
        items.append(
            {
                "taskType": work.task_type,
                "taskUUID": uuid,
                "status": "error",
                "error": {"code": work.plan.code, "message": f"it failed: {uuid}"},
            }
        )
    elif len(items) < work.plan.number:
        running = {"taskType": work.task_type, "taskUUID": uuid, "status": "processing"}
        items.append({**running, "progress": 100 * len(items) // work.plan.number})
    return items, []


def details(
    work: Work | None, uuid: str, traits: Traits, now: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What ``getTaskDetails`` answers: items and errors."""
    missing = [_unknown(uuid, "getTaskDetails", "textInference", traits)]
    if work is None or now < work.registered_at or not traits.archive:
        return [], missing
    answer: dict[str, Any] = {
        "taskType": "getTaskDetails",
        "taskUUID": uuid,
        "request": [{"taskType": work.task_type, "taskUUID": uuid}],
    }
    if work.finished_at is None or now < work.finished_at + traits.archive_delay:
        if traits.details_running == "not-found":
            return [], missing
        return [{**answer, "response": {"status": "processing", "taskUUID": uuid}}], []
    if work.error is not None:
        response: dict[str, Any] = {"errors": [work.failure(anonymous=False)]}
        if work.items:
            response["data"] = work.items
    elif len(work.items) == 1:
        response = work.items[0]
    else:
        response = {"data": work.items}
    return [{**answer, "response": response}], []
