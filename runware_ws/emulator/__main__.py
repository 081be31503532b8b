"""``python -m runware_ws.emulator``: an emulator that its parent process controls by lines.

Lines of JSON on standard input, one answer to each on standard output. The first line says how
to start, and ``listening on URL`` answers it::

    {"api_key": "k", "latency": "50ms", "seed": 1, "options": {"replay": "before-auth"}}

All fields may be missing. Afterwards each line is a command:

* ``{"do": "order", "orders": ["shuffle", "cut"]}``: fault orders, at once;
* ``{"do": "repeat", "steps": [["cut"], ["cut=reset"]], "every": 1.0}``: every so many seconds the
  next step, over and over, or ``times`` in all; the first one after ``first`` seconds. Replaces an
  earlier ``repeat``;
* ``{"do": "rest"}``: no further step of ``repeat``;
* ``{"do": "stats"}``: the counters;
* ``{"do": "executions", "uuids": [...]}``: how often each of these tasks ran;
* ``{"do": "tellable", "uuids": [...]}``: whether a question about it would get its whole answer;
* ``{"do": "change", "options": {"archive_lag": 2.0}}``: these options from now on.

An answer is ``{"ok": ...}``, or ``{"error": "why"}`` and nothing happened. The program ends when
standard input does, so that no emulator outlives its parent.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import cycle, islice
from typing import Any, cast

import anyio
import orjson
from anyio.from_thread import BlockingPortal
from anyio.streams.memory import MemoryObjectReceiveStream

from .options import EmulatorOptions
from .orders import apply_fault_order
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


class _Control:
    """Does what the lines say."""

    def __init__(self, emulator: Emulator, group: anyio.abc.TaskGroup) -> None:
        self._emulator = emulator
        self._group = group
        self._repeating: anyio.CancelScope | None = None

    def answer(self, line: bytes) -> dict[str, Any]:
        try:
            command: Any = orjson.loads(line)
            return {"ok": self._do(command)}
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            return {"error": f"{type(exc).__name__}: {exc}"}

    def _do(self, command: dict[str, Any]) -> Any:
        do = command.get("do")
        stats = self._emulator.stats
        if do == "order":
            self._order(command["orders"])
        elif do == "repeat":
            _check_repeat(command)
            self._rest()
            self._repeating = scope = anyio.CancelScope()
            self._group.start_soon(self._repeat, scope, command)
        elif do == "rest":
            self._rest()
        elif do == "stats":
            return stats.summary()
        elif do == "executions":
            return {uuid: stats.executions.get(uuid, 0) for uuid in command["uuids"]}
        elif do == "tellable":
            return self._emulator.tellable(command["uuids"])
        elif do == "change":
            options = replace(self._emulator.options, **command["options"])
            self._emulator.options = options
        else:
            raise ValueError(f"unknown command {do!r}")
        return None

    def _order(self, orders: Sequence[str]) -> None:
        for order in orders:
            apply_fault_order(self._emulator.faults, order)

    def _rest(self) -> None:
        if self._repeating is not None:
            self._repeating.cancel()

    async def _repeat(self, scope: anyio.CancelScope, command: dict[str, Any]) -> None:
        steps: list[list[str]] = command["steps"]
        every: float = command["every"]
        at = anyio.current_time() + command.get("first", every)
        with scope:
            for step in islice(cycle(steps), command.get("times")):
                await anyio.sleep_until(at)
                self._order(step)
                at += every


def _check_repeat(command: dict[str, Any]) -> None:
    """A mistake must be told to who gave the order, not end the program a second later."""
    if not command["every"] > 0 or not command.get("first", 0.0) >= 0:
        raise ValueError("every must be positive seconds, first 0 or more")
    scratch = Emulator().faults
    for step in command["steps"]:
        for order in step:
            apply_fault_order(scratch, order)


async def _program() -> int:
    async with _lines() as lines:
        try:
            emulator = _emulator(await lines.receive())
        except anyio.EndOfStream:
            return 0
        except (ValueError, TypeError) as exc:
            _say({"error": str(exc)})
            return 2
        async with emulator, anyio.create_task_group() as group:
            control = _Control(emulator, group)
            _say(f"listening on {emulator.url}")
            async for line in lines:
                _say(control.answer(line))
            group.cancel_scope.cancel()
    return 0


def _emulator(line: bytes) -> Emulator:
    start = orjson.loads(line)
    if not isinstance(start, dict):
        raise ValueError("the first line must be a JSON object")
    given = cast("dict[str, Any]", start)
    options = EmulatorOptions(**given.pop("options", {}))
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
