"""One line on its way: under which key and taskUUID it is tried, for the first time or again.

The key of a line is made of the run's scope and of what the line is known by, so whoever does the
same work finds its task, whatever became of the process that had sent it. How a line is tried again
without being run twice unasked:

* Where the verdict says that nothing ran, the journal makes the next use of the key a new attempt.
* Any other verdict stays with its key. To try such a line again is to use another key, which ends
  in the taskUUID of the attempt that failed. So two who try it again do it once, and a retry that
  was cut off by a kill is found by the next one.
* A task without a verdict (a timeout, an unknown outcome) keeps its key: it is asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from runware_ws.batch.money import LineCost
from runware_ws.batch.reading import Line
from runware_ws.batch.writing import PriorError
from runware_ws.errors import RunwareError, TaskError
from runware_ws.models.results import Result

__all__ = ["ONLY_READ", "LineTry"]

ONLY_READ = ("getResponse", "getTaskDetails")
"""Task types whose taskUUID is that of another task: they only read, and may be run again."""


@dataclass(slots=True)
class LineTry:
    """A line that is to be sent. ``prior``: how it ended in an earlier run, if it did."""

    line: Line
    cost: LineCost
    prior: PriorError | None = None
    uuid: str = ""
    """The taskUUID that this attempt has if it is the first of its key."""
    suffix: str = ""
    found: bool = False
    """Whether the last answer is that of a task that somebody else had sent, or an earlier run."""
    _seeking: bool = False
    _used: bool = field(default=False)

    def __post_init__(self) -> None:
        # Errors that are known already are not what is asked for: see follows().
        self._seeking = self.prior is not None and not self.prior.safe
        self._used = self.prior is not None and self.prior.type == "TaskError"

    @property
    def keyed(self) -> bool:
        """Whether it can have a key."""
        return self.line.task is not None and self.line.task["taskType"] not in ONLY_READ

    def key(self, scope: str) -> str:
        """The idempotency key of this attempt."""
        return f"{scope}/{self.line.key:032x}{self.suffix}"

    def task(self) -> dict[str, Any]:
        """The task of this attempt."""
        assert self.line.task is not None
        if not self.keyed:
            return self.line.task
        own = self.line.task.get("taskUUID")
        # A verdict uses a taskUUID up.
        self.uuid = str(uuid4()) if own is None or self._used else str(own)
        self._used = True
        return {**self.line.task, "taskUUID": self.uuid}

    def follows(self, answer: Result | RunwareError) -> bool:
        """Whether ``answer`` is only the record of an earlier attempt, and another one is wanted.

        If the line had an error before and is tried again, the journal may tell the errors of its
        earlier attempts once more, up to that one: they are followed to the next attempt. Of an
        attempt that was refused nothing is recorded once another was made: what is told is news.
        """
        if not (self._seeking and isinstance(answer, TaskError) and self.found):
            self._seeking = False
            return False
        if answer.safe_to_resend:
            self._seeking = False
            return False
        assert self.prior is not None
        last = answer.task_uuid == self.prior.task_uuid
        self._seeking = not last
        if last and self.prior.type != "TaskError":
            return False  # What was in doubt has its verdict: that is news.
        self.again(answer)
        return True

    def again(self, answer: RunwareError) -> None:
        """The next attempt is one more than that which ended with ``answer``."""
        if isinstance(answer, TaskError) and not answer.safe_to_resend:
            self.suffix = f"~{answer.task_uuid}"
