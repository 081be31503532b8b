"""What a user would write instead: a frame per task, a dict of futures, and nothing recovered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.contenders import harness


class Bare:
    """A hand-written loop over ``websockets`` and ``orjson``."""

    def __init__(self) -> None:
        self._futures: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def open(self, url: str, key: str, *, in_flight: int) -> None:
        del in_flight
        self._socket: ClientConnection = await connect(url, max_size=None, proxy=None)
        await self._socket.send(
            orjson.dumps([{"taskType": "authentication", "apiKey": key}]), text=True
        )
        await self._socket.recv()
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._reader.cancel()
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            for item in orjson.loads(message)["data"]:
                future = self._futures.pop(item["taskUUID"], None)
                if future is not None and not future.done():
                    future.set_result(item)

    async def run(self, task: dict[str, Any]) -> dict[str, Any]:
        """Run one task."""
        name = str(uuid.uuid4())
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._futures[name] = future
        await self._socket.send(orjson.dumps([{**task, "taskUUID": name}]), text=True)
        return await future

    def prepare(self, task: dict[str, Any]) -> Any:
        return task

    def runner(self, delivery: str) -> Callable[[Any], Awaitable[Any]]:
        del delivery
        return self.run

    def text(self, result: dict[str, Any]) -> str:
        return str(result["text"])


if __name__ == "__main__":
    harness.main(Bare())
