"""The tasks of the model server: registered, run once, finished, kept in the archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from runware_ws.models.results import RecoveredBy
from tests.simulation.traits import Plan

__all__ = ["Response", "Work", "error_frame", "with_nulls"]


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
    runs: int = 1
    sockets: list[object] = field(default_factory=list[object])
    """On which copies of it came; the first one was taken in."""
    ways: set[RecoveredBy] = field(default_factory=set[RecoveredBy])
    """How something of it left the server."""
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

    @property
    def streamed(self) -> bool:
        """Whether its answer goes out piece by piece."""
        stream = self.plan.stream
        return stream is not None and stream.pushes and self.delivery == "stream"

    def pieces(self, *, upper: bool) -> list[dict[str, Any]]:
        """What was streamed so far, as it was sent."""
        return [self.piece(index, upper=upper) for index in range(self.made - bool(self.error))]

    def piece(self, index: int, *, upper: bool) -> dict[str, Any]:
        """Item number ``index`` of a stream, as it is sent."""
        plan, stream = self.plan, self.plan.stream
        assert stream is not None
        uuid = plan.uuid.upper() if upper else plan.uuid
        if self.response is not None and stream.nameless:
            uuid = ""
        return {"taskType": self.task_type, "taskUUID": uuid, **stream.items()[index]}

    def receipt(self, kind: str) -> dict[str, Any]:
        """The acknowledgement of an async task."""
        more: dict[str, dict[str, Any]] = {
            "cost": {"cost": 0.0013},
            "message": {"message": "your task was accepted"},
            "queue": {"queuePosition": 3, "estimatedTime": 12.5},
            "status": {"status": "queued"},
        }
        extra = {name: value for each in more.values() for name, value in each.items()}
        about = {"taskType": self.task_type, "taskUUID": self.plan.uuid}
        return {**about, **(extra if kind == "all" else more.get(kind, {}))}

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


_NULLS = dict.fromkeys(
    ("text", "reasoningContent", "toolCalls", "finishReason", "delta", "status", "error", "usage")
)


def with_nulls(frame: dict[str, Any]) -> dict[str, Any]:
    """The same message, with null in each field that an item about a task does not have."""
    items = frame.get("data")
    if not items:
        return frame
    return {**frame, "data": [{**_NULLS, **item} if "taskUUID" in item else item for item in items]}
