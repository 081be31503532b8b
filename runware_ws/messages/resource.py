"""``client.messages``: the Messages shape over a client's connection."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypedDict, Unpack, overload

from runware_ws.errors import TaskCancelled
from runware_ws.messages.events import EventBuilder
from runware_ws.messages.objects import Message, MessageEvent
from runware_ws.messages.params import MessageCreateParams
from runware_ws.messages.request import DEFAULT_MODEL, ThinkingLevel, Unsupported, to_task
from runware_ws.messages.response import to_message
from runware_ws.models.delta import Delta
from runware_ws.models.results import Result
from runware_ws.models.text_inference import TextInference

__all__ = ["MessageStream", "Messages", "Runner"]


class _ClientsOwn:
    def __repr__(self) -> str:
        return "the client's own"


_CLIENTS_OWN = _ClientsOwn()


class _Given(TypedDict, total=False):
    timeout: float | None
    key: str


class Runner(Protocol):
    """What this needs from a client."""

    async def run(
        self, task: TextInference, *, timeout: float | None = ..., key: str | None = ...
    ) -> Result:
        """Run one task."""
        ...

    def stream(
        self, task: TextInference, *, timeout: float | None = ..., key: str | None = ...
    ) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        """Run one task and read its answer as it is generated."""
        ...


class MessageStream:
    """The events of one message as they come: ``async for event in stream``.

    ``async with stream`` gives the message up if the block is left early;
    :meth:`aclose` does the same. The request is sent when the first event is asked for, and not
    if the message was given up before. What is read after that raises ``TaskCancelled``. A
    stream that is cut and cannot be completed raises ``StreamInterrupted``; ``message_stop``
    comes only at the true end.
    """

    def __init__(
        self, deltas: AbstractAsyncContextManager[AsyncIterator[Delta]], builder: EventBuilder
    ) -> None:
        self._deltas = deltas
        self._builder = builder
        self._stack = AsyncExitStack()
        self._source: AsyncIterator[Delta] | None = None
        self._ready: deque[MessageEvent] = deque()
        self._ended = False
        self._left = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageEvent:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            if self._source is None:
                if self._left:
                    raise TaskCancelled(
                        "the caller gave the message up before it was sent",
                        task_uuid=self._builder.task_uuid,
                    )
                self._source = await self._stack.enter_async_context(self._deltas)
            try:
                self._ready.extend(self._builder.feed(await anext(self._source)))
            except StopAsyncIteration:
                # Another reader may have been told so before.
                if not self._ended:
                    self._ended = True
                    self._ready.extend(self._builder.finish())
                    await self.aclose()
        return self._ready.popleft()

    def message(self) -> Message:
        """The message so far; the whole message once the events have ended."""
        return self._builder.message()

    async def aclose(self) -> None:
        """Give up what has not come yet. Idempotent."""
        self._left = True
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class Messages:
    """Messages requests over one client. Stateless: make as many as you like."""

    __slots__ = ("_client",)

    def __init__(self, client: Runner) -> None:
        self._client = client

    @overload
    async def create(
        self,
        *,
        stream: Literal[True],
        unsupported: Unsupported = ...,
        thinking_level: ThinkingLevel | None = ...,
        include_cost: bool | None = ...,
        task_uuid: str | None = ...,
        timeout: float | _ClientsOwn | None = ...,
        key: str | None = ...,
        **request: Unpack[MessageCreateParams],
    ) -> MessageStream: ...

    @overload
    async def create(
        self,
        *,
        stream: Literal[False] | None = ...,
        unsupported: Unsupported = ...,
        thinking_level: ThinkingLevel | None = ...,
        include_cost: bool | None = ...,
        task_uuid: str | None = ...,
        timeout: float | _ClientsOwn | None = ...,
        key: str | None = ...,
        **request: Unpack[MessageCreateParams],
    ) -> Message: ...

    async def create(
        self,
        *,
        stream: bool | None = None,
        unsupported: Unsupported = "error",
        thinking_level: ThinkingLevel | None = None,
        include_cost: bool | None = None,
        task_uuid: str | None = None,
        timeout: float | _ClientsOwn | None = _CLIENTS_OWN,
        key: str | None = None,
        **request: Unpack[MessageCreateParams],
    ) -> Message | MessageStream:
        """Ask for a message; return it whole or, with ``stream=True``, as events.

        The parameters are those of the Messages shape; ``None`` means not given. What this
        model does not support (``temperature``, ``top_p``, ``top_k``, unknown parameters and
        blocks) is refused by name, or left out with a warning if ``unsupported="drop"``.
        For ``unsupported``, ``thinking_level``, ``include_cost`` and ``task_uuid`` see
        :func:`to_task`; for ``timeout`` and ``key`` see ``Client.run``.

        If it is cancelled, it gives the task up, as ``Client.run`` does.

        Raises:
            ConfigurationError: ``unsupported`` or ``timeout`` has a bad value.
            InvalidTask: refused before it is sent.
            TaskError: the server's verdict; and all else that ``Client.run`` raises.
                With ``stream=True``, reading the events raises these, and
                ``StreamInterrupted``.
        """
        given: dict[str, Any] = {"model": DEFAULT_MODEL, **request, "stream": stream}
        task = to_task(
            {name: value for name, value in given.items() if value is not None},
            unsupported=unsupported,
            thinking_level=thinking_level,
            include_cost=include_cost,
            task_uuid=task_uuid,
            stacklevel=2,
        )
        model = given["model"] or DEFAULT_MODEL
        own: _Given = {} if isinstance(timeout, _ClientsOwn) else {"timeout": timeout}
        if key is not None:
            own["key"] = key
        if stream:
            builder = EventBuilder(task.task_uuid, model)
            return MessageStream(self._client.stream(task, **own), builder)
        return to_message(await self._client.run(task, **own), model)
