"""The running library's own clock, and waiters that are woken once.

anyio's look up the running library on every call; with thousands of tasks a
second that look-up costs more than all of the routing. So it is done once,
when the client starts.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trio

__all__ = ["Bell", "Waiter", "Waiting", "running_on_trio"]

Waiter = Awaitable[Any]
"""What one task awaits, until :attr:`Waiting.wake` is called on it."""


class _TrioWaiter:
    __slots__ = ("event",)

    def __init__(self, event: trio.Event) -> None:
        self.event = event

    def __await__(self) -> Generator[Any, Any, None]:
        return self.event.wait().__await__()


def _wake_future(future: asyncio.Future[None]) -> None:
    # Done already where the waiting task was cancelled.
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """``now()``: the library's monotonic clock, in seconds.

    ``waiter()``: something for one task to await. ``wake(waiter)``: wake that task, now or as soon
    as it awaits; harmless where it was woken, or cancelled, before.
    """

    now: Callable[[], float]
    waiter: Callable[[], Waiter]
    wake: Callable[[Any], None]

    @staticmethod
    def current() -> Waiting:
        """Those of the library that the caller runs under."""
        if running_on_trio():
            import trio

            return Waiting(
                trio.current_time,
                lambda: _TrioWaiter(trio.Event()),
                lambda waiter: waiter.event.set(),
            )
        loop = asyncio.get_running_loop()
        return Waiting(loop.time, loop.create_future, _wake_future)


class Bell:
    """Wakes the one task that waits, where one does.

    A ring is not remembered: whoever waits has looked first whether there is something to do.
    """

    __slots__ = ("_waiter", "_waiting")

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._waiter: Waiter | None = None

    def ring(self) -> None:
        """Wake the task that waits."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._waiting.wake(waiter)

    def wait(self) -> Waiter:
        """To be awaited at once. Cancel-safe."""
        self._waiter = self._waiting.waiter()
        return self._waiter


def running_on_trio() -> bool:
    """Whether the caller runs under trio (also where trio is a guest of another loop)."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())
