"""Sockets under trio, by ``websockets.trio``. Imported only there: it needs the extra."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import Event, State
from websockets.trio.client import ClientConnection, connect
from websockets.uri import parse_uri

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

__all__ = ["dial_trio"]


class TrioTransport(WebSocketTransport):
    """One socket of ``websockets.trio``."""

    def __init__(self, connection: TrioConnection) -> None:
        super().__init__(connection)
        self._own = connection

    async def aclose(self) -> None:
        await self._own.aclose()

    def outgoing(self) -> tuple[int, int]:
        wire = self._own.wire
        stream = wire.socket_stream()
        queued = unacknowledged(stream.socket) if stream is not None else 0
        return wire.sent - queued, wire.handed - wire.sent + queued

    async def drop(self) -> None:
        """Drop the socket without a closing handshake."""
        with trio.CancelScope(shield=True):
            await self._own.leave()


class CountingStream(trio.abc.Stream):
    """A stream that counts what goes out."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.handed = 0
        self.sent = 0

    def socket_stream(self) -> trio.SocketStream | None:
        """The stream at the bottom; ``None`` if it is not a socket."""
        stream: trio.abc.Stream = self._stream
        while isinstance(stream, trio.SSLStream):
            stream = cast("trio.abc.Stream", stream.transport_stream)
        return stream if isinstance(stream, trio.SocketStream) else None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        # A large message is sent in chunks, so that its progress shows.
        self.handed += len(data)
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            chunk = view[start : start + CHUNK]
            await self._stream.send_all(chunk)
            self.sent += len(chunk)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class TrioConnection(ClientConnection):
    """Counts the bytes that go, and stores whole messages."""

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: trio.abc.Stream,
        protocol: ClientProtocol,
        **options: Any,
    ) -> None:
        self.wire = CountingStream(stream)
        self.inbox = Inbox()
        self.frugal = FrugalProtocol.adopt(protocol)
        self._reader: trio.lowlevel.Task | None = None
        self._answering = False
        self._leaving = False
        super().__init__(nursery, self.wire, protocol, **options)

    def process_event(self, event: Event) -> None:
        # The first event is the handshake's response.
        if self.response is None or not isinstance(event, Frame) or not self.inbox.put(event):
            super().process_event(event)

    async def recv_events(self) -> None:
        self._reader = trio.lowlevel.current_task()
        await super().recv_events()

    async def send_data(self) -> None:
        if trio.lowlevel.current_task() is not self._reader:
            await super().send_data()
            return
        # A reader that waited for a peer that takes no pongs would read no answers either.
        if self._pending() and not self._answering:
            self._answering = True
            self.nursery.start_soon(self._answer)
        if self.frugal.over and not self._leaving:
            self._leaving = True
            self.nursery.start_soon(self._wait_for_end)

    def _pending(self) -> bool:
        return bool(self.frugal.writes) or self.frugal.pong is not None

    async def _answer(self) -> None:
        try:
            while self._pending():
                await super().send_data()
        except Exception as exc:
            # How the socket ends is found out by reading on.
            self.set_connection_exc(exc)
        finally:
            self._answering = False

    async def _wait_for_end(self) -> None:
        """Let the peer hang up; the library would wait for as long as nobody sends."""
        with trio.move_on_after(FAREWELL):
            await self.stream_closed.wait()
            return
        await self.leave()

    async def leave(self) -> None:
        """End the connection with a reset."""
        if self.state is not State.CLOSED:
            forget_unsent(self.wire.socket_stream())
        await trio.aclose_forcefully(self.wire)

    async def close_stream(self) -> None:
        await super().close_stream()
        tell_why(self)
        self.inbox.end()


@asynccontextmanager
async def dial_trio(
    url: str, options: dict[str, Any], proxy: Proxy | None
) -> AsyncGenerator[Transport]:
    """Open a socket.

    Raises:
        TransportLost: it cannot be opened.
    """
    opened = False
    loss: Loss | None = None
    try:
        async with (
            _way(url, options, proxy) as way,
            connect(url, create_connection=TrioConnection, **options, **way) as connection,
        ):
            opened = True
            transport = TrioTransport(cast("TrioConnection", connection))
            try:
                yield transport
            finally:
                await transport.drop()
    except Exception as exc:
        if opened:
            raise
        cause = exc.__cause__ if isinstance(exc, trio.BrokenResourceError) else None
        loss = dial_loss(cause or exc)
    if loss is not None:
        raise TransportLost(loss)


@asynccontextmanager
async def _way(
    url: str, options: dict[str, Any], proxy: Proxy | None
) -> AsyncGenerator[dict[str, Any]]:
    """How the library gets to the server: by itself, or through a tunnel that is open."""
    context = options.pop("proxy_ssl", None)
    if proxy is None or proxy.socks:
        yield {"proxy": proxy and proxy.url}
        return
    target = parse_uri(url)
    stream: trio.abc.Stream = await trio.open_tcp_stream(proxy.host, proxy.port)
    try:
        if context is not None:
            stream = secured = trio.SSLStream(
                stream, context, server_hostname=proxy.host, https_compatible=True
            )
            await secured.do_handshake()
        agent = options["user_agent_header"]
        receive = partial(stream.receive_some, CHUNK)
        await tunnel(proxy, target.host, target.port, agent, stream.send_all, receive)
        yield {"stream": stream}
    finally:
        await trio.aclose_forcefully(stream)
