"""Many tasks, bounded, outcomes as they come: what ``client.map`` runs on."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from runware_ws.client.handle import TaskHandle
from runware_ws.errors import ClientClosed, RunwareError
from runware_ws.models.results import Result

__all__ = ["Outcome", "run_map"]

T = TypeVar("T")

CLOSE_SOURCE = 5.0
"""How long a source that is left early may take to close, in seconds."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How one task of a ``map`` ended: with ``result``, or with ``error``; never both.

    ``index`` is the task's place in the input, from 0; ``task`` the input
    itself. ``task_uuid`` is ``None`` only where the task was refused before it
    got one.
    """

    index: int
    task: T
    task_uuid: str | None
    result: Result | None = None
    error: RunwareError | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None

    def unwrap(self) -> Result:
        """The result; raises the error where there is none."""
        if self.error is not None:
            # A copy: the traceback of this one would lead to itself.
            raise copy(self.error)
        assert self.result is not None
        return self.result


class _Run(Generic[T]):
    """The state of one ``map``: what runs, what is done, what is still to come."""

    def __init__(
        self, submit: Callable[[T, Callable[[TaskHandle], None]], TaskHandle], concurrency: int
    ) -> None:
        self._submit = submit
        self._concurrency = concurrency
        self._count = 0
        self.broken: Exception | None = None
        self.room = _Signal()
        self.running: dict[TaskHandle, tuple[int, T]] = {}
        self.done: deque[Outcome[T]] = deque()
        self.wake = anyio.Event()

    @property
    def full(self) -> bool:
        # What the reader has not taken counts too: a slow reader slows the map down.
        return len(self.running) + len(self.done) >= self._concurrency

    def fill(self, source: Iterator[T]) -> None:
        """Start as many tasks of ``source`` as there is room for."""
        while not self.full and self.broken is None:
            try:
                task = next(source)
            except StopIteration:
                return
            except Exception as exc:
                # What was started ends first; then this is raised.
                self.broken = exc
                return
            self.start(task)

    def start(self, task: T) -> None:
        index, self._count = self._count, self._count + 1
        try:
            handle = self._submit(task, self._on_done)
        except RunwareError as exc:
            self.done.append(Outcome(index, task, exc.task_uuid, error=exc))
            self.wake.set()
        else:
            self.running[handle] = (index, task)

    def _on_done(self, handle: TaskHandle) -> None:
        index, task = self.running.pop(handle)
        error = handle.error
        result = handle.outcome() if error is None else None
        self.done.append(Outcome(index, task, handle.uuid, result, error))
        self.wake.set()

    async def wait(self) -> None:
        await self.wake.wait()
        self.wake = anyio.Event()

    def cancel(self) -> None:
        for handle in list(self.running):
            handle.cancel()


async def run_map(
    tasks: Iterable[T] | AsyncIterable[T],
    concurrency: int,
    submit: Callable[[T, Callable[[TaskHandle], None]], TaskHandle],
    open_group: Callable[[], TaskGroup | None],
) -> AsyncGenerator[Outcome[T]]:
    """Yield the outcome of each task as it comes; at most ``concurrency`` at once."""
    run: _Run[T] = _Run(submit, concurrency)
    feeder: _Feeder[T] | None = None
    source: Iterator[T] = iter(())
    if isinstance(tasks, AsyncIterable):
        feeder = _Feeder(run, tasks)
        group = open_group()
        if group is None:
            await feeder.feed()
        else:
            group.start_soon(feeder.feed, name="runware_ws map source")
    else:
        source = iter(tasks)
    try:
        while True:
            run.fill(source)
            if run.done:
                outcome = run.done.popleft()
                run.room.set()
                yield outcome
            elif run.running or (feeder is not None and not feeder.finished):
                await run.wait()
            elif run.broken is not None:
                raise run.broken
            else:
                return
    finally:
        if feeder is not None:
            feeder.scope.cancel()
        run.cancel()


class _Feeder(Generic[T]):
    """Reads an async source: a slow one must not hold back the outcomes."""

    def __init__(self, run: _Run[T], stream: AsyncIterable[T]) -> None:
        self._run = run
        self._stream = stream
        self.scope = anyio.CancelScope()
        self.finished = False

    async def feed(self) -> None:
        run, source = self._run, aiter(self._stream)
        whole = False
        try:
            with self.scope:
                async for task in source:
                    while run.full:
                        await run.room.wait()
                        run.room.clear()
                    run.start(task)
                whole = True
        except Exception as exc:
            run.broken = exc
        finally:
            if not whole and run.broken is None:
                # Cancelled from outside: the client went away, and the rest never ran.
                run.broken = ClientClosed("the client was closed before all tasks were taken")
            self.finished = True
            run.wake.set()
            if isinstance(source, AsyncGenerator):
                with anyio.move_on_after(CLOSE_SOURCE, shield=True):
                    await source.aclose()


class _Signal:
    """An event that can be cleared."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event = anyio.Event()

    async def wait(self) -> None:
        await self._event.wait()
