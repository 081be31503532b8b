"""A streamed answer, from the caller's side, whichever carrier brings it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio

from runware_ws._core import wire
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._io.http import SseCarrier, StreamCut
from runware_ws.errors import (
    ConfigurationError,
    ConnectionFailed,
    OutcomeUnknown,
    RunwareError,
    StreamInterrupted,
    Submitted,
    TaskTimeout,
)
from runware_ws.models.delta import Delta
from runware_ws.models.results import Result

if TYPE_CHECKING:
    from pydantic import SecretStr

    from runware_ws.client.handle import TaskHandle
    from runware_ws.models.validation import ValidatedTask

__all__ = ["Carrier", "StreamPlan", "TaskStream"]

Carrier = Literal["auto", "socket", "sse"]

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What a stream needs of its client. ``carrier`` is ``None`` for the socket.

    ``start`` runs the task over the socket, into the pieces; where its second
    argument is true, the task went another way, which was cut: it is asked for,
    and sent again under its taskUUID where the server does not know it.
    """

    task: ValidatedTask
    deadline: float
    now: Callable[[], float]
    start: Callable[[Deltas, bool], TaskHandle]
    carrier: SseCarrier | None
    key: Callable[[], Awaitable[SecretStr]]


class TaskStream:
    """Deltas of one task as they arrive, and the whole at the end.

    ``async with client.stream(task) as stream``, then iterate it, or await
    :meth:`result`, or both. Leaving the block early gives the task up; the
    server has no way to stop it (documented), so it is billed all the same.

    After a cut the deltas stop until the whole answer is known, pushed or out of
    the archive; then what is missing comes as one last delta. Where it cannot be
    had, :class:`StreamInterrupted` is raised with the text so far. No delta is
    doubled, and no stream ends in silence. Iterating can be cancelled and taken
    up again; one reader at a time.
    """

    def __init__(self, plan: StreamPlan) -> None:
        self._plan = plan
        self._pieces = Deltas()
        self._stack = AsyncExitStack()
        self._submitted_at = 0.0
        # Over the socket there is a handle; over HTTP there are items, until a cut.
        self._handle: TaskHandle | None = None
        self._items: AsyncIterator[dict[str, Any]] | None = None
        self._reading = False
        self._result: Result | None = None
        self._entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConfigurationError("a stream can be entered once")
        self._entered = True
        self._submitted_at = self._plan.now()
        if self._plan.carrier is None:
            self._handle = self._plan.start(self._pieces, False)
            return self
        try:
            with self._limit():
                key = await self._plan.key()
                payload = wire.join((self._plan.task.payload,))
                self._items = await self._stack.enter_async_context(
                    self._plan.carrier.open(payload, key)
                )
        except ConnectionFailed as exc:
            await self._stack.aclose()
            if exc.submitted is Submitted.NO:
                raise
            self._ask()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handle is not None and self._result is None:
            self._handle.give_up()
        await self._stack.aclose()

    @property
    def carrier(self) -> Literal["socket", "sse"]:
        """What brings the deltas."""
        return "socket" if self._plan.carrier is None else "sse"

    @property
    def task_uuid(self) -> str:
        """The task's taskUUID."""
        return self._plan.task.uuid

    @property
    def text(self) -> str:
        """The text so far."""
        return self._pieces.text()

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._pieces.text("reasoningContent")

    @property
    def time_to_first_delta(self) -> float | None:
        """Seconds from submission to the first delta; ``None`` before it."""
        first = self._pieces.first_at
        return None if first is None else first - self._submitted_at

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        while not self._pieces.pending:
            if not await self._more():
                raise StopAsyncIteration
        return Delta.of(self._pieces.pending.popleft())

    async def result(self) -> Result:
        """The whole answer, once it is there; what was not iterated is not lost.

        Raises:
            StreamInterrupted: the stream was cut, and the rest cannot be had.
            RunwareError: as :meth:`Client.run`.
        """
        while await self._more():
            pass
        assert self._result is not None
        return self._result

    async def _more(self) -> bool:
        """Wait for something new; False once the whole is here. Raises how it ended without."""
        if not self._entered:
            raise ConfigurationError("use a stream as: async with client.stream(task) as stream")
        if self._result is not None:
            return False
        if self._handle is not None:
            return await self._more_from_handle(self._handle)
        return await self._more_from_items()

    async def _more_from_handle(self, handle: TaskHandle) -> bool:
        if not handle.done:
            await handle.wait_news()
            return True
        try:
            self._result = handle.outcome()
        except (OutcomeUnknown, TaskTimeout) as exc:
            if not self._pieces.count:
                raise
            raise self._interrupted(exc) from exc
        return False

    async def _more_from_items(self) -> bool:
        if self._items is None or self._reading:
            # The last read was cancelled half-way, and the carrier cannot take it up again.
            self._ask()
            return True
        self._reading = True
        try:
            with self._limit():
                item = await anext(self._items)
        except (StopAsyncIteration, StreamCut):
            if self._pieces.finished:
                self._finish(self._pieces.whole())
                return False
            self._ask()
            return True
        self._reading = False
        now = self._plan.now()
        if "delta" in item:
            self._pieces.add(item, now)
        elif "text" in item:
            self._pieces.complete(item, now)
        return True

    def _limit(self) -> _Limit:
        return _Limit(self._plan.deadline, self._timed_out)

    def _timed_out(self) -> RunwareError:
        error = TaskTimeout(
            "the stream did not end in time; the server may still finish it. "
            "Its result stays in the archive",
            task_uuid=self.task_uuid,
            submitted=Submitted.MAYBE,
        )
        return self._interrupted(error) if self._pieces.count else error

    def _finish(self, whole: dict[str, Any]) -> None:
        self._result = Result(self.task_uuid, [whole])

    def _ask(self) -> None:
        """The carrier broke: what is missing is asked for over the socket."""
        self._items = None
        self._pieces.suspended = True
        self._handle = self._plan.start(self._pieces, True)

    def _interrupted(self, exc: RunwareError) -> StreamInterrupted:
        return StreamInterrupted(
            f"the stream did not end: {exc.message}",
            text=self._pieces.text(),
            task_uuid=exc.task_uuid,
            submitted=exc.submitted,
        )


class _Limit:
    """Raises ``error()`` where its block takes longer than until ``deadline``."""

    def __init__(self, deadline: float, error: Callable[[], RunwareError]) -> None:
        self._scope = anyio.CancelScope(deadline=deadline)
        self._error = error

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        swallowed = self._scope.__exit__(exc_type, exc, traceback)
        if self._scope.cancelled_caught:
            raise self._error()
        return swallowed
