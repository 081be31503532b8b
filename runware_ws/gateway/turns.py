"""Who may start a task, and when: turns among callers, and the limits of each. No I/O."""

from __future__ import annotations

from collections import OrderedDict, deque

import anyio

from runware_ws.gateway.callers import GatewayCaller
from runware_ws.gateway.error_table import GatewayRefusal

__all__ = ["CallerUse", "Turns"]

_BURST = 10.0
"""A caller who was quiet may make up for so many seconds of its rate at once."""

_ROUNDING = 1e-9
"""By so much, relatively, may sums be off: ten times 0.1 is less than 1."""


class Turns:
    """At most ``limit`` tasks at once. Beyond that each caller who waits gets the next turn in its
    turn, however many requests it has waiting. ``draining``: no new task is to begin."""

    def __init__(self, limit: int, most_waiting: int) -> None:
        self._limit = limit
        self._most_waiting = most_waiting
        self.running = 0
        self.waiting = 0
        self.draining = False
        # By caller; the first one is next.
        self._queues: OrderedDict[str, deque[anyio.Event]] = OrderedDict()

    async def take(self, caller: str) -> None:
        """Wait for a turn; give it back with :meth:`give`. Cancelled, it leaves the queue.

        Raises:
            GatewayRefusal: too many are waiting.
        """
        if self.running < self._limit and not self._queues:
            self.running += 1
            return
        if self.waiting >= self._most_waiting:
            raise GatewayRefusal(
                *(529, "overloaded_error", "too many requests wait for their turn here"),
                should_retry=True,
                retry_after=1.0,
            )
        turn = anyio.Event()
        self._queues.setdefault(caller, deque()).append(turn)
        self.waiting += 1
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.give()
            else:
                self._drop(caller, turn)
            raise

    def give(self) -> None:
        """A task has ended: the next one's turn."""
        self.running -= 1
        while self._queues and self.running < self._limit:
            caller, queue = self._queues.popitem(last=False)
            queue.popleft().set()
            self.running += 1
            self.waiting -= 1
            if queue:
                self._queues[caller] = queue

    def _drop(self, caller: str, turn: anyio.Event) -> None:
        self.waiting -= 1
        queue = self._queues[caller]
        queue.remove(turn)
        if not queue:
            del self._queues[caller]


class CallerUse:
    """What one caller uses at the moment, and what it has spent. ``cost``: US dollars, as results
    report them, of what stands in no journal. ``recorded``: the same by journal, as it was read
    last."""

    def __init__(self, caller: GatewayCaller, now: float) -> None:
        self.caller = caller
        self.running = 0
        self.cost = 0.0
        self.recorded: dict[object, float] = {}
        self._credit = self._most_credit
        self._credited_at = now

    @property
    def _most_credit(self) -> float:
        rate = self.caller.requests_per_minute
        return max(1.0, (rate or 0.0) / 60 * _BURST)

    def enter(self, now: float | None) -> None:
        """A task of this caller is about to start; :meth:`leave` when it has ended.

        ``now``: the event loop's time; ``None``: it was begun before, so no limit counts.

        Raises:
            GatewayRefusal: a limit is reached.
        """
        if now is not None:
            self._check_limits(now)
        self.running += 1

    def _check_limits(self, now: float) -> None:
        caller = self.caller
        spent = self.cost + sum(self.recorded.values())
        if caller.budget is not None and spent >= caller.budget * (1 - _ROUNDING):
            raise GatewayRefusal(
                *(402, "billing_error"),
                f"the budget of {caller.name!r}, {caller.budget:g} dollars, is spent: "
                "raise it in the file of callers",
            )
        if caller.max_concurrency is not None and self.running >= caller.max_concurrency:
            raise GatewayRefusal(
                *(429, "rate_limit_error"),
                f"{caller.name!r} may have {caller.max_concurrency} tasks at once",
                should_retry=True,
                retry_after=0.5,
            )
        self._take_credit(now)

    def _take_credit(self, now: float) -> None:
        rate = self.caller.requests_per_minute
        if rate is None:
            return
        gained = (now - self._credited_at) * rate / 60
        self._credit = min(self._most_credit, self._credit + gained)
        self._credited_at = now
        if self._credit < 1.0 - _ROUNDING:
            raise GatewayRefusal(
                *(429, "rate_limit_error"),
                f"{self.caller.name!r} may start {rate:g} tasks a minute",
                should_retry=True,
                retry_after=(1.0 - self._credit) * 60 / rate,
            )
        self._credit -= 1.0

    def leave(self, *, uncounted: bool = False) -> None:
        """A task has ended; ``uncounted``: it did not start, so the rate counts it no more."""
        self.running -= 1
        if uncounted:
            self._credit = min(self._most_credit, self._credit + 1.0)
