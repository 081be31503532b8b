"""The emulator as a program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import anyio

from .control_http import NEEDS_H11, has_h11
from .latency import Latency
from .options import EmulatorOptions
from .orders import apply_fault_order
from .script_file import EmulatorScript
from .server import Emulator
from .validation import HAIKU

__all__ = ["serve", "told"]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def told(emulator: Emulator, faults: Sequence[str] = ()) -> list[str]:
    """What an emulator serves, one thing a line, for people. It must listen.

    ``faults``: the orders that it was given. The API key is not told, the control token is.
    """
    options, latency = emulator.options, emulator.latency
    spread = "" if latency.kind == "constant" else f" ({latency.kind}, {latency.high:g})"
    script = emulator.script
    lines = [
        f"listening on {emulator.url}",
        f"http:      {emulator.http_url}" + ("" if has_h11() else " (needs h11: extra sse)"),
        f"models:    {HAIKU}, checked as its schema is published; any other, unchecked",
        f"latency:   {latency.low:g} s{spread}",
        f"faults:    {', '.join(faults) or 'none'}",
        f"capacity:  {_capacity(options)}",
    ]
    if script is not None:
        lines.append(f"script:    {len(script.steps)} steps, {len(script.answers)} answers")
    if emulator.control_url is not None:
        lines.append(f"control:   {emulator.control_url} (token {emulator.control_token})")
    elif not has_h11():
        lines.append(f"control:   none: {NEEDS_H11}")
    return lines


def _capacity(options: EmulatorOptions) -> str:
    capacity, queue, rate = options.capacity, options.queue_limit, options.rate_limit
    room = "no limit"
    if capacity is not None:
        room = f"{capacity} at a time, {'any number' if queue is None else queue} waiting"
    return room if rate is None else f"{room}; {rate:g} a second for each key"


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
    script: str | Path | EmulatorScript | None = None,
    control_port: int | None = None,
    control_token: str | None = None,
    faults: Sequence[str] = (),
    say: Callable[[str], None] = _say,
    on_ready: Callable[[Emulator], None] | None = None,
    verbose: bool = False,
) -> None:
    """Run an emulator until cancelled.

    When it is ready it says ``listening on URL``; if ``verbose`` in further lines what it serves,
    see :func:`told`. ``faults`` are orders in text form, see :func:`apply_fault_order`. ``say``
    gets each line of output (default: standard output). ``on_ready`` gets the emulator once.

    Raises:
        ValueError: a bad latency, fault order or script, or a remote host without
            ``allow_remote``.
        OSError: a port is taken.
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
        script=script,
        control_port=control_port,
        control_token=control_token,
    )
    async with emulator:
        for order in faults:
            apply_fault_order(emulator.faults, order)
        if on_ready is not None:
            on_ready(emulator)
        lines = told(emulator, faults)
        for line in lines if verbose else lines[:1]:
            say(line)
        await anyio.sleep_forever()
