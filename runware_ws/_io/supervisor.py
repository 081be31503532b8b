"""A task group that belongs to no caller.

An anyio group lives in the scope of the task that opens it: only that task may leave it, what
cancels that task cancels the group, and a crash of the group cancels that task. A client must
not depend on the task that happened to open it: fixtures, web framework dependencies and
notebook cells open it in one task and close it in another. So its group runs in a task of its
own. The task that closes it waits until all of it has ended, as at the end of a block.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from runware_ws._io.wakeups import Waiting, Wakeup, inside_a_task, running_on_trio

__all__ = ["OwnCancellation", "Supervisor", "apart", "is_cancelled"]

T = TypeVar("T")

_LOG = logging.getLogger("runware_ws")

_INSIDE: contextvars.ContextVar[tuple[Supervisor, ...]] = contextvars.ContextVar(
    "runware_ws supervisors", default=()
)
"""The supervisors that the running code is part of. It cannot wait for their end."""


class OwnCancellation(Exception):
    """A user's function raised ``CancelledError``, though nothing had cancelled it."""


_RUNNING: set[Supervisor] = set()
"""Keeps supervisors alive: asyncio holds only weak references to its tasks."""


class Supervisor:
    """Runs functions until it is cancelled, or until one of them raises.

    ``on_end`` is called once, when all of them have ended: with the exception that one of them
    raised, or with ``None`` if they were cancelled by :meth:`cancel` or by the end of the loop.
    """

    def __init__(self, name: str, on_end: Callable[[BaseException | None], None]) -> None:
        self._name = name
        self._on_end = on_end
        self._scope = anyio.CancelScope()
        self._group: TaskGroup | None = None
        # To be started by the supervisor's own task.
        self._later: deque[tuple[Callable[..., Awaitable[object]], tuple[object, ...], str]]
        self._later = deque()
        self._wakeup = Wakeup(Waiting.current())
        self._over = anyio.Event()
        self.ended = False
        self._task: asyncio.Task[None] | None = None
        self._open()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._scope.cancel_called

    def start_soon(self, func: Callable[..., Awaitable[object]], *args: object, name: str) -> None:
        """Run ``func(*args)`` outside the caller's scopes.

        Its context is the caller's where that is a task, once the group is open. A plain callback
        of the loop may call this as well, and plain code between two runs of the loop.
        """
        if self.ended:
            raise RuntimeError(f"{self._name} has ended")
        if self._group is None or not inside_a_task():
            # anyio's groups are for tasks: they ask which library the running one belongs to.
            self._later.append((func, args, name))
            self._wakeup.set()
        else:
            self._group.start_soon(self._child, func, args, name=name)

    def cancel(self) -> None:
        """Cancel all that runs. Idempotent."""
        self._scope.cancel()

    async def join(self) -> None:
        """Wait until everything has ended. Called from inside, it returns at once.

        A cancellation does not shorten the wait: it is raised when the wait is over.
        """
        if self in _INSIDE.get():
            return
        cancelled: BaseException | None = None
        while not self.ended:
            try:
                with anyio.CancelScope(shield=True):
                    await self._over.wait()
            except BaseException as exc:
                # From asyncio's own Task.cancel, which ignores shields.
                cancelled = exc
        if cancelled is not None:
            raise cancelled

    def _open(self) -> None:
        _RUNNING.add(self)
        if running_on_trio():
            import trio

            context = contextvars.copy_context()
            trio.lowlevel.spawn_system_task(self._run, name=self._name, context=context)
        else:
            task = asyncio.create_task(self._run(), name=self._name)
            # A task that is cancelled before its first step runs nothing, so watch for its end.
            self._task = task
            task.add_done_callback(lambda _task: self._finish(None))

    async def _run(self) -> None:
        crash: BaseException | None = None
        try:
            with self._scope:
                async with anyio.create_task_group() as self._group:
                    while True:
                        while self._later:
                            func, args, name = self._later.popleft()
                            self._group.start_soon(self._child, func, args, name=name)
                        await self._wakeup.wait()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as exc:
            # It goes no further: on trio it would end the whole program, and on asyncio nobody
            # would see it. ``on_end`` must tell those who wait.
            crash = exc
        finally:
            self._finish(crash)

    async def _child(
        self, func: Callable[..., Awaitable[object]], args: tuple[object, ...]
    ) -> None:
        _INSIDE.set((*_INSIDE.get(), self))
        await func(*args)

    def _finish(self, crash: BaseException | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._group = None
        _RUNNING.discard(self)
        try:
            self._on_end(crash)
        except Exception as exc:
            _LOG.error("%s: the end could not be reported: %s", self._name, type(exc).__name__)
        self._over.set()


async def apart(func: Callable[[], Awaitable[T]]) -> T:
    """Run a user's function in a task of its own, so that its cancellations are its own.

    Raises:
        OwnCancellation: it raised ``CancelledError``, and the cancellation was not ours.
        Exception: what it raises.
    """
    results: list[T] = []
    errors: list[Exception] = []

    async def call() -> None:
        try:
            results.append(await func())
        except Exception as exc:
            errors.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
    if errors:
        raise errors[0]
    if not results:
        raise OwnCancellation
    return results[0]


def is_cancelled() -> bool:
    """Whether somebody cancelled the running asyncio task.

    Otherwise a ``CancelledError`` is an error like any other: a user's code may await a future
    that was cancelled.
    """
    if running_on_trio():
        return False
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
