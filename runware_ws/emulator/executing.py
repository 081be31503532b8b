"""Accepted tasks become results: latency, replies, failures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

from .pieces import gather
from .replies import Answer, Reply, Request, generated_item
from .state import ServerState
from .tasks import AcceptedTask
from .units import Envelope, Kind, Unit
from .validation import task_error

__all__ = ["Executor", "outcome"]


class Executor:
    """Runs the generations of one emulator's tasks."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def reply_for(self, kind: str) -> Reply | None:
        """What answers this type of task."""
        return self._state.replies.get(kind) or self._state.replies.get("*")

    def start(self, record: AcceptedTask, index: int) -> None:
        """Begin one generation: its result comes after the latency."""
        generation = record.generations[index]
        generation.started = record.accepted_at
        delay = self._state.latency.sample(self._state.rng)
        generation.due = record.accepted_at + delay
        if delay > 0:
            self._state.timers.after(delay, lambda: self._execute(record, index))
        else:
            self._execute(record, index)

    def _execute(self, record: AcceptedTask, index: int) -> None:
        injection = (
            self._state.faults.injected(record.task, "execute")
            if self._state.faults.injections
            else None
        )
        if injection is not None:
            if injection.anonymous:
                self._failed(record, index, dict(injection.error))
            else:
                self._failed(record, index, task_error(task=record.task, **injection.error))
            return
        reply = self.reply_for(record.task["taskType"])
        request = Request(record.task, index, record.execution)
        try:
            answer = reply(request) if reply is not None else ""
        except Exception as exc:
            self._failed(record, index, self._state.reply_problem(record, exc))
            return
        if isinstance(answer, Awaitable):
            if self._state.group is not None:
                self._state.group.start_soon(self._await_reply, record, request, answer)
        elif record.stream is not None:
            record.stream.start(request, answer)
        elif isinstance(answer, (str, dict)):
            self._succeeded(record, request, answer)
        elif self._state.group is not None:
            self._state.group.start_soon(self._gather_reply, record, request, answer)

    async def _await_reply(
        self, record: AcceptedTask, request: Request, pending: Awaitable[Answer]
    ) -> None:
        try:
            answer = await pending
        except Exception as exc:
            self._failed(record, request.index, self._state.reply_problem(record, exc))
            return
        if record.stream is not None:
            record.stream.start(request, answer)
        else:
            self._succeeded(record, request, answer)

    async def _gather_reply(
        self,
        record: AcceptedTask,
        request: Request,
        script: Iterator[Answer] | AsyncIterator[Answer],
    ) -> None:
        """A script of deltas answers a task that is not streamed."""
        try:
            if isinstance(script, AsyncIterator):
                answer = gather([piece async for piece in script])
            else:
                answer = gather(list(script))
        except Exception as exc:
            self._failed(record, request.index, self._state.reply_problem(record, exc))
            return
        self._succeeded(record, request, answer)

    def _succeeded(self, record: AcceptedTask, request: Request, answer: Answer) -> None:
        style = self._state.options.result_index
        many = len(record.generations) > 1
        item = generated_item(
            request, answer, with_index=style == "always" or (style == "many" and many)
        )
        if self._state.faults.giants.take():
            item["text"] = str(item.get("text", "")).ljust(self._state.faults.giant_bytes, "x")
        record.generations[request.index].item = item
        self._ended(record, Unit(Kind.RESULT, item))

    def _failed(self, record: AcceptedTask, index: int, error: dict[str, Any]) -> None:
        if record.stream is not None:
            record.stream.fail(error)
            return
        record.generations[index].error = error
        self._ended(record, Unit(Kind.ERROR, error, is_error=True))

    def _ended(self, record: AcceptedTask, unit: Unit) -> None:
        self._state.archive(record)
        if record.method == "async":
            return
        framing = self._state.faults.framing or self._state.options.results_framing
        if framing == "separate" or len(record.generations) == 1:
            self._state.deliver(record.session, Envelope([unit]))
        elif record.done:
            self._state.deliver(record.session, Envelope(outcome(record)))


def outcome(record: AcceptedTask) -> list[Unit]:
    """All items and errors of an ended task."""
    units: list[Unit] = []
    for generation in record.generations:
        if generation.item is not None:
            units.append(Unit(Kind.RESULT, generation.item))
        elif generation.error is not None:
            units.append(Unit(Kind.ERROR, generation.error, is_error=True))
    return units
