"""A streamed answer, from the caller's side, whichever carrier brings it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from runware_ws._core.tasks.deltas import Deltas
from runware_ws.errors import (
    ConfigurationError,
    OutcomeUnknown,
    RunwareError,
    StreamInterrupted,
    TaskTimeout,
)
from runware_ws.models.delta import Delta
from runware_ws.models.results import Result

if TYPE_CHECKING:
    from runware_ws.client.handle import TaskHandle
    from runware_ws.models.validation import ValidatedTask

__all__ = ["Carrier", "StreamPlan", "TaskStream"]

Carrier = Literal["auto", "socket", "sse"]

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What a stream needs of its client.

    ``start`` runs the task over the socket, into the pieces; where its second
    argument is true, the task went another way, which was cut: it is asked for,
    and sent again under its taskUUID where the server does not know it.
    """

    task: ValidatedTask
    deadline: float
    now: Callable[[], float]
    start: Callable[[Deltas, bool], TaskHandle]


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
        self._submitted_at = 0.0
        self._handle: TaskHandle | None = None
        self._result: Result | None = None
        self._entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConfigurationError("a stream can be entered once")
        self._entered = True
        self._submitted_at = self._plan.now()
        self._handle = self._plan.start(self._pieces, False)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handle is not None and self._result is None:
            self._handle.give_up()

    @property
    def carrier(self) -> Literal["socket", "sse"]:
        """What brings the deltas."""
        return "socket"

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
        if self._handle is None:
            raise ConfigurationError("use a stream as: async with client.stream(task) as stream")
        if self._result is not None:
            return False
        return await self._more_from_handle(self._handle)

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

    def _interrupted(self, exc: RunwareError) -> StreamInterrupted:
        return StreamInterrupted(
            f"the stream did not end: {exc.message}",
            text=self._pieces.text(),
            task_uuid=exc.task_uuid,
            submitted=exc.submitted,
        )
