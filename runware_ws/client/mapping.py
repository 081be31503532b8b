"""Many tasks with limited concurrency, and outcomes as they come: the engine of ``client.map``."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import anyio

from runware_ws._core.states import ConnectionState
from runware_ws._io.supervisor import Supervisor
from runware_ws.client.handle import ResultOrError, TaskHandle
from runware_ws.errors import (
    ClientClosed,
    ConfigurationError,
    RunwareError,
    Submitted,
    TaskCancelled,
)
from runware_ws.models.results import Result
from runware_ws.models.timing import UNTIMED, Moments, Timing

if TYPE_CHECKING:
    from runware_ws._io.driver import Driver

__all__ = ["Drawn", "MapRun", "MapSources", "Outcome", "run_map"]

_LOG = logging.getLogger("runware_ws")

T = TypeVar("T")

Drawn = tuple[T, str | None, Mapping[str, str] | None]
"""A task out of the source, with its key and its metadata."""

CLOSE_SOURCE = 5.0
"""How long a source may take to close when the reader leaves early, in seconds."""

TURN = 64
"""How many tasks are started, or outcomes returned, before other tasks get a turn."""


@dataclass(frozen=True, slots=True)
class Outcome(ResultOrError, Generic[T]):
    """How one task of a ``map`` ended: with ``result`` or with ``error``, never both.

    ``index`` is the task's place in the input, from 0; ``task`` is the input
    itself. ``task_uuid`` is ``None`` only if the task was refused before it
    got one. ``timing``: when it was written and ended, all ``None`` if it was refused.
    """

    index: int
    task: T
    task_uuid: str | None
    result: Result | None = None
    error: RunwareError | None = None
    moments: Moments = field(default=UNTIMED, repr=False, compare=False)

    @property
    def timing(self) -> Timing:
        """When it was submitted, written and done."""
        return Timing.of(self.moments)


class MapRun(Generic[T]):
    """The state of one ``map``: what runs, what is done, what is still to come.

    ``whole``: the number of tasks is known, and each must get an outcome, even if the
    client takes no more tasks.

    The source, ``key`` and ``metadata`` are the user's code. Whatever one of them raises ends the
    map in the same way: no more is started, and it is raised when the started tasks have ended.
    """

    def __init__(
        self,
        driver: Driver,
        submit: Callable[[Drawn[T], Callable[[TaskHandle], None]], TaskHandle],
        concurrency: int,
        *,
        whole: bool,
        key: Callable[[T], str | None] | None = None,
        metadata: Callable[[T], Mapping[str, str] | None] | None = None,
    ) -> None:
        self._driver = driver
        self._submit = submit
        self._key = key
        self._metadata = metadata
        self._concurrency = concurrency
        self._whole = whole
        self._count = 0
        self._refused = 0
        self._turn = TURN
        # Why no more tasks are taken; raised when the started ones have ended.
        self.broken: Exception | None = None
        self.running: dict[TaskHandle, tuple[int, T]] = {}
        # With the handle, if there is one: its answer is kept for claim() if nobody reads it.
        self.done: deque[tuple[Outcome[T], TaskHandle | None]] = deque()
        self._room = anyio.Event()
        self._wake = anyio.Event()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._driver.core.state is ConnectionState.CLOSED

    @property
    def room(self) -> int:
        """How many more tasks may be started."""
        if len(self.done) >= TURN:
            # With a large ``concurrency``, thousands of refusals must not pile up.
            return 0
        # Outcomes that are not read yet count too, so a slow reader slows the map down.
        return self._concurrency - len(self.running) - len(self.done)

    def draw(self, source: Iterator[T]) -> Drawn[T] | None:
        """The next task of a plain source; ``None`` if there is none, or if that failed."""
        try:
            task = next(source)
        except StopIteration:
            return None
        except (Exception, asyncio.CancelledError) as exc:
            self.fail(exc)
            return None
        return self.drawn(task)

    def drawn(self, task: T) -> Drawn[T] | None:
        """``task`` with its key and its metadata; ``None`` if that failed."""
        try:
            key = None if self._key is None else self._key(task)
            return task, key, None if self._metadata is None else self._metadata(task)
        except (Exception, asyncio.CancelledError) as exc:
            self.fail(exc)
            return None

    def fail(self, exc: Exception | asyncio.CancelledError) -> None:
        """Take no more tasks, because of what the user's code raised. Nothing cancelled it."""
        if self.broken is None:
            self.broken = exc if isinstance(exc, Exception) else _own_cancellation(exc)

    def start(self, drawn: Drawn[T]) -> None:
        """Start one task; a refusal is its outcome."""
        task = drawn[0]
        index, self._count = self._count, self._count + 1
        self._turn -= 1
        try:
            handle = self._submit(drawn, self._on_done)
        except ConfigurationError as exc:
            # Not of the task, but of its key or metadata, or of the caller's thread.
            self.fail(exc)
            self._wake.set()
        except RunwareError as exc:
            self.done.append((Outcome(index, task, exc.task_uuid, error=exc), None))
            self._wake.set()
            if not self._driver.core.accepting and not self._whole:
                # The source may be endless. One more task shows that there are more.
                self._refused += 1
                if self._refused > 1:
                    self.fail(self._over())
        else:
            self.running[handle] = (index, task)
            if handle.done:
                self._on_done(handle)

    def _over(self) -> RunwareError:
        failure = self._driver.core.failure
        if failure is not None:
            return copy(failure)
        return ClientClosed(
            f"the client takes no more tasks: only {self._count} were taken from the source"
        )

    def _on_done(self, handle: TaskHandle) -> None:
        if handle not in self.running:
            # A second try whose answer was here already: start() is not through with it.
            return
        index, task = self.running[handle]
        error = handle.error
        result = handle.outcome() if error is None else None
        outcome = Outcome(index, task, handle.uuid, result, error, handle.moments)
        self.done.append((outcome, handle))
        # In this order, because a reader in another thread must not see room that is not there.
        del self.running[handle]
        self._wake.set()

    def take(self) -> Outcome[T]:
        """Return the next outcome."""
        outcome, _ = self.done.popleft()
        self._turn -= 1
        self._room.set()
        return outcome

    @property
    def others_turn(self) -> bool:
        """Whether other tasks must have a turn first."""
        return self._turn <= 0

    async def turn(self) -> None:
        """Give other tasks a turn, if that is due."""
        if self.others_turn:
            self._turn = TURN
            await anyio.lowlevel.checkpoint()

    async def wait(self) -> None:
        """Wait until there is an outcome, or the source has ended."""
        self._driver.home.check()
        await self._wake.wait()
        if self._wake.is_set():
            # Otherwise another reader was here before, and may wait for the new one.
            self._wake = anyio.Event()

    async def wait_room(self) -> None:
        """Wait until one more task may be started, or would be refused."""
        while self.room <= 0 and self._driver.core.accepting:
            self._room = anyio.Event()
            await self._room.wait()

    def wake(self) -> None:
        """The source, or the map, has ended."""
        self._wake.set()

    async def advance(self, tasks: Iterable[Drawn[T]], *, more: bool) -> None:
        """Start ``tasks``. Unless there are ``more`` to start, wait until there is an outcome."""
        for drawn in tasks:
            self.start(drawn)
        while self.running and not self.done and not more:
            await self.wait()

    def leave(self) -> None:
        """Give up the running tasks, and keep unread answers for ``client.claim``."""
        for handle in list(self.running):
            handle.give_up()
        for _, ended in self.done:
            if ended is not None:
                ended.give_up()
        self.done.clear()


class MapSources:
    """The sources of one client's maps: the user's code, under a supervisor of its own, so that
    its failures do not end our tasks."""

    def __init__(self) -> None:
        self._supervisor: Supervisor | None = None

    def start(self, feed: Callable[[], Awaitable[None]]) -> None:
        """Run ``feed``, which reads a source."""
        if self._supervisor is None or self._supervisor.ended:
            self._supervisor = Supervisor("runware_ws map sources", lambda _: None)
        self._supervisor.start_soon(feed, name="runware_ws map source")

    def cancel(self) -> None:
        """Cancel what runs."""
        if self._supervisor is not None:
            self._supervisor.cancel()

    async def join(self) -> None:
        """Wait until it has ended; see :meth:`Supervisor.join`."""
        if self._supervisor is not None:
            await self._supervisor.join()


def run_map(
    run: MapRun[T],
    tasks: Iterable[T] | AsyncIterable[T],
    spawn: Callable[[Callable[[], Awaitable[None]]], bool],
) -> AsyncGenerator[Outcome[T]]:
    """Yield the outcome of each task as it comes.

    ``spawn`` runs a function in the background, or returns False if the client is closed.
    """
    return _Outcomes(run, _steps(run, tasks, spawn))


class _Outcomes(AsyncGenerator[Outcome[T]]):
    """The outcomes of a map. It waits out here, so several readers may wait at once.

    A wait that is cancelled leaves the map, as the end of a loop does. A generator would then seem
    to be exhausted: whoever reads on after ``asyncio.wait_for`` would lose the rest in silence.
    """

    def __init__(self, run: MapRun[T], steps: AsyncGenerator[Outcome[T] | None]) -> None:
        self._run = run
        self._steps = steps
        self._cancelled = False

    async def __anext__(self) -> Outcome[T]:
        while not self._cancelled:
            try:
                await self._run.turn()
                outcome = await anext(self._steps)
                if outcome is None and not self._run.others_turn:
                    await self._run.wait()
            except anyio.get_cancelled_exc_class():
                self._cancelled = True
                await self.aclose()
                raise
            if outcome is not None:
                return outcome
        raise TaskCancelled(
            "the map was left: a wait for its next outcome was cancelled",
            submitted=Submitted.MAYBE,
        )

    async def asend(self, value: None) -> Outcome[T]:
        return await anext(self)

    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> Outcome[T]:
        await self._steps.athrow(typ if val is None else val)
        return await anext(self)

    async def aclose(self) -> None:
        await self._steps.aclose()


async def _steps(
    run: MapRun[T],
    tasks: Iterable[T] | AsyncIterable[T],
    spawn: Callable[[Callable[[], Awaitable[None]]], bool],
) -> AsyncGenerator[Outcome[T] | None]:
    """One outcome after another; ``None`` where something must be waited for first."""
    feeder: _Feeder[T] | None = None
    source: Iterator[T] | None = None
    if isinstance(tasks, AsyncIterable):
        feeder = _Feeder(run, tasks)
        if not spawn(feeder.feed):
            # Every task is refused now, so at most two are taken.
            await feeder.feed()
    else:
        source = iter(tasks)
    try:
        while True:
            if run.others_turn:
                yield None
            elif source is not None and run.room > 0 and run.broken is None:
                drawn = run.draw(source)
                if drawn is None:
                    source = None
                else:
                    run.start(drawn)
            elif run.done:
                yield run.take()
            elif run.running or (feeder is not None and not feeder.finished):
                yield None
            elif run.broken is not None:
                raise run.broken
            else:
                return
    finally:
        if feeder is not None:
            feeder.scope.cancel()
        run.leave()
        run.wake()


class _Feeder(Generic[T]):
    """Reads an async source in the background, so that a slow one does not delay outcomes."""

    def __init__(self, run: MapRun[T], stream: AsyncIterable[T]) -> None:
        self._run = run
        self._stream = stream
        self.scope = anyio.CancelScope()
        self.finished = False

    async def feed(self) -> None:
        """Start one task after another, until the source ends or the reader leaves."""
        run = self._run
        # If neither the source nor the reader ends it, the client was closed.
        why: Exception | None = ClientClosed("the client was closed before all tasks were taken")
        source: AsyncIterator[T] | None = None
        try:
            with self.scope:
                source = aiter(self._stream)
                while run.broken is None:
                    await run.wait_room()
                    await run.turn()
                    drawn = run.drawn(await anext(source))
                    if drawn is not None:
                        run.start(drawn)
                why = run.broken
        except StopAsyncIteration:
            why = None
        except asyncio.CancelledError as exc:
            if run.closed:
                raise
            why = _own_cancellation(exc)
        except Exception as exc:
            why = exc
        finally:
            run.broken = run.broken or why
            self.finished = True
            run.wake()
            if isinstance(source, AsyncGenerator):
                await _close(cast("AsyncGenerator[T]", source))


async def _close(source: AsyncGenerator[Any]) -> None:
    with anyio.move_on_after(CLOSE_SOURCE, shield=True):
        try:
            await source.aclose()
        except Exception as exc:
            # The map is over, so nobody is left to raise this to.
            _LOG.warning(
                "the source of a map failed while it was being closed: %s", type(exc).__name__
            )


def _own_cancellation(exc: BaseException) -> RuntimeError:
    error = RuntimeError("the source or a function of a map ended with a cancellation of its own")
    error.__cause__ = exc
    return error
