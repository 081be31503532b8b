"""How the model server streams: it makes the items, and knows what a cut does to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.loop import VirtualLoop
from tests.simulation.story import Story, short
from tests.simulation.streams import StreamPlan
from tests.simulation.traits import Traits
from tests.simulation.wire import Push
from tests.simulation.works import Response, Work, error_frame

__all__ = ["Streaming"]

STRANGER = "5a5a5a5a-0000-4000-8000-000000000000"
TOGETHER = 3
"""So many items go out in one message, where a stream's are joined."""


class Streaming:
    """``push`` hands a message to the session of its work, or to its buffer.

    ``failed`` is told of a work that failed.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        story: Story,
        traits: Traits,
        push: Callable[[Work, Push], None],
        failed: Callable[[Work], None],
    ) -> None:
        self._loop = loop
        self._story = story
        self._traits = traits
        self._push = push
        self._failed = failed
        self._streams: dict[str, list[Work]] = {}
        self._away: set[str] = set()

    def begin(self, work: Work) -> None:
        """A stream is registered: its items are made from now on."""
        if work.response is None and work.streamed:
            self._streams.setdefault(work.session, []).append(work)
        self._plan(work, 0, self._loop.now)

    def _plan(self, work: Work, index: int, began: float) -> None:
        """One after the other, for timers of one time come in no order."""
        at = _stream(work).at
        if index < len(at):
            self._loop.call_at(began + at[index], self._next, work, index, began)

    def _next(self, work: Work, index: int, began: float) -> None:
        if work.finished_at is None:
            self._make(work, index)
            self._plan(work, index + 1, began)

    def _make(self, work: Work, index: int) -> None:
        """Item number ``index`` is made, or the task fails instead."""
        plan = work.plan
        stream = _stream(work)
        work.made = index + 1
        if plan.ends != "ok" and index >= stream.fails_after:
            work.error = work.failure(anonymous=plan.anonymous)
            work.finished_at = self._loop.now
            self._failed(work)
        elif work.made == len(stream.at):
            work.items.append(work.item(0, upper=self._traits.upper))
            work.finished_at = self._loop.now
        if work.finished_at is not None:
            self._story.tell("server", f"finished {short(plan.uuid)}: {work.error or 'whole'}")
        if not work.streamed:
            if work.finished_at is not None:
                self._answer(work)
        elif work.response is not None:
            self._stream_event(work, work.response, index)
        else:
            self._stream_push(work, index)

    # One whole answer

    def _answer(self, work: Work) -> None:
        if work.delivery == "async":
            return
        if work.plan.loses:
            self._story.count("fault: result lost")
            if work.response is not None:
                work.response.end(in_order=False)
        elif work.response is not None:
            self._story.count("http: one whole answer")
            work.response.say(self._outcome(work))
            work.response.end(in_order=True)
        else:
            for _ in range(2 if work.plan.doubles else 1):
                self._push(work, Push(self._outcome(work)))

    def _outcome(self, work: Work) -> dict[str, Any]:
        if work.error is not None:
            return error_frame([work.error], self._traits.error_key)
        return {"data": list(work.items)}

    # Over the socket

    def _stream_push(self, work: Work, index: int) -> None:
        mode = self._traits.after_cut
        frame = self._frame(work, index)
        if work.broken and mode in ("whole", "nothing"):
            if work.finished_at is not None and mode == "whole":
                self._answer(work)
            return
        if mode in ("hole", "restart") and work.session in self._away:
            return
        if work.plan.loses and work.finished_at is not None:
            self._story.count("fault: result lost")
        elif frame is not None:
            self._push(work, Push(frame, work))

    def _frame(self, work: Work, index: int) -> dict[str, Any] | None:
        """The next message, ``None`` where the item waits for others."""
        if work.error is not None:
            frame = error_frame([work.error], self._traits.error_key)
            return {"data": work.held, **frame} if work.held else frame
        work.held.append(work.piece(index, upper=self._traits.upper))
        if work.plan.joined and work.finished_at is None and len(work.held) < TOGETHER:
            return None
        held, work.held = work.held, []
        return {"data": held}

    # Cuts

    def cut(self, session: str, pushes: list[Push]) -> list[Push]:
        """A session's socket died, and these had not arrived: what is kept of them."""
        self._away.add(session)
        mode = self._traits.after_cut
        lost = {id(push.work) for push in pushes if push.work is not None}
        kept = self.kept(pushes)
        for work in self._streams.get(session, ()):
            if work.finished_at is not None and id(work) not in lost:
                continue
            if not work.broken:
                self._story.count(f"deltas after a cut: {mode}")
                self._story.tell("server", f"a cut through stream {short(work.plan.uuid)}: {mode}")
            work.broken = True
            if mode == "whole" and work.finished_at is not None:
                kept.append(Push(self._outcome(work)))
        return kept

    def kept(self, pushes: list[Push]) -> list[Push]:
        """What is kept of messages that may not have arrived."""
        on = self._traits.after_cut == "on"
        return [push for push in pushes if push.work is None or on]

    def resumed(self, session: str) -> list[Push]:
        """A session is back: the deltas that are sent again from the first."""
        self._away.discard(session)
        if self._traits.after_cut != "restart":
            return []
        again: list[Push] = []
        for work in self._streams.get(session, ()):
            if not work.broken:
                continue
            # What was made is sent once for each cut that it went through.
            work.broken = work.finished_at is None
            work.held.clear()
            again += [
                Push({"data": [piece]}, work) for piece in work.pieces(upper=self._traits.upper)
            ]
            if work.error is not None:
                again.append(Push(self._outcome(work), work))
        return again

    # Over HTTP

    def _stream_event(self, work: Work, response: Response, index: int) -> None:
        stream = _stream(work)
        done = work.finished_at is not None
        if done and work.plan.loses:
            self._story.count("fault: result lost")
            response.end(in_order=False)
            return
        if stream.mixed:
            self._story.count("http: an event of another task")
            foreign = {"taskUUID": STRANGER, "delta": {"text": "not yours"}, "finishReason": "stop"}
            response.say(foreign)
        if stream.nameless:
            self._story.count("http: an event of no task")
        frame = self._frame(work, index)
        for event in self._events(frame, stream):
            response.say(event)
        if done:
            if stream.last == "unmarked" and not stream.ends_open:
                self._story.count("http: end mark without a finish reason")
            if stream.ends_open:
                self._story.count("http: no end mark")
            response.end(in_order=not stream.ends_open)

    def _events(self, frame: dict[str, Any] | None, stream: StreamPlan) -> list[dict[str, Any]]:
        if frame is None:
            return []
        if stream.enveloped or "data" not in frame or len(frame) > 1:
            return [frame]
        return list(frame["data"])


def _stream(work: Work) -> StreamPlan:
    stream = work.plan.stream
    assert stream is not None
    return stream
