"""How many tasks run at once, and how many are let in. Pure: no I/O; time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .options import EmulatorOptions

__all__ = ["Admission", "Overload"]


@dataclass(frozen=True, slots=True)
class Overload:
    """Why a task is refused. ``retry_after``: seconds, ``None`` if nobody knows."""

    code: str
    message: str
    retry_after: float | None


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Admission:
    """Slots for running tasks, the queue before them, and the rate of each key.

    The options are looked at anew each time, so they can be changed while it runs.
    """

    def __init__(self) -> None:
        self.running = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._buckets: dict[int, _Bucket] = {}
        self._filling = False

    @property
    def waiting(self) -> int:
        """How many tasks are in the queue."""
        return len(self._queue)

    # -- rate ----------------------------------------------------------------------------

    def too_fast(self, key_id: int, options: EmulatorOptions, now: float) -> Overload | None:
        """Count a task of this key; why it is refused, or ``None``."""
        rate = options.rate_limit
        if rate is None:
            return None
        burst = options.rate_burst or max(1.0, rate)
        bucket = self._buckets.get(key_id)
        if bucket is None:
            bucket = self._buckets[key_id] = _Bucket(burst, now)
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        # Sums of fractions miss a whole number by a little.
        if bucket.tokens >= 1 - 1e-9:
            bucket.tokens -= 1
            return None
        message = f"More than {rate:g} requests per second."
        return Overload(options.rate_error, message, round((1 - bucket.tokens) / rate, 6))

    # -- slots ---------------------------------------------------------------------------

    def too_busy(self, options: EmulatorOptions) -> Overload | None:
        """Why one more task would be refused, or ``None``."""
        if options.capacity is None or self.running < options.capacity:
            return None
        if options.queue_limit is None or len(self._queue) < options.queue_limit:
            return None
        message = (
            f"{options.capacity} tasks run, and {options.queue_limit} wait: the queue is full."
        )
        return Overload(options.busy_error, message, None)

    def enter(self, begin: Callable[[], None], options: EmulatorOptions) -> None:
        """Call ``begin`` when there is a slot: at once, or after those that came before."""
        self._queue.append(begin)
        self.fill(options)

    def leave(self, options: EmulatorOptions) -> None:
        """A task that began has ended: its slot is free."""
        self.running -= 1
        self.fill(options)

    def fill(self, options: EmulatorOptions) -> None:
        """Begin what has a slot now."""
        # What begins may end at once, which comes back here: the queue is worked off by one loop.
        if self._filling:
            return
        self._filling = True
        try:
            while self._queue and (options.capacity is None or self.running < options.capacity):
                self.running += 1
                self._queue.popleft()()
        finally:
            self._filling = False
