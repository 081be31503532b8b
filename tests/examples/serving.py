"""An example's service on a port of its own, in the loop of the test."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio

__all__ = ["TOO_LONG", "served", "until"]

TOO_LONG = 60.0
"""Seconds until a test that hangs is given up. No test comes near it when it passes."""


async def until(true: Callable[[], object]) -> None:
    """Wait for something that another task brings about."""
    with anyio.fail_after(TOO_LONG):
        while not true():  # noqa: ASYNC110 - the condition has no event
            await anyio.sleep(0.005)


@asynccontextmanager
async def served(app: Any) -> AsyncGenerator[tuple[Any, int]]:
    """Serve an ASGI app; yields the server and its port. It is shut down as by SIGTERM."""
    uvicorn: Any = importlib.import_module("uvicorn")
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            log_config=None,
            ws="none",
            interface="asgi3",
            timeout_graceful_shutdown=5,
        )
    )
    server.capture_signals = nullcontext  # They are the test's own.
    running = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or running.done())
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running
