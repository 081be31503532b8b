"""What happened, in order, with virtual times: for people, and to compare two runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

__all__ = ["Story", "short"]

START = 1000.0


def short(uuid: str | None) -> str:
    """A taskUUID as a story has it: its first eight digits tell tasks apart."""
    return "-" if uuid is None else uuid[:8]


class Story:
    """Lines and counts. ``clock`` is the virtual clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.lines: list[tuple[float, str, str]] = []
        self.seen: Counter[str] = Counter()

    def tell(self, who: str, what: str) -> None:
        """Add a line."""
        self.lines.append((self._clock(), who, what))

    def count(self, state: str) -> None:
        """Note that a state that must sometimes happen did."""
        self.seen[state] += 1

    def digest(self) -> str:
        """The same for two runs that went the same way."""
        digest = hashlib.sha256()
        for at, who, what in self.lines:
            digest.update(f"{at!r} {who} {what}\n".encode())
        return digest.hexdigest()

    def text(self) -> str:
        """The story for people: seconds since the start, who, what."""
        return "\n".join(f"{at - START:9.3f}  {who:7} {what}" for at, who, what in self.lines)
