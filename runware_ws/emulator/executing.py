"""Accepted tasks become results: latency, replies, failures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import anyio

from .pieces import gather
from .playing import scripted_fields
from .replies import Answer, Reply, Request, generated_item
from .state import ServerState
from .tasks import AcceptedTask
from .tokens import limited, most_tokens
from .units import Envelope, Kind, Unit

__all__ = ["Executor", "outcome"]


class Executor:
    """Runs the generations of one emulator's tasks."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def reply_for(self, kind: str) -> Reply | None:
        """What answers this type of task."""
        return self._state.replies.get(kind) or self._state.replies.get("*")

    def start(self, record: AcceptedTask) -> None:
        """Begin the generations of a task as soon as there is a slot for it."""
        for generation in record.generations:
            generation.started = generation.due = record.accepted_at
        self._state.admission.enter(lambda: self._begin(record), self._state.options)

    def _begin(self, record: AcceptedTask) -> None:
        record.scripted = self._state.player.answer_for(record.number, record.task)
        for index in range(len(record.generations)):
            self._begin_one(record, index)

    def _begin_one(self, record: AcceptedTask, index: int) -> None:
        """Begin one generation: its result comes after the latency."""
        generation = record.generations[index]
        generation.started = anyio.current_time()
        delay = self._state.latency.sample(self._state.rng)
        if record.scripted is not None:
            delay += record.scripted.after
        generation.due = generation.started + delay
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
                self._failed(record, index, injection.scoped(record.task))
            return
        request = Request(record.task, index, record.execution)
        try:
            answer = self._answer(record, request)
        except Exception as exc:
            self._failed(record, index, self._state.reply_problem(record, exc))
            return
        if isinstance(answer, Awaitable):
            if self._state.group is not None:
                self._state.group.start_soon(self._await_reply, record, request, answer)
        elif isinstance(answer, (str, dict)):
            self._answered(record, request, answer)
        elif record.stream is not None:
            record.stream.start(request, answer)
        elif self._state.group is not None:
            self._state.group.start_soon(self._gather_reply, record, request, answer)

    def _answer(
        self, record: AcceptedTask, request: Request
    ) -> Answer | Awaitable[Answer] | Iterator[Answer] | AsyncIterator[Answer]:
        """What the script says, or else the reply for this type."""
        if record.scripted is not None:
            return scripted_fields(record.scripted)
        reply = self.reply_for(record.task["taskType"])
        return reply(request) if reply is not None else ""

    def _answered(self, record: AcceptedTask, request: Request, answer: Answer) -> None:
        """A whole answer is there: as much of it as the task allows goes out."""
        most = most_tokens(record.task, self._state.options.default_max_tokens)
        try:
            answer = limited(answer, most)
            item = {} if record.stream is not None else self._item(record, request, answer)
            unit = Unit(Kind.RESULT, item)
        except Exception as exc:  # It is no answer, or cannot be written.
            self._failed(record, request.index, self._state.reply_problem(record, exc))
            return
        if record.stream is not None:
            record.stream.start(request, answer)
        else:
            record.generations[request.index].item = item
            self._ended(record, unit)

    async def _await_reply(
        self, record: AcceptedTask, request: Request, pending: Awaitable[Answer]
    ) -> None:
        try:
            answer = await pending
        except Exception as exc:
            self._failed(record, request.index, self._state.reply_problem(record, exc))
            return
        self._answered(record, request, answer)

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
        self._answered(record, request, answer)

    def _item(self, record: AcceptedTask, request: Request, answer: Answer) -> dict[str, Any]:
        style = self._state.options.result_index
        many = len(record.generations) > 1
        item = generated_item(
            request, answer, with_index=style == "always" or (style == "many" and many)
        )
        if self._state.faults.giants.take():
            item["text"] = str(item.get("text", "")).ljust(self._state.faults.giant_bytes, "x")
        return item

    def _failed(self, record: AcceptedTask, index: int, error: dict[str, Any]) -> None:
        if record.stream is not None:
            record.stream.fail(error)
            return
        record.generations[index].error = error
        self._ended(record, Unit(Kind.ERROR, error, is_error=True))

    def _ended(self, record: AcceptedTask, unit: Unit) -> None:
        self._state.archive(record)
        if record.method != "async":
            self._deliver(record, unit)
        self._state.release(record)

    def _deliver(self, record: AcceptedTask, unit: Unit) -> None:
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
