"""A server that says far too much: what memory it costs, and whether others are still answered.

``python -m benchmarks.floods``: for each flood a server in a process of its own, which sends as
fast as it can for ``--seconds``, and a client in a process of its own, which runs one ordinary
task every 100 ms meanwhile. Printed: what was sent, how far the client's memory grew at the
most, how many of its tasks were answered, and their p99.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any
from uuid import uuid4

import anyio
import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from benchmarks.memory import resident
from benchmarks.tasks import KEY
from runware_ws import Client, RunwareError

SESSION = "5d7c1a52-7a0c-4c39-9d3d-3d9b6f0c2a11"
EVERY = 0.1
LEFT = 2_000
"""How many tasks are given up at first, so that results of given-up tasks can come."""


def _result(uuid: str, text: str) -> dict[str, str]:
    return {"taskType": "textInference", "taskUUID": uuid, "text": text}


def _strangers(_: list[str]) -> Iterator[bytes]:
    text = "x" * 1_000
    while True:
        yield orjson.dumps({"data": [_result(str(uuid4()), text)]})


def _given_up(left: list[str]) -> Iterator[bytes]:
    # Many small items to a frame with a large one.
    for number, uuid in enumerate(cycle(left)):
        items: list[dict[str, Any]] = [
            {**_result(uuid, f"{number} {part}"), "list": [[]] * 200} for part in range(50)
        ]
        yield orjson.dumps({"data": [*items, _result(uuid, "x" * 100_000)]})


def _always(message: bytes) -> Callable[[list[str]], Iterator[bytes]]:
    return lambda _: cycle([message])


_ERROR = {"code": "internalServerError", "message": "trouble"}
PINGS = "pings"
FLOODS: dict[str, Callable[[list[str]], Iterator[bytes]]] = {
    PINGS: _always(bytes(125)),
    "tiny frames": _always(b"{}"),
    "errors without an address": _always(orjson.dumps({"errors": [_ERROR]})),
    "results nobody waits for": _strangers,
    "results of given-up tasks": _given_up,
    "malformed frames": _always(b'{"data": [' + b"x" * 1_000),
    "giant notices": _always(orjson.dumps({"errors": [{**_ERROR, "message": "x" * 1_000_000}]})),
}


# The server's process


class _Server:
    def __init__(self, flood: str, seconds: float) -> None:
        self._flood = flood
        self._seconds = seconds
        self._left: list[str] = []
        self._sent = 0
        self._over = asyncio.Event()

    async def talk(self, socket: ServerConnection) -> None:
        """Answer what is asked; let ``hold`` tasks lie, and begin to flood at ``go``."""
        async with asyncio.TaskGroup() as group:
            async for message in socket:
                replies: list[dict[str, object]] = []
                for task in orjson.loads(message):
                    kind = task["taskType"]
                    if kind == "authentication":
                        replies.append({"taskType": kind, "connectionSessionUUID": SESSION})
                    elif kind == "ping":
                        replies.append({"taskType": "ping", "pong": True})
                    elif task.get("hold"):
                        self._left.append(task["taskUUID"])
                    else:
                        if task.get("go"):
                            group.create_task(self._run(socket))
                        replies.append({**_result(task["taskUUID"], "yes")})
                if replies:
                    await socket.send(orjson.dumps({"data": replies}), text=True)
        self._over.set()

    async def _run(self, socket: ServerConnection) -> None:
        end = time.monotonic() + self._seconds
        for number, message in enumerate(FLOODS[self._flood](self._left)):
            if self._flood == PINGS:
                # Not by ``socket.ping``, which would wait for each of the pongs.
                socket.transport.write(Frame(Opcode.PING, message).serialize(mask=False))
                await socket.drain()
            else:
                await socket.send(message, text=True)
            self._sent += len(message)
            if number % 64 == 0:
                # A send with room does not wait, and the client's tasks are to be read too.
                await asyncio.sleep(0)
            if time.monotonic() > end:
                break

    async def run(self) -> None:
        """Serve one client; print the port at first and what was sent at last."""
        async with serve(self.talk, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
            print(next(iter(server.sockets)).getsockname()[1], flush=True)
            await self._over.wait()
            print(self._sent, flush=True)


# The client's process


def _task(**more: object) -> dict[str, object]:
    return {"taskType": "floodTest", "taskUUID": str(uuid4()), **more}


async def _flooded(url: str, seconds: float) -> None:
    times: list[float] = []
    asked = answered = 0
    async with Client(url, api_key=KEY, allow_insecure=True, proxy=None) as client:
        given_up = [await client.submit(_task(hold=True)) for _ in range(LEFT)]
        # A socket keeps the order: once this is answered, all of them have been written.
        await client.run(_task())
        for handle in given_up:
            handle.cancel()
        # A reader that never reads.
        events = client.events()
        before = most = resident(os.getpid())
        await client.run(_task(go=True))

        async def one() -> None:
            nonlocal answered
            begin = time.perf_counter()
            try:
                await client.run(_task(), timeout=30.0)
            except RunwareError:
                return
            answered += 1
            times.append(time.perf_counter() - begin)

        end = time.monotonic() + seconds
        async with anyio.create_task_group() as group:
            while time.monotonic() < end:
                asked += 1
                group.start_soon(one)
                await anyio.sleep(EVERY)
                most = max(most, resident(os.getpid()))
        del events
    times.sort()
    figures = {
        "grown": (most - before) / 2**20,
        "asked": asked,
        "answered": answered,
        "p99": times[len(times) * 99 // 100] * 1_000 if times else float("nan"),
    }
    print(json.dumps(figures), flush=True)


def _run_flood(flood: str, seconds: float) -> str:
    command = [sys.executable, "-m", "benchmarks.floods", "--seconds", str(seconds)]
    server = subprocess.Popen([*command, "--serve", flood], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with server:
        try:
            url = f"ws://127.0.0.1:{int(server.stdout.readline())}"
            done = subprocess.run(
                [*command, "--url", url], stdout=subprocess.PIPE, text=True, check=True
            )
            found = json.loads(done.stdout)
            sent = int(server.stdout.readline()) / 1e6
        finally:
            server.kill()
    return (
        f"| {flood} | {sent:,.0f} | {found['grown']:.0f} "
        f"| {found['answered']} of {found['asked']} | {found['p99']:.0f} ms |"
    )


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floods", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each flood lasts")
    parser.add_argument("--only", choices=FLOODS, help="one flood")
    parser.add_argument("--serve", choices=FLOODS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_Server(options.serve, options.seconds).run())
    elif options.url:
        anyio.run(_flooded, options.url, options.seconds)
    else:
        print("| flood | MB sent | memory, MiB | tasks answered | p99 |\n|---|---|---|---|---|")
        for flood in [options.only] if options.only else FLOODS:
            print(_run_flood(flood, options.seconds), flush=True)


if __name__ == "__main__":
    main()
