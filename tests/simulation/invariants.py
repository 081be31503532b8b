"""What must hold all the time: the watch sits between the driver and the core.

Each check names the invariant it belongs to. ``problems`` holds what broke;
the first one is what a run failed of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from runware_ws import events
from runware_ws._core.effects import Effect, Emit, Frame, Resolve, Todo
from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._core.tasks.record import FOREVER, TaskRecord
from runware_ws._io import feed
from runware_ws._io.driver import Driver
from runware_ws.classify import Loss
from runware_ws.config import Config
from runware_ws.errors import RunwareError, StreamInterrupted, TaskCancelled
from tests.simulation.memory import kept
from tests.simulation.questions import listed
from tests.simulation.server import Server
from tests.simulation.story import Story, short
from tests.simulation.traits import Plan
from tests.simulation.wire import Wire

__all__ = ["EPSILON", "Sent", "Watch"]

EPSILON = 0.01
ENTRY = 200
"""A claim costs so many bytes more than its result, at most."""

LONG = 4_096
"""No event takes more bytes, whatever the server said."""

DEEP = 8
"""The checks that look at every task are made at each so many inputs."""


@dataclass(slots=True)
class Sent:
    """What the watch saw of one task.

    Over HTTP: when it was ``posted``, when that was cut, and whether it was ``answered`` in order.
    ``first_asked``: when the first question about it was written. ``taken_back``: that nothing was
    written was known only after its end.
    """

    record: TaskRecord
    ends: int = 0
    ended_at: float = 0.0
    breaks: int = 0
    written: list[float] = field(default_factory=list[float])
    posted: list[float] = field(default_factory=list[float])
    cuts: list[float] = field(default_factory=list[float])
    first_asked: float = FOREVER
    answered: bool = False
    tried_before: bool = False
    taken_back: bool = False
    conflicts: int = 0
    given: set[str] = field(default_factory=set[str])


Snapshot = tuple[Any, ...]


def _tells(raised: RunwareError, record: TaskRecord) -> bool:
    """Whether an error may tell the end of this record: copies share the very same text.

    An interrupted stream says of what: its cause is the end of the task. That somebody gave a task
    up is told anew to each who asks, and no record keeps it.
    """
    if isinstance(raised, StreamInterrupted) and isinstance(raised.__cause__, RunwareError):
        raised = raised.__cause__
    if isinstance(raised, TaskCancelled):
        return record.state is TaskState.CANCELLED
    return record.error is not None and record.error.message is raised.message


def _facts(record: TaskRecord) -> Snapshot:
    return (
        record.state,
        record.ladder.confirmed,
        record.ladder.disturbed,
        len(record.items),
        record.error,
        record.ladder.question,
        record.ladder.next_at,
        record.ladder.misses,
    )


KNOWN = 5
"""So many facts of a record are known of the task; the others are about what is asked next."""


def _is_life(data: bytes | str) -> bool:
    """Whether a message proves that the server is there: any but a ping of its own."""
    try:
        (item,) = orjson.loads(data)["data"]
        return bool(item["taskType"] != "ping" or item.get("pong"))
    except (ValueError, TypeError, LookupError):
        return True


class Watch:
    """Wraps the inputs and outputs of one driver's core."""

    def __init__(
        self,
        driver: Driver,
        config: Config,
        wire: Wire,
        server: Server,
        story: Story,
        plans: dict[str, Plan],
        key: Callable[[str], bool],
    ) -> None:
        self.driver = driver
        self.core = driver.core
        self.config = config
        self.wire = wire
        self.server = server
        self.story = story
        self.plans = plans
        self._holds_key = key
        self.problems: list[str] = []
        self.tasks: dict[str, Sent] = {}
        self.past: list[Sent] = []
        self.foreign: set[bytes | str] = set()
        self.breaks: list[float] = []
        self.ready_since: float | None = None
        self.suspended: list[tuple[float, float]] = []
        self.draws: list[float] = []
        self._redial_at = self._redial_from = 0.0
        self._may_hurry = False
        self._loss: Loss | None = None
        self.closed = False
        self.draining_at: float | None = None
        self.told = 0
        self.told_at = 0.0
        self._inputs = 0
        self._generation: int | None = None
        self._dialing = 1
        self._last_in = self._last_out = wire.now
        self._pings = 0
        self._busy_at = 0.0
        self._wrap()

    def fail(self, problem: str) -> None:
        """Something broke."""
        self.problems.append(problem)
        self.story.tell("BROKEN", problem)

    def check(self, holds: bool, problem: str) -> None:
        """Assert without stopping the run."""
        if not holds:
            self.fail(problem)

    def try_of(self, uuid: str, result: Any, error: Any) -> Sent | None:
        """Which try of a task came back so: the same task may be tried again at once."""
        tries = [sent for sent in self.past if sent.record.uuid == uuid]
        for sent in tries:
            record = sent.record
            given = (
                {*map(id, record.items)} == {*map(id, result.raw)}
                if error is None
                else _tells(error, record)
            )
            if given and (error is not None or record.state is TaskState.DONE):
                return sent
        return self.tasks.get(uuid)

    def late_until(self, deadline: float) -> float:
        """A deadline that fell into a time in which nobody ran is met right after it."""
        late = deadline
        for begin, end in self.suspended:
            if begin <= late <= end:
                late = end
        return late

    def _wrap(self) -> None:
        core = self.core
        receive, take, pull, lost = core.receive, core.take, core.next_frame, core.lost
        not_written = core.not_written
        submit, publish = core.submit, self.driver.feed.publish

        def on_receive(generation: int, data: bytes | str, now: float) -> None:
            self._received(receive, generation, data, now)

        def on_take() -> Todo | None:
            todo = take()
            if todo is not None:
                self._effects(list(todo.effects))
            return todo

        def on_pull(now: float) -> Frame | None:
            frame = pull(now)
            if frame is not None:
                self._frame(frame, now)
            return frame

        def on_submit(record: TaskRecord) -> None:
            drawn = len(self.draws)
            submit(record)
            if len(self.draws) > drawn and core.state is ConnectionState.BACKOFF:
                self._hurried(record.submitted_at)
            before = self.tasks.get(record.uuid)
            self.tasks[record.uuid] = sent = Sent(record)
            if before is not None:
                # The second try of a task that was given up: what was written stays written.
                self.past.append(before)
                sent.written, sent.posted = list(before.written), list(before.posted)
                sent.tried_before = True
                self.story.count("second try")

        def on_publish(event: events.Event) -> None:
            self._event(event)
            publish(event)

        def on_lost(generation: int, loss: Loss, now: float) -> None:
            if generation == core.generation:
                self._loss = loss
            lost(generation, loss, now)

        def on_not_written(generation: int, frame: Frame) -> None:
            if generation == core.generation:
                for record in frame.records:
                    sent = self.tasks[record.uuid]
                    sent.written.pop()
                    sent.taken_back |= record.ended
            not_written(generation, frame)

        patched: Any = core
        patched.not_written = on_not_written
        patched.receive, patched.take, patched.next_frame = on_receive, on_take, on_pull
        patched.submit, patched.lost = on_submit, on_lost
        cast("Any", self.driver.feed).publish = on_publish

    # Inputs

    def _received(
        self, receive: Callable[..., None], generation: int, data: bytes | str, now: float
    ) -> None:
        core = self.core
        listening = generation == core.generation and core.state in (
            ConnectionState.READY,
            ConnectionState.AUTHENTICATING,
        )
        foreign = data in self.foreign
        before = self.picture() if foreign or not listening else None
        receive(generation, data, now)
        if listening and _is_life(data):
            self._last_in = now
            self._pings = 0
        if before is not None:
            after = self.picture()
            if foreign:
                known = [
                    {uuid: facts[:KNOWN] for uuid, facts in p[0].items()} for p in (before, after)
                ]
                self.check(known[0] == known[1], "I11: a foreign frame changed a task")
            else:
                self.check(before == after, "I7: a frame of an old socket changed something")
        if listening and not foreign:
            self._given(data)
        self._steady()

    def picture(self) -> Snapshot:
        """Everything that an input could change: tasks first, then the rest."""
        core = self.core
        tasks = {uuid: _facts(sent.record) for uuid, sent in self.tasks.items()}
        counters = core.counters
        counts = tuple(getattr(counters, name) for name in type(counters).__slots__)
        return tasks, repr(counts), core.sizes(), core.state, core.session_uuid, core.generation

    def _given(self, data: bytes | str) -> None:
        """I4, at once: a task whose every item was handed to the client has ended."""
        try:
            frame = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        touched: set[str] = set()
        for error in frame.get("errors", ()):
            sent = self.tasks.get(str(error.get("taskUUID")))
            if sent is not None and error["code"] == "conflictTaskUUID":
                sent.conflicts += 1
        for item in frame.get("data", ()):
            self._note_item(item, touched)
            for inner in listed(item.get("response")):
                self._note_item(inner, touched)
                self._note_piece(item, inner)
        for uuid in touched:
            sent, plan = self.tasks[uuid], self.plans[uuid]
            complete = len(sent.given) == plan.number and not plan.twins
            deltas = sent.record.deltas
            # What is pushed after a cut of a stream may be its last part: the archive is asked.
            complete = complete and not (deltas is not None and deltas.suspended)
            self.check(
                sent.record.ended or not complete,
                f"I4: all items of {short(uuid)} were handed to the client, and it has not ended",
            )

    def _note_piece(self, answer: dict[str, Any], piece: dict[str, Any]) -> None:
        """I4: where the archive has the last piece of a stream, it has all of them."""
        uuid = str(piece.get("taskUUID") or answer["taskUUID"]).lower()
        sent = self.tasks.get(uuid)
        if sent is not None and self.plans[uuid].stream is not None and "finishReason" in piece:
            over = sent.record.ended or sent.record.posted
            self.check(over, f"I4: the archive told all of {short(uuid)}, and it has not ended")

    def _note_item(self, item: dict[str, Any], touched: set[str]) -> None:
        uuid = str(item.get("taskUUID")).lower()
        if uuid not in self.tasks or "delta" in item:
            return
        stream = self.plans[uuid].stream
        if stream is None and isinstance(item.get("text"), str):
            self.tasks[uuid].given.add(item["text"])
            touched.add(uuid)
        elif stream is not None and "finishReason" in item and stream.is_whole(item):
            self.tasks[uuid].given.add("whole")
            touched.add(uuid)

    # Outputs

    def _effects(self, effects: list[Effect]) -> None:
        breaks = len(self.breaks)
        for effect in effects:
            if isinstance(effect, Emit) and isinstance(effect.event, events.Disconnected):
                breaks += 1
            elif isinstance(effect, Resolve):
                for record in effect.records:
                    self._ended(record, breaks)
        self._steady()

    def _ended(self, record: TaskRecord, breaks: int) -> None:
        sent = self.tasks[record.uuid]
        sent.ends += 1
        self._busy_at = self.wire.now
        sent.ended_at = self.wire.now
        sent.breaks = breaks
        self.check(sent.ends == 1, f"I1: {short(record.uuid)} ended twice")
        self.check(record.ended, f"I1: {short(record.uuid)} resolved before its end")
        self.story.tell("client", f"{short(record.uuid)} ended: {record.state.name}")

    def _frame(self, frame: Frame, now: float) -> None:
        core = self.core
        self.check(
            core.state is ConnectionState.READY, "I6: a frame for a socket that is not ready"
        )
        what = "ping"
        if frame.records:
            what = " ".join(short(record.uuid) for record in frame.records)
            for record in frame.records:
                self.tasks[record.uuid].written.append(now)
                self.check(not record.ended, f"I1: {short(record.uuid)} is sent after its end")
            resent = any(record.ladder.resends for record in frame.records)
            if resent and self.wire.weather.lag_resend:
                self.wire.delay_this()
        elif b'"ping"' not in frame.data:
            asked = [(t["taskType"], t["taskUUID"]) for t in orjson.loads(frame.data)]
            for _, uuid in asked:
                sent = self.tasks[uuid]
                sent.first_asked = min(sent.first_asked, now)
            what = f"asks {[(kind, short(uuid)) for kind, uuid in asked]}"
        else:
            self._ping(now)
        self._last_out = now
        self.story.tell("client", f"writes {what}")

    def _ping(self, now: float) -> None:
        """I10: a ping needs a reason."""
        self._pings += 1
        after = self.config.ping_after
        # It is decided before the tasks that are over end at the same deadline.
        if self.core.in_flight or now - self._busy_at < EPSILON:
            after = min(after, self.config.busy_ping_after)
        silent = now - self._last_in >= after - EPSILON
        unsaid = now - self._last_out >= self.config.keepalive - EPSILON
        # A ping that waited behind a stall may have lost its reason meanwhile.
        held_back = now - self.wire.unstalled_at < EPSILON
        held_back |= any(abs(now - end) < EPSILON for _, end in self.suspended)
        self.check(silent or unsaid or held_back, "I10: a ping without a reason")
        most = 5 if self.suspended else 2
        self.check(self._pings <= most, f"I10: {self._pings} pings without a word in between")

    # Events

    def _event(self, event: events.Event) -> None:
        self.told += 1
        self.told_at = event.at
        text = repr(event)
        self.story.tell("event", text.replace(f"at={event.at!r}, ", ""))
        self.check(not self._holds_key(text), f"I13: the key in an event: {type(event).__name__}")
        self.check(len(text) <= LONG, f"I9: {type(event).__name__} of {len(text)} bytes")
        self.check(not self.closed, f"I15: {type(event).__name__} after Closed")
        match event:
            case events.Dialing(generation=generation):
                self.check(self._generation is None, "I15: Dialing while connected")
                self.check(event.at >= self._redial_at - EPSILON, "I10: a dial came too early")
                self._dialing = generation
            case events.Connected(generation=generation):
                self.check(self._generation is None, "I15: Connected twice")
                self.check(generation == self._dialing, "I15: Connected without Dialing")
                self._generation = generation
                self.ready_since = self._last_in = self._last_out = event.at
                self._pings = 0
                self.story.count("resumed" if event.resumed else "fresh session")
            case events.Disconnected(generation=generation):
                self.check(generation == self._generation, "I15: Disconnected without Connected")
                self._generation = self.ready_since = None
                self.breaks.append(event.at)
                self._plan_redial(event.at)
                if event.reason.startswith("dead peer"):
                    self.story.count("half-open found")
            case events.DialFailed(generation=generation):
                self.check(self._generation is None, "I15: DialFailed while connected")
                self.check(generation == self._dialing, "I15: DialFailed without Dialing")
                wait = self._plan_redial(event.at)
                told = abs(event.retry_after - wait) < EPSILON
                self.check(told, "I10: DialFailed tells another delay")
            case events.KeyRefused(final=final):
                self.story.count(f"key refused {'for good' if final else 'once'}")
            case events.Closed():
                self.check(self._generation is None, "I15: Closed before Disconnected")
                self.closed = True
            case _:
                pass
        self.story.count(f"event: {type(event).__name__}")

    def _plan_redial(self, at: float) -> float:
        """I10: the next dial follows the drawn delay and the server's Retry-After."""
        loss, self._loss = self._loss, None
        wait = self.draws[-1] if self.draws else 0.0
        self._redial_from = at
        if loss is not None and loss.retry_after is not None:
            self._redial_from += min(loss.retry_after, self.config.retry_after_cap)
            self.story.count("retry-after honoured")
        self._redial_at = self._redial_from + wait
        self._may_hurry = True
        return self._redial_at - at

    def _hurried(self, now: float) -> None:
        """I10: a task makes a dial come earlier, once, and never before the Retry-After."""
        self.check(self._may_hurry, "I10: a dial was brought near twice")
        self._may_hurry = False
        near = max(now, self._redial_from) + self.draws[-1]
        self._redial_at = min(self._redial_at, near)
        self.story.count("dial brought near")

    # All the time

    def _steady(self) -> None:
        core, config = self.core, self.config
        sizes = core.sizes()
        self.check(
            sizes["in_flight"] <= config.max_in_flight or sizes["in_flight"] <= 1,
            "I9: more in flight than allowed",
        )
        self.check(
            sizes["in_flight_bytes"] <= config.max_in_flight_bytes or sizes["in_flight"] <= 1,
            "I9: more bytes in flight than allowed",
        )
        if (more := sizes["questions"] - config.question_window) > 0:
            # Those about tasks whose deadline is near do not wait for the others.
            now = self.wire.now
            near = sum(
                sent.record.is_last_call(now)
                for sent in self.tasks.values()
                if sent.record.ladder.question is not None
            )
            allowed = min(near, config.question_window)
            self.check(more <= allowed, "I9: more questions than allowed")
            self.story.count("a last question beyond the window")
        self.check(sizes["questions"] >= 0, "I9: the count of questions is below zero")
        self.check(sizes["claims"] <= config.claim_limit, "I9: more claims than allowed")
        self.check(
            sizes["tasks"] == sizes["waiting"] + sizes["in_flight"], "I9: tasks do not add up"
        )
        self._inputs += 1
        if self._inputs % DEEP == 0:
            self._deep(sizes)

    def _bytes(self, sizes: dict[str, int], live: list[TaskRecord]) -> None:
        """I9, in bytes: what is kept, not what was counted."""
        table: Any = self.core._table  # pyright: ignore[reportPrivateUsage]
        config = self.config
        held = kept(table.claims) if sizes["claims"] else 0
        self.check(
            held <= config.claim_bytes + ENTRY * sizes["claims"],
            f"I9: {sizes['claims']} claims keep {held} bytes of {config.claim_bytes}",
        )
        self.check(bool(held) or not table.claims.size, "I9: no claims, and they have a size")
        for reader in cast("Any", self.driver.feed)._streams:
            waits = kept(reader._events)
            self.check(
                waits <= max(feed.MOST_BYTES, LONG), f"I9: events of {waits} bytes wait for one"
            )
        admitted = sum(record.size for record in live if record.state is not TaskState.WAITING)
        self.check(admitted == sizes["in_flight_bytes"], "I9: bytes in flight do not add up")

    def _deep(self, sizes: dict[str, int]) -> None:
        live = [sent.record for sent in self.tasks.values() if not sent.record.ended]
        self.check(len(live) == sizes["tasks"], "I1: a task is missing from the table")
        waiting = sum(record.state is TaskState.WAITING for record in live)
        self.check(waiting == sizes["waiting"], "I9: the waiting line does not add up")
        self._bytes(sizes, live)
        if self.core.state is ConnectionState.READY and not sizes["tasks"]:
            self.check(sizes["questions"] == 0, "I9: open questions do not add up")
        now = self.wire.now
        for record in live:
            self.check(
                now <= self.late_until(record.deadline) + EPSILON,
                f"I8: {short(record.uuid)} outlives its deadline",
            )
