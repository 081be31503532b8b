"""One process of a load; :mod:`runware_ws.load.processes` starts it and speaks with it.

Pickles go over standard input and output, each behind its length: in come the work, the moment
to begin, and perhaps ``"stop"``; out go ``ready``, a ``tick`` each second, and ``done`` with the
record, or ``failed`` with the reason. The end of standard input is the end of all.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from typing import Any, BinaryIO

import anyio
from anyio.from_thread import BlockingPortal

from runware_ws import RunwareError
from runware_ws.load.generator import Share
from runware_ws.load.plan import (
    LoadPlan,
    Place,
    Tick,
    rare_collections,
    run_with_ticks,
    unwrapped,
    wall_clock_offset,
)
from runware_ws.load.recorder import Recorder

__all__ = ["main"]

_HEAD = 8


def _read(source: BinaryIO) -> Any:
    head = source.read(_HEAD)
    if len(head) < _HEAD:
        raise EOFError
    return pickle.loads(source.read(int.from_bytes(head, "big")))


def _write(sink: BinaryIO, value: object) -> None:
    data = pickle.dumps(value)
    sink.write(len(data).to_bytes(_HEAD, "big") + data)
    sink.flush()


async def _program(source: BinaryIO, sink: BinaryIO) -> None:
    plan, place, share = _read(source)
    recorder = plan.recorder()
    try:
        with unwrapped():
            await _load(plan, place, share, source, sink, recorder)
    except (RunwareError, ValueError) as exc:
        _write(sink, ("failed", exc))
    else:
        _write(sink, ("done", recorder))


async def _load(
    plan: LoadPlan,
    place: Place,
    share: Share,
    source: BinaryIO,
    sink: BinaryIO,
    recorder: Recorder,
) -> None:
    async def tick(told: Tick) -> None:
        # In a thread: a parent that is slow to read must not hold up the load.
        await anyio.to_thread.run_sync(_write, sink, ("tick", told))

    agent = plan.find_work()
    stop = anyio.Event()
    target = place.target(plan)
    starts = plan.starts(share)
    with rare_collections():
        async with target, BlockingPortal() as portal:
            _write(sink, ("ready", None))
            begin = await anyio.to_thread.run_sync(_read, source) - wall_clock_offset()
            threading.Thread(target=_await_stop, args=(source, portal, stop), daemon=True).start()
            await run_with_ticks(
                plan, place, target, agent, share, starts, begin, stop, tick, recorder
            )
            await portal.stop()


def _await_stop(source: BinaryIO, portal: BlockingPortal, stop: anyio.Event) -> None:
    try:
        _read(source)
    except EOFError:
        # The parent is gone: nobody wants the answers.
        os._exit(1)
    portal.call(stop.set)


def main() -> None:
    """Run the program."""
    sink = os.fdopen(os.dup(1), "wb")
    # What the user's agent prints must not get among the pickles.
    os.dup2(2, 1)
    anyio.run(_program, sys.stdin.buffer, sink)
    sink.close()
    # The thread that waits for standard input would hold up an orderly end.
    os._exit(0)


if __name__ == "__main__":
    main()
