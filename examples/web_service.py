"""A web service (Starlette) with one client for all of its requests.

``python examples/web_service.py`` sends itself one request, prints the answer and ends.
``python examples/web_service.py --serve`` listens on port 8000 (needs ``uvicorn``); then try
``curl 'http://127.0.0.1:8000/ask?q=Why'``. Without ``RUNWARE_API_KEY`` the answers come from a
local emulator.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from _server import server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runware_ws import (
    Client,
    ClientClosed,
    ConnectionFailed,
    InvalidTask,
    OutcomeUnknown,
    RunwareError,
    TaskError,
    TaskTimeout,
    TextInference,
)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    """One client for the whole life of the service, never one per request."""
    async with server() as (url, key), Client(url, api_key=key, timeout=30) as client:
        app.state.client = client
        yield
        # Shutdown: finish what is in flight (over a reconnect too), take nothing new. What is
        # left after that ends with ClientClosed when the block is left.
        report = await client.drain(timeout=10)
        print(f"drained: {len(report.unfinished)} tasks were left over")


async def ask(request: Request) -> Response:
    """Answer ``/ask?q=…``. If the browser goes away, the task is given up; nobody else notices."""
    client: Client = request.app.state.client
    result = await client.run(TextInference.prompt(request.query_params.get("q", "")))
    return JSONResponse({"answer": result.text, "recovered_by": result.recovered_by})


async def healthy(request: Request) -> Response:
    """For a load balancer: a short reconnect is no reason to take the service out."""
    client: Client = request.app.state.client
    return JSONResponse({"connected": client.connected, "pending": client.stats().pending})


# Which error means what to the one who asked. The first class that fits wins.
STATUSES: tuple[tuple[type[RunwareError], int], ...] = (
    (InvalidTask, 400),  # the request is wrong: nothing was sent
    (TaskTimeout, 504),  # the model was too slow
    (OutcomeUnknown, 503),  # nobody can know whether it ran: do not retry without thinking
    (ConnectionFailed, 503),  # the service cannot be reached
    (ClientClosed, 503),  # we are shutting down
    (TaskError, 502),  # the service's own verdict
    (RunwareError, 500),
)


async def failed(request: Request, error: Exception) -> Response:
    """Turn an error of the client into an HTTP answer that says what may be done next."""
    assert isinstance(error, RunwareError)
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    body = {
        "error": type(error).__name__,
        "task": error.task_uuid,
        "submitted": error.submitted,
        "safe_to_resend": error.safe_to_resend,
    }
    # Invite a retry only where the work cannot run twice.
    retry = status == 503 and error.safe_to_resend
    return JSONResponse(body, status, headers={"Retry-After": "5"} if retry else None)


app = Starlette(
    routes=[Route("/ask", ask), Route("/health", healthy)],
    exception_handlers={RunwareError: failed},
    lifespan=lifespan,
)


async def ask_once() -> None:
    """Start the service in this process, send it a request, and shut it down again."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as browser,
    ):
        for question in ("Why is the sky blue?", ""):
            response = await browser.get("/ask", params={"q": question})
            print(f"GET {response.request.url.raw_path.decode()} -> {response.status_code}")
            print(" ", response.text)


def main() -> None:
    if "--serve" not in sys.argv[1:]:
        asyncio.run(ask_once())
        return
    try:
        uvicorn = importlib.import_module("uvicorn")
    except ImportError:
        raise SystemExit("--serve needs uvicorn: pip install uvicorn") from None
    uvicorn.run(app, host="127.0.0.1", port=8000)


if __name__ == "__main__":
    main()
