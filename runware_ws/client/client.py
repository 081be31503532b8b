"""The public verbs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from copy import copy
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import anyio
from anyio.abc import TaskGroup

from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._core.tasks.deltas import Deltas
from runware_ws._core.tasks.durations import Durations
from runware_ws._core.tasks.record import FOREVER, SOURCE_RANK, Carrier, TaskRecord
from runware_ws._io.driver import Driver
from runware_ws._io.feed import EventStream
from runware_ws._io.keys import ApiKey, KeySource
from runware_ws._io.posts import carrier_of
from runware_ws._io.transport.base import Dial, HttpPost
from runware_ws._io.transport.websocket import dial as websocket_dial
from runware_ws.client.handle import TaskHandle, outcome_of
from runware_ws.client.mapping import Outcome, run_map
from runware_ws.client.streams import TaskStream
from runware_ws.config import Config, check_url, default_url
from runware_ws.errors import ClientClosed, ConfigurationError, ConnectionFailed, InvalidTask
from runware_ws.messages import Messages
from runware_ws.models import RecoveredBy, Result, TextInference, ValidatedTask, validate_task
from runware_ws.stats import Stats

__all__ = ["Client", "DrainReport", "Task"]

Task = TextInference | Mapping[str, Any]
"""What can be run: a request model, or a plain dict in the wire's spelling."""

T = TypeVar("T", bound=Task)


def _as_stream(task: Task) -> Task:
    if isinstance(task, TextInference):
        return task.model_copy(update={"delivery_method": "stream"})
    return {**task, "deliveryMethod": "stream"}


def _whole(task: Task) -> ValidatedTask:
    """A task whose answer is read as a whole."""
    valid = validate_task(task)
    if valid.delivery == "stream":
        raise InvalidTask(
            "deliveryMethod: a stream is read with client.stream(task)",
            problems=("deliveryMethod: 'stream' needs client.stream",),
            task_uuid=valid.uuid,
        )
    return valid


class _Unset:
    def __repr__(self) -> str:
        return "the client's own"


UNSET = _Unset()


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

    Use it as ``async with Client() as client``, once, in one event loop
    (asyncio or trio). Entering does not wait for the server: the first task
    does, and :meth:`ready` can. One client may be shared by any number of
    tasks of that loop; it is not thread-safe.

    Args:
        url: the socket; the service's own by default.
        api_key: the key, or a plain or async function that fetches it for each
            dial; ``None``: the environment variable ``RUNWARE_API_KEY``.
        config: options; the defaults where ``None``.
        dial: opens sockets; ``None``: the ``websockets`` library.
        post: posts streams over HTTP; ``None``: the HTTP client of the extra ``sse``, where
            it is installed and ``dial`` is not given, or ``http_url`` is.
        options: single fields of :class:`Config`, e.g. ``max_in_flight=500``.

    Raises:
        ConfigurationError: no key, a URL over which the key would travel in
            clear, an unknown option, or a bad value.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: ApiKey = None,
        config: Config | None = None,
        dial: Dial | None = None,
        post: HttpPost | None = None,
        **options: Any,
    ) -> None:
        self._config = Config.build(config, options)
        self._url = check_url(
            default_url() if url is None else url, allow_insecure=self._config.allow_insecure
        )
        self._keys = KeySource(api_key)
        self._dial = dial or websocket_dial
        self._durations = Durations()
        self._driver: Driver | None = None
        self._stack = AsyncExitStack()
        self._entered = False
        self._left = False
        if post is None:
            carrier = carrier_of(self._url, self._config, own_dial=dial is not None)
            if carrier is not None:
                self._stack.push_async_callback(carrier.aclose)
                post = carrier
        self._post = post

    # Life

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConfigurationError("a Client can be entered once: make a new one")
        self._entered = True
        self._driver = Driver(self._url, self._keys, self._config, self._dial, self._post)
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._driver.start(self._tasks)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        driver = self._running()
        try:
            await self.aclose()
        finally:
            driver.close()
            self._left = True
            self._tasks.cancel_scope.cancel()
            await self._stack.__aexit__(None, None, None)

    async def aclose(self) -> None:
        """Close. Every pending task ends with :class:`ClientClosed`. Idempotent.

        Bounded by ``close_timeout`` seconds, with a dead peer too. Cancelled,
        it drops the socket without the closing handshake.
        """
        driver = self._running()
        driver.close()
        try:
            await driver.stopped.wait()
        except BaseException:
            driver.abort()
            raise

    async def drain(self, timeout: float | None = None) -> DrainReport:
        """Take no new task, and wait for those in flight, over reconnects too.

        Args:
            timeout: seconds; ``None``: as long as the tasks' own deadlines allow.

        Returns:
            What finished meanwhile and what did not. Nothing is cancelled: close
            the client, or drain again. Idempotent; cancel-safe.
        """
        driver = self._running()
        driver.drain()
        before = driver.core.pending
        with anyio.move_on_after(timeout):
            while driver.core.pending:
                await driver.wait_changed()
        unfinished = driver.core.pending_uuids()
        return DrainReport(before - len(unfinished), unfinished)

    async def ready(self, timeout: float | None = None) -> None:
        """Wait until the connection is authenticated. Cancel-safe.

        Args:
            timeout: seconds; ``None``: as long as it takes.

        Raises:
            AuthenticationError: the key is refused.
            ConnectionFailed: not within ``timeout``, or never.
            ClientClosed: the client was closed.
        """
        driver = self._running()
        core = driver.core
        with anyio.move_on_after(timeout):
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

    async def run(self, task: Task, *, timeout: float | _Unset | None = UNSET) -> Result:
        """Run one task and return its whole result.

        Args:
            task: a :class:`TextInference`, or a dict of any taskType.
            timeout: seconds, wall to wall over admission, dial, resend and
                polls; ``None``: no limit; by default the client's own.

        Cancelled, it gives the task up: the server may still run it, and its
        result waits for :meth:`claim`.

        Raises:
            InvalidTask: refused before the wire.
            TaskError: the server's verdict.
            TaskTimeout: the deadline passed.
            OutcomeUnknown: the deadline passed and the truth cannot be known.
            AuthenticationError, ConnectionFailed, ProtocolError: the client ended.
            ClientClosed: closed or draining.
        """
        driver = self._running()
        now = driver.now()
        waiter = driver.waiting.waiter()
        record = self._record(_whole(task), self._deadline(timeout, now), now, waiter=waiter)
        driver.submit(record)
        try:
            await waiter
        except BaseException:
            # The answer may have met the cancellation half-way: then nobody else has it.
            driver.give_up(record)
            raise
        return outcome_of(record)

    async def submit(self, task: Task, *, timeout: float | _Unset | None = UNSET) -> TaskHandle:
        """Hand a task over; returns once there is room for it in flight.

        Arguments and exceptions are those of :meth:`run`; what ends the task
        later is raised by the handle. Cancelled while it waits for room, it
        takes the task back: nothing was sent.
        """
        handle = self._start(task, timeout)
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
        carrier: Literal["auto", "socket", "sse"] = "auto",
        timeout: float | _Unset | None = UNSET,
    ) -> TaskStream:
        """Run one task and read its answer as it is made.

        Use it as ``async with client.stream(task) as stream``, and iterate
        ``stream`` for :class:`Delta` pieces; ``await stream.result()`` is the whole.
        ``deliveryMethod`` is set to ``"stream"``. A server that answers with one
        whole result yields it as one delta. Other arguments and exceptions are those
        of :meth:`run`, and :class:`StreamInterrupted`.

        Args:
            carrier: ``"sse"``: server-sent events over HTTP, which is what Runware
                documents (needs the extra ``sse``; ``http_url`` tells where).
                ``"socket"``: deltas pushed over the socket; whether the service does
                that is unsure. ``"auto"``: ``"sse"`` where the extra is installed, and the
                socket where it is not, where ``dial=`` is given without ``post=`` or
                ``http_url=``, or where the server says that it has no HTTP side (event
                ``NoHttpSide``). ``stream.carrier`` says which it is.
        """
        driver = self._running()
        valid = validate_task(_as_stream(task))
        now = driver.now()
        deltas = Deltas()
        record = self._record(
            valid,
            self._deadline(timeout, now),
            now,
            deltas=deltas,
            carrier=self._carrier(carrier),
            watched=True,
        )
        return TaskStream(record, deltas, self._submit)

    def _carrier(self, wanted: str) -> Carrier:
        if wanted not in ("auto", "socket", "sse"):
            raise ConfigurationError(f"carrier must be 'auto', 'socket' or 'sse', not {wanted!r}")
        if wanted == "sse" and self._post is None:
            raise ConfigurationError(
                "a stream over HTTP needs an extra: pip install 'runware-ws[sse]'"
                if self._dial is websocket_dial
                else "a client with dial= of its own streams over HTTP with post= or http_url="
            )
        if wanted == "socket" or self._post is None:
            return Carrier.SOCKET
        return Carrier.HTTP if wanted == "sse" else Carrier.EITHER

    @property
    def messages(self) -> Messages:
        """The Messages shape of Anthropic: ``await client.messages.create(...)``."""
        return Messages(self)

    def map(
        self,
        tasks: Iterable[T] | AsyncIterable[T],
        *,
        concurrency: int = 100,
        timeout: float | _Unset | None = UNSET,
    ) -> AsyncGenerator[Outcome[T]]:
        """Run many tasks, at most ``concurrency`` at once; outcomes come as tasks end.

        A task that is refused or fails is an outcome with ``error``, and the
        others go on. ``tasks`` may be endless, or an async iterable. Leaving the
        loop early cancels what still runs once the iterator is closed (use
        ``contextlib.aclosing`` to have that at once).

        Args:
            timeout: seconds for each task, as in :meth:`run`.
        """
        if concurrency < 1:
            raise ConfigurationError(f"concurrency must be 1 or more, not {concurrency!r}")
        self._running()

        def submit(task: T, on_done: Callable[[TaskHandle], None]) -> TaskHandle:
            return self._start(task, timeout, on_done)

        return run_map(tasks, concurrency, submit, self._open_group)

    def _start(
        self,
        task: Task,
        timeout: float | _Unset | None,
        on_done: Callable[[TaskHandle], None] | None = None,
    ) -> TaskHandle:
        now = self._running().now()
        # A map looks at its tasks only when they have ended.
        watched = on_done is None
        record = self._record(_whole(task), self._deadline(timeout, now), now, watched=watched)
        return self._submit(record, on_done)

    def _deadline(self, timeout: float | _Unset | None, now: float) -> float:
        seconds = self._config.timeout if isinstance(timeout, _Unset) else timeout
        if seconds is not None and not 0 < seconds < FOREVER:
            raise ConfigurationError(f"timeout must be positive seconds or None, not {seconds!r}")
        return FOREVER if seconds is None else now + seconds

    def _record(self, valid: ValidatedTask, deadline: float, now: float, **more: Any) -> TaskRecord:
        return TaskRecord(
            valid.uuid,
            valid.task_type,
            valid.payload,
            delivery=valid.delivery,
            expected=valid.number_results,
            deadline=deadline,
            learned=self._durations.of(f"{valid.task_type}|{valid.model}|{valid.delivery}"),
            now=now,
            **more,
        )

    def _submit(
        self, record: TaskRecord, on_done: Callable[[TaskHandle], None] | None = None
    ) -> TaskHandle:
        driver = self._running()
        handle = TaskHandle(record, driver, on_done)
        record.attach(handle)
        driver.submit(record)
        return handle

    def claim(self, task_uuid: str) -> Result | None:
        """Hand out, once, what came too late for its caller, or for nobody.

        Returns ``None`` where nothing came (yet), or where it was dropped: the
        store holds ``claim_limit`` tasks and ``claim_bytes`` bytes.
        """
        items = self._running().core.claim(task_uuid)
        if items is None:
            return None
        return Result(task_uuid.lower(), items, RecoveredBy.REPLAY)

    # Looking on

    def events(self) -> EventStream:
        """The events from this moment on; see :mod:`runware_ws.events`."""
        return self._running().feed.subscribe()

    @property
    def session_uuid(self) -> str | None:
        """The server's session; ``None`` before the first connection."""
        return self._running().core.session_uuid

    @property
    def connected(self) -> bool:
        """Whether there is an authenticated socket at this moment."""
        return self._running().core.state is ConnectionState.READY

    def stats(self) -> Stats:
        """A snapshot of what the client did and does."""
        core = self._running().core
        counts = core.counters
        return Stats(
            submitted=counts.submitted,
            answered=counts.ends[TaskState.DONE],
            failed=counts.ends[TaskState.FAILED],
            timed_out=counts.ends[TaskState.TIMED_OUT],
            cancelled=counts.ends[TaskState.CANCELLED],
            unknown=counts.ends[TaskState.UNKNOWN],
            closed=counts.ends[TaskState.CLOSED],
            recovered_by={
                source.value: counts.sources[rank]
                for source, rank in SOURCE_RANK.items()
                if counts.sources[rank]
            },
            pending=core.pending,
            in_flight=core.in_flight,
            state=core.state.value,
            session_uuid=core.session_uuid,
            dials=counts.dials,
            connections=counts.connections,
            reconnects=max(0, counts.connections - 1),
            resumes=counts.resumes,
            sessions_lost=counts.sessions_lost,
            frames_in=counts.frames_in,
            frames_out=counts.frames_out,
            bytes_in=counts.bytes_in,
            bytes_out=counts.bytes_out,
            pings=counts.pings,
            polls=counts.polls,
            archive_questions=counts.archive_questions,
            resends=counts.resends,
            receipts=counts.receipts,
            duplicates=counts.duplicates,
            strays=counts.strays,
            malformed=counts.malformed,
            notices=counts.notices,
        )

    def _open_group(self) -> TaskGroup | None:
        """The task group, ``None`` once it is closed."""
        return None if self._left else self._tasks

    def _running(self) -> Driver:
        if self._driver is None:
            raise ConfigurationError("use the client as: async with Client() as client")
        return self._driver

    def __repr__(self) -> str:
        state = self._driver.core.state.value if self._driver is not None else "not entered"
        return f"<Client {self._url} {state}>"
