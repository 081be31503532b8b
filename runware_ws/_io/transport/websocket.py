"""Sockets by the ``websockets`` library: its asyncio client, or its trio client."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as asyncio_connect
from websockets.client import ClientProtocol
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    WebSocketException,
)
from websockets.frames import Frame
from websockets.protocol import Event, State

from runware_ws._io.transport.base import NotSent, Transport, TransportLost
from runware_ws._io.transport.inbox import Inbox
from runware_ws._io.transport.tls import default_context
from runware_ws._io.wakeups import running_on_trio
from runware_ws._version import __version__
from runware_ws.classify import Loss, LossKind
from runware_ws.config import is_loopback

if TYPE_CHECKING:
    from runware_ws._io.transport.on_trio import TrioConnection
    from runware_ws.config import Config

__all__ = ["DIAL_ERRORS", "WebSocketTransport", "dial", "dial_loss", "forget_unsent"]

DIAL_ERRORS = (OSError, WebSocketException, EOFError, ImportError, ValueError)

_WE_CLOSED = {
    1009: LossKind.INBOUND_TOO_BIG,
    1002: LossKind.PEER_BROKE_PROTOCOL,
    1007: LossKind.PEER_BROKE_PROTOCOL,
}


READ = 64 * 1024
"""The most that is read from a socket at once, where that can be told, in bytes."""


class _NoFrames(logging.LoggerAdapter[logging.Logger]):
    """The library's log without its debug level, which prints frames, and so the API key."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return level > logging.DEBUG and super().isEnabledFor(level)


_LOGGER = _NoFrames(logging.getLogger("runware_ws.websockets"), {})


class WebSocketTransport:
    """What both clients have in common."""

    def __init__(self, connection: AsyncioConnection | TrioConnection) -> None:
        self._connection = connection
        self._sending = False

    async def send(self, data: bytes) -> None:
        if self._connection.state is not State.OPEN:
            raise NotSent(self._end())
        self._sending = True
        try:
            await self._connection.send(data, text=True)
        except ConnectionClosed as exc:
            raise TransportLost(loss_of(exc)) from None
        finally:
            self._sending = False

    async def receive(self) -> bytes | str:
        message = await self._connection.inbox.get()
        if message is None:
            ended = self._connection.protocol.close_exc
            # Why the operating system ended it: newer versions tell.
            ended.__cause__ = getattr(self._connection, "connection_exc", None)
            raise TransportLost(loss_of(ended))
        return message

    def take_ready(self) -> Iterable[bytes | str]:
        return self._connection.inbox.take()

    async def ping(self) -> None:
        """Send a ping of the WebSocket protocol; its pong is not waited for."""
        await self._connection.ping()

    def _end(self) -> Loss:
        """How a socket is about to end that takes no more messages."""
        said = self._connection.protocol.close_rcvd
        if said is None:
            return Loss(LossKind.CLOSED, detail="the socket had ended")
        return Loss(LossKind.CLOSED, code=said.code, detail=said.reason)


class AsyncioTransport(WebSocketTransport):
    """One socket of ``websockets.asyncio``."""

    def __init__(self, connection: AsyncioConnection) -> None:
        super().__init__(connection)
        self._own = connection

    async def aclose(self) -> None:
        await self._own.close()

    def activity(self) -> object:
        unsent = self._own.transport.get_write_buffer_size() if self._sending else None
        return self._own.received, unsent


class AsyncioConnection(ClientConnection):
    """Counts the bytes that come in, and puts messages down whole."""

    def __init__(self, protocol: ClientProtocol, **options: Any) -> None:
        super().__init__(protocol, **options)
        self.received = 0
        self.inbox = Inbox()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        own: Any = transport
        if hasattr(own, "max_size"):
            # asyncio's own transports have this attribute, though it is not documented. What one
            # read brings is worked off in one go, and by itself that is 256 KiB.
            own.max_size = READ

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        # The first event is the handshake's response.
        if self.response is None or not isinstance(event, Frame) or not self.inbox.put(event):
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.inbox.end()


@asynccontextmanager
async def dial(url: str, config: Config) -> AsyncGenerator[Transport]:
    """Open a socket with the client of the running library.

    Raises:
        TransportLost: it cannot be opened.
    """
    proxy = config.proxy
    if proxy is True and is_loopback(urlsplit(url).hostname or ""):
        # What goes to this machine goes to no other, and the key with it.
        proxy = None
    options: dict[str, Any] = {
        "compression": None,
        "proxy": proxy,
        "user_agent_header": config.user_agent or f"runware-ws/{__version__}",
        # One deadline stands over dial, TLS and authentication, and one
        # liveness over the socket: both are the core's.
        "open_timeout": None,
        "ping_interval": None,
        "close_timeout": config.close_timeout,
        "max_size": config.max_frame_bytes,
        "logger": _LOGGER,
    }
    if config.ssl is not None:
        options["ssl"] = config.ssl
    elif url.startswith("wss:"):
        options["ssl"] = await default_context()
    opener = _dial_trio if running_on_trio() else _dial_asyncio
    async with opener(url, options) as transport:
        yield transport


class _AsyncioConnect(asyncio_connect):
    """A dial that follows no redirect: another origin must not get the key."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def _dial_asyncio(url: str, options: dict[str, Any]) -> AsyncGenerator[Transport]:
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


@asynccontextmanager
async def _dial_trio(url: str, options: dict[str, Any]) -> AsyncGenerator[Transport]:
    try:
        from runware_ws._io.transport.on_trio import dial_trio
    except ImportError:
        raise TransportLost(
            Loss(
                LossKind.CANNOT_DIAL,
                detail="under trio, websockets 17 or later is needed: "
                "pip install 'runware-ws[trio]'",
            )
        ) from None
    async with dial_trio(url, options) as transport:
        yield transport


class HasOptions(Protocol):
    """A socket, or what stands for one."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> Any: ...


def forget_unsent(sock: HasOptions | None) -> None:
    """Let the end of this socket be a reset.

    Otherwise the kernel goes on sending what is in its buffer, and a request
    could arrive long after the socket was given up.
    """
    if sock is not None:
        # uvloop raises ValueError where the socket has ended.
        with suppress(OSError, ValueError, NotImplementedError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def loss_of(exc: ConnectionClosed) -> Loss:
    """How an open socket ended."""
    if exc.sent is not None and not (exc.rcvd is not None and exc.rcvd_then_sent):
        kind = _WE_CLOSED.get(exc.sent.code)
        if kind is not None:
            return Loss(kind, detail=exc.sent.reason)
    if exc.rcvd is not None:
        return Loss(LossKind.CLOSED, code=exc.rcvd.code, detail=exc.rcvd.reason)
    cause = exc.__cause__
    return Loss(LossKind.CLOSED, detail=_words(cause) if cause is not None else "no close frame")


def dial_loss(exc: BaseException) -> Loss:
    """Why a socket could not be opened."""
    if isinstance(exc, InvalidStatus):
        return Loss(
            LossKind.HTTP_REFUSED,
            status=exc.response.status_code,
            retry_after=retry_after(exc.response.headers.get("Retry-After")),
        )
    if isinstance(exc, InvalidProxyStatus):
        return Loss(LossKind.PROXY_REFUSED, status=exc.response.status_code)
    if isinstance(exc, ProxyError):
        return Loss(LossKind.PROXY_REFUSED, detail=_words(exc))
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Loss(LossKind.TLS_FAILED, detail=exc.verify_message or _words(exc))
    if isinstance(exc, InvalidProxy | InvalidURI | ImportError):
        return Loss(LossKind.CANNOT_DIAL, detail=_words(exc))
    if isinstance(exc, InvalidMessage | OSError | EOFError):
        return Loss(LossKind.DIAL_FAILED, detail=_words(exc))
    if isinstance(exc, InvalidHandshake):
        return Loss(LossKind.PEER_BROKE_PROTOCOL, detail=_words(exc))
    return Loss(LossKind.CANNOT_DIAL, detail=_words(exc))


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date. ``None``: absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
            if when.tzinfo is None:
                when = when.replace(tzinfo=UTC)
            seconds = (when - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None


def _words(exc: BaseException) -> str:
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
