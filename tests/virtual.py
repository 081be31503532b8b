"""Both event loops in virtual time: when everybody waits, the clock goes to the next deadline.

Only what waits for the outer world keeps real time, so nothing in such a test may: no sockets, no
threads, no processes. What is left is exact: a test that says "nothing comes for a second" has
looked at all that could have come, and no busy machine can make it late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
import sniffio
import trio
from trio.testing import MockClock

from runware_ws.emulator import Emulator
from runware_ws.testing import virtual_time
from runware_ws.testing.memory import SocketlessEmulator
from tests.simulation.loop import VirtualLoop

__all__ = ["LOOPS", "anyio_backend", "backend", "call_soon", "in_virtual_time", "only", "serving"]

LOOPS = ("asyncio", "trio")
"""Parameters of an ``anyio_backend`` fixture, each to be given to :func:`backend`."""


def backend(loop: str) -> tuple[str, dict[str, Any]]:
    """A back-end whose clock jumps."""
    return ("asyncio", {"loop_factory": VirtualLoop}) if loop == "asyncio" else virtual_time()


def only() -> pytest.MarkDecorator:
    """For a single test in virtual time: ``@virtual.only()``."""
    backends = [pytest.param(backend(loop), id=loop) for loop in LOOPS]
    return pytest.mark.parametrize("anyio_backend", backends)


def serving(*args: Any, **options: Any) -> Emulator:
    """An emulator: in memory where time is virtual, on a port where it is not."""
    return (SocketlessEmulator if in_virtual_time() else Emulator)(*args, **options)


def in_virtual_time() -> bool:
    """Whether the running loop is one of these."""
    if sniffio.current_async_library() == "trio":
        return isinstance(trio.lowlevel.current_clock(), MockClock)
    return isinstance(asyncio.get_running_loop(), VirtualLoop)


def call_soon(function: Callable[[], object]) -> None:
    """Have the running loop call it, outside of all tasks and their contexts."""
    if sniffio.current_async_library() == "trio":
        trio.lowlevel.current_trio_token().run_sync_soon(function)
    else:
        asyncio.get_running_loop().call_soon(function, context=Context())


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """For modules in virtual time: ``anyio_backend = virtual.anyio_backend``."""
    return backend(request.param)
