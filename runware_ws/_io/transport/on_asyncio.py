"""Sockets under asyncio, by ``websockets.asyncio``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

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
from runware_ws._io.transport.proxies import Proxy, tunnel
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
        self.is_made = False
        self._leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.is_made = True
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
        if not self.is_made:
            return  # the TLS inside of a tunnel was given up
        super().connection_lost(exc)
        tell_why(self)
        if self._leaving is not None:
            self._leaving.cancel()
        self.inbox.end()


@asynccontextmanager
async def dial_asyncio(
    url: str, options: dict[str, Any], proxy: Proxy | None
) -> AsyncGenerator[Transport]:
    """Open a socket.

    Raises:
        TransportLost: it cannot be opened.
    """
    connection: AsyncioConnection | Loss
    try:
        connection = await _opened(url, options, proxy)
    except Exception as exc:
        connection = dial_loss(exc)
    if isinstance(connection, Loss):
        raise TransportLost(connection)
    try:
        yield AsyncioTransport(connection)
    finally:
        connection.leave()


async def _opened(url: str, options: dict[str, Any], proxy: Proxy | None) -> AsyncioConnection:
    options = {**options, "proxy": None}
    target = parse_uri(url)
    sock: socket.socket | None = None
    made: list[AsyncioConnection] = []

    def create(protocol: ClientProtocol, **own: Any) -> AsyncioConnection:
        made.append(AsyncioConnection(protocol, **own))
        return made[-1]

    try:
        if proxy is None:
            sock = await connected(target.host, target.port)
        elif proxy.scheme == "http":
            sock = await connected(proxy.host, proxy.port)
            loop = asyncio.get_running_loop()
            send, receive = partial(loop.sock_sendall, sock), partial(loop.sock_recv, sock, CHUNK)
            agent = options["user_agent_header"]
            await tunnel(proxy, target.host, target.port, agent, send, receive)
        else:
            # Of TLS inside of TLS, and of SOCKS, only the library knows the way.
            await _choose_address(options, proxy)
        if sock is not None:
            options["sock"] = sock
        options["create_connection"] = create
        connection = await connect(url, **options)
    except BaseException:
        # The number of a socket may be the next one's. So it must not be closed under a transport
        # that still polls it: one with TLS would, to wait for the peer's goodbye.
        for half in made:
            if half.is_made:
                half.leave()
        if sock is not None:
            sock.close()
        raise
    return cast("AsyncioConnection", connection)


async def _choose_address(options: dict[str, Any], proxy: Proxy) -> None:
    """Where a proxy with TLS has several addresses, take the one that answers first.

    The library dials such a proxy itself, so this takes one connection more.
    """
    options["proxy"] = proxy.url
    if proxy.scheme == "https":
        chosen = replace(proxy, host=await winner(proxy.host, proxy.port))
        options["proxy"] = chosen.url
        options["proxy_server_hostname"] = proxy.host
