"""What a gateway holds: ``python -m benchmarks.gateway_bounds``.

Many streams that are open at once, each read to its end; and the memory of the gateway's process
over many requests. Whose streams are read is an emulator in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import anyio

from benchmarks.gateway import KEY, gateway
from benchmarks.memory import resident
from runware_ws.emulator import EmulatorOptions, EmulatorProcess

_MIB = 1_048_576
_TOKENS = 40


def memory(pid: int) -> float:
    """What a process holds in memory, in MiB."""
    return resident(pid) / _MIB


class Streams:
    """Streams that are open at once. ``open``: those that have begun and not ended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.open = self.most = self.whole = 0
        self.failed: list[str] = []

    @property
    def ended(self) -> int:
        """How many have ended, whole or not."""
        return self.whole + len(self.failed)

    async def one(self, number: int) -> None:
        """Read one to its end."""
        body = json.dumps(
            {
                "model": "claude-haiku-4-5",
                "max_tokens": 1_024,
                "stream": True,
                "messages": [{"role": "user", "content": f"{number}: {'word ' * _TOKENS}"}],
            }
        ).encode()
        head = b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: any\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(head + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        came = b""
        try:
            came = await reader.readuntil(b"message_start")
            self.open += 1
            self.most = max(self.most, self.open)
            came += await reader.read()
            self.open -= 1
        except asyncio.IncompleteReadError as exc:
            came = exc.partial
        if b"event: message_stop" in came:
            self.whole += 1
        else:
            self.failed.append(came[:200].decode("utf-8", "replace"))
        writer.close()


async def streams(number: int) -> None:
    """Open so many streams at once, and read all to their ends."""
    # Each stream takes more than a minute, so that all are open before the first one ends.
    options = EmulatorOptions(token_pause=3.0)
    async with EmulatorProcess(KEY, options=options) as emulator, gateway(emulator.url, None) as to:
        before = held = memory(to.pid)
        reading = Streams(to.port)
        begun = time.perf_counter()
        async with anyio.create_task_group() as group:
            for each in range(number):
                group.start_soon(reading.one, each)
                await anyio.sleep(0.004)
            while reading.most < number and reading.ended < number:  # noqa: ASYNC110 (it polls)
                await anyio.sleep(0.1)
            held = memory(to.pid)
        took = time.perf_counter() - begun
        stats = await emulator.stats()
    print(f"{number} streams: {reading.most} open at once, {reading.whole} whole in {took:.0f} s")
    print(f"memory {before:.0f} MiB, {held:.0f} MiB with all open; executed {stats['executed']}")
    for words in reading.failed[:3]:
        print(words)


async def requests(number: int, rate: float, journal: bool) -> None:
    """Send so many requests, and look at the memory after each tenth of them."""
    with tempfile.TemporaryDirectory() as folder:
        place = f"sqlite:{Path(folder) / 'gateway.db'}?synchronous=NORMAL" if journal else None
        async with (
            EmulatorProcess(KEY, latency="20ms") as emulator,
            gateway(emulator.url, place) as to,
        ):
            held = [memory(to.pid)]
            for _ in range(10):
                await to.latencies(rate, number / 10 / rate)
                held.append(memory(to.pid))
    told = ", ".join(f"{each:.0f}" for each in held)
    print(f"memory at the start and after each {number // 10} requests, in MiB: {told}")


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=400.0)
    parser.add_argument("--journal", action="store_true")
    given = parser.parse_args()
    if given.streams:
        anyio.run(streams, given.streams)
    if given.requests:
        anyio.run(requests, given.requests, given.rate, given.journal)


if __name__ == "__main__":
    main()
