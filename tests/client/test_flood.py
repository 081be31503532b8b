"""A server that says very much at once: others have their turn, and memory stays bounded."""

from __future__ import annotations

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

from runware_ws.config import Config
from runware_ws.emulator import Emulator
from runware_ws.transport import TransportLost, dial
from runware_ws.transport.inbox import FULL, TURN

from .support import KEY, Gate, ask, bounded, client_of, until

pytestmark = pytest.mark.anyio

READ = 256 * 1024
"""The most that any of the loops reads from a socket at once."""


@bounded
async def test_others_have_their_turn_while_thousands_of_results_come_in() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            most = answered = 0
            async with anyio.create_task_group() as group:
                for _ in range(3_000):
                    group.start_soon(client.run, ask())
                await until(lambda: client.stats().in_flight == 3_000)
                gate.open()
                while answered < 3_000:
                    before, answered = answered, client.stats().answered
                    most = max(most, answered - before)
                    await anyio.lowlevel.checkpoint()
            assert 0 < most <= 2 * TURN


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
async def test_what_is_not_read_yet_is_bounded_and_whole() -> None:
    async with _flooded(60_000) as (flood, url), dial(url, Config()) as transport:
        connection: Any = vars(transport)["_connection"]
        most = taken = 0
        while taken < 60_000:
            batch = [await transport.receive(), *transport.take_ready()]
            assert len(batch) <= TURN + 1
            assert batch == [b"%09d" % number for number in range(taken, taken + len(batch))]
            taken += len(batch)
            most = max(most, len(connection.inbox._messages))
        assert flood.sent == 60_000
        # A full inbox, and what one more read brings: 11 bytes to a frame.
        assert FULL < most <= FULL + READ // 11


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
        with pytest.raises(TransportLost):
            await transport.receive()
