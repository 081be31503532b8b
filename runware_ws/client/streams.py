"""A streamed answer, as its caller sees it. How it comes is the core's business."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, get_args

from runware_ws._checks import choice
from runware_ws._core.tasks.record import Carrier
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
    from runware_ws._core.tasks.deltas import Deltas
    from runware_ws._core.tasks.record import TaskRecord
    from runware_ws.client.handle import TaskHandle

__all__ = ["CarrierChoice", "TaskStream", "chosen_carrier"]

CarrierChoice = Literal["auto", "socket", "sse"]
"""What carries a stream; see ``Client.stream``."""


def chosen_carrier(wanted: CarrierChoice, *, posts: bool, own_dial: bool) -> Carrier:
    """The carrier of a stream. ``posts``: whether the client can post; ``own_dial``: whether the
    user opens the sockets.

    Raises:
        ConfigurationError: it is unknown, or the client has none.
    """
    choice("carrier", wanted, of=get_args(CarrierChoice))
    if wanted == "sse" and not posts:
        raise ConfigurationError(
            "with dial=, a stream over HTTP needs post= or http_url= too"
            if own_dial
            else "a stream over HTTP needs an extra: pip install 'runware-ws[sse]'"
        )
    if wanted == "socket" or not posts:
        return Carrier.SOCKET
    return Carrier.HTTP if wanted == "sse" else Carrier.EITHER


class TaskStream:
    """Deltas of one task as they arrive, and the whole at the end.

    Use ``async with client.stream(task) as stream``, then iterate over it, or await
    :meth:`result`, or both. Leaving the block early gives the task up. The server
    cannot stop it (documented), so it is billed anyway, and its answer can be had
    with ``client.claim``.

    After a cut the deltas stop until the whole answer is known, out of the archive
    or from a copy that was sent again; then what is missing comes as one last delta.
    Where it cannot be had, :class:`StreamInterrupted` is raised with the text so far. No delta is
    doubled, and no stream ends in silence. Iterating can be cancelled and taken
    up again. Several readers share the deltas: each goes to one of them.
    """

    def __init__(
        self, record: TaskRecord, deltas: Deltas, submit: Callable[[TaskRecord], TaskHandle]
    ) -> None:
        self._record = record
        self._deltas = deltas
        self._submit = submit
        self._handle: TaskHandle | None = None
        self._taken = False

    async def __aenter__(self) -> Self:
        """Submit the task.

        Raises:
            InvalidTask: its taskUUID is in use or was used before.
            ClientClosed: closed or draining.
            RunwareError: why the client ended for good.
        """
        if self._handle is not None:
            raise ConfigurationError(
                "a stream can be entered only once: call client.stream() again"
            )
        self._handle = self._submit(self._record)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handle is not None and not self._taken:
            self._handle.give_up()

    @property
    def carrier(self) -> Literal["socket", "sse"]:
        """What carries the deltas: server-sent events over HTTP, or the socket."""
        return "socket" if self._record.carrier is Carrier.SOCKET else "sse"

    @property
    def handle(self) -> TaskHandle | None:
        """The task itself; ``None`` before the stream is entered. It outlives who reads."""
        return self._handle

    @property
    def ready(self) -> int:
        """How many deltas can be read without waiting."""
        return len(self._deltas.pending)

    @property
    def task_uuid(self) -> str:
        """The task's taskUUID."""
        return self._record.uuid

    @property
    def text(self) -> str:
        """The text so far."""
        return self._deltas.text()

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._deltas.text("reasoningContent")

    @property
    def time_to_first_delta(self) -> float | None:
        """Seconds from submission to the first delta; ``None`` until it comes."""
        first = self._deltas.first_at
        return None if first is None else first - self._record.submitted_at

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        """The next delta. Cancel-safe: nothing is lost, and the next call continues.

        Raises:
            StreamInterrupted: the stream was cut, and the rest cannot be had.
            RunwareError: as ``Client.run``.
        """
        while not self._deltas.pending:
            if await self._outcome() is not None:
                raise StopAsyncIteration
        return Delta.of(self._deltas.pending.popleft())

    async def result(self) -> Result:
        """Wait for the whole answer, whether or not the deltas were read. Cancel-safe.

        Raises:
            StreamInterrupted: the stream was cut, and the rest cannot be had.
            RunwareError: as ``Client.run``.
        """
        while (result := await self._outcome()) is None:
            pass
        return result

    async def _outcome(self) -> Result | None:
        """The result, if it is here; otherwise wait for something new and return ``None``."""
        handle = self._handle
        if handle is None:
            raise ConfigurationError("use a stream as: async with client.stream(task) as stream")
        if not handle.done:
            await handle.wait_news()
            return None
        try:
            result = handle.outcome()
        except (OutcomeUnknown, TaskTimeout) as exc:
            if not self._deltas.count:
                raise
            raise self._interrupted(exc) from exc
        self._taken = True
        return result

    def _interrupted(self, exc: RunwareError) -> StreamInterrupted:
        return StreamInterrupted(
            f"the stream did not end: {exc.message}",
            text=self._deltas.text(),
            task_uuid=exc.task_uuid,
            submitted=exc.submitted,
        )
