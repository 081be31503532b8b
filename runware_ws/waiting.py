"""The running library's own clock and one-shot events.

anyio's look up the running library on every call; with thousands of tasks a
second that look-up costs more than all of the routing. So it is done once,
when the client starts.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["OneShot", "Waiting", "running_on_trio"]


class OneShot(Protocol):
    """Wakes the one task that awaits ``wait()``, once."""

    def set(self) -> None: ...

    def wait(self) -> Awaitable[Any]: ...


class _AsyncioOneShot:
    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def set(self) -> None:
        # Done already where the waiting task was cancelled.
        if not self._future.done():
            self._future.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        return self._future


@dataclass(frozen=True, slots=True)
class Waiting:
    """``now()``: the library's monotonic clock, in seconds. ``one_shot()``: a fresh event."""

    now: Callable[[], float]
    one_shot: Callable[[], OneShot]

    @staticmethod
    def current() -> Waiting:
        """Those of the library that the caller runs under."""
        if running_on_trio():
            import trio

            return Waiting(trio.current_time, trio.Event)
        loop = asyncio.get_running_loop()
        return Waiting(loop.time, lambda: _AsyncioOneShot(loop))


def running_on_trio() -> bool:
    """Whether the caller runs under trio (also where trio is a guest of another loop)."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())
