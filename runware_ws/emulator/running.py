"""The emulator as a program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import anyio

from .latency import Latency
from .options import EmulatorOptions
from .orders import apply_fault_order
from .server import Emulator

__all__ = ["serve"]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def serve(
    api_key: str | Iterable[str] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    options: EmulatorOptions | None = None,
    latency: str | float | Latency = 0.0,
    seed: int = 0,
    path: str = "/v1",
    allow_remote: bool = False,
    faults: Iterable[str] = (),
    say: Callable[[str], None] = _say,
    on_ready: Callable[[Emulator], None] | None = None,
) -> None:
    """Run an emulator until cancelled; says ``listening on URL`` when it is ready.

    ``faults`` are orders in text form, see :func:`apply_fault_order`. ``say`` gets each
    line of output (default: standard output). ``on_ready`` gets the emulator once.

    Raises:
        ValueError: a bad latency or fault order, or a remote host without ``allow_remote``.
        OSError: the port is taken.
    """
    emulator = Emulator(
        api_key,
        host=host,
        port=port,
        options=options,
        latency=latency,
        seed=seed,
        path=path,
        allow_remote=allow_remote,
    )
    async with emulator:
        for order in faults:
            apply_fault_order(emulator.faults, order)
        if on_ready is not None:
            on_ready(emulator)
        say(f"listening on {emulator.url}")
        await anyio.sleep_forever()
