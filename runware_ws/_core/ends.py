"""The only place where tasks end: recovery forgets the task, then the table reports its end."""

from __future__ import annotations

from runware_ws._core import failures
from runware_ws._core.context import Context
from runware_ws._core.recovery.recovery import Recovery
from runware_ws._core.states import DONE, FAILED, TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._core.tasks.table import TaskTable
from runware_ws.errors import ClientClosed, RunwareError
from runware_ws.models.wire_errors import WireError

__all__ = ["Ends"]


class Ends:
    """Ends tasks, each exactly once."""

    def __init__(self, out: Context, table: TaskTable, recovery: Recovery) -> None:
        self._out = out
        self._table = table
        self._recovery = recovery

    def end(
        self,
        record: TaskRecord,
        state: TaskState,
        now: float,
        error: RunwareError | None = None,
    ) -> None:
        """End one task."""
        self._recovery.settled(record, now, answered=state is DONE or state is FAILED)
        self._table.settle(record, state, now, error)

    def answered(self, record: TaskRecord, now: float) -> None:
        """One task ends that never needed recovery, by its answer on the socket that carries it.

        Recovery has no part in it, so this is :meth:`end` without that.
        """
        self._table.settle(record, DONE, now)

    def fail(self, record: TaskRecord, error: RunwareError, now: float) -> None:
        """End one task with an error that is not the server's verdict on it."""
        self.end(record, FAILED, now, error)

    def refuse(self, record: TaskRecord, error: WireError, now: float) -> None:
        """End one task with the server's verdict on it."""
        record.confirm()
        self.end(record, FAILED, now, failures.task_error(error, record))

    def all_closed(self, now: float) -> None:
        """The caller closes: every task ends with :class:`ClientClosed`."""
        for record in list(self._table.tasks.values()):
            error = ClientClosed(
                f"the client was closed before the answer came; submitted: "
                f"{record.submitted.value}",
                task_uuid=record.uuid,
                submitted=record.submitted,
            )
            self.end(record, TaskState.CLOSED, now, error)

    def all_failed(self, failure: RunwareError, now: float) -> None:
        """The client ended for good: every task ends with that failure."""
        for record in list(self._table.tasks.values()):
            error = failures.for_task(failure, record.uuid, record.submitted)
            self.fail(record, error, now)
