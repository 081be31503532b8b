"""What a client leaves behind: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import trio

from runware_ws.testing.network import MemoryNetwork

from .support import EchoServer, echoing, until

__all__ = ["aside", "living", "nothing_left"]


def living() -> int:
    """How many tasks the event loop runs."""
    try:
        return trio.lowlevel.current_statistics().tasks_living
    except RuntimeError:
        return len(asyncio.all_tasks())


@asynccontextmanager
async def aside(network: MemoryNetwork) -> AsyncGenerator[EchoServer]:
    """An :class:`EchoServer` in an asyncio task of its own, for a block with two tasks."""
    server = EchoServer(network)
    serving = asyncio.create_task(server.serve())
    yield server
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


@asynccontextmanager
async def nothing_left(
    network: MemoryNetwork | None = None, serve: Any = echoing
) -> AsyncGenerator[EchoServer]:
    """A server; at the end of the block no task and no socket of a client is left."""
    async with serve(network or MemoryNetwork()) as server:
        await anyio.lowlevel.checkpoint()
        before = living()
        yield server
        assert not any(socket.open for socket in server.sockets)
        for socket in server.sockets:
            assert socket.client_left is not None
        # The server's own tasks end when they notice.
        await until(lambda: living() == before)
