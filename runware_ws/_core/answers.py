"""What the core does with what the server said: the readings of ``inbound``, one by one.

Nothing here raises, a foreign or broken item changes no unrelated task, and an
error goes to a task only if it provably belongs there.
"""

from __future__ import annotations

from typing import Any

from runware_ws._core.connection.connection import Change, Connection
from runware_ws._core.context import Context
from runware_ws._core.ends import Ends
from runware_ws._core.inbound.archive import Listing, archived
from runware_ws._core.inbound.meaning import (
    Meaning,
    is_answer_about,
    is_empty,
    meaning,
    meaning_for,
    says_nothing,
)
from runware_ws._core.inbound.router import (
    Control,
    Empty,
    Errors,
    Nameless,
    Reading,
    Results,
    Router,
    Single,
    Stray,
    Unreadable,
)
from runware_ws._core.recovery.recovery import ASKED, Recovery
from runware_ws._core.recovery.words import is_listed_verdict, is_receipt
from runware_ws._core.states import DONE, FOREVER
from runware_ws._core.task_errors import TaskErrors
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.items import are_copies, fresh_items
from runware_ws._core.tasks.ladder import ABOUT_OTHERS, READ_ONLY, QuestionType
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.table import TaskTable
from runware_ws.errors import StreamInterrupted
from runware_ws.events import MalformedFrame
from runware_ws.models.results import RecoveredBy
from runware_ws.models.wire_errors import WireError

__all__ = ["Answers"]

_LIVE, _REPLAY = RecoveredBy.LIVE, RecoveredBy.REPLAY
_WHOLE = (*ASKED, RecoveredBy.RESUBMIT)


class Answers:
    """Acts on readings."""

    def __init__(
        self,
        out: Context,
        table: TaskTable,
        recovery: Recovery,
        connection: Connection,
        ends: Ends,
        router: Router,
    ) -> None:
        self._out = out
        self._table = table
        self._recovery = recovery
        self._connection = connection
        self._ends = ends
        self._router = router
        self._errors = TaskErrors(out, table, recovery, connection, ends)
        # When the latest piece of a stream came that named nobody.
        self._lost_piece_at = -FOREVER

    def take(self, said: Reading, now: float) -> Change | None:
        """Act on one reading; what it changed about the connection, if it did.

        All but the plain answer, which is :meth:`straight`'s.
        """
        match said:
            case Single(record=record):
                if record.ended:
                    self._overhear(record, said.item, now)
                else:
                    self._single(said, now)
            case Results():
                self._results(said, now)
            case Stray():
                self._stray(said.uuid, said.item, now)
            case Control(item=item):
                return self._connection.control_item(item, now)
            case Nameless(item=item):
                self._nameless(item, now)
            case Errors():
                return self._errors.take(said, now)
            case Empty():
                if self._recovery.empty(now):
                    self._connection.progress()
            case Unreadable():
                self._unreadable(said, now)
            case _:
                raise AssertionError(said)
        return None

    def _progress(self, record: TaskRecord) -> None:
        """The server said something of use about a task. By its POST: then not on the socket."""
        if not record.posted:
            self._connection.progress()

    # Results

    def straight(self, record: TaskRecord, item: dict[str, Any], now: float) -> None:
        """The answer to a task that was never on the ladder: most are, so this way is short."""
        if record.state >= DONE:
            # The same answer came earlier in this message, or more of it.
            self._more(record, [item], now)
            return
        connection = self._connection
        connection.progress()
        if record.generation != connection.generation:
            record.took([item], _REPLAY)
            self._table.note(record)
            self._ends.end(record, DONE, now)
            return
        record.took_whole(item)
        # What `_learn` does, without two calls that every task would make.
        learned = record.learned
        if learned is not None and record.sends == 1 and record.written_at >= self._out.jumped_at:
            learned.observe(now - record.written_at)
        if record.watched:
            self._table.note(record)
        self._ends.answered(record, now)

    def _more(self, record: TaskRecord, items: list[dict[str, Any]], now: float) -> None:
        """Items for a task that ended earlier in the message that they came in."""
        for item in items:
            if record.task_type not in READ_ONLY or record.state is not DONE:
                self._stray(record.uuid, item, now)
            elif not any(are_copies(item, kept) for kept in record.items):
                # Nothing says how many there are, but nobody was told of the first yet.
                record.took_also(item)
            else:
                self._out.counters.duplicates += 1

    def _results(self, said: Results, now: float) -> None:
        record, items = said.record, said.items
        if record.ended:
            self._more(record, items, now)
            return
        if self._is_piece_of_left(record, items[0]):
            self._overhear(self._table.left.records[record.uuid], items[0], now)
            return
        # A poll tells a status (documented), and results of an ``async`` task are not pushed, but
        # for the pieces of a first try that was a stream.
        # A pushed one may tell a status too: it may be a copy, or the last part of a stream.
        ladder = record.ladder
        asked = self._recovery.ready and (ladder.question is QuestionType.POLL or ladder.told)
        tells_status = items[0].get("status") is not None
        polls_only = record.delivery == "async" and record.deltas is None
        listing = asked and (polls_only or tells_status)
        if listing and ladder.outstanding > 1:
            # What a replay joined may be several answers, each with the same result.
            listing = not self._recovery.replay.may_bring(ladder.asked_at)
        # A poll that was given up, or taken for answered, may be answered all the same, whatever
        # was asked since; and so may one of the first try.
        late = record.deltas is None and ladder.outstanding and tells_status
        polled = ladder.polls or ladder.reused
        if listing or (polled and (late or polls_only)):
            self._recovery.told_by_poll(record)
            source = RecoveredBy.POLL
        elif record.posted:
            source = _LIVE
        else:
            source = self._recovery.source(record, self._connection.generation)
        self._accept(record, items, source, now, listing=listing and not said.partial)

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
        self._progress(record)
        if record.deltas is not None:
            if not self._is_the_whole(record, record.deltas, items[0], source, now):
                return
            if record.posted:
                # The answer of a POST is over when the POST is: more may come.
                self._table.note(record)
                return
            items = [record.deltas.whole()]
        if record.expected == 1:
            fresh = items[: 1 - len(record.items)]
        else:
            fresh = fresh_items(record, items, listing=listing)
            self._out.counters.duplicates += len(items) - len(fresh)
        if fresh:
            record.progressed()
            record.took(fresh, source)
            self._table.note(record)
        if len(record.items) >= record.expected:
            self._learn(record, source, now)
            self._ends.end(record, DONE, now)
            if record.task_type in READ_ONLY:
                self._more(record, items[len(fresh) :], now)
            return
        self._recovery.still_running(record, now, answered=source in ASKED)
        if not fresh and source is RecoveredBy.POLL:
            record.miss()
        record.acknowledge()
        if len(fresh) < len(items) and record.delivery == "sync":
            # Either a copy or an equal result: only the archive can tell them apart.
            self._recovery.ask_soon(record, now)

    def _learn(self, record: TaskRecord, source: RecoveredBy, now: float) -> None:
        learned = record.learned
        if learned is None or record.sends != 1 or record.written_at < self._out.jumped_at:
            # A task without one known start has no duration, nor has one that slept with us.
            return
        if source is _LIVE:
            learned.observe(now - record.written_at)
            return
        ladder = record.ladder
        if record.delivery != "async" or ladder.disturbed:
            return
        if source is RecoveredBy.POLL:
            learned.done(ladder.asked_at - record.written_at, ladder.polls)
        elif source is RecoveredBy.ARCHIVE:
            # Where polls fail, nothing else tells how long these tasks take. What is listed beside
            # another task may never have been asked about, or long ago.
            learned.took(now - record.written_at)

    def _is_the_whole(
        self,
        record: TaskRecord,
        deltas: Deltas,
        item: dict[str, Any],
        source: RecoveredBy,
        now: float,
    ) -> bool:
        """Whether a result of a stream is the whole of it; if so, what was missing is handed on.

        After a cut, a pushed result may be only the last part of the stream. So three answers are
        believed: the archive's, a poll's with a final status, and the answer to a copy that was
        sent again, because that copy asked for the whole. A whole that does not begin with what
        was handed on is doubted too, until the archive says the same.
        """
        if source is not _LIVE or record.ladder.reused:
            deltas.suspended = True
        self._look_for_hole(record, deltas)
        sure = not deltas.suspended or source in _WHOLE
        if sure and deltas.complete(item, now):
            return True
        if source is RecoveredBy.ARCHIVE:
            error = StreamInterrupted(
                "the stream was cut, and the whole answer does not begin with what had arrived",
                text=deltas.text(),
                task_uuid=record.uuid,
            )
            self._ends.fail(record, error, now)
        else:
            if record.ladder.last_question is QuestionType.POLL:
                record.miss()
            self._recovery.still_running(record, now)
            self._recovery.ask_now(record, now)
        return False

    def _stray(self, uuid: str, item: dict[str, Any], now: float) -> None:
        known = self._table.end_of(uuid) is not None
        if known:
            # A copy of an answer to us: this socket works.
            self._connection.progress()
        means = meaning(item)
        left = self._table.left.get(uuid)
        if left is not None and (left.posted or left.generation == self._connection.generation):
            self._overhear(left, item, now)
        elif means is Meaning.RESULT and self._table.was_stream(uuid):
            # It may be only the last part, and there is no way left to tell.
            self._out.counters.strays += 1
        elif means is Meaning.DELTA and not known:
            self._table.saw_piece(uuid)
        elif means is Meaning.RESULT:
            self._late(uuid, item, now)
        elif means is Meaning.ARCHIVE:
            listing = archived(item, uuid)
            for result in listing.results.get(uuid, []):
                self._late(uuid, result, now)
            self._list_others(listing, uuid, now)

    def _late(self, uuid: str, item: dict[str, Any], now: float) -> None:
        """What looks like a result for a task that nobody waits for. It may be a late receipt."""
        asked = item.get("taskType") in ABOUT_OTHERS or self._table.was_polled(uuid)
        if asked and is_empty(item):
            self._out.counters.strays += 1
        else:
            self._table.stray(uuid, item, now)

    def _overhear(self, record: TaskRecord, item: dict[str, Any], now: float) -> None:
        """An item of a stream that was given up, from the socket or POST that carries it."""
        deltas = record.deltas
        if deltas is None or self._table.left.get(record.uuid) is not record:
            return
        self._look_for_hole(record, deltas)
        if deltas.suspended:
            self._table.forget_left(record.uuid)
            return
        means = meaning_for(record, item)
        if means is Meaning.DELTA:
            last = deltas.add(item, now)
        elif means is Meaning.RESULT:
            last = deltas.complete(item, now)
        else:
            if means is Meaning.ERROR:
                self._table.forget_left(record.uuid)
            return
        deltas.pending.clear()
        if last and not record.posted:
            self.keep_left(record, now)
        else:
            self._table.left_grew(record, item)

    def _is_piece_of_left(self, record: TaskRecord, item: dict[str, Any]) -> bool:
        """Whether an item for the caller's question is a piece of a stream that was given up."""
        left = self._table.left.get(record.uuid)
        if left is None or left.posted or left.generation != self._connection.generation:
            return False
        # A poll tells a status (documented), and the archive's answer has its type.
        untold = item.get("status") is None and item.get("taskType") != record.task_type
        return item.get("delta") is not None or untold

    def keep_left(self, record: TaskRecord, now: float) -> None:
        """A stream that was given up is complete: its whole answer can be claimed."""
        assert record.deltas is not None
        self._table.left.forget(record.uuid)
        self._table.stray(record.uuid, record.deltas.whole(), now)

    # Single items

    def _single(self, said: Single, now: float) -> None:
        record, item = said.record, said.item
        if said.means is Meaning.ARCHIVE:
            self._archive(record, item, now)
        elif said.means is Meaning.DELTA:
            self._delta(record, item, now)
        elif said.error is None:
            self._note(record, item, said.means, now)
        elif is_listed_verdict(record, item, said.error):
            self._listed_error(record, [said.error], now)
        else:
            self._errors.about(record, said.error, now)

    def _note(self, record: TaskRecord, item: dict[str, Any], means: Meaning, now: float) -> None:
        """A receipt, or a note that the task is still running."""
        if means is Meaning.RECEIPT and is_answer_about(record, item):
            # It has nothing in it.
            record.answered()
            self._recovery.denied(record, now, item["taskType"])
            return
        first = not record.ladder.confirmed
        if means is Meaning.PROGRESS:
            record.take_back()
            record.progressed()
            by_archive = is_answer_about(record, item) and item["taskType"] == QuestionType.ARCHIVE
            if by_archive:
                # It tells no more than that the task runs.
                record.answered()
                self._recovery.questions.heard(QuestionType.ARCHIVE)
            elif record.ladder.question is QuestionType.POLL:
                self._recovery.told_by_poll(record)
            self._recovery.still_running(record, now, answered=by_archive or record.ladder.told)
        else:
            self._recovery.arrived(record, now)
        record.acknowledge()
        if first and record.delivery not in ("sync", "stream"):
            self._recovery.watch_async(record, now)
        tells = item.get("status") == "processing" or "progress" in item
        if means is Meaning.PROGRESS and tells and record.note(item):
            self._table.note(record)

    def _delta(self, record: TaskRecord, item: dict[str, Any], now: float) -> None:
        """The next delta of a stream."""
        if record.deltas is None and self._is_piece_of_left(record, item):
            self._overhear(self._table.left.records[record.uuid], item, now)
            return
        self._progress(record)
        self._recovery.still_running(record, now)
        posted = record.posted
        record.acknowledge()
        deltas = record.deltas
        if deltas is None:
            # Nobody asked for deltas, so it only shows that the task is alive.
            return
        elsewhere = record.generation != self._connection.generation
        # A second try may get the first one's deltas, from the middle of the stream.
        ladder = record.ladder
        broken = ladder.disturbed or ladder.reused or ladder.conflicted
        if broken or (elsewhere and not posted):
            deltas.suspended = True
        self._look_for_hole(record, deltas)
        last = deltas.add(item, now)
        if deltas.suspended:
            if last and not posted:
                # The server has finished, so the archive has the whole answer, now or soon.
                self._recovery.ask_now(record, now)
            elif not posted:
                self._recovery.ask_soon(record, now)
            return
        self._table.note(record)
        if last and not posted:
            self.finish_stream(record, now)

    def _look_for_hole(self, record: TaskRecord, deltas: Deltas) -> None:
        """A piece that named nobody, and came since this stream was written, may be its own."""
        if self._lost_piece_at >= record.written_at and not record.posted:
            deltas.hole()

    def finish_stream(self, record: TaskRecord, now: float) -> None:
        """All deltas of a stream are here."""
        assert record.deltas is not None
        if not record.items:
            record.took([record.deltas.whole()], RecoveredBy.LIVE)
        self._ends.end(record, DONE, now)

    def _archive(self, record: TaskRecord, item: dict[str, Any], now: float) -> None:
        """An answer of the archive, which may list the whole array that a task was sent in.

        Each entry belongs to the task that it names. One that names none belongs to this task
        only if nothing else was in that request.
        """
        record.answered()
        self._recovery.questions.heard(QuestionType.ARCHIVE)
        listing = archived(item, record.uuid)
        if not self._listed(record, listing, now):
            if item.get("request") or listing.results or listing.errors or listing.running:
                record.take_back(QuestionType.ARCHIVE)
                record.progressed()
                self._recovery.still_running(record, now, answered=True)
            else:
                # It names the task, but has nothing about it.
                self._recovery.denied(record, now, QuestionType.ARCHIVE)
        self._list_others(listing, record.uuid, now)

    def _list_others(self, listing: Listing, uuid: str, now: float) -> None:
        """What an answer about one task, ``uuid``, has of the other tasks of its array."""
        for each in {**listing.results, **listing.errors}:
            other = self._table.tasks.get(each)
            if each != uuid and other is not None and not other.posted:
                self._listed(other, listing, now)

    def _listed(self, record: TaskRecord, listing: Listing, now: float) -> bool:
        """Act on what the archive has of one task; False if that is nothing."""
        results = self.results_in(record, listing.results.get(record.uuid, []))
        told = listing.errors.get(record.uuid, [])
        if record.expected > 1 and record.uuid in listing.running:
            told = []  # as in an answer to a poll
        if results:
            self._accept(record, results, RecoveredBy.ARCHIVE, now, listing=True)
        if told and not record.ended:
            errors = self._router.errors_of({"taskUUID": record.uuid, "errors": told})
            self._listed_error(record, errors, now, beside=bool(results))
        return bool(results or told)

    def _listed_error(
        self, record: TaskRecord, errors: list[WireError], now: float, *, beside: bool = False
    ) -> None:
        """The archive or a poll lists errors of a task; ``beside``: and some of its results.

        What may be the refusal of a copy is not its end, but another one that stands there is.
        """
        ends = [e for e in errors if not is_receipt(record, e) and e.code != record.ladder.barred]
        error = (ends or errors)[0]
        if is_receipt(record, error):
            self._recovery.receipt(record, now)
        elif ends or self._errors.is_end_after_copy(record, error, now, beside=beside):
            self._ends.refuse(record, error, now)
        else:
            self._recovery.brought_nothing(record, now)

    @staticmethod
    def results_in(record: TaskRecord, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Without acknowledgements: the last response that a task received may be one."""
        return [entry for entry in entries if meaning_for(record, entry) is not Meaning.RECEIPT]

    # What cannot be read, or names nobody

    def _unreadable(self, said: Unreadable, now: float) -> None:
        counters = self._out.counters
        counters.malformed += 1
        self._out.emit(
            MalformedFrame(
                at=now,
                reason=said.reason,
                sample=self._router.sample(said.data),
                count=counters.malformed,
            )
        )
        for uuid in said.about:
            record = self._table.tasks.get(uuid) or self._table.left.get(uuid)
            if record is None or record.deltas is None or record.posted != said.post:
                continue
            record.deltas.hole()
            if record.ended:
                self._table.forget_left(uuid)
        if not said.post:
            # It may have been the answer to anything that was written on this socket.
            self._recovery.doubt(now)

    def _nameless(self, item: dict[str, Any], now: float) -> None:
        """An item that names no task: nobody gets it. But it may be what somebody waits for."""
        self._out.counters.strays += 1
        if item.get("delta"):
            self._lost_piece_at = now
        told = item.get("taskType")
        kind = told if isinstance(told, str) else None
        if kind is not None and says_nothing(item) and self._recovery.empty(now, kind):
            self._connection.progress()
        else:
            self._recovery.doubt(now, kind)
