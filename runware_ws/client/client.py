"""The client: one connection, and the verbs that run tasks on it."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sized,
)
from contextlib import AsyncExitStack
from copy import copy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar, Unpack

import anyio

from runware_ws._checks import count, refusal, seconds
from runware_ws._core.states import ConnectionState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._io.driver import Driver
from runware_ws._io.feed import EventStream
from runware_ws._io.keys import ApiKey, KeySource, wrapped
from runware_ws._io.posts import carrier_of
from runware_ws._io.supervisor import Supervisor
from runware_ws._io.transport.base import Dial, HttpPost
from runware_ws._io.transport.websocket import check_way
from runware_ws._io.transport.websocket import dial as websocket_dial
from runware_ws._urls import recorded_url, socket_url
from runware_ws.client.handle import TaskHandle, outcome_of
from runware_ws.client.mapping import Drawn, MapRun, MapSources, Outcome, run_map
from runware_ws.client.records import UNSET, RecordMaker, Unset
from runware_ws.client.recovered import Recovered, as_recovered
from runware_ws.client.snapshot import stats_of
from runware_ws.client.streams import CarrierChoice, TaskStream, chosen_carrier
from runware_ws.client.tasks import Task
from runware_ws.config import Config, ConfigOptions
from runware_ws.errors import ClientClosed, ConfigurationError, ConnectionFailed
from runware_ws.journal.keeper import JournalKeeper
from runware_ws.journal.keys import Keyed
from runware_ws.journal.opening import JournalPlace, open_store
from runware_ws.journal.store import Adoption, Entry
from runware_ws.messages import Messages
from runware_ws.models import RecoveredBy, Result
from runware_ws.stats import Stats
from runware_ws.telemetry.flight import recorder_of
from runware_ws.telemetry.watchers import Watchers

__all__ = ["Client", "DrainReport"]

T = TypeVar("T", bound=Task)


NOT_STARTED = "use the client as: async with Client() as client, or await client.start()"


FLUSH_TIMEOUT = 0.5
"""A journal gets so many seconds to record the last ends, whatever the socket took to close."""


@dataclass(frozen=True, slots=True)
class DrainReport:
    """How a drain ended. ``unfinished`` lists the taskUUIDs that are still pending."""

    finished: int
    unfinished: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is left."""
        return not self.unfinished


class Client:
    """One authenticated, resuming connection that carries any number of tasks.

    Use it as ``async with Client() as client``, or with :meth:`start` and
    :meth:`aclose`: once, in one event loop (asyncio or trio). Starting does not
    wait for the server: the first task does, and :meth:`ready` can. Any number of
    tasks in that loop may share one client, and the task that closes it need not be
    the one that started it. Used from another event loop or thread, it raises
    :class:`ConfigurationError`; :class:`SyncClient` is for threads.

    Only leaving the block or :meth:`aclose` ends it. If the event loop ends
    first, the client is dropped with a ``ResourceWarning``.

    Args:
        url: the socket's address; the service's own by default.
        api_key: the key, or a plain or async function that fetches it for each
            dial; ``None``: the environment variable ``RUNWARE_API_KEY``.
        config: options; ``None``: the defaults.
        dial: opens sockets; ``None``: the ``websockets`` library.
        journal: where tasks and results are recorded, so that they outlive this process: a path
            or ``sqlite:`` URL, a ``postgresql://`` URL (extra ``postgres``), or a
            :class:`~runware_ws.journal.store.Store`; ``None``: nowhere.
        post: posts streams over HTTP; ``None``: the HTTP client of the extra ``sse``, if it
            is installed, and ``dial`` is not given or ``http_url`` is.
        options: single fields of :class:`Config`, e.g. ``max_in_flight=500``.

    Raises:
        ConfigurationError: no key, a URL over which the key would travel
            unencrypted, an unknown option, or a bad value. The message names it.
    """

    # A repr may be asked for before all options are checked.
    _url = ""
    _driver: Driver | None = None
    _started = False
    _left = False
    """Whether it was closed before it ran."""

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
        # What is refused below must not show the key, in no variable of a frame either.
        key, api_key = wrapped(api_key), None
        self._config = Config.build(config, options)
        self._url = socket_url(url, allow_insecure=self._config.allow_insecure)
        self._keys = KeySource(key)
        self.watchers = Watchers(self._url, self._keys.redact_text)
        if dial is not None and not callable(dial):
            raise refusal("dial", "be a function that opens sockets, or None", dial)
        if post is not None and not callable(post):
            raise refusal("post", "be a function that posts, or None", post)
        self._dial = dial or websocket_dial
        self._flight = recorder_of(self._config, self._keys.redact_text)
        self._records = RecordMaker(self._config)
        self._journal: JournalKeeper | None = None
        if journal is not None:
            self._journal = JournalKeeper(open_store(journal), self._config, self._adopted)
            self._records.journal = self._journal
        # The HTTP client, if we have to close it.
        self._http = None
        if post is None:
            post = self._http = carrier_of(self._url, self._config, own_dial=dial is not None)
        self._post = post
        self._supervisor: Supervisor
        self._sources = MapSources()

    # Life

    async def start(self) -> Self:
        """Begin to dial, as entering the block does; returns the client. Once only.

        Does not wait for the server; a journal is opened first. A client that was started this
        way must be closed with :meth:`aclose`. The task that calls this may end or be cancelled:
        the client goes on.

        Raises:
            ConfigurationError: the proxy cannot be used, or it was started before.
            JournalError: the journal cannot be used.
            ClientClosed: it was closed before.
        """
        if self._left:
            raise ClientClosed("the client is closed")
        if self._driver is not None or self._started:
            raise ConfigurationError("a Client can be started only once: create a new one")
        if self._dial is websocket_dial:
            check_way(self._url, self._config)
        self._started = True
        journal = self._journal
        adoption: Adoption | None = None
        if journal is not None:
            adoption = await journal.open(recorded_url(self._url))
            if self._left:
                journal.stop()
                raise ClientClosed("the client was closed while it started")
        self._driver = driver = Driver(
            self._url,
            self._keys,
            self._config,
            self._dial,
            self.watchers,
            self._post,
            journal,
            self._flight,
        )
        self._supervisor = Supervisor("runware_ws client", driver.ended)
        if self._http is not None:
            self._supervisor.start_soon(self._http.keep, name="runware_ws idle connections")
        driver.start(self._supervisor, adoption)
        return self

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close. Every pending task ends with :class:`ClientClosed`. Idempotent.

        A client that was not started, or in vain, cannot be started any more.

        Takes at most ``close_timeout`` seconds, even with a dead peer; the source of a
        map gets 5 s to close. When it returns, nothing of the client is running. If it
        is cancelled, it drops the socket without the closing handshake, waits for the
        rest, and then passes the cancellation on.
        """
        driver = self._driver
        if driver is None:
            # Not started, or not yet, or in vain: there is nothing to wait for.
            self._left = True
            return
        if not self._supervisor.ended:
            driver.home.check()
        until = driver.now() + self._config.close_timeout
        driver.close()
        self._sources.cancel()
        # From the last to the first, and each of them, whichever a cancellation meets.
        async with AsyncExitStack() as steps:
            steps.callback(self.watchers.close)
            if self._journal is not None:
                steps.push_async_callback(self._close_journal, self._journal, until)
            steps.push_async_callback(self._sources.join)
            steps.push_async_callback(self._supervisor.join)
            steps.callback(self._supervisor.cancel)
            try:
                await driver.stopped.wait()
            except BaseException:
                driver.abort()
                raise

    async def _close_journal(self, journal: JournalKeeper, until: float) -> None:
        await journal.aclose(max(FLUSH_TIMEOUT, until - self._looked_at().now()))

    async def drain(self, timeout: float | None = None) -> DrainReport:
        """Take no new tasks, and wait for the pending ones, across reconnects too.

        Args:
            timeout: seconds; ``None``: as long as the tasks' own deadlines allow.

        Returns:
            What finished meanwhile and what did not. Nothing is cancelled; close
            the client or drain again. Idempotent; cancel-safe.

        Raises:
            ConfigurationError: ``timeout`` is not a finite number of seconds, 0 or more.
        """
        driver = self._running()
        limit = seconds("timeout", timeout, zero=True, none="no limit")
        driver.drain()
        before = driver.pending
        with anyio.move_on_after(limit):
            while driver.pending:
                await driver.wait_changed()
        unfinished = driver.pending_uuids()
        return DrainReport(before - len(unfinished), unfinished)

    async def ready(self, timeout: float | None = None) -> None:
        """Wait until the connection is authenticated. Cancel-safe.

        Args:
            timeout: seconds; ``None``: as long as it takes.

        Raises:
            AuthenticationError: the server refuses the key.
            ConnectionFailed: no connection within ``timeout``, or none is possible.
            ClientClosed: the client was closed.
            ProtocolError: the client ended because of a protocol error.
            ConfigurationError: ``timeout`` is not a finite number of seconds, 0 or more.
        """
        driver = self._running()
        core = driver.core
        with anyio.move_on_after(seconds("timeout", timeout, zero=True, none="no limit")):
            while core.state is not ConnectionState.READY:
                if core.failure is not None:
                    raise copy(core.failure)
                if core.state is ConnectionState.CLOSED:
                    raise ClientClosed("the client is closed")
                await driver.wait_changed()
            return
        last = f": {core.last_loss}" if core.last_loss is not None else ""
        raise ConnectionFailed(f"no connection to {self._url} within {timeout} s{last}")

    # Tasks

    async def run(
        self,
        task: Task,
        *,
        timeout: float | Unset | None = UNSET,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Result:
        """Run one task and return its whole result.

        Args:
            task: a :class:`TextInference`, or a dict of any taskType.
            timeout: seconds for everything together: admission, dial, resends and
                polls; ``None``: no limit; by default the client's own.
            key: an idempotency key, which needs a journal. The same key always gives the same
                result, in any process, now or after a crash: a recorded one is returned, a
                running task is joined, one that a dead process left is asked for. A task with a
                key is sent as ``async`` unless it says otherwise. If the server's verdict was
                that nothing ran, the next use is a new attempt.
            metadata: what logs, spans and events say of it: at most 16 texts of 256 characters
                by names of 64. The server does not get it.

        If it is cancelled, it gives the task up: the server may still run it, and
        its result can be had with :meth:`claim`.

        Raises:
            ConfigurationError: ``timeout`` is not a finite number of seconds above 0, there is
                a ``key`` and no journal, or ``metadata`` is too large.
            InvalidTask: refused before the wire; :class:`KeyConflict` for its key.
            TaskError: the server's verdict.
            TaskTimeout: the deadline passed.
            OutcomeUnknown: the deadline passed and the truth cannot be known.
            AuthenticationError, ConnectionFailed, ProtocolError: the client ended.
            JournalError: the task or its result cannot be recorded.
            ClientClosed: closed or draining.
        """
        driver = self._running()
        now = driver.now()
        waiter = driver.waiting.waiter()
        record = self._records.whole(task, key, timeout, metadata, now, waiter)
        driver.submit(record)
        try:
            await waiter
        except BaseException:
            # The answer may have come just before the cancellation: then keep it for claim().
            driver.give_up(record)
            raise
        return outcome_of(record)

    async def submit(
        self,
        task: Task,
        *,
        timeout: float | Unset | None = UNSET,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> TaskHandle:
        """Submit a task; return once there is room for it in flight, and it is in the journal.

        The arguments are those of :meth:`run`. If it is cancelled while it waits for
        room, it takes the task back: nothing was sent.

        Raises:
            ConfigurationError: ``timeout`` is not a finite number of seconds above 0.
            InvalidTask: refused before the wire.
            ClientClosed: closed or draining.
            AuthenticationError, ConnectionFailed, ProtocolError: the client ended.
                Awaiting the handle raises what ends the task later.
        """
        handle = self.begin(task, timeout, key=key, metadata=metadata)
        try:
            await handle.wait_admitted()
        except BaseException:
            handle.give_up()
            raise
        return handle

    def stream(
        self,
        task: Task,
        *,
        carrier: CarrierChoice = "auto",
        timeout: float | Unset | None = UNSET,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> TaskStream:
        """Run one task and read its answer as it is generated.

        Use it as ``async with client.stream(task) as stream``, and iterate
        ``stream`` for each :class:`Delta`; ``await stream.result()`` is the whole.
        ``deliveryMethod`` is set to ``"stream"``. If the server answers with one
        whole result, it comes as one delta; so does the whole that a ``key`` stands for
        already. Other arguments are those of :meth:`run`.

        Args:
            carrier: ``"sse"``: server-sent events over HTTP, which is what Runware
                documents (needs the extra ``sse``; ``http_url`` is the address).
                ``"socket"``: deltas pushed over the socket; it is not certain that the
                service does this. ``"auto"``: ``"sse"`` if the extra is installed. It is
                the socket if the extra is missing, if ``dial=`` is given without ``post=``
                or ``http_url=``, or if the server says that it has no HTTP side (event
                ``NoHttpSide``). ``stream.carrier`` says which one is used.

        Raises:
            ConfigurationError: the carrier is unknown, its extra is not installed, or
                ``timeout`` is not a finite number of seconds above 0.
            InvalidTask: refused before the wire.
                Entering, iterating and ``result()`` raise what :meth:`run` raises,
                and :class:`StreamInterrupted`.
        """
        driver = self._running()
        chosen = chosen_carrier(
            carrier, posts=self._post is not None, own_dial=self._dial is not websocket_dial
        )
        deltas = Deltas()
        record = self._records.stream(
            task,
            key,
            timeout,
            metadata,
            driver.now(),
            deltas=deltas,
            carrier=chosen,
        )
        return TaskStream(record, deltas, self._submit)

    @property
    def messages(self) -> Messages:
        """Anthropic's Messages shape: ``await client.messages.create(...)``."""
        return Messages(self)

    def map(
        self,
        tasks: Iterable[T] | AsyncIterable[T],
        *,
        concurrency: int = 100,
        timeout: float | Unset | None = UNSET,
        key: Callable[[T], str | None] | None = None,
        metadata: Callable[[T], Mapping[str, str] | None] | None = None,
    ) -> AsyncGenerator[Outcome[T]]:
        """Run many tasks, at most ``concurrency`` at once; outcomes come as tasks end.

        A task that is refused or fails becomes an outcome with ``error``, and the
        others go on. ``tasks`` may be endless, or an async iterable. If you leave the
        loop early, the running tasks are given up once the iterator is closed (use
        ``contextlib.aclosing`` to close it at once); answers that had come but were
        not read can be had with :meth:`claim`. A wait for the next outcome that is cancelled
        leaves the map too: what is read after that raises :class:`TaskCancelled`. Several readers
        may share one map: each outcome goes to one of them.

        If the client ends or drains meanwhile, each remaining task of a list (of
        anything with a length) becomes an outcome with :class:`ClientClosed`. From
        any other source at most two more tasks are taken; if there are more, the
        iterator then raises that error.

        Args:
            timeout: seconds for each task, as in :meth:`run`.
            key: gives the idempotency key of each task, or ``None`` for none; see :meth:`run`.
            metadata: gives the metadata of each task, or ``None`` for none; see :meth:`run`.

        Raises:
            ConfigurationError: ``concurrency`` is not a whole number, 1 or more, ``timeout`` is
                not a finite number of seconds above 0, or ``key`` or ``metadata`` is no function.
            RuntimeError: ``tasks``, ``key`` or ``metadata`` raised ``CancelledError`` on its own.
            Exception: what one of them raises, or a bad key or metadata that one of them
                gives, after the outcomes of the started tasks.
        """
        run = self.map_run(tasks, concurrency, timeout, key, metadata)
        return run_map(run, tasks, self._run_source)

    def map_run(
        self,
        tasks: Iterable[T] | AsyncIterable[T],
        concurrency: int,
        timeout: float | Unset | None,
        key: Callable[[T], str | None] | None = None,
        metadata: Callable[[T], Mapping[str, str] | None] | None = None,
    ) -> MapRun[T]:
        count("concurrency", concurrency)
        for option, function in (("key", key), ("metadata", metadata)):
            if function is not None and not callable(function):
                raise refusal(option, "be a function that takes a task, or None", function)
        driver = self._running()
        self._records.limit(timeout)  # so that a bad value raises here, not in each task

        def submit(drawn: Drawn[T], on_done: Callable[[TaskHandle], None]) -> TaskHandle:
            task, key, metadata = drawn
            return self.begin(task, timeout, on_done, key=key, metadata=metadata)

        whole = isinstance(tasks, Sized)
        return MapRun(driver, submit, concurrency, whole=whole, key=key, metadata=metadata)

    def _run_source(self, feed: Callable[[], Awaitable[None]]) -> bool:
        """Run ``feed``, which reads a map's source; False if the client is closed."""
        if self._running().core.state is ConnectionState.CLOSED:
            return False
        self._sources.start(feed)
        return True

    def begin(
        self,
        task: Task,
        timeout: float | Unset | None,
        on_done: Callable[[TaskHandle], None] | None = None,
        *,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> TaskHandle:
        now = self._running().now()
        # A map looks at a task only when it has ended.
        watched = on_done is None
        record = self._records.whole(task, key, timeout, metadata, now, watched=watched)
        return self._submit(record, on_done)

    def _adopted(self, entry: Entry, keyed: Keyed | None) -> TaskRecord:
        return self._records.adopted(entry, keyed, self._running().now())

    def _submit(
        self, record: TaskRecord, on_done: Callable[[TaskHandle], None] | None = None
    ) -> TaskHandle:
        driver = self._running()
        handle = TaskHandle(record, driver, on_done)
        record.attach(handle)
        driver.submit(record)
        return handle

    def claim(self, task_uuid: str) -> Result | None:
        """Return, once, a result that came too late for its caller, or that nobody waits for.

        Returns ``None`` if nothing has come (yet), or if it was dropped: at most
        ``claim_limit`` tasks and ``claim_bytes`` bytes are kept.

        Raises:
            ConfigurationError: ``task_uuid`` is no text.
        """
        if not isinstance(task_uuid, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refusal("task_uuid", "be a taskUUID, as text", task_uuid)
        items = self._running().core.claim(task_uuid)
        if items is None:
            return None
        return Result(task_uuid.lower(), items, RecoveredBy.REPLAY)

    async def recovered(self) -> AsyncGenerator[Recovered]:
        """What dead processes left in the journal and nobody here asked for by its key.

        Each comes once it has ended. Ends when nothing of it runs any more; may be called again,
        for a process may die at any time. Needs a journal, otherwise there is nothing.
        """
        self._running()
        journal = self._journal
        while journal is not None and (left := await journal.next_left()) is not None:
            yield as_recovered(left)
            # Asking for the next one shows that this one was taken care of.
            journal.told(left)

    @property
    def journal(self) -> JournalKeeper | None:
        # For what is built on a client and must find its keys again after a crash: the gateway.
        return self._journal

    # Observing

    def events(self) -> EventStream:
        """The events from this moment on; see :mod:`runware_ws.events`."""
        return self._running().feed.subscribe()

    @property
    def session_uuid(self) -> str | None:
        """The server's session; ``None`` before the first connection."""
        return self._looked_at().core.session_uuid

    @property
    def connected(self) -> bool:
        """Whether there is an authenticated socket at this moment."""
        return self._looked_at().core.state is ConnectionState.READY

    def stats(self) -> Stats:
        """A snapshot of the client's counts and state. May be called from any thread."""
        return stats_of(self._looked_at().core)

    def dump(self, path: str | PathLike[str]) -> Path:
        """Write what the flight recorder holds to ``path``, which is replaced if it exists.

        A folder that exists gets a new file, and keeps the last eight. Returns where it is. The
        file shows no API key, and no words that were asked or answered unless
        ``flight_content`` is set. Blocks for some tenths of a second for 4 MiB; may be called
        from any thread, before, during and after the client's life.

        Raises:
            ConfigurationError: nothing is recorded: see ``flight_bytes``.
            OSError: the file cannot be written.
        """
        if self._flight is None:
            raise ConfigurationError("nothing is recorded: set flight_bytes=, or flight_folder=")
        return self._flight.dump(path)

    def __reduce__(self) -> NoReturn:
        self._keys.__reduce__()

    def _running(self) -> Driver:
        driver = self._driver
        if driver is None:
            if self._left:
                raise ClientClosed("the client is closed")
            raise ConfigurationError(NOT_STARTED)
        driver.home.check()
        return driver

    def _looked_at(self) -> Driver:
        """The driver, for reading only, which is safe in any thread."""
        if self._driver is None:
            raise ConfigurationError(NOT_STARTED)
        return self._driver

    def __repr__(self) -> str:
        state = self._driver.core.state.value if self._driver is not None else "not entered"
        return f"<Client {self._url} {state}>"
