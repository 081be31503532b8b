"""The session core: inputs with ``now`` in, effects out. No I/O, no clock, no randomness.

A driver feeds it (``submit``, ``connected``, ``receive``, ``lost``,
``on_deadline`` ...), then performs ``take_effects()`` in order, writes the
frames that ``next_frame()`` hands out one by one, and calls ``on_deadline``
no later than ``next_deadline()``. Frames are pulled, not pushed: a task counts
as written only when the socket had room for it.

Sockets have a generation number. What an old one reports changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runware_ws._core import failures, wire
from runware_ws._core.connection.connection import Connection
from runware_ws._core.context import Context, Counters
from runware_ws._core.effects import Effect, Frame
from runware_ws._core.inbound.router import Router
from runware_ws._core.recovery.recovery import Recovery
from runware_ws._core.states import DONE, FAILED, READY, ConnectionState, TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.table import TaskTable, timed_out
from runware_ws.errors import (
    ClientClosed,
    InvalidTask,
    RunwareError,
    Submitted,
)
from runware_ws.events import Draining

if TYPE_CHECKING:
    from runware_ws.classify import Loss
    from runware_ws.config import Config

__all__ = ["SessionCore"]


def _keep(text: str) -> str:
    return text


class SessionCore:
    """One session over any number of sockets.

    ``draw(attempt)`` gives the delay in seconds before redial number
    ``attempt``: all randomness comes in here. ``redact`` takes secrets out of
    text that is about to be shown to people. ``fixed_key``: a refused key
    would be the same if it were fetched again.
    """

    def __init__(
        self,
        options: Config,
        *,
        draw: Callable[[int], float],
        redact: Callable[[str], str] = _keep,
        fixed_key: bool = True,
    ) -> None:
        self._out = Context(options)
        self._table = TaskTable(self._out)
        self._recovery = Recovery(self._out, self._table)
        self._connection = Connection(
            self._out,
            recovery=self._recovery,
            table=self._table,
            draw=draw,
            fixed_key=fixed_key,
            end_all=self._end_all,
            end_task=self._end_failed,
        )
        self._router = Router(
            self._out, self._table, self._recovery, self._connection, redact=redact, end=self._end
        )
        self._draining = False

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
    def last_loss(self) -> Loss | None:
        """The last end of a socket, or of a try to open one."""
        return self._connection.last_loss

    def sizes(self) -> dict[str, int]:
        """How much every map, queue and timer holds: all return to zero when idle."""
        return {
            "tasks": len(self._table.tasks),
            "waiting": len(self._table.waiting),
            "queue": len(self._table.queue),
            "second_tries": len(self._table.second_tries),
            "in_flight": self._table.in_flight,
            "in_flight_bytes": self._table.in_flight_bytes,
            "deadlines": len(self._table.deadlines),
            "questions": len(self._recovery.open),
            "asking": len(self._recovery.asking),
            "resending": len(self._recovery.resending),
            "planned": len(self._recovery.schedule),
            "held": len(self._recovery.held),
            "claims": len(self._table.claims),
            "tombstones": len(self._table.answered) + len(self._table.given_up),
        }

    @property
    def has_effects(self) -> bool:
        """Whether :meth:`take_effects` has something to hand out."""
        return bool(self._out.effects)

    def take_effects(self) -> list[Effect]:
        """Hand out the queued effects, oldest first."""
        out = self._out
        effects, out.effects = out.effects, []
        return effects

    def take_wake(self) -> bool:
        """Whether there may be something to write since the last call."""
        out = self._out
        wake, out.wake = out.wake, False
        return wake

    def take_rearm(self) -> bool:
        """Whether ``next_deadline()`` may have come nearer since the last call."""
        out = self._out
        rearm, out.rearm = out.rearm, False
        return rearm

    # Inputs: the client's

    def start(self, now: float) -> None:
        """Begin: the first dial goes out at once. Once only."""
        self._connection.start(now)

    def submit(self, record: TaskRecord) -> None:
        """Take a task in.

        Raises:
            InvalidTask: its taskUUID is or was in use; or its frame is known to
                be over the server's limit.
            ClientClosed: the client is closed or draining.
            RunwareError: why the client ended for good.
        """
        connection = self._connection
        if connection.over or self._draining:
            raise self._refusal(record)
        limit = connection.oversize.limit
        if limit is not None and wire.frame_size(record.payload) >= limit:
            raise InvalidTask(
                f"the task is {record.size} bytes, and the server refused a frame of {limit}",
                problems=("task: too large",),
                task_uuid=record.uuid,
            )
        self._table.submit(record)

    def _refusal(self, record: TaskRecord) -> RunwareError:
        if self._connection.state is ConnectionState.CLOSED:
            return ClientClosed("the client is closed", task_uuid=record.uuid)
        if self._connection.failure is not None:
            return failures.for_task(self._connection.failure, record.uuid, Submitted.NO)
        return ClientClosed("the client is draining and takes no new task", task_uuid=record.uuid)

    def cancel(self, record: TaskRecord, now: float) -> bool:
        """The caller gives a task up. False where it had ended. A late result is kept."""
        if record.ended:
            return False
        self._end(record, TaskState.CANCELLED, now)
        return True

    def keep(self, record: TaskRecord) -> None:
        """Nobody took the result of a task that is done: keep it for :meth:`claim`."""
        for item in record.items:
            self._table.claims.add(record.uuid, item, wire.weight(item))

    def claim(self, uuid: str) -> list[dict[str, Any]] | None:
        """Hand out what came too late, or for nobody, under ``uuid``; ``None``: nothing did."""
        return self._table.claims.take(uuid.lower())

    def drain(self, now: float) -> None:
        """Take no new task from now on. Idempotent."""
        if not self._draining:
            self._draining = True
            if self._connection.state in (ConnectionState.CLOSED, ConnectionState.FAILED):
                return
            self._out.emit(Draining(at=now, pending=self.pending))

    def close(self, now: float) -> None:
        """End: every pending task ends with :class:`ClientClosed`. Idempotent."""
        self._connection.close(now)

    # Inputs: the socket's

    def connected(self, generation: int, now: float) -> None:
        """Socket ``generation`` is open; it is not authenticated yet."""
        self._connection.connected(generation, now)

    def lost(self, generation: int, loss: Loss, now: float) -> None:
        """Socket ``generation`` ended, or could not be opened."""
        self._connection.lost(generation, loss, now)

    def receive(self, generation: int, data: bytes | str, now: float) -> None:
        """One message came in on socket ``generation``. Never raises, whatever it holds."""
        connection = self._connection
        if generation != connection.generation or not connection.open:
            return
        connection.liveness.heard(now)
        self._router.receive(data, now)

    @property
    def probing(self) -> bool:
        """Whether a ping is out, and no whole message came since: see :meth:`moving`."""
        return self._connection.liveness.probing

    def moving(self, now: float) -> None:
        """Since the ping, bytes came or went: a large message is still on its way."""
        self._connection.liveness.moving(now)

    def on_deadline(self, now: float) -> None:
        """Time passed: dial, judge the peer, end tasks, ask questions, as is due."""
        self._connection.on_deadline(now)
        doubt = self._connection.state is not ConnectionState.READY
        passed, near = self._table.expire(now)
        for record in near:
            self._recovery.last_call(record)
        for record in passed:
            in_doubt = record.state >= TaskState.WRITTEN and (
                doubt or record.ladder.disturbed or record.generation != self._connection.generation
            )
            state, error = timed_out(
                record, now, in_doubt=in_doubt, connection=self._connection.describe(now)
            )
            self._end(record, state, now, error)
        if self._recovery.ready:
            self._recovery.on_deadline(now)

    def next_deadline(self) -> float:
        """When :meth:`on_deadline` is due next; infinite where nothing is planned."""
        return min(
            self._connection.next_deadline(),
            self._table.next_deadline(),
            self._recovery.next_deadline(),
        )

    # To the wire

    def next_frame(self, now: float) -> Frame | None:
        """The next message for the current socket, ``None`` where there is none.

        The order: pings, questions, resends, then tasks that were never
        written. Only a ready socket gets frames.
        """
        connection = self._connection
        if connection.state is not READY:
            return None
        if self._table.second_tries:
            self._recovery.adopt(self._table.take_second_tries())
        frame = connection.ping_frame(now)
        if frame is None and (self._recovery.asking or self._recovery.resending):
            frame = self._recovery.next_frame(connection.generation, now)
        if frame is None:
            frame = self._table.next_frame(connection.generation, now)
            if frame is not None:
                for record in frame.records:
                    if record.delivery == "async":
                        self._recovery.watch_async(record, now)
        if frame is not None:
            connection.wrote(frame, now)
        return frame

    def not_written(self, generation: int, frame: Frame) -> None:
        """The socket was closed before the first byte of ``frame``: it was not sent."""
        if generation == self._connection.generation:
            self._table.not_written(frame)

    # Ends

    def _end(
        self,
        record: TaskRecord,
        state: TaskState,
        now: float,
        error: RunwareError | None = None,
    ) -> None:
        answered = state is DONE or state is FAILED
        self._recovery.settled(record, now, answered=answered)
        self._table.settle(record, state, now, error)

    def _end_failed(self, record: TaskRecord, error: RunwareError, now: float) -> None:
        self._end(record, TaskState.FAILED, now, error)

    def _end_all(self, failure: RunwareError | None, now: float) -> None:
        """Every task ends: with ``failure``, or with :class:`ClientClosed` where there is none."""
        for record in list(self._table.tasks.values()):
            if failure is None:
                error: RunwareError = ClientClosed(
                    f"the client was closed before the answer came; submitted: "
                    f"{record.submitted.value}",
                    task_uuid=record.uuid,
                    submitted=record.submitted,
                )
                self._end(record, TaskState.CLOSED, now, error)
            else:
                error = failures.for_task(failure, record.uuid, record.submitted)
                self._end(record, TaskState.FAILED, now, error)
