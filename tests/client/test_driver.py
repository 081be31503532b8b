"""What the driver does between the core and a socket, on sockets that behave as they may."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from runware_ws import Client, Loss, LossKind, RecoveredBy
from runware_ws._io.transport.base import NotSent, Transport
from runware_ws.config import Config
from runware_ws.testing.network import MemoryNetwork, MemorySocket
from tests import virtual

from .support import KEY, NOWHERE, QUICK, SESSION, ample, answer, ask, until

pytestmark = pytest.mark.anyio

anyio_backend = virtual.anyio_backend

OTHER = "0b1d7c6e-2f60-4a0e-9f0b-6d6c2b8f7a55"

Wrap = Callable[[Any], Any]


class Wrapped:
    """A transport that does all as the one below it, but for what a test replaces."""

    def __init__(self, below: Any) -> None:
        self.below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


def dialing(network: MemoryNetwork, wrap: Wrap, *, leaving: float = 0.0) -> Any:
    """A dial whose transports are wrapped, and which takes so long to leave."""

    @asynccontextmanager
    async def dial(url: str, config: Config) -> AsyncGenerator[Transport]:
        async with network.dial(url, config) as transport:
            try:
                yield cast("Transport", wrap(transport))
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(leaving)

    return dial


def client_on(dial: Any, **options: Any) -> AbstractAsyncContextManager[Client]:
    """A quick client on these sockets."""
    return Client(NOWHERE, api_key=KEY, dial=dial, **{**QUICK, **options})


async def accepted(network: MemoryNetwork, session: str = SESSION) -> MemorySocket:
    """The server's side of the next socket, authenticated."""
    socket = await network.accept()
    await socket.authenticate(session)
    return socket


@ample
async def test_a_frame_that_was_not_sent_is_sent_by_the_next_socket_without_a_question() -> None:
    network = MemoryNetwork()
    refused = 0

    class Gone(Wrapped):
        """The first frame of tasks finds that the socket has ended."""

        async def send(self, data: bytes) -> None:
            nonlocal refused
            if b"textInference" in data and not refused:
                refused += 1
                raise NotSent(Loss(LossKind.CLOSED))
            await self.below.send(data)

    async with client_on(dialing(network, Gone)) as client:
        await accepted(network)
        await client.ready()
        task = ask()
        handle = await client.submit(task)
        socket = await accepted(network, OTHER)
        assert refused == 1
        (first,) = await socket.receive()
        assert (first["taskType"], first["taskUUID"]) == ("textInference", task.task_uuid)
        answer(socket, first)
        assert (await handle).recovered_by is RecoveredBy.LIVE


@ample
async def test_all_messages_of_one_read_are_read() -> None:
    network = MemoryNetwork()
    async with client_on(network.dial, batch_tasks=64) as client:
        socket = await accepted(network)
        await client.ready()
        handles = [await client.submit(ask()) for _ in range(5)]
        tasks = await socket.receive()
        for task in tasks:
            answer(socket, task)
        with anyio.fail_after(0.01):
            for handle in handles:
                await handle


@ample
async def test_what_had_come_before_a_failed_write_is_read() -> None:
    network = MemoryNetwork()
    gone = False

    class Slow(Wrapped):
        """The messages come a moment late, and writes fail at once."""

        async def send(self, data: bytes) -> None:
            if gone:
                raise NotSent(Loss(LossKind.CLOSED))
            await self.below.send(data)

        async def receive(self) -> bytes | str:
            got: bytes | str = await self.below.receive()
            if b"text" in (got if isinstance(got, bytes) else got.encode()):
                await anyio.sleep(0.1)
            return got

    async with client_on(dialing(network, Slow)) as client:
        socket = await accepted(network)
        await client.ready()
        first = await client.submit(ask())
        (asked,) = await socket.receive()
        answer(socket, asked)
        gone = True
        await client.submit(ask())
        result = await first
        assert result.recovered_by is RecoveredBy.LIVE


@ample
async def test_the_bytes_of_a_large_message_in_the_making_keep_the_socket() -> None:
    network = MemoryNetwork()
    async with client_on(network.dial) as client:
        socket = await accepted(network)
        await client.ready()
        handle = await client.submit(ask())
        (task,) = await socket.receive()
        for _ in range(60):
            await anyio.sleep(0.5)
            socket.trickle()
        answer(socket, task)
        assert (await handle).recovered_by is RecoveredBy.LIVE
        assert client.stats().dials == 1


@ample
async def test_a_socket_with_room_gives_others_their_turn() -> None:
    network = MemoryNetwork()
    written = most = 0

    class Ready(Wrapped):
        """Its buffer always has room, so a write does not wait."""

        async def send(self, data: bytes) -> None:
            nonlocal written, most
            if b"textInference" not in data:
                await self.below.send(data)
                return
            written += 1
            most = max(most, written)

    async def watch() -> None:
        nonlocal written
        while True:
            written = 0
            await anyio.lowlevel.checkpoint()

    async with client_on(dialing(network, Ready), batch_tasks=1) as client:
        await accepted(network)
        await client.ready()
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            for _ in range(200):
                await client.submit(ask())
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert client.stats().frames_out >= 200
        assert 0 < most <= 32


@ample
async def test_a_socket_that_was_given_up_before_its_dial_is_not_opened() -> None:
    network = MemoryNetwork()
    dial = dialing(network, Wrapped, leaving=20.0)
    async with client_on(dial, open_timeout=1.0) as client:
        socket = await accepted(network)
        await client.ready()
        handle = await client.submit(ask())
        await socket.receive()
        # Leaving this socket takes longer than several dials may.
        socket.end()
        await anyio.sleep(15)
        assert client.stats().dials > 2
        socket = await accepted(network)
        assert len(network.dials) == 2
        answer(socket, {"taskType": "textInference", "taskUUID": handle.uuid})
        await handle


@ample
async def test_everybody_is_woken_however_many_end_at_once() -> None:
    network = MemoryNetwork()
    async with client_on(network.dial, batch_tasks=64) as client:
        socket = await accepted(network)
        await client.ready()
        ended: set[str] = set()

        async def wait() -> None:
            ended.add((await client.run(ask())).task_uuid)

        async with anyio.create_task_group() as group:
            for _ in range(300):
                group.start_soon(wait)
            items: list[dict[str, Any]] = []
            while len(items) < 300:
                items += [{**task, "text": "yes"} for task in await socket.receive()]
            socket.send({"data": items})
        assert len(ended) == 300
        await until(lambda: client.stats().pending == 0)


@ample
async def test_a_closing_that_is_cancelled_does_not_wait_for_the_handshake() -> None:
    network = MemoryNetwork()

    class Polite(Wrapped):
        """The peer never answers the closing handshake."""

        async def aclose(self) -> None:
            await anyio.sleep(1_000)

    async with client_on(dialing(network, Polite), close_timeout=500.0) as client:
        await accepted(network)
        await client.ready()
        begun = anyio.current_time()
        with anyio.move_on_after(1) as scope:
            await client.aclose()
        assert scope.cancelled_caught
        assert anyio.current_time() - begun < 2
