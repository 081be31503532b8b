"""OpenTelemetry: a span for each task, and metrics."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from runware_ws import (
    Client,
    ConfigurationError,
    ConnectionFailed,
    RecoveredBy,
    RunwareError,
    SyncClient,
    TaskTimeout,
)
from runware_ws.emulator import Request
from runware_ws.telemetry import conventions, instrument
from tests import virtual
from tests.client.support import KEY, NOWHERE, ample, ask, client_of, until
from tests.client.test_every_await import Posts

from .support import Telemetry, attributes_of, happened, seconds_of

pytestmark = pytest.mark.anyio

anyio_backend = virtual.anyio_backend


@ample
async def test_a_task_is_one_span() -> None:
    told = Telemetry()
    async with virtual.serving(KEY, latency="2s") as emulator, client_of(emulator) as client:
        await client.ready()
        told.instrument(client)
        with told.tracers.get_tracer("test").start_as_current_span("parent") as parent:
            task = ask("planted prompt", include_usage=True, include_cost=True)
            result = await client.run(task, metadata={"order": "17"})
    span, _ = told.spans
    assert result.usage is not None
    assert span.name == "chat anthropic:claude@haiku-4.5"
    assert span.kind is SpanKind.CLIENT
    assert span.parent is not None
    assert span.parent.span_id == parent.get_span_context().span_id
    assert span.status.status_code is StatusCode.UNSET
    assert seconds_of(span) == pytest.approx(result.timing.done)
    assert seconds_of(span) == pytest.approx(2, abs=0.05)
    assert attributes_of(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "runware",
        "gen_ai.request.model": "anthropic:claude@haiku-4.5",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": result.usage.input_tokens,
        "gen_ai.usage.output_tokens": result.usage.output_tokens,
        "server.address": "localhost",
        "server.port": 80,
        "runware_ws.metadata.order": "17",
        "runware_ws.task.cost": result.cost,
        "runware_ws.task.delivery": "sync",
        "runware_ws.task.recovered_by": "live",
        "runware_ws.task.sends": 1,
        "runware_ws.task.state": "done",
        "runware_ws.task.type": "textInference",
        "runware_ws.task.uuid": result.task_uuid,
    }
    assert happened(span) == []
    assert "planted" not in told.printed()


@ample
async def test_one_span_over_a_cut_and_a_resume() -> None:
    told = Telemetry()
    async with (
        virtual.serving(KEY, latency="2s") as emulator,
        client_of(emulator, replay_grace=3) as client,
    ):
        told.instrument(client)
        await client.ready()
        handle = await client.submit(ask())
        await anyio.sleep(1)
        emulator.faults.cut()
        result = await handle
    assert result.recovered_by is RecoveredBy.REPLAY
    (span,) = told.spans
    assert happened(span) == ["runware_ws.cut", "runware_ws.resume"]
    begun = span.start_time
    assert begun is not None
    cut, resumed = ((event.timestamp - begun) / 1e9 for event in span.events)
    assert cut == pytest.approx(1, abs=0.01)
    assert cut < resumed < 1.2
    assert attributes_of(span)["runware_ws.task.sends"] == 1


@ample
async def test_one_span_over_questions_and_a_resend() -> None:
    told = Telemetry()
    async with virtual.serving(KEY, latency="1s") as emulator, client_of(emulator) as client:
        told.instrument(client)
        await client.ready()
        emulator.faults.drop_requests(times=1)
        emulator.faults.forget_sessions()
        handle = await client.submit(ask())
        await anyio.sleep(0.1)
        emulator.faults.cut()
        assert (await handle).recovered_by is RecoveredBy.RESUBMIT
    (span,) = told.spans
    names = happened(span)
    assert names[:2] == ["runware_ws.cut", "runware_ws.session_lost"]
    assert "runware_ws.ask" in names
    assert names[-1] == "runware_ws.resend"
    asked = {
        str((event.attributes or {})["runware_ws.question"])
        for event in span.events
        if event.name == "runware_ws.ask"
    }
    assert asked == {"getResponse", "getTaskDetails"}
    assert attributes_of(span)["runware_ws.task.sends"] == 2
    points = told.points()
    assert [point.value for point in points["runware_ws.reconnects"]] == [1]
    assert [point.value for point in points["runware_ws.resends"]] == [1]
    count = sum(point.value for point in points["runware_ws.questions"])
    assert count == names.count("runware_ws.ask")


@ample
async def test_a_stream_that_breaks_says_so() -> None:
    told = Telemetry()
    async with virtual.serving(KEY, latency="1s") as emulator, client_of(emulator) as client:
        told.instrument(client)
        emulator.faults.cut_after(deltas=2)
        async with client.stream(ask()) as stream:
            result = await stream.result()
    (span,) = told.spans
    assert attributes_of(span)["gen_ai.request.stream"] is True
    first = attributes_of(span)["gen_ai.response.time_to_first_chunk"]
    assert first == result.timing.first_delta
    assert happened(span)[:2] == ["runware_ws.cut", "runware_ws.resume"]
    (point,) = told.points()["gen_ai.client.operation.time_to_first_chunk"]
    assert (point.count, point.sum) == (1, pytest.approx(first))


@ample
async def test_a_post_that_breaks_goes_on_in_the_same_span() -> None:
    told, posts = Telemetry(), Posts(pause=1)
    async with virtual.serving(KEY) as emulator, client_of(emulator, post=posts) as client:
        told.instrument(client)
        await client.ready()
        async with client.stream(ask("several words to say"), carrier="sse") as stream:
            await anyio.sleep(0.5)
            posts.cut()
            result = await stream.result()
    assert result.recovered_by is RecoveredBy.RESUBMIT
    (span,) = told.spans
    names = happened(span)
    assert names[:2] == ["runware_ws.cut", "runware_ws.to_socket"]
    assert names[-1] == "runware_ws.resend"
    assert attributes_of(span)["runware_ws.task.sends"] == 2


ENDS: list[tuple[str, str, StatusCode]] = [
    ("error", "TaskError.provider", StatusCode.ERROR),
    ("timeout", "TaskTimeout", StatusCode.ERROR),
    ("unknown", "OutcomeUnknown", StatusCode.ERROR),
    ("cancel", "TaskCancelled", StatusCode.UNSET),
    ("close", "ClientClosed", StatusCode.ERROR),
]


@ample
@pytest.mark.parametrize(("way", "kind", "status"), ENDS)
async def test_how_a_task_ended(way: str, kind: str, status: StatusCode) -> None:
    told = Telemetry()
    async with virtual.serving(KEY, latency="60s") as emulator, client_of(emulator) as client:
        told.instrument(client)
        await client.ready()
        if way == "error":
            emulator.faults.inject_error("inferenceError", "planted words")
        handle = await client.submit(ask(), timeout=5)
        await anyio.sleep(1)
        if way == "cancel":
            handle.cancel()
        if way == "unknown":
            emulator.faults.reject_upgrades(503, times=None)
            emulator.faults.cut()
        if way != "close":
            await handle.wait()
    (span,) = told.spans
    found = attributes_of(span)
    assert found["error.type"] == kind
    # The last question before the deadline is answered: the server has it.
    known = way in ("error", "timeout")
    assert found["runware_ws.task.submitted"] == ("yes" if known else "maybe")
    assert "runware_ws.task.recovered_by" not in found
    assert span.status.status_code is status
    assert span.status.description == (kind if status is StatusCode.ERROR else None)
    seen = {"unknown": ["runware_ws.cut"], "timeout": ["runware_ws.ask"]}
    assert set(happened(span)) == set(seen.get(way, []))
    (point,) = told.points()["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == kind
    assert "planted" not in told.printed()
    assert told.counting.open == {}


@ample
async def test_metrics_have_the_conventions_names_units_and_buckets() -> None:
    told = Telemetry()
    async with virtual.serving(KEY, latency="1s") as emulator, client_of(emulator) as client:
        told.instrument(client)
        outcomes = [each async for each in client.map([ask(include_usage=True) for _ in range(5)])]
        async with client.stream(ask()) as stream:
            await stream.result()
        handle = await client.submit(ask())
        in_flight = told.points()["runware_ws.tasks.in_flight"]
        await handle
        data = told.read()
        assert [point.value for point in in_flight] == [1]
        assert [point.value for point in told.points()["runware_ws.tasks.in_flight"]] == [0]
    assert data is not None
    (scope,) = data.resource_metrics[0].scope_metrics
    assert scope.scope.name == "runware_ws"
    assert scope.scope.schema_url == conventions.SCHEMA_URL
    found = {metric.name: metric for metric in scope.metrics}
    units = {name: metric.unit for name, metric in found.items()}
    assert units == {
        "gen_ai.client.operation.duration": "s",
        "gen_ai.client.operation.time_to_first_chunk": "s",
        "gen_ai.client.token.usage": "{token}",
        "runware_ws.tasks.in_flight": "{task}",
    }
    duration: list[Any] = list(found["gen_ai.client.operation.duration"].data.data_points)
    assert [point.count for point in duration] == [7]
    bounds = tuple(duration[0].explicit_bounds)
    assert bounds == tuple(round(0.01 * 2**power, 2) for power in range(14))
    tokens: dict[Any, Any] = {
        (point.attributes or {})["gen_ai.token.type"]: point
        for point in found["gen_ai.client.token.usage"].data.data_points
    }
    usages = [outcome.unwrap().usage for outcome in outcomes]
    assert tokens["input"].sum == sum(usage.input_tokens or 0 for usage in usages if usage)
    assert tokens["output"].sum == sum(usage.output_tokens or 0 for usage in usages if usage)
    assert tokens["input"].explicit_bounds == tuple(4**power for power in range(14))


def words_of(module: ModuleType) -> set[str]:
    """The texts among a module's constants; of a metric its name."""
    found: set[str] = set()
    for name in filter(str.isupper, vars(module)):
        value: Any = getattr(module, name)
        first = cast("tuple[Any, ...]", value)[0] if isinstance(value, tuple) else value
        if isinstance(first, str):
            found.add(first)
    return found


@ample
async def test_models_that_are_made_up_are_no_series_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from runware_ws.telemetry import otel

    monkeypatch.setattr(otel, "MOST_KINDS", 2)
    seen = Telemetry()
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:

        @emulator.reply("*")
        def answer(_: Request) -> str:
            return "text"

        seen.instrument(client)
        models = [f"made-up:{number}@1" for number in range(5)]
        for model in models:
            await client.run({"taskType": "madeUp", "model": model, "includeUsage": True})
    for name in ("gen_ai.client.operation.duration", "gen_ai.client.token.usage"):
        told = {point.attributes["gen_ai.request.model"] for point in seen.points()[name]}
        assert told == {*models[:2], "_OTHER"}
    assert [attributes_of(span)["gen_ai.request.model"] for span in seen.spans] == models


def test_names_are_those_of_the_published_conventions() -> None:
    package = "opentelemetry.semconv._incubating"
    published = {
        word
        for module in ("attributes.gen_ai_attributes", "metrics.gen_ai_metrics")
        for word in words_of(import_module(f"{package}.{module}"))
    }
    ours = {word for word in words_of(conventions) if word.startswith("gen_ai.")}
    assert len(ours) >= 15
    assert ours <= published


def repeated(request: Request) -> str:
    return f"planted answer {KEY}"


@ample
async def test_content_comes_only_where_it_is_asked_for_and_without_the_key() -> None:
    told = Telemetry()
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        told.instrument(client, content=True)
        emulator.reply("textInference")(repeated)
        task = ask(f"planted prompt {KEY}", settings={"systemPrompt": f"be brief {KEY}"})
        result = await client.run(task)
    assert KEY in str(result.text)
    (span,) = told.spans
    found = attributes_of(span)
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "planted prompt [redacted]"}]}
    ]
    assert json.loads(found["gen_ai.system_instructions"]) == [
        {"type": "text", "content": "be brief [redacted]"}
    ]
    assert json.loads(found["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "planted answer [redacted]"}],
            "finish_reason": "stop",
        }
    ]
    assert KEY not in told.printed()


# Nothing stays open, nothing waits


@pytest.mark.slow
@ample
async def test_no_span_stays_open_after_streams_left_at_random_points() -> None:
    told = Telemetry()
    dice = random.Random(17)
    left = 0

    async def one(client: Client, number: int) -> None:
        nonlocal left
        timeout = dice.choice((None, None, 0.4))
        with anyio.move_on_after(dice.uniform(0, 1.2)):
            try:
                async with client.stream(ask(str(number)), timeout=timeout) as stream:
                    for _ in range(dice.randrange(6)):
                        await anext(stream)
                    if dice.random() < 0.2:
                        await stream.result()
            except (RunwareError, StopAsyncIteration):
                pass
        left += 1

    async with (
        virtual.serving(KEY, latency="10ms-1s", seed=17) as emulator,
        client_of(emulator, max_in_flight=300) as client,
    ):
        told.instrument(client)
        for _ in range(20):
            async with anyio.create_task_group() as group:
                for number in range(100):
                    group.start_soon(one, client, number)
                await anyio.sleep(dice.uniform(0, 1))
                emulator.faults.cut()
            assert told.counting.open == {}
        submitted = client.stats().submitted
    assert left == 2_000
    assert told.counting.begun == submitted > 1_500
    assert told.counting.open == {}


@ample
async def test_no_span_stays_open_when_the_client_fails() -> None:
    told = Telemetry()
    async with virtual.serving(KEY, latency="60s") as emulator:
        client = await client_of(emulator).start()
        told.instrument(client)
        await client.ready()
        handles = [await client.submit(ask()) for _ in range(3)]
        assert len(told.counting.open) == 3
        driver = client._driver  # pyright: ignore[reportPrivateUsage]
        assert driver is not None
        driver.core.fail(ConnectionFailed("it broke"), driver.now())
        driver.apply()
        for handle in handles:
            await handle.wait()
        assert told.counting.open == {}
        await client.aclose()
    assert {attributes_of(span)["error.type"] for span in told.spans} == {"ConnectionFailed"}


class Dead(SpanExporter):
    """An exporter that never comes back."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.free = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.called.set()
        self.free.wait()
        return SpanExportResult.FAILURE


@ample
async def test_a_dead_exporter_delays_no_drain() -> None:
    exporter = Dead()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=64, max_export_batch_size=8)
    )
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    async with virtual.serving(KEY, latency="10ms") as emulator, client_of(emulator) as client:
        await client.ready()
        instrument(client, tracer_provider=tracers, meter_provider=meters)
        began = time.monotonic()
        handles = [await client.submit(ask()) for _ in range(500)]
        report = await client.drain()
        took = time.monotonic() - began
        assert report.clean
        assert all(handle.error is None for handle in handles)
        assert exporter.called.wait(10)
        assert took < 10  # a net: the exporter never returned meanwhile
    exporter.free.set()
    tracers.shutdown()


class Failing(SpanProcessor):
    """A user's processor with a bug."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        raise RuntimeError("planted words")

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("planted words")


@ample
async def test_a_processor_that_fails_harms_no_task(caplog: pytest.LogCaptureFixture) -> None:
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(Failing())
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        instrument(client, tracer_provider=tracers)
        assert (await client.run(ask())).text
        assert (await client.run(ask())).text
    told = [record.getMessage() for record in caplog.records if record.name == "runware_ws"]
    assert told == ["telemetry failed, and may be incomplete from now on: RuntimeError"]


# How it is switched on


@ample
async def test_without_an_sdk_nothing_happens() -> None:
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:
        instrument(client)
        assert (await client.run(ask())).text


def test_a_client_is_instrumented_once_and_before_it_starts_too() -> None:
    client = Client(NOWHERE, api_key=KEY)
    told = Telemetry()
    told.instrument(client)
    assert told.points() == {}
    with pytest.raises(ConfigurationError, match="already"):
        told.instrument(client)


@ample
async def test_what_was_submitted_before_is_left_out() -> None:
    told = Telemetry()
    async with virtual.serving(KEY, latency="1s") as emulator, client_of(emulator) as client:
        handle = await client.submit(ask())
        told.instrument(client)
        await client.run(ask())
        await handle
        with pytest.raises(TaskTimeout):
            await client.run(ask(), timeout=0.1)
    assert len(told.spans) == 2


@ample
async def test_clients_of_one_provider_share_its_metrics() -> None:
    told = Telemetry()
    async with (
        virtual.serving(KEY, latency="1s") as emulator,
        client_of(emulator) as one,
        client_of(emulator) as other,
    ):
        told.instrument(one)
        told.instrument(other)
        handles = [await each.submit(ask()) for each in (one, other, other)]
        (point,) = told.points()["runware_ws.tasks.in_flight"]
        assert point.value == 3
        for handle in handles:
            await handle
        await until(lambda: told.points()["runware_ws.tasks.in_flight"][0].value == 0)


def test_a_blocking_client_can_be_instrumented() -> None:
    told = Telemetry()
    with SyncClient(NOWHERE, api_key=KEY, proxy=None) as client:
        told.instrument(client)
        with pytest.raises(TaskTimeout):
            client.run(ask(), timeout=0.05)
    (span,) = told.spans
    assert attributes_of(span)["error.type"] == "TaskTimeout"


_MISSING = """
import sys
sys.modules["opentelemetry"] = None
from runware_ws import Client, ConfigurationError
from runware_ws.telemetry import instrument
try:
    instrument(Client("ws://127.0.0.1:9", api_key="k"))
except ConfigurationError as error:
    print(error)
"""


def test_a_missing_extra_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _MISSING],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "instrument() needs an extra: pip install 'runware-ws[otel]'\n"
