"""The core, its clock, its sockets, and a server in three stages: delivered, read, registered."""

from __future__ import annotations

import uuid as uuid_module
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from runware_ws._core.core import SessionCore
from runware_ws._core.effects import Authenticate, Close, Open, Resolve
from runware_ws._core.states import READY, TaskState
from runware_ws._core.tasks.durations import Durations
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config
from runware_ws.errors import Submitted, TaskError

__all__ = ["Action", "Broken", "Fate", "Setting", "World", "uuid_of"]

Action = tuple[str, int]
Message = tuple[str | int, ...]
Fate = Literal["lost", "kept", "twice"]

BEGIN = 1000.0
USUAL = 4.0
TIMEOUT = 24.0
RESEND_AFTER = 1.5
PAUSE = 2.5
POLL, ARCHIVE = "getResponse", "getTaskDetails"

MOST_TURNS = 100

FAR = 500.0
"""Timers that are not wanted here: pings."""


class Broken(AssertionError):
    """A world in which a promise is broken."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What does not change during a run: the tasks, and how the server behaves.

    ``results``: how many of them each task has. ``fate``: what becomes of what was pushed into a
    socket that then died: lost, buffered, or buffered though it had arrived. ``denial``: how the
    server says that it knows no such task. ``polls``: whether it answers ``getResponse`` for sync
    tasks. ``stalls``: how often time may pass while the server has something to read or register.
    ``pauses``: how often time may pass before the cut. ``cancels``: how many tasks are given up.
    ``early`` and ``resend_after`` are the client's options.
    """

    name: str
    results: tuple[int, ...] = (1, 1)
    delivery: tuple[str, ...] = ("sync", "sync")
    resumes: bool = True
    fate: Fate = "kept"
    replay_first: bool = False
    denial: Literal["named", "empty"] = "named"
    polls: bool = False
    punctual: bool = True
    cuts: int = 1
    stalls: int = 2
    pauses: int = 1
    cancels: int = 0
    early: bool = False
    resend_after: float = RESEND_AFTER

    def config(self) -> Config:
        """The client's options."""
        return Config(
            batch_tasks=1,
            replay_grace=0.5,
            usual_duration=USUAL,
            question_timeout=3,
            question_backoff_cap=4,
            ping_after=FAR,
            ping_timeout=FAR,
            busy_ping_after=FAR,
            busy_ping_timeout=FAR,
            keepalive=FAR,
            open_timeout=FAR,
            resend_early=self.early,
            resend_after=self.resend_after,
        )


@dataclass(slots=True)
class Job:
    """What the server knows about one task. ``due``: by when it must have registered it."""

    written_at: float = 0.0
    copies: int = 0
    read_at: float | None = None
    registered: bool = False
    due: float | None = None
    done: bool = False
    executions: int = 0
    session: int = 0


@dataclass(slots=True)
class Wire:
    """One socket, as the server has it. ``unread``: each message, and by when it must be read."""

    unread: list[tuple[Message, float | None]] = field(default_factory=list[Any])
    session: int = 0
    live: bool = True


def uuid_of(number: int) -> str:
    """A UUID v4 that tells its number."""
    return str(uuid_module.UUID(int=(0x4000 << 64) | (0x8 << 60) | number + 1))


def _quarter(_attempt: int) -> float:
    return 0.25


def _session(number: int) -> str:
    return uuid_of(1000 + number)


class World:
    """Everything that there is. An action changes it, and checks what may never be."""

    def __init__(self, setting: Setting, config: Config) -> None:
        self.setting = setting
        self.now = BEGIN
        self.timer = float("inf")
        self.core = SessionCore(config, draw=_quarter)
        durations = Durations()
        self.records = [self._record(n, durations) for n in range(len(setting.results))]
        self.numbers = {record.uuid: n for n, record in enumerate(self.records)}
        self.submitted = 0
        self.ends = [0 for _ in self.records]
        # The server's.
        self.wires: dict[int, Wire] = {}
        self.down: list[Message] = []
        self.sessions = 0
        self.buffers: dict[int, list[Message]] = {}
        self.pushed: dict[int, list[Message]] = {}
        self.jobs = [Job() for _ in self.records]
        # What may still happen.
        self.cuts = setting.cuts
        self.stalls = setting.stalls
        self.pauses = setting.pauses
        self.cancels = setting.cancels
        self.stalled = False
        self.trail: list[Action] = []
        self.core.start(self.now)
        self._drive()

    def _record(self, number: int, durations: Durations) -> TaskRecord:
        uuid, delivery = uuid_of(number), self.setting.delivery[number]
        body = {"taskType": "textInference", "taskUUID": uuid, "deliveryMethod": delivery}
        return TaskRecord(
            uuid,
            "textInference",
            orjson.dumps(body),
            delivery=delivery,
            expected=self.setting.results[number],
            deadline=BEGIN + TIMEOUT,
            learned=durations.of(delivery),
            now=BEGIN,
        )

    # What the driver does, at once

    def _drive(self) -> None:
        for _ in range(MOST_TURNS):
            if (todo := self.core.take()) is None:
                break
            for effect in todo.effects:
                self._perform(effect)
            if todo.writable:
                while (frame := self.core.next_frame(self.now)) is not None:
                    for task in orjson.loads(frame.data):
                        self._write(task)
            if todo.deadline is not None:
                self.timer = todo.deadline
            if self.timer <= self.now:
                self.core.on_deadline(self.now)
        else:
            raise Broken("the core never comes to rest")
        self._check()

    def _perform(self, effect: Any) -> None:
        match effect:
            case Open(generation=number):
                self.wires[number] = Wire()
                self.core.connected(number, self.now)
            case Authenticate(generation=number, session_uuid=session):
                offered = 0 if session is None else self._number_of(session)
                self.wires[number].unread.append((("authentication", offered), None))
            case Close():
                raise Broken(f"the core closed a good socket: {effect}")
            case Resolve(records=records):
                for record in records:
                    self.ends[self.numbers[record.uuid]] += 1
            case _:
                pass

    def _number_of(self, session: str) -> int:
        return next(n for n in range(self.sessions + 1) if _session(n) == session)

    def _write(self, task: dict[str, Any]) -> None:
        kind, number = task["taskType"], self.numbers[task["taskUUID"]]
        if kind not in (POLL, ARCHIVE):
            kind, job = "task", self.jobs[number]
            if job.copies and self.setting.punctual:
                for wire in self.wires.values():
                    if any(message == ("task", number) for message, _ in wire.unread):
                        raise Broken(f"needless: task {number} was sent again, and lies unread")
                if job.read_at is not None:
                    raise Broken(f"needless: task {number} was sent again, and had been read")
            if not job.copies:
                job.written_at = self.now
            job.copies += 1
        self.wires[self.core.generation].unread.append(((kind, number), None))

    # What may happen next

    def actions(self) -> Iterator[Action]:
        """Every input that may come now."""
        if self.down:
            yield "arrive", 0
            if not self.cuts and not self.cancels:
                return
        if self.submitted < len(self.records) and self.now == BEGIN:
            yield "submit", self.submitted
        if self.cancels and self.now > BEGIN:
            for number, record in enumerate(self.records):
                if not record.ended:
                    yield "cancel", number
        for number, wire in self.wires.items():
            if wire.unread:
                yield "read", number
        for number, job in enumerate(self.jobs):
            if job.read_at is not None and not job.registered:
                yield "register", number
            elif job.registered and not job.done:
                yield "finish", number
        live = self._live
        if live is not None and self.cuts:
            # How much of what is on its way to the server got there.
            for delivered in range(len(live.unread) + 1):
                yield "cut", delivered
        if self.over or self.down:
            return
        if live is not None and self.cuts:
            ready = self.pauses and self.submitted == len(self.records)
            if ready and self._may_pass(self.now + PAUSE):
                yield "pause", 0
            return
        if self.submitted == len(self.records) and self._may_pass(self.timer):
            yield "tick", 0

    @property
    def _live(self) -> Wire | None:
        wire = self.wires.get(self.core.generation)
        return wire if wire is not None and wire.live else None

    @property
    def over(self) -> bool:
        """Whether all tasks were submitted, and have ended."""
        return self.submitted == len(self.records) and all(r.ended for r in self.records)

    def _lagging(self) -> bool:
        """Whether the server has something to read or to register."""
        unregistered = any(j.read_at is not None and not j.registered for j in self.jobs)
        return unregistered or any(wire.unread for wire in self.wires.values())

    def _may_pass(self, until: float) -> bool:
        """Whether the server may leave everything as it is until then."""
        if until == float("inf") or (self._lagging() and not self.stalls):
            return False
        unread = [
            (int(message[1]), due)
            for wire in self.wires.values()
            for message, due in wire.unread
            if message[0] == "task"
        ]
        if any(due is not None and until >= due for _, due in unread):
            return False
        for number, job in enumerate(self.jobs):
            if job.done:
                continue
            if not job.registered and job.due is not None and until >= job.due:
                return False
            if self.setting.punctual:
                there = job.read_at is not None or any(n == number for n, _ in unread)
                if there and until >= job.written_at + USUAL:
                    return False
            elif job.read_at is not None and until >= job.read_at + 2 * USUAL:
                return False
        return True

    # What happens

    def do(self, action: Action) -> None:
        """Let it happen."""
        self.trail.append(action)
        what, number = action
        getattr(self, f"_{what}")(number)
        self._drive()

    def _submit(self, number: int) -> None:
        self.submitted += 1
        self.core.submit(self.records[number])

    def _cancel(self, number: int) -> None:
        self.cancels -= 1
        self.core.cancel(self.records[number], self.now)

    def _tick(self, _: int) -> None:
        self._pass(self.timer)
        self.core.on_deadline(self.now)

    def _pause(self, _: int) -> None:
        self.pauses -= 1
        self._pass(self.now + PAUSE)

    def _pass(self, until: float) -> None:
        if self._lagging():
            self.stalls -= 1
            self.stalled = True
        self.now = max(self.now, until)

    def _cut(self, delivered: int) -> None:
        self.cuts -= 1
        wire = self._live
        assert wire is not None
        wire.live = False
        del wire.unread[delivered:]
        kept = self.down
        if self.setting.fate == "twice":
            kept = self.pushed.get(wire.session, [])
        if self.setting.fate != "lost":
            self.buffers.setdefault(wire.session, []).extend(kept)
        self.down = []
        self.core.lost(self.core.generation, Loss(LossKind.CLOSED, code=1006), self.now)

    def _arrive(self, _: int) -> None:
        message = self.down.pop(0)
        self.core.receive(self.core.generation, orjson.dumps(self._words(message)), self.now)

    def _read(self, number: int) -> None:
        wire = self.wires[number]
        message, _ = wire.unread.pop(0)
        kind, about = str(message[0]), int(message[1])
        if kind == "authentication":
            self._authenticate(wire, about)
        elif kind == "task":
            self._take(wire, about)
        else:
            self._answer(wire, kind, about)

    def _register(self, number: int) -> None:
        self.jobs[number].registered = True

    def _finish(self, number: int) -> None:
        job = self.jobs[number]
        job.done = True
        if self.setting.delivery[number] == "sync":
            for index in range(self.setting.results[number]):
                self._push(job.session, ("result", number, index))

    # The server

    def _authenticate(self, wire: Wire, offered: int) -> None:
        if offered and self.setting.resumes:
            wire.session = offered
        else:
            self.sessions += 1
            wire.session = self.sessions
        if not wire.live:
            return
        replayed = self.buffers.pop(wire.session, [])
        reply: list[Message] = [("session", wire.session)]
        self.down += replayed + reply if self.setting.replay_first else reply + replayed

    def _push(self, session: int, message: Message) -> None:
        live = self._live
        if live is not None and live.session == session:
            self.down.append(message)
            self.pushed.setdefault(session, []).append(message)
        else:
            self.buffers.setdefault(session, []).append(message)

    def _take(self, wire: Wire, number: int) -> None:
        job = self.jobs[number]
        if job.registered:
            self._push(wire.session, ("conflict", number))
            return
        job.executions += 1
        if job.executions > 1:
            raise Broken(f"I5: task {number} is executed twice")
        job.read_at = self.now
        job.session = wire.session
        if self.setting.delivery[number] == "async":
            self._push(wire.session, ("receipt", number))

    def _answer(self, wire: Wire, kind: str, number: int) -> None:
        job = self.jobs[number]
        known = kind == ARCHIVE or self.setting.delivery[number] == "async" or self.setting.polls
        if job.done and known:
            self._push(wire.session, ("found", kind, number))
        elif (
            job.registered
            and kind == POLL
            and self.setting.delivery[number] == "async"
            and self.setting.denial == "named"
        ):
            self._push(wire.session, ("running", number))
        elif self.setting.denial == "named":
            self._push(wire.session, ("unknown", kind, number))
        else:
            self._push(wire.session, ("empty",))
        # From here on the one assumption holds for all that was delivered before.
        due = self.now + RESEND_AFTER
        for other in self.wires.values():
            other.unread = [(m, due if d is None else d) for m, d in other.unread]
        for job in self.jobs:
            if job.read_at is not None and job.due is None:
                job.due = due

    def _words(self, message: Message) -> dict[str, Any]:
        match message:
            case ("session", int(number)):
                about = {"taskType": "authentication", "connectionSessionUUID": _session(number)}
                return {"data": [about]}
            case ("result", int(number), int(index)):
                return {"data": [self._item(number, index)]}
            case ("receipt", int(number)):
                return {"data": [{"taskType": "textInference", "taskUUID": uuid_of(number)}]}
            case ("running", int(number)):
                about = {"taskType": "textInference", "taskUUID": uuid_of(number)}
                return {"data": [{**about, "status": "processing"}]}
            case ("conflict", int(number)):
                return {"errors": [{"code": "conflictTaskUUID", "taskUUID": uuid_of(number)}]}
            case ("unknown", str(kind), int(number)):
                about = {"taskType": kind, "taskUUID": uuid_of(number)}
                return {"errors": [{"code": "taskNotFound", "message": "?", **about}]}
            case ("found", str(kind), int(number)):
                items = [self._item(number, n) for n in range(self.setting.results[number])]
                if kind == POLL:
                    return {"data": [{**item, "status": "success"} for item in items]}
                about = {"taskType": kind, "taskUUID": uuid_of(number)}
                asked = [{"taskType": "textInference", "taskUUID": uuid_of(number)}]
                return {"data": [{**about, "request": asked, "response": {"data": items}}]}
            case _:
                return {"data": []}

    @staticmethod
    def _item(number: int, index: int) -> dict[str, Any]:
        about = {"taskType": "textInference", "taskUUID": uuid_of(number)}
        return {**about, "text": f"{number}.{index}"}

    # What may never be

    def _check(self) -> None:
        for number, record in enumerate(self.records):
            ends, job = self.ends[number], self.jobs[number]
            if ends != record.ended:
                raise Broken(f"I1: task {number} is {record.state.name} and ended {ends} times")
            texts = [item["text"] for item in record.items]
            if any(not text.startswith(f"{number}.") for text in texts):
                raise Broken(f"I2: task {number} has {texts}")
            if len(set(texts)) < len(texts):
                raise Broken(f"I3: task {number} has {texts}")
            if not record.ended:
                continue
            if record.state is TaskState.DONE and len(texts) < record.expected:
                raise Broken(f"I1: task {number} is done with {texts}")
            if isinstance(record.error, TaskError):
                raise Broken(f"task {number} failed, and the server never said so")
            if record.submitted is Submitted.NO and job.executions:
                raise Broken(f"task {number} was executed, and the caller was told that it was not")
            if record.submitted is Submitted.YES and not job.executions:
                raise Broken(f"task {number} was not executed, and the caller was told that it was")
            well = record.state in (TaskState.DONE, TaskState.CANCELLED)
            if not well and not self.stalled:
                raise Broken(f"task {number} ended as {record.state.name}, and the server was well")

    def check_end(self) -> None:
        """Nothing can happen any more."""
        for number, record in enumerate(self.records):
            if not record.ended:
                raise Broken(f"I1: task {number} never ends ({record.state.name})")
        # The plans of tasks that ended are dropped when they come up.
        self.core.next_deadline()
        sizes = self.core.sizes()
        kept = ("tombstones", "claims", "requests")
        left = {k: v for k, v in sizes.items() if v and k not in kept}
        if left and self.core.state is READY:
            raise Broken(f"left behind: {left}")
