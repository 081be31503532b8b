"""One line on its way: under which key and taskUUID it is tried, for the first time or again.

The key of a line is made of the run's scope and of what the line is known by, so whoever does the
same work finds its task, whatever became of the process that had sent it. How a line is tried again
without being run twice unasked:

* Where the verdict says that nothing ran, the journal makes the next use of the key a new attempt.
* Any other verdict stays with its key. To try such a line again is to use another key, which ends
  in the taskUUID of the attempt that failed. So two who try it again do it once, and a retry that
  was cut off by a kill is found by the next one.
* A task without a verdict (a timeout, an unknown outcome) keeps its key: it is asked for again.

So the output, which has the last end of each line, tells the key of its next try: an error names
the failed attempt that it was a new try of. Whatever is found under that key is news.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from runware_ws.batch.money import LineCost
from runware_ws.batch.reading import Line
from runware_ws.batch.writing import PriorError
from runware_ws.errors import RunwareError, TaskError

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
    retry_of: str | None = None
    """The taskUUID of the failed attempt that this one tries again; ``None``: it is the first."""
    found: bool = False
    """Whether the last answer is that of a task that somebody else had sent, or an earlier run."""
    renamed: bool = False
    """Whether the taskUUID that the line has itself is that of other work, so that the server would
    answer with that."""
    _used: bool = False

    def __post_init__(self) -> None:
        prior = self.prior
        if prior is not None:
            verdict = prior.type == "TaskError"
            failed = None if prior.safe or not verdict else prior.task_uuid
            self.retry_of = failed or prior.retry_of
            self._used = verdict or self.retry_of is not None

    @property
    def keyed(self) -> bool:
        """Whether it can have a key."""
        return self.line.task is not None and self.line.task["taskType"] not in ONLY_READ

    def key(self, scope: str) -> str:
        """The idempotency key of this attempt."""
        suffix = "" if self.retry_of is None else f"~{self.retry_of}"
        return f"{scope}/{self.line.key:032x}{suffix}"

    def task(self) -> dict[str, Any]:
        """The task of this attempt."""
        assert self.line.task is not None
        if not self.keyed:
            return self.line.task
        own = self.line.task.get("taskUUID")
        # A verdict uses a taskUUID up.
        gone = own is None or self._used or self.renamed
        self.uuid = str(uuid4()) if gone else str(own)
        self._used = True
        return {**self.line.task, "taskUUID": self.uuid}

    def again(self, answer: RunwareError) -> None:
        """The next attempt is one more than that which ended with ``answer``."""
        if isinstance(answer, TaskError) and not answer.safe_to_resend:
            self.retry_of = answer.task_uuid
