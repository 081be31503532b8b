"""One task and all that is known about it. It outlives sockets and sessions.

The record guards itself: code that learns something about a task calls one of the methods below,
and no code outside this folder assigns an attribute (``tests/test_layers.py``). What may only
change one way only changes that way: a confirmed task stays confirmed, and items are only added.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from runware_ws._core import wire
from runware_ws._core.states import (
    DONE,
    FOREVER,
    QUEUED,
    WAITING,
    WRITTEN,
    TaskState,
    check_task,
)
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.ladder import UNTOUCHED, Identity, Ladder, QuestionType, Word
from runware_ws.errors import RunwareError, Submitted
from runware_ws.models.results import RecoveredBy

if TYPE_CHECKING:
    from runware_ws._core.tasks.durations import LearnedDuration

__all__ = ["FOREVER", "LAST_CALL", "SOURCE_RANK", "Carrier", "TaskRecord"]

LAST_CALL = 2.0
"""A last question goes out this many seconds before a deadline, whatever else is planned."""

ANY_NUMBER = 1 << 40
"""So many answers to questions nobody counts."""

# From the answer that came by itself to the one that took the most work. A result
# reports the highest rank among its items.
SOURCE_RANK = {
    RecoveredBy.LIVE: 0,
    RecoveredBy.REPLAY: 1,
    RecoveredBy.POLL: 2,
    RecoveredBy.ARCHIVE: 3,
    RecoveredBy.RESUBMIT: 4,
    RecoveredBy.JOURNAL: 5,
}


class Carrier(Enum):
    """What carries a task.

    ``EITHER``: HTTP, or the socket if the server says that it has no HTTP side. A task
    whose POST was cut goes on over the socket.
    """

    SOCKET = "socket"
    HTTP = "http"
    EITHER = "either"


SOCKET = Carrier.SOCKET
"""A module-level name for speed: see ``states``."""

_ADMITTED = check_task(WAITING, QUEUED)
_SENT = check_task(QUEUED, WRITTEN)
_LIVE = RecoveredBy.LIVE
_RECOVERING = TaskState.RECOVERING
_ACKNOWLEDGED = TaskState.ACKNOWLEDGED


class TaskRecord:
    """The one owner of a pending task's facts.

    ``owner``, ``waiter``, ``entry`` (of the journal), ``model`` and ``metadata`` (for people)
    belong to the driver: the core never reads them. Times are on the driver's clock, in seconds;
    ``deadline`` is infinite if there is none. ``generation`` is the number of the socket on which
    the task was last written or, below zero, of its POST. ``deltas``: only a stream has them.
    """

    __slots__ = (
        "carrier",
        "deadline",
        "delivery",
        "deltas",
        "ended_at",
        "entry",
        "error",
        "expected",
        "first_written_at",
        "generation",
        "items",
        "ladder",
        "learned",
        "metadata",
        "model",
        "owner",
        "payload",
        "recovered_by",
        "sends",
        "size",
        "state",
        "submitted_at",
        "task_type",
        "uuid",
        "waiter",
        "wake_at",
        "watched",
        "written_at",
    )

    def __init__(
        self,
        uuid: str,
        task_type: str,
        payload: bytes,
        # By name or, where every task passes, by place: names cost more than all of the rest.
        delivery: str = "sync",
        expected: int = 1,
        deadline: float = FOREVER,
        learned: LearnedDuration | None = None,
        watched: bool = False,
        deltas: Deltas | None = None,
        carrier: Carrier = SOCKET,
        waiter: Any = None,
        entry: Any = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        now: float = 0.0,
    ) -> None:
        self.uuid = uuid
        self.task_type = task_type
        self.payload = payload
        self.size = len(payload)
        self.delivery = delivery
        self.expected = expected
        self.deadline = deadline
        # First the time of the last question, shortly before the deadline; then the deadline.
        last_call = 0.2 * (deadline - now)
        self.wake_at = deadline - (last_call if last_call < LAST_CALL else LAST_CALL)
        self.learned = learned
        self.owner: Any = None
        self.waiter = waiter
        self.entry = entry
        self.model = model
        self.metadata = metadata
        self.state = WAITING
        self.submitted_at = now
        # What was sent.
        self.carrier = carrier
        self.generation = 0
        self.first_written_at = self.written_at = 0.0
        self.sends = 0
        # What came.
        self.items: list[dict[str, Any]] | tuple[dict[str, Any], ...] = ()
        self.recovered_by = _LIVE
        self.error: RunwareError | None = None
        self.ended_at = 0.0
        # Whether a handle wants to know about new items and progress notes.
        self.watched = watched
        self.deltas = deltas
        self.ladder: Ladder = UNTOUCHED

    # What can be asked of it

    @property
    def ended(self) -> bool:
        return self.state >= DONE

    @property
    def submitted(self) -> Submitted:
        """Whether the server has the task, as far as anybody here can know."""
        if self.ladder.confirmed:
            return Submitted.YES
        return Submitted.MAYBE if self.sends or self.ladder.reused else Submitted.NO

    @property
    def copied(self) -> bool:
        """Whether an earlier copy may run, so that a refusal of the last one does not settle it."""
        return self.sends > 1 or self.ladder.reused

    @property
    def posted(self) -> bool:
        """Whether its POST is open: then nothing that happens to sockets concerns it."""
        return self.carrier is not SOCKET and self.state >= WRITTEN

    @property
    def flows(self) -> bool:
        """Whether it is a stream that was sent and whose deltas may still come."""
        return self.deltas is not None and self.sends > 0 and not self.deltas.suspended

    @property
    def pushed(self) -> bool:
        """Whether its answer is pushed over the socket, and so is part of a replay too."""
        return self.delivery != "async" and self.generation >= 0

    # The driver's

    def attach(self, owner: Any) -> None:
        """From now on ``owner`` is told what happens."""
        self.owner = owner

    def detach(self) -> Any:
        """Separate record and owner, so that both can be freed at once; return the owner."""
        owner, self.owner = self.owner, None
        return owner

    def unrecorded(self, error: RunwareError) -> None:
        """Its results are here, but cannot be recorded: its caller is told so instead."""
        self.error = error

    # Its states

    def _move(self, state: TaskState) -> None:
        self.state = check_task(self.state, state)

    def own_ladder(self) -> Ladder:
        """The task's own ladder, made at the first call."""
        if self.ladder is UNTOUCHED:
            self.ladder = Ladder()
        return self.ladder

    def admit(self) -> None:
        """There is room for it in flight."""
        self.state = _ADMITTED if self.state is WAITING else check_task(self.state, QUEUED)

    def rebind(self, uuid: str, payload: bytes) -> None:
        """It was not sent yet, and goes on as an earlier use of its key was recorded."""
        self.uuid = uuid
        self.payload = payload
        self.size = len(payload)
        if payload and wire.delivery_of(payload) == "stream":
            self.delivery = "stream"
            if self.ladder.reused:
                self._hear_pieces()

    def second_try(self, generation: int, *, stream: bool = False) -> None:
        """Its taskUUID was given up before, last written on socket ``generation``.

        ``stream``: the first try was one.
        """
        self.own_ladder().reused = True
        if stream or self.delivery == "stream":
            self._hear_pieces()
        # The first try may have asked, often; the answers would come now.
        self.ladder.outstanding = ANY_NUMBER
        self.generation = generation

    def adopt(self) -> None:
        """A second try was admitted: the server is asked about it before it is sent."""
        self._move(_RECOVERING)
        self.want_whole()

    def _hear_pieces(self) -> None:
        """Pieces of the first try may come. The last one is not the whole, which is wanted."""
        if self.deltas is None:
            self.deltas = deltas = Deltas()
            deltas.suspended = True

    def end(self, state: TaskState, now: float, error: RunwareError | None) -> None:
        """It ends, once.

        Raises:
            IllegalTransition: it had already ended (a bug).
        """
        self.state = check_task(self.state, state)
        self.ended_at = now
        self.error = error

    def forget_request(self) -> None:
        """It ended, and its request is no longer needed."""
        self.payload = b""

    # What was sent

    def wrote(self, generation: int, now: float) -> None:
        """It is written into a frame or a POST now."""
        if self.state is QUEUED:
            self.state = _SENT
        self.generation = generation
        self.written_at = now
        if not self.sends:
            self.first_written_at = now
        self.sends += 1
        if self.ladder is not UNTOUCHED:
            self.ladder.answered_at = 0.0
            self.ladder.asks_before = self.ladder.asks
            self.ladder.exhausted = self.ladder.troubled = self.ladder.unknown = 0

    def resent(self) -> None:
        """What was just written was another copy."""
        self.own_ladder().resends += 1

    def barred(self, code: str, now: float) -> bool:
        """A copy of it was not let in. False if each copy was refused already."""
        ladder = self.own_ladder()
        ladder.barred = code
        ladder.refusals += 1
        if ladder.last_question is not None and (ladder.word is None or ladder.word.code != code):
            # Not said in answer to a question yet; but it is known since now.
            ladder.word = Word(code, ladder.last_question, now, ladder.asks)
            ladder.word.times = 0
        return ladder.refusals <= self.sends - (0 if ladder.reused else 1)

    def unwrote(self) -> bool:
        """Undo the last write: not one byte was sent. True if the task is now unsent."""
        self.sends -= 1
        if self.ladder.resends:
            self.ladder.resends -= 1
        if self.state is WRITTEN and not self.sends:
            self._move(QUEUED)
            return True
        return False

    def leave_http(self) -> None:
        """It goes on over the socket."""
        self.carrier = SOCKET

    def want_whole(self) -> None:
        """A copy sent from now on asks for the whole answer, not for a stream."""
        if self.delivery == "stream":
            self.delivery = "sync"
            self.payload = wire.with_delivery(self.payload, "sync")

    def send_alone(self) -> None:
        """Its frame may have ended the socket: from now on it gets a frame of its own."""
        self.own_ladder().alone = True

    def struck(self, *, sure: bool = True) -> bool:
        """A frame of this task alone ended the socket. True if that is proven.

        ``sure``: nothing else is known that may have done it. Twice is proof, if once was sure.
        """
        self.send_alone()
        self.ladder.strikes += 2 if sure else 1
        return self.ladder.strikes > 2

    def key_refused(self) -> bool:
        """Its POST was refused for the key. True where that was the second time."""
        before, self.own_ladder().key_refused = self.ladder.key_refused, True
        return before

    # What came

    def took(self, items: list[dict[str, Any]], source: RecoveredBy) -> None:
        """New results came; ``source``: how they came."""
        self.items = [*self.items, *items][: self.expected]
        known = self.recovered_by
        if source is not known and SOURCE_RANK[source] > SOURCE_RANK[known]:
            self.recovered_by = source

    def took_whole(self, item: dict[str, Any]) -> None:
        """The one result of a task that needed no recovery came."""
        self.items = [item]

    def took_also(self, item: dict[str, Any]) -> None:
        """More of the answer that ended it: a caller's question may have any number of items."""
        self.items = [*self.items, item]

    def acknowledge(self) -> None:
        """The server mentioned it."""
        if self.state is WRITTEN:
            self._move(_ACKNOWLEDGED)

    def confirm(self) -> None:
        """The server proved that it has the task. This is never undone."""
        self.own_ladder().confirmed = True

    def conflicted(self) -> None:
        """The server has an earlier copy of it, and did not take the last one."""
        self.confirm()
        self.ladder.conflicted = True

    def progressed(self) -> None:
        """A question was of use."""
        if self.ladder is not UNTOUCHED:
            self.ladder.misses = self.ladder.denials = 0

    def not_denied(self) -> None:
        """Something else than a denial came."""
        if self.ladder is not UNTOUCHED:
            self.ladder.denials = 0

    def note(self, progress: dict[str, Any]) -> bool:
        """A progress note from the server; True if it is new."""
        if progress == self.ladder.progress:
            return False
        self.own_ladder().progress = progress
        return True

    def is_last_call(self, now: float) -> bool:
        """Whether its deadline is so near that it is asked about now or never."""
        return now >= self.deadline - LAST_CALL

    def identities(self) -> list[Identity]:
        """The identities of the results that came; the caller adds to them."""
        ladder = self.own_ladder()
        if ladder.known is None:
            ladder.known = []
        return ladder.known

    # The ladder

    def another_socket(self) -> None:
        """The socket on which it was asked about is gone, and another one is ready.

        What was buffered for it may come, whatever the session is called now: answers to questions
        of the dead socket as well, even those that had come.
        """
        ladder = self.ladder
        if ladder is not UNTOUCHED:
            ladder.told = ladder.half_told = False
            ladder.outstanding = ANY_NUMBER if ladder.may_answer else 0
            if ladder.barred is not None:
                # That refusal may be replayed on each socket, and is not insisted on so.
                ladder.word = None
            # The next cut may come soon: the pauses between questions begin with the shortest.
            ladder.asks_before = ladder.asks + 1
            ladder.sockets += 1

    def cut(self, generation: int, ask_from: float) -> None:
        """The socket or POST that carried it broke. ``generation``: the socket that recovers it.

        ``ask_from``: when it may be asked about; the first cut counts.
        """
        ladder = self.own_ladder()
        if self.state is not _RECOVERING:
            self._move(_RECOVERING)
            ladder.first_resume = generation
            ladder.ask_from = ask_from
        ladder.disturbed = True
        if self.deltas is not None:
            self.deltas.suspended = True
            self.want_whole()

    def plan(self, at: float) -> None:
        """Look at it again at this time; infinite: not planned."""
        if self.ladder is not UNTOUCHED or at != FOREVER:
            self.own_ladder().next_at = at

    def asked(self, question: QuestionType, frame: int, now: float) -> None:
        """A question about it is being sent, in this frame of questions."""
        ladder = self.own_ladder()
        if ladder.told:
            self.answered()
            ladder.half_told = True
        ladder.question = ladder.last_question = question
        ladder.asked_at = now
        ladder.asked_in = frame
        ladder.asks += 1
        ladder.outstanding += 1
        if question is QuestionType.POLL:
            ladder.polls += 1
            if self.deltas is not None:
                self.deltas.polled = True

    def closed(self) -> QuestionType | None:
        """The question about it is closed; its answer may still come. Returns what was open."""
        question = self.ladder.question
        if question is not None:
            self.ladder.question = None
        return question

    def answered(self, *, by_error: bool = False) -> None:
        """An answer to a question about it came. ``by_error``: it may be the rest of a poll's."""
        ladder = self.own_ladder()
        ladder.told = False
        ladder.silences = 0
        if by_error and ladder.half_told:
            # That poll counts as answered since the next question was asked.
            ladder.half_told = False
        elif ladder.outstanding:
            ladder.outstanding -= 1

    def told(self) -> None:
        """A part of the answer to a poll came; an error may be another part of it."""
        self.own_ladder().told = self.ladder.found = True

    def miss(self) -> None:
        """A question brought nothing, so the next one is asked another way."""
        self.own_ladder().misses += 1

    def unanswered(self) -> None:
        """A question was not answered in time."""
        self.miss()
        self.ladder.silences += 1

    def denied(self, now: float) -> tuple[int, float]:
        """The server does not know it, though it had it; return how often, and since when."""
        ladder = self.own_ladder()
        if not ladder.denials:
            ladder.denied_since = now
        ladder.denials += 1
        return ladder.denials, ladder.denied_since

    def heard(self, code: str, question: QuestionType, now: float) -> Word:
        """A question was answered by this error; return how often it has been by now.

        The same error about several results of one task is said once for each question.
        """
        ladder = self.own_ladder()
        word = ladder.word
        if word is None or word.code != code:
            word = ladder.word = Word(code, question, now, ladder.asks)
        elif ladder.asks > word.asks:
            word.times += 1
            word.asks = ladder.asks
        return word

    def take_back(self, question: QuestionType | None = None) -> None:
        """What was said in answer to this kind of question, or to any, no longer counts."""
        word = self.ladder.word
        if word is not None and question in (None, word.question):
            self.ladder.word = None

    def behind(self, now: float) -> float:
        """A question was answered; return when the first was, since the copy last written."""
        ladder = self.own_ladder()
        ladder.answered_at = ladder.answered_at or now
        return ladder.answered_at

    def exhaust(self, question: QuestionType, *, sure: bool = True, unknown: int = 0) -> None:
        """This kind of question brings nothing more; not ``sure``: only the second time counts.

        ``unknown``: the kinds that need not be heard any more before the task counts as unknown.
        Where the server said that there is no such task, all; where it does not take this kind,
        this one; where it only was in trouble, or silent, none.
        """
        ladder = self.own_ladder()
        if sure or ladder.troubled & question.bit:
            ladder.exhausted |= question.bit
            ladder.unknown |= unknown
        ladder.troubled |= question.bit

    def __repr__(self) -> str:
        return f"<TaskRecord {self.uuid} {self.task_type} {self.state.name}>"
