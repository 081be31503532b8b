"""What the asyncio and trio sockets share: one transport, and how its sockets end."""

from __future__ import annotations

import logging
import socket
import struct
import sys
from collections.abc import Awaitable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Protocol, cast

if sys.platform == "linux":
    import fcntl
    import termios

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from runware_ws._io.transport.base import NotSent, TransportLost, unforeseen, words_of
from runware_ws._io.transport.heads import NotHttp, head_of
from runware_ws._io.transport.inbox import Inbox
from runware_ws._io.transport.retry_after import retry_after
from runware_ws._io.transport.tls import tls_refusal
from runware_ws.classify import Loss, LossKind

__all__ = [
    "CHUNK",
    "FAREWELL",
    "LOGGER",
    "FrugalProtocol",
    "LibraryConnection",
    "WebSocketTransport",
    "dial_loss",
    "forget_unsent",
    "loss_of",
    "tell_why",
    "unacknowledged",
]

CHUNK = 64 * 1024
"""The most bytes read from a socket, or written to it, at once, if that can be set."""

LARGE = 64 * 1024
"""A backlog of so many bytes is a large message on its way, or many small ones."""

SOCKS_FORBIDDEN = 2
"""SOCKS5's code for what its rules do not allow (RFC 1928)."""

FAREWELL = 0.5
"""Seconds that a peer has to hang up after its close frame. Nothing that it sends then is read."""

_WE_CLOSED = {
    1009: LossKind.INBOUND_TOO_BIG,
    1002: LossKind.PEER_BROKE_PROTOCOL,
    1007: LossKind.PEER_BROKE_PROTOCOL,
}


class _NoFrames(logging.LoggerAdapter[logging.Logger]):
    """The library's log without its debug level, which prints frames and thus the API key."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return level > logging.DEBUG and super().isEnabledFor(level)


LOGGER = _NoFrames(logging.getLogger("runware_ws.websockets"), {})


class FrugalProtocol(ClientProtocol):
    """The library's protocol, with two differences.

    A refused upgrade is known by the status and the Retry-After. The library wants HTTP/1.1 to the
    letter, and all of the body; where it finds anything else, or the body does not come, it does
    not tell that this was a refusal. Where it would follow a redirect, it is not shown the address:
    another origin must not get the key.

    Of the pings that wait only the latest is answered. The library puts one pong behind the other,
    also for a peer that takes none of them, and so lets the peer fill our memory. To answer only
    the latest ping is legal (RFC 6455, 5.5.3). Nor is reading paused meanwhile, because answers to
    tasks may stand behind the pings.
    """

    pong: Frame | None = None
    """The answer that waits."""
    full = False
    """Whether the peer takes no more bytes at the moment."""

    @classmethod
    def adopt(cls, protocol: ClientProtocol) -> FrugalProtocol:
        """Make a protocol of this kind out of one that the library has created."""
        protocol.__class__ = cls
        own = cast("FrugalProtocol", protocol)
        own.parser = own.parse()
        next(own.parser)
        return own

    def parse(self) -> Generator[None]:
        while self.state is State.CONNECTING and not self._head_is_readable():
            yield
        # From here on as the library does it, without a generator more in between.
        self.parser = super().parse()
        next(self.parser)
        yield

    def _head_is_readable(self) -> bool:
        """Whether the library can go on; a refusal is written anew, and interim answers left out.

        What is no status line at all is left to the library, which tells what it found.
        """
        data = self.reader.buffer
        try:
            while (head := head_of(data, ended=self.reader.eof)) is not None:
                if head.status == 101:
                    return True
                if head.status >= 200:
                    after = head.retry_after
                    kept = "" if after is None else f"Retry-After: {after}\r\n"
                    line = f"HTTP/1.1 {head.status} \r\n"
                    data[:] = f"{line}{kept}Content-Length: 0\r\n\r\n".encode()
                    return True
                del data[: head.size]
        except NotHttp:
            return True
        return False

    def send_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self.pong = frame
        else:
            super().send_frame(frame)

    def data_to_send(self) -> list[bytes]:
        pong = self.pong
        if pong is not None and not self.full:
            self.pong = None
            if self.state is State.OPEN:  # behind a close frame nothing may be sent
                super().send_frame(pong)
        return super().data_to_send()

    @property
    def over(self) -> bool:
        """Whether nothing more will be read: a close frame came, or what cannot be read."""
        return self.close_rcvd is not None or self.parser_exc is not None


class LibraryConnection(Protocol):
    """A connection of either client, with the inbox that we add to it."""

    inbox: Inbox
    protocol: ClientProtocol

    @property
    def state(self) -> State: ...

    def send_context(self) -> AbstractAsyncContextManager[None]: ...

    def ping(self) -> Awaitable[object]: ...


class HasEnd(Protocol):
    """A connection of either client."""

    protocol: ClientProtocol


class WebSocketTransport:
    """What both clients have in common."""

    def __init__(self, connection: LibraryConnection) -> None:
        self._connection = connection
        # What the peer took of our large backlogs; how much had gone at the last look, and whether
        # some of a large backlog was left then.
        self._taken = self._gone = 0
        self._large = False

    async def send(self, data: bytes) -> None:
        connection = self._connection
        if connection.state is not State.OPEN:
            raise NotSent(self._end())
        try:
            async with connection.send_context():
                connection.protocol.send_text(data)
                # What waits from here on is masked. The message may hold the key, and tools
                # that print local variables must not find it in a frame that waits or fails.
                del data
            return
        except ConnectionClosed as exc:
            loss = loss_of(exc)
        raise TransportLost(loss)

    async def receive(self) -> bytes | str:
        message = await self._connection.inbox.get()
        if message is None:
            ended = self._connection.protocol.close_exc
            # Why the operating system ended it: newer versions have this.
            ended.__cause__ = getattr(self._connection, "connection_exc", None)
            raise TransportLost(loss_of(ended))
        return message

    def take_ready(self) -> Iterable[bytes | str]:
        return self._connection.inbox.take()

    def outgoing(self) -> tuple[int, int]:
        """How many bytes the peer's host took so far, and how many it has not taken yet."""
        raise NotImplementedError

    def activity(self) -> int:
        gone, backlog = self.outgoing()
        # What goes out of a small backlog proves nothing: the peer's host takes it for a dead peer.
        # But our ping waits behind the last bytes of a large one, too.
        if self._large:
            self._taken += max(0, gone - self._gone)
        self._gone = gone
        self._large = backlog >= LARGE or (self._large and backlog > 0)
        connection = self._connection
        return connection.inbox.arrived + len(connection.protocol.reader.buffer) + self._taken

    async def ping(self) -> None:
        """Send a ping of the WebSocket protocol; its pong is not waited for."""
        await self._connection.ping()

    def _end(self) -> Loss:
        """How a socket that takes no more messages is ending."""
        said = self._connection.protocol.close_rcvd
        if said is None:
            return Loss(LossKind.CLOSED, detail="the socket had ended")
        return Loss(LossKind.CLOSED, code=said.code, detail=said.reason)


class HasOptions(Protocol):
    """A socket, or something like it."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> Any: ...


def unacknowledged(sock: Any) -> int:
    """How many bytes in this socket's buffer the peer's host has not acknowledged.

    0 where the system does not tell.
    """
    if sys.platform != "linux" or sock is None:
        return 0
    # Once it has ended, trio and asyncio raise OSError, and uvloop ValueError.
    with suppress(OSError, ValueError):
        queued: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        return queued
    return 0


def forget_unsent(sock: HasOptions | None) -> None:
    """Make this socket end with a reset.

    Otherwise the kernel goes on sending what is in its buffer, and a request
    could arrive long after we gave the socket up.
    """
    if sock is not None:
        # uvloop raises ValueError if the socket has ended.
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
    return Loss(LossKind.CLOSED, detail=words_of(cause) if cause is not None else "no close frame")


def dial_loss(exc: BaseException) -> Loss:
    """Why a socket could not be opened."""
    refused = tls_refusal(exc)
    if refused is not None:
        return Loss(LossKind.TLS_FAILED, detail=refused)
    if isinstance(exc, InvalidStatus):
        return Loss(
            LossKind.HTTP_REFUSED,
            status=exc.response.status_code,
            retry_after=_asked_wait(exc.response.headers),
        )
    if isinstance(exc, InvalidProxyStatus):
        return Loss(
            LossKind.PROXY_REFUSED,
            status=exc.response.status_code,
            retry_after=_asked_wait(exc.response.headers),
        )
    if isinstance(exc, ProxyError):
        kind = LossKind.CANNOT_DIAL if _is_shut_out(exc.__cause__) else LossKind.PROXY_REFUSED
        return Loss(kind, detail=_with_cause(exc))
    if isinstance(exc, InvalidProxy | InvalidURI | UnicodeError):
        # The address is ours, and no other dial will make it right.
        return Loss(LossKind.CANNOT_DIAL, detail=words_of(exc))
    if isinstance(exc, InvalidMessage | ConnectionClosed):
        return Loss(LossKind.DIAL_FAILED, detail=_with_cause(exc))
    if isinstance(exc, InvalidHandshake):
        return Loss(LossKind.PEER_BROKE_PROTOCOL, detail=words_of(exc))
    return unforeseen(exc, LossKind.DIAL_FAILED)


def _is_shut_out(refusal: BaseException | None) -> bool:
    """Whether a SOCKS proxy refuses us for good, as one for HTTP does with 407 or 403."""
    unknown = ("authentication failure", "authentication methods were offered")
    forbidden = getattr(refusal, "error_code", None) == SOCKS_FORBIDDEN
    return forbidden or str(refusal).endswith(unknown)


def tell_why(connection: HasEnd) -> None:
    """Give a handshake that the end of the connection cut the reason of that end.

    The library knows it and does not tell.
    """
    broken = connection.protocol.handshake_exc
    # Newer versions of the library have this.
    ended: BaseException | None = getattr(connection, "connection_exc", None)
    if broken is not None and ended is not None and isinstance(broken.__cause__, EOFError):
        broken.__cause__ = ended


def _with_cause(exc: Exception) -> str:
    """An error of the library that says less than its cause."""
    cause = exc.__cause__
    return words_of(exc) if cause is None else f"{words_of(exc)} ({words_of(cause)})"


def _asked_wait(headers: Headers) -> float | None:
    # A header may be repeated; the first one counts.
    return retry_after(next(iter(headers.get_all("Retry-After")), None))
