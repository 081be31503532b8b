"""The ladder by which a task that went through a cut finds its end, and polling.

1. Never written: the queue sends it (``table.py``).
2. Written, and the session was resumed: the answer comes by itself, replayed or
   live when the task finishes. Wait ``replay_grace``.
3. Still open, or the session was not resumed: ask with ``getResponse`` (async) or
   ``getTaskDetails`` (any), many questions per frame, at most
   ``question_window`` in flight, with a backoff for each task.
4. The server does not know the task, and its socket died long enough ago: send
   the same task under the same taskUUID. ``conflictTaskUUID`` is then a receipt,
   not an error: the task had arrived, so go on asking.
5. The deadline: ``table.py`` says what is known.

An ``async`` task that went through no cut uses the same code: its polls are questions.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from runware_ws._core import wire
from runware_ws._core.context import Context
from runware_ws._core.effects import Frame
from runware_ws._core.recovery.replay import Replay
from runware_ws._core.states import FOREVER, WRITTEN
from runware_ws._core.tasks.ladder import READ_ONLY, UNTOUCHED, QuestionType
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.schedule import TURN, Schedule
from runware_ws._core.tasks.table import TaskTable
from runware_ws.events import SessionLost, TaskResent
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.results import RecoveredBy
from runware_ws.models.wire_errors import WireError

__all__ = ["Recovery", "is_answer_to_question"]

FIRST_BACKOFF = 0.5
ACK_GRACE = 5.0
GOLDEN = 0.618034
"""The fractional parts of its multiples are spread evenly between 0 and 1."""
MOST_SPREAD = 8
MOST_ENDS = 64
"""So many ends of POSTs, beside two for each task, are kept before they are looked through."""
LOST_AFTER_MISSES = 6
"""An accepted ``async`` task that the server does not know this many times is lost."""

_PASSING = frozenset({ErrorFamily.RATE, ErrorFamily.SERVER, ErrorFamily.TIMEOUT, ErrorFamily.AUTH})
"""Errors that answer a question but say nothing about the task: ask again later."""


class Recovery:
    """Questions and resends: when, how many, and what the answers mean."""

    def __init__(self, out: Context, table: TaskTable) -> None:
        self._out = out
        self._options = out.options
        self._table = table
        self.replay = Replay(out)
        self.schedule = Schedule(lambda record: record.ladder.next_at)
        self.asking: OrderedDict[str, TaskRecord] = OrderedDict()
        self.resending: OrderedDict[str, TaskRecord] = OrderedDict()
        self.open: dict[str, TaskRecord] = {}
        self.window = self._options.question_window
        self.ready = False
        self._resumed = False
        # When the sockets and POSTs that carried pending tasks ended, by number.
        self._ends: dict[int, float] = {}
        # Tasks whose answer the replay may still bring.
        self.held: deque[TaskRecord] = deque()
        self._generation = 0
        # What the last frame resent; reported once it is certain that it went out.
        self._resent: list[TaskRecord] = []
        self._sweep: Iterator[TaskRecord] | None = None

    # Sockets come and go

    def begin(
        self,
        generation: int,
        session_uuid: str | None,
        previous: str | None,
        now: float,
        *,
        resumed: bool,
    ) -> None:
        """Socket ``generation`` is authenticated; ``previous`` is the session before this one."""
        self.ready = True
        self._generation = generation
        self._resumed = resumed
        at_risk: list[TaskRecord] = []
        needed: set[int] = set()
        awaited = 0
        for record in self._table.tasks.values():
            if record.state >= WRITTEN and not record.posted:
                at_risk.append(record)
                needed.add(record.generation)
                awaited += record.pushed
        self._ends = {number: at for number, at in self._ends.items() if number in needed}
        if resumed:
            self._out.counters.resumes += 1
            self.replay.begin(session_uuid or "", awaited, now)
        elif at_risk or previous is not None:
            self._out.counters.sessions_lost += 1
            uuids = tuple(record.uuid for record in at_risk)
            self._out.emit(SessionLost(at=now, session_uuid=previous, at_risk=uuids))
        self._sweep = iter(at_risk) if at_risk else None
        self._sweep_on(now)

    def stop(self, now: float) -> None:
        """The socket is gone: every open question is void."""
        self.sent(now)
        if self.ready:
            self._ends[self._generation] = now
            self.replay.stop(now)
        self.ready = False
        self.held.clear()
        for record in self.open.values():
            record.answered()
        self.open.clear()
        self.asking.clear()
        self.resending.clear()
        for record in self.schedule.clear():
            record.plan(FOREVER)
        self._sweep = None

    def _sweep_on(self, now: float) -> None:
        """Handle the next tasks that went through the cut."""
        if self._sweep is None:
            return
        for _ in range(TURN):
            record = next(self._sweep, None)
            if record is None:
                self._sweep = None
                return
            if not record.ended and record.state >= WRITTEN:
                self._recover(record, now)
        self._out.rearm = True

    def _recover(self, record: TaskRecord, now: float) -> None:
        record.cut(self._generation, self._ask_from(record, now))
        waits = self._resumed and record.pushed
        self._ask_at(record, max(now, record.ladder.ask_from) if waits else now)

    def post_cut(self, record: TaskRecord, number: int, now: float) -> None:
        """The POST of a task broke: it goes on over the socket, as after the loss of a socket."""
        self._ends[number] = now
        if len(self._ends) > 2 * len(self._table.tasks) + MOST_ENDS:
            needed = {task.generation for task in self._table.tasks.values()}
            self._ends = {each: at for each, at in self._ends.items() if each in needed}
        record.leave_http()
        record.cut(self._generation, now)
        # Without a socket, the sweep after the next connection finds it.
        self._ask_at(record, now)

    def _ask_from(self, record: TaskRecord, now: float) -> float:
        """When to ask about a task that has just gone through its first cut."""
        if record.delivery == "async" and record.ladder.confirmed:
            return now
        at = now + self._options.replay_grace
        if record.learned is not None and record.learned.duration is not None:
            usual = min(2 * record.learned.duration, self._options.question_backoff_cap)
            at = max(at, record.written_at + usual)
        return at

    def adopt(self, records: list[TaskRecord]) -> None:
        """Second tries: the server may know them, so ask about them before they are sent."""
        for record in records:
            record.adopt()
            self.asking[record.uuid] = record

    # Planning

    def watch_async(self, record: TaskRecord, now: float) -> None:
        """An ``async`` task was written or acknowledged: plan its first poll."""
        wait = ACK_GRACE
        if record.ladder.confirmed:
            wait = self._options.poll_first
            if record.learned is not None:
                # Tasks of one kind may differ: a short one must not wait as long as a long one.
                learned = record.learned.first_poll(wait)
                wait = min(learned, self._options.question_backoff_cap)
        self._ask_at(record, now + wait)

    def ask_soon(self, record: TaskRecord, now: float) -> None:
        """Something about this task is unclear: ask after ``replay_grace``."""
        if record.ladder.next_at == FOREVER:
            self._ask_at(record, now + self._options.replay_grace)

    def ask_now(self, record: TaskRecord, now: float) -> None:
        """The answer can be had by asking."""
        if record.ladder.question is None:
            self._ask_at(record, now)

    def last_call(self, record: TaskRecord) -> None:
        """The deadline is near: ask now, whatever was planned, if a question makes sense."""
        if record.posted:
            return
        if self.ready and record.state >= WRITTEN and record.ladder.question is None:
            record.own_ladder()  # so that settled() below looks at it
            self.asking[record.uuid] = record
            self._out.wake = True

    def _ask_at(self, record: TaskRecord, at: float) -> None:
        if not self.ready:
            # The sweep after the next reconnect plans for every task.
            return
        before = record.ladder.next_at
        if at == before:
            return
        record.plan(at)
        if before != FOREVER:
            self.schedule.forget()
        if self.schedule.put(record, at):
            self._out.rearm = True

    def _ask_later(self, record: TaskRecord, now: float) -> None:
        """Back off: the server has the task, or its answer says nothing useful."""
        wait = FIRST_BACKOFF * 2 ** min(record.ladder.asks, 8)
        self._ask_at(record, now + min(wait, self._options.question_backoff_cap))

    def on_deadline(self, now: float) -> None:
        """Do what is due: end the replay, continue the sweep, ask, resend."""
        if now >= self.replay.ends:
            self.replay.end(now)
        if self.held and not self.replay.flowing:
            self._let_go()
        self._sweep_on(now)
        for record in self.schedule.due(now):
            ladder = record.ladder
            record.plan(FOREVER)
            if ladder.resend_due:
                record.plan_resend(False)
                self.resending[record.uuid] = record
            elif self.replay.flowing and ladder.first_resume == self._generation and record.pushed:
                # It may still be replayed, so do not ask yet.
                self.held.append(record)
                continue
            else:
                self._close_question(record)
                self.asking[record.uuid] = record
            self._out.wake = True

    def _let_go(self) -> None:
        held = self.held
        for _ in range(min(TURN, len(held))):
            record = held.popleft()
            if not record.ended and record.ladder.next_at == FOREVER:
                self.asking[record.uuid] = record
        self._out.wake = True

    def next_deadline(self) -> float:
        """When :meth:`on_deadline` is due next."""
        if not self.ready:
            return FOREVER
        if self._sweep is not None:
            return 0.0
        if self.held and not self.replay.flowing:
            return 0.0
        return min(self.schedule.first(), self.replay.ends)

    # To the wire

    def next_frame(self, generation: int, now: float) -> Frame | None:
        """The next frame of questions or, if there is none, of resends."""
        return self._questions(now) or self._resends(generation, now)

    @property
    def resending_now(self) -> bool:
        """Whether the last frame resent tasks, and this was not reported yet."""
        return bool(self._resent)

    def _questions(self, now: float) -> Frame | None:
        room = min(self.window - len(self.open), self._options.batch_tasks)
        payloads: list[bytes] = []
        while self.asking and len(payloads) < room:
            uuid, record = self.asking.popitem(last=False)
            # An async task that getResponse repeatedly does not know may be in the archive.
            poll = record.delivery == "async" and record.ladder.misses % 3 < 2
            question = QuestionType.POLL if poll else QuestionType.ARCHIVE
            record.asked(question, now)
            self.open[uuid] = record
            if poll:
                self._out.counters.polls += 1
            else:
                self._out.counters.archive_questions += 1
            payloads.append(wire.question(question.value, uuid))
            self._ask_at(record, now + self._options.question_timeout)
        return Frame(wire.join(payloads)) if payloads else None

    def _resends(self, generation: int, now: float) -> Frame | None:
        payloads: list[bytes] = []
        records: list[TaskRecord] = []
        size = 2
        while self.resending and len(records) < self._options.batch_tasks:
            uuid, record = next(iter(self.resending.items()))
            if records and (record.ladder.alone or size + record.size > self._options.batch_bytes):
                break
            del self.resending[uuid]
            record.wrote(generation, now)
            record.resent()
            records.append(record)
            payloads.append(record.payload)
            size += record.size + 1
            self._ask_at(record, now + self._after_resend(record))
            if record.ladder.alone:
                break
        self._resent = records
        return Frame(wire.join(payloads), tuple(records)) if records else None

    def sent(self, now: float) -> None:
        """The last frame of resends went out, or may have: report them."""
        records, self._resent = self._resent, []
        for record in records:
            self._out.counters.resends += 1
            self._out.emit(TaskResent(at=now, task_uuid=record.uuid))

    def not_sent(self) -> None:
        """Not one byte of the last frame went out: nothing was resent."""
        self._resent = []

    def _after_resend(self, record: TaskRecord) -> float:
        usual = record.learned.duration if record.learned is not None else None
        return max(self._options.question_timeout, 2 * (usual or 0.0))

    # Answers

    def _close_question(self, record: TaskRecord) -> bool:
        """Close the question about a task; False if none was open."""
        if not record.answered():
            return False
        del self.open[record.uuid]
        if self.asking:
            self._out.wake = True
        return True

    def sole_question(self) -> TaskRecord | None:
        """The one task asked about during the search for a culprit; otherwise ``None``."""
        if self.window == 1 and len(self.open) == 1:
            return next(iter(self.open.values()))
        return None

    def settled(self, record: TaskRecord, now: float, *, answered: bool) -> None:
        """A task is about to end, ``answered`` or not: drop its questions and plans."""
        ladder = record.ladder
        # A task that is asked about, resent or planned has a ladder of its own.
        if ladder is not UNTOUCHED:
            self._close_question(record)
            if ladder.next_at != FOREVER:
                record.plan(FOREVER)
                self.schedule.forget()
            self.asking.pop(record.uuid, None)
            self.resending.pop(record.uuid, None)
        if not record.sends:
            return
        if not self.ready:
            # The replay may come before the reply to the authentication.
            if answered and record.pushed:
                self.replay.early()
            return
        older = ladder.disturbed or record.generation != self._generation
        if older and self.replay.flowing and record.pushed:
            self.replay.settled(now, answered=answered)

    def still_running(self, record: TaskRecord, now: float) -> None:
        """The server proved that it has the task: a receipt, a note, some of the results."""
        unplanned = self._close_question(record)
        if self.resending.pop(record.uuid, None) is not None or record.ladder.resend_due:
            record.plan_resend(False)
            unplanned = True
        record.confirm()
        if not unplanned:
            return
        if record.delivery == "async" and record.learned is not None:
            age = now - record.written_at
            cap = self._options.question_backoff_cap
            self._ask_at(record, now + record.learned.next_poll(age, cap))
        else:
            self._ask_later(record, now)

    def receipt(self, record: TaskRecord, now: float) -> None:
        """``conflictTaskUUID`` after our own resend: the task had already arrived."""
        self._out.counters.receipts += 1
        self.still_running(record, now)
        self._ask_later(record, now)

    def denied(self, record: TaskRecord, family: ErrorFamily, now: float) -> bool:
        """A question brought no answer. True if the task is lost on the server.

        ``family`` is the error's; NOT_FOUND if there was no error.
        """
        if not self._close_question(record):
            # No question is open: it was given up, or it was answered before.
            return False
        ladder = record.ladder
        if family in _PASSING and ladder.misses < LOST_AFTER_MISSES:
            if family is ErrorFamily.TIMEOUT:
                record.miss()
            self._ask_later(record, now)
            return False
        misses = record.miss()
        # The caller itself asked for a second try.
        may_send = ladder.reused or (ladder.disturbed and self._options.resubmit == "same-uuid")
        if not ladder.confirmed and may_send:
            # First give the server time to register the last copy. That copy can have arrived
            # until its socket ended or, on a socket that is still open, until the question
            # written after it was answered.
            arrived = self._ends.get(record.generation)
            if arrived is None:
                arrived = record.denied(now)
            at = arrived + self._options.resend_after * (1 + _spread(record))
            if now >= at:
                self.resending[record.uuid] = record
                self._out.wake = True
            else:
                record.plan_resend(True)
                self._ask_at(record, at)
            return False
        if ladder.confirmed and record.delivery == "async" and misses >= LOST_AFTER_MISSES:
            return True
        self._ask_later(record, now)
        return False

    def source(self, record: TaskRecord, generation: int) -> RecoveredBy:
        """How an item that was pushed to us came."""
        ladder = record.ladder
        if ladder.resends and not ladder.confirmed:
            return RecoveredBy.RESUBMIT
        if ladder.disturbed or record.generation != generation:
            return RecoveredBy.REPLAY
        return RecoveredBy.LIVE


def _spread(record: TaskRecord) -> float:
    """The extra delay of a resend, as a multiple of ``resend_after``; 0 for the first.

    The range grows with each resend, and each task has its own place in it. So a connection
    that is cut at regular intervals hits neither all tasks at once nor one task every time.
    """
    resends = record.sends - 1
    place = (int(record.uuid[-4:], 16) / 0x10000 + resends * GOLDEN) % 1
    return place * min(max(resends, 0), MOST_SPREAD)


def is_answer_to_question(record: TaskRecord, error: WireError) -> bool:
    """Whether an error is about a question rather than about the task itself.

    A question only reads. So an error from a provider, a safety filter or an empty
    account is about the task, even under the question's name. An error without a
    task type answers the question if an open question could have caused it. So does
    one that says that a task we asked about does not exist.
    """
    fam = error.family
    if error.task_type == record.task_type and record.task_type in READ_ONLY:
        # The task is itself such a question, and this is its answer.
        return False
    if error.task_type in (QuestionType.POLL.value, QuestionType.ARCHIVE.value):
        return fam not in (ErrorFamily.PROVIDER, ErrorFamily.SAFETY, ErrorFamily.QUOTA)
    denies_task = fam is ErrorFamily.NOT_FOUND and "task" in error.code.lower()
    if denies_task and record.ladder.asks > 0:
        # Even under the type of the task that was asked about, and even when it comes late.
        return True
    return error.task_type is None and record.ladder.question is not None and fam in _PASSING
