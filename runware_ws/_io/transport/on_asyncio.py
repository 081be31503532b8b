"""Sockets under asyncio, by ``websockets.asyncio``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import websockets.asyncio.client
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import Event, State
from websockets.uri import parse_uri

from runware_ws._io.transport.addresses import connected, winner
from runware_ws._io.transport.base import Transport, TransportLost
from runware_ws._io.transport.common import (
    CHUNK,
    FAREWELL,
    FrugalProtocol,
    WebSocketTransport,
    dial_loss,
    forget_unsent,
    tell_why,
    unacknowledged,
)
from runware_ws._io.transport.inbox import Inbox
from runware_ws.classify import Loss

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
        self.frugal = FrugalProtocol.adopt(protocol)
        super().__init__(protocol, **options)
        self.inbox = Inbox()
        self._leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        own: Any = transport
        if hasattr(own, "max_size"):
            # asyncio's own transports have this attribute, though it is not documented. One read
            # is handled in one go, and its default size is 256 KiB.
            own.max_size = CHUNK

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.frugal.over and self._leaving is None:
            # The library would wait for the peer to hang up for as long as nobody sends.
            self._leaving = self.loop.call_later(FAREWELL, self.leave)

    def eof_received(self) -> None:
        super().eof_received()
        # A close that waits for the peer to take what is left may wait as long as pings do.
        self.transport.abort()

    def leave(self) -> None:
        """End the connection with a reset."""
        if self.state is not State.CLOSED:
            forget_unsent(self.transport.get_extra_info("socket"))
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.frugal.full = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.frugal.full = False
        if self.frugal.pong is not None:
            self.send_data()

    def process_event(self, event: Event) -> None:
        # The first event is the handshake's response.
        if self.response is None or not isinstance(event, Frame) or not self.inbox.put(event):
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        tell_why(self)
        if self._leaving is not None:
            self._leaving.cancel()
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
    connection: AsyncioConnection | Loss
    try:
        connection = await _opened(url, options)
    except Exception as exc:
        connection = dial_loss(exc)
    if isinstance(connection, Loss):
        raise TransportLost(connection)
    try:
        yield AsyncioTransport(connection)
    finally:
        connection.leave()


async def _opened(url: str, options: dict[str, Any]) -> AsyncioConnection:
    options = {**options}
    sock: socket.socket | None = None
    if options["proxy"] is None:
        target = parse_uri(url)
        sock = options["sock"] = await connected(target.host, target.port)
    else:
        await _choose_proxy(options)
    try:
        connection = await _AsyncioConnect(url, create_connection=AsyncioConnection, **options)
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    return cast("AsyncioConnection", connection)


async def _choose_proxy(options: dict[str, Any]) -> None:
    """Where an HTTP proxy has several addresses, put the one that answers first into its URL.

    The library dials proxies itself, so this takes one connection more.
    """
    # Its place differs between the versions of the library, but here all of them have it.
    library: Any = websockets.asyncio.client
    proxy: str = options["proxy"]
    library.parse_proxy(proxy)  # raises what is wrong with it before it is looked up
    parts = urlsplit(proxy)
    ports = {"http": 80, "https": 443}
    if parts.scheme not in ports or not parts.hostname:
        return  # SOCKS has a library of its own; anything else is refused
    port = parts.port or ports[parts.scheme]
    chosen = await winner(parts.hostname, port)
    if chosen != parts.hostname:
        credentials, at, _ = parts.netloc.rpartition("@")
        place = f"[{chosen}]" if ":" in chosen else chosen
        options["proxy"] = f"{parts.scheme}://{credentials}{at}{place}:{port}"
        if parts.scheme == "https":
            options["proxy_server_hostname"] = parts.hostname
