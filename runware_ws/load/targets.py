"""What is asked: a client of ours over the socket or by streams, or any Messages URL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import anyio

from runware_ws import (
    Client,
    OutcomeUnknown,
    Result,
    RunwareError,
    Submitted,
    TaskError,
)
from runware_ws.events import Connected, Disconnected
from runware_ws.load.messages_url import MessagesFailed, MessagesUrl

__all__ = [
    "Answer",
    "Carrier",
    "ClientTarget",
    "LoadTarget",
    "MessagesTarget",
    "Unanswered",
    "unanswered_of",
]

Carrier = Literal["task", "socket", "sse"]
"""How a client asks: a whole answer, a stream over the socket, or one over HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    ``first_delta``: when the first piece of it came, on the loop's clock; ``None`` if it came
    whole. ``tokens``: how many it has, as the server counted; ``None`` if it did not say.
    ``own``: all of it carries the task's own UUID. ``texts`` are those of its items.
    """

    texts: tuple[str, ...]
    recovered_by: str
    first_delta: float | None = None
    tokens: int | None = None
    cost: float | None = None
    own: bool = True


@dataclass(frozen=True, slots=True)
class Unanswered:
    """How a task ended without an answer.

    ``family`` names the error in reports. ``unknown``: nobody can know what became of it.
    ``left``: the server may have run it, and its caller has neither an answer nor a verdict.
    """

    family: str
    unknown: bool = False
    left: bool = False


class LoadTarget(Protocol):
    """What answers. ``ask`` raises what :func:`unanswered_of` reads."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    async def ask(self, task: dict[str, Any], timeout: float, /) -> Answer:
        """Run one task. ``timeout``: seconds for all of it."""
        ...

    async def watch(self, on_reconnect: Callable[[bool], None], /) -> None:
        """Tell of connections: ``False`` for a loss, ``True`` for the one after it."""
        ...


class ClientTarget:
    """A :class:`~runware_ws.Client`, started and closed by the load."""

    def __init__(self, client: Client, carrier: Carrier = "task", patience: float = 15.0) -> None:
        self._client = client
        self._carrier: Carrier = carrier
        self._patience = patience

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            RunwareError: there is no connection in time, or the key is refused.
        """
        await self._client.start()
        try:
            await self._client.ready(self._patience)
        except BaseException:
            await self._client.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def ask(self, task: dict[str, Any], timeout: float) -> Answer:
        """See :class:`LoadTarget`."""
        if self._carrier == "task":
            return _answer(await self._client.run(task, timeout=timeout), None, task)
        first = None
        async with self._client.stream(task, carrier=self._carrier, timeout=timeout) as stream:
            async for delta in stream:
                if first is None and (delta.text or delta.reasoning):
                    first = anyio.current_time()
            return _answer(await stream.result(), first, task)

    async def watch(self, on_reconnect: Callable[[bool], None]) -> None:
        """See :class:`LoadTarget`."""
        async for event in self._client.events():
            if isinstance(event, Disconnected):
                on_reconnect(False)
            elif isinstance(event, Connected):
                on_reconnect(True)


def _answer(result: Result, first: float | None, task: dict[str, Any]) -> Answer:
    items, usage = result.items, result.usage
    uuid = str(task["taskUUID"])
    return Answer(
        tuple(str(item.text) for item in items),
        result.recovered_by.value,
        first,
        None if usage is None else usage.output_tokens,
        result.cost,
        own=all(item.task_uuid in (None, uuid) for item in items),
    )


class MessagesTarget:
    """Any server that takes ``POST …/v1/messages``, through a plain HTTP client."""

    def __init__(self, url: MessagesUrl) -> None:
        self._url = url
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._url)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def ask(self, task: dict[str, Any], timeout: float) -> Answer:
        """See :class:`LoadTarget`."""
        said = await self._url.ask(task, timeout)
        return Answer((said.text,), "live", said.first_delta, said.tokens)

    async def watch(self, on_reconnect: Callable[[bool], None]) -> None:
        """There is no connection to tell of: HTTP opens them as it likes."""


def unanswered_of(error: BaseException) -> Unanswered:
    """Read how a task ended. What cancelled it left it to the server."""
    if not isinstance(error, Exception):
        return Unanswered("given up", left=True)
    if isinstance(error, MessagesFailed):
        return Unanswered(error.family, left=error.left)
    if isinstance(error, TaskError):
        return Unanswered(f"{error.family or 'unknown'}: {error.code}")
    if isinstance(error, OutcomeUnknown):
        return Unanswered("OutcomeUnknown", unknown=True)
    if isinstance(error, RunwareError):
        return Unanswered(type(error).__name__, left=error.submitted is not Submitted.NO)
    return Unanswered(type(error).__name__)
