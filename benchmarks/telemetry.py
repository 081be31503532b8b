"""``python -m benchmarks.telemetry``: what telemetry costs a task, in CPU time, off and on.

The ways run in turn in one process over a server in memory, round by round, and what counts are
the differences within a round: machines are noisy. "off" and "off again" are the same, so their
difference shows how much of the rest is noise. The last line is what the SDK takes for the same
span and the same three records without a client: the rest of "on, SDK" is ours.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import orjson
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from runware_ws import Client
from runware_ws.telemetry import instrument
from runware_ws.testing.network import MemoryNetwork, MemorySocket

from .tasks import OTHER_MODEL, make

SESSION = "5d7c1a52-7a0c-4c39-9d3d-3d9b6f0c2a11"
USAGE = {"inputTokens": 21, "outputTokens": 170}


async def _answer(socket: MemorySocket) -> None:
    await socket.authenticate(SESSION)
    with suppress(anyio.EndOfStream):
        while True:
            items = [
                {"taskType": task["taskType"], "taskUUID": task["taskUUID"], "text": "blue"}
                | {"usage": USAGE, "finishReason": "stop"}
                for task in await socket.receive()
            ]
            socket.send(orjson.dumps({"data": items}))


async def _serve(network: MemoryNetwork) -> None:
    async with anyio.create_task_group() as group:
        while True:
            group.start_soon(_answer, await network.accept())


def _nothing(client: Client) -> None:
    pass


def _api_only(client: Client) -> None:
    instrument(client)


def _with_sdk(client: Client) -> None:
    tracers = TracerProvider()
    tracers.add_span_processor(SpanProcessor())
    meters = MeterProvider([InMemoryMetricReader()])
    instrument(client, tracer_provider=tracers, meter_provider=meters)


def _unsampled(client: Client) -> None:
    meters = MeterProvider([InMemoryMetricReader()])
    tracers = TracerProvider(sampler=ALWAYS_OFF)
    instrument(client, tracer_provider=tracers, meter_provider=meters)


WAYS: dict[str, Callable[[Client], None]] = {
    "off": _nothing,
    "off again": _nothing,
    "metadata only": _nothing,
    "on, API without SDK": _api_only,
    "on, SDK, no span sampled": _unsampled,
    "on, SDK": _with_sdk,
}


async def _one(way: str, tasks: int) -> float:
    """Microseconds of CPU for each task."""
    network = MemoryNetwork()
    took = 0.0
    more: dict[str, Any] = {"metadata": {"order": "17"}} if way == "metadata only" else {}
    async with anyio.create_task_group() as group:
        group.start_soon(_serve, network)
        async with Client("ws://127.0.0.1:9", api_key="k", dial=network.dial) as client:
            WAYS[way](client)
            await client.ready()
            work = [make(number, OTHER_MODEL, "sync") for number in range(tasks)]
            gc.collect()
            gc.disable()
            begun = time.process_time()
            for start in range(0, tasks, 500):
                await asyncio.gather(
                    *(client.run(task, **more) for task in work[start : start + 500])
                )
            took = time.process_time() - begun
            gc.enable()
        group.cancel_scope.cancel()
    return took / tasks * 1e6


def _sdk_alone(tasks: int) -> float:
    """Microseconds of CPU for one span and three records of the size of a task's."""
    tracers = TracerProvider()
    tracers.add_span_processor(SpanProcessor())
    tracer = tracers.get_tracer("bench")
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
    histogram = meter.create_histogram(
        "seconds", explicit_bucket_boundaries_advisory=tuple(range(14))
    )
    common = {f"common.{number}": f"value {number}" for number in range(5)}
    begin = common | {f"begin.{number}": f"value {number}" for number in range(3)}
    finish = {f"finish.{number}": f"value {number}" for number in range(7)}
    begun = time.process_time()
    for _ in range(tasks):
        span = tracer.start_span("chat model", kind=SpanKind.CLIENT, attributes=begin)
        for _ in range(3):
            histogram.record(1.5, common)
        span.set_attributes(finish)
        span.end()
    return (time.process_time() - begun) / tasks * 1e6


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    logging.getLogger("runware_ws").setLevel(logging.WARNING)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    alone: list[float] = []
    for number in range(given.rounds + 1):
        for way in WAYS:
            cost = asyncio.run(_one(way, given.tasks))
            if number:  # the first round warms up
                found[way].append(cost)
        alone.append(_sdk_alone(given.tasks))
    print("| way | us a task | more than off, us (smallest to largest) |")
    print("|---|---|---|")
    for way, costs in found.items():
        more = [cost - off for cost, off in zip(costs, found["off"], strict=True)]
        span = f"{statistics.median(more):+.1f} ({min(more):+.1f} to {max(more):+.1f})"
        print(f"| {way} | {statistics.median(costs):.1f} | {span} |")
    print(f"| the SDK alone | {statistics.median(alone):.1f} | |")


if __name__ == "__main__":
    main()
