"""What the emulated server does with messages. All synchronous; sockets only move bytes."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio
import orjson
from anyio.abc import TaskGroup

from .faults import CutOrder, Faults
from .keys import KeyRing
from .latency import Latency
from .options import EmulatorOptions
from .questions import details_unit, poll_units
from .replies import Answer, Reply, ReplyError, Request, default_text, generated_item
from .sessions import Session, SessionStore
from .stats import Stats
from .tasks import TaskRecord, TaskStore
from .timers import Timers
from .units import Envelope, Kind, Unit
from .validation import BrokenRuleError, check_task, is_list, is_uuid, task_error

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Engine"]

_JSON_ERROR = "The message must be a JSON array of task objects."


class Engine:
    """Sessions, tasks, replies and faults of one emulator."""

    def __init__(
        self, keys: KeyRing, options: EmulatorOptions, latency: Latency, seed: int, path: str
    ) -> None:
        self.keys = keys
        self.options = options
        self.latency = latency
        self.path = path
        self.rng = random.Random(f"{seed}/server")
        self.stats = Stats()
        self.timers = Timers()
        self.sessions = SessionStore()
        self.tasks = TaskStore()
        self.faults = Faults(self, random.Random(f"{seed}/faults"))
        self.replies: dict[str, Reply] = {"textInference": default_text}
        self.group: TaskGroup | None = None
        self._connections: dict[Connection, None] = {}

    # -- sockets -------------------------------------------------------------------------

    def connections(self) -> list[Connection]:
        """The live sockets, oldest first."""
        return list(self._connections)

    def opened(self, connection: Connection) -> None:
        """A TCP connection was accepted."""
        self.stats.connections += 1
        self.stats.dials.append(anyio.current_time())
        self._connections[connection] = None

    def closed(self, connection: Connection) -> None:
        """A TCP connection is gone."""
        self._connections.pop(connection, None)

    def rejection(self, path: str) -> tuple[int, float | None] | None:
        """HTTP status and ``Retry-After`` for a handshake, or ``None`` to accept it."""
        if self.faults.rejections.take():
            return self.faults.reject_status, self.faults.reject_retry_after
        if path.partition("?")[0].rstrip("/") != self.path.rstrip("/"):
            return 404, None
        return None

    def cut_due(self, results: int, frames: int) -> CutOrder | None:
        """The order that ends a socket which has written so much, used up by one."""
        orders = self.faults.cut_orders
        for order in orders:
            if (results if order.what == "results" else frames) >= order.number:
                if order.times is not None:
                    order.times -= 1
                    if order.times <= 0:
                        orders.remove(order)
                return order.order
        return None

    @property
    def shuffle(self) -> bool:
        """Whether pending items leave in random order."""
        ordered = self.faults.shuffled
        return self.options.shuffle if ordered is None else ordered

    @property
    def merge_limit(self) -> int:
        """Most items in one frame."""
        return self.faults.merge_limit or self.options.merge_limit

    @property
    def merge_window(self) -> float:
        """Seconds to collect items before writing."""
        ordered = self.faults.merge_window
        return self.options.merge_window if ordered is None else ordered

    # -- sessions ------------------------------------------------------------------------

    def detached(self, session: Session, units: Sequence[Unit]) -> None:
        """A session lost its socket; ``units`` were not delivered."""
        self._keep(session, units)
        if not session.forgotten:
            session.expiry = self.timers.after(
                self.options.buffer_seconds, lambda: self._expire(session)
            )

    def client_closed(self, session: Session, code: int | None) -> None:
        """The client ended the socket of a session with a close frame."""
        if code in (1000, 1001) and not self.options.keep_buffer_on_close:
            self._expire(session)

    def _expire(self, session: Session) -> None:
        if session.socket is None and not session.forgotten:
            self.stats.expired_results += self.sessions.forget(session)

    def forget_all(self) -> int:
        """Forget all sessions; returns how many."""
        known = self.sessions.all()
        for session in known:
            self.stats.expired_results += self.sessions.forget(session)
        return len(known)

    def _keep(self, session: Session, units: Sequence[Unit]) -> None:
        kept = [u for u in units if self.options.buffer_acks or u.kind is not Kind.ACK]
        if session.forgotten:
            self.stats.expired_results += len(kept)
        elif kept:
            self.stats.buffered += len(kept)
            session.keep(kept)

    def deliver(self, session: Session, envelope: Envelope) -> None:
        """Send to the session's socket, or keep for the next one."""
        if session.socket is None:
            self._keep(session, envelope.units)
            return
        session.socket.push(envelope)
        if self.faults.results_doubled:
            session.socket.push(envelope)

    # -- messages ------------------------------------------------------------------------

    def receive(self, connection: Connection, body: bytes) -> None:
        """Handle one client message."""
        try:
            message: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            message = None
        if not is_list(message):
            self.stats.invalid_messages += 1
            self._fail(connection, task_error("invalidRequest", _JSON_ERROR))
            return
        if connection.session is not None and (
            connection.deaf or self.faults.requests_dropped.take()
        ):
            self.stats.lost_requests += len(message)
            return
        self.handle(connection, message)

    def handle(self, connection: Connection, tasks: list[Any]) -> None:
        """Handle the task objects of a message in order; hold them during authentication."""
        for index, task in enumerate(tasks):
            if connection.waiting:
                connection.held.append(tasks[index:])
                return
            if not isinstance(task, dict):
                self.stats.invalid_messages += 1
                self._fail(connection, task_error("invalidRequest", _JSON_ERROR))
                continue
            self._handle_one(connection, cast("dict[str, Any]", task))

    def _handle_one(self, connection: Connection, task: dict[str, Any]) -> None:
        kind = task.get("taskType")
        session = connection.session
        if kind == "authentication":
            self._receive_auth(connection, task)
        elif session is None:
            self._fail(connection, task_error("unauthorized", "Authenticate first.", task))
        elif kind == "ping":
            self.stats.pings += 1
            self._answer(connection, {"taskType": "ping", "pong": True})
        elif kind == "getResponse":
            self.stats.polls += 1
            connection.push(Envelope(poll_units(self, session.key_id, task)))
        elif kind == "getTaskDetails":
            self.stats.details += 1
            connection.push(Envelope([details_unit(self, session.key_id, task)]))
        else:
            self._submit(connection, session, task)

    def _fail(self, connection: Connection, error: dict[str, Any]) -> None:
        connection.push(Envelope([Unit(Kind.CONTROL, error, is_error=True)]))

    def _answer(self, connection: Connection, item: dict[str, Any]) -> None:
        connection.push(Envelope([Unit(Kind.CONTROL, item)]))

    # -- authentication ------------------------------------------------------------------

    def _receive_auth(self, connection: Connection, task: dict[str, Any]) -> None:
        if self.faults.auths_closed.take():
            connection.cut(CutOrder())
            return
        if self.faults.auths_ignored.take():
            connection.waiting = True
            return
        if self.faults.auth_delay > 0:
            connection.waiting = True
            self.timers.after(self.faults.auth_delay, lambda: self._finish_auth(connection, task))
            return
        self._authenticate(connection, task)

    def _finish_auth(self, connection: Connection, task: dict[str, Any]) -> None:
        connection.waiting = False
        if connection.ended:
            return
        self._authenticate(connection, task)
        held, connection.held = connection.held, []
        for tasks in held:
            self.handle(connection, tasks)

    def _authenticate(self, connection: Connection, task: dict[str, Any]) -> None:
        key_id = self.keys.check(task.get("apiKey"))
        if key_id is None:
            self.stats.refused += 1
            self._refuse(connection)
            return
        asked = task.get("connectionSessionUUID")
        session = None
        if asked is not None:
            if not self.faults.sessions_refused:
                session = self.sessions.find(asked, key_id)
            if session is None:
                self.stats.resumes_refused += 1
                if self.options.unknown_session == "error" or not is_uuid(asked):
                    self._refuse_session(connection)
                    return
        if session is not None:
            self.stats.resumes += 1
        else:
            session = self.sessions.create(key_id)
        self.stats.authentications += 1
        self._attach(connection, session)

    def _refuse(self, connection: Connection) -> None:
        message = "Invalid API key."
        style = self.options.bad_key
        if style == "legacy":
            body: dict[str, Any] = {
                "error": True,
                "errorId": 19,
                "errorMessageContentId": 1212,
                "errorMessage": message,
            }
        else:
            task = {"taskType": "authentication"}
            error = task_error("invalidApiKey", message, task, parameter="apiKey")
            body = {"errors": [error]} if style == "errors" else {"error": error}
            if style == "error-list":
                body = {"error": [error]}
        connection.send_body(orjson.dumps(body))
        if self.options.close_after_refusal:
            connection.close(self.options.refusal_close_code, "invalid key")

    def _refuse_session(self, connection: Connection) -> None:
        error = task_error(
            "invalidConnectionSessionUUID",
            "The session is unknown or has expired.",
            {"taskType": "authentication"},
            parameter="connectionSessionUUID",
        )
        self._fail(connection, error)

    def _attach(self, connection: Connection, session: Session) -> None:
        previous = session.socket
        if previous is connection:
            previous = None
        connection.detach()
        if previous is not None:
            previous.detach()
            previous.supersede()
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        connection.session = session
        session.socket = connection
        reply = {"taskType": "authentication", "connectionSessionUUID": session.uuid}
        replay, dies = self._replay(session)
        welcome = [Envelope([Unit(Kind.CONTROL, reply)])]
        first_replay = self.options.replay == "before-auth"
        envelopes = replay + welcome if first_replay and not dies else welcome + replay
        if dies:
            envelopes[-1].then_cut = True
        for envelope in envelopes:
            connection.push(envelope)

    def _replay(self, session: Session) -> tuple[list[Envelope], bool]:
        """What a resumed session gets, and whether the socket dies with it."""
        faults = self.faults
        dies = session.buffered > faults.replay_after and faults.replay_deaths.take()
        units = session.take(faults.replay_after if dies else None)
        if faults.replay_doubled:
            units = [unit for unit in units for _ in range(2)]
        step = self.options.replay_batch if self.options.replay_framing == "batched" else 1
        return [
            Envelope(units[start : start + step], replay=True)
            for start in range(0, len(units), step)
        ], dies

    # -- tasks ---------------------------------------------------------------------------

    def _submit(self, connection: Connection, session: Session, task: dict[str, Any]) -> None:
        kind = task.get("taskType")
        error = self._objection(kind, task)
        if error is not None:
            # A refused task is an outcome as well: it outlives the socket.
            self.deliver(session, Envelope([Unit(Kind.ERROR, error, is_error=True)]))
            return
        record = TaskRecord(task, session, anyio.current_time())
        if self.tasks.used(session.key_id, record.uuid):
            if not self.faults.uniqueness_broken:
                self._repeat(session, task)
                return
            record.execution = self.stats.executions[record.uuid] + 1
        self.tasks.add(record)
        self.stats.tasks_accepted += 1
        self.stats.executions[record.uuid] += 1
        if record.method == "async":
            self._acknowledge(session, task)
        for index in range(len(record.generations)):
            self._start(record, index)

    def _objection(self, kind: object, task: dict[str, Any]) -> dict[str, Any] | None:
        if not isinstance(kind, str) or self._reply_for(kind) is None:
            return task_error(
                "unsupportedTaskType",
                "This task type is not supported.",
                task,
                parameter="taskType",
            )
        try:
            check_task(task)
        except BrokenRuleError as problem:
            return task_error(problem.code, problem.message, task, parameter=problem.parameter)
        injection = self.faults.injected(task, "accept") if self.faults.injections else None
        if injection is not None:
            if injection.anonymous:
                return dict(injection.error)
            return task_error(task=task, **injection.error)
        return None

    def _reply_for(self, kind: str) -> Reply | None:
        return self.replies.get(kind) or self.replies.get("*")

    def _acknowledge(self, session: Session, task: dict[str, Any]) -> None:
        item = {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}
        self.deliver(session, Envelope([Unit(Kind.ACK, item)]))

    def _repeat(self, session: Session, task: dict[str, Any]) -> None:
        """A ``taskUUID`` came again."""
        self.stats.conflicts += 1
        record = self.tasks.find(session.key_id, task["taskUUID"])
        if self.options.repeated_uuid == "result" and record is not None:
            record.session = session
            if record.method == "async":
                self._acknowledge(session, task)
            elif record.done:
                self.deliver(session, Envelope(_outcome(record)))
            return
        error = task_error(
            "conflictTaskUUID", "This taskUUID was used before.", task, parameter="taskUUID"
        )
        self.deliver(session, Envelope([Unit(Kind.ERROR, error, is_error=True)]))

    def _start(self, record: TaskRecord, index: int) -> None:
        generation = record.generations[index]
        generation.started = record.accepted_at
        delay = self.latency.sample(self.rng)
        generation.due = record.accepted_at + delay
        if delay > 0:
            self.timers.after(delay, lambda: self._execute(record, index))
        else:
            self._execute(record, index)

    def _execute(self, record: TaskRecord, index: int) -> None:
        injection = self.faults.injected(record.task, "execute") if self.faults.injections else None
        if injection is not None:
            if injection.anonymous:
                self._failed(record, index, dict(injection.error))
            else:
                self._failed(record, index, task_error(task=record.task, **injection.error))
            return
        reply = self._reply_for(record.task["taskType"])
        request = Request(record.task, index, record.execution)
        try:
            answer = reply(request) if reply is not None else ""
        except Exception as exc:
            self._failed(record, index, self._reply_problem(record, exc))
            return
        if isinstance(answer, (str, dict)):
            self._succeeded(record, request, answer)
        elif self.group is not None:
            self.group.start_soon(self._await_reply, record, request, answer)

    async def _await_reply(
        self, record: TaskRecord, request: Request, pending: Awaitable[Answer]
    ) -> None:
        try:
            answer = await pending
        except Exception as exc:
            self._failed(record, request.index, self._reply_problem(record, exc))
            return
        self._succeeded(record, request, answer)

    def _reply_problem(self, record: TaskRecord, exc: Exception) -> dict[str, Any]:
        if isinstance(exc, ReplyError):
            return task_error(exc.code, exc.message, record.task, **exc.fields)
        self.stats.reply_failures += 1
        message = f"The registered reply raised {type(exc).__name__}: {exc}"
        return task_error("internalServerError", message, record.task)

    def _succeeded(self, record: TaskRecord, request: Request, answer: Answer) -> None:
        style = self.options.result_index
        many = len(record.generations) > 1
        item = generated_item(
            request, answer, with_index=style == "always" or (style == "many" and many)
        )
        if self.faults.giants.take():
            item["text"] = str(item.get("text", "")).ljust(self.faults.giant_bytes, "x")
        record.generations[request.index].item = item
        self._ended(record, Unit(Kind.RESULT, item))

    def _failed(self, record: TaskRecord, index: int, error: dict[str, Any]) -> None:
        record.generations[index].error = error
        self._ended(record, Unit(Kind.ERROR, error, is_error=True))

    def _ended(self, record: TaskRecord, unit: Unit) -> None:
        record.pending -= 1
        if record.done:
            self.tasks.finish(record, self.options.archive_limit)
        if record.method == "async":
            return
        framing = self.faults.framing or self.options.results_framing
        if framing == "separate" or len(record.generations) == 1:
            self.deliver(record.session, Envelope([unit]))
        elif record.done:
            self.deliver(record.session, Envelope(_outcome(record)))


def _outcome(record: TaskRecord) -> list[Unit]:
    """All items and errors of an ended task."""
    units: list[Unit] = []
    for generation in record.generations:
        if generation.item is not None:
            units.append(Unit(Kind.RESULT, generation.item))
        elif generation.error is not None:
            units.append(Unit(Kind.ERROR, generation.error, is_error=True))
    return units
