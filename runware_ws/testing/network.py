"""A socket without a network: the driver's seam, with both ends in one process.

``MemoryNetwork.dial`` goes to ``Client(dial=...)``. The test is the server:
it accepts a socket, reads what the client sent, and says what it likes. Works
in virtual time, because nothing here sleeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from runware_ws._io.transport.base import NotSent, Transport, TransportLost
from runware_ws.classify import Loss, LossKind

if TYPE_CHECKING:
    from runware_ws.config import Config

__all__ = ["MemoryNetwork", "MemorySocket"]


class _Wire:
    """What both ends of one connection share."""

    def __init__(self) -> None:
        self.to_server: deque[bytes] = deque()
        self.to_client: deque[bytes | str] = deque()
        self.loss: Loss | None = None
        self.client_left: str | None = None
        self.stalled = False
        self.activity = 0
        self._wake = anyio.Event()

    @property
    def open(self) -> bool:
        return self.loss is None and self.client_left is None

    def changed(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()

    async def wait(self) -> None:
        await self._wake.wait()


class MemorySocket:
    """One connection, seen from the server; its client side is ``client_side``."""

    def __init__(self) -> None:
        self._wire = _Wire()
        self.client_side = _ClientSide(self._wire)

    @property
    def open(self) -> bool:
        """Whether neither side has ended the connection."""
        return self._wire.open

    @property
    def client_left(self) -> str | None:
        """How the client left: ``"closed"``, ``"aborted"``, or ``None`` while it has not."""
        return self._wire.client_left

    def trickle(self, size: int = 64 * 1024) -> None:
        """So many bytes of a message reach the client, but not the whole of it."""
        self._wire.activity += size

    def stall(self, on: bool = True) -> None:
        """Take nothing more from the client, as a peer whose buffers are full."""
        self._wire.stalled = on
        self._wire.changed()

    async def receive(self) -> list[dict[str, Any]]:
        """The next message of the client: a list of task objects.

        Raises:
            anyio.EndOfStream: the client is gone, and all it sent was read.
        """
        while not self._wire.to_server:
            if not self.open:
                raise anyio.EndOfStream
            await self._wire.wait()
        message: list[dict[str, Any]] = orjson.loads(self._wire.to_server.popleft())
        return message

    def send(self, message: dict[str, Any] | bytes | str) -> None:
        """Say something to the client; a dict goes as JSON."""
        if isinstance(message, dict):
            message = orjson.dumps(message)
        if self._wire.open:
            self._wire.to_client.append(message)
            self._wire.changed()

    def end(self, loss: Loss | int | None = None) -> None:
        """End the connection: by a close code, by any :class:`Loss`, or without a close frame."""
        if not isinstance(loss, Loss):
            loss = Loss(LossKind.CLOSED, code=loss, detail="ended by the test")
        if self._wire.loss is None:
            self._wire.loss = loss
            self._wire.changed()

    async def authenticate(self, session_uuid: str, **extra: Any) -> dict[str, Any]:
        """Read the authentication and accept it into ``session_uuid``; returns what was asked."""
        (task,) = await self.receive()
        item = {"taskType": "authentication", "connectionSessionUUID": session_uuid, **extra}
        self.send({"data": [item]})
        return task


class _ClientSide:
    """What the driver holds."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    async def send(self, data: bytes) -> None:
        wire = self._wire
        await anyio.lowlevel.checkpoint()
        if not wire.open:
            raise NotSent(wire.loss or Loss(LossKind.CLOSED))
        while wire.stalled:
            await wire.wait()
            if not wire.open:
                raise TransportLost(wire.loss or Loss(LossKind.CLOSED))
        wire.to_server.append(data)
        wire.changed()

    async def receive(self) -> bytes | str:
        wire = self._wire
        while not wire.to_client:
            if wire.loss is not None:
                raise TransportLost(wire.loss)
            await wire.wait()
        return wire.to_client.popleft()

    def take_ready(self) -> Iterable[bytes | str]:
        messages, self._wire.to_client = self._wire.to_client, deque()
        return messages

    async def aclose(self) -> None:
        self._leave("closed")
        await anyio.lowlevel.checkpoint()

    def activity(self) -> int:
        return self._wire.activity

    def drop(self) -> None:
        """Leave without a word."""
        self._leave("aborted")

    def _leave(self, how: str) -> None:
        if self._wire.client_left is None:
            self._wire.client_left = how
            self._wire.changed()


class MemoryNetwork:
    """Where a client dials and a test accepts."""

    def __init__(self) -> None:
        self._waiting: deque[MemorySocket] = deque()
        self._refusals: deque[Loss] = deque()
        self._wake = anyio.Event()
        self.hang = False
        self.dials: list[float] = []

    def refuse(self, *losses: Loss) -> None:
        """Let the next dials fail so, one each."""
        self._refusals.extend(losses)

    @asynccontextmanager
    async def dial(self, url: str, config: Config) -> AsyncGenerator[Transport]:
        """The client's side: pass it as ``Client(dial=network.dial)``."""
        self.dials.append(anyio.current_time())
        await anyio.lowlevel.checkpoint()
        if self.hang:
            await anyio.sleep_forever()
        if self._refusals:
            raise TransportLost(self._refusals.popleft())
        socket = MemorySocket()
        self._waiting.append(socket)
        self._wake.set()
        self._wake = anyio.Event()
        try:
            yield socket.client_side
        finally:
            socket.client_side.drop()

    async def accept(self) -> MemorySocket:
        """The next connection."""
        while not self._waiting:
            await self._wake.wait()
        return self._waiting.popleft()
