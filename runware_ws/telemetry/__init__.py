"""What happened, for logs, traces and metrics.

* The logger ``runware_ws`` needs nothing but ``logging`` to be set up.
* ``result.timing`` says when a task was written, began to answer, and was done.
* :func:`instrument`: OpenTelemetry, with the extra ``otel``.
* :class:`runware_ws.telemetry.prometheus.ClientCollector`: Prometheus, with the extra
  ``prometheus``.
* :func:`dump_on_signal`: a signal has the flight recorder's recording written.

None of them shows the API key, what was asked or answered, or the server's own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runware_ws.errors import ConfigurationError
from runware_ws.telemetry.flight import dump_on_signal

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from runware_ws.telemetry.watchers import Watched

__all__ = ["dump_on_signal", "instrument"]


def instrument(
    client: Watched,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    content: bool = False,
) -> None:
    """Make OpenTelemetry spans and metrics of what a client does from now on.

    Of a ``Client`` or a ``SyncClient``, before or after it was started, once. Each task is one
    CLIENT span over all its retries, a child of the span that is current where it is submitted.
    Only the API is used: without an SDK this does nothing. Spans and metrics are handed to the
    SDK's processors, and nothing waits for their exporters, unless a processor itself does
    (``SimpleSpanProcessor``).

    Args:
        tracer_provider: ``None``: the global one.
        meter_provider: ``None``: the global one.
        content: put prompts and answers on the spans too, the API key redacted.

    Raises:
        ConfigurationError: the extra ``otel`` is not installed, or it is instrumented already.
    """
    try:
        from runware_ws.telemetry.otel import attach
    except ModuleNotFoundError as exc:
        if (exc.name or "").split(".")[0] != "opentelemetry":
            raise
        raise ConfigurationError(
            "instrument() needs an extra: pip install 'runware-ws[otel]'"
        ) from None
    attach(client, tracer_provider, meter_provider, content=content)
