"""OpenTelemetry: a span for each task, and metrics. Only the API is used; see ``instrument``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from runware_ws._core.effects import TaskStep
from runware_ws._core.states import DONE, TaskState
from runware_ws._version import __version__
from runware_ws.errors import ConfigurationError
from runware_ws.events import BY_CALLER, Connected, Disconnected, Event
from runware_ws.models.usage import Usage
from runware_ws.telemetry import conventions as conv
from runware_ws.telemetry.content import answered_with, asked_for
from runware_ws.telemetry.log import error_type

if TYPE_CHECKING:
    from runware_ws._core.effects import Tell
    from runware_ws._core.tasks.record import TaskRecord
    from runware_ws.telemetry.watchers import Watched, Watchers

__all__ = ["attach"]

_SCOPE = "runware_ws"
_OPERATIONS = {
    "textInference": conv.CHAT,
    "imageInference": conv.GENERATE_CONTENT,
    "videoInference": conv.GENERATE_CONTENT,
    "audioInference": conv.GENERATE_CONTENT,
}
_CUT_EVENTS = {
    "resumed": conv.EVENT_RESUME,
    "session lost": conv.EVENT_SESSION_LOST,
    "to the socket": conv.EVENT_TO_SOCKET,
}
_BILLION = 1_000_000_000

Attributes = dict[str, str | int | bool]


def attach(
    client: Watched,
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    *,
    content: bool,
) -> None:
    """Add OpenTelemetry to the watchers of a client."""
    watch = client.watchers
    if any(isinstance(each, OpenTelemetryWatcher) for each in watch.added):
        raise ConfigurationError("the client is instrumented already")
    tracers = tracer_provider if tracer_provider is not None else trace.get_tracer_provider()
    meters = meter_provider if meter_provider is not None else metrics.get_meter_provider()
    tracer = tracers.get_tracer(_SCOPE, __version__, conv.SCHEMA_URL)
    instruments = _INSTRUMENTS.get(meters)
    if instruments is None:
        instruments = _INSTRUMENTS[meters] = Instruments(meters)
    instruments.clients.add(client)
    watch.add(OpenTelemetryWatcher(watch, tracer, instruments, content=content))


class Instruments:
    """The metrics that all clients of one provider share."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(_SCOPE, __version__, conv.SCHEMA_URL)

        def histogram(what: tuple[str, str], text: str, buckets: tuple[float, ...]) -> Any:
            name, unit = what
            return meter.create_histogram(
                name, unit, text, explicit_bucket_boundaries_advisory=buckets
            )

        self.duration = histogram(
            conv.OPERATION_DURATION, "GenAI operation duration.", conv.SECONDS
        )
        self.first_chunk = histogram(
            conv.TIME_TO_FIRST_CHUNK, "Time to receive the first chunk.", conv.SECONDS
        )
        self.tokens = histogram(
            conv.TOKEN_USAGE, "Number of input and output tokens used.", conv.TOKENS
        )
        self.reconnects = meter.create_counter(
            *conv.RECONNECTS, "Sockets that were authenticated after the first."
        )
        self.resends = meter.create_counter(
            *conv.RESENDS, "Tasks that were sent again under their own taskUUID."
        )
        self.questions = meter.create_counter(
            *conv.QUESTIONS, "Questions about tasks: polls, and look-ups in the archive."
        )
        self.clients: WeakSet[Watched] = WeakSet()
        meter.create_observable_up_down_counter(
            conv.IN_FLIGHT[0],
            [self._in_flight],
            conv.IN_FLIGHT[1],
            "Tasks that were admitted and have not ended.",
        )

    def _in_flight(self, _: CallbackOptions) -> Iterable[Observation]:
        """Called by the SDK, in a thread of its own, when it collects."""
        sums: dict[tuple[str, int], int] = {}
        for client in list(self.clients):
            try:
                now = client.stats().in_flight
            except ConfigurationError:  # not started
                continue
            place = _place(client.watchers.url)
            sums[place] = sums.get(place, 0) + now
        for (host, port), total in sums.items():
            yield Observation(total, {conv.SERVER_ADDRESS: host, conv.SERVER_PORT: port})


_INSTRUMENTS: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)


@dataclass(slots=True)
class _Kind:
    """What all tasks of one type and model share: made once, for it is asked for at each task.
    ``common``: attributes of spans; ``measured``: of metrics."""

    name: str
    common: Attributes
    measured: Attributes
    tokens_in: Attributes
    tokens_out: Attributes


@dataclass(slots=True)
class _Open:
    """A span, and the task's times as those of the wall clock."""

    span: Span
    kind: _Kind
    begun: int
    submitted_at: float
    cut_at: float = 0.0

    def at(self, now: float) -> int:
        """A time of the loop's clock, in nanoseconds since 1970."""
        return self.begun + int((now - self.submitted_at) * _BILLION)


MOST_KINDS = 1_000
"""Types and models that are told apart in metrics: a user may make them up, and each is a series
for good. Spans name all of them."""


class OpenTelemetryWatcher:
    """Makes spans and metrics of one client's tasks."""

    def __init__(
        self, watch: Watchers, tracer: trace.Tracer, instruments: Instruments, *, content: bool
    ) -> None:
        self._watch = watch
        self._redact = watch.redact
        self._tracer = tracer
        self._instruments = instruments
        self._content = content
        host, port = _place(watch.url)
        self._base: Attributes = {
            conv.PROVIDER_NAME: conv.PROVIDER,
            conv.SERVER_ADDRESS: host,
            conv.SERVER_PORT: port,
        }
        self._server: Attributes = {conv.SERVER_ADDRESS: host, conv.SERVER_PORT: port}
        self._kinds: dict[tuple[str, str | None], _Kind] = {}
        self._open: dict[TaskRecord, _Open] = {}
        self._lost = (0, 0.0)  # the socket that was lost last, and when

    # The connection

    def event(self, event: Event) -> None:
        if isinstance(event, Connected):
            if self._watch.connections > 1:
                self._instruments.reconnects.add(1, self._server)
        elif isinstance(event, Disconnected) and event.reason != BY_CALLER:
            self._lost = (event.generation, event.at)

    # Tasks

    def step(self, told: Tell) -> None:
        record, step = told.record, told.step
        if step is TaskStep.SUBMITTED:
            self._begin(record)
            return
        if step is TaskStep.ASKED:
            self._instruments.questions.add(1, {**self._server, conv.QUESTION: told.detail})
        elif step is TaskStep.RESENT:
            self._instruments.resends.add(1, self._server)
        mine = self._open.get(record)
        if mine is None:  # it was submitted before the client was instrumented
            return
        if step is TaskStep.CUT:
            self._cut(record, mine, told.at)
            mine.span.add_event(_CUT_EVENTS[told.detail], timestamp=mine.at(told.at))
        elif step is TaskStep.ASKED:
            asked = {conv.QUESTION: told.detail}
            mine.span.add_event(conv.EVENT_ASK, asked, mine.at(told.at))
        elif step is TaskStep.RESENT:
            mine.span.add_event(conv.EVENT_RESEND, timestamp=mine.at(told.at))

    def _cut(self, record: TaskRecord, mine: _Open, now: float) -> None:
        """The socket or POST that carried it broke. That is known later than it happened."""
        _, lost_at = self._lost
        at = lost_at if record.generation >= 0 and lost_at >= record.written_at else now
        if at > mine.cut_at:
            mine.cut_at = at
            mine.span.add_event(conv.EVENT_CUT, timestamp=mine.at(at))

    def _begin(self, record: TaskRecord) -> None:
        kind = self._kinds.get((record.task_type, record.model)) or self._kind_of(record)
        attributes: Attributes = {
            **kind.common,
            conv.TASK_UUID: record.uuid,
            conv.TASK_TYPE: record.task_type,
            conv.TASK_DELIVERY: record.delivery,
        }
        if record.deltas is not None:
            attributes[conv.REQUEST_STREAM] = True
        if record.expected != 1:
            attributes[conv.REQUEST_CHOICE_COUNT] = record.expected
        if record.metadata is not None:
            redact = self._redact
            for name, value in record.metadata.items():
                attributes[f"{conv.METADATA}{redact(name)}"] = redact(value)
        begun = time.time_ns()
        span = self._tracer.start_span(
            kind.name, kind=SpanKind.CLIENT, attributes=attributes, start_time=begun
        )
        self._open[record] = _Open(span, kind, begun, record.submitted_at)
        if self._content and span.is_recording():
            span.set_attributes(asked_for(record.payload, self._redact))

    def _kind_of(self, record: TaskRecord) -> _Kind:
        operation = _OPERATIONS.get(record.task_type, record.task_type)
        common: Attributes = {**self._base, conv.OPERATION_NAME: operation}
        name = operation
        if record.model is not None:
            model = self._redact(record.model)
            common[conv.REQUEST_MODEL] = model
            name = f"{operation} {model}"
        known = len(self._kinds) < MOST_KINDS
        others = {conv.OPERATION_NAME: conv.OTHER, conv.REQUEST_MODEL: conv.OTHER}
        measured = common if known else {**self._base, **others}
        kind = _Kind(
            name,
            common,
            measured,
            {**measured, conv.TOKEN_TYPE: conv.INPUT},
            {**measured, conv.TOKEN_TYPE: conv.OUTPUT},
        )
        if known:
            self._kinds[record.task_type, record.model] = kind
        return kind

    def ended(self, record: TaskRecord) -> None:
        mine = self._open.pop(record, None)
        if mine is not None:
            try:
                self._measure(record, mine)
            finally:
                mine.span.end(mine.at(record.ended_at))

    def _measure(self, record: TaskRecord, mine: _Open) -> None:
        kind, instruments = mine.kind, self._instruments
        measured: Mapping[str, str | int | bool] = kind.measured
        error = error_type(record.error, record.state)
        if error is not None:
            measured = {**kind.measured, conv.ERROR_TYPE: error}
        instruments.duration.record(record.ended_at - record.submitted_at, measured)
        first: float | None = None
        if record.deltas is not None and record.deltas.first_at is not None:
            first = record.deltas.first_at - record.submitted_at
            instruments.first_chunk.record(first, kind.measured)
        read, wrote = _tokens(record)
        if read is not None:
            instruments.tokens.record(read, kind.tokens_in)
        if wrote is not None:
            instruments.tokens.record(wrote, kind.tokens_out)
        if mine.span.is_recording():
            self._finish(record, mine, error, first, read, wrote)

    def _finish(
        self,
        record: TaskRecord,
        mine: _Open,
        error: str | None,
        first: float | None,
        read: int | None,
        wrote: int | None,
    ) -> None:
        """The attributes that are known only at the end."""
        span = mine.span
        generation, lost_at = self._lost
        if error is not None and record.sends and record.generation == generation:
            # Its socket was lost, and none came after it.
            self._cut(record, mine, lost_at)
        told: dict[str, Any] = {
            conv.TASK_UUID: record.uuid,  # an idempotency key may have led to another task
            conv.TASK_STATE: record.state.name.lower(),
            conv.TASK_SENDS: record.sends,
        }
        if first is not None:
            told[conv.RESPONSE_TIME_TO_FIRST_CHUNK] = first
        if read is not None:
            told[conv.USAGE_INPUT_TOKENS] = read
        if wrote is not None:
            told[conv.USAGE_OUTPUT_TOKENS] = wrote
        if error is None:
            told[conv.TASK_RECOVERED_BY] = record.recovered_by.value
        else:
            told[conv.ERROR_TYPE] = error
            told[conv.TASK_SUBMITTED] = record.submitted.value
            # That a caller gives a task up is no error of the task.
            if record.state is not TaskState.CANCELLED:
                span.set_status(Status(StatusCode.ERROR, error))
        told |= _of_items(record)
        if self._content:
            told |= answered_with(record.items, self._redact)
        span.set_attributes(told)

    def close(self) -> None:
        """No span stays open, whatever happened."""
        while self._open:
            _, mine = self._open.popitem()
            mine.span.set_status(Status(StatusCode.ERROR, "ClientClosed"))
            mine.span.end()


def _tokens(record: TaskRecord) -> tuple[int | None, int | None]:
    """Tokens read and written, over all results; ``None``: the server did not say."""
    read: int | None = None
    wrote: int | None = None
    for item in record.items:
        usage = item.get("usage")
        if isinstance(usage, dict):
            counts = Usage(usage)  # pyright: ignore[reportUnknownArgumentType]
            more_in, more_out = counts.input_tokens, counts.output_tokens
            if more_in is not None and more_in >= 0:
                read = (read or 0) + more_in
            if more_out is not None and more_out >= 0:
                wrote = (wrote or 0) + more_out
    return read, wrote


def _of_items(record: TaskRecord) -> dict[str, Any]:
    """Why the results ended, and what they cost in US dollars."""
    if record.state is not DONE:
        return {}
    told: dict[str, Any] = {}
    reasons: list[str] = []
    cost = 0.0
    for item in record.items:
        reason = item.get("finishReason")
        if isinstance(reason, str):
            reasons.append(reason if reason in conv.FINISH_REASONS else conv.OTHER)
        price = item.get("cost")
        if isinstance(price, int | float) and not isinstance(price, bool):
            cost += price
    if reasons:
        told[conv.RESPONSE_FINISH_REASONS] = reasons
    if cost:
        told[conv.TASK_COST] = cost
    return told
