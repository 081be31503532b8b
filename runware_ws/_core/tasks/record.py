"""One task and all that is known of it. It outlives sockets and sessions."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from runware_ws._core.states import DONE, WAITING, TaskState, check_task
from runware_ws.errors import RunwareError, Submitted
from runware_ws.models.results import RecoveredBy

if TYPE_CHECKING:
    from runware_ws._core.tasks.deltas import Deltas
    from runware_ws._core.tasks.durations import Expectation

__all__ = ["GROUND", "Identity", "Ladder", "Question", "TaskRecord"]

FOREVER = float("inf")

LAST_CALL = 2.0
"""One more question goes out this many seconds before a deadline, whatever else is planned."""

Identity = tuple[int | None, tuple[tuple[str, str], ...], dict[str, Any]]
"""What tells a result from the others of its task: index, ids of its output, output."""


class Question(StrEnum):
    """What can be asked about a task, read-only."""

    POLL = "getResponse"
    ARCHIVE = "getTaskDetails"


# From the answer that came by itself to the one that took most: a result tells
# the hardest way that any of its items took.
SOURCE_RANK = {
    RecoveredBy.LIVE: 0,
    RecoveredBy.REPLAY: 1,
    RecoveredBy.POLL: 2,
    RecoveredBy.ARCHIVE: 3,
    RecoveredBy.RESUBMIT: 4,
}


class Ladder:
    """Where a task stands on the recovery ladder: what was proved, asked, and sent again.

    Most tasks never need it: they are written once and answered once, and share
    :data:`GROUND`. ``next_at`` is infinite where nothing is planned.
    """

    __slots__ = (
        "alone",
        "ask_from",
        "ask_only",
        "asked_at",
        "asks",
        "confirmed",
        "denied_at",
        "disturbed",
        "first_resume",
        "known",
        "misses",
        "next_at",
        "polls",
        "progress",
        "question",
        "resend_due",
        "resent",
        "reused",
        "strikes",
    )

    def __init__(self) -> None:
        # What the server proved: it has the task. What we know: a socket broke under it.
        self.confirmed = False
        self.disturbed = False
        # Since when it may be asked for, and the socket on which it waits for the replay:
        # neither starts anew when that socket dies too, or quick cuts would starve the task.
        self.ask_from = 0.0
        self.first_resume = 0
        # What is being asked.
        self.question: Question | None = None
        self.asked_at = 0.0
        self.next_at = FOREVER
        self.asks = 0
        self.polls = 0
        self.misses = 0
        # What is being sent again.
        self.resend_due = False
        self.resent = False
        # When the server first denied it since it was last written; 0 where it did not.
        self.denied_at = 0.0
        # Its taskUUID was given up without an answer before, so the server may know it.
        self.reused = False
        # We may ask for it, never send it.
        self.ask_only = False
        # A frame that was too big for the server is sent alone, and not a third time.
        self.alone = False
        self.strikes = 0
        # The server's latest word on progress, and what tells the results that came from copies.
        self.progress: dict[str, Any] | None = None
        self.known: list[Identity] | None = None


class _Ground(Ladder):
    """Shared by all tasks that were never on a ladder of their own, so it cannot be changed."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        # ``known`` is the last one that Ladder() sets.
        if hasattr(self, "known"):
            raise TypeError(f"a task's own ladder is changed, by climb(), not {name} of all")
        super().__setattr__(name, value)


GROUND = _Ground()
"""The foot of the ladder, of all tasks that never needed one."""


_LIVE = RecoveredBy.LIVE


class TaskRecord:
    """The one owner of a pending task's facts.

    ``owner`` and ``waiter`` are the driver's: the core never looks at them. Times are the
    driver's clock in seconds; ``deadline`` is infinite where there is none.
    """

    __slots__ = (
        "deadline",
        "delivery",
        "deltas",
        "error",
        "expectation",
        "expected",
        "generation",
        "items",
        "ladder",
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
        expectation: Expectation | None = None,
        watched: bool = False,
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
        self.expectation = expectation
        self.owner: Any = None
        self.waiter: Any = None
        self.state = WAITING
        self.submitted_at = now
        # What was sent.
        self.generation = 0
        self.written_at = 0.0
        self.sends = 0
        # What came.
        self.items: list[dict[str, Any]] | tuple[dict[str, Any], ...] = ()
        self.recovered_by = _LIVE
        self.error: RunwareError | None = None
        # A watching handle wants to know of items and of the latest word on progress.
        self.watched = watched
        # Only a stream has pieces.
        self.deltas: Deltas | None = None
        self.ladder: Ladder = GROUND

    def climb(self) -> Ladder:
        """The task's own ladder, to be changed."""
        if self.ladder is GROUND:
            self.ladder = Ladder()
        return self.ladder

    def move(self, state: TaskState) -> None:
        """Enter ``state``.

        Raises:
            IllegalTransition: the table does not list the pair (a bug).
        """
        self.state = check_task(self.state, state)

    @property
    def ended(self) -> bool:
        return self.state >= DONE

    @property
    def submitted(self) -> Submitted:
        """Whether the server has the task, as far as anybody here can know."""
        if self.ladder.confirmed:
            return Submitted.YES
        return Submitted.MAYBE if self.sends or self.ladder.reused else Submitted.NO

    def came_by(self, source: RecoveredBy) -> None:
        """Note the way an item took; the hardest one stands."""
        known = self.recovered_by
        if source is not known and SOURCE_RANK[source] > SOURCE_RANK[known]:
            self.recovered_by = source

    def __repr__(self) -> str:
        return f"<TaskRecord {self.uuid} {self.task_type} {self.state.name}>"
