"""A dial that is cancelled, at each of its steps and in the moment in which that step is over."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Generator
from typing import Any

import pytest
from websockets.asyncio.connection import Connection

from runware_ws import Config
from runware_ws._io.transport.websocket import dial
from tests.streams.servers import certificate, listening, relay

from .raw import Peer
from .support import bounded

pytestmark = pytest.mark.anyio

ASYNCIO = pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio")
UVLOOP = pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[ASYNCIO, UVLOOP])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """trio has no such moment: a cancelled task learns of its cancellation in its wait."""
    return request.param


@types.coroutine
def cancelled_late(coroutine: Any, step: int) -> Generator[Any, Any, bool]:
    """Run, and cancel when the wait of this step is over; whether it came so far."""
    resume, value, count = coroutine.send, None, 0
    while True:
        try:
            waiting = resume(value)
        except StopIteration:
            return count >= step
        try:
            resume, value = coroutine.send, (yield waiting)
        except BaseException as exc:
            resume, value = coroutine.throw, exc
        count += 1
        if count == step:
            resume, value = coroutine.throw, asyncio.CancelledError()


@pytest.mark.parametrize(
    "proxied",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                not hasattr(Connection, "set_connection_exc"),
                reason="with old libraries the server here trips over a peer that leaves",
            ),
        ),
    ],
)
@bounded
async def test_a_dial_cancelled_late_leaves_its_socket_to_nobody(
    proxied: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The number of its socket is the next one's: nothing may still be polling it."""
    server, trusting = certificate("localhost")

    async def serve(stream: Any) -> None:
        await Peer(stream, 1).upgrade()
        while True:
            await stream.receive()

    async def tunnel(stream: Any) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await relay(stream, port)

    async with listening(serve, server) as port, listening(tunnel) as proxy_port:
        proxy = f"http://127.0.0.1:{proxy_port}" if proxied else None
        config = Config(ssl=trusting, proxy=proxy)

        async def once() -> None:
            async with dial(f"wss://localhost:{port}/v1", config):
                pass

        async def attempt(step: int) -> bool:
            return await cancelled_late(once(), step)

        step, more = 0, True
        while more:
            step += 1
            task = asyncio.ensure_future(attempt(step))
            await asyncio.wait([task])
            more = task.cancelled() or task.result()
            await once()
        assert step > 3
    assert not [record for record in caplog.records if record.name == "asyncio"]
