"""The ladder by which a task that went through a cut finds its end, and polling.

1. Never written: the queue sends it (``table.py``).
2. Written, and the session was resumed: the answer comes by itself, replayed or
   live when the task finishes. Wait ``replay_grace``.
3. Still open, or the session was not resumed: ask with ``getResponse`` or
   ``getTaskDetails``, by turns where one brings nothing, many questions per frame, at
   most ``question_window`` in flight, with a backoff for each task.
4. The server does not know the task by either kind of question, asked when a task of
   its kind would long be done: send the same task under the same taskUUID.
   ``conflictTaskUUID`` is then a receipt, not an error: the task had arrived, so go on
   asking. ``resending.py`` has the rule.
5. The deadline: ``table.py`` says what is known.

An ``async`` task that went through no cut uses the same code: its polls are questions.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from operator import attrgetter

from runware_ws._core import wire
from runware_ws._core.context import Context
from runware_ws._core.effects import Frame, TaskStep
from runware_ws._core.recovery.doubts import Doubts
from runware_ws._core.recovery.questions import OpenQuestions
from runware_ws._core.recovery.replay import Replay
from runware_ws._core.recovery.resending import begun_at, overdue_at, resend_at
from runware_ws._core.recovery.words import (
    VERDICT_AFTER,
    VERDICT_TIMES,
    Meant,
    insists,
    is_lost,
    latest_to_hear,
    meant,
)
from runware_ws._core.states import FOREVER, WRITTEN
from runware_ws._core.tasks.ladder import ABOUT_OTHERS, EVERY_QUESTION, UNTOUCHED, QuestionType
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.schedule import TURN, Schedule
from runware_ws._core.tasks.table import TaskTable
from runware_ws.events import SessionLost, TaskResent
from runware_ws.models.results import RecoveredBy
from runware_ws.models.wire_errors import WireError

__all__ = ["ASKED", "Recovery"]

FIRST_BACKOFF = 0.5
_HEAR_AGAIN = VERDICT_AFTER / (VERDICT_TIMES - 1)
ACK_GRACE = 5.0
EMPTY_GRACE = 2.0
"""An empty answer names nobody, and others may leave out what is not known. What else their frame
asked is taken as answered by them, too, when nothing more has come for this long."""
MOST_PATIENCE = 2
ASKED = (RecoveredBy.POLL, RecoveredBy.ARCHIVE)
"""How what answers a question came."""


class Recovery:
    """Questions and resends: when, how many, and what the answers mean."""

    def __init__(self, out: Context, table: TaskTable) -> None:
        self._out = out
        self._options = out.options
        self._table = table
        self.replay = Replay(out)
        self.schedule = Schedule(attrgetter("ladder.next_at"))
        self.questions = OpenQuestions(self._options.question_window)
        self.resending: OrderedDict[str, TaskRecord] = OrderedDict()
        self.ready = False
        # Whether the current socket, or the last one, goes on with the session before it.
        self.resumed = False
        # Tasks whose answer the replay may still bring.
        self.held: deque[TaskRecord] = deque()
        self._generation = 0
        self._doubts = Doubts(self._options.replay_grace, FIRST_BACKOFF)
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
        self.resumed = resumed
        self.replay.socket(now)
        at_risk: list[TaskRecord] = []
        awaited = 0
        for record in self._table.tasks.values():
            if record.state >= WRITTEN and not record.posted:
                at_risk.append(record)
                awaited += record.pushed
                # Not only when its turn in the sweep comes: a replay does not wait for that.
                record.another_socket()
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
            self.replay.stop(now)
        self.ready = False
        self.held.clear()
        self.questions.clear()
        self.resending.clear()
        for record in self.schedule.clear():
            record.plan(FOREVER)
        self._sweep = None
        self._doubts.clear()

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
        self._out.tell(record, TaskStep.CUT, now, "resumed" if self.resumed else "session lost")
        waits = self.resumed and record.pushed
        self._ask_at(record, max(now, record.ladder.ask_from) if waits else now)

    def post_cut(self, record: TaskRecord, now: float) -> None:
        """The POST of a task broke: it goes on over the socket, as after the loss of a socket."""
        record.leave_http()
        record.cut(self._generation, now)
        self._out.tell(record, TaskStep.CUT, now, "to the socket")
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

    def adopt(self, records: list[TaskRecord], now: float) -> None:
        """Second tries: the server may know them, so ask about them before they are sent."""
        for record in records:
            record.adopt()
            self.questions.add(record, now)

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

    def doubt(self, now: float, kind: str | None = None) -> None:
        """What came could not be read, or named nobody: ask soon about what it may have answered.

        That is anything that was pushed to this socket's tasks: to those of this ``kind``, if it
        told one.
        """
        if not self.ready:
            return
        self._out.rearm = True
        if not self._doubts.raised(now):
            return
        for record in self._table.tasks.values():
            alike = kind in (None, record.task_type)
            if alike and record.state >= WRITTEN and record.pushed:
                self.ask_soon(record, now)

    def ask_now(self, record: TaskRecord, now: float) -> None:
        """The answer can be had by asking; but what was just asked in vain is put off as usual."""
        ladder = record.ladder
        again = self.questions.next_kind(record, now) is ladder.last_question
        if ladder.question is None and not (again and ladder.next_at != FOREVER):
            self._ask_at(record, now)

    def ask_again(self, record: TaskRecord, now: float) -> None:
        """An error that may be the task's end came, and may have answered the open question."""
        ladder = record.ladder
        soon = now + _HEAR_AGAIN if ladder.question is not None else FOREVER
        self._ask_at(record, min(ladder.next_at, soon, latest_to_hear(record, now)))

    def last_call(self, record: TaskRecord, now: float) -> None:
        """The deadline is near: ask now, whatever was planned, if a question makes sense."""
        if record.posted:
            return
        if self.ready and record.state >= WRITTEN and record.ladder.question is None:
            record.own_ladder()  # so that settled() below looks at it
            self.questions.add(record, now)
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

    def _ask_later(self, record: TaskRecord, now: float, latest: float = FOREVER) -> None:
        """Back off: the server has the task, or its answer says nothing useful."""
        cap = self._options.question_backoff_cap
        # A copy may change what is answered, and so may another socket: then it is asked anew.
        asked = max(0, record.ladder.asks - record.ladder.asks_before)
        wait = FIRST_BACKOFF * 2 ** min(asked, 8)
        if record.delivery == "async" and record.ladder.confirmed and record.learned is not None:
            poll = record.learned.next_poll(now - begun_at(record), cap)
            wait = min(wait, poll) if record.ladder.misses else poll
        if record.ladder.word is not None:
            wait = min(wait, _HEAR_AGAIN)
        wait = min(wait, cap, max(FIRST_BACKOFF, self.questions.in_time(record) - now))
        self._ask_at(record, min(latest, now + wait, latest_to_hear(record, now)))

    def on_deadline(self, now: float) -> None:
        """Do what is due: end the replay, continue the sweep, ask, resend."""
        if now >= self.replay.ends:
            self.replay.end(now)
        if self.held and not self.replay.flowing:
            self._let_go(now)
        self._sweep_on(now)
        if now >= self._doubts.due_at:
            self.doubt(now)
        for record in self.schedule.due(now):
            ladder = record.ladder
            record.plan(FOREVER)
            if self.replay.flowing and ladder.first_resume == self._generation and record.pushed:
                # It may still be replayed, so do not ask yet.
                self.held.append(record)
                continue
            if ladder.question is not None:
                self._silence(record, now)
            if record.ladder.next_at == FOREVER and record.uuid not in self.resending:
                self.questions.add(record, now)
            self._out.wake = True

    def _let_go(self, now: float) -> None:
        held = self.held
        for _ in range(min(TURN, len(held))):
            record = held.popleft()
            if not record.ended and record.ladder.next_at == FOREVER:
                self.questions.add(record, now)
        self._out.wake = True

    def next_deadline(self) -> float:
        """When :meth:`on_deadline` is due next."""
        if not self.ready:
            return FOREVER
        if self._sweep is not None:
            return 0.0
        if self.held and not self.replay.flowing:
            return 0.0
        return min(self.schedule.first(), self.replay.ends, self._doubts.due_at)

    # To the wire

    def next_frame(self, generation: int, now: float, *, resend: bool = True) -> Frame | None:
        """The next frame of questions or, if there is none and ``resend``, of resends."""
        return self._ask(now) or (self._resends(generation, now) if resend else None)

    @property
    def resending_now(self) -> bool:
        """Whether the last frame resent tasks, and this was not reported yet."""
        return bool(self._resent)

    def _ask(self, now: float) -> Frame | None:
        asked = self.questions.ask(self._options.batch_tasks, now)
        for record, kind, _ in asked:
            if kind is QuestionType.POLL:
                self._out.counters.polls += 1
            else:
                self._out.counters.archive_questions += 1
            self._out.tell(record, TaskStep.ASKED, now, kind.value)
            self._ask_at(record, self._patient_until(record, kind))
        return Frame(wire.join([payload for _, _, payload in asked])) if asked else None

    def _patient_until(self, record: TaskRecord, question: QuestionType) -> float:
        """How long the open question about a task may take."""
        ladder = record.ladder
        # A server that is slow to answer gets more time, or it would always answer too late.
        # But not a kind of question that it never answers.
        more = 0 if self.questions.silent(question) else ladder.silences
        patience = (1 + min(more, MOST_PATIENCE)) * self._options.question_timeout
        # Nor so much that there is no time left for the other kind.
        rest = max(FIRST_BACKOFF, (record.deadline - ladder.asked_at) / 2)
        return ladder.asked_at + min(patience, rest)

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
            self._out.emit(TaskResent(at=now, task_uuid=record.uuid, metadata=record.metadata))
            self._out.tell(record, TaskStep.RESENT, now)

    def not_sent(self) -> None:
        """Not one byte of the last frame went out: nothing was resent."""
        self._resent = []

    def _after_resend(self, record: TaskRecord) -> float:
        overdue = overdue_at(record, self._options) - record.written_at
        return max(self._options.question_timeout, min(overdue, self._options.question_backoff_cap))

    # Answers

    def _close_question(
        self, record: TaskRecord, now: float, *, answered: bool = True, named: bool = True
    ) -> bool:
        """Close the question about a task, by its answer or not; False if none was open."""
        if not self.questions.close(record, answered=answered):
            return False
        self.questions.took(now - record.ladder.asked_at)
        if answered and named:
            for mate in self.questions.answered(record, self._out.counters.frames_in, now):
                self._ask_at(mate, min(mate.ladder.next_at, now + EMPTY_GRACE))
        for mate in self.questions.emptied_since(record):
            self._ask_at(mate, now)
        if self.questions.due:
            self._out.wake = True
        return True

    def _heard(self, kind: str | None) -> None:
        """The server answered this kind of question, if it is one."""
        if kind in ABOUT_OTHERS:
            self.questions.heard(QuestionType(kind))

    def told_by_poll(self, record: TaskRecord) -> None:
        """A part of the answer to a poll came."""
        record.told()
        self.questions.heard(QuestionType.POLL)

    def settled(self, record: TaskRecord, now: float, *, answered: bool) -> None:
        """A task is about to end, ``answered`` or not: drop its questions and plans."""
        ladder = record.ladder
        # A task that is asked about, resent or planned has a ladder of its own.
        if ladder is not UNTOUCHED:
            self._close_question(record, now, answered=record.recovered_by in ASKED)
            if ladder.next_at != FOREVER:
                record.plan(FOREVER)
                self.schedule.forget()
            self.questions.forget(record)
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

    def arrived(self, record: TaskRecord, now: float) -> None:
        """A receipt came: the server has the task. What was asked about it is still answered."""
        if self.resending.pop(record.uuid, None) is not None:
            self._ask_later(record, now)
        record.confirm()
        record.progressed()

    def still_running(self, record: TaskRecord, now: float, *, answered: bool = False) -> None:
        """The server proved that it has the task: a receipt, a note, some of the results.

        ``answered``: in answer to the open question.
        """
        unplanned = self._close_question(record, now, answered=answered)
        if self.resending.pop(record.uuid, None) is not None:
            unplanned = True
        record.confirm()
        if unplanned:
            self._ask_later(record, now)

    def receipt(self, record: TaskRecord, now: float) -> None:
        """``conflictTaskUUID`` of a copy: the task had already arrived."""
        self._out.counters.receipts += 1
        record.conflicted()
        self.still_running(record, now)
        # It is no answer, wherever it stands.
        record.miss()
        self._ask_later(record, now)

    def told(self, record: TaskRecord, error: WireError, now: float) -> bool:
        """An error came that may answer a question. True if it is the task's own end after all."""
        means, ladder = meant(error), record.ladder
        by_error = error.task_type != QuestionType.ARCHIVE
        if means is Meant.DENIAL:
            asked = error.task_type if error.task_type in ABOUT_OTHERS else None
            sure = asked is not None or ladder.outstanding <= 1
            if asked is None:
                self._heard(ladder.question)
            record.answered(by_error=by_error)
            return self.denied(record, now, asked, sure=sure) and is_lost(record, now)
        question = ladder.question or ladder.last_question
        self._heard(error.task_type or ladder.question)
        # The server took the question and told of the task: what it adds is about the task too,
        # of whatever kind. But it may be the answer to a question before.
        beside, older = ladder.told, max(ladder.outstanding - 1, 0)
        was_open = self._close_question(record, now)
        verdict = means is Meant.VERDICT
        if not verdict or error.task_type is not None:
            # Otherwise it may be the task's own, and the answer is still to come.
            record.answered(by_error=by_error)
        record.not_denied()
        if question is None:
            return False
        if (verdict or beside) and insists(
            record, error, question, now, older=0 if verdict else older
        ):
            return True
        if not beside:
            record.miss()
        if was_open:
            untaken = means is Meant.UNSUPPORTED
            record.exhaust(question, sure=untaken, unknown=question.bit if untaken else 0)
            # Trouble with one kind is none with the other, until that has met some as well.
            soon = untaken or not ladder.troubled & question.other.bit
            self._brought_nothing(record, now, soon=soon)
        return False

    def brought_nothing(self, record: TaskRecord, now: float) -> None:
        """A question was answered with something that says nothing about the task."""
        question = record.ladder.question
        if question is not None and self._close_question(record, now):
            record.miss()
            record.exhaust(question, sure=False)
            self._brought_nothing(record, now, soon=False)

    def denied(
        self,
        record: TaskRecord,
        now: float,
        asked: str | None = None,
        *,
        sure: bool = True,
        named: bool = True,
    ) -> bool:
        """A question was answered: there is no such task. False if that was not the open one.

        ``asked``: the kind of question that the answer names. One that names none may come late,
        for an older question that was given up; then it is not ``sure``, and counts only the
        second time. ``named``: the answer names the task.
        """
        question = record.ladder.question
        self._heard(asked)
        if question is None or asked not in (None, question):
            return False
        if not self._close_question(record, now, named=named):
            return False
        if record.ladder.asked_at >= overdue_at(record, self._options):
            record.exhaust(question, sure=sure, unknown=EVERY_QUESTION)
            record.miss()
        elif record.ladder.confirmed:
            record.miss()
        else:
            # It may still run, and the usual question is the one that will bring it.
            record.progressed()
        self._brought_nothing(record, now, soon=True)
        return True

    def empty(self, now: float, kind: str | None = None) -> bool:
        """An answer came that is empty, or a denial, and names nobody. False if nothing was asked.

        ``kind``: the type that it told; if that is no question's, it is no answer to one.
        Whoever it is taken to be about may still get an answer by name. So the question counts
        as one whose answer may come.
        """
        if kind is not None and kind not in ABOUT_OTHERS:
            return False
        records, certain = self.questions.emptied(None if kind is None else QuestionType(kind))
        for record in records:
            if certain:
                self._denied_by_nobody(record, now)
            else:
                self._ask_at(record, min(record.ladder.next_at, now + EMPTY_GRACE))
        return bool(records)

    def _denied_by_nobody(self, record: TaskRecord, now: float) -> None:
        """An answer that does not name it may be about this task."""
        self.denied(record, now, sure=record.ladder.outstanding <= 1, named=False)

    def _silence(self, record: TaskRecord, now: float) -> None:
        """A question was not answered in time."""
        question = record.ladder.question
        assert question is not None
        told_at = self.questions.left_out_at(record)
        if told_at is not None:
            # More may have come since this was planned: the answer comes in parts.
            until = told_at + EMPTY_GRACE
            if until <= now:
                self._denied_by_nobody(record, now)
                return
            until = min(until, self._patient_until(record, question))
            if until > now:
                self._ask_at(record, until)
                return
        if now >= record.ladder.asked_at + self._options.question_timeout:
            self.questions.give_up(record, question, now)
            record.exhaust(question, sure=False)
        else:
            # The deadline left it less time than a slow server may need.
            self.questions.close(record)
        record.unanswered()

    def _brought_nothing(self, record: TaskRecord, now: float, *, soon: bool) -> None:
        """A question was answered, but not with the task. Ask again, or send the task again.

        ``soon``: the other kind of question may bring more.
        """
        ladder, options = record.ladder, self._options
        # The caller itself asked for a second try.
        may_send = ladder.reused or (ladder.disturbed and options.resubmit == "same-uuid")
        if ladder.confirmed or not may_send:
            self._ask_later(record, now)
            return
        at = resend_at(record, options, record.behind(now))
        exhausted = ladder.exhausted | self.questions.mute
        complete = ladder.asked_at >= at and exhausted == EVERY_QUESTION
        if complete and ladder.unknown == EVERY_QUESTION:
            self.resending[record.uuid] = record
            self._out.wake = True
            return
        latest = at if at > now else FOREVER
        if at <= now and not complete:
            # What is asked next decides whether the task is sent again, so it is not put off.
            soon = soon and self.questions.next_kind(record, now) is not ladder.last_question
            latest = now if soon else now + _HEAR_AGAIN
        self._ask_later(record, now, latest=latest)

    def source(self, record: TaskRecord, generation: int) -> RecoveredBy:
        """How an item that was pushed to us came."""
        ladder = record.ladder
        if ladder.resends and not ladder.confirmed:
            return RecoveredBy.RESUBMIT
        if ladder.disturbed or record.generation != generation:
            return RecoveredBy.REPLAY
        return RecoveredBy.LIVE
