"""Finds out what a message says, and about which task. It reads; the core acts.

The server may say anything: nothing here raises, and a foreign or broken item
touches no unrelated task. Readings keep the order of the message. The common
one, the whole answer to a task that needed no recovery, is a bare pair of record
and item, because every task passes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from runware_ws._core import wire
from runware_ws._core.context import Context
from runware_ws._core.inbound.meaning import RESULT, Meaning, meaning_for, tells_error
from runware_ws._core.tasks.items import has_output
from runware_ws._core.tasks.ladder import UNTOUCHED
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.models.formats import UUID_IN_TEXT
from runware_ws.models.wire_errors import WireError, parse_errors, parse_item_error

__all__ = [
    "Control",
    "Empty",
    "Errors",
    "Nameless",
    "Reading",
    "Results",
    "Router",
    "Single",
    "Stray",
    "Unreadable",
    "proves_life",
]

_CONTROL = ("authentication", "ping")
"""Types of items that are about no task."""

_UUID = re.compile(UUID_IN_TEXT.encode())


@dataclass(slots=True)
class Single:
    """An item that is not a result: a receipt, a delta, an archive entry, or an error.

    ``error`` is the item's error, if it is one.
    """

    record: TaskRecord
    item: dict[str, Any]
    means: Meaning
    error: WireError | None = None


@dataclass(slots=True)
class Results:
    """Results of one task that came together. ``partial``: they are not one whole listing."""

    record: TaskRecord
    items: list[dict[str, Any]]
    partial: bool = False


@dataclass(slots=True)
class Stray:
    """An item for a task that is not pending."""

    uuid: str
    item: dict[str, Any]


@dataclass(slots=True)
class Control:
    """An item that is about no task: a pong, or the reply to our authentication."""

    item: dict[str, Any]


@dataclass(slots=True)
class Nameless:
    """An item that names no task and may be about one."""

    item: dict[str, Any]


@dataclass(slots=True)
class Errors:
    """Errors of one message. ``record``: the only task that they can be about, if known."""

    errors: list[WireError]
    record: TaskRecord | None = None


@dataclass(slots=True)
class Empty:
    """A message without an item and without an error: it answers a question, and names nobody."""


@dataclass(slots=True)
class Unreadable:
    """A message, or a part of it, that could not be read.

    ``about``: the taskUUIDs that it names. ``post``: it came in the answer to a POST, so it can be
    about nothing else.
    """

    reason: str
    data: bytes
    about: Iterable[str] = ()
    post: bool = False


Answer = tuple[TaskRecord, dict[str, Any]]
Reading = Answer | Single | Results | Stray | Control | Nameless | Errors | Empty | Unreadable


def proves_life(said: list[Reading]) -> bool:
    """Whether a message is a sign of life from the server: any but the peer's own pings.

    A gateway sends those by itself, whatever became of the server behind it.
    """
    for reading in said:  # the first one decides, as a rule
        if type(reading) is not Control or not _is_their_ping(reading.item):
            return True
    return not said


def _running(said: list[Reading]) -> set[str]:
    """The tasks of several results of which a message tells that one still runs.

    The error of another of them does not end such a task.
    """
    return {
        each.record.uuid
        for each in said
        if type(each) is Single and each.means is Meaning.PROGRESS and each.record.expected > 1
    }


def _is_their_ping(item: dict[str, Any]) -> bool:
    return item.get("taskType") == "ping" and not item.get("pong")


class Router:
    """Reads messages. ``tasks``: the pending ones, by taskUUID. ``redact`` is applied to errors."""

    def __init__(
        self, out: Context, tasks: dict[str, TaskRecord], *, redact: Callable[[str], str]
    ) -> None:
        self._counters = out.counters
        self._tasks = tasks
        self._redact = redact

    def read(self, data: bytes | str) -> list[Reading]:
        """What one message of the socket says. Never raises, whatever it contains."""
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        counters = self._counters
        counters.frames_in += 1
        counters.bytes_in += len(data)
        try:
            frame = wire.decode(data)
        except wire.MalformedFrameError as exc:
            about = {match.decode().lower() for match in _UUID.findall(data)}
            return [Unreadable(str(exc), data, about)]
        said: list[Reading] = []
        items: Any = frame.get("data")
        if items is not None:
            self._items(items if items.__class__ is list else [items], data, said)
        if "errors" in frame or "error" in frame:
            errors = self.errors_of(frame)
            if errors and said:
                runs = _running(said)
                errors = [error for error in errors if error.task_uuid not in runs]
            if errors:
                said.append(Errors(errors))
            elif not items:
                said.append(Empty())
        elif "data" not in frame:
            said.append(Unreadable("neither data nor errors", data))
        elif not items:
            said.append(Empty())
        return said

    def _items(self, items: list[Any], data: bytes, said: list[Reading]) -> None:
        broken = False
        tasks = self._tasks
        groups: dict[str, list[dict[str, Any]]] | None = None
        for item in items:
            if item.__class__ is not dict:
                broken = True
                continue
            uuid = item.get("taskUUID")
            if type(uuid) is not str or not uuid:
                control = item.get("taskType") in _CONTROL
                said.append(Control(item) if control else Nameless(item))
                continue
            record = tasks.get(uuid)
            if record is None:
                uuid = uuid.lower()
                record = tasks.get(uuid)
                if record is None:
                    control = item.get("taskType") in _CONTROL
                    said.append(Control(item) if control else Stray(uuid, item))
                    continue
            ladder = record.ladder
            if record.expected == 1 and ladder.question is None:
                means = meaning_for(record, item)
                if means is RESULT and ladder is UNTOUCHED and record.deltas is None:
                    said.append((record, item))
                else:
                    said.append(self._reading(record, item, means))
            else:
                # The results of one task in one frame are judged together.
                if groups is None:
                    groups = {}
                groups.setdefault(uuid, []).append(item)
        if groups is not None:
            for uuid, group in groups.items():
                said += self._group(tasks[uuid], group)
        if broken:
            said.append(Unreadable("an item is not an object", data))

    def read_post(self, record: TaskRecord, data: bytes) -> list[Reading]:
        """What one event of the answer to the POST of ``record`` says. Never raises.

        The request held nothing else. So an item without a taskUUID, or with ``""``
        (reported by integrators), is about this task; an item for another is dropped.
        """
        self._counters.bytes_in += len(data)
        try:
            frame = wire.decode(data)
        except wire.MalformedFrameError as exc:
            # Where no object can be, there was no piece.
            about = (record.uuid,) if b"{" in data else ()
            return [Unreadable(str(exc), data, about, post=True)]
        items = frame.get("data")
        errors = self.errors_of(frame)
        if items is None and not tells_error(frame) and ("delta" in frame or has_output(frame)):
            # What such an item has as its error is empty.
            errors = []
        if items is None:
            # An event is a bare item (documented), or an envelope like those on the socket.
            items = [] if errors and "delta" not in frame else [frame]
        elif type(items) is not list:
            items = [items]
        mine: list[dict[str, Any]] = []
        for item in cast("list[Any]", items):
            if item.__class__ is dict and self._is_of(record, item.get("taskUUID")):
                mine.append(item)
            else:
                self._counters.strays += 1
        said = self._group(record, mine)
        if errors:
            told = [error for error in errors if self._is_of(record, error.task_uuid)]
            said.append(Errors(told, record))
        return said

    @staticmethod
    def _is_of(record: TaskRecord, uuid: Any) -> bool:
        return not isinstance(uuid, str) or uuid.lower() in ("", record.uuid)

    def _group(self, record: TaskRecord, items: list[dict[str, Any]]) -> list[Reading]:
        if record.deltas is not None:
            # The items of a stream are read in order.
            return [self._reading(record, item, meaning_for(record, item)) for item in items]
        results: list[dict[str, Any]] = []
        said: list[Reading] = []
        meanings = [meaning_for(record, item) for item in items]
        # The error of one of several results does not end the task while another still runs.
        runs = record.expected > 1 and Meaning.PROGRESS in meanings
        for item, means in zip(items, meanings, strict=True):
            if means is Meaning.RESULT:
                results.append(item)
            elif means is not Meaning.ERROR or not runs:
                said.append(self._reading(record, item, means))
        if not results:
            return said
        # With others before it, as a replay may bring them, or not all of it.
        partial = Meaning.PROGRESS in meanings or len(results) > record.expected
        return [Results(record, results, partial=partial), *said]

    def _reading(self, record: TaskRecord, item: dict[str, Any], means: Meaning) -> Reading:
        if means is Meaning.RESULT:
            return Results(record, [item])
        if means is not Meaning.ERROR:
            return Single(record, item, means)
        # If only the status says so, the whole item stands for the error.
        clean = _redacted(item, self._redact)
        error = parse_item_error(clean) or parse_item_error({**clean, "status": "error"})
        return Single(record, item, means, error)

    def errors_of(self, frame: dict[str, Any]) -> list[WireError]:
        """The errors of a message, without secrets: they go into exceptions and events."""
        told = {key: value for key, value in frame.items() if key != "data"}
        return parse_errors(_redacted(told, self._redact))

    def errors_in(self, body: bytes) -> list[WireError]:
        """The errors in the body of a refusal; none if it is not a JSON object."""
        try:
            return self.errors_of(wire.decode(body))
        except wire.MalformedFrameError:
            return []

    def sample(self, data: bytes) -> str:
        """The beginning of a message for people to read, without secrets."""
        return wire.sample(data, self._redact)


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """The same value with ``redact`` applied to every string in it, names of fields too."""
    # An error of 100,000 fields would hold up all others if each were searched by itself.
    every = "\n".join(_strings(value))
    return value if redact(every) == every else _rewritten(value, redact)


def _strings(value: Any) -> list[str]:
    """Every string in a value, names of fields too."""
    found: list[str] = []
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            fields = cast("dict[str, Any]", one)
            found += fields
            left += fields.values()
        elif isinstance(one, list):
            left += cast("list[Any]", one)
    return found


def _rewritten(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {redact(key): _rewritten(entry, redact) for key, entry in items}
    if isinstance(value, list):
        return [_rewritten(entry, redact) for entry in cast("list[Any]", value)]
    return value
