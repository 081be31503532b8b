"""The core, and a note of all that is put into it and all that it wants done.

The core is told by nobody that it is recorded, and decides nothing else for it. What is noted are
references: what must not be seen is masked when somebody wants to read it, see
``telemetry/flight.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runware_ws._core.core import SessionCore
from runware_ws._core.effects import Frame, PostEnding, Todo
from runware_ws._core.states import TaskState
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.classify import Loss
from runware_ws.config import Config
from runware_ws.errors import RunwareError
from runware_ws.telemetry.flight import FlightRecorder
from runware_ws.telemetry.flight_lines import (
    SMALL,
    Entry,
    noted_effects,
    noted_error,
    noted_task,
)

__all__ = ["RecordedCore", "new_core"]

_UNKNOWN = TaskState.UNKNOWN

_WRITABLE: Entry = ("take", (), True, None)
_NOTHING: Entry = ("take", (), False, None)

# Every task passes these, and ``super()`` takes longer.
_submit, _receive = SessionCore.submit, SessionCore.receive
_take, _next_frame = SessionCore.take, SessionCore.next_frame


def new_core(
    config: Config,
    flight: FlightRecorder | None,
    *,
    draw: Callable[[int], float],
    redact: Callable[[str], str],
    fixed_key: bool,
    journaled: bool,
) -> SessionCore:
    """A core; recorded if there is a recorder."""
    if flight is None:
        return SessionCore(
            config, draw=draw, redact=redact, fixed_key=fixed_key, journaled=journaled
        )
    return RecordedCore(
        config, flight, draw=draw, redact=redact, fixed_key=fixed_key, journaled=journaled
    )


class RecordedCore(SessionCore):
    """A core of which ``flight`` notes all inputs and outputs."""

    def __init__(
        self,
        options: Config,
        flight: FlightRecorder,
        *,
        draw: Callable[[int], float],
        redact: Callable[[str], str],
        fixed_key: bool,
        journaled: bool,
    ) -> None:
        self._flight = flight
        self._largest = flight.largest
        self._ring = flight.begin(fixed_key=fixed_key, journaled=journaled)
        self._note: Callable[[Entry], None] = self._ring.entries.append
        # Bytes since the last turn, without what each entry takes up by itself.
        self._held = 0

        def noted_draw(attempt: int) -> float:
            delay = draw(attempt)
            self._note(("draw", delay))
            return delay

        super().__init__(
            options, draw=noted_draw, redact=redact, fixed_key=fixed_key, journaled=journaled
        )

    # Outputs

    def take(self) -> Todo | None:
        todo = _take(self)
        if todo is not None:
            if todo.effects:
                size, noted = noted_effects(todo.effects)
                self._held += size
                self._note(("take", noted, todo.writable, todo.deadline))
                if any(type(each) is tuple and each[1] is _UNKNOWN for each in noted):
                    self._flight.on_unknown()
            elif todo.deadline is None:
                # After nearly every submit: no new entry for that.
                self._note(_WRITABLE if todo.writable else _NOTHING)
            else:
                self._note(("take", (), todo.writable, todo.deadline))
            if self._held + SMALL * len(self._ring.entries) > self._ring.turn_at:
                self._turn()
        return todo

    def _turn(self) -> None:
        """Between two inputs, begin a new segment of the recording."""
        ring = self._ring
        ring.turn(self._held + SMALL * len(ring.entries))
        self._note = ring.entries.append
        self._held = 0

    def next_frame(self, now: float) -> Frame | None:
        frame = _next_frame(self, now)
        if frame is None:
            self._note(("next", now, None))
        elif frame.records:
            uuids = [record.uuid for record in frame.records]
            self._held += 8 * len(uuids)
            self._note(("next", now, (len(frame.data), uuids)))
        else:
            # A ping, or questions.
            self._held += len(frame.data)
            self._note(("next", now, frame.data))
        return frame

    # Inputs of every task

    def submit(self, record: TaskRecord) -> None:
        noted = noted_task(record)
        self._held += SMALL + record.size
        try:
            _submit(self, record)
        except RunwareError as exc:
            self._note(("submit", noted, type(exc).__name__))
            raise
        self._note(("submit", noted, ""))

    def receive(self, generation: int, data: bytes | str, now: float) -> None:
        size = len(data)
        if size <= self._largest:
            self._held += size
            self._note(("receive", now, generation, data))
        else:
            self._note(("receive", now, generation, self._flight.unkept(data)))
        _receive(self, generation, data, now)

    def on_deadline(self, now: float) -> None:
        self._note(("deadline", now))
        super().on_deadline(now)

    # The rest

    def start(self, now: float, session: str | None = None) -> None:
        self._note(("start", now, session))
        super().start(now, session)

    def entered(self, record: TaskRecord, now: float, *, known: bool = False) -> None:
        self._note(("entered", now, record.uuid, known))
        super().entered(record, now, known=known)

    def rebind(self, record: TaskRecord, uuid: str, payload: bytes) -> None:
        old, outcome = record.uuid, ""
        try:
            super().rebind(record, uuid, payload)
        except RunwareError as exc:
            outcome = type(exc).__name__
            raise
        finally:
            self._held += len(payload)
            self._note(("rebind", old, uuid, payload, outcome))

    def elsewhere(self, record: TaskRecord) -> None:
        self._note(("elsewhere", record.uuid))
        super().elsewhere(record)

    def unrecorded(self, record: TaskRecord, error: RunwareError, now: float) -> None:
        self._note(("unrecorded", now, record.uuid, noted_error(error)))
        super().unrecorded(record, error, now)

    def recorded(
        self, record: TaskRecord, uuid: str, items: list[dict[str, Any]], now: float
    ) -> None:
        self._held += self._flight.weight(items)
        self._note(("recorded", now, record.uuid, uuid, items))
        super().recorded(record, uuid, items, now)

    def refuse(self, record: TaskRecord, error: RunwareError, now: float) -> None:
        self._note(("refuse", now, record.uuid, noted_error(error)))
        super().refuse(record, error, now)

    def cancel(self, record: TaskRecord, now: float) -> bool:
        uuid = record.uuid
        done = super().cancel(record, now)
        self._note(("cancel", now, uuid, done))
        return done

    def keep(self, record: TaskRecord) -> None:
        self._note(("keep", record.uuid))
        super().keep(record)

    def claim(self, uuid: str) -> list[dict[str, Any]] | None:
        found = super().claim(uuid)
        self._held += len(uuid)
        self._note(("claim", uuid, None if found is None else len(found)))
        return found

    def drain(self, now: float) -> None:
        self._note(("drain", now))
        super().drain(now)

    def close(self, now: float) -> None:
        self._note(("close", now))
        super().close(now)

    def fail(self, failure: RunwareError, now: float) -> None:
        self._note(("fail", now, noted_error(failure)))
        super().fail(failure, now)

    def connected(self, generation: int, now: float) -> None:
        self._note(("connected", now, generation))
        super().connected(generation, now)

    def lost(self, generation: int, loss: Loss, now: float) -> None:
        self._held += len(loss.detail)
        self._note(("lost", now, generation, loss))
        super().lost(generation, loss, now)

    def moving(self, amount: int) -> None:
        self._note(("moving", amount))
        super().moving(amount)

    def posting(self, uuid: str, number: int, now: float) -> bool:
        wanted = super().posting(uuid, number, now)
        self._note(("posting", now, uuid, number, wanted))
        return wanted

    def posted(self, uuid: str, number: int, data: bytes, now: float) -> None:
        if len(data) <= self._largest:
            self._held += len(data)
            self._note(("posted", now, uuid, number, data))
        else:
            self._note(("posted", now, uuid, number, self._flight.unkept(data)))
        super().posted(uuid, number, data, now)

    def post_ended(self, uuid: str, number: int, ending: PostEnding, now: float) -> None:
        self._held += len(ending.body)
        self._note(("post_ended", now, uuid, number, ending))
        super().post_ended(uuid, number, ending, now)

    def not_written(self, generation: int, frame: Frame) -> None:
        self._note(("not_written", generation))
        super().not_written(generation, frame)
