"""A WebSocket server of few lines on loopback, which does what a test says, right or wrong."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from anyio.abc import SocketStream
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from runware_ws import Client
from tests.streams.servers import listening

from .support import KEY, QUICK, SESSION

__all__ = ["Peer", "quick", "result_of", "serving"]


def quick(url: str, **options: Any) -> Client:
    """A client that waits for nothing long, a goodbye included."""
    every: dict[str, Any] = {**QUICK, "close_timeout": 0.1, **options}
    return Client(url, api_key=KEY, **every)


class Peer:
    """One connection, seen from the server."""

    def __init__(self, stream: SocketStream, number: int) -> None:
        self.stream = stream
        self.number = number
        # Without a log: it would show the key.
        self._protocol = ServerProtocol(logger=logging.Logger("quiet", logging.ERROR))
        self._tasks: list[dict[str, Any]] = []

    async def refuse(self, answer: bytes) -> None:
        """Answer the request for an upgrade with these bytes, and hang up."""
        await self.stream.receive()
        await self.stream.send(answer)

    async def upgrade(self) -> None:
        """Accept the connection."""
        while True:
            self._protocol.receive_data(await self.stream.receive())
            for event in self._protocol.events_received():
                assert isinstance(event, Request)
                self._protocol.send_response(self._protocol.accept(event))
                await self.stream.send(b"".join(self._protocol.data_to_send()))
                return

    async def greet(self) -> None:
        """Accept the connection and the key."""
        await self.upgrade()
        task = await self.task()
        assert task["taskType"] == "authentication"
        await self.send(
            {"data": [{"taskType": "authentication", "connectionSessionUUID": SESSION}]}
        )

    async def task(self) -> dict[str, Any]:
        """The next task object; pings of the application are answered and left out."""
        while not self._tasks:
            self._protocol.receive_data(await self.stream.receive())
            for event in self._protocol.events_received():
                assert isinstance(event, Frame)
                if event.opcode is Opcode.TEXT:
                    self._tasks += orjson.loads(event.data)
        return self._tasks.pop(0)

    async def pongs(self) -> list[bytes]:
        """Read once; the payloads of the pongs that came."""
        self._protocol.receive_data(await self.stream.receive())
        frames = [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        return [bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG]

    async def send(self, *messages: dict[str, Any]) -> None:
        """Say something."""
        await self.frames(*(Frame(Opcode.TEXT, orjson.dumps(message)) for message in messages))

    async def frames(self, *frames: Frame) -> None:
        """Send these frames in one go."""
        await self.stream.send(b"".join(frame.serialize(mask=False) for frame in frames))


def result_of(task: dict[str, Any], text: str = "done") -> dict[str, Any]:
    """A message with the answer to a task."""
    item = {"taskType": task["taskType"], "taskUUID": task["taskUUID"], "text": text}
    return {"data": [{**item, "finishReason": "stop"}]}


@asynccontextmanager
async def serving(handle: Callable[[Peer], Awaitable[None]]) -> AsyncGenerator[tuple[str, int]]:
    """Run ``handle`` for each connection; gives the URL and the port."""
    count = 0

    async def serve(stream: Any) -> None:
        nonlocal count
        count += 1
        await handle(Peer(stream, count))

    async with listening(serve) as port:
        yield f"ws://127.0.0.1:{port}/v1", port
