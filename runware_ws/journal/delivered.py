"""Entries that nobody can ask for again, because their callers have what they stand for."""

from __future__ import annotations

from collections import deque
from functools import partial

from runware_ws._core.states import FOREVER
from runware_ws.journal.binding import forget
from runware_ws.journal.link import WriterLink
from runware_ws.journal.writer import Job

__all__ = ["Delivered"]

KEPT = 1.0
"""What its caller has is kept for so many seconds: a process may die before it used it."""


class Delivered:
    """They are forgotten a while after they were delivered, or at once where the client closes."""

    def __init__(self, link: WriterLink) -> None:
        self._link = link
        # By taskUUID, and since when their callers have them.
        self._since: deque[tuple[float, list[str]]] = deque()
        self._closing = False

    def add(self, uuids: list[str], now: float) -> None:
        """The callers of these are told now."""
        self._since.append((now, uuids))
        self.forget(now)

    def forget(self, now: float) -> None:
        """Have those forgotten that need not be kept any longer."""
        until = FOREVER if self._closing else now - KEPT
        old: list[str] = []
        while self._since and self._since[0][0] <= until:
            old += self._since.popleft()[1]
        if old:
            self._link.put(Job(partial(forget, old), idle=True))

    def close(self) -> None:
        """The client closes: have all of them forgotten, and at once from now on."""
        self._closing = True
        self.forget(FOREVER)
