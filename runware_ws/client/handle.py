"""A submitted task, from the caller's side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from copy import copy
from typing import TYPE_CHECKING, Any

from runware_ws._core.states import DONE, TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._io.wakeups import Waiter
from runware_ws.errors import RunwareError, TaskCancelled
from runware_ws.models.results import Result, ResultItem

if TYPE_CHECKING:
    from runware_ws._io.driver import Driver

__all__ = ["TaskHandle", "outcome_of"]


def outcome_of(record: TaskRecord) -> Result:
    """The result of a task that is done.

    Raises:
        RunwareError: how the task ended, if it ended without a result.
        RuntimeError: the task has not ended.
    """
    if record.state is DONE:
        items = record.items
        assert isinstance(items, list)  # a task that is done has results
        return Result(record.uuid, items, record.recovered_by)
    raise error_of(record) or RuntimeError("the task has not ended")


def error_of(record: TaskRecord) -> RunwareError | None:
    """How a task ended without a result; ``None`` if it is done, or has not ended."""
    if record.error is not None:
        # A copy for each: a traceback leads to the record, which would lead to the traceback.
        return copy(record.error)
    if record.state is TaskState.CANCELLED:
        return TaskCancelled(
            "the caller gave the task up", task_uuid=record.uuid, submitted=record.submitted
        )
    return None


class TaskHandle:
    """One task in flight: await it for the whole result, iterate it for items as they arrive.

    Awaiting and iterating can be cancelled without harm: the task goes on, and
    the handle can be awaited again. Any number of tasks may wait on it, in the
    event loop of the client.
    """

    __slots__ = ("_admitted", "_driver", "_record", "_result", "_waiters", "on_done")

    def __init__(
        self,
        record: TaskRecord,
        driver: Driver,
        on_done: Callable[[TaskHandle], None] | None = None,
    ) -> None:
        self._record = record
        self._driver = driver
        # One for each task that waits here; hardly ever more than one. Woken in this order.
        self._waiters: dict[Waiter, None] | None = None
        self._admitted: Waiter | None = None
        self._result: Result | None = None
        self.on_done = on_done

    @property
    def uuid(self) -> str:
        """The task's taskUUID."""
        return self._record.uuid

    @property
    def state(self) -> TaskState:
        """Where the task is in its life."""
        return self._record.state

    @property
    def submitted_at(self) -> float:
        """When the task was handed over, by the driver's clock, in seconds."""
        return self._record.submitted_at

    @property
    def done(self) -> bool:
        """Whether the task has ended, in whichever way."""
        return self._record.ended

    @property
    def error(self) -> RunwareError | None:
        """How the task ended without a result; ``None`` if it is done, or has not ended."""
        return error_of(self._record)

    @property
    def progress(self) -> float | None:
        """The server's last word on progress, 0-100; ``None`` while it said nothing."""
        note = self._record.ladder.progress
        return None if note is None else ResultItem(note).progress

    def cancel(self) -> bool:
        """Give the task up; awaiting it raises :class:`TaskCancelled` from then on.

        Returns False if it had ended already. The server cannot cancel
        (documented): a task that was written still runs and is billed, and its
        late result waits for ``client.claim(uuid)``.
        """
        self._driver.home.check()
        return self._driver.cancel(self._record)

    def outcome(self) -> Result:
        """The result of a task that is done.

        Raises:
            RunwareError: how the task ended, if it ended without a result.
            RuntimeError: the task has not ended.
        """
        if self._result is None:
            self._result = outcome_of(self._record)
        return self._result

    def give_up(self) -> None:
        """Give the task up; if its result is here already, keep it for ``client.claim``."""
        self._driver.give_up(self._record)

    def __await__(self) -> Generator[Any, Any, Result]:
        return self._outcome().__await__()

    async def _outcome(self) -> Result:
        await self.wait()
        return self.outcome()

    async def wait(self) -> None:
        """Wait until the task has ended, in whichever way; see :meth:`outcome`. Cancel-safe."""
        while self._record.state < TaskState.DONE:
            await self._news()

    async def wait_news(self) -> None:
        """Wait until something new came, or the task ended. Cancel-safe."""
        if self._record.state < TaskState.DONE:
            await self._news()

    async def _news(self) -> None:
        self._driver.home.check()
        waiter = self._driver.waiting.waiter()
        waiters = self._waiters
        if waiters is None:
            waiters = self._waiters = {}
        waiters[waiter] = None
        try:
            await waiter
        except BaseException:
            waiters.pop(waiter, None)
            raise

    async def wait_admitted(self) -> None:
        """Wait until there is room for the task in flight, or until it ended."""
        if self._record.state is TaskState.WAITING:
            self._admitted = self._driver.waiting.waiter()
            await self._admitted

    def __aiter__(self) -> AsyncIterator[ResultItem]:
        """Items as they arrive, and the server's notes on progress in between.

        A note has ``status`` ``"processing"`` and ``progress``; only the latest
        is kept, so a slow reader misses notes, never items. Ends when all items
        came; raises what awaiting raises if the task ends without.
        """
        return _Items(self, self._record, self._news)

    # The driver's calls

    def on_admitted(self) -> None:
        """There is room for the task (called by the driver)."""
        if self._admitted is not None:
            self._driver.waiting.wake(self._admitted)

    def on_progress(self) -> None:
        """Something new came (called by the driver)."""
        waiters, self._waiters = self._waiters, None
        if waiters is not None:
            for waiter in waiters:
                self._driver.waiting.wake(waiter)

    def on_settled(self) -> None:
        """The task ended (called by the driver)."""
        self.on_progress()
        self.on_admitted()
        if self.on_done is not None:
            self.on_done(self)

    def __repr__(self) -> str:
        return f"<TaskHandle {self.uuid} {self.state.name.lower()}>"


class _Items:
    """One pass over the items of a task."""

    def __init__(
        self, handle: TaskHandle, record: TaskRecord, news: Callable[[], Awaitable[None]]
    ) -> None:
        self._handle = handle
        self._record = record
        self._news = news
        self._seen = 0
        self._note: dict[str, Any] | None = None

    def __aiter__(self) -> _Items:
        return self

    async def __anext__(self) -> ResultItem:
        record = self._record
        while True:
            if self._seen < len(record.items):
                self._seen += 1
                return ResultItem(record.items[self._seen - 1])
            if record.ended:
                self._handle.outcome()
                raise StopAsyncIteration
            note = record.ladder.progress
            if note is not None and note is not self._note:
                self._note = note
                return ResultItem(note)
            await self._news()
