"""The program around the client: what it runs, submits and tries again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup

from runware_ws import Client, Result
from runware_ws._core.states import TaskState
from runware_ws._io.driver import Driver
from runware_ws.errors import ClientClosed, InvalidTask, RunwareError, TaskError
from tests.simulation.invariants import EPSILON, Sent, Watch
from tests.simulation.judge import Judge
from tests.simulation.loop import VirtualLoop
from tests.simulation.scenario import Action, Scenario
from tests.simulation.story import Story, short
from tests.simulation.traits import Plan

__all__ = ["Program", "Tasks"]


REMEMBERED = 170.0
"""So long after its end a taskUUID is refused for sure."""

WHOLE = {"run": "sync", "poll": "async"}
"""The ways in which a stream is asked for as a whole, and what they deliver."""


@dataclass
class Program:
    """What its parts share. ``group``: where the actions run."""

    scenario: Scenario
    client: Client
    driver: Driver
    watch: Watch
    judge: Judge
    story: Story
    loop: VirtualLoop
    group: TaskGroup

    def task(self, plan: Plan, delivery: str = "") -> dict[str, Any]:
        """The task of a plan, as the program writes it, or with another ``delivery``."""
        delivery = delivery or plan.delivery
        task: dict[str, Any] = {
            "taskType": "textInference",
            "taskUUID": plan.uuid,
            "model": "model:1@1",
            "numberResults": plan.number,
        }
        if delivery != "sync":
            task["deliveryMethod"] = delivery
        if plan.size:
            task["padding"] = "p" * plan.size
        return task

    def over(
        self, plan: Plan, result: Any, error: RunwareError | None, *, in_time: bool = True
    ) -> None:
        """A task ended for its caller, or was refused before the wire.

        ``in_time``: the caller was waiting for it.
        """
        watch = self.watch
        sent = watch.try_of(plan.uuid, result, error)
        if sent is not None:
            if sent.ends != 1:
                watch.fail(f"I1: {short(plan.uuid)} came back after {sent.ends} ends")
            limit = watch.late_until(sent.record.deadline) + EPSILON
            if in_time and self.loop.now > limit:
                watch.fail(f"I8: {short(plan.uuid)} came back {self.loop.now - limit:.3f} s late")
            self.judge.ended(sent, result, error)
        elif not isinstance(error, InvalidTask | ClientClosed) and self.driver.core.failure is None:
            watch.fail(f"I1: {short(plan.uuid)} was refused with {error!r}")

    def cancel_later(self, action: Action, cancel: Callable[[], object]) -> None:
        """Where the action is to be cancelled: at its time."""
        if action.cancel_after is not None:
            self.group.start_soon(self._cancel, action, action.cancel_after, cancel)

    async def _cancel(self, action: Action, after: float, cancel: Callable[[], object]) -> None:
        await anyio.sleep(after)
        self.story.tell("action", f"cancel {short(action.plans[0].uuid)}")
        self.judge.cancelled.add(action.plans[0].uuid)
        cancel()


class Tasks:
    """Single tasks."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._client = program.client

    async def run(self, action: Action) -> None:
        """``client.run``, cancelled or not."""
        (plan,) = action.plans
        program = self._program
        with anyio.CancelScope() as scope:
            program.cancel_later(action, scope.cancel)
            try:
                result = await self._client.run(program.task(plan), timeout=action.timeout)
            except RunwareError as exc:
                program.over(plan, None, exc)
            else:
                program.over(plan, result, None)

    async def submit(self, action: Action) -> None:
        """``client.submit``, and the handle awaited."""
        await self._submitted(action, iterate=False)

    async def iterate(self, action: Action) -> None:
        """``client.submit``, and the handle iterated."""
        await self._submitted(action, iterate=True)

    async def _submitted(self, action: Action, *, iterate: bool) -> None:
        (plan,) = action.plans
        program = self._program
        try:
            handle = await self._client.submit(program.task(plan), timeout=action.timeout)
            program.cancel_later(action, handle.cancel)
            if iterate:
                items = [item async for item in handle if item.status != "processing"]
                program.judge.check_items(plan, [item.raw for item in items])
                if len(items) != plan.number:
                    program.watch.fail(f"I3: {short(plan.uuid)} yielded {len(items)} items")
            result = await handle
        except RunwareError as exc:
            program.over(plan, None, exc)
        else:
            program.over(plan, result, None)

    # The same taskUUID again

    async def reuse(self, action: Action) -> None:
        """The same taskUUID again: refused while it is in flight or was answered."""
        known = list(self._program.watch.tasks)
        if not known:
            return
        uuid = known[action.number % len(known)]
        await self._again(self._program.scenario.plans[uuid], 1.0 + action.number, action.what)

    async def retry(self, action: Action) -> None:
        """A program that gives up soon, and tries the same task once more."""
        (plan,) = action.plans
        await self._again(plan, action.timeout or 1.0, action.what)
        await anyio.sleep(action.number * 0.3)
        await self._again(plan, 60.0, action.what)

    async def retry_stream(self, action: Action) -> None:
        """A stream that is left or times out, and is tried again by another verb; or a run is.

        ``what`` are the ways of the first try and of the second, ``number`` is behind how many
        deltas the first is left: behind none it is waited for.
        """
        (plan,) = action.plans
        first, then = action.what.split(", ")
        if first in WHOLE or not action.number:
            await self._again(plan, action.timeout or 1.0, first)
        else:
            await self._leave(plan, action, first)
        await anyio.sleep(action.number * 0.1)
        await self._again(plan, 60.0, then)

    async def _leave(self, plan: Plan, action: Action, carrier: Any) -> None:
        task = self._program.task(plan)
        with suppress(RunwareError):
            async with self._client.stream(task, carrier=carrier, timeout=60.0) as stream:
                with anyio.move_on_after(action.timeout):
                    for _ in range(action.number):
                        await anext(stream, None)

    def _count(self, plan: Plan, way: str) -> None:
        """How far the first try is, as the second begins."""
        work = self._program.judge.server.works.get(plan.uuid)
        if work is None or plan.stream is None or work.finished_at is not None:
            return
        if work.streamed and work.made:
            self._program.story.count(f"tried again amid a stream by {way}")
        elif work.delivery != "stream" and way not in WHOLE:
            self._program.story.count("a run is tried again as a stream")

    async def _again(self, plan: Plan, timeout: float, carrier: str) -> None:
        program, watch = self._program, self._program.watch
        before = watch.tasks.get(plan.uuid)
        state = None if before is None else before.record.state
        now = program.loop.now
        if before is not None and before.ends and now > before.ended_at + REMEMBERED:
            return
        if before is not None:
            self._count(plan, carrier or "socket")
            await self._other(plan, before)
        error: RunwareError | None = None
        result: Result | None = None
        try:
            result = await self._whole(plan, timeout, carrier)
        except (InvalidTask, ClientClosed) as exc:
            if watch.tasks.get(plan.uuid) is not before:
                program.over(plan, None, exc)
            return
        except RunwareError as exc:
            error = exc
        if watch.tasks.get(plan.uuid) is before:
            return
        # What failed without the server's verdict on it may be tried again.
        over = state is TaskState.DONE or (
            before is not None and isinstance(before.record.error, TaskError)
        )
        if state is not None and (state < TaskState.DONE or over):
            watch.fail(f"I5: {short(plan.uuid)} was {state.name}, and was taken in again")
        program.over(plan, result, error)

    async def _other(self, plan: Plan, before: Sent) -> None:
        """Another task under the same taskUUID, which must not be answered by the first one."""
        program = self._program
        turned_away = plan.uuid in program.judge.http.refused
        if before.ends and not before.written and (turned_away or not before.posted):
            # It was never sent, or it was turned away at the door, so it left no trace.
            return
        try:
            delivery = "sync" if plan.stream is not None else ""
            other = {**program.task(plan, delivery), "padding": "of another"}
            await self._client.submit(other, timeout=1.0)
        except InvalidTask:
            program.story.count("another task refused")
        except RunwareError:
            return
        else:
            program.watch.fail(f"I3: another task was taken in under {short(plan.uuid)}")

    async def _whole(self, plan: Plan, timeout: float, carrier: str) -> Result:
        if plan.stream is None or carrier in WHOLE:
            task = self._program.task(plan, WHOLE.get(carrier, ""))
            return await self._client.run(task, timeout=timeout)
        task = self._program.task(plan)
        way: Any = carrier or "socket"
        async with self._client.stream(task, carrier=way, timeout=timeout) as stream:
            result = await stream.result()
            heard = "".join([delta.text or "" async for delta in stream])
            if heard != plan.stream.text:
                self._program.watch.fail(f"I16: {short(plan.uuid)} ended with {heard!r}")
            return result
