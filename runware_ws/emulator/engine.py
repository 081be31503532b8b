"""What the emulated server does with messages. All synchronous; sockets only move bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio
import orjson
from anyio.abc import TaskGroup

from .executing import Executor, outcome
from .faults import CutOrder, Faults
from .keys import KeyRing
from .latency import Latency
from .options import EmulatorOptions
from .questions import details_unit, poll_units
from .replies import Reply, default_text
from .sessions import Outlet, Session, SessionStore
from .stats import Stats
from .streams import Stream, cut_streams, resume_streams
from .tasks import TaskRecord, TaskStore
from .timers import Timers
from .units import Envelope, Kind, Unit
from .validation import (
    BrokenRuleError,
    check_stream,
    check_task,
    is_list,
    is_uuid,
    task_error,
)

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
        self.executor = Executor(self)
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

    def cut_due(self, results: int, frames: int, deltas: int) -> CutOrder | None:
        """The order that ends a socket which has written so much, used up by one."""
        orders = self.faults.cut_orders
        written = {"results": results, "frames": frames, "deltas": deltas}
        for order in orders:
            if written[order.what] >= order.number:
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
        """A session lost its socket; ``units`` were not delivered, as far as TCP knows."""
        cut_streams(session, units)
        self._keep(session, [unit for unit in units if unit.stream is None])
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
        else:
            self.perform(connection, session, task)

    def perform(self, outlet: Outlet, session: Session, task: dict[str, Any]) -> None:
        """Do what one task object of an authenticated client says."""
        kind = task.get("taskType")
        if kind == "ping":
            self.stats.pings += 1
            self._answer(outlet, {"taskType": "ping", "pong": True})
        elif kind == "getResponse":
            self.stats.polls += 1
            outlet.push(Envelope(poll_units(self, session.key_id, task)))
        elif kind == "getTaskDetails":
            self.stats.details += 1
            outlet.push(Envelope([details_unit(self, session.key_id, task)]))
        else:
            self._submit(session, task)

    def _fail(self, outlet: Outlet, error: dict[str, Any]) -> None:
        outlet.push(Envelope([Unit(Kind.CONTROL, error, is_error=True)]))

    def _answer(self, outlet: Outlet, item: dict[str, Any]) -> None:
        outlet.push(Envelope([Unit(Kind.CONTROL, item)]))

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
        connection.send_body(self.refusal())
        if self.options.close_after_refusal:
            connection.close(self.options.refusal_close_code, "invalid key")

    def refusal(self) -> bytes:
        """The body that refuses a key."""
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
        return orjson.dumps(body)

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
        else:
            envelopes += resume_streams(session)
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

    def _submit(self, session: Session, task: dict[str, Any]) -> None:
        kind = task.get("taskType")
        way = (
            self.options.stream_over_http if session.over_http else self.options.stream_over_socket
        )
        error = self._objection(kind, task, way)
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
        elif record.method == "stream" and way == "deltas":
            record.stream = Stream(self, record)
        for index in range(len(record.generations)):
            self.executor.start(record, index)

    def _objection(self, kind: object, task: dict[str, Any], way: str) -> dict[str, Any] | None:
        if not isinstance(kind, str) or self.executor.reply_for(kind) is None:
            return task_error(
                "unsupportedTaskType",
                "This task type is not supported.",
                task,
                parameter="taskType",
            )
        try:
            check_task(task)
            check_stream(task, supported=way != "error")
        except BrokenRuleError as problem:
            return task_error(problem.code, problem.message, task, parameter=problem.parameter)
        injection = self.faults.injected(task, "accept") if self.faults.injections else None
        if injection is not None:
            if injection.anonymous:
                return dict(injection.error)
            return task_error(task=task, **injection.error)
        return None

    def _acknowledge(self, session: Session, task: dict[str, Any]) -> None:
        item = {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}
        self.deliver(session, Envelope([Unit(Kind.ACK, item)]))

    def _repeat(self, session: Session, task: dict[str, Any]) -> None:
        """A ``taskUUID`` came again."""
        self.stats.conflicts += 1
        record = self.tasks.find(session.key_id, task["taskUUID"])
        if self.options.repeated_uuid == "result" and record is not None:
            if record.stream is not None:
                record.stream.move(session)
            record.session = session
            if record.method == "async":
                self._acknowledge(session, task)
            elif record.done:
                self.deliver(session, Envelope(outcome(record)))
            return
        error = task_error(
            "conflictTaskUUID", "This taskUUID was used before.", task, parameter="taskUUID"
        )
        self.deliver(session, Envelope([Unit(Kind.ERROR, error, is_error=True)]))
