"""What the core does with an error: it ends a task only if it provably belongs to that task.

An error may be a receipt, the answer to a question, the refusal of a copy, or the task's end; the
words that tell these apart are in ``recovery/words.py``.
"""

from __future__ import annotations

from runware_ws._core.connection.connection import Change, Connection
from runware_ws._core.context import Context
from runware_ws._core.ends import Ends
from runware_ws._core.inbound.meaning import is_about_authentication
from runware_ws._core.inbound.router import Errors
from runware_ws._core.recovery.recovery import Recovery
from runware_ws._core.recovery.resending import overdue_at
from runware_ws._core.recovery.words import (
    Meant,
    insists,
    is_answer_to_question,
    is_receipt,
    is_refusal_of_copy,
    meant,
)
from runware_ws._core.states import ConnectionState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.table import TaskTable
from runware_ws.events import ServerNotice
from runware_ws.models.wire_errors import WireError

__all__ = ["TaskErrors"]


class TaskErrors:
    """Acts on errors."""

    def __init__(
        self,
        out: Context,
        table: TaskTable,
        recovery: Recovery,
        connection: Connection,
        ends: Ends,
    ) -> None:
        self._out = out
        self._table = table
        self._recovery = recovery
        self._connection = connection
        self._ends = ends

    def take(self, said: Errors, now: float) -> Change | None:
        """The errors of one message; what they changed about the connection, if they did."""
        authenticating = self._connection.state is ConnectionState.AUTHENTICATING
        change: Change | None = None
        refused = False
        asked: set[tuple[str, str | None]] = set()
        for error in said.errors:
            record = said.record
            if record is None:
                if authenticating and is_about_authentication(error):
                    # One refusal per frame: a second one is about the same attempt.
                    if not refused:
                        refused = True
                        change = self._connection.authentication_refused(error, now)
                    continue
                if error.task_uuid is not None:
                    record = self._table.tasks.get(error.task_uuid)
                else:
                    record = self._only_suspect(error)
            if record is not None:
                if record.ended:
                    self._table.forget_left(record.uuid)
                else:
                    about = (record.uuid, error.task_type)
                    if self.about(record, error, now, more=about in asked):
                        asked.add(about)
                continue
            if error.task_uuid is not None:
                self._table.forget_left(error.task_uuid)
            elif meant(error) is Meant.DENIAL and self._recovery.empty(now, error.task_type):
                self._connection.progress()
            else:
                self._recovery.doubt(now, error.task_type)
            if error.task_uuid is None or self._table.end_of(error.task_uuid) is None:
                self._out.counters.notices += 1
                self._out.emit(ServerNotice(at=now, code=error.code, message=error.message))
        return change

    def about(
        self, record: TaskRecord, error: WireError, now: float, *, more: bool = False
    ) -> bool:
        """The server says an error about a task, or about a question about it: then True.

        ``more``: one with the same address, in the same message, was about a question. A question
        may be wrong in several ways, so this one is a part of that answer.
        """
        if not record.posted:
            self._connection.progress()
        if is_receipt(record, error):
            self._recovery.receipt(record, now)
        elif more and error.task_type != record.task_type:
            return True
        elif is_answer_to_question(record, error, early=not self._recovery.ready):
            if self._recovery.told(record, error, now):
                self._ends.refuse(record, error, now)
            return True
        elif is_refusal_of_copy(record, error) and (
            record.barred(error.code, now) or not self.is_end_after_copy(record, error, now)
        ):
            self._recovery.ask_again(record, now)
        else:
            self._ends.refuse(record, error, now)
        return False

    def is_end_after_copy(
        self, record: TaskRecord, error: WireError, now: float, *, beside: bool = False
    ) -> bool:
        """Whether what seems to refuse a copy of the task is its own end: the server insists on it.

        It does so beside some of the results (``beside``: in one answer), for a copy that was not
        let in has none; or so long after the last copy that a task that runs would be done. That
        was so before the last copy went out, so a conflict which that met says as much.
        """
        ladder = record.ladder
        question = ladder.question or ladder.last_question
        if question is None or not insists(record, error, question, now):
            return False
        done = ladder.conflicted or now >= overdue_at(record, self._out.options)
        return beside or ladder.told or done

    def _only_suspect(self, error: WireError) -> TaskRecord | None:
        """The task that an error without a taskUUID provably belongs to, if there is one.

        The error names the task's type, and nothing else in this session can be meant: it began
        with this socket, one task was written, once, and no answer to a question can come.
        """
        tasks, connection = self._table.tasks, self._connection
        if len(tasks) != 1 or connection.tasks_written != 1 or connection.offered:
            return None
        record = next(iter(tasks.values()))
        ladder = record.ladder
        mine = (
            record.generation == connection.generation
            and not (ladder.disturbed or ladder.confirmed or ladder.may_answer)
            and error.task_type == record.task_type
        )
        return record if mine else None
