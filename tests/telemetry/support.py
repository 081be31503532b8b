"""What the tests of telemetry share: an SDK that keeps everything in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runware_ws import Client
from runware_ws.telemetry import instrument


class Counting(SpanProcessor):
    """Counts the spans that are open."""

    def __init__(self) -> None:
        self.begun = 0
        self.open: dict[int, str] = {}

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self.begun += 1
        assert span.context is not None
        self.open[span.context.span_id] = span.name

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        del self.open[span.context.span_id]


@dataclass
class Telemetry:
    """Providers of their own, and what came of them."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    counting: Counting = field(default_factory=Counting)

    def __post_init__(self) -> None:
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(self.counting)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def instrument(self, client: Any, *, content: bool = False) -> None:
        instrument(
            client, tracer_provider=self.tracers, meter_provider=self.meters, content=content
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended."""
        return list(self.exporter.get_finished_spans())

    def read(self) -> MetricsData | None:
        return self.reader.get_metrics_data()

    def points(self) -> dict[str, list[Any]]:
        """The points of each metric, by its name."""
        data = self.read()
        found: dict[str, list[Any]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = list(metric.data.data_points)
        return found

    def printed(self) -> str:
        """All that was exported, as text."""
        spans = "\n".join(span.to_json() for span in self.spans)
        data = self.read()
        return f"{spans}\n{data.to_json() if data is not None else ''}"


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def happened(span: ReadableSpan) -> list[str]:
    """The names of a span's events."""
    return [event.name for event in span.events]


def seconds_of(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


__all__ = ["Client", "Telemetry", "attributes_of", "happened", "seconds_of"]
