"""What all contenders have in common: phases on order, each measured from inside.

The parent writes ``go`` for each phase; the contender prints one JSON line for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Protocol

import anyio
import anyio.lowlevel

from benchmarks.tasks import CHECKED_MODEL, OTHER_MODEL, make
from benchmarks.workloads import Phase

__all__ = ["Contender", "Figures", "main"]

WARM_UP = 300
TICK = 0.001
RARELY = (700, 10, 100_000)
"""Python's own thresholds, but for the last: full collections come ten thousand times later."""

Figures = dict[str, Any]


class Contender(Protocol):
    """One client under test."""

    async def open(self, url: str, key: str, *, in_flight: int) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...

    def prepare(self, task: dict[str, Any]) -> Any:
        """The task as this client takes it; not measured."""
        ...

    def runner(self, delivery: str) -> Callable[[Any], Awaitable[Any]]:
        """What runs one task and returns its result."""
        ...

    def text(self, result: Any) -> str:
        """The text of a result; not measured."""
        ...


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Watch:
    """The longest time in which the loop did not come round, and Python's collector's part in it.

    ``stall`` counts everything; ``own`` takes off what the collector ran meanwhile; ``collection``
    is the collector's longest run.
    """

    def __init__(self) -> None:
        self.stall = 0.0
        self.own = 0.0
        self.collection = 0.0
        self._since = 0.0
        self._collecting = 0.0

    def _collected(self, stage: str, info: dict[str, int]) -> None:
        del info
        now = time.perf_counter()
        if stage == "start":
            self._since = now
        else:
            self.collection = max(self.collection, now - self._since)
            self._collecting += now - self._since

    async def _tick(self) -> None:
        last = time.perf_counter()
        while True:
            before = self._collecting
            await anyio.sleep(TICK)
            now = time.perf_counter()
            late = now - last - TICK
            self.stall = max(self.stall, late)
            self.own = max(self.own, late - (self._collecting - before))
            last = now

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Watch the loop meanwhile."""
        gc.callbacks.append(self._collected)
        async with anyio.create_task_group() as group:
            group.start_soon(self._tick)
            yield
            group.cancel_scope.cancel()
        gc.callbacks.remove(self._collected)


async def _all_at_once(run: Callable[[Any], Awaitable[Any]], tasks: Sequence[Any]) -> list[Any]:
    """As a user runs many tasks: ``gather``, or a nursery."""
    if sys.modules.get("trio") is not None and _on_trio():
        import trio

        results: list[Any] = [None] * len(tasks)

        async def one(index: int, task: Any) -> None:
            results[index] = await run(task)

        async with trio.open_nursery() as nursery:
            for index, task in enumerate(tasks):
                nursery.start_soon(one, index, task)
        return results
    return await asyncio.gather(*[run(task) for task in tasks], return_exceptions=True)


def _on_trio() -> bool:
    import trio

    return bool(trio.lowlevel.in_trio_task())


async def _spread(
    run: Callable[[Any], Awaitable[Any]], tasks: Sequence[Any], phase: Phase
) -> tuple[list[Any], list[float]]:
    """Start the tasks at a rate, or a few at a time; results, and times since each was due."""
    results: list[Any] = [None] * len(tasks)
    latencies: list[float] = []
    start = time.perf_counter()

    async def one(index: int, due: float) -> None:
        try:
            results[index] = await run(tasks[index])
        except Exception as exc:
            results[index] = exc
        latencies.append(time.perf_counter() - due)

    async with anyio.create_task_group() as group:
        for index in range(len(tasks)):
            due = start + index / phase.rate if phase.rate else time.perf_counter()
            if phase.rate and (wait := due - time.perf_counter()) > 0:
                await anyio.sleep(wait)
            elif phase.slices and index % phase.slices == 0:
                await anyio.lowlevel.checkpoint()
            group.start_soon(one, index, due)
    return results, latencies


def _percentiles(latencies: list[float]) -> Figures:
    if len(latencies) < 2:
        return {}
    cuts = statistics.quantiles(latencies, n=1000, method="inclusive")
    return {"p50": cuts[499], "p95": cuts[949], "p99": cuts[989], "p999": cuts[998]}


async def _phase(contender: Contender, phase: Phase, tasks: list[Any]) -> Figures:
    run = contender.runner(phase.delivery)
    watch = Watch()
    latencies: list[float] = []
    gc.collect()
    if phase.rare:
        gc.set_threshold(*RARELY)
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, wall = _cpu(), time.perf_counter()
    async with contextlib.AsyncExitStack() as stack:
        if phase.watch:
            await stack.enter_async_context(watch.watching())
        if phase.slices or phase.rate:
            results, latencies = await _spread(run, tasks, phase)
        else:
            results = await _all_at_once(run, tasks)
        ended_at = time.monotonic()
        wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    figures: Figures = {"cpu": cpu, "wall": wall, "ended_at": ended_at, "tasks": len(tasks)}
    if phase.watch:
        figures |= {"stall": watch.stall, "own": watch.own, "collection": watch.collection}
    failures = [r for r in results if isinstance(r, BaseException)]
    figures["failed"] = len(failures)
    if failures:
        figures["failure"] = f"{type(failures[0]).__name__}: {failures[0]}"[:200]
    texts = {len(contender.text(r)) for r in results if not isinstance(r, BaseException)}
    figures["lengths"] = sorted(texts)
    return figures | _percentiles(latencies)


async def _main(contender: Contender, options: dict[str, Any]) -> None:
    phases = [Phase(**phase) for phase in options["phases"]]
    model = CHECKED_MODEL if options["task"] in ("model", "checked") else OTHER_MODEL
    largest = max(phase.tasks for phase in phases)
    await contender.open(options["url"], options["key"], in_flight=max(10_000, 2 * largest))
    try:
        warm = [contender.prepare(make(n, model, "sync")) for n in range(WARM_UP)]
        await _all_at_once(contender.runner("sync"), warm)
        del warm
        for phase in phases:
            tasks = [contender.prepare(make(n, model, phase.delivery)) for n in range(phase.tasks)]
            figures = await _phase(contender, phase, tasks)
            print(json.dumps(figures), flush=True)
            del tasks, figures
    finally:
        await contender.close()


def main(contender: Contender) -> None:
    """Run the process of one contender; its only argument is a JSON object."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    loop: str = options["loop"]
    backend = "trio" if loop == "trio" else "asyncio"
    backend_options = {"use_uvloop": loop == "uvloop"} if backend == "asyncio" else {}
    anyio.run(_main, contender, options, backend=backend, backend_options=backend_options)
