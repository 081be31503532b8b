"""One task and all that is known of it. It outlives sockets and sessions.

The record guards itself: whoever learns something about a task says so with one of the verbs
below, and nobody outside this room assigns an attribute (``tests/test_layers.py``). What may go
one way only, goes one way only: a confirmed task stays confirmed, items are only ever added.
"""

from __future__ import annotations

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
from runware_ws._core.tasks.ladder import UNTOUCHED, Identity, Ladder, QuestionType
from runware_ws.errors import RunwareError, Submitted
from runware_ws.models.results import RecoveredBy

if TYPE_CHECKING:
    from runware_ws._core.tasks.deltas import Deltas
    from runware_ws._core.tasks.durations import LearnedDuration

__all__ = ["FOREVER", "SOURCE_RANK", "Carrier", "TaskRecord"]

LAST_CALL = 2.0
"""One more question goes out this many seconds before a deadline, whatever else is planned."""

# From the answer that came by itself to the one that took most: a result tells
# the hardest way that any of its items took.
SOURCE_RANK = {
    RecoveredBy.LIVE: 0,
    RecoveredBy.REPLAY: 1,
    RecoveredBy.POLL: 2,
    RecoveredBy.ARCHIVE: 3,
    RecoveredBy.RESUBMIT: 4,
}


class Carrier(Enum):
    """What carries a task.

    ``EITHER``: HTTP, and the socket if the server says that it has no HTTP side. A task
    whose POST was cut goes on by the socket.
    """

    SOCKET = "socket"
    HTTP = "http"
    EITHER = "either"


SOCKET = Carrier.SOCKET
"""As a name of the module: see ``states``."""

_LIVE = RecoveredBy.LIVE
_RECOVERING = TaskState.RECOVERING
_ACKNOWLEDGED = TaskState.ACKNOWLEDGED


class TaskRecord:
    """The one owner of a pending task's facts.

    ``owner`` and ``waiter`` are the driver's: the core never looks at them. Times are the
    driver's clock in seconds; ``deadline`` is infinite if there is none. ``generation`` is
    the number of the socket on which the task was last written, or, below zero, of its POST.
    ``deltas``: only a stream has them.
    """

    __slots__ = (
        "carrier",
        "deadline",
        "delivery",
        "deltas",
        "error",
        "expected",
        "generation",
        "items",
        "ladder",
        "learned",
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
        *,
        delivery: str = "sync",
        expected: int = 1,
        deadline: float = FOREVER,
        learned: LearnedDuration | None = None,
        watched: bool = False,
        deltas: Deltas | None = None,
        carrier: Carrier = SOCKET,
        waiter: Any = None,
        now: float = 0.0,
    ) -> None:
        self.uuid = uuid
        self.task_type = task_type
        self.payload = payload
        self.size = len(payload)
        self.delivery = delivery
        self.expected = expected
        self.deadline = deadline
        # Shortly before the deadline one last question goes out; then this is the deadline.
        self.wake_at = deadline - min(LAST_CALL, 0.2 * (deadline - now))
        self.learned = learned
        self.owner: Any = None
        self.waiter = waiter
        self.state = WAITING
        self.submitted_at = now
        # What was sent.
        self.carrier = carrier
        self.generation = 0
        self.written_at = 0.0
        self.sends = 0
        # What came.
        self.items: list[dict[str, Any]] | tuple[dict[str, Any], ...] = ()
        self.recovered_by = _LIVE
        self.error: RunwareError | None = None
        # A watching handle wants to know of items and of the latest word on progress.
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
    def posted(self) -> bool:
        """Whether its POST is under way: what becomes of sockets does not touch it."""
        return self.carrier is not SOCKET and self.state >= WRITTEN

    @property
    def flows(self) -> bool:
        """Whether it is a stream whose deltas may still come, on the way that it was sent."""
        return self.deltas is not None and self.sends > 0 and not self.deltas.suspended

    @property
    def pushed(self) -> bool:
        """Whether its answer comes over the socket by itself, and so by a replay as well."""
        return self.delivery != "async" and self.generation >= 0

    # The driver's

    def attach(self, owner: Any) -> None:
        """``owner`` is told of what happens."""
        self.owner = owner

    def detach(self) -> Any:
        """Part record and owner, so that both can be freed at once; returns the owner."""
        owner, self.owner = self.owner, None
        return owner

    # Its states

    def _move(self, state: TaskState) -> None:
        self.state = check_task(self.state, state)

    def own_ladder(self) -> Ladder:
        """The task's own ladder: it is out of the common from now on."""
        if self.ladder is UNTOUCHED:
            self.ladder = Ladder()
        return self.ladder

    def admit(self) -> None:
        """There is room for it in flight."""
        self._move(QUEUED)

    def second_try(self, generation: int) -> None:
        """Its taskUUID was given up before, last written on socket ``generation``."""
        self.own_ladder().reused = True
        self.generation = generation

    def adopt(self) -> None:
        """A second try that was admitted: it is asked for before it is sent."""
        self._move(_RECOVERING)
        self.want_whole()

    def end(self, state: TaskState, error: RunwareError | None) -> None:
        """It ends, once. Its request is needed no more.

        Raises:
            IllegalTransition: it had ended (a bug).
        """
        self._move(state)
        self.error = error
        self.payload = b""

    # What was sent

    def wrote(self, generation: int, now: float) -> None:
        """It goes into a frame, or a POST, now."""
        if self.state is QUEUED:
            self.state = check_task(QUEUED, WRITTEN)
        self.generation = generation
        self.written_at = now
        self.sends += 1
        if self.ladder is not UNTOUCHED:
            self.ladder.denied_at = 0.0

    def resent(self) -> None:
        """What was just written was another copy."""
        self.own_ladder().resends += 1

    def unwrote(self) -> bool:
        """Take the last write back: not one byte was sent. True if it was never sent, then."""
        self.sends -= 1
        if self.ladder.resends:
            self.ladder.resends -= 1
        if self.state is WRITTEN and not self.sends:
            self._move(QUEUED)
            return True
        return False

    def leave_http(self) -> None:
        """It goes on by the socket."""
        self.carrier = SOCKET

    def want_whole(self) -> None:
        """A copy that is sent from now on asks for the whole answer, and for no stream."""
        if self.delivery == "stream":
            self.delivery = "sync"
            self.payload = wire.with_delivery(self.payload, "sync")

    def send_alone(self) -> None:
        """It was in a frame that was too big: it shares a frame with nobody from now on."""
        self.own_ladder().alone = True

    def too_big(self) -> bool:
        """A frame of this task alone was too big. True if that was the second time."""
        self.send_alone()
        self.ladder.strikes += 1
        return self.ladder.strikes > 1

    def key_refused(self) -> bool:
        """Its POST was refused for the key. True where that was the second time."""
        before, self.own_ladder().key_refused = self.ladder.key_refused, True
        return before

    # What came

    def took(self, items: list[dict[str, Any]], source: RecoveredBy) -> None:
        """Results came that are new; ``source``: the way that they took."""
        self.items = [*self.items, *items][: self.expected]
        known = self.recovered_by
        if source is not known and SOURCE_RANK[source] > SOURCE_RANK[known]:
            self.recovered_by = source

    def took_whole(self, item: dict[str, Any]) -> None:
        """The one result of an untroubled task came."""
        self.items = [item]

    def acknowledge(self) -> None:
        """The server spoke of it."""
        if self.state is WRITTEN:
            self._move(_ACKNOWLEDGED)

    def confirm(self) -> None:
        """The server proved that it has the task. That is for good."""
        ladder = self.own_ladder()
        ladder.confirmed = True
        ladder.misses = 0

    def note(self, progress: dict[str, Any]) -> bool:
        """The server's word on progress; True if it is news."""
        if progress == self.ladder.progress:
            return False
        self.own_ladder().progress = progress
        return True

    def identities(self) -> list[Identity]:
        """What tells the results that came from copies, to be added to."""
        ladder = self.own_ladder()
        if ladder.known is None:
            ladder.known = []
        return ladder.known

    # The ladder

    def cut(self, generation: int, ask_from: float) -> None:
        """Its way broke under it. ``generation`` is the socket on which it is recovered.

        ``ask_from``: when it may be asked for; the first cut counts.
        """
        ladder = self.own_ladder()
        if self.state is not _RECOVERING:
            self._move(_RECOVERING)
            ladder.first_resume = generation
            ladder.ask_from = ask_from
        ladder.disturbed = True
        ladder.resend_due = False
        if self.deltas is not None:
            self.deltas.suspended = True
            self.want_whole()

    def plan(self, at: float) -> None:
        """Look at it again at this time; infinite: never mind."""
        if self.ladder is not UNTOUCHED or at != FOREVER:
            self.own_ladder().next_at = at

    def plan_resend(self, due: bool) -> None:
        """What is planned next is another copy, or it is not."""
        self.own_ladder().resend_due = due

    def asked(self, question: QuestionType, now: float) -> None:
        """A question about it goes out now."""
        ladder = self.own_ladder()
        ladder.question = question
        ladder.asked_at = now
        ladder.asks += 1
        if question is QuestionType.POLL:
            ladder.polls += 1

    def answered(self) -> bool:
        """The question about it is closed; False if none was open."""
        if self.ladder.question is None:
            return False
        self.ladder.question = None
        return True

    def miss(self) -> int:
        """A question brought nothing; how often in a row."""
        ladder = self.own_ladder()
        ladder.misses += 1
        return ladder.misses

    def denied(self, now: float) -> float:
        """The server does not know it; since when it says so of the copy last written."""
        ladder = self.own_ladder()
        ladder.denied_at = ladder.denied_at or now
        return ladder.denied_at

    def __repr__(self) -> str:
        return f"<TaskRecord {self.uuid} {self.task_type} {self.state.name}>"
