"""Messages that cannot be read: each may have answered anything that was written on its socket."""

from __future__ import annotations

from runware_ws._core.states import FOREVER

__all__ = ["Doubts"]

MOST_DOUBLINGS = 6


class Doubts:
    """When to ask about what such messages may have answered.

    The first one is acted on at once. Those that follow soon are acted on together, once the
    questions are due; so a flood of them asks no more than once a while.
    """

    def __init__(self, grace: float, first_backoff: float) -> None:
        self._grace = grace
        self._backoff = first_backoff
        self._count = 0
        self._quiet_until = 0.0
        self.due_at = FOREVER
        """When the questions for the latest ones are to be planned."""

    def raised(self, now: float) -> bool:
        """One more came, or ``due_at`` did; True if the questions are to be planned now."""
        if now < self._quiet_until:
            self.due_at = self._quiet_until
            return False
        self.due_at = FOREVER
        self._count = min(self._count + 1, MOST_DOUBLINGS)
        self._quiet_until = now + self._grace + self._backoff * 2**self._count
        return True

    def clear(self) -> None:
        """The socket is gone: what it carried is asked for anyway."""
        self.due_at = FOREVER
        self._count = 0
        self._quiet_until = 0.0
