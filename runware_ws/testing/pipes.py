"""Byte streams in memory, and a client's socket on one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import State

from runware_ws._io.transport.base import NotSent, TransportLost
from runware_ws._io.transport.common import dial_loss, loss_of
from runware_ws._io.transport.inbox import Inbox
from runware_ws.classify import Loss, LossKind

__all__ = ["MemoryTransport", "stream_pair"]


class _Pipe:
    """Bytes in one direction. Unbounded: tests are small."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = False  # by its writer
        self.broken = False  # by its reader
        self._wake = anyio.Event()

    def changed(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()

    async def wait(self) -> None:
        await self._wake.wait()


class _PipeStream(ByteStream):
    """One end of a connection."""

    def __init__(self, inbound: _Pipe, outbound: _Pipe) -> None:
        self._inbound = inbound
        self._outbound = outbound

    async def receive(self, max_bytes: int = 65536) -> bytes:
        pipe = self._inbound
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not pipe.data:
            if pipe.broken:
                raise anyio.ClosedResourceError
            if pipe.closed:
                raise anyio.EndOfStream
            await pipe.wait()
        data = bytes(pipe.data[:max_bytes])
        del pipe.data[:max_bytes]
        return data

    async def send(self, item: bytes) -> None:
        pipe = self._outbound
        await anyio.lowlevel.checkpoint()
        if pipe.closed:
            raise anyio.ClosedResourceError
        if pipe.broken:
            raise anyio.BrokenResourceError
        pipe.data += item
        pipe.changed()

    async def send_eof(self) -> None:
        self._outbound.closed = True
        self._outbound.changed()
        await anyio.lowlevel.checkpoint()

    def drop(self) -> None:
        """Both directions end now. The other end still reads what was sent."""
        self._outbound.closed = self._inbound.broken = True
        self._outbound.changed()
        self._inbound.changed()

    async def aclose(self) -> None:
        self.drop()
        await anyio.lowlevel.checkpoint()


def stream_pair() -> tuple[_PipeStream, _PipeStream]:
    """Two ends of a connection in memory."""
    there, back = _Pipe(), _Pipe()
    return _PipeStream(back, there), _PipeStream(there, back)


class MemoryTransport:
    """What the driver holds: a WebSocket over a stream in memory."""

    def __init__(self, stream: _PipeStream, protocol: ClientProtocol) -> None:
        self._stream = stream
        self._protocol = protocol
        self._inbox = Inbox()
        self._ready: deque[bytes] = deque()
        self._received = 0
        self._reading = False
        self._turned = anyio.Event()

    async def handshake(self) -> None:
        """Ask for the upgrade.

        Raises:
            TransportLost: it is refused.
        """
        protocol = self._protocol
        protocol.send_request(protocol.connect())
        await self._flush()
        while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            await self._read()
        if protocol.handshake_exc is not None:
            raise TransportLost(dial_loss(protocol.handshake_exc))

    async def send(self, data: bytes) -> None:
        if self._protocol.state is not State.OPEN:
            raise NotSent(self._loss())
        self._protocol.send_text(data)
        await self._flush()

    async def receive(self) -> bytes | str:
        while not self._ready:
            if self._protocol.state is State.CLOSED:
                raise TransportLost(self._loss())
            await self._read()
        return self._ready.popleft()

    def take_ready(self) -> Iterable[bytes | str]:
        messages, self._ready = self._ready, deque()
        return messages

    async def aclose(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            await self._flush()
        while self._protocol.state is not State.CLOSED:
            if self._reading:
                await self._turned.wait()
            else:
                await self._read()

    async def ping(self) -> None:
        """Send a ping of the WebSocket protocol; its pong is not waited for."""
        self._protocol.send_ping(b"")
        await self._flush()

    def activity(self) -> int:
        return self._received

    def drop(self) -> None:
        """Leave without a word."""
        self._stream.drop()

    async def _read(self) -> None:
        """Take in what the stream has next."""
        self._reading = True
        try:
            data = await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._protocol.receive_eof()
        else:
            self._received += len(data)
            self._protocol.receive_data(data)
        finally:
            self._reading = False
            self._turned.set()
            self._turned = anyio.Event()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._inbox.put(event)
        self._ready.extend(self._inbox.take())
        await self._flush()

    async def _flush(self) -> None:
        for chunk in self._protocol.data_to_send():
            try:
                if chunk:
                    await self._stream.send(chunk)
                else:
                    await self._stream.send_eof()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                # What the server said before it left is still to be read.
                return

    def _loss(self) -> Loss:
        if self._protocol.state is State.CLOSED:
            return loss_of(self._protocol.close_exc)
        said = self._protocol.close_rcvd
        if said is None:
            return Loss(LossKind.CLOSED, detail="the socket had ended")
        return Loss(LossKind.CLOSED, code=said.code, detail=said.reason)
