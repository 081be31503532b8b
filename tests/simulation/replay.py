"""Plays a recording of the flight recorder through a new core: the same must come of it.

A recording holds all that the core was told, and all that it wanted done. What it was told is told
to a new core, and what that one wants done is compared with the recording, effect by effect.
Words are masked, so texts for people are not compared; an error's class, code and ``submitted``
are, and an event's numbers and taskUUIDs.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from runware_ws import errors
from runware_ws._core.core import SessionCore
from runware_ws._core.effects import Ending, Frame, PostEnding
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.durations import Durations
from runware_ws._core.tasks.record import FOREVER, Carrier, TaskRecord
from runware_ws.classify import Loss, LossKind, Verdict
from runware_ws.config import Config
from runware_ws.errors import RunwareError, Submitted
from runware_ws.models.jsonable import is_object
from runware_ws.telemetry.flight import FORMAT
from runware_ws.telemetry.flight_lines import lines_of, noted_effects
from runware_ws.telemetry.masking import Mask

__all__ = ["Replay", "Unplayable", "replay"]

_TEXTS = frozenset({"reason", "sample", "message"})
"""Of events: what is for people."""


class Unplayable(ValueError):
    """This file cannot be played, and why."""


@dataclass
class Replay:
    """What came of a recording. ``ends``: the recorded and the played end of each task."""

    inputs: int = 0
    differences: list[str] = field(default_factory=list[str])
    ends: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    played: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])

    @property
    def same(self) -> bool:
        """Whether the new core came to the same verdicts by the same effects."""
        return not self.differences and self.ends == self.played

    def text(self) -> str:
        """What people read."""
        lines: list[str] = []
        for uuid, end in self.ends.items():
            again = self.played.get(uuid)
            lines.append(f"{uuid}  {_shown(end)}{'' if again == end else f'  BUT {_shown(again)}'}")
        lines += [f"DIFFERENT: {each}" for each in self.differences]
        lines.append(
            f"{self.inputs} inputs, {len(self.ends)} tasks ended: "
            f"{'the same again' if self.same else 'NOT the same'}"
        )
        return "\n".join(lines)


def _shown(end: list[Any] | None) -> str:
    if end is None:
        return "does not end"
    state, source, count, error = end
    if error is None:
        return f"{state}, {count} results by {source}"
    return f"{state}, {error['error']}, code {error['code']}, submitted {error['submitted']}"


def replay(path: str | Path) -> Replay:
    """Play the recording in this file.

    Raises:
        Unplayable: it is no recording, of another format, or it does not begin anywhere.
        OSError: it cannot be read.
    """
    lines: list[dict[str, Any]] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                found: Any = json.loads(line)
            except ValueError:  # It may be no text either.
                raise Unplayable(f"line {number} is not JSON") from None
            if not is_object(found):
                raise Unplayable(f"line {number} is no object")
            lines.append(found)
    head = lines[0] if lines else {}
    if head.get("kind") != "recording" or head.get("format") != FORMAT:
        raise Unplayable(f"it is no recording of format {FORMAT}")
    return _Player(head, lines).play()


class _Player:
    """Tells a new core what was recorded."""

    def __init__(self, head: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        self._lines = lines
        self._found = Replay()
        self._draws = deque(line["delay"] for line in lines if line["kind"] == "draw")
        self._durations = Durations()
        self._records: dict[str, TaskRecord] = {}
        self._frame: Frame | None = None
        self._where = 0
        # Its words are masks already.
        self._mask = Mask(b"-", str, content=True)
        self._core = SessionCore(
            _config(head["options"]),
            draw=self._draw,
            fixed_key=head.get("fixed_key", True),
            journaled=head.get("journaled", False),
        )
        self._whole = bool(head["whole"])
        self._dropped = head["dropped"]

    def _draw(self, _attempt: int) -> float:
        if not self._draws:
            self._differ("it draws another delay")
            return 0.0
        return float(self._draws.popleft())

    def _differ(self, what: str) -> None:
        self._found.differences.append(f"line {self._where}: {what}")

    def play(self) -> Replay:
        """All of it, or up to the first difference."""
        if not self._whole:
            raise Unplayable(
                f"it begins in the middle, for {self._dropped} older entries had to go, and what "
                "the core knew then is not in it: nothing can be judged. A larger flight_bytes "
                "keeps more"
            )
        for where, line in enumerate(self._lines[1:], 2):
            self._where = where
            kind = line["kind"]
            if kind == "draw":
                continue
            self._found.inputs += 1
            try:
                getattr(self, f"_{kind}")(line)
            except Exception as exc:
                self._differ(f"{kind} raises {exc!r}")
            if self._found.differences:
                # What follows would only be the consequence.
                break
        return self._found

    # Inputs

    def _start(self, line: dict[str, Any]) -> None:
        self._core.start(line["now"], line["session"])

    def _submit(self, line: dict[str, Any]) -> None:
        record = _record(line, self._durations)
        self._compare("submit", line["outcome"], _raised(lambda: self._core.submit(record)))
        if not line["outcome"]:
            self._records[record.uuid] = record

    def _entered(self, line: dict[str, Any]) -> None:
        self._core.entered(self._records[line["uuid"]], line["now"], known=line["known"])

    def _rebind(self, line: dict[str, Any]) -> None:
        record = self._records[line["uuid"]]
        delivery = line["delivery"] or record.delivery
        payload = _payload(record.task_type, line["other"], delivery, line["size"])
        rebind = _raised(lambda: self._core.rebind(record, line["other"], payload))
        self._compare("rebind", line["outcome"], rebind)
        self._records[record.uuid] = record

    def _elsewhere(self, line: dict[str, Any]) -> None:
        self._core.elsewhere(self._records[line["uuid"]])

    def _unrecorded(self, line: dict[str, Any]) -> None:
        error = _error(line["error"])
        self._core.unrecorded(self._records[line["uuid"]], error, line["now"])

    def _recorded(self, line: dict[str, Any]) -> None:
        record = self._records[line["uuid"]]
        self._core.recorded(record, line["other"], line["items"], line["now"])
        self._records[record.uuid] = record

    def _refuse(self, line: dict[str, Any]) -> None:
        record = self._records[line["uuid"]]
        self._core.refuse(record, _error(line["error"]), line["now"])
        self._records[record.uuid] = record

    def _cancel(self, line: dict[str, Any]) -> None:
        if not line["done"]:
            # It had ended, and its taskUUID may be that of another record by now.
            return
        done = self._core.cancel(self._records[line["uuid"]], line["now"])
        self._compare("cancel", line["done"], done)

    def _keep(self, line: dict[str, Any]) -> None:
        self._core.keep(self._records[line["uuid"]])

    def _claim(self, line: dict[str, Any]) -> None:
        found = self._core.claim(line["uuid"])
        self._compare("claim", line["found"], None if found is None else len(found))

    def _drain(self, line: dict[str, Any]) -> None:
        self._core.drain(line["now"])

    def _close(self, line: dict[str, Any]) -> None:
        self._core.close(line["now"])

    def _fail(self, line: dict[str, Any]) -> None:
        self._core.fail(_error(line["error"]), line["now"])

    def _connected(self, line: dict[str, Any]) -> None:
        self._core.connected(line["generation"], line["now"])

    def _lost(self, line: dict[str, Any]) -> None:
        loss = _loss(line["loss"])
        assert loss is not None
        self._core.lost(line["generation"], loss, line["now"])

    def _receive(self, line: dict[str, Any]) -> None:
        self._core.receive(line["generation"], self._message(line), line["now"])

    def _moving(self, line: dict[str, Any]) -> None:
        self._core.moving(line["amount"])

    def _posting(self, line: dict[str, Any]) -> None:
        wanted = self._core.posting(line["uuid"], line["number"], line["now"])
        self._compare("posting", line["wanted"], wanted)

    def _posted(self, line: dict[str, Any]) -> None:
        self._core.posted(line["uuid"], line["number"], self._message(line), line["now"])

    def _post_ended(self, line: dict[str, Any]) -> None:
        body = line["body"]
        told = _bytes(body) if body else b""
        ending = PostEnding(Ending(line["how"]), _loss(line["loss"]), told)
        self._core.post_ended(line["uuid"], line["number"], ending, line["now"])

    def _message(self, line: dict[str, Any]) -> bytes:
        if not line["kept"]:
            self._differ("a message was too large to be kept, so the rest cannot be judged")
        return _bytes(line["message"])

    def _deadline(self, line: dict[str, Any]) -> None:
        self._core.on_deadline(line["now"])

    # Outputs

    def _next(self, line: dict[str, Any]) -> None:
        frame = self._core.next_frame(line["now"])
        if frame is not None:
            self._frame = frame
        told: Any = None
        if frame is not None and frame.records:
            told = {"size": len(frame.data), "tasks": [record.uuid for record in frame.records]}
        elif frame is not None:
            told = {"says": frame.data.decode()}
        self._compare("the next frame", line["frame"], told)

    def _not_written(self, line: dict[str, Any]) -> None:
        assert self._frame is not None
        self._core.not_written(line["generation"], self._frame)

    def _take(self, line: dict[str, Any]) -> None:
        todo = self._core.take()
        if todo is None:
            self._differ("the core wants nothing done")
            return
        _, noted = noted_effects(todo.effects)
        entry = ("take", noted, todo.writable, todo.deadline)
        # Through JSON, as the recording went.
        (told,) = json.loads(json.dumps(list(lines_of([entry], self._mask))))
        for effect in line["effects"]:
            if effect[0] == "Resolve":
                self._found.ends[effect[1]] = effect[2:]
        for effect in told["effects"]:
            if effect[0] == "Resolve":
                self._found.played[effect[1]] = effect[2:]
        for was, now in _pairs(line["effects"], told["effects"]):
            self._compare("an effect", was, now)
        self._compare("writable", line["writable"], told["writable"])
        self._compare("the next deadline", line["deadline"], told["deadline"])

    def _compare(self, what: str, was: Any, now: Any) -> None:
        if was != now:
            self._differ(f"{what} was {was!r} and is now {now!r}")


def _pairs(was: list[Any], now: list[Any]) -> Iterator[tuple[Any, Any]]:
    for number in range(max(len(was), len(now))):
        pair = [_plain(each[number]) if number < len(each) else None for each in (was, now)]
        yield pair[0], pair[1]


def _plain(effect: list[Any]) -> list[Any]:
    """An effect without the texts of its event."""
    if effect[0] != "Emit":
        return effect
    told = {name: value for name, value in effect[2].items() if name not in _TEXTS}
    return [*effect[:2], told]


def _raised(call: Callable[[], object]) -> str:
    """The class of the error that a call raises; nothing if it raises none."""
    try:
        call()
    except RunwareError as exc:
        return type(exc).__name__
    return ""


def _config(options: dict[str, Any]) -> Config:
    given = dict(options)
    for name in ("close_codes", "http_statuses"):
        given[name] = {int(code): Verdict(word) for code, word in given[name].items()}
    return Config(**given)


def _record(line: dict[str, Any], durations: Durations) -> TaskRecord:
    kind = f"{line['type']}|{line['model']}|{line['delivery']}"
    deadline = FOREVER if line["deadline"] is None else line["deadline"]
    return TaskRecord(
        line["uuid"],
        line["type"],
        _payload(line["type"], line["uuid"], line["delivery"], line["size"]),
        delivery=line["delivery"],
        expected=line["expected"],
        deadline=deadline,
        learned=durations.of(kind),
        watched=line["watched"],
        deltas=Deltas() if line["stream"] else None,
        carrier=Carrier(line["carrier"]),
        entry=True if line["keyed"] else None,
        model=line["model"],
        now=line["now"],
    )


def _payload(kind: str, uuid: str, delivery: str, size: int) -> bytes:
    """A task of this size: the core looks at nothing else in it."""
    task = {"taskType": kind, "taskUUID": uuid}
    if delivery != "sync":
        task["deliveryMethod"] = delivery
    more = size - len(orjson.dumps(task)) - len(b',"p":""')
    if more >= 0:
        task["p"] = "p" * more
    return orjson.dumps(task).ljust(size)


def _bytes(message: Any) -> bytes:
    """A message as the core gets it. What could not be read cannot be read again."""
    if isinstance(message, str):
        return message.encode("utf-8", "surrogatepass")
    return json.dumps(message).encode()


def _loss(told: dict[str, Any] | None) -> Loss | None:
    if told is None:
        return None
    return Loss(
        LossKind(told["kind"]), told["code"], told["status"], told["retry_after"], told["detail"]
    )


def _error(told: dict[str, Any]) -> RunwareError:
    """An error of this class, as far as the core looks at one."""
    kind: type[RunwareError] = getattr(errors, told["error"], RunwareError)
    error = kind.__new__(kind)
    RunwareError.__init__(
        error,
        "(masked)",
        task_uuid=told["uuid"],
        submitted=Submitted(told["submitted"] or "no"),
    )
    error.__dict__["code"] = told["code"]
    return error
