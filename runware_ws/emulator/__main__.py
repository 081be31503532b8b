"""``python -m runware_ws.emulator``: an emulator that its parent process controls by lines.

Lines of JSON on standard input, one answer to each on standard output. The first line says how
to start, and ``listening on URL`` answers it::

    {"api_key": "k", "latency": "50ms", "seed": 1, "options": {"replay": "before-auth"}}

All fields may be missing. Afterwards each line is a command of :mod:`~runware_ws.emulator.control`.

An answer is ``{"ok": ...}``, or ``{"error": "why"}`` and nothing happened. The program ends when
standard input does, so that no emulator outlives its parent.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import orjson
from anyio.from_thread import BlockingPortal
from anyio.streams.memory import MemoryObjectReceiveStream

from .options import EmulatorOptions
from .script_file import read_script
from .server import Emulator

__all__ = ["main"]

RARELY = (50_000, 20, 100_000)
"""Of new objects, and so on: the thresholds of the collector."""


def _say(answer: dict[str, Any] | str) -> None:
    line = answer.encode() if isinstance(answer, str) else orjson.dumps(answer)
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


@asynccontextmanager
async def _lines() -> AsyncGenerator[MemoryObjectReceiveStream[bytes], None]:
    """The lines of standard input, until its end."""
    send, receive = anyio.create_memory_object_stream[bytes](float("inf"))

    def read(portal: BlockingPortal) -> None:
        # A thread of its own, which dies with the process: a pipe cannot be read with anyio on
        # every platform, and a cancelled read of one of anyio's threads would hold up the end.
        rest = b""
        while data := os.read(0, 65536):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                portal.call(send.send_nowait, line)
        portal.call(send.close)

    async with BlockingPortal() as portal, receive:
        threading.Thread(target=read, args=(portal,), daemon=True).start()
        yield receive


def _answer(emulator: Emulator, line: bytes) -> dict[str, Any]:
    try:
        return {"ok": emulator.control(orjson.loads(line))}
    except ValueError as exc:
        return {"error": str(exc)}


async def _program() -> int:
    async with _lines() as lines:
        try:
            emulator = _emulator(await lines.receive())
        except anyio.EndOfStream:
            return 0
        except (ValueError, TypeError) as exc:
            _say({"error": str(exc)})
            return 2
        async with emulator:
            _say(f"listening on {emulator.url}")
            async for line in lines:
                _say(_answer(emulator, line))
    return 0


def _emulator(line: bytes) -> Emulator:
    start = orjson.loads(line)
    if not isinstance(start, dict):
        raise ValueError("the first line must be a JSON object")
    given = cast("dict[str, Any]", start)
    options = EmulatorOptions(**given.pop("options", {}))
    if "script" in given:
        given["script"] = read_script(given["script"])
    return Emulator(given.pop("api_key", None), options=options, **given)


def main() -> int:
    """Run the program; returns the exit code: 2 where it could not start."""
    # A collection stops the answers for tens of milliseconds once thousands of tasks are known.
    gc.freeze()
    gc.set_threshold(*RARELY)
    try:
        return anyio.run(_program)
    except BrokenPipeError:
        # The parent is gone. Nothing may be flushed into the pipe at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # All is closed. To take the interpreter apart as well only keeps the parent waiting.
    os._exit(code)
