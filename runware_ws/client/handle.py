"""A submitted task, as its caller sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from runware_ws._core.states import DONE, TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._io.wakeups import Waiter
from runware_ws.errors import RunwareError, TaskCancelled, TaskError
from runware_ws.models.results import Result, ResultItem
from runware_ws.models.timing import Moments, Timing

if TYPE_CHECKING:
    from runware_ws._io.driver import Driver

__all__ = ["ResultOrError", "TaskHandle", "moments_of", "outcome_of", "was_begun_before"]


def outcome_of(record: TaskRecord) -> Result:
    """The result of a task that has ended.

    Raises:
        RunwareError: the task ended without a result.
        RuntimeError: the task has not ended.
    """
    if record.state is DONE and record.error is None:
        items = record.items
        assert isinstance(items, list)  # a task that is done has results
        return Result(record.uuid, items, record.recovered_by, moments_of(record))
    raise error_of(record) or RuntimeError("the task has not ended")


def was_begun_before(handle: TaskHandle) -> bool:
    """Whether another use of the key of a task that ended had begun it, here or elsewhere."""
    record = handle._record  # pyright: ignore[reportPrivateUsage]
    # Who has the server's word and sent nothing has it from the journal.
    of_server = handle.error is None or isinstance(handle.error, TaskError)
    return record.ladder.reused or (of_server and not record.sends)


def moments_of(record: TaskRecord) -> Moments:
    """When what happened to a task, as far as it has happened."""
    return (
        record.submitted_at,
        record.first_written_at if record.sends else None,
        None if record.deltas is None else record.deltas.first_at,
        record.ended_at if record.state >= DONE else None,
    )


def error_of(record: TaskRecord) -> RunwareError | None:
    """The error that ended a task; ``None`` if it has a result or has not ended."""
    if record.error is not None:
        # A new copy each time: its traceback refers to the record, and must not be kept by it.
        return copy(record.error)
    if record.state is TaskState.CANCELLED:
        return TaskCancelled(
            "the caller gave the task up", task_uuid=record.uuid, submitted=record.submitted
        )
    return None


class ResultOrError:
    """How a task ended: with ``result`` or with ``error``, never both."""

    __slots__ = ()

    result: Result | None
    error: RunwareError | None

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None

    def unwrap(self) -> Result:
        """The result; raises the error if there is no result."""
        if self.error is not None:
            # A copy, because this one would refer to itself through its traceback.
            raise copy(self.error)
        assert self.result is not None
        return self.result


class TaskHandle:
    """A submitted task: await it for the whole result, or iterate over its items as they arrive.

    Awaiting and iterating can be cancelled safely: the task goes on, and the
    handle can be awaited again. Any number of tasks in the client's event loop
    may wait for it.
    """

    __slots__ = (
        "_admitted",
        "_driver",
        "_is_admitted",
        "_record",
        "_result",
        "_waiters",
        "on_done",
    )

    def __init__(
        self,
        record: TaskRecord,
        driver: Driver,
        on_done: Callable[[TaskHandle], None] | None = None,
    ) -> None:
        self._record = record
        self._driver = driver
        # One for each waiting task, rarely more than one. They are woken in this order.
        self._waiters: dict[Waiter, None] | None = None
        self._admitted: Waiter | None = None
        self._is_admitted = False
        self._result: Result | None = None
        self.on_done = on_done

    @property
    def uuid(self) -> str:
        """The task's taskUUID."""
        return self._record.uuid

    @property
    def state(self) -> TaskState:
        """The task's state."""
        return self._record.state

    @property
    def submitted_at(self) -> float:
        """When the task was submitted, on the event loop's clock, in seconds."""
        return self._record.submitted_at

    @property
    def timing(self) -> Timing:
        """When it was written, began to answer, and ended, as far as that has happened."""
        return Timing.of(self.moments)

    @property
    def moments(self) -> Moments:
        """The same on the event loop's clock."""
        return moments_of(self._record)

    @property
    def metadata(self) -> Mapping[str, str]:
        """What its caller gave with it; empty without."""
        return self._record.metadata or {}

    @property
    def done(self) -> bool:
        """Whether the task has ended, with or without a result, and that is recorded if it must."""
        return self._driver.told(self._record)

    @property
    def error(self) -> RunwareError | None:
        """The error that ended the task; ``None`` if it has a result or has not ended."""
        return error_of(self._record) if self.done else None

    @property
    def progress(self) -> float | None:
        """The progress that the server reported last, 0-100; ``None`` if it reported none."""
        note = self._record.ladder.progress
        return None if note is None else ResultItem(note).progress

    def cancel(self) -> bool:
        """Give the task up; awaiting it raises :class:`TaskCancelled` from then on.

        Returns False if it had already ended. The server cannot cancel (documented):
        a task that was sent still runs and is billed, and its late result can be had
        with ``client.claim(uuid)``.
        """
        self._driver.home.check()
        return self._driver.cancel(self._record)

    def outcome(self) -> Result:
        """The result of a task that has ended.

        Raises:
            RunwareError: the task ended without a result.
            RuntimeError: the task has not ended.
        """
        if self._result is None:
            if not self.done:
                raise RuntimeError("the task has not ended")
            self._result = outcome_of(self._record)
        return self._result

    def give_up(self) -> None:
        """Give the task up; if its result is already here, keep it for ``client.claim``."""
        self._driver.give_up(self._record)

    def __await__(self) -> Generator[Any, Any, Result]:
        return self._outcome().__await__()

    async def _outcome(self) -> Result:
        await self.wait()
        return self.outcome()

    async def wait(self) -> None:
        """Wait until the task has ended; see :meth:`outcome`. Cancel-safe."""
        while not self.done:
            await self._news()

    async def wait_news(self) -> None:
        """Wait until something new came, or the task ended. Cancel-safe."""
        if not self.done:
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
        """Wait until there is room for the task in flight, or until it has ended."""
        if self._record.state is TaskState.WAITING and not self._is_admitted:
            self._admitted = self._driver.waiting.waiter()
            await self._admitted

    def __aiter__(self) -> AsyncIterator[ResultItem]:
        """Items as they arrive, with the server's progress notes in between.

        A note has the ``status`` ``"processing"`` or a ``progress``. Only the latest
        is kept, so a slow reader may miss notes, but never items. Ends when all items
        have come; raises what awaiting raises if the task ends without a result.
        """
        return _Items(self, self._record, self._news, recorded=self._driver.journaled)

    # The driver's calls

    def on_admitted(self) -> None:
        """There is room for the task, or it runs elsewhere (called by the driver)."""
        self._is_admitted = True
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
        # It is let go, for it often holds what holds this handle: a cycle is garbage for long.
        on_done, self.on_done = self.on_done, None
        if on_done is not None:
            on_done(self)

    def __repr__(self) -> str:
        return f"<TaskHandle {self.uuid} {self.state.name.lower()}>"


class _Items:
    """One pass over the items of a task."""

    def __init__(
        self,
        handle: TaskHandle,
        record: TaskRecord,
        news: Callable[[], Awaitable[None]],
        *,
        recorded: bool,
    ) -> None:
        self._handle = handle
        self._record = record
        self._news = news
        # With a journal no result is told before all of them are recorded.
        self._recorded = recorded
        self._seen = 0
        self._note: dict[str, Any] | None = None

    def __aiter__(self) -> _Items:
        return self

    async def __anext__(self) -> ResultItem:
        record = self._record
        while True:
            done = self._handle.done
            if self._seen < len(record.items) and (done or not self._recorded):
                self._seen += 1
                return ResultItem(record.items[self._seen - 1])
            if done:
                self._handle.outcome()
                raise StopAsyncIteration
            note = record.ladder.progress
            if note is not None and note is not self._note:
                self._note = note
                return ResultItem(note)
            await self._news()
