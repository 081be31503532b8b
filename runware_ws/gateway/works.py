"""A task that runs for any number of readers, who come and go: it goes on without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import anyio

from runware_ws import TaskState
from runware_ws.messages import Delta, ToolCallPiece, delta_of

if TYPE_CHECKING:
    from runware_ws import Result, RunwareError, TaskHandle, TaskStream

__all__ = ["PlainWork", "Reader", "StreamWork", "Work", "merged"]

_TRIM_ABOVE = 128


class Reader(Protocol):
    """Reads one answer from its beginning."""

    async def next(self) -> Delta | None:
        """What comes next; ``None`` at the end. Cancel-safe: nothing is lost.

        Raises:
            RunwareError: as ``Client.run``, and ``StreamInterrupted``.
        """
        ...

    def close(self) -> None:
        """It reads no more."""
        ...


class Work(Protocol):
    """See the top of the module."""

    @property
    def uuid(self) -> str:
        """The taskUUID; with a journal it may change until it is ``entered``."""
        ...

    @property
    def entered(self) -> bool:
        """Whether it has its final taskUUID."""
        ...

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        ...

    @property
    def error(self) -> RunwareError | None:
        """The error that ended it; ``None`` if it has a result, or has not ended."""
        ...

    async def result(self) -> Result:
        """Wait for the whole answer. Cancel-safe. Raises what the reader raises."""
        ...

    def outcome(self) -> Result:
        """The whole answer of what is done. Raises what the reader raises."""
        ...

    def reader(self) -> Reader:
        """A new reader, who begins at the beginning."""
        ...


def _when_done(handle: TaskHandle, call: Callable[[], None]) -> None:
    def on_done(_: TaskHandle) -> None:
        call()

    if handle.done:
        call()
    else:
        handle.on_done = on_done


class _HandleWork:
    """What both kinds of work tell of their task."""

    def __init__(self, handle: TaskHandle) -> None:
        self._handle = handle

    @property
    def uuid(self) -> str:
        return self._handle.uuid

    @property
    def entered(self) -> bool:
        return self._handle.state is not TaskState.WAITING

    @property
    def done(self) -> bool:
        return self._handle.done

    @property
    def error(self) -> RunwareError | None:
        return self._handle.error

    def outcome(self) -> Result:
        return self._handle.outcome()


class PlainWork(_HandleWork):
    """A task whose answer comes as a whole. ``on_done`` is called once, when it has ended."""

    def __init__(self, handle: TaskHandle, on_done: Callable[[PlainWork], None]) -> None:
        super().__init__(handle)
        _when_done(handle, lambda: on_done(self))

    async def result(self) -> Result:
        return await self._handle

    def reader(self) -> Reader:
        return _WholeReader(self)


class _WholeReader:
    def __init__(self, work: PlainWork) -> None:
        self._work: PlainWork | None = work

    async def next(self) -> Delta | None:
        if self._work is None:
            return None
        result = await self._work.result()
        self._work = None
        return delta_of(result)

    def close(self) -> None:
        self._work = None


class StreamWork(_HandleWork):
    """A stream whose deltas are kept, joined where all have read them.

    Whoever needs the next delta fetches it, for all. So nothing runs here while nobody reads, and
    what comes meanwhile waits in the client.
    """

    def __init__(
        self, stream: TaskStream, handle: TaskHandle, on_done: Callable[[StreamWork], None]
    ) -> None:
        super().__init__(handle)
        self._stream = stream
        self._log: list[Delta] = []
        # How many deltas are behind the first one of the log, and in it.
        self._joined = 0
        self._readers: set[_StreamReader] = set()
        self._lock = anyio.Lock()
        _when_done(handle, lambda: on_done(self))

    async def result(self) -> Result:
        return await self._stream.result()

    def reader(self) -> Reader:
        reader = _StreamReader(self)
        self._readers.add(reader)
        return reader

    # For its readers

    def leave(self, reader: _StreamReader) -> None:
        """This one reads no more."""
        self._readers.discard(reader)

    def behind(self, at: int) -> tuple[Delta | None, int]:
        """All that was fetched and that one who has read ``at`` deltas lacks, as one delta."""
        count = len(self._log)
        first = 0 if at == 0 else at - self._joined
        if first >= count:
            return None, at
        return merged(self._log[first:]), self._joined + count

    async def fetch(self, at: int) -> bool:
        """Fetch the next delta, unless somebody has; False: there is none."""
        async with self._lock:
            if self._joined + len(self._log) > at:
                return True
            try:
                self._log.append(_lean(await anext(self._stream)))
            except StopAsyncIteration:
                return False
            while self._stream.ready:  # More of it piled up: nobody need wait for these.
                self._log.append(_lean(await anext(self._stream)))
            if len(self._log) > _TRIM_ABOVE:
                self._trim()
            return True

    def _trim(self) -> None:
        """Join what all have read: a later reader gets it as one delta."""
        read = min((reader.at for reader in self._readers), default=self._joined + 1)
        count = read - self._joined
        if count > 1:
            self._log[:count] = [merged(self._log[:count])]
            self._joined += count - 1


class _StreamReader:
    def __init__(self, work: StreamWork) -> None:
        self._work = work
        self.at = 0

    async def next(self) -> Delta | None:
        while True:
            delta, self.at = self._work.behind(self.at)
            if delta is not None:
                return delta
            if not await self._work.fetch(self.at):
                return None

    def close(self) -> None:
        self._work.leave(self)


def _lean(delta: Delta) -> Delta:
    """Without the raw object, which nobody asks for and which is large."""
    return Delta(
        delta.text,
        delta.reasoning,
        delta.tool_calls,
        delta.finish_reason,
        delta.usage,
        delta.cost,
    )


def merged(deltas: Sequence[Delta]) -> Delta:
    """Deltas that follow each other, as one. Pieces of one tool call become one piece."""
    if len(deltas) == 1:
        return deltas[0]
    calls: dict[int, list[ToolCallPiece]] = {}
    for delta in deltas:
        for piece in delta.tool_calls:
            calls.setdefault(piece.index, []).append(piece)
    return Delta(
        text="".join(delta.text or "" for delta in deltas) or None,
        reasoning="".join(delta.reasoning or "" for delta in deltas) or None,
        tool_calls=tuple(_one(index, pieces) for index, pieces in calls.items()),
        finish_reason=next((d.finish_reason for d in reversed(deltas) if d.finish_reason), None),
        usage=next((d.usage for d in reversed(deltas) if d.usage is not None), None),
        cost=next((d.cost for d in reversed(deltas) if d.cost is not None), None),
    )


def _one(index: int, pieces: Sequence[ToolCallPiece]) -> ToolCallPiece:
    return ToolCallPiece(
        index,
        next((piece.id for piece in pieces if piece.id is not None), None),
        next((piece.name for piece in pieces if piece.name is not None), None),
        "".join(piece.arguments for piece in pieces),
    )
