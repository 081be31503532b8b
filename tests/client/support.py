"""What the tests of the client share."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import anyio
import tenacity
from anyio.abc import TaskGroup

from runware_ws import Client, EventStream, Result, TextInference
from runware_ws.emulator import Emulator, Request, expected_text
from runware_ws.events import Event
from runware_ws.testing.memory import SocketlessEmulator
from runware_ws.testing.network import MemoryNetwork, MemorySocket

P = ParamSpec("P")
EventT = TypeVar("EventT", bound=Event)

KEY = "Kq7xVw2ZpT9mLs4RdY8bNc3HgJ6fAe5U"
SESSION = "5d7c1a52-7a0c-4c39-9d3d-3d9b6f0c2a11"
NOWHERE = "ws://127.0.0.1:9/v1"

QUICK: dict[str, Any] = {
    "backoff": tenacity.wait_fixed(0.01),
    "replay_grace": 0.05,
    "resend_after": 0.05,
    "resend_early": True,
    "proxy": None,
    "timeout": 50.0,
}
"""Options that make a real-time test short."""


def bounded(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """A safety net against tests that hang: a minute of the test's clock, whatever the machine."""

    @functools.wraps(test)
    async def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with anyio.fail_after(60):
            await test(*args, **kwargs)

    return run


def ample(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """The same in virtual time, where hours cost nothing."""

    @functools.wraps(test)
    async def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with anyio.fail_after(20_000):
            await test(*args, **kwargs)

    return run


def client_of(emulator: Emulator, **options: Any) -> Client:
    """A quick client of ``emulator``."""
    key = options.pop("api_key", KEY)
    if isinstance(emulator, SocketlessEmulator):
        options.setdefault("dial", emulator.dial)
    return Client(emulator.url, api_key=key, **{**QUICK, **options})


class EndlessPost:
    """A ``post=`` that never ends by itself, and tells which payloads it began and ended with."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.ended: list[bytes] = []

    async def __call__(self, payload: bytes, *_: Any) -> Any:
        """Wait until it is given up."""
        self.begun.append(payload)
        try:
            await anyio.sleep_forever()
        finally:
            self.ended.append(payload)


def ask(text: str = "hello", **fields: Any) -> TextInference:
    """A question."""
    return TextInference.prompt(text, **fields)


def texts_of(task: TextInference) -> list[str]:
    """The texts of the emulator's default answer, sorted."""
    prompt = task.messages[-1].content
    count = task.number_results or 1
    return sorted(expected_text(prompt, task.task_uuid, index) for index in range(count))


def assert_answers(result: Result, task: TextInference) -> None:
    """``result`` is the whole answer to ``task``, each item once."""
    assert result.task_uuid == task.task_uuid
    assert sorted(str(item.text) for item in result.items) == texts_of(task)
    assert {item.task_uuid for item in result.items} == {task.task_uuid}


async def until(condition: Callable[[], Any]) -> Any:
    """Wait for something that will be so in a moment; returns what it gave."""
    for _ in range(25_000):
        if found := condition():
            return found
        await anyio.sleep(0.002)
    raise AssertionError("it never came to that")


def only(events: list[Event], kind: type[EventT]) -> list[EventT]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


async def rest(stream: EventStream) -> list[Event]:
    """All events up to the end."""
    return [event async for event in stream]


def connected(client: Client, number: int) -> Callable[[], bool]:
    """Whether so many sockets were authenticated."""
    return lambda: client.stats().connections == number


class Gate:
    """A reply of the emulator that answers when the test says so."""

    def __init__(self, emulator: Emulator, task_type: str = "textInference") -> None:
        self.running = 0
        self.most = 0
        self.seen: list[str] = []
        self._opened = anyio.Event()
        emulator.reply(task_type)(self._reply)

    def open(self) -> None:
        """Answer everything from now on."""
        self._opened.set()

    async def _reply(self, request: Request) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        self.seen.append(request.prompt)
        await self._opened.wait()
        self.running -= 1
        return expected_text(request.prompt, request.task_uuid, request.index)


# A server without a network


def memory_client(network: MemoryNetwork, **options: Any) -> Client:
    """A client whose sockets are ``network``'s."""
    key = options.pop("api_key", KEY)
    return Client(NOWHERE, api_key=key, dial=network.dial, **options)


def answer(socket: MemorySocket, task: dict[str, Any], **fields: Any) -> None:
    """Answer one task object."""
    uuid = str(task["taskUUID"])
    item = {"taskType": task["taskType"], "taskUUID": uuid, "text": f"to {uuid}", **fields}
    socket.send({"data": [item]})


def pong(socket: MemorySocket) -> None:
    """Answer a ping."""
    socket.send({"data": [{"taskType": "ping", "pong": True}]})


class EchoServer:
    """Answers every task at once, on any number of memory sockets."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.sockets: list[MemorySocket] = []
        self.received: list[str] = []
        self.mute = False

    async def serve(self) -> None:
        """Accept until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                socket = await self.network.accept()
                self.sockets.append(socket)
                group.start_soon(self._talk, socket)

    async def _talk(self, socket: MemorySocket) -> None:
        try:
            await socket.authenticate(SESSION)
            while True:
                for task in await socket.receive():
                    self._one(socket, task)
        except anyio.EndOfStream:
            return

    def _one(self, socket: MemorySocket, task: dict[str, Any]) -> None:
        if task["taskType"] == "ping":
            pong(socket)
            return
        self.received.append(task["taskUUID"])
        if not self.mute:
            answer(socket, task)


@asynccontextmanager
async def echoing(network: MemoryNetwork) -> AsyncGenerator[EchoServer]:
    """An :class:`EchoServer` on ``network`` that stops at the end of the block."""
    server = EchoServer(network)
    group: TaskGroup
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        try:
            yield server
        finally:
            group.cancel_scope.cancel()
