"""The gate before the wire: every task passes ``validate_task`` once.

A ``TextInference`` is already valid. A dict for Claude Haiku 4.5 is checked completely. In a dict
for any other model or task type, only the envelope is checked: other models' schemas are the
server's business, and new ones appear all the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runware_ws.errors import InvalidTask
from runware_ws.models.base import WireModel
from runware_ws.models.formats import is_uuid4, new_uuid
from runware_ws.models.jsonable import dump_json
from runware_ws.models.text_inference import HAIKU_MODEL, TEXT_INFERENCE, TextInference

__all__ = ["ValidatedTask", "validate_task"]

_CLIENT_OWN = frozenset({"authentication", "ping"})
_ABOUT_ANOTHER_TASK = frozenset({"getResponse", "getTaskDetails"})


@dataclass(slots=True, repr=False)
class ValidatedTask:
    """A task that may be sent, with what the client needs to know about it.

    ``uuid`` is in lower case. ``delivery`` is ``sync`` if the task does not say.
    ``number_results`` is 1 if it does not say. ``model`` is ``None`` if there is none.
    ``payload`` is the JSON of the one task object, in UTF-8; a frame needs an array of them.
    """

    uuid: str
    task_type: str
    delivery: str
    number_results: int
    model: str | None
    payload: bytes

    def __repr__(self) -> str:
        return (
            f"ValidatedTask(uuid={self.uuid!r}, task_type={self.task_type!r}, "
            f"delivery={self.delivery!r}, number_results={self.number_results}, "
            f"model={self.model!r}, payload={len(self.payload)} bytes)"
        )


def validate_task(task: WireModel | Mapping[str, Any]) -> ValidatedTask:
    """Check a task and write its JSON; ``task`` is never changed.

    ``task`` is a ``TextInference`` (or another request model) or a mapping in the wire's spelling.
    A missing ``taskUUID`` is created; a missing ``taskType`` is filled in for a known model.

    Raises an ``InvalidTask`` that lists every problem, by place and rule, never by value.
    """
    wire: dict[str, Any]
    if type(task) is dict:
        wire = task  # pyright: ignore[reportUnknownVariableType]
    elif isinstance(task, TextInference):
        return _text_inference(task)
    elif isinstance(task, WireModel):
        return _envelope(task.to_wire())
    elif isinstance(task, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        wire = dict(task)
    else:
        raise InvalidTask(f"a task must be a TextInference or a dict, not {type(task).__name__}")
    if wire.get("model") == HAIKU_MODEL and wire.get("taskType", TEXT_INFERENCE) == TEXT_INFERENCE:
        return _text_inference(TextInference.from_wire(wire))
    return _envelope(wire)


def _text_inference(task: TextInference) -> ValidatedTask:
    return ValidatedTask(
        task.task_uuid,
        task.task_type,
        task.delivery_method or "sync",
        task.number_results or 1,
        task.model,
        task.to_json(),
    )


def _number_results(wire: dict[str, Any], problems: list[str]) -> int:
    value = wire["numberResults"]
    if type(value) is float and value.is_integer():
        value = int(value)  # JSON Schema's integer
    if type(value) is int and value >= 1:
        return value
    problems.append("numberResults: must be a positive integer")
    return 1


def _task_type(wire: dict[str, Any], problems: list[str]) -> str:
    value = wire.get("taskType")
    if value is None and "taskType" not in wire:
        problems.append("taskType: is required")
    elif not isinstance(value, str) or not (word := value.strip()):
        problems.append("taskType: must be a non-empty string")
    elif word.lower() in _CLIENT_OWN:
        problems.append("taskType: the client itself sends authentication and ping")
    elif value in _ABOUT_ANOTHER_TASK and "taskUUID" not in wire:
        # A fresh UUID, as for other tasks, could not be that of the task asked about.
        problems.append("taskUUID: is required; it is the UUID of the task asked about")
    else:
        return value
    return ""


def _envelope(wire: dict[str, Any]) -> ValidatedTask:
    problems: list[str] = []
    task_type = _task_type(wire, problems)
    given = wire.get("taskUUID")
    if "taskUUID" not in wire:
        uuid = new_uuid()
    elif isinstance(given, str) and is_uuid4(given):
        uuid = given.lower()
    else:
        uuid = ""
        problems.append("taskUUID: must be a UUID v4")
    number = _number_results(wire, problems) if "numberResults" in wire else 1
    delivery = wire.get("deliveryMethod", "sync")
    if not isinstance(delivery, str):
        problems.append("deliveryMethod: must be a string")
        delivery = ""
    payload = b""
    try:
        payload = dump_json(wire if uuid == given else {**wire, "taskUUID": uuid})
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise InvalidTask("; ".join(problems), problems=problems, task_uuid=uuid or None)
    model = wire.get("model")
    return ValidatedTask(
        uuid, task_type, delivery, number, model if isinstance(model, str) else None, payload
    )
