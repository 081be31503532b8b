"""Tasks that are being entered: those of one turn together, by one job of the writer's.

A task may end before that is done. Then it is left out, unless it is too late for that, see
:class:`~runware_ws.journal.binding.Beginning`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from runware_ws._core.tasks.record import TaskRecord
from runware_ws.journal.binding import Beginning, Begun
from runware_ws.journal.link import WriterLink
from runware_ws.journal.writer import Job, in_halves

__all__ = ["Entering"]


class Entering:
    """See the top of the module; "in" tells whether a task is being entered.

    ``on_begun`` is called with each task that was not left out, what became of it (``None``: it
    could not be entered), and the error; ``on_over`` after those of one job, with the error.
    """

    def __init__(
        self,
        link: WriterLink,
        on_begun: Callable[[TaskRecord, Begun | None, BaseException | None], None],
        on_over: Callable[[BaseException | None], None],
    ) -> None:
        self._link = link
        self._on_begun = on_begun
        self._on_over = on_over
        # To be entered with the next job; all that are being entered.
        self._next = Beginning()
        self._under_way: dict[TaskRecord, Beginning] = {}

    def __contains__(self, record: TaskRecord) -> bool:
        return record in self._under_way

    def add(self, record: TaskRecord) -> None:
        """Enter it with the next job; :meth:`flush` hands it to the writer."""
        self._next.add(record)
        self._under_way[record] = self._next

    def leave_out(self, record: TaskRecord) -> bool:
        """Do not enter this one after all. False if it is too late."""
        if not self._under_way[record].leave_out(record):
            return False
        del self._under_way[record]
        return True

    def flush(self) -> None:
        """See to it that :meth:`hand_over` is called at the end of this turn."""
        if self._next.records:
            self._link.at_end_of_turn()

    def hand_over(self) -> None:
        """Hand to the writer what is to be entered."""
        if self._next.records:
            beginning, self._next = self._next, Beginning()
            self._link.put(self._job(beginning, range(len(beginning.records))))

    def _job(self, beginning: Beginning, part: range) -> Job[list[Begun]]:
        return Job(
            partial(beginning.work, part),
            partial(self._begun, beginning, part),
            undone=partial(beginning.undone, part),
            split=in_halves(partial(self._job, beginning), part),
        )

    def _begun(
        self,
        beginning: Beginning,
        part: range,
        answers: list[Begun] | None,
        error: BaseException | None,
    ) -> None:
        for number, record in enumerate(beginning.part(part)):
            if self._under_way.get(record) is not beginning:
                continue  # It ended before it was entered, and its caller knows.
            del self._under_way[record]
            self._on_begun(record, None if answers is None else answers[number], error)
        self._on_over(error)
