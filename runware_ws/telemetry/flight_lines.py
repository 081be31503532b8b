"""What a flight recording holds, and how it is written: one JSON object a line.

An entry is a tuple: its kind, and what belongs to it. The recorder appends
nothing but references; here they become lines, when somebody wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from enum import Enum
from operator import attrgetter
from typing import Any, cast

from runware_ws._core import wire
from runware_ws._core.effects import (
    Admit,
    Effect,
    Emit,
    Enter,
    Post,
    PostEnding,
    Progress,
    Resolve,
    Tell,
)
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.classify import Loss
from runware_ws.errors import RunwareError
from runware_ws.events import Event, SessionLost, text_fields
from runware_ws.telemetry.masking import Mask

__all__ = ["SMALL", "Entry", "Unkept", "lines_of", "noted_effects", "noted_error", "noted_task"]

Entry = tuple[Any, ...]

SMALL = 240
"""The memory of an entry, beside the bytes that it refers to."""
_END_SIZE = 160
_UUID = 100


class Unkept:
    """A message that was larger than the whole recording: its mask is all that is left of it."""

    __slots__ = ("mask",)

    def __init__(self, mask: str) -> None:
        self.mask = mask


# What is noted while the client runs: nothing that may still change, no traceback, no owner.


_FACTS = attrgetter(
    "submitted_at",
    "uuid",
    "task_type",
    "payload",
    "delivery",
    "expected",
    "deadline",
    "model",
    "watched",
    "carrier",
)
_END = attrgetter("uuid", "state", "recovered_by")


def noted_task(record: TaskRecord) -> tuple[Any, ...]:
    """What is handed to the core with a task."""
    if record.deltas is None and record.entry is None:
        return _FACTS(record)
    return (*_FACTS(record), record.deltas is not None, record.entry is not None)


def noted_error(error: BaseException) -> tuple[Any, ...]:
    """An error, without what hangs on it."""
    code = getattr(error, "code", None)
    if isinstance(error, RunwareError):
        return type(error).__name__, error.task_uuid, error.submitted, code
    return type(error).__name__, None, None, code


def noted_effects(effects: Iterable[Effect]) -> tuple[int, list[Any]]:
    """What the core wanted done, and the memory that this takes up. Ends and
    admissions are noted one by one."""
    size = 0
    noted: list[Any] = []
    for effect in effects:
        kind = type(effect)
        if isinstance(effect, Resolve):
            for record in effect.records:
                error = record.error
                told = None if error is None else noted_error(error)
                noted.append((*_END(record), len(record.items), told))
                size += _END_SIZE
        elif isinstance(effect, Emit):
            noted.append(effect.event)
            size += _size_of(effect.event)
        elif isinstance(effect, Admit):
            noted += [(kind.__name__, record.uuid, None) for record in effect.records]
            size += _UUID * len(effect.records)
        elif isinstance(effect, (Progress, Post, Enter)):
            number = effect.number if isinstance(effect, Post) else None
            noted.append((kind.__name__, effect.record.uuid, number))
            size += _UUID
        elif not isinstance(effect, Tell):
            noted.append(effect)
            size += _UUID
    return size, noted


def _size_of(event: Event) -> int:
    size = 2 * _UUID + (_UUID * len(event.at_risk) if isinstance(event, SessionLost) else 0)
    for name in text_fields(type(event)):
        text: str | None = getattr(event, name)
        size += 0 if text is None else text.__sizeof__()
    return size


# How it is written


def lines_of(entries: Iterable[Entry], mask: Mask) -> Iterator[dict[str, Any]]:
    """The entries as JSON objects, in their order."""
    for entry in entries:
        yield {"kind": entry[0], **_WRITERS[entry[0]](mask, *entry[1:])}


def _submit(mask: Mask, noted: tuple[Any, ...], outcome: str) -> dict[str, Any]:
    now, uuid, kind, payload, delivery, expected, deadline, model, watched, carrier, *rest = noted
    stream, keyed = rest or (False, False)
    mask.forget(uuid)
    told: dict[str, Any] = {
        "now": now,
        "uuid": uuid,
        "type": mask.word("taskType", kind),
        "delivery": delivery,
        "expected": expected,
        "deadline": _time(deadline),
        "model": None if model is None else mask.text(model),
        "watched": watched,
        "stream": stream,
        "carrier": carrier.value,
        "keyed": keyed,
        "size": len(payload),
        "task": mask.data(payload),
        "outcome": outcome,
    }
    if mask.content:
        told["asked"] = mask.message(payload)
    return told


def _time(at: float) -> float | None:
    return None if at == float("inf") else at


def _named(*names: str) -> Callable[..., dict[str, Any]]:
    """Writes values as they are."""

    def write(_mask: Mask, *values: Any) -> dict[str, Any]:
        return dict(zip(names, values, strict=True))

    return write


def _receive(mask: Mask, now: float, generation: int, data: bytes | str | Unkept) -> dict[str, Any]:
    return {"now": now, "generation": generation, **_message(mask, data, "", generation)}


def _posted(
    mask: Mask, now: float, uuid: str, number: int, data: bytes | str | Unkept
) -> dict[str, Any]:
    return {"now": now, "uuid": uuid, "number": number, **_message(mask, data, uuid, number)}


def _message(mask: Mask, data: bytes | str | Unkept, uuid: str, way: int) -> dict[str, Any]:
    if isinstance(data, Unkept):
        return {"size": None, "message": data.mask, "kept": False}
    return {"size": len(data), "message": mask.message(data, uuid, way), "kept": True}


def _loss(mask: Mask, loss: Loss | None) -> dict[str, Any] | None:
    if loss is None:
        return None
    return {
        "kind": loss.kind.value,
        "code": loss.code,
        "status": loss.status,
        "retry_after": loss.retry_after,
        "detail": mask.text(loss.detail),
    }


def _lost(mask: Mask, now: float, generation: int, loss: Loss) -> dict[str, Any]:
    return {"now": now, "generation": generation, "loss": _loss(mask, loss)}


def _post_ended(
    mask: Mask, now: float, uuid: str, number: int, ending: PostEnding
) -> dict[str, Any]:
    return {
        "now": now,
        "uuid": uuid,
        "number": number,
        "how": ending.how.value,
        "loss": _loss(mask, ending.loss),
        "body": mask.message(ending.body, uuid) if ending.body else "",
    }


def _error(mask: Mask, noted: tuple[Any, ...]) -> dict[str, Any]:
    name, uuid, submitted, code = noted
    told = {"error": name, "uuid": uuid, "submitted": submitted}
    return {**told, "code": mask.code(code) if isinstance(code, str) else code}


def _refuse(mask: Mask, now: float, uuid: str, noted: tuple[Any, ...]) -> dict[str, Any]:
    return {"now": now, "uuid": uuid, "error": _error(mask, noted)}


def _fail(mask: Mask, now: float, noted: tuple[Any, ...]) -> dict[str, Any]:
    return {"now": now, "error": _error(mask, noted)}


def _recorded(
    mask: Mask, now: float, uuid: str, other: str, items: list[dict[str, Any]]
) -> dict[str, Any]:
    masked = mask.value(items, other)
    return {"now": now, "uuid": uuid, "other": other, "items": masked}


def _rebind(mask: Mask, uuid: str, other: str, payload: bytes, outcome: str) -> dict[str, Any]:
    told = {"uuid": uuid, "other": other, "size": len(payload), "outcome": outcome}
    return {**told, "delivery": wire.delivery_of(payload), "task": mask.data(payload)}


def _next(_mask: Mask, now: float, frame: Any) -> dict[str, Any]:
    if frame is None:
        return {"now": now, "frame": None}
    if isinstance(frame, bytes):
        # A ping, or questions: ours, and there is nothing in them but types and taskUUIDs.
        return {"now": now, "frame": {"says": frame.decode()}}
    size, uuids = frame
    return {"now": now, "frame": {"size": size, "tasks": uuids}}


def _take(mask: Mask, noted: list[Any], writable: bool, deadline: float | None) -> dict[str, Any]:
    effects = [_effect(mask, each) for each in noted]
    shown = "never" if deadline == float("inf") else deadline
    return {"effects": effects, "writable": writable, "deadline": shown}


def _effect(mask: Mask, noted: Any) -> list[Any]:
    if isinstance(noted, Event):
        return ["Emit", type(noted).__name__, _event(mask, noted)]
    if isinstance(noted, tuple):
        facts = cast("tuple[Any, ...]", noted)
        if isinstance(facts[1], TaskState):
            uuid, state, source, count, error = facts
            told = None if error is None else _error(mask, error)
            return ["Resolve", uuid, state.name, source.value, count, told]
        return list(facts)
    return [type(noted).__name__, *(getattr(noted, field.name) for field in fields(noted))]


def _event(mask: Mask, event: Event) -> dict[str, Any]:
    told: dict[str, Any] = {}
    texts = text_fields(type(event))
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name.endswith("uuid") and isinstance(value, str):
            told[field.name] = mask.uuid(value)
        elif field.name == "code" and isinstance(value, str):
            told[field.name] = mask.code(value)
        elif field.name == "metadata":
            continue
        elif field.name in texts:
            told[field.name] = None if value is None else mask.text(value)
        else:
            told[field.name] = value.value if isinstance(value, Enum) else value
    return told


def _claim(mask: Mask, uuid: str, found: int | None) -> dict[str, Any]:
    return {"uuid": mask.uuid(uuid), "found": found}


_WRITERS: dict[str, Callable[..., dict[str, Any]]] = {
    "start": _named("now", "session"),
    "submit": _submit,
    "draw": _named("delay"),
    "entered": _named("now", "uuid", "known"),
    "rebind": _rebind,
    "elsewhere": _named("uuid"),
    "unrecorded": _refuse,
    "recorded": _recorded,
    "refuse": _refuse,
    "cancel": _named("now", "uuid", "done"),
    "keep": _named("uuid"),
    "claim": _claim,
    "drain": _named("now"),
    "close": _named("now"),
    "fail": _fail,
    "connected": _named("now", "generation"),
    "lost": _lost,
    "receive": _receive,
    "moving": _named("amount"),
    "posting": _named("now", "uuid", "number", "wanted"),
    "posted": _posted,
    "post_ended": _post_ended,
    "deadline": _named("now"),
    "next": _next,
    "not_written": _named("generation"),
    "take": _take,
}
