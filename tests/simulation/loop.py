"""An asyncio event loop in virtual time: when nothing is ready, the clock jumps to the next timer.

asyncio runs what is ready in the order in which it became ready, so a program
without real I/O runs the same way each time. Tasks hash by their number, for
sets of tasks (anyio keeps some) would otherwise be walked in the order of
memory addresses.
"""

from __future__ import annotations

import asyncio
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["BusyLoop", "Deadlock", "VirtualLoop", "run"]

T = TypeVar("T")

BUSY = 20_000
"""So many rounds of the loop without time passing are a busy loop."""

MOST_ROUNDS = 2_000_000

DAY = 86_400.0
"""Nobody waits so long; and who sleeps for ever has a timer at infinity."""


class Deadlock(BaseException):
    """Nothing is ready and nothing is scheduled: everybody waits for ever."""


class BusyLoop(BaseException):
    """The program runs without getting anywhere."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Selector:
    """Where asyncio would wait for sockets."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.pass_time(timeout)
        return []

    def close(self) -> None:
        pass


class VirtualLoop(BaseEventLoop):
    """The loop. ``now`` is in seconds; :meth:`suspend` lets time pass while nobody runs."""

    def __init__(self, start: float = 1000.0) -> None:
        super().__init__()
        self._selector = _Selector(self)
        self.now = start
        self.rounds = 0
        self._idle_rounds = 0
        self._numbers = 0
        # What does not stand still with this program has to be done before it does.
        self.before_suspension: list[Callable[[], None]] = []
        self.set_task_factory(self._make_task)

    def _make_task(
        self, _loop: asyncio.AbstractEventLoop, coro: Any, **options: Any
    ) -> asyncio.Task[Any]:
        self._numbers += 1
        return _Task(self._numbers, coro, loop=self, **options)

    def time(self) -> float:
        return self.now

    def suspend(self, seconds: float) -> None:
        """Time passes, and nobody runs: a blocked loop, or a laptop that sleeps."""
        for each in self.before_suspension:
            each()
        self.now += seconds

    def pass_time(self, timeout: float | None) -> None:
        """Nothing is ready before ``timeout`` has passed.

        Raises:
            Deadlock: nothing ever will be.
            BusyLoop: too many rounds.
        """
        self.rounds += 1
        self._idle_rounds += 1
        if timeout is None or timeout >= DAY:
            raise Deadlock("nothing is ready, and nothing is scheduled within a day")
        if timeout > 0:
            self.now += timeout
            self._idle_rounds = 0
        if self._idle_rounds > BUSY or self.rounds > MOST_ROUNDS:
            raise BusyLoop(f"{self._idle_rounds} rounds at {self.now}, {self.rounds} in all")

    # What BaseEventLoop asks of a loop that waits for sockets.

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run ``main`` to its end on ``loop``, and close the loop.

    Raises:
        Deadlock, BusyLoop: see there; what still runs is dropped.
    """
    task = loop.create_task(main)
    try:
        return loop.run_until_complete(task)
    finally:
        loop.set_exception_handler(lambda _loop, _context: None)
        with suppress(BaseException):
            _cancel_all(loop)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    """What still runs after a failure must not be torn down by the garbage collector."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
