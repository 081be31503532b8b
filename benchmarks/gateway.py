"""What a gateway adds: ``python -m benchmarks.gateway``.

At a steady rate of requests, with an emulator that takes a fixed time for each: how long they take
through ``runware-ws serve``, and how long through a client in this process. Each part runs in a
process of its own. The requests of either come over connections that stay open.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import SocketStream
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


class Connections:
    """Connections to a gateway that stay open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[SocketStream, BufferedByteReceiveStream]] = []

    async def ask(self) -> None:
        """One request and its answer."""
        if self._idle:
            stream, reader = self._idle.pop()
        else:
            stream = await anyio.connect_tcp("127.0.0.1", self._port)
            reader = BufferedByteReceiveStream(stream)
        await stream.send(_REQUEST)
        head = await reader.receive_until(b"\r\n\r\n", 65_536)
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.receive_exactly(length)
        self._idle.append((stream, reader))

    async def aclose(self) -> None:
        """Close them."""
        for stream, _ in self._idle:
            await stream.aclose()


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
    connections = Connections(int(line.rpartition(b":")[2]))
    try:
        yield connections
    finally:
        with anyio.CancelScope(shield=True):
            await connections.aclose()
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
                await latencies(connections.ask, rate, 1.0)
                through = await latencies(connections.ask, rate, seconds)
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
    anyio.run(program, given.rate, given.seconds, given.latency, given.journal)


if __name__ == "__main__":
    main()
