"""What went wrong before, and when it is forgiven."""

from __future__ import annotations

__all__ = ["BadDials", "Strikes"]

FORGOTTEN = 600.0
"""Trouble so long ago, in seconds, has nothing to do with today's. Longer than any Retry-After."""

MOST_BAD_DIALS = 4
LASTING = 120.0
"""Dials that were refused for good, and nothing else, for so many seconds: it lasts."""


class Strikes:
    """Trouble of one kind in a row. Success forgives it, and so does time."""

    def __init__(self) -> None:
        self.count = 0
        self._last = 0.0

    def add(self, now: float) -> int:
        """Once more; return how often in a row."""
        if now > self._last + FORGOTTEN:
            self.count = 0
        self._last = now
        self.count += 1
        return self.count

    def forgive(self) -> None:
        """It worked."""
        self.count = 0


class BadDials:
    """Dials in a row that were refused for good, by a server that was there before.

    It may be a gateway that answers for an absent server, or a certificate that is renewed
    too late. So it is believed only if it lasts.
    """

    def __init__(self) -> None:
        self._count = 0
        self._since = 0.0

    def add(self, now: float) -> bool:
        """One more; True if it lasts."""
        if not self._count:
            self._since = now
        self._count += 1
        return self._count >= MOST_BAD_DIALS and now >= self._since + LASTING

    def forgive(self) -> None:
        """A dial ended otherwise."""
        self._count = 0
