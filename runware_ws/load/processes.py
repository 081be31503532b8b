"""A load on several cores: each process starts its share of the tasks, and what they recorded
is merged."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from runware_ws.emulator.child import child_environment, end_child
from runware_ws.load.generator import Share
from runware_ws.load.plan import LoadPlan, OnTick, Place, Tick, wall_clock_offset
from runware_ws.load.recorder import Recorder

__all__ = ["run_processes"]

_HEAD = 8
_SOON = 0.3  # seconds from the last "ready" to the common beginning


async def run_processes(
    plan: LoadPlan,
    place: Place,
    processes: int,
    stop: anyio.Event,
    on_tick: OnTick | None,
    begun: Callable[[float], None],
    total: Recorder,
) -> None:
    """Run a plan in so many processes, which begin at the same time; ``total`` has all of it.

    Raises:
        RunwareError: one of them found no connection to begin with.
        ValueError: one of them failed.
    """
    shares = [_Worker(Share(index, processes)) for index in range(processes)]
    try:
        for worker in shares:
            await worker.start(plan, place)
        for worker in shares:
            worker.expect(await worker.receive(), "ready")
        begin = anyio.current_time() + _SOON
        begun(begin)
        async with anyio.create_task_group() as group:
            ticks = _Ticks(processes, on_tick)
            group.start_soon(_stop_all, shares, stop)
            async with anyio.create_task_group() as running:
                for worker in shares:
                    await worker.send(begin + wall_clock_offset())
                    running.start_soon(_follow, worker, total, ticks)
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            for worker in shares:
                await worker.end()


async def _stop_all(workers: list[_Worker], stop: anyio.Event) -> None:
    await stop.wait()
    for worker in workers:
        await worker.send("stop")


async def _follow(worker: _Worker, total: Recorder, ticks: _Ticks) -> None:
    while True:
        kind, value = await worker.receive()
        if kind == "tick":
            await ticks.take(value)
        else:
            total.merge(worker.expect((kind, value), "done"))
            return


class _Ticks:
    """Makes one tick of those of all processes."""

    def __init__(self, processes: int, on_tick: OnTick | None) -> None:
        self._missing = self._processes = processes
        self._on_tick = on_tick
        self._sum: Tick | None = None

    async def take(self, tick: Tick) -> None:
        self._sum = tick if self._sum is None else self._sum.merged(tick)
        self._missing -= 1
        if not self._missing:
            whole, self._sum, self._missing = self._sum, None, self._processes
            if self._on_tick is not None:
                await self._on_tick(whole)


class _Worker:
    """One process, seen from its parent."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._process: Process | None = None
        self._answers: BufferedByteReceiveStream | None = None

    async def start(self, plan: LoadPlan, place: Place) -> None:
        self._process = await anyio.open_process(
            [sys.executable, "-m", "runware_ws.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env=child_environment(),
            # Ctrl-C is for the parent, which stops the load and still wants the records.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._answers = BufferedByteReceiveStream(self._process.stdout)
        await self.send((plan, place, self._share))

    async def send(self, value: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        data = pickle.dumps(value)
        await self._process.stdin.send(len(data).to_bytes(_HEAD, "big") + data)

    async def receive(self) -> tuple[str, Any]:
        assert self._answers is not None
        try:
            size = int.from_bytes(await self._answers.receive_exactly(_HEAD), "big")
            answer: tuple[str, Any] = pickle.loads(await self._answers.receive_exactly(size))
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ValueError(f"process {self._share.index} of the load has ended") from None
        return answer

    def expect(self, answer: tuple[str, Any], kind: str) -> Any:
        told, value = answer
        if told == "failed":
            raise value
        assert told == kind
        return value

    async def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end_child(process)
