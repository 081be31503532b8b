"""Answers that go out in pieces, and where they go on after a cut.

A stream makes its deltas whether somebody listens or not, and keeps all of them: what a resumed
session gets of them is the option ``stream_resume``. Over HTTP nothing can be resumed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any

import anyio

from .pieces import DeltaScript, cut_answer
from .replies import Answer, Request
from .sessions import Session
from .state import ServerState
from .tasks import AcceptedTask
from .units import Envelope, Kind, Unit, UnitSource

__all__ = ["DeltaStream", "cut_streams", "resume_streams"]


class DeltaStream:
    """The deltas of one task, in the making or done."""

    def __init__(self, state: ServerState, record: AcceptedTask) -> None:
        self.units: list[Unit] = []
        self.written = 0  # how many of them TCP has taken, counted from the first
        self.done = False
        self.deltas_are_over = False  # a cut ended them: at best the whole result follows
        self._state = state
        self._record = record
        self._script: DeltaScript | None = None
        self._began = 0.0
        record.session.streams[self] = None
        state.stats.streams += 1

    # -- making --------------------------------------------------------------------------

    def start(self, request: Request, answer: Answer | Iterator[Any] | AsyncIterator[Any]) -> None:
        """Begin: cut an answer into deltas, or follow a script of them."""
        state = self._state
        giant = state.faults.giant_bytes if state.faults.giants.take() else 0
        options = state.options
        if isinstance(answer, (str, dict)):
            pieces: Iterator[Any] | AsyncIterator[Any] = cut_answer(answer, options, giant)
        else:
            pieces = answer
        self._script = DeltaScript(request, answer, options)
        self._began = anyio.current_time()
        if isinstance(pieces, AsyncIterator):
            if state.group is not None:
                state.group.start_soon(self._follow, pieces)
        else:
            self._step(pieces)

    async def _follow(self, pieces: AsyncIterator[Any]) -> None:
        """A script that has its own pace."""
        try:
            async for piece in pieces:
                self._piece(piece)
                if self._full:
                    break
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
        except Exception as exc:
            self.fail(self._state.reply_problem(self._record, exc))
            return
        self._finish()

    def _step(self, pieces: Iterator[Any]) -> None:
        pause = self._state.options.delta_pause
        while True:
            try:
                self._piece(next(pieces))
            except StopIteration:
                self._finish()
                return
            except Exception as exc:
                self.fail(self._state.reply_problem(self._record, exc))
                return
            if self._full:
                self._finish()
                return
            if pause > 0:
                # From the beginning on, so that late timers do not add up.
                due = self._began + pause * len(self.units)
                self._state.timers.after(due - anyio.current_time(), lambda: self._step(pieces))
                return

    def _piece(self, piece: Any) -> None:
        assert self._script is not None
        for item in self._script.feed(piece):
            self._emit(Unit(Kind.DELTA, item))
            self._note(item)

    def _note(self, item: dict[str, Any]) -> None:
        if self._state.options.archive_pieces is not None:
            self._record.pieces.append(item)

    @property
    def _full(self) -> bool:
        """Whether the answer has all the tokens that the task allows."""
        return self._script is not None and self._script.full

    def _finish(self) -> None:
        assert self._script is not None
        try:
            items = self._script.finish()
            last = [Unit(Kind.DELTA, item) for item in items]
            whole = self._script.whole()
            outcome = Unit(Kind.RESULT, whole)
        except Exception as exc:  # Its pieces make no answer, or one that cannot be written.
            self.fail(self._state.reply_problem(self._record, exc))
            return
        for unit, item in zip(last, items, strict=True):
            self._emit(unit)
            self._note(item)
        self._record.generations[0].item = whole
        self._end(outcome)

    def fail(self, error: dict[str, Any]) -> None:
        """End with an error, behind the deltas that went out."""
        self._record.generations[0].error = error
        unit = Unit(Kind.ERROR, error, is_error=True)
        if not self.deltas_are_over:
            self._emit(unit)
        self._end(unit)

    def _emit(self, unit: Unit) -> None:
        unit.stream = self
        unit.number = len(self.units)
        self.units.append(unit)
        socket = self._record.session.socket
        if socket is not None and not self.deltas_are_over:
            socket.push(Envelope([unit]))

    def _end(self, outcome: Unit) -> None:
        self.done = True
        self._state.archive(self._record)
        session = self._record.session
        if session.over_http and session.socket is not None:
            # The last delta may have gone out before: the response ends only now.
            session.socket.push(Envelope())
        if not self.deltas_are_over:
            self.wrote(self.written - 1)
        elif self in session.streams and session.socket is not None:
            self.forget()
            self._state.deliver(session, Envelope([outcome]))
        self._state.release(self._record)

    # -- delivery ------------------------------------------------------------------------

    def wrote(self, number: int) -> None:
        """TCP has taken the unit with this number. Units go out in order."""
        self.written = number + 1
        if self.done and self.written == len(self.units):
            # A cut may still take back what was written in the last moments.
            window = self._state.dying()[2]
            self._state.timers.after(window, self._forget_if_written)

    def _forget_if_written(self) -> None:
        if self._record.session.socket is not None and self.written == len(self.units):
            self.forget()

    def forget(self) -> None:
        """Nothing of it will be delivered any more; the archive has the result."""
        self._record.session.streams.pop(self, None)
        self._record.stream = None

    def move(self, session: Session) -> None:
        """The task came again on another session, which gets only the whole result."""
        if session is not self._record.session:
            self._record.session.streams.pop(self, None)
            self.deltas_are_over = True
            if self.done:
                self._record.stream = None
            else:
                session.streams[self] = None

    def cut(self, taken_back: int | None) -> None:
        """The socket is gone. ``taken_back``: the first unit that may not have arrived."""
        if self.done and self.written == len(self.units) and taken_back is None:
            self.forget()
            return
        how = self._state.options.stream_resume
        if how == "restart":
            self.written = 0
        elif how == "overlap" and taken_back is not None:
            self.written = min(self.written, taken_back)
        elif how in ("whole", "lost"):
            self.deltas_are_over = True

    def resume(self) -> list[Envelope]:
        """What a resumed session gets at once."""
        if not self.deltas_are_over:
            missing = self.units[self.written :]
            if self.done and not missing:
                self.forget()
            return [Envelope([unit], replay=True) for unit in missing]
        generation = self._record.generations[0]
        if self._state.options.stream_resume != "whole":
            self.forget()
            return []
        if not self.done:
            return []
        self.forget()
        if generation.item is not None:
            return [Envelope([Unit(Kind.RESULT, generation.item)], replay=True)]
        return [Envelope([Unit(Kind.ERROR, generation.error or {}, is_error=True)], replay=True)]


def cut_streams(session: Session, taken_back: Sequence[Unit]) -> None:
    """The session lost its socket; of the units written, these may not have arrived."""
    first: dict[UnitSource, int] = {}
    for unit in taken_back:
        if unit.stream is not None:
            first[unit.stream] = min(unit.number, first.get(unit.stream, unit.number))
    for stream in list(session.streams):
        stream.cut(first.get(stream))


def resume_streams(session: Session) -> list[Envelope]:
    """What the streams of a resumed session send at once."""
    return [envelope for stream in list(session.streams) for envelope in stream.resume()]
