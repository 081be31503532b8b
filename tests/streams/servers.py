"""Servers that answer HTTP as they are told, right or wrong."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import anyio
import anyio.lowlevel
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

__all__ = ["STREAM", "Odd", "certificate", "chunked", "event", "listening", "relay"]

STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
"""The head of a stream of events, without its end."""

Step = bytes | Literal["end", "reset", "stay"]

_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


def event(data: bytes) -> bytes:
    """One event."""
    return b"data: " + data + b"\n\n"


def chunked(*pieces: bytes) -> bytes:
    """The rest of the head, and each piece as a chunk, with the last one."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@asynccontextmanager
async def listening(
    handle: Callable[[Any], Coroutine[Any, Any, None]], context: ssl.SSLContext | None = None
) -> AsyncGenerator[int]:
    """A TCP (or TLS) server on loopback; gives its port."""
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = int(plain.extra(SocketAttribute.local_port))
    listener: Any = plain if context is None else TLSListener(plain, context)
    accepting = anyio.CancelScope()

    async def serve(stream: Any) -> None:
        try:
            await handle(stream)
        except _GONE:
            pass
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)

    async def accept() -> None:
        with accepting:
            await listener.serve(serve, group)

    async with listener, anyio.create_task_group() as group:
        group.start_soon(accept)
        try:
            yield port
        finally:
            # Every connection that was accepted gets its turn, in which it is closed.
            accepting.cancel()
            with anyio.CancelScope(shield=True):
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()


def certificate(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Settings of a server whose authority nobody knows, and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)  # pyright: ignore[reportUnknownMemberType]
    client = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    return server, client


class Odd:
    """Reads a request, does the steps, and reads the next one.

    ``"end"`` closes the connection, ``"reset"`` resets it, ``"stay"`` says no more. ``requests``
    are the requests, whole. ``deaf``: the request is answered before its body is read.
    """

    def __init__(self, *steps: Step, deaf: bool = False) -> None:
        self.steps = steps
        self.requests: list[bytes] = []
        self.connections = 0
        self.live = 0
        self.closed = anyio.Event()
        self._deaf = deaf

    async def handle(self, stream: Any) -> None:
        """Serve one connection."""
        self.connections += 1
        self.live += 1
        try:
            await self._serve(stream)
        finally:
            self.live -= 1
            self.closed.set()

    async def _serve(self, stream: Any) -> None:
        heard = b""
        while True:
            while b"\r\n\r\n" not in heard:
                heard += await stream.receive()
            head, _, body = heard.partition(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            if self._deaf:
                await self._play(stream)
            size = int(fields.get(b"content-length", b"0"))
            while len(body) < size:
                body += await stream.receive()
            self.requests.append(head + b"\r\n\r\n" + body[:size])
            heard = body[size:]
            if not self._deaf:
                await self._play(stream)

    async def _play(self, stream: Any) -> None:
        for step in self.steps:
            if step == "end":
                raise anyio.EndOfStream
            if step == "reset":
                bottom = stream.transport_stream if isinstance(stream, TLSStream) else stream
                raw = bottom.extra(SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise anyio.EndOfStream
            if isinstance(step, bytes):
                await stream.send(step)
            else:
                while True:
                    await stream.receive()


async def relay(stream: Any, port: int) -> None:
    """Join this connection with a port of this machine, until one side ends."""

    async def copy(source: Any, sink: Any, scope: anyio.CancelScope) -> None:
        try:
            while True:
                await sink.send(await source.receive())
        except _GONE:
            scope.cancel()

    back = await anyio.connect_tcp("127.0.0.1", port)
    async with back, anyio.create_task_group() as group:
        group.start_soon(copy, stream, back, group.cancel_scope)
        group.start_soon(copy, back, stream, group.cancel_scope)
