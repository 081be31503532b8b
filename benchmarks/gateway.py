"""What a gateway adds: ``python -m benchmarks.gateway``.

At a steady rate of requests, with an emulator that takes a fixed time for each: how long they take
through ``runware-ws serve``, and how long through a client in this process. Each part runs in a
process of its own. The requests come over connections that stay open. Who sends them is kept lean,
without an HTTP client: the three processes share the cores, and what it takes would count against
the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from runware_ws import Client, TextInference
from runware_ws.emulator import EmulatorProcess

KEY = "a-key-of-the-benchmark"
_BODY = json.dumps(
    {
        "model": "claude-haiku-4-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    }
).encode()
_REQUEST = (
    b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: any\r\n"
    b"x-stainless-retry-count: 0\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
) + _BODY


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, done: Callable[[_Connection], None]) -> None:
        self._done = done
        self._came = b""
        self._transport: asyncio.Transport | None = None
        self.intended = 0.0
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Uvloop's has all of it, and does not derive from it.
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, intended: float) -> None:
        """Send a request that should have gone at this time."""
        assert self._transport is not None
        self.intended = intended
        self._transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, end, body = self._came.partition(b"\r\n\r\n")
        if not end:
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) >= int(length):
            self._came = b""
            self._done(self)

    def close(self) -> None:
        """Close it."""
        assert self._transport is not None
        self._transport.close()


class Connections:
    """Connections to a gateway that stay open. On asyncio. ``pid``: of its process."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self._idle: list[_Connection] = []
        self._taken: list[float] = []

    async def latencies(self, rate: float, seconds: float) -> list[float]:
        """As :func:`latencies`, for requests over these connections."""
        self._taken = []
        start = time.perf_counter() + 0.1
        for number in range(int(rate * seconds)):
            intended = start + number / rate
            if (early := intended - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            connection = self._idle_one() or await self._open()
            connection.ask(intended)
        with anyio.fail_after(30):
            while len(self._taken) < int(rate * seconds):  # noqa: ASYNC110 (as lean as it gets)
                await asyncio.sleep(0.01)
        return sorted(self._taken)

    def _idle_one(self) -> _Connection | None:
        # The gateway closes those that were idle for long.
        while self._idle:
            if (connection := self._idle.pop()).open:
                return connection
        return None

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        made = await loop.create_connection(lambda: _Connection(self._done), "127.0.0.1", self.port)
        return made[1]

    def _done(self, connection: _Connection) -> None:
        self._taken.append((time.perf_counter() - connection.intended) * 1_000)
        self._idle.append(connection)

    def close(self) -> None:
        """Close them."""
        for connection in self._idle:
            connection.close()


@asynccontextmanager
async def gateway(url: str, journal: str | None) -> AsyncGenerator[Connections]:
    """``runware-ws serve``, in a process of its own."""
    options = [] if journal is None else ["--journal", journal]
    process = await anyio.open_process(
        [sys.executable, "-m", "runware_ws", "serve", "--port", "0", "--url", url, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "RUNWARE_API_KEY": KEY},
    )
    assert process.stdout is not None
    line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 1_000)
    connections = Connections(int(line.rpartition(b":")[2]), process.pid)
    try:
        yield connections
    finally:
        with anyio.CancelScope(shield=True):
            connections.close()
            process.terminate()
            await process.wait()
            await process.aclose()


async def latencies(
    ask: Callable[[], Awaitable[object]], rate: float, seconds: float
) -> list[float]:
    """Milliseconds from the intended start of each request to its end, sorted."""
    taken: list[float] = []

    async def one(intended: float) -> None:
        await ask()
        taken.append((time.perf_counter() - intended) * 1_000)

    async with anyio.create_task_group() as group:
        start = time.perf_counter() + 0.1
        for number in range(int(rate * seconds)):
            intended = start + number / rate
            await anyio.sleep(max(0.0, intended - time.perf_counter()))
            group.start_soon(one, intended)
    return sorted(taken)


async def program(rate: float, seconds: float, latency: str, journal: bool) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        place = f"sqlite:{Path(folder) / 'gateway.db'}?synchronous=NORMAL" if journal else None
        async with EmulatorProcess(KEY, latency=latency) as emulator:
            async with Client(emulator.url, api_key=KEY) as client:

                async def directly() -> None:
                    await client.run(TextInference.prompt("Why is the sky blue?"))

                await latencies(directly, rate, 1.0)
                direct = await latencies(directly, rate, seconds)
            async with gateway(emulator.url, place) as connections:
                await connections.latencies(rate, 1.0)
                through = await connections.latencies(rate, seconds)
    print(f"{rate:g} requests/s for {seconds:g} s, {latency} each, journal: {journal}")
    print("| | p50 ms | p99 ms |\n|---|---|---|")
    figures = [[each[len(each) // 2], each[len(each) * 99 // 100]] for each in (direct, through)]
    for name, (p50, p99) in zip(("client in process", "gateway"), figures, strict=True):
        print(f"| {name} | {p50:.2f} | {p99:.2f} |")
    print(f"| added | {figures[1][0] - figures[0][0]:.2f} | {figures[1][1] - figures[0][1]:.2f} |")


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--latency", default="50ms")
    parser.add_argument("--journal", action="store_true")
    given = parser.parse_args()
    measure = partial(program, given.rate, given.seconds, given.latency, given.journal)
    anyio.run(measure, backend_options={"use_uvloop": find_spec("uvloop") is not None})


if __name__ == "__main__":
    main()
