"""Events to any number of readers, each with a bounded buffer of its own."""

from __future__ import annotations

from collections import deque
from weakref import WeakSet

import anyio

from runware_ws._io.wakeups import Home
from runware_ws.events import Event, SessionLost, SlowConsumer, text_fields

__all__ = ["EventFeed", "EventStream"]

MOST_BYTES = 16 << 20
"""The events that wait for one reader take up no more memory than this, but for a single one."""

_EVENT = 200
_UUID = 100


def _weight(event: Event) -> int:
    """The memory that an event takes up, in bytes, roughly. Its texts are cut."""
    weight = _EVENT + _UUID * (len(event.at_risk) if isinstance(event, SessionLost) else 0)
    for name in text_fields(type(event)):
        text: str | None = getattr(event, name)
        weight += text.__sizeof__() if text is not None else 0
    return weight


class EventStream:
    """The events from the moment of its creation on: ``async for event in client.events()``.

    Ends after ``Closed``. A reader that falls behind loses the oldest events
    and gets one ``SlowConsumer`` in their place: at most ``event_buffer`` events
    wait for it, and at most 16 MiB. Cancel-safe: a cancelled wait loses nothing.
    Several readers share the events. All of them run in the event loop of the client.
    """

    def __init__(self, limit: int, home: Home) -> None:
        self._home = home
        self._events: deque[tuple[Event, int]] = deque()
        self._weight = 0
        self._limit = limit
        self._dropped = 0
        self._closed = False
        self._wake = anyio.Event()

    def publish(self, event: Event, weight: int) -> None:
        """Add an event, of so many bytes (called by the feed)."""
        events = self._events
        while events and (len(events) >= self._limit or self._weight + weight > MOST_BYTES):
            self._weight -= events.popleft()[1]
            self._dropped += 1
        events.append((event, weight))
        self._weight += weight
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
            if self._wake.is_set():
                # Otherwise another reader waits for it.
                self._wake = anyio.Event()
            await self._wake.wait()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return SlowConsumer(at=self._events[0][0].at, dropped=dropped)
        event, weight = self._events.popleft()
        self._weight -= weight
        return event


class EventFeed:
    """Passes each event to every reader that is still referenced."""

    def __init__(self, limit: int, home: Home) -> None:
        self._limit = limit
        self._home = home
        self._streams: WeakSet[EventStream] = WeakSet()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Pass one event to all readers."""
        weight: int | None = None
        for stream in self._streams:
            if weight is None:
                weight = _weight(event)
            stream.publish(event, weight)

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
