"""The core alone under any order of inputs: hypothesis looks for one that breaks it."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runware_ws._core.core import SessionCore
from runware_ws._core.effects import Authenticate, Close, Effect, Emit, Open, Resolve
from runware_ws._core.states import ConnectionState, TaskState
from runware_ws._core.tasks.durations import Durations
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config
from runware_ws.errors import RunwareError
from runware_ws.events import Closed, Connected, Dialing, Disconnected, Event
from tests.core.bench import uuid_of
from tests.simulation.small import SMALL, patched

NUMBERS = st.integers(min_value=0, max_value=11)
CODES = st.one_of(
    st.sampled_from((1000, 1001, 1002, 1006, 1008, 1009, 1011, 1012, 1013)),
    st.integers(min_value=0, max_value=65535),
    st.none(),
)
ERRORS = st.sampled_from(
    (
        "taskNotFound",
        "conflictTaskUUID",
        "inferenceError",
        "invalidSeed",
        "rateLimitExceeded",
        "invalidApiKey",
        "internalServerError",
        "odd",
    )
)
TYPES = st.sampled_from(("textInference", "getResponse", "getTaskDetails", "authentication", None))
STATUS = st.sampled_from((None, "success", "processing", "error", "odd"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("data", "errors", "error", "taskUUID", "taskType", "status", "x")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


class CoreMachine(RuleBasedStateMachine):
    """Inputs in any order; the promises of the core after each."""

    @initialize(
        window=st.sampled_from((1, 2, 256)),
        flight=st.sampled_from((1, 2, 100)),
        batch=st.sampled_from((1, 64)),
        resubmit=st.sampled_from(("same-uuid", "never")),
        fixed=st.booleans(),
    )
    def begin(self, window: int, flight: int, batch: int, resubmit: Any, fixed: bool) -> None:
        """A core, started."""
        self.config = Config(
            question_window=window,
            max_in_flight=flight,
            batch_tasks=batch,
            resubmit=resubmit,
            claim_limit=3,
        )
        rng = random.Random(7)
        self.core = SessionCore(self.config, draw=lambda _n: rng.random(), fixed_key=fixed)
        self.now = 1000.0
        self.durations = Durations()
        self.records: dict[str, TaskRecord] = {}
        self.ends: dict[str, int] = {}
        self.events: list[Event] = []
        self.sockets: set[int] = set()
        self.lost_at = 0.0
        self.written: dict[str, float] = {}
        self.core.start(self.now)
        self.take()

    def effects(self) -> list[Effect]:
        """What the core wants done now."""
        todo = self.core.take()
        return [] if todo is None else list(todo.effects)

    def take(self) -> None:
        """Look at what the core wants done."""
        for effect in self.effects():
            if isinstance(effect, Resolve):
                for record in effect.records:
                    self.ends[record.uuid] = self.ends.get(record.uuid, 0) + 1
                    assert self.ends[record.uuid] == 1, "I1: ended twice"
                    assert record.ended
            elif isinstance(effect, Emit):
                self.events.append(effect.event)
                if isinstance(effect.event, Disconnected):
                    self.lost_at = self.now
            elif isinstance(effect, Open):
                assert not self.sockets, "I6: a second socket"
                self.sockets.add(effect.generation)
            elif isinstance(effect, Close):
                self.sockets.discard(effect.generation)
            elif isinstance(effect, Authenticate):
                assert effect.generation in self.sockets

    # The client

    @rule(
        number=NUMBERS,
        timeout=st.sampled_from((0.5, 3.0, 30.0, float("inf"))),
        delivery=st.sampled_from(("sync", "async", "stream")),
        expected=st.integers(min_value=1, max_value=4),
    )
    def submit(self, number: int, timeout: float, delivery: str, expected: int) -> None:
        uuid = uuid_of(number)
        record = TaskRecord(
            uuid,
            "textInference",
            orjson.dumps({"taskType": "textInference", "taskUUID": uuid}),
            delivery=delivery,
            expected=expected,
            deadline=self.now + timeout,
            learned=self.durations.of(delivery),
            watched=True,
            now=self.now,
        )
        try:
            self.core.submit(record)
        except RunwareError:
            assert uuid in self.records or self.core.failure is not None or self.refuses_new()
        else:
            self.records[uuid] = record
            self.ends.pop(uuid, None)
            self.written.pop(uuid, None)
        self.take()

    def refuses_new(self) -> bool:
        """Whether the core was told to take no task."""
        return self.core.state is ConnectionState.CLOSED or self.drained

    drained = False

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        record = self.records.get(uuid_of(number))
        if record is not None:
            was = record.ended
            assert self.core.cancel(record, self.now) is not was
        self.take()

    @rule(number=NUMBERS)
    def claim(self, number: int) -> None:
        self.core.claim(uuid_of(number))

    @rule(sure=st.integers(min_value=0, max_value=9))
    def drain(self, sure: int) -> None:
        if sure == 0:
            self.drained = True
            self.core.drain(self.now)
            self.take()

    @rule(sure=st.integers(min_value=0, max_value=19))
    def close(self, sure: int) -> None:
        if sure == 0:
            self.core.close(self.now)
            self.take()
            assert not self.core.pending, "I1: a task outlived the client"

    # The socket

    @rule()
    def connected(self) -> None:
        self.core.connected(self.core.generation, self.now)
        self.take()

    @rule(session=st.sampled_from(("s-1", "s-1", "S-1", "s-2", "", None, 3)))
    def authenticated(self, session: Any) -> None:
        self.say({"data": [{"taskType": "authentication", "connectionSessionUUID": session}]})

    @rule(session=st.sampled_from(("s-1", "s-1", "s-2")))
    def ready(self, session: str) -> None:
        """The usual way, so that the deep states are reached often."""
        self.pass_time(self.core.next_deadline() - self.now if not self.sockets else 0.0)
        self.connected()
        self.authenticated(session)

    @rule(code=CODES, kind=st.sampled_from(tuple(LossKind)), common=st.booleans())
    def lost(self, code: int | None, kind: LossKind, common: bool) -> None:
        loss = Loss(LossKind.CLOSED, code=1006) if common else Loss(kind, code=code, status=code)
        self.sockets.discard(self.core.generation)
        self.core.lost(self.core.generation, loss, self.now)
        self.take()

    @rule(number=NUMBERS, index=st.sampled_from((None, 0, 1, 2, 3)), status=STATUS)
    def result(self, number: int, index: int | None, status: str | None) -> None:
        self.say({"data": [self._item(number, index, status)]})

    def _item(self, number: int, index: int | None, status: str | None) -> dict[str, Any]:
        uuid = uuid_of(number)
        item: dict[str, Any] = {
            "taskType": "textInference",
            "taskUUID": uuid,
            "text": f"{uuid}#{index}",
        }
        if index is not None:
            item["resultIndex"] = index
        if status is not None:
            item["status"] = status
        return item

    @rule(number=NUMBERS, many=st.integers(min_value=0, max_value=4))
    def archived(self, number: int, many: int) -> None:
        response = {"data": [self._item(number, index, None) for index in range(many)]}
        item = {"taskType": "getTaskDetails", "taskUUID": uuid_of(number), "response": response}
        self.say({"data": [item]})

    @rule(number=st.none() | NUMBERS, code=ERRORS, task_type=TYPES)
    def error(self, number: int | None, code: str, task_type: str | None) -> None:
        error: dict[str, Any] = {"code": code, "message": "no"}
        if number is not None:
            error["taskUUID"] = uuid_of(number)
        if task_type is not None:
            error["taskType"] = task_type
        self.say({"errors": [error]})

    @rule(number=NUMBERS)
    def receipt(self, number: int) -> None:
        self.say({"data": [{"taskType": "textInference", "taskUUID": uuid_of(number)}]})

    @rule(frame=JSON)
    def garbage(self, frame: Any) -> None:
        self.say(frame)

    @rule(data=st.binary(max_size=20))
    def noise(self, data: bytes) -> None:
        self.core.receive(self.core.generation, data, self.now)
        self.take()

    def say(self, frame: Any) -> None:
        """The peer says something."""
        self.core.receive(self.core.generation, orjson.dumps(frame), self.now)
        self.take()

    @rule(code=CODES, number=NUMBERS)
    def late(self, code: int | None, number: int) -> None:
        """I7: an old socket changes nothing."""
        core, old = self.core, self.core.generation - 1
        core.next_deadline()
        before = (core.sizes(), core.state, repr(core.counters), core.next_deadline())
        core.connected(old, self.now)
        core.receive(old, orjson.dumps({"data": [self._item(number, 0, None)]}), self.now)
        core.lost(old, Loss(LossKind.CLOSED, code=code), self.now)
        after = (core.sizes(), core.state, repr(core.counters), core.next_deadline())
        assert before == after
        assert not self.effects()

    # To the wire, and time

    @rule()
    def write(self) -> None:
        for _ in range(100):
            if not self._write_frame():
                break
        else:
            raise AssertionError("the core writes for ever")
        self.take()

    @rule()
    def write_one(self) -> None:
        """The socket has room for one frame only."""
        self._write_frame()
        self.take()

    def _write_frame(self) -> bool:
        frame = self.core.next_frame(self.now)
        if frame is None:
            return False
        assert self.core.state is ConnectionState.READY
        for record in frame.records:
            assert not record.ended
            self._may_be_sent(record)
            self.written[record.uuid] = self.now
        return True

    def _may_be_sent(self, record: TaskRecord) -> None:
        """I5: a second copy goes out only where the first had the time to be registered."""
        first = self.written.get(record.uuid)
        if first is not None:
            since = max(first, self.lost_at)
            assert self.now >= since + self.config.resend_after - 0.001, "I5: sent again too soon"
            assert self.config.resubmit == "same-uuid", "I5: sent again against the option"

    @rule(seconds=st.sampled_from((0.001, 0.3, 1.0, 5.0, 20.0, 130.0)))
    def wait(self, seconds: float) -> None:
        """Time passes, and the timer is called when it asks for it."""
        self.pass_time(seconds)

    @rule(seconds=st.sampled_from((1.0, 30.0, 200.0)))
    def suspend(self, seconds: float) -> None:
        """Time passes, and the timer is called late."""
        self.now += seconds
        self.pass_time(0.0)

    def pass_time(self, seconds: float) -> None:
        """At most a day, step by step."""
        end = self.now + min(max(0.0, seconds), 86_400.0)
        for _ in range(2_000):
            due = self.core.next_deadline()
            if due > end:
                break
            self.now = max(self.now, due)
            self.core.on_deadline(self.now)
            self.take()
        else:
            raise AssertionError("the timer makes no progress")
        self.now = end

    # Always

    @invariant()
    def steady(self) -> None:
        if not hasattr(self, "core"):
            return
        sizes, config = self.core.sizes(), self.config
        live = [record for record in self.records.values() if not record.ended]
        assert sizes["tasks"] == len(live) == self.core.pending
        assert sizes["tasks"] == sizes["waiting"] + sizes["in_flight"]
        assert sizes["in_flight"] <= max(1, config.max_in_flight)
        assert 0 <= sizes["questions"] <= config.question_window
        assert sizes["claims"] <= config.claim_limit
        for uuid, record in self.records.items():
            assert (self.ends.get(uuid, 0) == 1) is record.ended, "I1"
            assert len(record.items) <= record.expected, "I3"
            assert len({orjson.dumps(item) for item in record.items}) <= record.expected
            for item in record.items:
                assert item["taskUUID"] == uuid, "I2"
            if record.state is TaskState.DONE:
                assert len(record.items) == record.expected
            if not record.ended:
                assert record.deadline > self.now - 0.001, "I8"

    @invariant()
    def paired(self) -> None:
        """I15."""
        if not hasattr(self, "core"):
            return
        connected: int | None = None
        dialing = 0
        for number, event in enumerate(self.events):
            match event:
                case Dialing(generation=generation):
                    assert connected is None
                    assert generation == dialing + 1
                    dialing = generation
                case Connected(generation=generation):
                    assert connected is None
                    assert generation == dialing
                    connected = generation
                case Disconnected(generation=generation):
                    assert connected == generation
                    connected = None
                case Closed():
                    assert connected is None
                    assert number == len(self.events) - 1
                case _:
                    pass

    def teardown(self) -> None:
        """I9: after the end nothing is left."""
        if not hasattr(self, "core"):
            return
        self.core.close(self.now)
        self.take()
        self.core.next_deadline()
        left = {k: v for k, v in self.core.sizes().items() if k not in ("claims", "tombstones")}
        assert not any(left.values()), left
        assert all(self.ends.get(uuid) == 1 for uuid in self.records), "I1"


class CoreMachineAtLength(CoreMachine):
    """The same for longer."""


class CoreMachineInPieces(CoreMachine):
    """The same core with the smallest constants: it looks at one task at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._small = ExitStack()
        self._small.enter_context(patched({key: each.values[0] for key, each in SMALL.items()}))

    def teardown(self) -> None:
        with self._small:
            super().teardown()


_SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=300,
    stateful_step_count=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestCoreMachine = CoreMachine.TestCase
TestCoreMachine.settings = settings(_SETTINGS, max_examples=100)
TestCoreMachineAtLength = CoreMachineAtLength.TestCase
TestCoreMachineAtLength.settings = _SETTINGS
TestCoreMachineAtLength = pytest.mark.slow(TestCoreMachineAtLength)
TestCoreMachineInPieces = CoreMachineInPieces.TestCase
TestCoreMachineInPieces.settings = _SETTINGS
TestCoreMachineInPieces = pytest.mark.slow(TestCoreMachineInPieces)
