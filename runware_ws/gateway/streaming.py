"""Streams of server-sent events: pings meanwhile, an end that is told, and slow readers bounded.

A stream never ends in silence: its last event says that it is whole, or it is ``event: error``. A
reader who takes nothing holds up nobody: what it has not read yet waits as one event, and after a
while it is left. Its task goes on, and a retry finds it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import anyio

from runware_ws.errors import RunwareError
from runware_ws.gateway.error_table import ErrorReply, GatewayRefusal, reply_to
from runware_ws.gateway.exchange import LAST_WORDS, ReaderTooSlow, note_bug

if TYPE_CHECKING:
    from runware_ws import Delta
    from runware_ws.gateway.attempts import Attempt
    from runware_ws.gateway.exchange import Exchange
    from runware_ws.gateway.options import GatewayOptions
    from runware_ws.gateway.works import Reader, Work

__all__ = ["EventSource", "StreamFeed", "send_stream"]

_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    # A proxy that collects what it passes on would take away all that streaming is for.
    "x-accel-buffering": "no",
}


class EventSource(Protocol):
    """What a stream is made of."""

    async def open(self) -> None:
        """Find or start what is read. Raises what the reply to it is to be."""
        ...

    async def next(self) -> Delta | None:
        """The next delta; ``None`` at the end. Cancel-safe."""
        ...

    def close(self) -> None:
        """Read no more. Idempotent."""
        ...

    def headers(self) -> dict[str, str]:
        """Headers of the answer, as far as they are known when it begins."""
        ...

    def part(self, delta: Delta | None) -> bytes:
        """The events for a delta, or for the end, as they go over the wire."""
        ...

    def failure(self, reply: ErrorReply, request_id: str) -> bytes:
        """The event that says why there is no more."""
        ...

    @property
    def ping(self) -> bytes:
        """What is sent while nothing else is."""
        ...


class StreamFeed:
    """What the streams of all shapes share: where their deltas come from. ``find`` finds or starts
    the task; ``told``: headers of the answer."""

    def __init__(self, find: Callable[[], Awaitable[Work]], told: Mapping[str, str]) -> None:
        self._find = find
        self._told = told
        self._found: Work | None = None
        self._reader: Reader | None = None

    @property
    def work(self) -> Work:
        """The task, once the stream is open."""
        assert self._found is not None
        return self._found

    async def open(self) -> None:
        self._found = await self._find()
        self._reader = self._found.reader()

    async def next(self) -> Delta | None:
        assert self._reader is not None
        return await self._reader.next()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def headers(self) -> dict[str, str]:
        told = dict(self._told)
        work = self._found
        if work is not None and work.entered:
            told["runware-task-uuid"] = work.uuid
        if work is not None and work.done and work.error is None:
            told["runware-recovered-by"] = work.outcome().recovered_by.value
        return told


async def send_stream(
    exchange: Exchange,
    options: GatewayOptions,
    source: EventSource,
    attempt: Attempt,
    *,
    joins: bool,
) -> bool:
    """Send a whole stream; whether its reader has all of it, as far as can be seen from here.

    ``joins``: see :func:`~runware_ws.gateway.error_table.reply_to`.

    Raises:
        RunwareError, GatewayRefusal: before anything was sent, so that it gets its own status.
        ReaderTooSlow: the connection is to be ended.
    """
    stream = _Stream(exchange, options, source, attempt, joins)
    try:
        return await stream.run()
    finally:
        source.close()


class _Stream:
    def __init__(
        self,
        exchange: Exchange,
        options: GatewayOptions,
        source: EventSource,
        attempt: Attempt,
        joins: bool,
    ) -> None:
        self._exchange = exchange
        self._options = options
        self._source = source
        self._attempt = attempt
        self._joins = joins
        self._opened = anyio.Event()
        self._failure: Exception | None = None

    async def run(self) -> bool:
        last, answered, failure = b"", False, None
        async with anyio.create_task_group() as group:
            group.start_soon(self._open)
            try:
                last, answered = await self._answer()
            except Exception as exc:
                failure = exc  # The group would wrap it.
        if failure is not None:
            raise failure
        if last:  # Only now, so that whoever has it finds nothing unfinished here.
            await self._send(last, last=True)
        return answered

    async def _open(self) -> None:
        """Beside the rest, because a turn may be long in coming. A reader who goes away meanwhile
        does not end it, as none does who goes away later."""
        try:
            await self._source.open()
        except Exception as exc:
            self._failure = exc
        self._opened.set()

    async def _answer(self) -> tuple[bytes, bool]:
        """Send all but the last part, which is returned; and whether it makes the answer whole."""
        exchange = self._exchange
        try:
            came, delta = await self._next(self._options.start_within)
            await exchange.begin(200, {**_HEADERS, **self._source.headers()})
            while True:
                if await exchange.look():
                    return b"", False
                part = self._source.part(delta) if came else self._source.ping
                if came and delta is None:
                    return part, True
                await self._send(part)
                came, delta = await self._next(self._options.ping_every)
        except ReaderTooSlow:
            raise
        except Exception as exc:
            if not exchange.started:
                raise
            return await self._fail(exc)
        except BaseException:
            # The process ends. Its client must not take this for the end of the answer.
            if exchange.started:
                with anyio.move_on_after(LAST_WORDS, shield=True):
                    await self._send(self._told(exchange.ending()), last=True)
            raise

    async def _next(self, seconds: float) -> tuple[bool, Delta | None]:
        """Whether something came within so many seconds, and what; ``None`` is the end."""
        with anyio.move_on_after(seconds):
            await self._opened.wait()
            if self._failure is not None:
                raise self._failure
            return True, await self._source.next()
        return False, None

    async def _send(self, data: bytes, *, last: bool = False) -> None:
        with anyio.move_on_after(self._options.send_timeout) as limit:
            await self._exchange.more(data, last=last)
        if limit.cancelled_caught:
            raise ReaderTooSlow
        self._attempt.heard_at = anyio.current_time()

    async def _fail(self, error: Exception) -> tuple[bytes, bool]:
        """What tells the reader why there is no more; and whether that is an answer."""
        if not isinstance(error, RunwareError | GatewayRefusal):
            note_bug(error)
        reply = reply_to(error, joins=self._joins)
        await self._exchange.look()
        return self._told(reply), self._exchange.settles(reply)

    def _told(self, reply: ErrorReply) -> bytes:
        return self._source.failure(reply, self._exchange.request_id)
