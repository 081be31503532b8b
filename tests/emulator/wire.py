"""A raw client: one WebSocket, JSON in and out, no idea of tasks.

In virtual time the wire is a pair of streams in memory, and the emulator has no port.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import sniffio
from anyio.abc import ByteStream
from websockets.asyncio.client import connect as connect_asyncio
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.trio.client import connect as connect_trio
from websockets.uri import parse_uri

from runware_ws.emulator import Emulator, expected_text
from runware_ws.testing.memory import SocketlessEmulator
from runware_ws.testing.pipes import stream_pair
from tests.virtual import in_virtual_time

KEY = "a-key-for-tests"
MODEL = "anthropic:claude@haiku-4.5"
TOO_LONG = 30.0
"""Seconds until a test that hangs is given up. No test comes near it when it passes."""


class InMemory(SocketlessEmulator):
    """An emulator without a port, which also runs the readers of its clients."""

    def connect(self) -> ByteStream:
        """The client's end of a new connection."""
        ours, theirs = stream_pair()
        self.accept(theirs)
        return ours

    def spawn(self, function: Any) -> None:
        """Run a reader as long as the server."""
        assert self._group is not None
        self._group.start_soon(function)


def serving(*args: Any, **options: Any) -> Emulator:
    """An emulator: on a port, or in memory where time is virtual."""
    return InMemory(*args, **options) if in_virtual_time() else Emulator(*args, **options)


async def connected(emulator: Emulator) -> ByteStream:
    """A new connection, before a word is said."""
    if isinstance(emulator, InMemory):
        return emulator.connect()
    return await anyio.connect_tcp("127.0.0.1", emulator.port)


class MemorySocket:
    """A WebSocket over a stream in memory, with the calls of the library's own clients.

    Like those it reads in the background: pings and close frames are answered at once.
    """

    def __init__(self, stream: ByteStream, url: str) -> None:
        self.stream = stream
        self._protocol = ClientProtocol(parse_uri(url), max_size=None)
        self._messages: deque[str | bytes] = deque()
        self._parts: list[bytes] = []
        self._text = True
        self._news = anyio.Event()
        self._pong = anyio.Event()

    async def open(self, server: InMemory) -> None:
        """Shake hands. Raises what the library raises where the server refuses."""
        self._protocol.send_request(self._protocol.connect())
        await self._flush()
        server.spawn(self._read)
        await self._until(lambda: self._protocol.state is not State.CONNECTING)
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc

    async def send(self, message: str | bytes | Sequence[str]) -> None:
        """Send one message, in fragments where it is a list."""
        if self._protocol.state is not State.OPEN:
            raise self._protocol.close_exc
        if isinstance(message, bytes):
            self._protocol.send_binary(message)
        elif isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            first, *rest = (part.encode() for part in message)
            self._protocol.send_text(first, fin=not rest)
            for left, part in enumerate(rest, 1 - len(rest)):
                self._protocol.send_continuation(part, fin=not left)
        await self._flush()

    async def recv(self) -> str | bytes:
        """The next message; ``ConnectionClosed`` when there is none any more."""
        await self._until(lambda: bool(self._messages) or self._protocol.state is State.CLOSED)
        if not self._messages:
            raise self._protocol.close_exc
        return self._messages.popleft()

    async def ping(self) -> anyio.Event:
        """Send a ping; the event is the pong."""
        self._pong = anyio.Event()
        self._protocol.send_ping(b"ping")
        await self._flush()
        return self._pong

    async def close(self) -> None:
        """Close with a handshake; without one after ten seconds."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            await self._flush()
        try:
            with anyio.move_on_after(10):
                await self._until(lambda: self._protocol.state is State.CLOSED)
        finally:
            await anyio.aclose_forcefully(self.stream)

    async def _until(self, true: Any) -> None:
        while not true():
            await self._news.wait()

    async def _read(self) -> None:
        while self._protocol.state is not State.CLOSED:
            try:
                self._protocol.receive_data(await self.stream.receive())
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                self._protocol.receive_eof()
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._take(event)
            await self._flush()
            self._news.set()
            self._news = anyio.Event()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._pong.set()
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
            self._parts = []
        self._parts.append(bytes(frame.data))
        if frame.fin:
            whole = b"".join(self._parts)
            self._messages.append(whole.decode() if self._text else whole)

    async def _flush(self) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            for chunk in self._protocol.data_to_send():
                await (self.stream.send(chunk) if chunk else self.stream.send_eof())


class Wire:
    """One open socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, *tasks: Any) -> None:
        """Send one array of task objects."""
        await self.socket.send(json.dumps(tasks))

    async def recv(self, timeout: float = TOO_LONG) -> dict[str, Any]:
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
        with anyio.fail_after(TOO_LONG):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as exc:
                return exc.rcvd.code if exc.rcvd is not None else 1006

    async def vanish(self) -> None:
        """Drop the connection without a word."""
        transport = getattr(self.socket, "transport", None)
        if transport is not None:
            transport.abort()
        else:
            await self.socket.stream.aclose()

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
    options = {"compression": None, "max_size": None, "open_timeout": TOO_LONG, **options}
    connect: Any = connect_trio if sniffio.current_async_library() == "trio" else connect_asyncio
    return connect(url, **options)


@asynccontextmanager
async def _in_memory(
    server: InMemory, url: str, open_timeout: float = TOO_LONG
) -> AsyncGenerator[MemorySocket]:
    socket = MemorySocket(server.connect(), url)
    with anyio.fail_after(open_timeout):
        await socket.open(server)
    try:
        yield socket
    finally:
        await socket.close()


@asynccontextmanager
async def raw(emulator: Emulator, url: str | None = None, **options: Any) -> AsyncGenerator[Wire]:
    """An open socket that has not authenticated."""
    url = url or emulator.url
    socket: Any
    if isinstance(emulator, InMemory):
        async with _in_memory(emulator, url, **options) as socket:
            yield Wire(socket)
    else:
        async with _connect(url, **options) as socket:
            yield Wire(socket)


@asynccontextmanager
async def ready(emulator: Emulator, session: str | None = None) -> AsyncGenerator[tuple[Wire, str]]:
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


async def until(condition: Any, timeout: float = TOO_LONG) -> None:
    """Wait for something that another task brings about."""
    with anyio.fail_after(timeout):
        while not condition():  # noqa: ASYNC110 - the condition has no event
            await anyio.sleep(0.002)
