"""A FastAPI service with health, drain, metrics, traces and request ids, in 60 lines of code.

``python examples/fastapi_service.py --serve`` listens on port 8000; then try
``curl -d '{"question": "Why?"}' -H 'Content-Type: application/json' http://127.0.0.1:8000/ask``,
``/health/live``, ``/health/ready`` and ``/metrics``. Without arguments it sends itself some
requests, prints the answers and its spans, and ends. Without ``RUNWARE_API_KEY`` the answers come
from a local emulator. Needs the extra ``examples``. In your service the spans go to an
``OTLPSpanExporter``.
"""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import uuid4

import uvicorn
from _asking import ask_itself
from _server import server
from fastapi import Body, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from opentelemetry.propagate import extract
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, generate_latest

from runware_ws import Client, InvalidTask, RunwareError, TextInference
from runware_ws.telemetry import instrument
from runware_ws.telemetry.prometheus import ClientCollector

traces, registry = TracerProvider(), CollectorRegistry()
tracer = traces.get_tracer("service")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """One client for the whole life of the service. What is in flight at its end is finished."""
    traces.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
    async with server() as (url, key), Client(url, api_key=key, timeout=30) as client:
        instrument(client, tracer_provider=traces)
        registry.register(ClientCollector(main=client))
        app.state.client = client
        yield
        report = await client.drain(timeout=10)
        print(f"drained: {len(report.unfinished)} tasks were left over")
    traces.shutdown()


app = FastAPI(lifespan=lifespan)
app.add_api_route("/metrics", lambda: PlainTextResponse(generate_latest(registry)))


@app.middleware("http")
async def traced(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """A span and an id for each request; both are the caller's, where it has sent them."""
    request.state.id = request.headers.get("X-Request-ID", "")[:64] or str(uuid4())
    name, given = f"{request.method} {request.url.path}", {"request.id": request.state.id}
    with tracer.start_as_current_span(name, extract(request.headers), SpanKind.SERVER, given):
        response = await go_on(request)
    response.headers["X-Request-ID"] = request.state.id
    return response


@app.exception_handler(RunwareError)
async def failed(request: Request, error: RunwareError) -> JSONResponse:
    """Invite to another try only where the work cannot run, and be paid for, twice."""
    status = 400 if isinstance(error, InvalidTask) else 503 if error.safe_to_resend else 502
    body = {"error": type(error).__name__, "task": error.task_uuid, "request": request.state.id}
    return JSONResponse(body, status, headers={"Retry-After": "5"} if status == 503 else None)


@app.post("/ask")
async def ask(question: Annotated[str, Body(embed=True)], request: Request) -> dict[str, object]:
    """The request id goes along to the logs and spans of the task."""
    task, metadata = TextInference.prompt(question), {"request_id": request.state.id}
    result = await app.state.client.run(task, metadata=metadata)
    return {"answer": result.text, "task": result.task_uuid}


@app.get("/health/live")
async def live() -> dict[str, bool]:
    """The process answers. A lost connection is no reason to kill it: it comes back by itself."""
    return {"live": True}


@app.get("/health/ready")
async def ready(response: Response) -> dict[str, str]:
    """Whether requests should come here: not before the first connection, not while it drains."""
    response.status_code = 200 if app.state.client.connected else 503
    return {"state": app.state.client.stats().state}


if __name__ == "__main__":
    uvicorn.run(app) if "--serve" in sys.argv else ask_itself(app)
