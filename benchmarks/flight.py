"""``python -m benchmarks.flight``: what the flight recorder costs a task, in CPU time.

Clients with and without it take turns in one process, round by round, and what counts are the
ratios within a round: machines are noisy. "without, again" is the same as "without", so its ratio
shows the noise. Once over a server in memory, where nothing else costs anything, and once over
sockets of loopback against an echo server in the same process, whose own CPU time counts too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio
import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from runware_ws import Client
from runware_ws.testing.network import MemoryNetwork, MemorySocket

from .tasks import OTHER_MODEL, make

SESSION = "5d7c1a52-7a0c-4c39-9d3d-3d9b6f0c2a11"
TEXT = "blue, because the air scatters short waves more than long ones. " * 10

WAYS: dict[str, int | None] = {"without": None, "without, again": None, "with": 4 << 20}


def _answer(tasks: list[dict[str, Any]]) -> bytes:
    if tasks[0]["taskType"] == "authentication":
        session = {"taskType": "authentication", "connectionSessionUUID": SESSION}
        return orjson.dumps({"data": [session]})
    items = [
        {"taskType": task["taskType"], "taskUUID": task["taskUUID"], "text": TEXT, "cost": 0.001}
        for task in tasks
    ]
    return orjson.dumps({"data": items})


async def _talk(socket: MemorySocket) -> None:
    with suppress(anyio.EndOfStream):
        while True:
            socket.send(_answer(await socket.receive()))


@asynccontextmanager
async def memory() -> AsyncGenerator[dict[str, Any]]:
    """A server in memory."""
    network = MemoryNetwork()

    async def accept() -> None:
        async with anyio.create_task_group() as talks:
            while True:
                talks.start_soon(_talk, await network.accept())

    async with anyio.create_task_group() as group:
        group.start_soon(accept)
        yield {"url": "ws://127.0.0.1:9", "dial": network.dial}
        group.cancel_scope.cancel()


@asynccontextmanager
async def sockets() -> AsyncGenerator[dict[str, Any]]:
    """A server on loopback."""

    async def talk(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in socket:
                await socket.send(_answer(orjson.loads(message)), text=True)

    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield {"url": f"ws://127.0.0.1:{port}"}


async def _one(
    place: Callable[[], AbstractAsyncContextManager[dict[str, Any]]],
    kept: int | None,
    tasks: int,
    at_once: int,
) -> float:
    """Microseconds of CPU for each task."""
    async with place() as where, Client(api_key="k", flight_bytes=kept, **where) as client:
        await client.ready()
        work = [make(number, OTHER_MODEL, "sync") for number in range(tasks)]
        gc.collect()
        gc.disable()
        begun = time.process_time()
        for start in range(0, tasks, at_once):
            await asyncio.gather(*(client.run(task) for task in work[start : start + at_once]))
        took = time.process_time() - begun
        gc.enable()
    return took / tasks * 1e6


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flight", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=100, help="tasks in flight")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    print("| server | way | us a task | times without, median (smallest to largest) |")
    print("|---|---|---|---|")
    for place in (memory, sockets):
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(given.rounds + 1):
            # Whoever comes first in a round may have an advantage, so the order turns.
            turn = number % len(WAYS)
            for way in [*list(WAYS)[turn:], *list(WAYS)[:turn]]:
                cost = asyncio.run(_one(place, WAYS[way], given.tasks, given.at_once))
                if number:  # the first round warms up
                    found[way].append(cost)
        for way, costs in found.items():
            ratios = [cost / base for cost, base in zip(costs, found["without"], strict=True)]
            span = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            print(f"| {place.__name__} | {way} | {statistics.median(costs):.1f} | {span} |")


if __name__ == "__main__":
    main()
