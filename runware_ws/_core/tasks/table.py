"""All tasks of a client: admission, the queues to the wire, deadlines, ends.

A task ends in :meth:`TaskTable.settle` and nowhere else, exactly once; only
``_core/ends.py`` calls it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from operator import attrgetter
from typing import Any

from runware_ws._core import wire
from runware_ws._core.context import Context
from runware_ws._core.effects import Enter, Frame, Progress, TaskStep
from runware_ws._core.states import CANCELLED, DONE, FAILED, FOREVER, QUEUED, WAITING, TaskState
from runware_ws._core.tasks.claims import Claims
from runware_ws._core.tasks.ladder import ABOUT_OTHERS
from runware_ws._core.tasks.left import LeftStreams
from runware_ws._core.tasks.posts import Posts
from runware_ws._core.tasks.record import SOCKET, SOURCE_RANK, TaskRecord
from runware_ws._core.tasks.requests import Requests
from runware_ws._core.tasks.schedule import Schedule
from runware_ws._core.tasks.tombstones import Tombstones
from runware_ws.errors import (
    InvalidTask,
    OutcomeUnknown,
    RunwareError,
    Submitted,
    TaskError,
    TaskTimeout,
)
from runware_ws.events import LateResult, UnknownTask
from runware_ws.models.content import is_same_task
from runware_ws.models.results import RecoveredBy

__all__ = ["TaskTable", "timed_out"]


_LIVE = RecoveredBy.LIVE

LONGEST_UUID = 128
"""A text longer than this many characters is no taskUUID of anybody's."""


class TaskTable:
    """The tasks that have not ended, and a bounded memory of those that have."""

    def __init__(self, out: Context) -> None:
        self._out = out
        self._options = out.options
        self.tasks: dict[str, TaskRecord] = {}
        # Those that are being entered in the journal, and those that wait for room behind it.
        self.entering: dict[str, TaskRecord] = {}
        self.waiting: OrderedDict[str, TaskRecord] = OrderedDict()
        # In the order of admission. Tasks that ended unsent stay in it for a while.
        self.queue: deque[TaskRecord] = deque()
        self._stale = 0
        self.second_tries: OrderedDict[str, TaskRecord] = OrderedDict()
        self.posts = Posts(out)
        self.left = LeftStreams(self._options.claim_limit, self._options.claim_bytes)
        self.in_flight = 0
        self.in_flight_bytes = 0
        self.deadlines = Schedule(attrgetter("wake_at"))
        self.claims = Claims(self._options.claim_limit, self._options.claim_bytes)
        # Separate, so that many answers do not push out the ones that may be tried again.
        self.answered = Tombstones()
        self.given_up = Tombstones(limit=1 << 21, generations=True)
        self.requests = Requests()
        # The newest socket on which a task was written that was given up: its answer may come.
        self.given_up_on = 0

    # Admission

    def submit(self, record: TaskRecord) -> None:
        """Accept a task: into the journal if there is one, then as :meth:`entered` says.

        Raises:
            InvalidTask: its taskUUID is in flight, or was answered recently.
        """
        self._register(record)
        self._out.counters.submitted += 1
        if self._out.traced:
            self._out.tell(record, TaskStep.SUBMITTED, record.submitted_at)
        if self.deadlines.put(record, record.wake_at):
            self._out.rearm = True
        # A question that the caller asks has another task's taskUUID, and may be asked again.
        if self._out.journaled and (
            record.entry is not None or record.task_type not in ABOUT_OTHERS
        ):
            self.entering[record.uuid] = record
            self._out.effects.append(Enter(record))
        else:
            self._enter(record)

    def _register(self, record: TaskRecord) -> None:
        """Take the record's taskUUID.

        A taskUUID that was given up without an answer may come again: the server is
        asked first whether it has the task, so it does not run twice.
        """
        uuid = record.uuid
        # A question carries the taskUUID of another task: it neither uses it up nor retries it.
        own = record.task_type not in ABOUT_OTHERS
        if uuid in self.tasks or (own and self.answered.knows(uuid)):
            raise InvalidTask(
                f"taskUUID {uuid} was used before: give every task a new one",
                problems=("taskUUID: used before",),
                task_uuid=uuid,
            )
        left = uuid in self.left.records
        if own and (
            left
            or self.given_up.knows(uuid)
            or uuid in self.claims.kept
            or uuid in self.left.foreign
        ):
            # The safe second try: the server may have the first one, so its conflict is a receipt.
            first = self.requests.get(uuid)
            if first is not None and not is_same_task(first, record.payload):
                raise InvalidTask(
                    f"taskUUID {uuid} was used before for another task: give every task a new one",
                    problems=("taskUUID: used before for another task",),
                    task_uuid=uuid,
                )
            if record.delivery == "stream" and not (left or self.given_up.knows(uuid)):
                # What came for it unasked may be its last piece only.
                self.claims.take(uuid)
            stream = left or self.was_stream(uuid)
            record.second_try(self.given_up.take(uuid), stream=stream)
            self.requests.drop(uuid)
            self.forget_left(uuid)
        elif not own and left:
            # Pieces of that stream may come for it: so it does not take the shortest way.
            record.own_ladder()
        self.tasks[uuid] = record

    def knows(self, uuid: str) -> bool:
        """Whether this taskUUID is in use, or is remembered."""
        return (
            uuid in self.tasks
            or self.answered.knows(uuid)
            or self.given_up.knows(uuid)
            or uuid in self.left.records
            or uuid in self.left.foreign
            or uuid in self.claims.kept
        )

    def reopen(self, record: TaskRecord, now: float) -> None:
        """How this task ended counts for nothing: its taskUUID may be tried again."""
        if not self.answered.knows(record.uuid):
            return
        self.answered.take(record.uuid)
        stream = record.deltas is not None
        if self.given_up.add(record.uuid, TaskState.UNKNOWN, now, record.generation, stream):
            self._out.rearm = True
        if record.payload:
            self.requests.add(record.uuid, record.payload)

    def entered(self, record: TaskRecord) -> None:
        """The journal has the task: it may be sent."""
        del self.entering[record.uuid]
        self._enter(record)
        if record.state is not WAITING:
            self._out.admitted(record)

    def rebind(self, record: TaskRecord, uuid: str, payload: bytes) -> None:
        """A task that is being entered goes on under the taskUUID of an earlier use of its key.

        Raises:
            InvalidTask: this taskUUID is in flight, or was answered recently.
        """
        old = record.uuid
        if uuid != old:
            record.rebind(uuid, payload)
            try:
                self._register(record)
            except InvalidTask:
                record.rebind(old, payload)
                raise
            del self.tasks[old], self.entering[old]
            self.entering[uuid] = record

    def _enter(self, record: TaskRecord) -> None:
        """Into the queue if there is room, otherwise into the waiting line."""
        if not self.waiting and self._has_room(record.size):
            self._admit(record)
        else:
            self.waiting[record.uuid] = record

    def _has_room(self, size: int) -> bool:
        if not self.in_flight:
            return True
        return (
            self.in_flight < self._options.max_in_flight
            and self.in_flight_bytes + size <= self._options.max_in_flight_bytes
        )

    def _admit(self, record: TaskRecord) -> None:
        record.admit()
        self.in_flight += 1
        self.in_flight_bytes += record.size
        if record.ladder.reused:
            record.leave_http()
            self.second_tries[record.uuid] = record
        elif record.carrier is SOCKET:
            self.queue.append(record)
        else:
            self.posts.add(record)
            return
        self._out.wake = True

    def take_second_tries(self) -> list[TaskRecord]:
        """Admitted tasks that the server may already know: ask about them, do not send them."""
        records = list(self.second_tries.values())
        self.second_tries.clear()
        return records

    def _admit_waiting(self) -> None:
        while self.waiting:
            uuid, record = next(iter(self.waiting.items()))
            if not self._has_room(record.size):
                return
            del self.waiting[uuid]
            self._admit(record)
            self._out.admitted(record)

    # To the wire

    def next_frame(self, generation: int, now: float) -> Frame | None:
        """The next frame of tasks that were never written; from here on they count as written."""
        queue = self.queue
        if not queue:
            return None
        records: list[TaskRecord] = []
        payloads: list[bytes] = []
        size = 2
        options = self._options
        while queue and len(records) < options.batch_tasks:
            record = queue[0]
            alone = record.ladder.alone
            if records and (alone or size + record.size + 1 > options.batch_bytes):
                break
            queue.popleft()
            if self._stale:
                self._drop_stale()
            record.wrote(generation, now)
            records.append(record)
            payloads.append(record.payload)
            size += record.size + 1
            if alone:
                break
        if self._out.traced:
            for record in records:
                self._out.tell(record, TaskStep.WRITTEN, now)
        return Frame(wire.join(payloads), tuple(records))

    def not_written(self, frame: Frame) -> None:
        """Take a frame back: the socket was closed before its first byte."""
        for record in reversed(frame.records):
            if record.ended:
                if record.sends == 1 and not record.ladder.reused:
                    # It was given up meanwhile, and has left no trace.
                    self.given_up.take(record.uuid)
                    self.requests.drop(record.uuid)
            elif record.unwrote():
                self.queue.appendleft(record)
                self._out.tell(record, TaskStep.NOT_WRITTEN, record.written_at)

    def to_socket(self, record: TaskRecord) -> None:
        """The server has no HTTP side: a task that was meant for a POST goes over the socket."""
        record.leave_http()
        self.queue.append(record)
        self._out.wake = True

    # Items and ends

    def settle(
        self, record: TaskRecord, state: TaskState, now: float, error: RunwareError | None = None
    ) -> None:
        """End ``record``. The only place where a task ends."""
        before, uuid, over_http = record.state, record.uuid, record.carrier is not SOCKET
        if before is WAITING:
            if self.entering.pop(uuid, None) is None:
                del self.waiting[uuid]
        else:
            self.in_flight -= 1
            self.in_flight_bytes -= record.size
            if state is CANCELLED and record.flows:
                self._listen_on(record)
            elif over_http:
                self.posts.drop(record)
        record.end(state, now, error)
        if before is QUEUED and not over_http and self.second_tries.pop(uuid, None) is None:
            self._stale += 1
            self._drop_stale()
        del self.tasks[uuid]
        counters = self._out.counters
        counters.ends[state] += 1
        if state is DONE:
            source = record.recovered_by
            counters.sources[0 if source is _LIVE else SOURCE_RANK[source]] += 1
        if record.wake_at != FOREVER:
            self.deadlines.forget()
        # By its result or the server's verdict. What failed otherwise may be tried again.
        answered = state is DONE or (state is FAILED and isinstance(error, TaskError))
        if record.task_type not in ABOUT_OTHERS and (
            answered or record.sends or record.ladder.reused
        ):
            ends = self.answered if answered else self.given_up
            if ends.add(uuid, state, now, record.generation, record.deltas is not None):
                self._out.rearm = True
            if not answered and state is not TaskState.CLOSED:
                self.requests.add(uuid, record.payload)
        if not (answered and self._out.journaled):
            # Else its end is recorded first, and where that fails it may be tried again.
            record.forget_request()
        if not answered:
            if record.pushed:
                self.given_up_on = max(self.given_up_on, record.generation)
            # Some of its results: they are paid for, and a second try need not hear them again.
            for item in record.items:
                self.claims.add(uuid, item)
        if self.waiting:
            # A task that stopped waiting makes room too: a smaller one behind it may fit.
            self._admit_waiting()
        self._out.ended(record)

    def _listen_on(self, record: TaskRecord) -> None:
        """A stream is given up while it flows: its whole answer can be claimed later."""
        if record.carrier is not SOCKET:
            self.posts.leave(record)
        for evicted in self.left.add(record):
            self._give_post_up(evicted)

    def left_grew(self, record: TaskRecord, item: dict[str, Any]) -> None:
        """More of a stream came that was given up."""
        for evicted in self.left.grew(record, item):
            self._give_post_up(evicted)

    def _give_post_up(self, record: TaskRecord) -> None:
        if record.carrier is not SOCKET:
            self.posts.drop(record)

    def forget_left(self, uuid: str) -> None:
        """Stop reading a stream that was given up."""
        record = self.left.forget(uuid)
        if record is not None:
            self._give_post_up(record)

    def forget_all_left(self) -> None:
        """The client ends."""
        for record in self.left.clear():
            self._give_post_up(record)
        self.requests.keep_only(lambda _: False)

    def _drop_stale(self) -> None:
        """Keep the head of the queue live, and the dead entries a minority."""
        queue = self.queue
        while self._stale and queue[0].state is not QUEUED:
            queue.popleft()
            self._stale -= 1
        if self._stale * 2 > len(queue):
            live = [record for record in queue if record.state is QUEUED]
            queue.clear()
            queue.extend(live)
            self._stale = 0

    def note(self, record: TaskRecord) -> None:
        """Tell a watching handle that there is something new."""
        if record.watched:
            self._out.effects.append(Progress(record))

    def end_of(self, uuid: str) -> TaskState | None:
        """How a remembered task ended; ``None`` if it is not remembered."""
        return self.answered.get(uuid) or self.given_up.get(uuid)

    def was_stream(self, uuid: str) -> bool:
        """Whether a remembered task was a stream."""
        return (
            self.answered.was_stream(uuid)
            or self.given_up.was_stream(uuid)
            or uuid in self.left.foreign
        )

    def was_polled(self, uuid: str) -> bool:
        """Whether this task was given up, and its results are had by asking."""
        first = self.requests.get(uuid)
        return first is not None and wire.delivery_of(first) == "async"

    def saw_piece(self, uuid: str) -> None:
        """A piece came of a stream that nobody here has sent."""
        if len(uuid) <= LONGEST_UUID:
            self.left.saw_piece(uuid)

    def stray(self, uuid: str, item: dict[str, Any], now: float) -> None:
        """An item came for a task that nobody waits for."""
        end = self.end_of(uuid)
        # A stream has one result, which the archive may tell in more words than its deltas.
        if end is DONE or (uuid in self.claims.kept and self.was_stream(uuid)):
            self._out.counters.duplicates += 1
            return
        self._out.counters.strays += 1
        if len(uuid) > LONGEST_UUID or not self.claims.add(uuid, item):
            return
        event = UnknownTask if end is None else LateResult
        self._out.emit(event(at=now, task_uuid=uuid))

    def expire(self, now: float) -> tuple[list[TaskRecord], list[TaskRecord]]:
        """The tasks whose deadline has passed, and those for which it is near.

        The caller ends the first, and may ask one last time about the others.
        """
        for record in self.posts.on_deadline(now):
            self.forget_left(record.uuid)
        self.answered.expire(now)
        if now >= self.given_up.next_expiry():
            self.given_up.expire(now)
            if not self.given_up:
                # What may still come, or waits for a claim, would be the answer of a second try.
                self.requests.keep_only(
                    lambda uuid: uuid in self.claims.kept or uuid in self.left.records
                )
        passed: list[TaskRecord] = []
        near: list[TaskRecord] = []
        for record in self.deadlines.due(now):
            if record.deadline <= now:
                record.wake_at = FOREVER
                passed.append(record)
            else:
                near.append(record)
        for record in near:
            record.wake_at = record.deadline
            self.deadlines.put(record, record.deadline)
        return passed, near

    def next_deadline(self) -> float:
        """When the next task, or the memory of an ended one, expires."""
        return min(
            self.deadlines.first(),
            self.posts.next_deadline(),
            self.answered.next_expiry(),
            self.given_up.next_expiry(),
        )


def timed_out(
    record: TaskRecord, now: float, *, in_doubt: bool, connection: str
) -> tuple[TaskState, RunwareError]:
    """How a task whose deadline has passed ends, with what is known.

    ``in_doubt``: the connection broke after the task was written.
    ``connection`` describes the state of the connection, for people.
    """
    waited = f"not answered in {now - record.submitted_at:.3g} s"
    came = f"{len(record.items)} of {record.expected} results came"
    kind: type[OutcomeUnknown | TaskTimeout] = TaskTimeout
    state = TaskState.TIMED_OUT
    ladder = record.ladder
    second = ladder.reused and not (record.sends or ladder.confirmed)
    if record.submitted is Submitted.NO:
        where = "waiting for room in flight" if record.state is TaskState.WAITING else "unsent"
        text = f"{waited}: still {where}; {connection}"
    elif second:
        kind, state = OutcomeUnknown, TaskState.UNKNOWN
        text = (
            f"{waited}: this second try was not sent, and the first one may or may not have "
            f"arrived; {came}; asked {ladder.asks} times; {connection}. What came or comes late "
            "can be claimed; the same work under a new taskUUID may run twice"
        )
    elif in_doubt or ladder.conflicted:
        kind, state = OutcomeUnknown, TaskState.UNKNOWN
        known = "the server has it" if ladder.confirmed else "it may or may not have arrived"
        why = "the connection broke after the task was written"
        if not in_doubt:
            why = "the server knew the taskUUID before the task was written"
        text = (
            f"{waited}, and {why}: {known}; {came}; "
            f"asked {ladder.asks} times; {connection}. What came or comes late can be claimed; "
            "the same work under a new taskUUID may run twice"
        )
    else:
        text = (
            f"{waited}: written, and the server may still finish it; {came}. "
            "What came or comes late can be claimed"
        )
    return state, kind(text, task_uuid=record.uuid, submitted=record.submitted)
