"""One heap for everything that the emulator does later."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import anyio
import anyio.lowlevel

__all__ = ["Timer", "Timers"]


class Timer:
    """One appointment. :meth:`cancel` makes it do nothing."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Forget the action. Safe to call twice, and after the action ran."""
        self._action = None

    def fire(self) -> None:
        """Run the action once, unless cancelled."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Timers:
    """A heap of appointments that a single anyio task serves.

    Thousands of delayed results would otherwise be as many anyio tasks.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._wake = anyio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def now(self) -> float:
        """The time that appointments are made in, in seconds."""
        return anyio.current_time()

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Run ``action`` in ``seconds``. Appointments for one moment keep their order."""
        timer = Timer(action)
        entry = (self.now() + max(0.0, seconds), next(self._order), timer)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._wake.set()
        return timer

    def clear(self) -> None:
        """Drop all appointments."""
        self._heap.clear()

    async def run(self) -> None:
        """Serve the heap until cancelled."""
        while True:
            now = self.now()
            while self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2].fire()
            self._wake = anyio.Event()
            if not self._heap:
                await self._wake.wait()
                continue
            pause = self._heap[0][0] - self.now()
            if pause > 0:
                with anyio.move_on_after(pause):
                    await self._wake.wait()
            else:
                await anyio.lowlevel.checkpoint()
