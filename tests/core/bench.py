"""The core on a bench: a clock that the test moves, and a peer that the test plays."""

from __future__ import annotations

import uuid as uuid_module
from typing import Any

import orjson

from runware_ws._core.core import SessionCore
from runware_ws._core.effects import Authenticate, Close, Effect, Emit, Open, Resolve
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.durations import Durations
from runware_ws._core.tasks.record import Carrier, TaskRecord
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config
from runware_ws.errors import RunwareError
from runware_ws.events import Event

SESSION = "11111111-1111-4111-8111-111111111111"
OTHER_SESSION = "22222222-2222-4222-8222-222222222222"


def uuid_of(number: int) -> str:
    """A UUID v4 that tells its number."""
    return str(uuid_module.UUID(int=(0x4000 << 64) | (0x8 << 60) | number))


class Bench:
    """One core, its clock, and everything it wanted done."""

    def __init__(
        self,
        *,
        delay: float = 0.25,
        fixed_key: bool = True,
        journaled: bool = False,
        **options: Any,
    ) -> None:
        self.now = 1000.0
        self.delays: list[int] = []

        def draw(attempt: int) -> float:
            self.delays.append(attempt)
            return delay

        # Tests of other things need no pings between; test_liveness.py has the real limits.
        idle: dict[str, Any] = {"busy_ping_after": 10.0, "busy_ping_timeout": 9.0}
        self.core = SessionCore(
            Config(**(idle | options)), draw=draw, fixed_key=fixed_key, journaled=journaled
        )
        self.durations = Durations()
        self.effects: list[Effect] = []
        self.numbers = 0

    # What the core wants

    def take(self) -> list[Effect]:
        todo = self.core.take()
        effects = [] if todo is None else list(todo.effects)
        self.effects += effects
        return effects

    def events(self, kind: type[Event] | None = None) -> list[Any]:
        self.take()
        found = [effect.event for effect in self.effects if isinstance(effect, Emit)]
        return [event for event in found if kind is None or isinstance(event, kind)]

    def resolved(self) -> list[TaskRecord]:
        self.take()
        return [r for effect in self.effects if isinstance(effect, Resolve) for r in effect.records]

    def opens(self) -> list[int]:
        self.take()
        return [effect.generation for effect in self.effects if isinstance(effect, Open)]

    def closes(self) -> list[Close]:
        self.take()
        return [effect for effect in self.effects if isinstance(effect, Close)]

    def offered(self) -> str | None:
        """The session that the last authentication offered."""
        self.take()
        return [e for e in self.effects if isinstance(e, Authenticate)][-1].session_uuid

    def written(self) -> list[dict[str, Any]]:
        """Every task object that the core hands out now."""
        tasks: list[dict[str, Any]] = []
        while (frame := self.core.next_frame(self.now)) is not None:
            tasks += orjson.loads(frame.data)
        self.take()
        return tasks

    # What the test does

    def step(self, seconds: float) -> None:
        """Let time pass, calling the core's timer exactly when it asks for it."""
        end = self.now + seconds
        for _ in range(100_000):
            due = self.core.next_deadline()
            if due > end:
                break
            self.now = max(self.now, due)
            self.core.on_deadline(self.now)
            self.take()
        else:
            raise AssertionError("the core's timer does not make progress")
        self.now = end

    def start(self) -> None:
        self.core.start(self.now)
        self.take()

    def open(self) -> int:
        """The socket that the core wanted is open."""
        generation = self.core.generation
        self.core.connected(generation, self.now)
        self.take()
        return generation

    def ready(self, session: str = SESSION) -> int:
        """The socket is open and authenticated into ``session``."""
        generation = self.open()
        self.say({"data": [{"taskType": "authentication", "connectionSessionUUID": session}]})
        return generation

    def begin(self, session: str = SESSION) -> None:
        """Start, and be ready."""
        self.start()
        self.ready(session)

    def cut(self, code: int | None = None, loss: Loss | None = None) -> None:
        """The socket ends."""
        self.core.lost(self.core.generation, loss or Loss(LossKind.CLOSED, code=code), self.now)
        self.take()

    def reconnect(self, session: str = SESSION, wait: float = 0.25) -> None:
        """Let the backoff pass, and be ready again."""
        self.step(wait)
        self.ready(session)
        self.step(0)

    def say(self, message: Any) -> None:
        """The peer says something."""
        data = message if isinstance(message, bytes) else orjson.dumps(message)
        self.core.receive(self.core.generation, data, self.now)
        self.take()

    def task(
        self,
        *,
        timeout: float = 100.0,
        delivery: str = "sync",
        expected: int = 1,
        size: int = 0,
        deltas: Deltas | None = None,
        carrier: Carrier = Carrier.SOCKET,
        task_type: str = "textInference",
    ) -> TaskRecord:
        """Submit a task."""
        self.numbers += 1
        uuid = uuid_of(self.numbers)
        body: dict[str, Any] = {"taskType": task_type, "taskUUID": uuid}
        if delivery != "sync":
            body["deliveryMethod"] = delivery
        if size:
            body["padding"] = "x" * size
        record = TaskRecord(
            uuid,
            task_type,
            orjson.dumps(body),
            delivery=delivery,
            expected=expected,
            deadline=self.now + timeout,
            learned=self.durations.of(delivery),
            watched=True,
            deltas=deltas,
            carrier=carrier,
            now=self.now,
        )
        self.core.submit(record)
        self.take()
        return record

    def written_task(self, **options: Any) -> TaskRecord:
        """Submit a task, with the options of :meth:`task`, and write it to the socket."""
        record = self.task(**options)
        self.written()
        return record

    def begin_written(self, **options: Any) -> TaskRecord:
        """Begin, with one task on the wire."""
        self.begin()
        return self.written_task(**options)

    def begin_in_doubt(self, session: str = SESSION, **options: Any) -> TaskRecord:
        """Begin with one task on the wire, cut the socket, and be ready again in ``session``.

        Nobody knows by then what became of the task.
        """
        record = self.begin_written(**options)
        self.cut()
        self.reconnect(session)
        return record

    def answer(self, record: TaskRecord, text: str = "yes", **extra: Any) -> None:
        """The peer answers a task."""
        self.say({"data": [item(record, text, **extra)]})

    def archive(self, record: TaskRecord, response: dict[str, Any]) -> None:
        """The peer answers the question about a task that is due within a second."""
        self.step(1)
        asked = {"taskType": "getTaskDetails", "taskUUID": record.uuid}
        assert asked in self.written()
        self.say({"data": [{**asked, "response": response}]})

    def deny(self, within: float, *, step: float = 0.25) -> list[tuple[str, str]]:
        """The server knows no task: it denies whatever it is asked, and answers pings.

        Returns what was asked or sent, in order, until something else than a question was sent;
        the clock stands at that moment.
        """
        seen: list[tuple[str, str]] = []
        end = self.now + within
        while True:
            self.step(0)
            for task in self.written():
                kind = task["taskType"]
                if kind == "ping":
                    self.say({"data": [{"taskType": "ping", "pong": True}]})
                    continue
                seen.append((kind, task["taskUUID"]))
                if kind in ("getResponse", "getTaskDetails"):
                    denial = {"code": "taskNotFound", "message": "m", "taskType": kind}
                    self.say({"errors": [{**denial, "taskUUID": task["taskUUID"]}]})
            if any(kind not in ("getResponse", "getTaskDetails") for kind, _ in seen):
                return seen
            if self.now >= end:
                return seen
            self.step(min(step, end - self.now))

    def resent(self, record: TaskRecord, within: float = 60.0) -> float:
        """The server denies a task until it is sent again; how many seconds that took."""
        begun = self.now
        assert self.deny(within)[-1] == (record.task_type, record.uuid)
        return self.now - begun

    def refuse(self, record: TaskRecord, code: str, **extra: Any) -> None:
        """The peer says an error about a task."""
        self.say({"errors": [error(record, code, **extra)]})


def item(record: TaskRecord, text: str = "yes", **extra: Any) -> dict[str, Any]:
    """A result as the wire has it."""
    return {"taskType": record.task_type, "taskUUID": record.uuid, "text": text, **extra}


def error(record: TaskRecord, code: str, **extra: Any) -> dict[str, Any]:
    """An error as the wire has it."""
    return {"code": code, "message": f"about {code}", "taskUUID": record.uuid, **extra}


def ended(record: TaskRecord, state: TaskState) -> RunwareError | None:
    """Assert how a task ended; its error."""
    assert record.state is state, record
    return record.error
