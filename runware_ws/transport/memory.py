"""A socket without a network: the driver's seam, with both ends in one process.

``MemoryNetwork.dial`` goes to ``Client(dial=...)``. The test is the server:
it accepts a socket, reads what the client sent, and says what it likes. Works
in virtual time, for nothing here sleeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from runware_ws.classify import Loss, LossKind
from runware_ws.transport.base import NotSent, Transport, TransportLost

if TYPE_CHECKING:
    from runware_ws.config import Config

__all__ = ["MemoryNetwork", "MemorySocket"]


class MemorySocket:
    """One connection, seen from the server; its client side is ``client_side``."""

    def __init__(self) -> None:
        self._to_server: deque[bytes] = deque()
        self._to_client: deque[bytes | str] = deque()
        self._loss: Loss | None = None
        self._client_gone: str | None = None
        self._wake = anyio.Event()
        self.stalled = False
        self.client_side: Transport = _ClientSide(self)

    def _changed(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()

    @property
    def open(self) -> bool:
        """Whether neither side has ended the connection."""
        return self._loss is None and self._client_gone is None

    @property
    def client_close(self) -> str | None:
        """How the client left: ``"closed"``, ``"aborted"``, or ``None`` while it has not."""
        return self._client_gone

    async def receive(self) -> list[dict[str, Any]]:
        """The next message of the client: a list of task objects.

        Raises:
            anyio.EndOfStream: the client is gone, and all it sent was read.
        """
        while not self._to_server:
            if not self.open:
                raise anyio.EndOfStream
            await self._wake.wait()
        return orjson.loads(self._to_server.popleft())

    def send(self, message: dict[str, Any] | bytes | str) -> None:
        """Say something to the client; a dict goes as JSON."""
        if isinstance(message, dict):
            message = orjson.dumps(message)
        if self.open:
            self._to_client.append(message)
            self._changed()

    def end(self, loss: Loss | int | None = None) -> None:
        """End the connection: by a close code, by any :class:`Loss`, or without a close frame."""
        if not isinstance(loss, Loss):
            loss = Loss(LossKind.CLOSED, code=loss, detail="ended by the test")
        if self._loss is None:
            self._loss = loss
            self._changed()

    async def authenticate(self, session_uuid: str, **extra: Any) -> dict[str, Any]:
        """Read the authentication and accept it into ``session_uuid``; returns what was asked."""
        (task,) = await self.receive()
        item = {"taskType": "authentication", "connectionSessionUUID": session_uuid, **extra}
        self.send({"data": [item]})
        return task


class _ClientSide:
    """What the driver holds."""

    def __init__(self, socket: MemorySocket) -> None:
        self._socket = socket

    async def send(self, data: bytes) -> None:
        socket = self._socket
        await anyio.lowlevel.checkpoint()
        if not socket.open:
            raise NotSent(socket._loss or Loss(LossKind.CLOSED))
        while socket.stalled:
            await socket._wake.wait()
            if not socket.open:
                raise TransportLost(socket._loss or Loss(LossKind.CLOSED))
        socket._to_server.append(data)
        socket._changed()

    async def receive(self) -> bytes | str:
        socket = self._socket
        while not socket._to_client:
            if socket._loss is not None:
                raise TransportLost(socket._loss)
            await socket._wake.wait()
        return socket._to_client.popleft()

    async def aclose(self) -> None:
        self._leave("closed")
        await anyio.lowlevel.checkpoint()

    async def abort(self) -> None:
        self._leave("aborted")

    def _leave(self, how: str) -> None:
        socket = self._socket
        if socket._client_gone is None:
            socket._client_gone = how
            socket._changed()


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
    async def dial(self, url: str, config: Config) -> AsyncIterator[Transport]:
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
            await socket.client_side.abort()

    async def accept(self) -> MemorySocket:
        """The next connection."""
        while not self._waiting:
            await self._wake.wait()
        return self._waiting.popleft()
