"""The tasks of the model server: registered, run once, finished, kept in the archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.simulation.traits import Plan, Traits

__all__ = ["Response", "Work", "details", "error_frame", "responses"]


class Response(Protocol):
    """Where the events of a task go that came over HTTP."""

    def say(self, content: dict[str, Any]) -> None: ...

    def end(self, *, in_order: bool) -> None: ...


@dataclass(slots=True, eq=False)
class Work:
    """One task as the server has it. Times are virtual; ``None``: not yet.

    ``delivery`` is that of the request that came, ``response`` where it came over HTTP. ``made``
    items of a stream there are, and ``held`` are those that go out with the next; it is
    ``broken`` once its socket died before all of them arrived.
    """

    plan: Plan
    task_type: str
    session: str
    received_at: float
    registered_at: float
    delivery: str = "sync"
    response: Response | None = None
    made: int = 0
    held: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    broken: bool = False
    items: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    error: dict[str, Any] | None = None
    finished_at: float | None = None
    refused: bool = False
    """A copy of it was refused."""
    array: list[Work] = field(default_factory=list["Work"])
    """The tasks that came in one message with it, itself among them."""

    def item(self, index: int, *, upper: bool) -> dict[str, Any]:
        """The result number ``index``: it tells whose it is."""
        plan = self.plan
        item: dict[str, Any] = {
            "taskType": self.task_type,
            "taskUUID": plan.uuid.upper() if upper else plan.uuid,
        }
        if plan.stream is not None:
            return {**item, **plan.stream.whole()}
        text = f"{plan.uuid}#{'twin' if plan.twins else index}"
        item.update(text=text + "x" * plan.padding, cost=0.001)
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
    if work is None or now < work.registered_at or work.delivery != "async":
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
    running = work.finished_at is None or now < work.finished_at + traits.archive_delay
    if work.refused and (
        traits.archive_keeps == "for-good" or (traits.archive_keeps == "while-running" and running)
    ):
        kept = {"code": "conflictTaskUUID", "message": "used before", "taskUUID": uuid}
        return [{**answer, "response": {"errors": [kept]}}], []
    if running:
        if traits.details_running == "not-found":
            return [], missing
        return [{**answer, "response": {"status": "processing", "taskUUID": uuid}}], []
    if traits.archive_array and len(work.array) > 1:
        others = [each for each in work.array if each is not work]
        answer["request"] += [
            {"taskType": each.task_type, "taskUUID": each.plan.uuid} for each in others
        ]
        listed = [each for each in (*others, work) if each.finished_at is not None]
        response: dict[str, Any] = {"data": [item for each in listed for item in each.items]}
        failures = [each.failure(anonymous=False) for each in listed if each.error is not None]
        if failures:
            response["errors"] = failures
        return [{**answer, "response": response}], []
    if work.error is not None:
        response = {"errors": [work.failure(anonymous=False)]}
        if work.items:
            response["data"] = work.items
    elif len(work.items) == 1:
        response = work.items[0]
    else:
        response = {"data": work.items}
    return [{**answer, "response": response}], []
