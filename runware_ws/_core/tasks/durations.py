"""How long tasks of one kind take, learned from the tasks themselves.

An ``async`` task is polled when it is likely to be done, not after a fixed
time. A ``sync`` task that went through a cut is asked about once its answer is
overdue.
"""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["Durations", "LearnedDuration"]

# A first poll that finds the task done shows only that it took no longer than this. So
# the next task of the kind is polled earlier: much earlier while no poll has ever come
# too early, a little earlier after that.
BOLD = 0.7
GENTLE = 0.95
BLEND = 0.3
GROWTH = 0.12
SHORTEST = 0.01

# Few tasks say little about the next; and a long one is forgotten slowly.
FEW = 5
FORGET = 0.005
MARGIN = 1.25


class LearnedDuration:
    """What is expected of one kind of task. All in seconds; ``None``: not learned yet."""

    __slots__ = ("bracketed", "duration", "longest", "poll_at", "seen")

    def __init__(self) -> None:
        self.duration: float | None = None
        self.longest = 0.0
        self.seen = 0
        self.poll_at: float | None = None
        self.bracketed = False

    def observe(self, seconds: float) -> None:
        """A task whose answer was pushed to us took this long."""
        known = self.duration
        self.duration = seconds if known is None else known + BLEND * (seconds - known)
        self.took(seconds)

    def took(self, seconds: float) -> None:
        """A task took no longer than this."""
        self.seen += 1
        more = seconds - self.longest
        self.longest += more if more > 0 else FORGET * more

    def usual(self, unlearned: float) -> float:
        """After this long a task is overdue; at least ``unlearned`` while little is known."""
        known = max(2 * (self.duration or 0.0), MARGIN * self.longest)
        return known if self.seen >= FEW else max(known, unlearned)

    def first_poll(self, default: float) -> float:
        """How long after its acknowledgement a task should first be polled."""
        return default if self.poll_at is None else max(SHORTEST, self.poll_at)

    @staticmethod
    def next_poll(age: float, cap: float) -> float:
        """The delay until the next poll, after one at this age came too early."""
        return min(cap, max(SHORTEST, GROWTH * age))

    def done(self, age: float, polls: int) -> None:
        """Poll number ``polls`` (counted from 1) found a task of this age done."""
        self.took(age)
        known = self.poll_at
        if polls <= 1:
            factor = GENTLE if self.bracketed else BOLD
            self.poll_at = age * factor if known is None else min(known, age) * factor
            return
        self.bracketed = True
        self.poll_at = age if known is None else known + BLEND * (age - known)


class Durations:
    """What is expected, by kind of task. Limited; the oldest kind is dropped first."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._kinds: dict[Hashable, LearnedDuration] = {}

    def of(self, kind: Hashable) -> LearnedDuration:
        """What was learned about this kind; a fresh record if the kind is new."""
        found = self._kinds.get(kind)
        if found is None:
            if len(self._kinds) >= self._limit:
                del self._kinds[next(iter(self._kinds))]
            found = self._kinds[kind] = LearnedDuration()
        return found
