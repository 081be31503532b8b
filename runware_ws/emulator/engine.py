"""What the emulated server does with messages. All synchronous; sockets only move bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import anyio
import orjson

from .admission import Overload
from .exact import load_exact
from .executing import Executor, outcome
from .faults import CutOrder, LiveSocket
from .questions import QUESTIONS, answer_units
from .replies import prompt_of
from .sessions import Outlet, Session
from .state import ServerState
from .streams import DeltaStream, cut_streams, resume_streams
from .tasks import AcceptedTask
from .units import Envelope, Kind, Unit
from .validation import (
    BrokenRuleError,
    check_stream,
    check_task,
    is_list,
    is_uuid,
    task_error,
)

__all__ = ["Engine", "Peer"]

_NO_TASKS = ("authentication", "ping", *QUESTIONS)
_ACK_FIELDS: dict[str, dict[str, Any]] = {
    "cost": {"cost": 0.0013},
    "message": {"message": "Your task was accepted."},
    "queue": {"queuePosition": 3, "estimatedTime": 12.5},
    "status": {"status": "queued"},
}
_JSON_ERROR = "The message must be a JSON array of task objects."


class Peer(LiveSocket, Protocol):
    """A socket, as the engine sees it: it may authenticate, and is answered."""

    waiting: bool
    held: list[list[Any]]
    ended: bool

    @property
    def deaf(self) -> bool:
        """Whether what is read must not be executed."""
        ...

    def send_body(self, body: bytes) -> None:
        """Send a ready message body in a text frame."""
        ...

    def close(self, code: int | None, reason: str = "") -> None:
        """End after what is in the outbox has been written. ``None``: no close frame."""
        ...


class Engine:
    """Decides what each message does, and to whom the answers go."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._executor = Executor(state)

    # -- sockets -------------------------------------------------------------------------

    def opened(self, connection: LiveSocket) -> None:
        """A TCP connection was accepted."""
        self.state.stats.connections += 1
        self.state.stats.dials.append(anyio.current_time())
        self.state.sockets[connection] = None

    def closed(self, connection: LiveSocket) -> None:
        """A TCP connection is gone."""
        self.state.sockets.pop(connection, None)

    def rejection(self, path: str) -> tuple[int, float | None] | None:
        """HTTP status and ``Retry-After`` for a handshake, or ``None`` to accept it."""
        if self.state.faults.rejections.take():
            return self.state.faults.reject_status, self.state.faults.reject_retry_after
        if path.partition("?")[0].rstrip("/") != self.state.path.rstrip("/"):
            return 404, None
        return None

    # -- sessions ------------------------------------------------------------------------

    def detached(self, session: Session, units: Sequence[Unit]) -> None:
        """A session lost its socket; ``units`` were not delivered, as far as TCP knows."""
        cut_streams(session, units)
        self.state.keep(session, [unit for unit in units if unit.stream is None])
        if not session.forgotten:
            session.expiry = self.state.timers.after(
                self.state.options.buffer_seconds, lambda: self._expire(session)
            )

    def client_closed(self, session: Session, code: int | None) -> None:
        """The client ended the socket of a session with a close frame."""
        if code in (1000, 1001) and not self.state.options.keep_buffer_on_close:
            self._expire(session)

    def _expire(self, session: Session) -> None:
        if session.socket is None and not session.forgotten:
            self.state.stats.expired_results += self.state.sessions.forget(session)

    # -- messages ------------------------------------------------------------------------

    def receive(self, connection: Peer, body: bytes) -> None:
        """Handle one client message."""
        try:
            message: Any = load_exact(body)
        except orjson.JSONDecodeError:
            message = None
        if not is_list(message):
            self.state.stats.invalid_messages += 1
            self._fail(connection, task_error("invalidRequest", _JSON_ERROR))
            return
        if connection.session is not None:
            if connection.deaf and self.state.read_late:
                self.state.stats.late_requests += len(message)
                delay = self.state.options.dying_delay
                self.state.timers.after(delay, lambda: self.handle(connection, message))
                return
            if connection.deaf or self.state.faults.requests_dropped.take():
                self.state.stats.lost_requests += len(message)
                return
            code = self._poison(message) if self.state.faults.poison_waits else None
            if code is not None:
                self.state.stats.poisoned += 1
                connection.cut(CutOrder(code, "the emulator was told to refuse this"))
                return
        self.handle(connection, message)

    def _poison(self, message: list[Any]) -> int | None:
        """The code that a message ends its socket with."""
        for task in cast("list[object]", message):
            if not isinstance(task, dict):
                continue
            known = cast("dict[str, Any]", task)
            if known.get("taskType") in _NO_TASKS:
                continue
            code = self.state.faults.poisoned(known, prompt_of(known))
            if code is not None:
                return code
        return None

    def handle(self, connection: Peer, tasks: list[Any]) -> None:
        """Handle the task objects of a message in order; hold them during authentication."""
        array: list[AcceptedTask] = []
        joined: list[dict[str, Any]] = []
        for index, task in enumerate(tasks):
            if connection.waiting:
                connection.held.append(tasks[index:])
                return
            if not isinstance(task, dict):
                self.state.stats.invalid_messages += 1
                self._fail(connection, task_error("invalidRequest", _JSON_ERROR))
                continue
            known = cast("dict[str, Any]", task)
            if self._joins(connection, known):
                joined.append(known)
            else:
                self._handle_one(connection, known, array)
        session = connection.session
        if joined and session is not None:
            key_id = session.key_id
            units = [unit for each in joined for unit in answer_units(self.state, key_id, each)]
            connection.push(Envelope(units))

    def _joins(self, connection: Peer, task: dict[str, Any]) -> bool:
        """Whether the answer to it waits for those to the other questions of its message."""
        if not self.state.options.answers_joined or connection.session is None:
            return False
        kind = task.get("taskType")
        return kind in QUESTIONS and kind != self.state.options.mute_question

    def _handle_one(
        self, connection: Peer, task: dict[str, Any], array: list[AcceptedTask]
    ) -> None:
        kind = task.get("taskType")
        session = connection.session
        if kind == "authentication":
            self._receive_auth(connection, task)
        elif session is None:
            self._fail(connection, task_error("unauthorized", "Authenticate first.", task))
        else:
            self.perform(connection, session, task, array)

    def perform(
        self,
        outlet: Outlet,
        session: Session,
        task: dict[str, Any],
        array: list[AcceptedTask] | None = None,
    ) -> None:
        """Do what one task object of an authenticated client says.

        ``array``: the tasks before it that were accepted out of the same message.
        """
        kind = task.get("taskType")
        if kind == "ping":
            self.state.stats.pings += 1
            self._answer(outlet, {"taskType": "ping", "pong": True})
        elif kind in QUESTIONS:
            if kind == self.state.options.mute_question and not session.over_http:
                self.state.stats.mute_questions += 1
                return
            outlet.push(Envelope(answer_units(self.state, session.key_id, task)))
        else:
            self._submit(session, task, [] if array is None else array)

    def _fail(self, outlet: Outlet, error: dict[str, Any]) -> None:
        outlet.push(Envelope([Unit(Kind.CONTROL, error, is_error=True)]))

    def _answer(self, outlet: Outlet, item: dict[str, Any]) -> None:
        outlet.push(Envelope([Unit(Kind.CONTROL, item)]))

    # -- authentication ------------------------------------------------------------------

    def _receive_auth(self, connection: Peer, task: dict[str, Any]) -> None:
        if connection.ended:
            return  # read too late
        if self.state.faults.auths_closed.take():
            connection.cut(CutOrder())
            return
        if self.state.faults.auths_ignored.take():
            connection.waiting = True
            return
        delay = self.state.faults.auth_delay
        if delay > 0:
            connection.waiting = True
            self.state.timers.after(delay, lambda: self._finish_auth(connection, task))
            return
        self._authenticate(connection, task)

    def _finish_auth(self, connection: Peer, task: dict[str, Any]) -> None:
        connection.waiting = False
        if connection.ended:
            return
        self._authenticate(connection, task)
        held, connection.held = connection.held, []
        for tasks in held:
            self.handle(connection, tasks)

    def _authenticate(self, connection: Peer, task: dict[str, Any]) -> None:
        key_id = self.state.keys.check(task.get("apiKey"))
        if key_id is None:
            self.state.stats.refused += 1
            self._refuse(connection)
            return
        asked = task.get("connectionSessionUUID")
        session = None
        if asked is not None:
            if not self.state.faults.sessions_refused:
                session = self.state.sessions.find(asked, key_id)
            if session is None:
                self.state.stats.resumes_refused += 1
                if self.state.options.unknown_session == "error" or not is_uuid(asked):
                    self._refuse_session(connection)
                    return
        named = session is None or self.state.options.resumed_session != "none"
        if session is None:
            session = self.state.sessions.create(key_id)
        else:
            self.state.stats.resumes += 1
            if self.state.options.resumed_session == "new":
                self.state.sessions.rename(session)
        self.state.stats.authentications += 1
        self._attach(connection, session, named=named)

    def _refuse(self, connection: Peer) -> None:
        connection.send_body(self.refusal())
        if self.state.options.close_after_refusal:
            connection.close(self.state.options.refusal_close_code, "invalid key")

    def refusal(self) -> bytes:
        """The body that refuses a key."""
        message = "Invalid API key."
        style = self.state.options.bad_key
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

    def _refuse_session(self, connection: Peer) -> None:
        error = task_error(
            "invalidConnectionSessionUUID",
            "The session is unknown or has expired.",
            {"taskType": "authentication"},
            parameter="connectionSessionUUID",
        )
        self._fail(connection, error)

    def _attach(self, connection: Peer, session: Session, *, named: bool) -> None:
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
        session.elsewhere = False
        reply = {"taskType": "authentication"}
        if named:
            reply["connectionSessionUUID"] = session.uuid
        replay, dies = self._replay(session)
        welcome = [Envelope([Unit(Kind.CONTROL, reply)])]
        code = self.state.options.before_auth
        if code is not None:
            stray = task_error(code, "This is about nothing in particular.")
            welcome.insert(0, Envelope([Unit(Kind.CONTROL, stray, is_error=True)]))
        first_replay = self.state.options.replay == "before-auth"
        envelopes = replay + welcome if first_replay and not dies else welcome + replay
        if dies:
            envelopes[-1].then_cut = True
        else:
            envelopes += resume_streams(session)
        for envelope in envelopes:
            connection.push(envelope)

    def _replay(self, session: Session) -> tuple[list[Envelope], bool]:
        """What a resumed session gets, and whether the socket dies with it."""
        faults = self.state.faults
        dies = session.buffered > faults.replay_after and faults.replay_deaths.take()
        units = session.take(faults.replay_after if dies else None)
        if faults.replay_doubled:
            units = [unit for unit in units for _ in range(2)]
        options = self.state.options
        step = options.replay_batch if options.replay_framing == "batched" else 1
        return [
            Envelope(units[start : start + step], replay=True)
            for start in range(0, len(units), step)
        ], dies

    # -- tasks ---------------------------------------------------------------------------

    def _submit(self, session: Session, task: dict[str, Any], array: list[AcceptedTask]) -> None:
        kind = task.get("taskType")
        options = self.state.options
        way = options.stream_over_http if session.over_http else options.stream_over_socket
        # A limit of the rate stands in front of everything else: it looks at no request.
        overload = self.state.admission.too_fast(session.key_id, options, anyio.current_time())
        if overload is not None:
            self._turn_away(session, task, overload)
            return
        error = self._objection(kind, task, way)
        if error is not None:
            # A refused task is an outcome as well: it outlives the socket.
            self.state.deliver(session, Envelope([Unit(Kind.ERROR, error, is_error=True)]))
            return
        record = AcceptedTask(task, session, anyio.current_time())
        if self.state.tasks.used(session.key_id, record.uuid):
            if options.busy_copies is not None:
                busy = Overload(options.busy_copies, "Too many requests.", None)
                self._turn_away(session, task, busy)
                return
            if not self._runs_again(session, record.uuid):
                self._repeat(session, task)
                return
            record.execution = self.state.stats.executions[record.uuid] + 1
        overload = self.state.admission.too_busy(options)
        if overload is not None:
            self._turn_away(session, task, overload)
            return
        self.state.tasks.add(record)
        array.append(record)
        record.array = array
        self.state.stats.tasks_accepted += 1
        record.number = self.state.player.taken()
        self.state.stats.executions[record.uuid] += 1
        if record.method == "async":
            self._acknowledge(session, task)
        elif record.method == "sync" and options.sync_notes:
            about = {"taskType": kind, "taskUUID": record.uuid, "status": "processing"}
            self.state.deliver(session, Envelope([Unit(Kind.ACK, about)]))
        elif record.method == "stream" and way == "deltas":
            record.stream = DeltaStream(self.state, record)
        self._executor.start(record)

    def _turn_away(self, session: Session, task: dict[str, Any], overload: Overload) -> None:
        """Refuse a task because there are too many. A fresh UUID stays unused."""
        self.state.stats.tasks_turned_away += 1
        error = task_error(overload.code, overload.message, task, retry_after=overload.retry_after)
        unit = Unit(Kind.ERROR, error, is_error=True, overload=overload)
        self.state.deliver(session, Envelope([unit]))

    def _runs_again(self, session: Session, uuid: str) -> bool:
        """Whether a ``taskUUID`` that was used is taken all the same."""
        first = self.state.tasks.find(session.key_id, uuid)
        late = self.state.options.unregistered_copies == "run" and first is not None
        late = late and first is not None and not self.state.registered(first)
        return late or self.state.faults.uniqueness_broken

    def _objection(self, kind: object, task: dict[str, Any], way: str) -> dict[str, Any] | None:
        if not isinstance(kind, str) or self._executor.reply_for(kind) is None:
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
        faults = self.state.faults
        injection = faults.injected(task, "accept") if faults.injections else None
        if injection is not None:
            if injection.anonymous:
                return dict(injection.error)
            return injection.scoped(task)
        return None

    def _acknowledge(self, session: Session, task: dict[str, Any]) -> None:
        style = self.state.options.ack_fields
        item = {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}
        for name, fields in _ACK_FIELDS.items():
            if style in (name, "all"):
                item |= fields
        for _ in range(self.state.options.ack_copies):
            self.state.deliver(session, Envelope([Unit(Kind.ACK, item)]))

    def _repeat(self, session: Session, task: dict[str, Any]) -> None:
        """A ``taskUUID`` came again."""
        self.state.stats.conflicts += 1
        record = self.state.tasks.find(session.key_id, task["taskUUID"])
        if record is not None and self.state.options.repeated_uuid == "conflict":
            record.refused = True
        if self.state.options.repeated_uuid == "result" and record is not None:
            if record.stream is not None:
                record.stream.move(session)
            record.session = session
            if record.method == "async":
                self._acknowledge(session, task)
            elif record.done:
                self.state.deliver(session, Envelope(outcome(record)))
            return
        error = task_error(
            "conflictTaskUUID", "This taskUUID was used before.", task, parameter="taskUUID"
        )
        self.state.deliver(session, Envelope([Unit(Kind.ERROR, error, is_error=True)]))
