"""The session core: inputs with ``now`` in, effects out. No I/O, no clock, no randomness.

A driver feeds it (``submit``, ``connected``, ``receive``, ``posted``,
``on_deadline`` ...). After each input it calls :meth:`SessionCore.take` and
does what it returns: it performs the effects in order, asks ``next_frame()``
for one frame after another while there may be something to write, and calls
``on_deadline`` by the deadline. Frames are pulled, not pushed: a
task counts as written only when the socket had room for it.

Each socket has a generation number, and each POST has a number of its own. A
report from an old one changes nothing.

Its parts decide and return; they do not call each other. The connection says
what changed, and :meth:`SessionCore._follow` acts on it; the router says what
it read, and ``answers.py`` acts on that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runware_ws._core import failures, wire
from runware_ws._core.answers import Answers
from runware_ws._core.blame import Blame
from runware_ws._core.connection.connection import Change, Connection, Down, Over, Up
from runware_ws._core.context import Context, Counters
from runware_ws._core.effects import WRITABLE, Frame, PostEnding, Todo
from runware_ws._core.ends import Ends
from runware_ws._core.inbound.router import Router, proves_life
from runware_ws._core.posting import Posting
from runware_ws._core.recovery.recovery import Recovery
from runware_ws._core.states import (
    DONE,
    FOREVER,
    READY,
    WRITTEN,
    ConnectionState,
    TaskState,
)
from runware_ws._core.tasks.items import fresh_items
from runware_ws._core.tasks.record import SOCKET, Carrier, TaskRecord
from runware_ws._core.tasks.table import TaskTable, timed_out
from runware_ws.errors import (
    ClientClosed,
    InvalidTask,
    RunwareError,
    Submitted,
)
from runware_ws.events import BY_CALLER, Closed, Disconnected, Draining
from runware_ws.models.results import RecoveredBy

if TYPE_CHECKING:
    from runware_ws.classify import Loss
    from runware_ws.config import Config

__all__ = ["SessionCore"]


BACKOFF = ConnectionState.BACKOFF
_FREE = (True, True)
JUMP = 1.0
"""So much too late is no timer of a busy loop, in seconds: the host or the loop stood still."""


def _keep(text: str) -> str:
    return text


class SessionCore:
    """One session over any number of sockets.

    ``draw(attempt)`` gives the delay in seconds before redial number
    ``attempt``: all randomness comes in here. ``redact`` takes secrets out of
    text that people will see. ``fixed_key``: fetching the key again would give
    the same key. ``journaled``: each task is entered in a journal before it is sent.
    """

    def __init__(
        self,
        options: Config,
        *,
        draw: Callable[[int], float],
        redact: Callable[[str], str] = _keep,
        fixed_key: bool = True,
        journaled: bool = False,
    ) -> None:
        self._out = out = Context(options, journaled=journaled)
        self._table = TaskTable(out)
        self._recovery = Recovery(out, self._table)
        self._connection = Connection(out, draw=draw, redact=redact, fixed_key=fixed_key)
        self._router = Router(out, self._table.tasks, redact=redact)
        self._ends = Ends(out, self._table, self._recovery)
        self._answers = Answers(
            out, self._table, self._recovery, self._connection, self._ends, self._router
        )
        self._posting = Posting(
            out,
            self._table,
            self._recovery,
            self._connection,
            self._ends,
            self._router,
            self._answers,
            draw=draw,
        )
        self._blame = Blame(out, self._table, self._recovery, self._connection, self._ends)
        self._draining = False
        # `JUMP` after the deadline of which the driver was told.
        self._too_late = FOREVER

    # What a driver reads

    @property
    def state(self) -> ConnectionState:
        return self._connection.state

    @property
    def generation(self) -> int:
        return self._connection.generation

    @property
    def session_uuid(self) -> str | None:
        return self._connection.session_uuid

    @property
    def counters(self) -> Counters:
        return self._out.counters

    @property
    def pending(self) -> int:
        """Tasks that have not ended."""
        return len(self._table.tasks)

    def pending_uuids(self) -> tuple[str, ...]:
        """The taskUUIDs of the tasks that have not ended."""
        return tuple(self._table.tasks)

    @property
    def in_flight(self) -> int:
        """Tasks that were admitted and have not ended."""
        return self._table.in_flight

    @property
    def failure(self) -> RunwareError | None:
        """Why the client ended for good; ``None`` while it has not."""
        return self._connection.failure

    @property
    def accepting(self) -> bool:
        """Whether new tasks are taken: the client has not ended and is not draining."""
        return not (self._connection.over or self._draining)

    @property
    def last_loss(self) -> Loss | None:
        """How the last socket, or the last attempt to open one, ended."""
        return self._connection.last_loss

    def sizes(self) -> dict[str, int]:
        """The size of every map, queue and timer: all are zero when idle."""
        table, recovery = self._table, self._recovery
        return {
            "tasks": len(table.tasks),
            "entering": len(table.entering),
            "waiting": len(table.waiting),
            "queue": len(table.queue),
            "second_tries": len(table.second_tries),
            "posts": len(table.posts.open),
            "left": len(table.left),
            "to_post": len(table.posts.waiting),
            "in_flight": table.in_flight,
            "in_flight_bytes": table.in_flight_bytes,
            "deadlines": len(table.deadlines),
            "questions": len(recovery.questions.open),
            "asking": len(recovery.questions.due),
            "resending": len(recovery.resending),
            "planned": len(recovery.schedule),
            "held": len(recovery.held),
            "claims": len(table.claims),
            "tombstones": len(table.answered) + len(table.given_up),
            "requests": len(table.requests),
        }

    def take(self) -> Todo | None:
        """What has become due since the last call; ``None`` if nothing has."""
        out = self._out
        effects, writable, rearm = out.effects, out.wake, out.rearm
        if not (effects or rearm):
            out.wake = False
            return WRITABLE if writable else None
        if effects:
            out.effects = []
        out.wake = out.rearm = False
        deadline = None
        if rearm:
            deadline = self.next_deadline()
            self._too_late = deadline + JUMP
        return Todo(effects, writable, deadline)

    def _jumped(self, now: float) -> None:
        """What was due long ago was not done: the host or the loop stood still."""
        self._out.jumped_at = now
        self._too_late = now + JUMP

    # Inputs: the client's

    def start(self, now: float, session: str | None = None) -> None:
        """Begin: dial at once. May be called only once.

        ``session``: that of an earlier process, to be resumed; ``None``: that of the options.
        """
        self._connection.start(now, session)

    @property
    def traced(self) -> bool:
        """Whether the steps of single tasks are told."""
        return self._out.traced

    def trace(self, on: bool) -> None:
        """Whether the steps of single tasks are told from now on, as :class:`Tell`."""
        self._out.traced = on

    def submit(self, record: TaskRecord) -> None:
        """Take a task in.

        Raises:
            InvalidTask: its taskUUID is in use or was used before, or its frame is
                known to exceed the server's limit.
            ClientClosed: the client is closed or draining.
            RunwareError: why the client ended for good.
        """
        connection = self._connection
        if connection.over or self._draining:
            raise self._refusal(record)
        if connection.culprits.limit is not None:
            self._check_size(record)
        if record.carrier is not SOCKET:
            self._posting.choose(record)
        self._table.submit(record)
        if record.ladder.reused and not self._out.journaled:
            self._take_kept(record, record.submitted_at)
        if connection.state is BACKOFF and not record.ended:
            connection.hurry(record.submitted_at, first=len(self._table.tasks) == 1)

    def _check_size(self, record: TaskRecord) -> None:
        limit = self._blame.limit()
        if limit is not None and wire.frame_size(record.payload) >= limit:
            raise InvalidTask(
                f"the task is {record.size} bytes, and the server refused a frame of {limit}",
                problems=("task: too large",),
                task_uuid=record.uuid,
            )

    def _take_kept(self, record: TaskRecord, now: float) -> None:
        """A second try whose results had come too late for the first: they are its answer."""
        kept = self._table.claims.take(record.uuid) if record.ladder.reused else None
        if kept is not None:
            self._answer_with(record, kept, RecoveredBy.REPLAY, now)

    def _answer_with(
        self, record: TaskRecord, kept: list[dict[str, Any]], source: RecoveredBy, now: float
    ) -> None:
        if source is RecoveredBy.REPLAY:
            kept = self._answers.results_in(record, kept)
        if record.deltas is not None and kept:
            record.deltas.suspended = True
            record.deltas.complete(kept[0], now)
            kept = [record.deltas.whole()]
        record.confirm()
        record.took(fresh_items(record, kept, listing=False), source)
        self._table.note(record)
        if len(record.items) >= record.expected:
            self._ends.end(record, DONE, now)

    def _refusal(self, record: TaskRecord) -> RunwareError:
        if self._connection.state is ConnectionState.CLOSED:
            return ClientClosed("the client is closed", task_uuid=record.uuid)
        if self._connection.failure is not None:
            return failures.for_task(self._connection.failure, record.uuid, Submitted.NO)
        return ClientClosed("the client is draining and takes no new task", task_uuid=record.uuid)

    # Inputs: the journal's

    def knows(self, uuid: str) -> bool:
        """Whether this taskUUID is in use, or was used lately."""
        return self._table.knows(uuid)

    def entered(self, record: TaskRecord, now: float, *, known: bool = False) -> None:
        """The journal has the task: it may be sent. ``known``: an earlier use may have sent it."""
        if record.ended:
            return
        if known and not record.ladder.reused:
            record.second_try(0)
        self._table.entered(record)
        self._take_kept(record, now)

    def rebind(self, record: TaskRecord, uuid: str, payload: bytes) -> None:
        """The key of a task that is being entered stands for this taskUUID already.

        Raises:
            InvalidTask: a task without a key uses this taskUUID.
        """
        if not record.ended:
            self._table.rebind(record, uuid, payload)

    def elsewhere(self, record: TaskRecord) -> None:
        """Somebody else runs the task of this key: its outcome is waited for, not known."""
        if record.ended:
            return
        if not record.ladder.reused:
            record.second_try(0)
        self._out.admitted(record)

    def unrecorded(self, record: TaskRecord, error: RunwareError, now: float) -> None:
        """What this task ended with could not be recorded, and its caller is told ``error``.

        The taskUUID may be tried again. Results are kept for that, or for :meth:`claim`.
        """
        record.unrecorded(error)
        self.keep(record)
        self._table.reopen(record, now)

    def recorded(
        self, record: TaskRecord, uuid: str, items: list[dict[str, Any]], now: float
    ) -> None:
        """The key of this task has its results already: those of the task ``uuid``."""
        if not record.ended:
            self._answer_with(record, items, RecoveredBy.JOURNAL, now)
            record.rebind(uuid, b"")

    def refuse(self, record: TaskRecord, error: RunwareError, now: float) -> None:
        """The journal refuses the task, or has the server's verdict for its key."""
        if not record.ended:
            self._ends.fail(record, error, now)
            record.rebind(error.task_uuid or record.uuid, b"")

    # Inputs: the caller's again

    def cancel(self, record: TaskRecord, now: float) -> bool:
        """The caller gives a task up; False if it had already ended. A late result is kept."""
        if record.ended:
            return False
        self._ends.end(record, TaskState.CANCELLED, now)
        return True

    def keep(self, record: TaskRecord) -> None:
        """Nobody took the result of a task that is done: keep it for :meth:`claim`."""
        for item in record.items:
            self._table.claims.add(record.uuid, item)

    def claim(self, uuid: str) -> list[dict[str, Any]] | None:
        """Return, once, the results that were kept for ``uuid``; ``None`` if there are none."""
        return self._table.claims.take(uuid.lower())

    def drain(self, now: float) -> None:
        """Take no new task from now on. Idempotent."""
        if not self._draining:
            self._draining = True
            if not self._connection.over:
                self._out.emit(Draining(at=now, pending=self.pending))

    def close(self, now: float) -> None:
        """End: every pending task ends with :class:`ClientClosed`. Idempotent."""
        self._follow(self._connection.close(), now)

    def fail(self, failure: RunwareError, now: float) -> None:
        """End because the driver cannot go on: every pending task ends with ``failure``."""
        self._follow(self._connection.fail(failure), now)

    # Inputs: the socket's

    def connected(self, generation: int, now: float) -> None:
        """Socket ``generation`` is open; it is not authenticated yet."""
        self._connection.connected(generation, now)

    def lost(self, generation: int, loss: Loss, now: float) -> None:
        """Socket ``generation`` ended, or could not be opened."""
        self._follow(self._connection.lost(generation, loss), now)

    def receive(self, generation: int, data: bytes | str, now: float) -> None:
        """A message arrived on socket ``generation``. Never raises, whatever it contains."""
        connection = self._connection
        if generation != connection.generation or not connection.open:
            return
        if now > self._too_late:
            self._jumped(now)
        readings = self._router.read(data)
        # The plain answer to a task, which most messages are, is one at a glance.
        if (readings and type(readings[0]) is tuple) or proves_life(readings):
            connection.liveness.heard(now)
        answers = self._answers
        for said in readings:
            if type(said) is tuple:
                answers.straight(said[0], said[1], now)
                continue
            change = answers.take(said, now)
            if change is not None:
                self._follow(change, now)
        if connection.culprits.suspects:
            # The answer to one suspect lets the next one go.
            self._out.wake = True

    @property
    def probing(self) -> bool:
        """Whether a ping was sent and no sign of life has come since: see :meth:`moving`."""
        return self._connection.liveness.probing

    def moving(self, amount: int) -> None:
        """While a ping waits for its answer, so many more bytes of large messages have moved."""
        self._connection.liveness.moving(amount)

    # Inputs: a POST's

    def posting(self, uuid: str, number: int, now: float) -> bool:
        """The first byte of POST ``number`` is about to be sent. False: it is not to be."""
        return self._posting.posting(uuid, number, now)

    def posted(self, uuid: str, number: int, data: bytes, now: float) -> None:
        """An event of the answer to POST ``number`` came. Never raises, whatever it contains."""
        self._posting.posted(uuid, number, data, now)

    def post_ended(self, uuid: str, number: int, ending: PostEnding, now: float) -> None:
        """POST ``number`` is over. Never raises."""
        self._follow(self._posting.ended(uuid, number, ending, now), now)

    # Inputs: time

    def on_deadline(self, now: float) -> None:
        """Do what is due: dial, check the peer, end tasks, ask questions."""
        if now > self._too_late:
            self._jumped(now)
        self._follow(self._connection.on_deadline(now, pending=self._table.in_flight > 0), now)
        self._blame.on_deadline(now)
        passed, near = self._table.expire(now)
        for record in near:
            self._recovery.last_call(record, now)
        for record in passed:
            self._passed(record, now)
        if self._recovery.ready:
            self._recovery.on_deadline(now)
        self._out.rearm = True

    def _passed(self, record: TaskRecord, now: float) -> None:
        """The deadline of a task passed."""
        if self._posting.finish(record, now):
            return
        connection = self._connection
        broken = connection.state is not READY or record.generation != connection.generation
        in_doubt = record.state >= WRITTEN and (
            record.ladder.disturbed or (broken and not record.posted)
        )
        described = connection.describe(now)
        if record.carrier is not Carrier.SOCKET and self._table.posts.trouble:
            described = f"{described}; HTTP: {self._table.posts.trouble}"
        if record.uuid in self._table.entering:
            described = f"it waits for the journal; {described}"
        state, error = timed_out(record, now, in_doubt=in_doubt, connection=described)
        self._ends.end(record, state, now, error)

    def next_deadline(self) -> float:
        """When :meth:`on_deadline` is due next; infinite if nothing is planned."""
        return min(
            self._connection.next_deadline(pending=self._table.in_flight > 0),
            self._connection.culprits.held_until,
            self._table.next_deadline(),
            self._recovery.next_deadline(),
        )

    # What the connection says

    def _follow(self, change: Change | None, now: float) -> None:
        """Act on what changed, in this order: recovery, events, tasks."""
        if change is None:
            return
        if isinstance(change, Up):
            recovery, usual = self._recovery, self._out.options.question_window
            # Those that were given up meanwhile.
            self._table.left.socket_lost()
            recovery.questions.window = self._connection.culprits.question_window(usual)
            recovery.questions.round_trip = self._connection.liveness.round_trip
            recovery.begin(
                self._connection.generation,
                change.session_uuid,
                change.previous,
                now,
                resumed=change.resumed,
            )
        elif isinstance(change, Down):
            questions = self._recovery.questions
            asked, asking = questions.sole(), bool(questions.open)
            self._recovery.stop(now)
            self._table.left.socket_lost()
            if change.was_ready:
                self._disconnected(str(change.loss), change.loss.code, now)
            explained = self._blame.judge(change, asked, now, asking=asking)
            over = self._connection.go_on(change, now, explained=explained)
            if over is not None:
                self._over(over, now)
        else:
            self._over(change, now)

    def _over(self, over: Over, now: float) -> None:
        self._recovery.stop(now)
        self._table.forget_all_left()
        if over.was_ready:
            self._disconnected(over.reason or BY_CALLER, None, now)
        if over.failure is None:
            self._ends.all_closed(now)
        else:
            self._ends.all_failed(over.failure, now)
        if not over.told:
            self._out.emit(Closed(at=now, reason=over.reason))
            self._out.silenced = True

    def _disconnected(self, reason: str, code: int | None, now: float) -> None:
        self._out.emit(
            Disconnected(
                at=now,
                generation=self._connection.generation,
                reason=reason,
                code=code,
                pending=self.pending,
            )
        )

    # To the wire

    def next_frame(self, now: float) -> Frame | None:
        """The next message for the current socket, ``None`` if there is none.

        The order is: pings, questions, resends, then tasks that were never
        written. Only a ready socket gets frames. By asking for a frame, the driver
        says that it sent the one before, unless it called :meth:`not_written`.
        """
        connection, recovery = self._connection, self._recovery
        if connection.state is not READY:
            return None
        resend, send = self._blame.hold(now) if connection.culprits.suspects else _FREE
        if recovery.resending_now:
            recovery.sent(now)
        if self._table.second_tries:
            recovery.adopt(self._table.take_second_tries(), now)
        frame = connection.ping_frame(now)
        if frame is None and (recovery.questions.due or recovery.resending):
            frame = recovery.next_frame(connection.generation, now, resend=resend)
        if frame is None and send:
            frame = self._table.next_frame(connection.generation, now)
            if frame is not None:
                for record in frame.records:
                    if record.delivery == "async":
                        recovery.watch_async(record, now)
        if frame is not None:
            connection.wrote(frame, now)
        return frame

    def not_written(self, generation: int, frame: Frame) -> None:
        """The socket was closed before the first byte of ``frame``, so it was not sent."""
        if generation == self._connection.generation:
            self._recovery.not_sent()
            self._table.not_written(frame)
