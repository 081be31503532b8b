"""Where the examples connect: ``RUNWARE_WS_URL``, else the real service, else a local emulator.

Without ``RUNWARE_WS_URL`` and ``RUNWARE_API_KEY`` they bring an emulator of their own. With the
first one alone they use a made-up key, as ``runware-ws emulate`` takes any.

Your own program needs none of this: ``async with Client() as client`` reads both variables and
knows the service's address.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from runware_ws import DEFAULT_URL
from runware_ws.emulator import Emulator

__all__ = ["server"]

LOCAL_KEY = "key-of-the-local-emulator"


@asynccontextmanager
async def server(
    prepare: Callable[[Emulator], None] | None = None,
) -> AsyncGenerator[tuple[str, str]]:
    """Yield ``(url, api_key)``. ``prepare`` may give orders to our own emulator, if it is used."""
    url, key = os.environ.get("RUNWARE_WS_URL"), os.environ.get("RUNWARE_API_KEY")
    if url or key:
        yield url or DEFAULT_URL, key or LOCAL_KEY
        return
    async with Emulator(api_key=LOCAL_KEY, latency="5ms-50ms") as emulator:
        if prepare is not None:
            prepare(emulator)
        yield emulator.url, LOCAL_KEY
