"""Answers that are made once, and read by any number of connections, one after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from runware_ws import RunwareError

__all__ = ["Answer", "event_text"]


def event_text(name: str, data: Mapping[str, Any], identity: str) -> str:
    """One server-sent event. JSON has no line ends, so one ``data`` line holds it."""
    return f"id: {identity}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


class Answer:
    """The events of one answer so far.

    ``linger``: seconds that it goes on, and is kept, while nobody reads it; then it is given up,
    and ``forget`` is called. A task that was sent cannot be cancelled, and is paid for: the time
    is for a browser that dials again.
    """

    def __init__(
        self, ask: str, question: str, linger: float, forget: Callable[[], object]
    ) -> None:
        self.ask = ask
        self.question = question
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.ended = False
        self.error: RunwareError | None = None
        self.task: asyncio.Task[None] | None = None
        self._linger = linger
        self._forget = forget
        self._readers = 0
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()

    def add(self, name: str, data: Mapping[str, Any]) -> None:
        """One event more."""
        self.events.append((name, data))
        self._tell()

    def end(self, error: RunwareError | None = None) -> None:
        """There is no further event. Twice is harmless."""
        self.ended = True
        self.error = self.error or error
        self._tell()

    def give_up(self) -> None:
        """Nobody wants it any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self.task is not None:
            self.task.cancel()
        self._forget()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def more(self, than: int) -> None:
        """Wait until there are more events, or the end."""
        while not self.ended and len(self.events) <= than:
            await self._news.wait()

    @contextmanager
    def reading(self) -> Generator[None]:
        """Somebody reads it meanwhile."""
        self._readers += 1
        if self._timer is not None:
            self._timer.cancel()
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._linger, self.give_up)
