"""Starts tasks when they are due, whatever becomes of those before, and measures its own lag."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import anyio
import sniffio

from runware_ws import TextInference
from runware_ws.load.arrivals import Arrivals, ClosedModel, intended_starts
from runware_ws.load.recorder import Recorder, Sample
from runware_ws.load.targets import Answer, LoadTarget, unanswered_of
from runware_ws.load.work import Agent

__all__ = ["Check", "Share", "run_share", "starts_of"]


def _clock() -> Callable[[], float]:
    """The running loop's clock, looked up once and not several times a task."""
    if sniffio.current_async_library() != "asyncio":
        return anyio.current_time
    loop = asyncio.get_running_loop()
    if type(loop).__module__.partition(".")[0] != "uvloop":
        return loop.time
    # Its own counts whole milliseconds, and stands still while a callback runs.
    offset = loop.time() - time.monotonic()
    return lambda: time.monotonic() + offset


Check = Callable[[dict[str, Any], Answer], bool]
"""Whether an answer is that of a task, in the wire's spelling."""

_TURN = 32
"""Late starts in a row, before those that were started have their turn."""


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a load that one process runs: each start whose number leaves ``index``
    when it is divided by ``of``."""

    index: int = 0
    of: int = 1


def starts_of(model: Arrivals | ClosedModel, seed: int, share: Share) -> Sequence[float]:
    """When each task of a share is to start; nothing for a closed model, which cannot know."""
    if isinstance(model, ClosedModel):
        return ()
    return intended_starts(model, seed)[share.index :: share.of]


async def run_share(
    target: LoadTarget,
    agent: Agent,
    model: Arrivals | ClosedModel,
    recorder: Recorder,
    *,
    seed: int = 0,
    timeout: float = 60.0,
    check: Check | None = None,
    share: Share | None = None,
    starts: Sequence[float] | None = None,
    begin: float | None = None,
    stop: anyio.Event | None = None,
) -> None:
    """Run a load, or one process's share of it, against a target that is entered already.

    Starts are computed ahead and happen on time even if nothing is answered. Returns when all
    tasks have ended, which ``timeout`` (seconds a task) bounds. Everything is in ``recorder``
    then, also if this is cancelled.

    Args:
        check: tells right answers from wrong ones; ``None``: nobody can.
        starts: those of the share, of :func:`starts_of`, which takes a while; ``None``: computed
            here.
        begin: when it begins, on the loop's clock; ``None``: now.
        stop: once it is set, nothing more is started.
    """
    share = share or Share()
    if starts is None:
        starts = starts_of(model, seed, share)
    run = _Run(target, agent, recorder, seed, timeout, check, share, stop or anyio.Event())
    async with anyio.create_task_group() as watching:
        run.began = anyio.current_time() if begin is None else begin
        watching.start_soon(run.watch)
        async with anyio.create_task_group() as group:
            if isinstance(model, ClosedModel):
                for user in range(share.index, model.users, share.of):
                    group.start_soon(run.user, user, model)
            else:
                await run.pace(group, starts)
                run.dismiss()
        watching.cancel_scope.cancel()


class _Seat:
    """Where a worker waits for its next start; ``None``: there is none."""

    __slots__ = ("_event", "_start")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._start: tuple[int, float] | None = None

    def give(self, start: tuple[int, float] | None) -> None:
        self._start = start
        self._event.set()

    async def taken(self) -> tuple[int, float] | None:
        await self._event.wait()
        return self._start


class _Run:
    def __init__(
        self,
        target: LoadTarget,
        agent: Agent,
        recorder: Recorder,
        seed: int,
        timeout: float,
        check: Check | None,
        share: Share,
        stop: anyio.Event,
    ) -> None:
        self.target = target
        self.agent = agent
        self.recorder = recorder
        self.seed = seed
        self.timeout = timeout
        self.check = check
        self.share = share
        self.stop = stop
        self.began = 0.0
        self.now = _clock()
        self._free: list[_Seat] = []
        self._paced = False

    async def watch(self) -> None:
        await self.target.watch(self._connection)

    def _connection(self, up: bool) -> None:
        at = self.now() - self.began
        # The first socket was there before the load.
        if not up or len(self.recorder.losses) > len(self.recorder.reconnects):
            self.recorder.connection(at, up)

    # The open model

    async def pace(self, group: anyio.abc.TaskGroup, starts: Sequence[float]) -> None:
        behind = 0
        for position, intended in enumerate(starts):
            due = self.began + intended
            if due > self.now():
                behind = 0
                if await self._stopped_before(due):
                    return
            elif (behind := behind + 1) % _TURN == 0:
                await anyio.lowlevel.checkpoint()
                if self.stop.is_set():
                    return
            number = self.share.index + position * self.share.of
            self._hand_out(group, (number, intended))

    async def _stopped_before(self, due: float) -> bool:
        await anyio.sleep_until(due)
        return self.stop.is_set()

    def _hand_out(self, group: anyio.abc.TaskGroup, start: tuple[int, float]) -> None:
        # To begin a new task for each start costs a tenth of all that a start costs.
        if self._free:
            self._free.pop().give(start)
        else:
            group.start_soon(self._worker, start)

    async def _worker(self, start: tuple[int, float] | None) -> None:
        while start is not None:
            number, intended = start
            self.recorder.start(intended, self.now() - self.began - intended)
            await self.work(number, intended)
            if self._paced:
                return
            seat = _Seat()
            self._free.append(seat)
            start = await seat.taken()

    def dismiss(self) -> None:
        """Nothing more will be started."""
        self._paced = True
        for seat in self._free:
            seat.give(None)

    # The closed model

    async def user(self, user: int, model: ClosedModel) -> None:
        number = user
        due = self.began
        while due < self.began + model.seconds and not self.stop.is_set():
            await anyio.sleep_until(due)
            now = self.now()
            self.recorder.start(now - self.began, now - max(due, self.began))
            await self.work(number, now - self.began)
            number += model.users
            due = self.now() + model.think

    # Both

    async def work(self, number: int, intended: float) -> None:
        caller = _Caller(self, number, intended)
        try:
            await self.agent(caller)
        except Exception as exc:
            # What a task ended with was counted there. Anything else is the agent's own.
            if exc is not caller.last_error:
                self.recorder.agent_errors[type(exc).__name__] += 1


class _Caller:
    def __init__(self, run: _Run, number: int, intended: float) -> None:
        self.number = number
        self.last_error: BaseException | None = None
        self._run = run
        self._intended: float | None = intended
        self._rng: random.Random | None = None

    @property
    def rng(self) -> random.Random:
        if self._rng is None:
            self._rng = random.Random((self._run.seed << 40) + self.number)
        return self._rng

    async def think(self, seconds: float) -> None:
        due = self._run.now() + seconds
        await anyio.sleep_until(due)
        self._intended = due - self._run.began

    async def ask(self, task: TextInference | dict[str, Any], *, name: str = "task") -> Answer:
        run = self._run
        wire = task.to_wire() if isinstance(task, TextInference) else dict(task)
        if "taskUUID" not in wire:
            wire["taskUUID"] = str(uuid4())
        sent = run.now() - run.began
        intended, self._intended = self._intended, None
        sample = Sample(name, wire["taskUUID"], sent if intended is None else intended, sent, sent)
        try:
            answer = await run.target.ask(wire, run.timeout)
        except BaseException as exc:
            sample.ended = run.now() - run.began
            sample.unanswered = unanswered_of(exc)
            run.recorder.take(sample)
            self.last_error = exc
            raise
        sample.ended = run.now() - run.began
        sample.answer = answer
        if run.check is not None:
            sample.right = run.check(wire, answer)
        if answer.first_delta is not None:
            # Durations are counted from the beginning, like everything in a sample.
            sample.first_delta = answer.first_delta - run.began
        run.recorder.take(sample)
        return answer
