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
from typing import TYPE_CHECKING, Any, cast

from runware_ws.errors import (
    ClientClosed,
    InvalidTask,
    RunwareError,
    Submitted,
)
from runware_ws.events import Draining, MalformedFrame, ServerNotice
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.results import RecoveredBy
from runware_ws.models.wire_errors import WireError, parse_errors, parse_item_error
from runware_ws.session import verdicts
from runware_ws.session.answers import Meaning, archived, copies, meaning, meaning_for
from runware_ws.session.effects import Effect, Frame
from runware_ws.session.link import Link
from runware_ws.session.outbox import Counters, Outbox
from runware_ws.session.record import TaskRecord
from runware_ws.session.recovery import Recovery, is_answer_to_question
from runware_ws.session.states import ConnectionState, TaskState
from runware_ws.session.table import TaskTable
from runware_ws.wire import codec

if TYPE_CHECKING:
    from runware_ws.classify import Loss
    from runware_ws.config import Config

__all__ = ["SessionCore"]


def _keep(data: bytes) -> bytes:
    return data


class SessionCore:
    """One session over any number of sockets.

    ``draw(attempt)`` gives the delay in seconds before redial number
    ``attempt``: all randomness comes in here. ``redact`` takes secrets out of
    bytes that are about to be shown to people. ``fixed_key``: a refused key
    would be the same if it were fetched again.
    """

    def __init__(
        self,
        options: Config,
        *,
        draw: Callable[[int], float],
        redact: Callable[[bytes], bytes] = _keep,
        fixed_key: bool = True,
    ) -> None:
        self._out = Outbox(options)
        self._redact = redact
        self._table = TaskTable(self._out)
        self._recovery = Recovery(self._out, self._table)
        self._link = Link(
            self._out,
            recovery=self._recovery,
            table=self._table,
            draw=draw,
            fixed_key=fixed_key,
            end_all=self._end_all,
            end_task=self._end_failed,
        )
        self._draining = False
        # The newest socket on which a written task was given up without an answer.
        self._given_up = 0

    # What a driver reads

    @property
    def state(self) -> ConnectionState:
        return self._link.state

    @property
    def generation(self) -> int:
        return self._link.generation

    @property
    def session_uuid(self) -> str | None:
        return self._link.session_uuid

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
        return self._link.failure

    @property
    def last_loss(self) -> Loss | None:
        """The last end of a socket, or of a try to open one."""
        return self._link.last_loss

    def sizes(self) -> dict[str, int]:
        """How much every map, queue and timer holds: all return to zero when idle."""
        return {
            "tasks": len(self._table.tasks),
            "waiting": len(self._table.waiting),
            "queue": len(self._table.queue),
            "in_flight": self._table.in_flight,
            "in_flight_bytes": self._table.in_flight_bytes,
            "deadlines": len(self._table.deadlines),
            "questions": self._recovery.in_question,
            "asking": len(self._recovery.asking),
            "resending": len(self._recovery.resending),
            "planned": len(self._recovery.schedule),
            "claims": len(self._table.claims),
            "tombstones": len(self._table.tombstones),
        }

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
        self._link.start(now)

    def submit(self, record: TaskRecord, now: float) -> None:
        """Take a task in.

        Raises:
            InvalidTask: its taskUUID is or was in use; or its frame is known to
                be over the server's limit.
            ClientClosed: the client is closed or draining.
            RunwareError: why the client ended for good.
        """
        if self._link.state is ConnectionState.CLOSED:
            raise ClientClosed("the client is closed", task_uuid=record.uuid)
        if self._link.failure is not None:
            raise verdicts.for_task(self._link.failure, record.uuid, Submitted.NO)
        if self._draining:
            raise ClientClosed(
                "the client is draining and takes no new task", task_uuid=record.uuid
            )
        limit = self._link.send_limit
        if limit is not None and codec.frame_size(record.payload) >= limit:
            raise InvalidTask(
                f"the task is {record.size} bytes, and the server refused a frame of {limit}",
                problems=("task: too large",),
                task_uuid=record.uuid,
            )
        self._table.submit(record, now)

    def cancel(self, record: TaskRecord, now: float) -> bool:
        """The caller gives a task up. False where it had ended. A late result is kept."""
        if record.ended:
            return False
        self._end(record, TaskState.CANCELLED, now)
        return True

    def claim(self, uuid: str) -> list[dict[str, Any]] | None:
        """Hand out what came too late, or for nobody, under ``uuid``; ``None``: nothing did."""
        return self._table.claims.take(uuid.lower())

    def drain(self, now: float) -> None:
        """Take no new task from now on. Idempotent."""
        if not self._draining:
            self._draining = True
            self._out.emit(Draining(at=now, pending=self.pending))

    def close(self, now: float) -> None:
        """End: every pending task ends with :class:`ClientClosed`. Idempotent."""
        self._link.close(now)

    # Inputs: the socket's

    def connected(self, generation: int, now: float) -> None:
        """Socket ``generation`` is open; it is not authenticated yet."""
        self._link.connected(generation, now)

    def lost(self, generation: int, loss: Loss, now: float) -> None:
        """Socket ``generation`` ended, or could not be opened."""
        self._link.lost(generation, loss, now)

    def receive(self, generation: int, data: bytes | str, now: float) -> None:
        """One message came in on socket ``generation``. Never raises, whatever it holds."""
        link = self._link
        if generation != link.generation or not link.open:
            return
        link.liveness.heard(now)
        counters = self._out.counters
        counters.frames_in += 1
        counters.bytes_in += len(data)
        try:
            frame = codec.decode(data)
        except codec.MalformedFrameError as exc:
            self._malformed(str(exc), data, now)
            return
        items = frame.get("data")
        if items is not None:
            if type(items) is not list:
                items = [items]
            self._items(cast("list[Any]", items), data, now)
        if "errors" in frame or "error" in frame:
            self._errors(frame, data, now)
        elif items is None:
            self._malformed("neither data nor errors", data, now)

    def on_deadline(self, now: float) -> None:
        """Time passed: dial, judge the peer, end tasks, ask questions, as is due."""
        self._link.on_deadline(now)
        doubt = self._link.state is not ConnectionState.READY
        for record in list(self._table.expire(now)):
            in_doubt = doubt or record.disturbed or record.generation != self._link.generation
            self._recovery.settled(record, now, answered=False)
            self._given_up = self._link.generation if record.sends else self._given_up
            self._table.time_out(
                record, now, in_doubt=in_doubt, connection=self._link.describe(now)
            )
        if self._recovery.ready:
            self._recovery.on_deadline(now)

    def next_deadline(self) -> float:
        """When :meth:`on_deadline` is due next; infinite where nothing is planned."""
        return min(
            self._link.next_deadline(),
            self._table.next_deadline(),
            self._recovery.next_deadline(),
        )

    # To the wire

    def next_frame(self, now: float) -> Frame | None:
        """The next message for the current socket, ``None`` where there is none.

        The order: pings, questions, resends, then tasks that were never
        written. Only a ready socket gets frames.
        """
        link = self._link
        if link.state is not ConnectionState.READY:
            return None
        frame = link.ping_frame(now)
        if frame is None and (self._recovery.asking or self._recovery.resending):
            frame = self._recovery.next_frame(link.generation, now)
        if frame is None:
            frame = self._table.next_frame(link.generation, now)
            if frame is not None:
                for record in frame.records:
                    if record.delivery == "async":
                        self._recovery.watch_async(record, now)
        if frame is not None:
            link.wrote(frame, now)
        return frame

    def not_written(self, generation: int, frame: Frame) -> None:
        """The socket was closed before the first byte of ``frame``: it was not sent."""
        if generation == self._link.generation:
            self._table.not_written(frame)

    # Routing

    def _items(self, items: list[Any], data: bytes | str, now: float) -> None:
        tasks = self._table.tasks
        groups: dict[str, list[dict[str, Any]]] | None = None
        size = len(data) // (len(items) or 1)
        for item in items:
            if item.__class__ is not dict:
                self._malformed("an item is not an object", data, now)
                continue
            uuid = item.get("taskUUID")
            if type(uuid) is not str:
                self._link.control_item(item, now)
                continue
            record = tasks.get(uuid)
            if record is None:
                uuid = uuid.lower()
                record = tasks.get(uuid)
                if record is None:
                    self._stray(uuid, item, size, now)
                    continue
            if record.expected == 1 and record.question is None:
                self._item(record, item, meaning_for(record, item), now)
            else:
                # The results of one task in one frame are judged together.
                if groups is None:
                    groups = {}
                groups.setdefault(uuid, []).append(item)
        if groups is not None:
            for uuid, group in groups.items():
                self._group(tasks[uuid], group, now)

    def _stray(self, uuid: str, item: dict[str, Any], size: int, now: float) -> None:
        if item.get("taskType") in ("authentication", "ping"):
            self._link.control_item(item, now)
            return
        means = meaning(item)
        if means is Meaning.RESULT:
            self._table.stray(uuid, item, size, now)
        elif means is Meaning.ARCHIVE:
            for result in archived(item)[0]:
                self._table.stray(uuid, result, size, now)

    def _group(self, record: TaskRecord, items: list[dict[str, Any]], now: float) -> None:
        results: list[dict[str, Any]] = []
        others: list[tuple[dict[str, Any], Meaning]] = []
        for item in items:
            means = meaning_for(record, item)
            if means is Meaning.RESULT:
                results.append(item)
            else:
                others.append((item, means))
        if results:
            self._results(record, results, now, polled=record.question is not None)
        for item, means in others:
            if record.ended:
                return
            self._item(record, item, means, now)

    def _item(self, record: TaskRecord, item: dict[str, Any], means: Meaning, now: float) -> None:
        if means is Meaning.RESULT:
            self._results(record, [item], now, polled=record.question is not None)
        elif means is Meaning.ARCHIVE:
            self._archive(record, item, now)
        elif means is Meaning.ERROR:
            error = parse_item_error(item)
            if error is None:
                return
            if error.family in (ErrorFamily.NOT_FOUND, ErrorFamily.CONFLICT):
                self._task_error(record, error, now)
            else:
                self._fail_task(record, error, now)
        else:
            self._note(record, item, means, now)

    def _note(self, record: TaskRecord, item: dict[str, Any], means: Meaning, now: float) -> None:
        """A receipt, or word that the task is still running."""
        first = not record.confirmed
        self._recovery.still_running(record, now)
        if record.state is TaskState.WRITTEN:
            record.move(TaskState.ACKNOWLEDGED)
        if first and record.delivery != "sync":
            self._recovery.watch_async(record, now)
        if means is Meaning.PROGRESS and item != record.progress:
            record.progress = item
            self._table.note(record)

    def _results(
        self, record: TaskRecord, items: list[dict[str, Any]], now: float, *, polled: bool
    ) -> None:
        if polled and record.delivery == "async":
            source = RecoveredBy.POLL
        else:
            source = self._recovery.source(record, self._link.generation)
            polled = False
        self._accept(record, items, source, now, listing=polled)

    def _accept(
        self,
        record: TaskRecord,
        items: list[dict[str, Any]],
        source: RecoveredBy,
        now: float,
        *,
        listing: bool,
    ) -> None:
        """Take the items that are new; the task ends when all of its results are here."""
        self._link.progress()
        if record.expected == 1:
            fresh = items[:1]
        else:
            fresh = copies(record, items, listing=listing)
            self._out.counters.duplicates += len(items) - len(fresh)
        if fresh:
            record.items += fresh[: record.expected - len(record.items)]
            record.came_by(source)
            self._table.note(record)
        if len(record.items) >= record.expected:
            self._learn(record, source, now)
            self._end(record, TaskState.DONE, now)
            return
        self._recovery.still_running(record, now)
        if record.state is TaskState.WRITTEN:
            record.move(TaskState.ACKNOWLEDGED)
        if len(fresh) < len(items) and record.delivery == "sync":
            # A copy, or a twin that only the archive can tell from one.
            self._recovery.ask_soon(record, now)

    def _learn(self, record: TaskRecord, source: RecoveredBy, now: float) -> None:
        expectation = record.expectation
        if expectation is None:
            return
        if source is RecoveredBy.LIVE:
            expectation.observe(now - record.written_at)
        elif source is RecoveredBy.POLL and not record.disturbed:
            expectation.done(record.asked_at - record.written_at, record.polls)

    def _archive(self, record: TaskRecord, item: dict[str, Any], now: float) -> None:
        results, errors = archived(item)
        record.confirmed = True
        if results:
            self._accept(record, results, RecoveredBy.ARCHIVE, now, listing=True)
        elif not errors:
            self._recovery.still_running(record, now)
        if errors and not record.ended:
            error = parse_item_error({"taskUUID": record.uuid, "errors": errors})
            if error is not None:
                self._fail_task(record, error, now)

    # Errors

    def _errors(self, frame: dict[str, Any], data: bytes | str, now: float) -> None:
        raw = data.encode() if isinstance(data, str) else data
        clean = self._redact(raw)
        if clean != raw:
            frame = codec.decode(clean)
        errors = parse_errors(frame)
        if not errors:
            return
        for error in errors:
            if error.task_type == "authentication" or (
                self._link.state is ConnectionState.AUTHENTICATING and error.task_uuid is None
            ):
                self._link.authentication_refused(error, now)
                continue
            record = None
            if error.task_uuid is not None:
                record = self._table.tasks.get(error.task_uuid)
            else:
                record = self._only_suspect(error)
            if record is not None:
                self._task_error(record, error, now)
            elif error.task_uuid is None or self._table.tombstones.get(error.task_uuid) is None:
                self._out.counters.notices += 1
                self._out.emit(ServerNotice(at=now, code=error.code, message=error.message))

    def _task_error(self, record: TaskRecord, error: WireError, now: float) -> None:
        """The server says an error about a task, or about a question about it."""
        self._link.progress()
        if error.family is ErrorFamily.CONFLICT and (record.sends > 1 or record.disturbed):
            self._recovery.receipt(record, now)
            return
        if is_answer_to_question(record, error) and not self._recovery.denied(record, error, now):
            return
        self._fail_task(record, error, now)

    def _fail_task(self, record: TaskRecord, error: WireError, now: float) -> None:
        record.confirmed = True
        self._end(record, TaskState.FAILED, now, verdicts.task_error(error, record))

    def _only_suspect(self, error: WireError) -> TaskRecord | None:
        """The task that an error without a taskUUID provably belongs to, if there is one.

        It names its type of task, and there is exactly one thing that it can be
        about: one task, written once, on this socket, with nothing else asked or
        given up since.
        """
        tasks = self._table.tasks
        generation = self._link.generation
        if len(tasks) != 1 or self._given_up == generation:
            return None
        record = next(iter(tasks.values()))
        mine = (
            record.generation == generation
            and record.sends == 1
            and not record.disturbed
            and not record.confirmed
            and record.question is None
            and error.task_type == record.task_type
        )
        return record if mine else None

    # Ends

    def _end(
        self,
        record: TaskRecord,
        state: TaskState,
        now: float,
        error: RunwareError | None = None,
    ) -> None:
        answered = state is TaskState.DONE or state is TaskState.FAILED
        if not answered and record.sends:
            self._given_up = self._link.generation
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
                error = verdicts.for_task(failure, record.uuid, record.submitted)
                self._end(record, TaskState.FAILED, now, error)

    def _malformed(self, reason: str, data: bytes | str, now: float) -> None:
        counters = self._out.counters
        counters.malformed += 1
        raw = data.encode() if isinstance(data, str) else data
        self._out.emit(
            MalformedFrame(
                at=now,
                reason=reason,
                sample=codec.sample(self._redact(raw)),
                count=counters.malformed,
            )
        )
