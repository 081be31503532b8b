"""The server's messages, and every other way to write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import permutations
from typing import Any, cast

from tests.core.bench import uuid_of

__all__ = ["Message", "Way", "merged", "more_ways", "ways"]

Message = dict[str, Any]
Way = tuple[str, list[Message]]
Path = tuple[str | int, ...]

STRANGER = uuid_of(0xFACADE)
PONG: Message = {"data": [{"taskType": "ping", "pong": True}]}

NOTICES: dict[str, Message] = {
    "a pong": PONG,
    "a notice": {"errors": [{"code": "plannedMaintenance", "message": "at nine"}]},
    "a stranger's result": {"data": [{"taskUUID": STRANGER, "text": "not yours"}]},
    "a stranger's receipt": {"data": [{"taskType": "textInference", "taskUUID": STRANGER}]},
    "a stranger's delta": {"data": [{"taskUUID": STRANGER, "delta": {"text": "not yours"}}]},
    "a stranger's error": {"errors": [{"code": "inferenceError", "taskUUID": STRANGER}]},
    "a stranger's conflict": {"error": {"code": "conflictTaskUUID", "taskUUID": STRANGER}},
}

UNKNOWN: tuple[Any, ...] = (None, 1, "text", [], {"taskUUID": STRANGER, "text": "not yours"})
"""Values of a key that nobody has heard of."""

# Fields that may be there, by the kind of message, for the items of its ``data``.
_RESULT: Message = {
    "cost": 0.1,
    "usage": {"promptTokens": 1, "completionTokens": 2},
    "status": "success",
    "progress": 100,
    "finishReason": "stop",
    "createdAt": "2026-01-01T00:00:00Z",
    "error": None,
    "errors": [],
    "seed": 7,
    "delta": {},
    "toolCalls": [],
}
_RECEIPT: Message = {
    "cost": 0,
    "usage": None,
    "status": "processing",
    "message": "queued",
    "queuePosition": 3,
    "deliveryMethod": "async",
    "seed": 7,
    "progress": 0,
    "error": None,
    "errors": [],
    # Some servers write all fields, and null for what is not there.
    "text": None,
    "finishReason": None,
    "delta": None,
}
OPTIONAL: dict[str, Message] = {
    "result": _RESULT,
    "poll": {key: value for key, value in _RESULT.items() if key != "status"},
    "receipt": _RECEIPT,
    "running": {
        "progress": 50,
        "cost": None,
        "message": "soon",
        "error": None,
        "errors": [],
        "text": None,
    },
    "delta": {"taskType": "textInference", "cost": None, "usage": None, "error": {}, "text": None},
    "last delta": {"taskType": "textInference", "cost": 0.1, "usage": {"completionTokens": 2}},
    "archive": {"cost": 0.1, "error": None, "errors": [], "createdAt": "2026-01-01"},
    "authentication": {"expiresIn": 120, "error": None, "errors": None, "status": "success"},
}
OF_AN_ERROR: Message = {
    "parameter": "taskUUID",
    "documentation": "https://example.com",
    "request_id": "r",
    "retry_after": None,
}
DROPPED = frozenset(
    {"message", "parameter", "documentation", "taskType", "finishReason", "cost", "usage"}
)
"""What may be missing, except where a kind keeps it."""
KEPT = {
    "archive": {"taskType"},
    "authentication": {"taskType"},
    "denial": {"taskType"},
    "last delta": {"finishReason"},
}
TWICE = frozenset({"result", "receipt", "refusal", "archive", "poll", "conflict", "running"})
"""What may come twice. (A delta that does is other text; an empty answer answers twice.)"""
LISTINGS = frozenset({"poll", "running"})
"""They name all results at once, so what stands there twice is two equal results."""


def ways(kind: str, message: Message) -> Iterator[Way]:
    """Every other way to say it, by name."""
    yield from _at_every_place(message)
    yield from _optional(kind, message)
    yield from _spellings(kind, message)
    yield from _frames(kind, message)
    yield from _in_between(message)


def more_ways(message: Message) -> Iterator[Way]:
    """Other ways to say what is said in another way already."""
    yield from _at_every_place(message)
    for name, notice in NOTICES.items():
        yield f"{name} before", [notice, message]


def merged(first: Message, second: Message) -> Message:
    """Both messages in one frame."""
    both: Message = {}
    for part in (first, second):
        for key, value in part.items():
            both[key] = [*both.get(key, []), *value]
    return both


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every object in a message that says something: one that is empty is as good as not there,
    and would not be with anything in it."""
    if isinstance(value, dict):
        if value:
            yield path
        for key, entry in cast("Message", value).items():
            yield from _places(entry, (*path, key))
    elif isinstance(value, list):
        for number, entry in enumerate(cast("list[Any]", value)):
            yield from _places(entry, (*path, number))


def _changed(message: Message, path: Path, change: Callable[[Message], Message]) -> Message:
    """A copy of the message with one of its objects changed."""
    if not path:
        return change(deepcopy(message))
    copy = deepcopy(message)
    within: Any = copy
    for step in path[:-1]:
        within = within[step]
    within[path[-1]] = change(within[path[-1]])
    return copy


def _at_every_place(message: Message) -> Iterator[Way]:
    def reverse(value: Message) -> Message:
        return dict(reversed(value.items()))

    for path in _places(message):
        where = "/".join(map(str, path)) or "frame"
        for value in UNKNOWN:
            for first in (True, False):

                def add(old: Message, value: Any = value, first: bool = first) -> Message:
                    new = {"heardOfByNobody": value}
                    return {**new, **old} if first else {**old, **new}

                place = "first" if first else "last"
                yield f"{where}: unknown key {value!r} {place}", [_changed(message, path, add)]
        yield f"{where}: reversed", [_changed(message, path, reverse)]
        for key in ("taskUUID", "connectionSessionUUID"):

            def upper(old: Message, key: str = key) -> Message:
                return {**old, **({key: old[key].upper()} if key in old else {})}

            if (shouted := _changed(message, path, upper)) != message:
                yield f"{where}: {key} in upper case", [shouted]


def _entries(message: Message) -> Iterator[tuple[Path, bool]]:
    """The items and errors of a message, those of an archive's answer too; whether an error."""
    for path in _places(message):
        if len(path) >= 2 and isinstance(path[-1], int):
            if path[-2] in ("errors", "error"):
                yield path, True
            elif path[-2] == "data":
                yield path, False


def _optional(kind: str, message: Message) -> Iterator[Way]:
    for path, is_error in _entries(message):
        inner = "response" in path
        fields = OF_AN_ERROR if is_error else OPTIONAL.get("result" if inner else kind, _RESULT)
        where = "/".join(map(str, path))
        for key, value in fields.items():
            for given in (value, None):

                def put(old: Message, key: str = key, given: Any = given) -> Message:
                    return old if key in old else {key: given, **old}

                if (more := _changed(message, path, put)) != message:
                    yield f"{where}: {key}={given!r}", [more]
        kept = set[str]() if inner else KEPT.get(kind, set[str]())
        for key in sorted(DROPPED - kept):

            def drop(old: Message, key: str = key) -> Message:
                return {k: v for k, v in old.items() if k != key}

            if (less := _changed(message, path, drop)) != message:
                yield f"{where}: no {key}", [less]
    for key in ("data", "errors", "error"):
        if key not in message:
            values: list[Any] = [None, []] if key != "error" else [None, False, []]
            for value in values:
                yield f"frame: {key}={value!r}", [{**message, key: value}]


def _spellings(kind: str, message: Message) -> Iterator[Way]:
    errors: list[Message] = message.get("errors") or []
    rest = {key: value for key, value in message.items() if key != "errors"}
    if errors:
        yield "errors as error: [...]", [{**rest, "error": errors}]
        yield "errors under both keys", [{**message, "error": errors}]
    if len(errors) == 1:
        (error,) = errors
        yield "errors as error: {...}", [{**rest, "error": error}]
        yield "errors as errors: {...}", [{**rest, "errors": error}]
        yield "the error beside true", [{**rest, "error": True, **error}]
        if kind == "refused key":
            # The old style (documented).
            legacy = {"errorId": 19, "errorMessageContentId": 1212, "errorMessage": "no"}
            yield "the old style", [{"error": True, **legacy}]
        if kind == "refusal":
            item = {"taskUUID": error["taskUUID"]}
            yield "an item with error", [{"data": [{**item, "error": error}]}]
            yield "an item with errors", [{"data": [{**item, "errors": [error]}]}]
            yield "an item with a status", [{"data": [{**item, "status": "error", **error}]}]
            shouted = {**item, "status": "FAILED", "error": error}
            yield "an item with a status in capitals", [{"data": [shouted]}]
    if kind == "archive":
        yield from _archives(message)
    items: list[Message] = message.get("data") or []
    if kind == "result" and len(items) > 1:
        indexed = [{**item, "resultIndex": n} for n, item in enumerate(items)]
        yield "numbered", [{**message, "data": indexed}]
        yield "numbered, the last first", [{**message, "data": indexed[::-1]}]
        yield (
            "numbered as text",
            [
                {
                    **message,
                    "data": [{**item, "resultIndex": str(n)} for n, item in enumerate(items)],
                }
            ],
        )
        yield (
            "all with one number",
            [{**message, "data": [{**item, "resultIndex": 0} for item in items]}],
        )


def _archives(message: Message) -> Iterator[Way]:
    (answer,) = message["data"]
    found: list[Message] = answer["response"]["data"]
    shapes: dict[str, Any] = {
        "with empty errors": {"data": found, "errors": []},
        "with null errors": {"data": found, "errors": None, "error": None},
    }
    shapes["a list"] = found
    if len(found) == 1:
        shapes["one item"] = found[0]
        shapes["one item as data"] = {"data": found[0]}
    for name, response in shapes.items():
        yield f"response: {name}", [{"data": [{**answer, "response": response}]}]
    asked: list[Message] = answer["request"]
    yield "request: one object", [{"data": [{**answer, "request": asked[0]}]}]
    yield "no request", [{"data": [{k: v for k, v in answer.items() if k != "request"}]}]
    nameless = [{k: v for k, v in item.items() if k != "taskUUID"} for item in found]
    yield "nameless results", [{"data": [{**answer, "response": {"data": nameless}}]}]
    other = {"taskType": "textInference", "taskUUID": STRANGER}
    array = [{**other, "text": "not yours"}, *found]
    both = {**answer, "request": [other, *asked], "response": {"data": array}}
    yield "the whole array", [{"data": [both]}]
    failed = {"data": found, "errors": [{"code": "inferenceError", "taskUUID": STRANGER}]}
    both = {**answer, "request": [other, *asked], "response": failed}
    yield "the whole array, another task failed", [{"data": [both]}]


def _frames(kind: str, message: Message) -> Iterator[Way]:
    items: list[Message] = message.get("data") or []
    errors: list[Message] = message.get("errors") or []
    for order in list(permutations(items))[1:]:
        yield "items in another order", [{**message, "data": list(order)}]
    if len(items) + len(errors) > 1:
        singles = [{"data": [item]} for item in items] + [{"errors": [e]} for e in errors]
        yield "split", singles
        yield "split, the last first", singles[::-1]
    if kind in TWICE:
        yield "twice", [message, message]
        if items and kind not in LISTINGS:
            yield "twice in one frame", [{**message, "data": [*items, *items]}]
        if errors:
            yield "twice in one frame", [{**message, "errors": [*errors, *errors]}]


def _in_between(message: Message) -> Iterator[Way]:
    empty = not message.get("data") and not message.get("errors")
    for name, notice in NOTICES.items():
        yield f"{name} before", [notice, message]
        yield f"{name} after", [message, notice]
        if empty:
            continue
        said = {"errors": [notice["error"]]} if "error" in notice else notice
        yield f"{name} in the frame, first", [merged(said, message)]
        yield f"{name} in the frame, last", [merged(message, said)]
