"""A streamed answer, from the caller's side."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from runware_ws.errors import (
    ConfigurationError,
    OutcomeUnknown,
    RunwareError,
    StreamInterrupted,
    TaskTimeout,
)
from runware_ws.handle import TaskHandle
from runware_ws.models.delta import Delta
from runware_ws.models.results import Result
from runware_ws.session.pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Carrier", "TaskStream"]

Carrier = Literal["auto", "socket", "sse"]


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

    def __init__(self, start: Callable[[], tuple[TaskHandle, Pieces]]) -> None:
        self._start = start
        self._handle: TaskHandle | None = None
        self._pieces = Pieces()

    async def __aenter__(self) -> Self:
        if self._handle is not None:
            raise ConfigurationError("a stream can be entered once")
        self._handle, self._pieces = self._start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running().cancel_or_keep()

    @property
    def carrier(self) -> str:
        """What brings the deltas: ``"socket"`` or ``"sse"``."""
        return "socket"

    @property
    def task_uuid(self) -> str:
        """The task's taskUUID."""
        return self._running().uuid

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
        return None if first is None else first - self._running().submitted_at

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        handle, pieces = self._running(), self._pieces
        while not pieces.pending:
            if handle.done:
                self._outcome()
                raise StopAsyncIteration
            await handle.wait_news()
        return Delta.of(pieces.pending.popleft())

    async def result(self) -> Result:
        """The whole answer, once it is there; what was not iterated is not lost.

        Raises:
            StreamInterrupted: the stream was cut, and the rest cannot be had.
            RunwareError: as :meth:`Client.run`.
        """
        await self._running().wait()
        return self._outcome()

    def _outcome(self) -> Result:
        handle = self._running()
        try:
            return handle.outcome()
        except (OutcomeUnknown, TaskTimeout) as exc:
            if not self._pieces.count:
                raise
            raise self._interrupted(exc) from exc

    def _interrupted(self, exc: RunwareError) -> StreamInterrupted:
        return StreamInterrupted(
            f"the stream did not end: {exc.message}",
            text=self._pieces.text(),
            task_uuid=exc.task_uuid,
            submitted=exc.submitted,
        )

    def _running(self) -> TaskHandle:
        if self._handle is None:
            raise ConfigurationError("use a stream as: async with client.stream(task) as stream")
        return self._handle
