"""Tasks, their generations, and the archive. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from .replies import Answer, Request
from .script_file import ScriptAnswer
from .sessions import Session, SessionStream

__all__ = ["AcceptedTask", "AnswerStream", "Generation", "TaskStore"]


class Generation:
    """One result of a task, in the making or done."""

    __slots__ = ("due", "error", "item", "started")

    def __init__(self) -> None:
        self.started = 0.0
        self.due = 0.0
        self.item: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.item is not None or self.error is not None

    def progress(self, now: float) -> int:
        """How far it is: 0 to 99 while it runs, 100 when done."""
        if self.done:
            return 100
        span = self.due - self.started
        if span <= 0:
            return 0
        return max(0, min(99, int(100 * (now - self.started) / span)))


class AnswerStream(SessionStream, Protocol):
    """A stream of deltas, as its task sees it."""

    def start(self, request: Request, answer: Answer | Iterator[Any] | AsyncIterator[Any]) -> None:
        """Begin: cut an answer into deltas, or follow a script of them."""
        ...

    def fail(self, error: dict[str, Any]) -> None:
        """End with an error, behind the deltas that went out."""
        ...

    def move(self, session: Session) -> None:
        """The task came again on another session, which gets only the whole result."""
        ...


class AcceptedTask:
    """A task that the server took. It is the archive's entry as well."""

    __slots__ = (
        "accepted_at",
        "array",
        "execution",
        "finished_at",
        "generations",
        "key_id",
        "method",
        "number",
        "pending",
        "pieces",
        "refused",
        "scripted",
        "session",
        "stream",
        "task",
        "uuid",
    )

    def __init__(self, task: dict[str, Any], session: Session, accepted_at: float) -> None:
        self.task = task
        self.uuid: str = task["taskUUID"]
        self.method: str = task.get("deliveryMethod") or "sync"
        self.session = session
        self.key_id = session.key_id
        self.accepted_at = accepted_at
        self.finished_at = 0.0  # of use only when it is done
        self.refused = False  # a copy of it was
        self.array: list[AcceptedTask] = [self]  # what came in one message, itself among it
        self.execution = 1
        self.number = 0  # of the tasks that were taken since the script began
        self.scripted: ScriptAnswer | None = None
        count = task.get("numberResults") or 1
        self.generations = [Generation() for _ in range(count)]
        self.pending = count  # generations that have not ended
        self.pieces: list[dict[str, Any]] = []  # what was streamed, where the archive lists that
        self.stream: AnswerStream | None = None  # while deltas of it can still go out

    @property
    def done(self) -> bool:
        """Whether every generation has ended."""
        return self.pending == 0


class TaskStore:
    """All tasks ever accepted, by key and UUID."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[int, str], AcceptedTask] = {}
        self._used: set[tuple[int, str]] = set()
        self._finished: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        return len(self._tasks)

    def used(self, key_id: int, uuid: str) -> bool:
        """Whether this key has used the UUID before, archived still or not."""
        return (key_id, uuid) in self._used

    def key_ids(self) -> set[int]:
        """All keys that sent something."""
        return {key_id for key_id, _ in self._used}

    def find(self, key_id: int, uuid: object) -> AcceptedTask | None:
        """The record, or ``None`` if this key never sent it or the archive dropped it."""
        return self._tasks.get((key_id, uuid)) if isinstance(uuid, str) else None

    def add(self, record: AcceptedTask) -> None:
        """Register an accepted task. A second one with the same UUID replaces the first."""
        place = (record.key_id, record.uuid)
        self._used.add(place)
        self._tasks[place] = record

    def finish(self, record: AcceptedTask, limit: int | None) -> None:
        """Note that a task ended; keep at most ``limit`` ended ones."""
        if limit is None:
            return
        self._finished.append((record.key_id, record.uuid))
        while len(self._finished) > limit:
            self._tasks.pop(self._finished.popleft(), None)
