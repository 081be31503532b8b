"""Readers of streams: patient, slow, cancelled, gone early; and what each of them may hear."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import anyio

from runware_ws import Delta
from runware_ws.client.streams import TaskStream
from runware_ws.errors import RunwareError
from tests.simulation.program import Program
from tests.simulation.scenario import Action
from tests.simulation.story import short
from tests.simulation.streams import StreamPlan
from tests.simulation.traits import Plan

__all__ = ["Readers"]


@dataclass
class Heard:
    """I16: what a reader was handed so far, joined."""

    plan: StreamPlan
    text: str = ""
    reasoning: str = ""
    arguments: dict[int, str] = field(default_factory=dict[int, str])
    names: dict[int, tuple[str | None, str | None]] = field(
        default_factory=dict[int, tuple[str | None, str | None]]
    )

    def add(self, delta: Delta) -> None:
        """Take the next delta."""
        self.text += delta.text or ""
        self.reasoning += delta.reasoning or ""
        for piece in delta.tool_calls:
            self.arguments[piece.index] = self.arguments.get(piece.index, "") + piece.arguments
            known = self.names.get(piece.index, (None, None))
            self.names[piece.index] = (known[0] or piece.id, known[1] or piece.name)

    def is_prefix(self) -> bool:
        """Whether the whole begins so."""
        plan = self.plan
        return (
            plan.text.startswith(self.text)
            and plan.reasoning.startswith(self.reasoning)
            and all(self._call_begins(index) for index in self.arguments)
        )

    def is_whole(self) -> bool:
        """Whether it is the whole."""
        plan = self.plan
        calls = range(len(plan.calls))
        return (
            (self.text, self.reasoning) == (plan.text, plan.reasoning)
            and sorted(self.arguments) == list(calls)
            and all(self._call_is(index) for index in calls)
        )

    def _call_begins(self, index: int) -> bool:
        if index >= len(self.plan.calls):
            return False
        call, (known_id, known_name) = self.plan.calls[index], self.names[index]
        named = known_id in (None, call.id) and known_name in (None, call.name)
        # Arguments that came as an object may be spelled otherwise, once they are whole.
        return named and (call.arguments.startswith(self.arguments[index]) or self._call_is(index))

    def _call_is(self, index: int) -> bool:
        call = self.plan.calls[index]
        try:
            # No arguments at all say the same as an empty object.
            arguments = json.loads(self.arguments[index] or "{}")
        except ValueError:
            return False
        return arguments == json.loads(call.arguments) and self.names[index] == (call.id, call.name)

    def __str__(self) -> str:
        return f"{self.text!r} {self.reasoning!r} {self.arguments}"


class Readers:
    """The actions that read streams; ``Action.what`` is the carrier."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def stream(self, action: Action) -> None:
        """Reads to the end, unless it is cancelled."""
        with anyio.CancelScope() as scope:
            self._program.cancel_later(action, scope.cancel)
            await self._read(action, _Reading())

    async def stream_slow(self, action: Action) -> None:
        """Stands still for a while, behind some deltas."""
        pause = 0.4 * 2**action.number
        await self._read(action, _Reading(pause_after=action.number % 4, pause=pause))

    async def stream_cancelled(self, action: Action) -> None:
        """Reads are cancelled, and the stream is taken up again."""
        await self._read(action, _Reading(patience=0.05 * 2 ** (action.number % 7)))

    async def stream_left(self, action: Action) -> None:
        """Leaves the block behind some deltas."""
        await self._read(action, _Reading(leaves_after=action.number))

    async def stream_result(self, action: Action) -> None:
        """Reads some deltas or none, then only awaits the whole."""
        await self._read(action, _Reading(rests_after=action.number // 2))

    async def _read(self, action: Action, reading: _Reading) -> None:
        (plan,) = action.plans
        program = self._program
        assert plan.stream is not None
        heard = Heard(plan.stream)
        carrier: Any = action.what
        task = program.task(plan)
        in_time = not reading.pause
        try:
            stream = program.client.stream(task, carrier=carrier, timeout=action.timeout)
            async with stream:
                if not await self._deltas(stream, plan, heard, reading):
                    program.story.count("stream left")
                    return
                result = await stream.result()
                if not plan.stream.text.startswith(stream.text):
                    program.watch.fail(f"I16: {short(plan.uuid)}: stream.text is no prefix")
        except RunwareError as exc:
            program.over(plan, None, exc, in_time=in_time)
            if plan.uuid in program.watch.tasks:
                program.judge.interrupted(plan, heard.text, exc, all_read=reading.reads_all)
        else:
            program.over(plan, result, None, in_time=in_time)
            if reading.reads_all and not heard.is_whole():
                program.watch.fail(f"I16: {short(plan.uuid)} ended with {heard}, not the whole")

    async def _deltas(
        self, stream: TaskStream, plan: Plan, heard: Heard, reading: _Reading
    ) -> bool:
        """Read as this reader does; False where it goes before the end."""
        count = 0
        patience = reading.patience
        while count < reading.rests_after:
            if count == reading.leaves_after:
                return False
            if reading.pause and count == reading.pause_after:
                await anyio.sleep(reading.pause)
            with anyio.move_on_after(patience) as scope:
                try:
                    delta = await anext(stream)
                except StopAsyncIteration:
                    return True
                count += 1
                heard.add(delta)
                self._program.story.count("delta")
                if not heard.is_prefix():
                    self._program.watch.fail(
                        f"I16: {short(plan.uuid)} heard {heard}, no prefix of the whole"
                    )
            if scope.cancelled_caught and patience is not None:
                self._program.story.count("read cancelled")
                patience *= 1.5
        return True


FOREVER = 1 << 30


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a stream is read. Counts are of deltas, times in seconds."""

    pause: float = 0.0
    pause_after: int = 0
    patience: float | None = None
    leaves_after: int = FOREVER
    rests_after: int = FOREVER

    @property
    def reads_all(self) -> bool:
        return self.rests_after == FOREVER
