"""Who is told what happens to one client and its tasks: the log, and whatever was added.

Everything here is called in the client's loop and must not wait. What raises here harms nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from runware_ws.events import Connected
from runware_ws.telemetry.log import LogWatcher

if TYPE_CHECKING:
    from runware_ws._core.effects import Tell
    from runware_ws._core.tasks.record import TaskRecord
    from runware_ws.events import Event
    from runware_ws.stats import Stats

__all__ = ["Watched", "Watcher", "Watchers"]

_LOG = logging.getLogger("runware_ws")


class Watcher(Protocol):
    """Something that is told what happens. It must not block."""

    def event(self, event: Event) -> None:
        """Something happened that every reader of ``client.events()`` hears."""
        ...

    def step(self, told: Tell) -> None:
        """Something happened to one task."""
        ...

    def ended(self, record: TaskRecord) -> None:
        """A task has ended, and its caller is about to be told."""
        ...

    def close(self) -> None:
        """Nothing more will come. May be called more than once."""
        ...


class Watchers:
    """The watchers of one client.

    ``url``: the address that the client dials. ``redact``: takes the API key out of a text.
    ``connections``: sockets that were authenticated.
    """

    def __init__(self, url: str, redact: Callable[[str], str]) -> None:
        self.url = url
        self.redact = redact
        self._log = LogWatcher(redact)
        self._added: list[Watcher] = []
        self._all: tuple[Watcher, ...] = (self._log,)
        self._broken = False
        self.connections = 0
        # Whether anybody wants to hear of single tasks. Each task asks.
        self.follows_tasks: Callable[[], bool] = partial(_LOG.isEnabledFor, logging.DEBUG)

    @property
    def added(self) -> tuple[Watcher, ...]:
        """What was added."""
        return tuple(self._added)

    def add(self, watcher: Watcher) -> None:
        """From now on tell this one too."""
        self._added.append(watcher)
        self._all = (self._log, *self._added)
        self.follows_tasks = lambda: True

    def event(self, event: Event) -> None:
        if isinstance(event, Connected):
            self.connections += 1
        for watcher in self._all:
            try:
                watcher.event(event)
            except Exception as exc:
                self._failed(exc)

    def step(self, told: Tell) -> None:
        for watcher in self._all:
            try:
                watcher.step(told)
            except Exception as exc:
                self._failed(exc)

    def ended(self, record: TaskRecord) -> None:
        for watcher in self._all:
            try:
                watcher.ended(record)
            except Exception as exc:
                self._failed(exc)

    def close(self) -> None:
        for watcher in self._all:
            try:
                watcher.close()
            except Exception as exc:
                self._failed(exc)

    def _failed(self, exc: Exception) -> None:
        if not self._broken:
            self._broken = True
            # It may be a handler of the log itself. The text of the error may hold anything.
            with suppress(Exception):
                _LOG.error(
                    "telemetry failed, and may be incomplete from now on: %s", type(exc).__name__
                )


class Watched(Protocol):
    """What telemetry needs of a client."""

    @property
    def watchers(self) -> Watchers:
        """Who is told what happens."""
        ...

    def stats(self) -> Stats:
        """Counts, and the present."""
        ...
