"""Posts tasks over HTTP and passes on the events of the answers.

It carries bytes and decides nothing: what the events say, and whether to ask about a task again,
is up to the core. ``h11`` reads the protocol, anyio has the connections, and the pool is just a
short list of idle ones: ``docs/performance.md`` shows what complete HTTP clients cost here.
"""

from __future__ import annotations

import ssl as tls
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import anyio
import h11

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._io.http_connection import HttpConnection, PostFailed, Watch, failed
from runware_ws._io.http_dial import HttpTarget, dial
from runware_ws._version import __version__
from runware_ws.classify import Loss, LossKind

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["HttpCarrier"]

IDLE_LIMIT: Final = 4.0
"""Seconds for which an idle connection is kept. Most servers close theirs after 5 s or more, and if
a request meets that close, nobody knows whether it arrived."""


class HttpCarrier:
    """Posts tasks: a :class:`~runware_ws._io.transport.base.HttpPost`, with its idle connections.

    ``await carrier(payload, key, sending, take)`` is one POST. Each POST has its own connection,
    so the caller limits their number. Runs on asyncio and trio. End it with :meth:`aclose`.

    Args:
        url: where to post.
        open_timeout: seconds for DNS, TCP, proxy and TLS together.
        idle_timeout: once the connection is open, at least one byte must come or go in this
            many seconds. ``None``: no limit.
        max_event_bytes: the largest event, and the largest answer that is not a stream.
        max_idle: how many idle connections are kept for later POSTs.
        ssl: TLS settings; ``None``: the system's trust store, verification on.
        proxy: as in :class:`~runware_ws.Config`.
        user_agent: ``None``: this library's name and version.
    """

    def __init__(
        self,
        url: str,
        *,
        open_timeout: float = 15.0,
        idle_timeout: float | None = 120.0,
        max_event_bytes: int = 64 * 1024 * 1024,
        max_idle: int = 100,
        ssl: tls.SSLContext | None = None,
        proxy: str | Literal[True] | None = True,
        user_agent: str | None = None,
    ) -> None:
        self._url = url
        self._open_timeout = open_timeout
        self._idle_timeout = idle_timeout
        self._max_event_bytes = max_event_bytes
        self._max_idle = max_idle
        self._context = ssl
        self._proxy: str | Literal[True] | None = proxy
        self._agent = user_agent or f"runware-ws/{__version__}"
        self._target = HttpTarget.of(url)
        self._idle: list[HttpConnection] = []  # the most recently used one is last
        self._closed = False

    def __repr__(self) -> str:
        return f"<HttpCarrier {self._url}>"

    async def keep(self) -> None:
        """Wait for the end of the task that calls this, and close the idle connections then."""
        try:
            await anyio.sleep_forever()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the idle connections. A running POST goes on; later ones are refused."""
        self._closed = True
        await self._trim()

    async def __call__(
        self,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], bool],
        take: Callable[[bytes], None],
    ) -> PostEnding:
        """Post ``payload``; ``take`` gets the JSON text of each event. Returns how it ended.

        ``sending`` is called before the first byte of the request goes out; where it says
        ``False``, none does.

        Raises only a cancellation and what ``take`` raises; both close the connection at
        once.
        """
        if self._closed:
            return _ending(Ending.UNREACHED, LossKind.CANNOT_DIAL, "the carrier is closed")
        if not (_fits_header(key.get_secret_value()) and _fits_header(self._agent)):
            detail = "api_key or user_agent contains characters that HTTP headers cannot hold"
            return _ending(Ending.REFUSED, LossKind.CANNOT_DIAL, detail)
        try:
            connection = await self._waiting() or await self._dialed()
            try:
                return await self._exchange(connection, payload, key, sending, take)
            finally:
                await self._release(connection)
        except PostFailed as failure:
            return failure.ending

    async def _exchange(
        self,
        connection: HttpConnection,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], bool],
        take: Callable[[bytes], None],
    ) -> PostEnding:
        # Made where it is sent, and bound to no name: it holds the key.
        request = partial(self._request, connection, len(payload), key)
        with anyio.CancelScope() as scope:
            watch = Watch(scope, self._idle_timeout)
            if not sending():
                return _ending(Ending.UNREACHED, LossKind.CLOSED, "given up before it was sent")
            return await connection.post(request, payload, take, watch, self._max_event_bytes)
        detail = f"nothing came for {self._idle_timeout:g} s"
        return _ending(Ending.CUT, LossKind.DEAD_PEER, detail)

    def _request(self, connection: HttpConnection, size: int, key: SecretStr) -> h11.Request:
        target = self._target
        proxied = connection.forward is not None
        fields = [
            ("Host", target.authority),
            ("Accept", "text/event-stream, application/json"),
            # A compressed answer could grow past the limits, and events gain little from it.
            ("Accept-Encoding", "identity"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(size)),
            ("User-Agent", self._agent),
            ("Authorization", f"Bearer {key.get_secret_value()}"),
            *(connection.forward or ()),
        ]
        path = f"http://{target.authority}{target.path}" if proxied else target.path
        return h11.Request(method="POST", target=path, headers=fields)

    # -- connections ---------------------------------------------------------------------

    async def _dialed(self) -> HttpConnection:
        with anyio.move_on_after(self._open_timeout):
            return await dial(self._target, self._proxy, self._context, self._agent)
        detail = f"no connection within {self._open_timeout:g} s"
        raise failed(Ending.UNREACHED, LossKind.OPEN_TIMEOUT, detail)

    async def _waiting(self) -> HttpConnection | None:
        """An idle connection that is still usable, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_until > anyio.current_time() and not connection.is_stale():
                return connection
            await connection.drop()
        return None

    async def _release(self, connection: HttpConnection) -> None:
        """Keep the connection for a later POST, or close it."""
        if self._closed or not connection.reusable():
            await connection.drop()
            return
        connection.idle_until = anyio.current_time() + IDLE_LIMIT
        self._idle.append(connection)
        await self._trim()

    async def _trim(self) -> None:
        """Close the oldest idle connections if they are too many or too old."""
        idle, now = self._idle, anyio.current_time()
        most = 0 if self._closed else self._max_idle
        while idle and (len(idle) > most or idle[0].idle_until <= now):
            await idle.pop(0).drop()


def _ending(how: Ending, kind: LossKind, detail: str) -> PostEnding:
    return PostEnding(how, Loss(kind, detail=detail))


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and value == value.strip()
