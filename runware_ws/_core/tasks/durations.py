"""How long tasks of one kind take, learned from the tasks themselves.

An ``async`` task is polled when it is likely to be done, not at a fixed
second; a ``sync`` task that went through a cut is asked for when it should
have answered by now.
"""

from __future__ import annotations

__all__ = ["Durations", "LearnedDuration"]

# A first poll that finds the task done says only "not longer than this", so the
# next task of the kind is polled earlier: boldly while no poll ever came too
# early, gently afterwards.
BOLD = 0.7
GENTLE = 0.95
BLEND = 0.3
GROWTH = 0.12
SHORTEST = 0.01


class LearnedDuration:
    """What is expected of one kind of task. All in seconds; ``None``: nothing learned yet."""

    __slots__ = ("bracketed", "duration", "poll_at")

    def __init__(self) -> None:
        self.duration: float | None = None
        self.poll_at: float | None = None
        self.bracketed = False

    def observe(self, seconds: float) -> None:
        """A task that was pushed to us took this long."""
        known = self.duration
        self.duration = seconds if known is None else known + BLEND * (seconds - known)

    def first_poll(self, default: float) -> float:
        """How long after its acknowledgement a task is first polled."""
        return default if self.poll_at is None else max(SHORTEST, self.poll_at)

    @staticmethod
    def next_poll(age: float, cap: float) -> float:
        """How long after a poll that came too early, at this age, the next one goes out."""
        return min(cap, max(SHORTEST, GROWTH * age))

    def done(self, age: float, polls: int) -> None:
        """Poll number ``polls`` (from 1) found a task of this age done."""
        known = self.poll_at
        if polls <= 1:
            factor = GENTLE if self.bracketed else BOLD
            self.poll_at = age * factor if known is None else min(known, age) * factor
            return
        self.bracketed = True
        self.poll_at = age if known is None else known + BLEND * (age - known)


class Durations:
    """Expectations by kind of task; bounded, the oldest kind goes first."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._kinds: dict[str, LearnedDuration] = {}

    def of(self, kind: str) -> LearnedDuration:
        """The learned of this kind; a fresh one if the kind is new."""
        found = self._kinds.get(kind)
        if found is None:
            if len(self._kinds) >= self._limit:
                del self._kinds[next(iter(self._kinds))]
            found = self._kinds[kind] = LearnedDuration()
        return found
