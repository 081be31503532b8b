"""The clock of the running async library, and waiters that are woken once.

anyio looks up the running library on every call. With thousands of tasks a second
that costs more than all of the routing, so it is done once, when the client
starts.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any

from runware_ws.errors import ConfigurationError

if TYPE_CHECKING:
    import trio

__all__ = [
    "Home",
    "Waiter",
    "Waiting",
    "Wakeup",
    "caller_from_threads",
    "inside_a_task",
    "running_on_trio",
]

Waiter = Awaitable[Any]
"""What one task awaits until :attr:`Waiting.wake` is called on it."""


class _TrioWaiter:
    __slots__ = ("event",)

    def __init__(self, event: trio.Event) -> None:
        self.event = event

    def __await__(self) -> Generator[Any, Any, None]:
        return self.event.wait().__await__()


def _wake_future(future: asyncio.Future[None]) -> None:
    # It is already done if the waiting task was cancelled.
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """``now()``: the library's monotonic clock, in seconds.

    ``waiter()``: something for one task to await. ``wake(waiter)``: wake that task, now or as soon
    as it awaits; harmless if it was already woken or cancelled.
    """

    now: Callable[[], float]
    waiter: Callable[[], Waiter]
    wake: Callable[[Any], None]

    @staticmethod
    def current() -> Waiting:
        """The functions of the library that the caller runs under."""
        if running_on_trio():
            import trio

            return Waiting(
                trio.current_time,
                lambda: _TrioWaiter(trio.Event()),
                lambda waiter: waiter.event.set(),
            )
        loop = asyncio.get_running_loop()
        return Waiting(loop.time, loop.create_future, _wake_future)


class Home:
    """Where a client lives: the event loop, and the thread, in which it was started."""

    __slots__ = ("_current", "_loop", "_running", "_thread")

    def __init__(self) -> None:
        self._thread = get_ident()
        self._loop: object
        if running_on_trio():
            from trio.lowlevel import current_trio_token, in_trio_run

            self._current = _current_trio
            self._loop = loop = current_trio_token()
            self._running: Callable[[], bool] = lambda: (
                in_trio_run() and current_trio_token() is loop
            )
        else:
            running = asyncio.get_running_loop()
            self._current = _current_asyncio
            self._loop = running
            # A thread runs one loop at a time. Asking which one would cost a system call.
            self._running = running.is_running

    def check(self) -> None:
        """Check that the caller runs in the client's event loop and thread.

        Raises:
            ConfigurationError: it runs in another event loop or thread.
        """
        if get_ident() != self._thread or not self._running():
            self._check_closely()

    def _check_closely(self) -> None:
        current = self._current()
        if current is self._loop:
            return
        if current is None and get_ident() == self._thread and not running_on_trio():
            # Plain code between two runs of the loop, as between the cells of a notebook.
            return
        raise ConfigurationError(
            "this client belongs to another event loop or thread: create one for each loop, "
            "or use a SyncClient for threads"
        )


def _current_asyncio() -> object | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _current_trio() -> object | None:
    import trio

    return trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else None


class Wakeup:
    """Wakes the one task that waits, if there is one.

    A call without a waiter is not remembered: check for work before you wait.
    """

    __slots__ = ("_waiter", "_waiting")

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._waiter: Waiter | None = None

    def set(self) -> None:
        """Wake the task that waits."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._waiting.wake(waiter)

    def wait(self) -> Waiter:
        """Something to await at once. Cancel-safe."""
        self._waiter = self._waiting.waiter()
        return self._waiter


def caller_from_threads() -> Callable[[Callable[[], None]], None]:
    """A function that runs another one soon in the running loop, and may be called in any thread.

    Once the loop has ended it does nothing.
    """
    if running_on_trio():
        import trio

        run: Callable[[Callable[[], None]], object]
        run = trio.lowlevel.current_trio_token().run_sync_soon
        ended: type[Exception] = trio.RunFinishedError
    else:
        run = asyncio.get_running_loop().call_soon_threadsafe
        ended = RuntimeError

    def call_soon(function: Callable[[], None]) -> None:
        with suppress(ended):
            run(function)

    return call_soon


def inside_a_task() -> bool:
    """Whether a task runs, and not a plain callback of the loop, or plain code between two runs of
    it. Under trio all runs in tasks."""
    if running_on_trio():
        return True
    return _current_asyncio() is not None and asyncio.current_task() is not None


def running_on_trio() -> bool:
    """Whether the caller runs under trio (also when trio is a guest of another loop)."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())
