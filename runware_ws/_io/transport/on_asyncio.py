"""Sockets under asyncio, by ``websockets.asyncio``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import Event, State

from runware_ws._io.transport.base import Transport, TransportLost
from runware_ws._io.transport.common import (
    CHUNK,
    DIAL_ERRORS,
    WebSocketTransport,
    dial_loss,
    forget_unsent,
    unacknowledged,
)
from runware_ws._io.transport.inbox import Inbox

__all__ = ["dial_asyncio"]


class AsyncioTransport(WebSocketTransport):
    """One socket of ``websockets.asyncio``."""

    def __init__(self, connection: AsyncioConnection) -> None:
        super().__init__(connection)
        self._own = connection
        self._handed = 0

    async def send(self, data: bytes) -> None:
        self._handed += len(data)
        await super().send(data)

    async def aclose(self) -> None:
        await self._own.close()

    def outgoing(self) -> tuple[int, int]:
        transport = self._own.transport
        backlog = transport.get_write_buffer_size()
        backlog += unacknowledged(transport.get_extra_info("socket"))
        return self._handed - backlog, backlog


class AsyncioConnection(ClientConnection):
    """Stores whole messages."""

    def __init__(self, protocol: ClientProtocol, **options: Any) -> None:
        super().__init__(protocol, **options)
        self.inbox = Inbox()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        own: Any = transport
        if hasattr(own, "max_size"):
            # asyncio's own transports have this attribute, though it is not documented. One read
            # is handled in one go, and its default size is 256 KiB.
            own.max_size = CHUNK

    def process_event(self, event: Event) -> None:
        # The first event is the handshake's response.
        if self.response is None or not isinstance(event, Frame) or not self.inbox.put(event):
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.inbox.end()


class _AsyncioConnect(connect):
    """A dial that follows no redirect: another origin must not get the key."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def dial_asyncio(url: str, options: dict[str, Any]) -> AsyncGenerator[Transport]:
    """Open a socket.

    Raises:
        TransportLost: it cannot be opened.
    """
    try:
        connection = await _AsyncioConnect(url, create_connection=AsyncioConnection, **options)
    except DIAL_ERRORS as exc:
        raise TransportLost(dial_loss(exc)) from None
    try:
        yield AsyncioTransport(cast("AsyncioConnection", connection))
    finally:
        if connection.state is not State.CLOSED:
            forget_unsent(connection.transport.get_extra_info("socket"))
        connection.transport.abort()
