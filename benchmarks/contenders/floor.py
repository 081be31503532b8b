"""The floor: the bare loop again, over ``picows``, which parses frames in C."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,  # pyright: ignore[reportUnknownVariableType]
)

from benchmarks.contenders import harness

MAX_FRAME = 64 * 1024 * 1024


class Floor(WSListener):
    """A frame per task, a dict of futures, answers read in the listener's callback."""

    def __init__(self) -> None:
        super().__init__()
        self._futures: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._ready = asyncio.Event()

    async def open(self, url: str, key: str, *, in_flight: int) -> None:
        del in_flight
        transport, _ = await ws_connect(lambda: self, url, max_frame_size=MAX_FRAME)
        self._transport: WSTransport = transport
        transport.send(
            WSMsgType.TEXT, orjson.dumps([{"taskType": "authentication", "apiKey": key}])
        )
        await self._ready.wait()

    async def close(self) -> None:
        self._transport.disconnect(graceful=False)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        del transport
        if frame.msg_type != WSMsgType.TEXT:
            return
        for item in orjson.loads(frame.get_payload_as_memoryview())["data"]:
            future = self._futures.pop(item.get("taskUUID"), None)
            if future is None:
                self._ready.set()
            elif not future.done():
                future.set_result(item)

    async def run(self, task: dict[str, Any]) -> dict[str, Any]:
        """Run one task."""
        name = str(uuid.uuid4())
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._futures[name] = future
        self._transport.send(WSMsgType.TEXT, orjson.dumps([{**task, "taskUUID": name}]))
        return await future

    def prepare(self, task: dict[str, Any]) -> Any:
        return task

    def runner(self, delivery: str) -> Callable[[Any], Awaitable[Any]]:
        del delivery
        return self.run

    def text(self, result: dict[str, Any]) -> str:
        return str(result["text"])


if __name__ == "__main__":
    harness.main(Floor())
