"""The client for plain, blocking code: an event loop in a thread of its own."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, NoReturn, Self, TypeVar, Unpack, cast, overload

from runware_ws._io.keys import ApiKey, wrapped
from runware_ws._io.transport.base import Dial, HttpPost
from runware_ws.client.client import Client, DrainReport
from runware_ws.client.handle import TaskHandle
from runware_ws.client.loop_thread import LoopThread, NotHere
from runware_ws.client.mapping import TURN, Drawn, MapRun, Outcome
from runware_ws.client.records import UNSET, Unset
from runware_ws.client.recovered import Recovered
from runware_ws.client.streams import CarrierChoice, TaskStream
from runware_ws.client.tasks import Task
from runware_ws.config import Config, ConfigOptions
from runware_ws.errors import ClientClosed, ConfigurationError, RunwareError
from runware_ws.journal.opening import JournalPlace
from runware_ws.messages import Message, MessageEvent, Messages, MessageStream
from runware_ws.messages.params import MessageCreateParams
from runware_ws.messages.request import ThinkingLevel, Unsupported
from runware_ws.models import Result
from runware_ws.models.delta import Delta
from runware_ws.stats import Stats

__all__ = ["SyncClient", "SyncMessageStream", "SyncMessages", "SyncTaskStream"]

T = TypeVar("T", bound=Task)
R = TypeVar("R")


class SyncClient:
    """A :class:`Client` for blocking code: scripts, notebooks, Celery, Locust users.

    Use it as ``with SyncClient() as client``, or :meth:`close` it. It starts with the
    first call and runs in a thread of its own, so it also works where an event loop is
    already running, as in a notebook. Any number of threads may share one client; each
    call blocks only its own thread. An interrupted call (Ctrl+C) gives its task up, as a
    cancelled ``Client.run`` does. A client that is still open when the program ends is
    closed then.

    After a fork, the child needs a client of its own, unless this one was not used before.

    Arguments and exceptions are those of :class:`Client`. ``api_key``, ``dial`` and ``post`` are
    called in the client's thread.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: ApiKey = None,
        config: Config | None = None,
        dial: Dial | None = None,
        post: HttpPost | None = None,
        journal: JournalPlace | None = None,
        **options: Unpack[ConfigOptions],
    ) -> None:
        key, api_key = wrapped(api_key), None  # no variable of a frame may show it
        self._client = Client(
            url,
            api_key=cast("ApiKey", key),
            config=config,
            dial=dial,
            post=post,
            journal=journal,
            **options,
        )
        self.watchers = self._client.watchers
        # Reentrant: a signal handler may close the client while this thread starts it.
        self._lock = threading.RLock()
        self._thread: LoopThread | None = None
        self._begun: LoopThread | None = None
        self._closed = False
        self._pid: int | None = None

    # Life

    def __enter__(self) -> Self:
        try:
            self._running()
        except BaseException:
            # Nobody leaves a block that was not entered.
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close. Calls in other threads end with :class:`ClientClosed`. Idempotent.

        Takes no longer than ``Client.aclose``. If it is interrupted, it drops the socket.

        Raises:
            ConfigurationError: this is the client's own thread, which cannot wait for itself.
        """
        if self._pid not in (None, os.getpid()):
            # After a fork: the thread runs in the parent.
            return
        if self._thread is not None and self._thread.here:
            raise ConfigurationError("a SyncClient cannot be closed in its own thread")
        # Set first, so that nothing waits for the lock in the thread that is about to end.
        self._closed = True
        with self._lock:
            if self._thread is not None:
                atexit.unregister(self.close)
                self._thread.stop()

    def _running(self) -> LoopThread:
        """The client's thread, which is started if necessary."""
        if self._closed:
            raise ClientClosed("the client is closed")
        if self._pid not in (None, os.getpid()):
            raise ConfigurationError(
                "a SyncClient cannot be used after a fork: create one in the child"
            )
        return self._begun or self._start()

    def _start(self) -> LoopThread:
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed")
            if self._thread is None:
                self._thread = LoopThread(self._client.start, self._client.aclose)
                self._pid = os.getpid()
                atexit.register(self.close)
            thread = self._thread
            thread.start()
        try:
            thread.begin()
        except CancelledError:
            raise ClientClosed("the client is closed") from None
        self._begun = thread
        return thread

    def call(
        self,
        func: Callable[..., Awaitable[R]],
        *args: Any,
        lost: Callable[[], None] = lambda: None,
    ) -> R:
        """Run ``func(*args)`` in the client's event loop, and wait for it.

        ``lost`` is called there if the wait is interrupted.
        """
        thread = self._running()
        try:
            return thread.call(partial(func, *args), lost)
        except (NotHere, CancelledError) as exc:
            if self._closed:
                raise ClientClosed("the client is closed") from None
            raise ConfigurationError(f"a SyncClient cannot be used here: {exc}") from None

    def look(self, func: Callable[..., R], *args: Any) -> R:
        """Like :meth:`call`, for a function that does not wait."""

        async def do() -> R:
            return func(*args)

        return self.call(do)

    # Tasks

    def ready(self, timeout: float | None = None) -> None:
        """Wait until the connection is authenticated; see :meth:`Client.ready`."""
        self.call(self._client.ready, timeout)

    def run(
        self,
        task: Task,
        *,
        timeout: float | Unset | None = UNSET,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Result:
        """Run one task and return its whole result; see :meth:`Client.run`."""
        one = _One(self._client)
        run = partial(one.run, task, timeout=timeout, key=key, metadata=metadata)
        return self.call(run, lost=one.lost)

    def map(
        self,
        tasks: Iterable[T],
        *,
        concurrency: int = 100,
        timeout: float | Unset | None = UNSET,
        key: Callable[[T], str | None] | None = None,
        metadata: Callable[[T], Mapping[str, str] | None] | None = None,
    ) -> Generator[Outcome[T]]:
        """Run many tasks, at most ``concurrency`` at once; outcomes come as tasks end.

        See :meth:`Client.map`. ``tasks`` is read, and ``key`` and ``metadata`` are called, in the
        caller's thread, so they may block. If you leave the loop early, the running tasks are
        given up once the iterator is closed.
        """
        run = self.look(self._client.map_run, tasks, concurrency, timeout, key, metadata)
        return self._outcomes(run, tasks)

    def _outcomes(self, run: MapRun[T], tasks: Iterable[T]) -> Generator[Outcome[T]]:
        source = iter(tasks)
        exhausted = False
        try:
            while True:
                while run.done:
                    yield run.take()
                batch: list[Drawn[T]] = []
                while not exhausted and run.broken is None and len(batch) < min(run.room, TURN):
                    drawn = run.draw(source)
                    if drawn is None:
                        exhausted = True
                    else:
                        batch.append(drawn)
                more = not exhausted and run.broken is None and run.room > len(batch)
                if batch or run.running:
                    self.call(partial(run.advance, batch, more=more))
                elif not run.done:
                    break
            if run.broken is not None:
                raise run.broken
        finally:
            if run.running or run.done:
                self._leave(run)

    def _leave(self, run: MapRun[Any]) -> None:
        try:
            self.look(run.leave)
        except ClientClosed:
            # Then all tasks have already ended.
            run.done.clear()
        except ConfigurationError:
            # The garbage collector may run in any thread, even in the client's own, and there in
            # the middle of anything.
            if self._begun is not None:
                self._begun.soon(run.leave)

    def stream(
        self,
        task: Task,
        *,
        carrier: CarrierChoice = "auto",
        timeout: float | Unset | None = UNSET,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> SyncTaskStream:
        """Run one task and read its answer as it is generated; see :meth:`Client.stream`.

        Use it as ``with client.stream(task) as stream``, and iterate ``stream``.
        """
        stream = self.look(
            lambda: self._client.stream(
                task, carrier=carrier, timeout=timeout, key=key, metadata=metadata
            )
        )
        return SyncTaskStream(self, stream)

    @property
    def messages(self) -> SyncMessages:
        """Anthropic's Messages shape: ``client.messages.create(...)``."""
        return SyncMessages(self, self._client)

    def recovered(self) -> Generator[Recovered]:
        """What dead processes left in the journal; see :meth:`Client.recovered`."""
        found = self._client.recovered()
        try:
            yield from _Ahead(self, found)
        finally:
            leave(self, found.aclose)

    def claim(self, task_uuid: str) -> Result | None:
        """Return, once, a result that came too late for its caller; see :meth:`Client.claim`."""
        return self.look(self._client.claim, task_uuid)

    def drain(self, timeout: float | None = None) -> DrainReport:
        """Take no new tasks, and wait for the pending ones; see :meth:`Client.drain`."""
        return self.call(self._client.drain, timeout)

    def stats(self) -> Stats:
        """A snapshot of the client's counts and state; works after :meth:`close` too."""
        if not self._closed:
            self._running()
        return self._client.stats()

    def dump(self, path: str | os.PathLike[str]) -> Path:
        """Write what the flight recorder holds to ``path``; see :meth:`Client.dump`."""
        return self._client.dump(path)

    def __reduce__(self) -> NoReturn:
        self._client.__reduce__()

    def __repr__(self) -> str:
        client = getattr(self, "_client", None)  # none before all options are checked
        return f"<SyncClient of {client!r}>"


class _One:
    """Runs one task, which can be given up until its result is in its caller's hands."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._handle: TaskHandle | None = None
        self.stream = client.stream

    async def run(
        self,
        task: Task,
        *,
        timeout: float | Unset | None = UNSET,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Result:
        """As :meth:`Client.run`."""
        self._handle = self._client.begin(task, timeout, key=key, metadata=metadata)
        return await self._handle

    def lost(self) -> None:
        """Its caller was interrupted: an answer that is here is kept for a claim."""
        if self._handle is not None:
            self._handle.give_up()


class _Ahead(Generic[R]):
    """What comes out of an async iterator, for threads. An interruption loses nothing."""

    def __init__(self, client: SyncClient, source: AsyncIterator[R]) -> None:
        self._client = client
        self._source = source
        self._here: deque[R] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        while True:
            try:
                return self._here.popleft()
            except IndexError:
                if not self._client.call(self._read):
                    raise StopIteration from None

    async def _read(self) -> bool:
        try:
            self._here.append(await anext(self._source))
        except StopAsyncIteration:
            return False
        return True


class SyncTaskStream:
    """Deltas of one task as they arrive, and the whole at the end; see :class:`TaskStream`."""

    def __init__(self, client: SyncClient, stream: TaskStream) -> None:
        self._client = client
        self._stream = stream
        self._deltas = _Ahead(client, stream)

    def __enter__(self) -> Self:
        try:
            self._client.call(self._stream.__aenter__)
        except RunwareError:
            raise
        except BaseException:
            # It may have been submitted before the interruption.
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        leave(self._client, lambda: self._stream.__aexit__(None, None, None))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Delta:
        return next(self._deltas)

    def result(self) -> Result:
        """Wait for the whole answer, whether or not the deltas were read."""
        return self._client.call(self._stream.result)

    @property
    def carrier(self) -> Literal["socket", "sse"]:
        """What carries the deltas."""
        return self._stream.carrier

    @property
    def task_uuid(self) -> str:
        """The task's taskUUID."""
        return self._stream.task_uuid

    @property
    def text(self) -> str:
        """The text so far."""
        return self._stream.text

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._stream.reasoning


class SyncMessages:
    """Messages requests over one client; see :class:`Messages`."""

    __slots__ = ("_client", "_owner")

    def __init__(self, owner: SyncClient, client: Client) -> None:
        self._owner = owner
        self._client = client

    @overload
    def create(
        self,
        *,
        stream: Literal[True],
        unsupported: Unsupported = ...,
        thinking_level: ThinkingLevel | None = ...,
        include_cost: bool | None = ...,
        task_uuid: str | None = ...,
        timeout: float | None = ...,
        key: str | None = ...,
        **request: Unpack[MessageCreateParams],
    ) -> SyncMessageStream: ...

    @overload
    def create(
        self,
        *,
        stream: Literal[False] | None = ...,
        unsupported: Unsupported = ...,
        thinking_level: ThinkingLevel | None = ...,
        include_cost: bool | None = ...,
        task_uuid: str | None = ...,
        timeout: float | None = ...,
        key: str | None = ...,
        **request: Unpack[MessageCreateParams],
    ) -> Message: ...

    def create(self, **request: Any) -> Message | SyncMessageStream:
        """Ask for a message; return it whole or, with ``stream=True``, as events.

        Parameters and exceptions are those of :meth:`Messages.create`.
        """
        one = _One(self._client)
        create: Any = Messages(one).create
        given: Message | MessageStream = self._owner.call(partial(create, **request), lost=one.lost)
        if isinstance(given, MessageStream):
            return SyncMessageStream(self._owner, given)
        return given


class SyncMessageStream:
    """The events of one message as they come; see :class:`MessageStream`."""

    def __init__(self, client: SyncClient, stream: MessageStream) -> None:
        self._client = client
        self._stream = stream
        self._events = _Ahead(client, stream)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> MessageEvent:
        return next(self._events)

    def message(self) -> Message:
        """The message so far; the whole message once the events have ended."""
        return self._client.look(self._stream.message)

    def close(self) -> None:
        """Give up what has not come yet. Idempotent."""
        leave(self._client, self._stream.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def leave(client: SyncClient, func: Callable[[], Awaitable[None]]) -> None:
    """Close something; if the client is closed, there is nothing left to do."""
    try:
        client.call(func)
    except ClientClosed:
        return
