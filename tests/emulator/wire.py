"""A raw client: one WebSocket, JSON in and out, no idea of tasks."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import sniffio
from websockets.asyncio.client import connect as connect_asyncio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import connect as connect_trio

from runware_ws.emulator import Emulator, expected_text

KEY = "a-key-for-tests"
MODEL = "anthropic:claude@haiku-4.5"


class Wire:
    """One open socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, *tasks: Any) -> None:
        """Send one array of task objects."""
        await self.socket.send(json.dumps(tasks))

    async def recv(self, timeout: float = 5.0) -> dict[str, Any]:
        """The next message. Raises ``TimeoutError`` and ``ConnectionClosed``."""
        with anyio.fail_after(timeout):
            message: dict[str, Any] = json.loads(await self.socket.recv())
            return message

    async def items(self, number: int) -> list[dict[str, Any]]:
        """The next data items, over as many messages as it takes; errors are not expected."""
        found: list[dict[str, Any]] = []
        while len(found) < number:
            message = await self.recv()
            assert set(message) == {"data"}, message
            found.extend(message["data"])
        assert len(found) == number
        return found

    async def item(self) -> dict[str, Any]:
        """The next message's only item."""
        return (await self.items(1))[0]

    async def error(self) -> dict[str, Any]:
        """The next message's only error."""
        message = await self.recv()
        assert set(message) == {"errors"}, message
        errors: list[dict[str, Any]] = message["errors"]
        assert len(errors) == 1
        return errors[0]

    async def silence(self, seconds: float = 0.05) -> None:
        """Nothing comes."""
        with anyio.move_on_after(seconds):
            message = await self.socket.recv()
            raise AssertionError(f"unexpected: {message!r}")

    async def closed(self) -> int:
        """Wait for the end of the socket; returns the close code, 1006 without one."""
        with anyio.fail_after(5):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as exc:
                return exc.rcvd.code if exc.rcvd is not None else 1006

    async def auth(self, session: str | None = None, key: str = KEY) -> str:
        """Authenticate; returns the session UUID."""
        task = {"taskType": "authentication", "apiKey": key}
        if session is not None:
            task["connectionSessionUUID"] = session
        await self.send(task)
        item = await self.item()
        assert item["taskType"] == "authentication"
        return str(item["connectionSessionUUID"])


def _connect(url: str, **options: Any) -> Any:
    options = {"compression": None, "max_size": None, "open_timeout": 2, **options}
    connect: Any = connect_trio if sniffio.current_async_library() == "trio" else connect_asyncio
    return connect(url, **options)


@asynccontextmanager
async def raw(emulator: Emulator, **options: Any) -> AsyncGenerator[Wire, None]:
    """An open socket that has not authenticated."""
    async with _connect(emulator.url, **options) as socket:
        yield Wire(socket)


@asynccontextmanager
async def ready(
    emulator: Emulator, session: str | None = None
) -> AsyncGenerator[tuple[Wire, str], None]:
    """An authenticated socket and its session UUID."""
    async with raw(emulator) as wire:
        yield wire, await wire.auth(session)


def text_task(prompt: str = "hello", **fields: Any) -> dict[str, Any]:
    """A valid text task with a fresh UUID."""
    return {
        "taskType": "textInference",
        "taskUUID": str(uuid.uuid4()),
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        **fields,
    }


def stream_task(prompt: str = "hello streams", **fields: Any) -> dict[str, Any]:
    """A valid text task that is to be streamed."""
    return text_task(prompt, deliveryMethod="stream", **fields)


def expected(task: dict[str, Any]) -> str:
    """The default answer to a task."""
    return expected_text(task["messages"][-1]["content"], task["taskUUID"])


def text_of(items: list[dict[str, Any]]) -> str:
    """The text that deltas make."""
    return "".join(item["delta"].get("text", "") for item in items)


def poll(task: dict[str, Any]) -> dict[str, Any]:
    """The question for the state of a task."""
    return {"taskType": "getResponse", "taskUUID": task["taskUUID"]}


def details(task: dict[str, Any]) -> dict[str, Any]:
    """The question for the archive of a task."""
    return {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}


async def until(condition: Any, timeout: float = 5.0) -> None:
    """Wait for something that another task brings about."""
    with anyio.fail_after(timeout):
        while not condition():  # noqa: ASYNC110 - the condition has no event
            await anyio.sleep(0.002)
