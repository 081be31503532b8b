"""Sockets by the ``websockets`` library: its asyncio client, or its trio client."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import anyio
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as asyncio_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
)
from websockets.protocol import State

from runware_ws._version import __version__
from runware_ws.classify import Loss, LossKind
from runware_ws.transport.base import NotSent, Transport, TransportLost

if TYPE_CHECKING:
    import trio
    from websockets.trio.client import ClientConnection as TrioConnection

    from runware_ws.config import Config

__all__ = ["dial"]

# Frames that wait between the socket and our reader. The reader takes all of
# them in one go, so this bounds one read of the socket, not a backlog.
MAX_QUEUE = 4096

_WE_CLOSED = {
    1009: LossKind.INBOUND_TOO_BIG,
    1002: LossKind.PEER_BROKE_PROTOCOL,
    1007: LossKind.PEER_BROKE_PROTOCOL,
}


class _NoFrames(logging.LoggerAdapter[logging.Logger]):
    """The library's log without its debug level, which prints frames, and so the API key."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return level > logging.DEBUG and super().isEnabledFor(level)


_LOGGER = _NoFrames(logging.getLogger("runware_ws.websockets"), {})


class AsyncioTransport:
    """One socket of ``websockets.asyncio``."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> None:
        if self._connection.state is not State.OPEN:
            raise NotSent(Loss(LossKind.CLOSED, detail="the socket had ended"))
        try:
            await self._connection.send(data, text=True)
        except ConnectionClosed as exc:
            raise TransportLost(loss_of(exc)) from None

    async def receive(self) -> bytes | str:
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as exc:
            raise TransportLost(loss_of(exc)) from None

    async def aclose(self) -> None:
        await self._connection.close()

    async def abort(self) -> None:
        self._connection.transport.abort()


class TrioTransport:
    """One socket of ``websockets.trio``."""

    def __init__(self, connection: TrioConnection) -> None:
        self._connection = connection

    async def send(self, data: bytes) -> None:
        if self._connection.state is not State.OPEN:
            raise NotSent(Loss(LossKind.CLOSED, detail="the socket had ended"))
        try:
            await self._connection.send(data, text=True)
        except ConnectionClosed as exc:
            raise TransportLost(loss_of(exc)) from None

    async def receive(self) -> bytes | str:
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as exc:
            raise TransportLost(loss_of(exc)) from None

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def abort(self) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(_Closable(self._connection.stream))


class _Closable(anyio.abc.AsyncResource):
    """A trio stream as a resource of anyio."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def aclose(self) -> None:
        await self._stream.aclose()


def running_on_trio() -> bool:
    """Whether the caller runs under trio (also where trio is a guest of another loop)."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())


@asynccontextmanager
async def dial(url: str, config: Config) -> AsyncGenerator[Transport]:
    """Open a socket with the client of the running library.

    Raises:
        TransportLost: it cannot be opened.
    """
    options: dict[str, Any] = {
        "compression": None,
        "proxy": config.proxy,
        "user_agent_header": config.user_agent or f"runware-ws/{__version__}",
        # One deadline stands over dial, TLS and authentication, and one
        # liveness over the socket: both are the core's.
        "open_timeout": None,
        "ping_interval": None,
        "close_timeout": config.close_timeout,
        "max_size": config.max_frame_bytes,
        "max_queue": MAX_QUEUE,
        "logger": _LOGGER,
    }
    if config.ssl is not None:
        options["ssl"] = config.ssl
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
        connection = await _AsyncioConnect(url, **options)
    except (OSError, InvalidHandshake, EOFError, ImportError, ValueError) as exc:
        raise TransportLost(dial_loss(exc)) from None
    try:
        yield AsyncioTransport(connection)
    finally:
        connection.transport.abort()


@asynccontextmanager
async def _dial_trio(url: str, options: dict[str, Any]) -> AsyncGenerator[Transport]:
    try:
        import trio
        from websockets.trio.client import connect as trio_connect
    except ImportError:
        raise TransportLost(
            Loss(
                LossKind.CANNOT_DIAL,
                detail="under trio, websockets 17 or later is needed: "
                "pip install 'runware-ws[trio]'",
            )
        ) from None

    class TrioConnect(trio_connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    opened = False
    try:
        async with TrioConnect(url, **options) as connection:
            opened = True
            transport = TrioTransport(connection)
            try:
                yield transport
            finally:
                await transport.abort()
    except (OSError, InvalidHandshake, EOFError, ImportError, ValueError) as exc:
        if opened:
            raise
        raise TransportLost(dial_loss(exc)) from None
    except trio.BrokenResourceError as exc:
        if opened:
            raise
        raise TransportLost(dial_loss(exc.__cause__ or exc)) from None


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
    if isinstance(exc, InvalidMessage) or not isinstance(exc, InvalidHandshake):
        if isinstance(exc, ImportError | ValueError) and not isinstance(exc, OSError):
            return Loss(LossKind.CANNOT_DIAL, detail=_words(exc))
        return Loss(LossKind.DIAL_FAILED, detail=_words(exc))
    return Loss(LossKind.PEER_BROKE_PROTOCOL, detail=_words(exc))


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date. ``None``: absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None


def _words(exc: BaseException) -> str:
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
