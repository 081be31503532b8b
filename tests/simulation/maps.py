"""``map`` in all its forms: sources that sleep, raise, never end; readers that leave early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import aclosing
from itertools import count
from typing import Any

import anyio

from runware_ws._core.states import TaskState
from runware_ws.errors import RunwareError
from tests.simulation.program import Program
from tests.simulation.scenario import Action
from tests.simulation.story import short
from tests.simulation.traits import Plan

__all__ = ["Maps", "SourceBroken"]

ENOUGH = 200
"""A map that hands out so many outcomes more than it has plans does not end."""

FOREVER = 1 << 30

MANY = 1 << 20
"""With fewer bytes for claims, results may have gone when a map is left."""


class SourceBroken(Exception):
    """What a source raises."""


class Maps:
    """The action ``map``; ``Action.what`` is the source."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def map(self, action: Action) -> None:
        """Read the outcomes, to the end or not."""
        program, watch = self._program, self._program.watch
        source = _Source(program, action)
        came: set[str] = set()
        broken: Exception | None = None
        outcomes = program.client.map(
            source.tasks(), concurrency=max(1, action.number), timeout=action.timeout
        )
        # Behind a source that hangs nobody waits for the end.
        patience = 1.5 * (action.timeout or 1.0) if action.what == "async-hangs" else None
        try:
            with anyio.move_on_after(patience):
                if await self._read(outcomes, action, came):
                    self._over(action, source, came)
                    return
        except (SourceBroken, RunwareError, RuntimeError) as exc:
            broken = exc
        if broken is None:
            self._left(source, came)
            return
        program.story.count(f"map raised {type(broken).__name__}")
        over = watch.closed or program.driver.core.failure is not None
        if isinstance(broken, RunwareError) and not over and watch.draining_at is None:
            watch.fail(f"I1: a map ended with {broken!r}, and the client goes on")
        said = {"SourceBroken": "raises", "RuntimeError": "cancels"}.get(type(broken).__name__, "")
        if said not in action.what:
            watch.fail(f"I12: a map ended with {broken!r}, which its source never raised")
        missing = source.given - len(came)
        # The one that waited for its turn when the client went was never handed over.
        if missing > isinstance(broken, RunwareError):
            watch.fail(f"I1: a map raised, and {missing} outcomes are missing")

    async def _read(self, outcomes: Any, action: Action, came: set[str]) -> bool:
        """Whether the map ended by itself."""
        program, watch = self._program, self._program.watch
        async with aclosing(outcomes):
            async for outcome in outcomes:
                uuid = outcome.task["taskUUID"]
                if uuid in came:
                    watch.fail(f"I3: map yielded {short(uuid)} twice")
                came.add(uuid)
                plan = program.scenario.plans[uuid]
                program.over(plan, outcome.result, outcome.error)
                if len(came) >= (action.cancel_after or FOREVER) and not watch.closed:
                    return False
                if len(came) > len(action.plans) + ENOUGH:
                    watch.fail("I8: a map goes on and on")
                    return False
        return True

    def _over(self, action: Action, source: _Source, came: set[str]) -> None:
        watch = self._program.watch
        if len(came) != source.given:
            watch.fail(f"I1: map yielded {len(came)} of {source.given} outcomes")
        whole = source.given == len(action.plans)
        ended = watch.closed or self._program.driver.core.failure is not None
        raises = action.what.endswith(("raises", "cancels", "hangs")) and not ended
        if raises or (not whole and not ended and watch.draining_at is None):
            watch.fail(f"I1: map ended behind {source.given} of {len(action.plans)} tasks")

    def _left(self, source: _Source, came: set[str]) -> None:
        """What had come when the reader went is not lost."""
        program = self._program
        program.story.count("map left early")
        options = program.scenario.options
        if options["claim_limit"] < len(source.uuids):
            return
        for uuid in source.uuids:
            sent = program.watch.tasks.get(uuid)
            if uuid in came or sent is None or sent.record.state is not TaskState.DONE:
                continue
            found = program.client.claim(uuid)
            if found is None and options.get("claim_bytes", MANY) < MANY:
                continue
            if found is None:
                program.watch.fail(f"I4: {short(uuid)} had come when its map was left, and is gone")
            else:
                program.story.count("claimed behind a map")
                program.judge.check_items(program.scenario.plans[uuid], found.raw)


class _Source:
    """Where a map takes its tasks from. ``given`` tasks were taken."""

    def __init__(self, program: Program, action: Action) -> None:
        self._program = program
        self._action = action
        self.given = 0
        self.uuids: list[str] = []

    def tasks(self) -> Iterable[dict[str, Any]] | AsyncIterable[dict[str, Any]]:
        """The source of this kind."""
        what = self._action.what
        return self._asynchronous() if what.startswith("async") else self._synchronous()

    def _plans(self) -> Iterator[Plan]:
        action = self._action
        yield from action.plans
        if not action.what.endswith("endless"):
            return
        last = action.plans[-1]
        for number in count(1):
            # As the last one, under a taskUUID that is made from its own.
            uuid = f"{last.uuid[:-6]}{(int(last.uuid[-6:], 16) + number) % 0x1000000:06x}"
            plan = Plan(uuid, takes=(0.3,))
            self._program.scenario.plans[uuid] = plan
            yield plan

    def _take(self, plan: Plan) -> dict[str, Any]:
        self.given += 1
        self.uuids.append(plan.uuid)
        return self._program.task(plan)

    def _synchronous(self) -> Iterator[dict[str, Any]]:
        loop = self._program.loop
        for number, plan in enumerate(self._plans()):
            if self._action.what == "raises" and number == len(self._action.plans) // 2:
                raise SourceBroken
            if self._action.what == "blocks":
                began = loop.now
                loop.suspend(0.5 * (number % 4))
                self._program.watch.suspended.append((began, loop.now))
            yield self._take(plan)

    async def _asynchronous(self) -> AsyncGenerator[dict[str, Any]]:
        what = self._action.what
        for number, plan in enumerate(self._plans()):
            halfway = number == len(self._action.plans) // 2
            if what == "async-raises" and halfway:
                raise SourceBroken
            if what == "async-cancels" and halfway:
                raise asyncio.CancelledError
            if what == "async-hangs" and halfway:
                await anyio.sleep_forever()
            if what == "async-sleeps":
                await anyio.sleep((number * 7 % 5) * 0.6)
            yield self._take(plan)
