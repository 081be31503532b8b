"""Where the examples connect: the real service, or a local emulator where no key is set.

Your own program needs none of this: ``async with Client() as client`` reads the key from
``RUNWARE_API_KEY`` and knows the service's address.
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
    """Yield ``(url, api_key)``. ``prepare`` may give orders to the emulator, if that is used."""
    key = os.environ.get("RUNWARE_API_KEY")
    if key:
        yield DEFAULT_URL, key
        return
    async with Emulator(api_key=LOCAL_KEY, latency="5ms-50ms") as emulator:
        if prepare is not None:
            prepare(emulator)
        yield emulator.url, LOCAL_KEY
