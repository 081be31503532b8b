"""A server that says very much at once: others have their turn, and memory stays bounded."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from runware_ws import Client, ClientClosed, Submitted
from runware_ws._io.driver import WAKES
from runware_ws._io.sockets import MESSAGES_IN_A_ROW
from runware_ws._io.transport import dial
from runware_ws._io.transport.inbox import Inbox
from runware_ws.config import Config
from runware_ws.emulator import Emulator
from runware_ws.testing.network import MemoryNetwork

from .raw import Peer, quick, result_of, serving
from .support import KEY, SESSION, Gate, ask, bounded, client_of, memory_client, until

pytestmark = pytest.mark.anyio

TASKS = 4_000


@bounded
async def test_others_have_their_turn_while_thousands_of_results_come_in() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            told = most = turns = 0

            async def run() -> None:
                nonlocal told
                await client.run(ask())
                told += 1

            async with anyio.create_task_group() as group:
                for _ in range(TASKS):
                    group.start_soon(run)
                await until(lambda: client.stats().in_flight == TASKS)
                gate.open()
                before = 0
                while told < TASKS:
                    await anyio.lowlevel.checkpoint()
                    most = max(most, told - before)
                    turns += told > before
                    before = told
            # One lot as results come in, and one of those that were put off.
            assert most <= 2 * WAKES
            assert turns >= TASKS // (2 * WAKES)
            assert client.stats().recovered_by == {"live": TASKS}


@pytest.mark.parametrize("cancelled", [False, True], ids=["closed", "cancelled"])
@bounded
async def test_closing_tells_all_callers_however_many_there_are(cancelled: bool) -> None:
    async with Emulator(KEY) as emulator:
        Gate(emulator)
        ends: list[Submitted] = []

        async def run(client: Client) -> None:
            try:
                await client.run(ask())
            except ClientClosed as exc:
                ends.append(exc.submitted)

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with client_of(emulator) as client:
                    for _ in range(TASKS):
                        group.start_soon(run, client)
                    await until(lambda: client.stats().in_flight == TASKS)
                    if cancelled:
                        # The client's own tasks end with this scope; its callers live on.
                        scope.cancel()
                        await anyio.sleep_forever()
        assert len(ends) == TASKS
        assert set(ends) <= {Submitted.NO, Submitted.MAYBE}


class _Flood:
    """A WebSocket server that sends so many small messages as fast as it can."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self.sent = 0
        self.closed = anyio.Event()

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        protocol = ServerProtocol()
        async with stream, anyio.create_task_group() as group:
            while protocol.state is State.CONNECTING:
                protocol.receive_data(await stream.receive())
                for event in protocol.events_received():
                    assert isinstance(event, Request)
                    protocol.send_response(protocol.accept(event))
                    await _flush(protocol, stream)
            group.start_soon(self._send, stream)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while protocol.state is State.OPEN:
                    protocol.receive_data(await stream.receive())
                self.closed.set()
            group.cancel_scope.cancel()

    async def _send(self, stream: anyio.abc.SocketStream) -> None:
        while self.sent < self._messages:
            texts = (b"%09d" % number for number in range(self.sent, self.sent + 1_000))
            frames = (Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts)
            await stream.send(b"".join(frames))
            self.sent += 1_000


async def _flush(protocol: ServerProtocol, stream: anyio.abc.SocketStream) -> None:
    for data in protocol.data_to_send():
        await stream.send(data)


@asynccontextmanager
async def _flooded(messages: int) -> AsyncGenerator[tuple[_Flood, str]]:
    flood = _Flood(messages)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(listener.serve, flood.serve)
        yield flood, f"ws://127.0.0.1:{port}"
        group.cancel_scope.cancel()


@bounded
async def test_every_message_of_a_flood_comes_whole_and_in_order() -> None:
    async with _flooded(60_000) as (flood, url), dial(url, Config()) as transport:
        taken = 0
        while taken < 60_000:
            batch = [await transport.receive(), *transport.take_ready()]
            assert batch == [b"%09d" % number for number in range(taken, taken + len(batch))]
            taken += len(batch)
        # It counts only when it has its turn again.
        await until(lambda: flood.sent == 60_000)


@bounded
async def test_a_flood_does_not_hold_up_the_closing_handshake() -> None:
    async with (
        _flooded(10_000_000) as (flood, url),
        dial(url, Config(close_timeout=8.0)) as transport,
    ):
        await transport.receive()
        with anyio.fail_after(5.0):
            await transport.aclose()
            await flood.closed.wait()
        assert flood.sent < 10_000_000


async def test_empty_parts_of_a_message_take_no_memory() -> None:
    inbox: Any = Inbox()
    assert inbox.put(Frame(Opcode.TEXT, b"a", fin=False))
    for _ in range(100_000):
        assert inbox.put(Frame(Opcode.CONT, b"", fin=False))
    assert sys.getsizeof(inbox._parts) < 1_000
    assert inbox.put(Frame(Opcode.CONT, b"b"))
    assert inbox.put(Frame(Opcode.TEXT, b"", fin=False))
    assert inbox.put(Frame(Opcode.CONT, b""))
    assert inbox.put(Frame(Opcode.TEXT, b"c"))
    assert [await inbox.get() for _ in range(3)] == [b"ab", b"", b"c"]


@bounded
async def test_pings_of_a_peer_that_reads_nothing_take_no_memory() -> None:
    """The pongs that nobody takes are dropped, and what stands behind the pings is read."""
    lot = Frame(Opcode.PING, bytes(125)).serialize(mask=False) * 2_000
    unsent = 0

    async def serve(peer: Peer) -> None:
        await peer.greet()
        task = await peer.task()
        for _ in range(20):
            await peer.stream.send(lot)
        await peer.send(result_of(task))
        await anyio.sleep_forever()

    tracemalloc.start()
    try:
        async with (
            serving(serve) as (url, _),
            # It answers no ping of ours either, and is not to be judged for that here.
            quick(url, ping_after=60, ping_timeout=60, busy_ping_after=60) as client,
        ):
            await client.ready()
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            assert (await client.run(ask())).text == "done"
            after, _ = tracemalloc.get_traced_memory()
            driver: Any = vars(client)["_driver"]
            connection = driver._timer.transport._own
            unsent = sum(map(len, connection.protocol.writes))
            if hasattr(connection, "transport"):
                unsent += connection.transport.get_write_buffer_size()
    finally:
        tracemalloc.stop()
    assert after - before < 3_000_000
    assert unsent < 100_000


@bounded
async def test_the_latest_ping_is_answered_once_the_peer_reads() -> None:
    answered: list[bytes] = []

    async def serve(peer: Peer) -> None:
        await peer.greet()
        for number in range(40_000):
            if number % 4_000 == 0:
                await peer.frames(
                    *(Frame(Opcode.PING, b"%08d" % n) for n in range(number, number + 4_000))
                )
        last = b"%08d" % 39_999
        while last not in answered:
            answered.extend(await peer.pongs())
        await anyio.sleep_forever()

    async with (
        serving(serve) as (url, _),
        quick(url) as client,
    ):
        await client.ready()
        await until(lambda: b"%08d" % 39_999 in answered)
    assert answered == sorted(answered)


@bounded
async def test_no_more_messages_wait_than_a_few_turns_bring() -> None:
    """Each turn of the loop brings more of them than are handed on in a row."""
    network = MemoryNetwork()
    each, most = 2 * MESSAGES_IN_A_ROW, 0
    async with memory_client(network) as client:
        socket = await network.accept()
        await socket.authenticate(SESSION)
        await client.ready()
        begun = client.stats().frames_in
        for turn in range(1, 101):
            for _ in range(each):
                socket.send(b"{}")
            await anyio.lowlevel.checkpoint()
            most = max(most, turn * each - (client.stats().frames_in - begun))
    assert most <= 6 * each


@bounded
async def test_a_peer_that_sends_on_and_on_does_not_hold_up_the_end() -> None:
    """Each turn of the loop brings more messages, so there is always one to be read."""
    network = MemoryNetwork()
    turns = 0
    async with anyio.create_task_group() as group, memory_client(network) as client:
        socket = await network.accept()
        await socket.authenticate(SESSION)
        await client.ready()

        async def flood() -> None:
            nonlocal turns
            while socket.open and turns < 1_000:
                turns += 1
                for _ in range(2 * MESSAGES_IN_A_ROW):
                    socket.send(b"{}")
                await anyio.lowlevel.checkpoint()

        group.start_soon(flood)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
    assert turns < 100
