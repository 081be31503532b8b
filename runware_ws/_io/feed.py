"""Events to any number of readers, each with a bounded buffer of its own."""

from __future__ import annotations

from collections import deque
from weakref import WeakSet

import anyio

from runware_ws._io.wakeups import Home
from runware_ws.events import Event, SlowConsumer

__all__ = ["EventFeed", "EventStream"]


class EventStream:
    """The events from the moment of its creation on: ``async for event in client.events()``.

    Ends after ``Closed``. A reader that falls behind loses the oldest events
    and gets one ``SlowConsumer`` in their place. Cancel-safe: a cancelled wait
    loses nothing. One reader at a time, in the event loop of the client.
    """

    def __init__(self, limit: int, home: Home) -> None:
        self._home = home
        self._events: deque[Event] = deque()
        self._limit = limit
        self._dropped = 0
        self._closed = False
        self._wake = anyio.Event()

    def publish(self, event: Event) -> None:
        """Add an event (called by the feed)."""
        if len(self._events) >= self._limit:
            self._events.popleft()
            self._dropped += 1
        self._events.append(event)
        self._wake.set()

    def finish(self) -> None:
        """No more events will come (called by the feed)."""
        self._closed = True
        self._wake.set()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._home.check()
            self._wake = anyio.Event()
            await self._wake.wait()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return SlowConsumer(at=self._events[0].at, dropped=dropped)
        return self._events.popleft()


class EventFeed:
    """Passes each event to every reader that is still referenced."""

    def __init__(self, limit: int, home: Home) -> None:
        self._limit = limit
        self._home = home
        self._streams: WeakSet[EventStream] = WeakSet()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Pass one event to all readers."""
        for stream in self._streams:
            stream.publish(event)

    def close(self) -> None:
        """No more events will come."""
        self._closed = True
        for stream in self._streams:
            stream.finish()

    def subscribe(self) -> EventStream:
        """A stream of the events from now on."""
        stream = EventStream(self._limit, self._home)
        if self._closed:
            stream.finish()
        else:
            self._streams.add(stream)
        return stream
