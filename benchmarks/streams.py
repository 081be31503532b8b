"""New streams at a steady rate, over the socket and over HTTP, side by side in one run.

``python -m benchmarks.streams``: an emulator in a process of its own, then for each way a client
in a process of its own, which starts ``--rate`` streams a second whether or not others have ended.
What counts is the median time to the first delta, and the CPU of the client.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any, Literal
from uuid import uuid4

import anyio

from benchmarks.tasks import KEY
from runware_ws import Client
from runware_ws.emulator import EmulatorOptions
from runware_ws.emulator.process import EmulatorProcess

WAYS = ("socket", "sse")
PAUSE = 0.2  # seconds between two of the eight deltas of a stream


def task() -> dict[str, Any]:
    """A task that streams."""
    return {
        "taskType": "textInference",
        "taskUUID": str(uuid4()),
        "model": "anthropic:claude@haiku-4.5",
        "messages": [{"role": "user", "content": "one two three"}],
        "deliveryMethod": "stream",
    }


async def one(client: Client, asked: dict[str, Any], carrier: Literal["socket", "sse"]) -> float:
    """One stream; the seconds to its first delta."""
    async with client.stream(asked, carrier=carrier) as stream:
        async for _ in stream:
            pass
        first = stream.time_to_first_delta
        assert first is not None
        return first


async def run_client(options: argparse.Namespace) -> None:
    """The client's process: starts the streams, prints the figures."""
    firsts: list[float] = []
    async with Client(options.url, api_key=KEY) as client:
        await client.ready()

        async def stream() -> None:
            firsts.append(await one(client, task(), options.way))

        cpu, begin = time.process_time(), time.perf_counter()
        async with anyio.create_task_group() as group:
            for number in range(int(options.rate * options.seconds)):
                await anyio.sleep(max(0.0, begin + number / options.rate - time.perf_counter()))
                group.start_soon(stream)
        cpu = time.process_time() - cpu
    firsts.sort()
    count = len(firsts)
    figures = {
        "first_delta_ms": round(firsts[count // 2] * 1_000, 1),
        "p95_ms": round(firsts[count * 95 // 100] * 1_000, 1),
        "cpu_us": round(cpu / count * 1e6),
    }
    print(json.dumps(figures))


async def compare(options: argparse.Namespace) -> None:
    """All ways in turn, for some rounds."""
    emulated = EmulatorOptions(token_pause=PAUSE)
    arguments = ["--rate", str(options.rate), "--seconds", str(options.seconds)]
    for _ in range(options.rounds):
        for way in WAYS:
            async with EmulatorProcess(KEY, options=emulated, latency=options.latency) as emulator:
                command = [sys.executable, "-m", "benchmarks.streams", "--way", way, *arguments]
                command += ["--backend", options.backend, "--url", emulator.url]
                done = await anyio.run_process(command, stderr=subprocess.STDOUT, check=False)
                print(f"{way:8}{done.stdout.decode().strip()}", flush=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="new streams per second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", default="300ms", help="how long the server thinks")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    anyio.run(run_client if options.way else compare, options, backend=options.backend)


if __name__ == "__main__":
    main()
