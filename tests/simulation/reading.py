"""What was delivered to the server's host, and when the server reads it.

*Delivered*, *read* and *registered* are three things. While the server stalls it reads
nothing, from sockets that died meanwhile neither, and reads what they had brought later.
I5 rests on one assumption about time, and this file and ``Plan.register`` keep to it: a
request that the server has read is registered within 1.0 s of the reading; and a server that
answers on the current socket has read what older sockets (and posts) had brought, or will
within 1.0 s of that answer.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.simulation.loop import VirtualLoop
from tests.simulation.story import Story
from tests.simulation.weather import Weather

__all__ = ["Reading"]

REST = 1.0
"""What a dead socket had brought is read so long after the stall at most, in seconds."""


class Reading:
    """``rest``: the same without a stall, in seconds after the death."""

    def __init__(
        self, loop: VirtualLoop, rng: Random, weather: Weather, story: Story, *, rest: float
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._weather = weather
        self._story = story
        self._rest = rest
        self._unread: dict[object, tuple[Callable[[], bool], list[Callable[[], None]]]] = {}
        loop.before_suspension.append(self._read_the_dead)

    def delivered(self, line: object, read: Callable[[], None], dead: Callable[[], bool]) -> None:
        """A message came over ``line``, a socket or a post; what came before it is read first."""
        if self._weather.unread or line in self._unread:
            self._unread.setdefault(line, (dead, []))[1].append(read)
        elif self._rest and dead():
            self._story.count("server: reads a dead socket late")
            self._unread[line] = (dead, [read])
            self._loop.call_later(self._rest * self._rng.random(), self._read, line)
        else:
            read()

    def stall_over(self) -> None:
        """The server reads again: living sockets at once, dead ones after a while."""
        for line, (dead, _) in list(self._unread.items()):
            if dead():
                self._story.count("server: a stall outlived the socket")
                self._loop.call_later(REST * self._rng.random(), self._read, line)
            else:
                self._read(line)

    def _read(self, line: object) -> None:
        if line in self._unread:
            _, unread = self._unread.pop(line)
            for read in unread:
                read()

    def _read_the_dead(self) -> None:
        """The client's host is about to stand still. The server is not, and keeps to its time."""
        if self._weather.unread:
            return
        for line, (dead, _) in list(self._unread.items()):
            if dead():
                self._read(line)
