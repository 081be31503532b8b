"""A web service (Starlette) that relays an answer to the browser while the model writes it.

In the browser, ``new EventSource("/stream?q=Why")`` hears the events of the Messages shape:
``message_start``, ``content_block_delta``, …, and ``message_stop`` at the true end; or ``failed``,
in place of what is missing.

``python examples/relay.py`` sends itself two requests, one of which leaves early, prints what it
hears and ends. ``python examples/relay.py --serve`` listens on port 8000 (needs ``uvicorn``); then
try ``curl -N 'http://127.0.0.1:8000/stream?q=Why'``. Without ``RUNWARE_API_KEY`` the answers come
from a local emulator.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from _server import server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Send

from runware_ws import Client, InvalidTask, RunwareError
from runware_ws.emulator import Emulator, EmulatorOptions
from runware_ws.messages import MessageEvent, MessageParam, MessageStream


def slowly(emulator: Emulator) -> None:
    """Only for the emulator: a stream is worth a look only if it takes a while."""
    emulator.options = EmulatorOptions(token_rate=50)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    """One client for the whole life of the service: all streams share its socket."""
    async with server(slowly) as (url, key), Client(url, api_key=key, timeout=60) as client:
        app.state.client = client
        yield
        await client.drain(timeout=10)


def event_text(name: str, data: dict[str, Any]) -> str:
    """One server-sent event. JSON has no line ends, so one ``data`` line holds it."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def relayed(first: MessageEvent, rest: MessageStream) -> AsyncIterator[str]:
    """The events of a message as text."""
    yield event_text(first.type, first)
    try:
        async for event in rest:
            yield event_text(event.type, event)
    except RunwareError as error:
        # Too late for an HTTP status: say it in the stream, which must not just stop. The name
        # is not "error", which EventSource uses itself, for a connection that it dials again.
        yield event_text("failed", {"error": type(error).__name__, "message": error.message})


class Relay(StreamingResponse):
    """The response owns the stream: when the browser goes away, the task is given up."""

    def __init__(self, first: MessageEvent, stream: MessageStream) -> None:
        self.stream = stream
        # Proxies that buffer would turn the stream into one piece.
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(relayed(first, stream), media_type="text/event-stream", headers=headers)

    async def stream_response(self, send: Send) -> None:
        async with self.stream:
            await super().stream_response(send)


async def stream(request: Request) -> Response:
    """``/stream?q=…``. Trouble before the first event still gets a proper status."""
    client: Client = request.app.state.client
    question: MessageParam = {"role": "user", "content": request.query_params.get("q", "")}
    try:
        events = await client.messages.create(max_tokens=1000, messages=[question], stream=True)
        try:
            first = await anext(events)
        except BaseException:
            await events.aclose()
            raise
    except RunwareError as error:
        status = 400 if isinstance(error, InvalidTask) else 502
        return JSONResponse({"error": type(error).__name__, "message": error.message}, status)
    return Relay(first, events)


app = Starlette(routes=[Route("/stream", stream)], lifespan=lifespan)


# A look at itself: a browser in a few lines, that notes when each piece comes.


async def browse(question: str, *, leave_after: int | None = None) -> list[tuple[float, str]]:
    """Ask the service; returns the pieces of its answer and the seconds at which they came."""
    pieces: list[tuple[float, str]] = []
    gone = asyncio.Event()
    asked = [True]
    began = time.perf_counter()

    async def receive() -> Message:
        if asked:
            asked.clear()
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            print(f"GET /stream?q={quote(question)} -> {message['status']}")
        elif message.get("body"):
            pieces.append((time.perf_counter() - began, message["body"].decode()))
            if len(pieces) == leave_after:
                gone.set()

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/stream",
        "query_string": f"q={quote(question)}".encode(),
        "headers": [(b"host", b"service")],
    }
    await app(scope, receive, send)
    return pieces


async def ask_itself() -> None:
    """Start the service in this process, send it requests, and shut it down again."""
    async with app.router.lifespan_context(app):
        pieces = await browse("Why is the sky blue?")
        events = [json.loads(piece.partition("\ndata: ")[2]) for _, piece in pieces]
        deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        print(f"  {''.join(delta['text'] for delta in deltas)}")
        seconds = pieces[-1][0] - pieces[0][0]
        print(f"  in {len(deltas)} deltas within {seconds:.2f} s, up to {events[-1]['type']}")

        pieces = await browse("And why is it red in the evening?", leave_after=4)
        pending = app.state.client.stats().pending
        print(f"  left after {len(pieces)} events; still pending: {pending}")

        ((_, body),) = await browse("")
        print(f"  {body}")


def main() -> None:
    if "--serve" not in sys.argv[1:]:
        asyncio.run(ask_itself())
        return
    try:
        uvicorn = importlib.import_module("uvicorn")
    except ImportError:
        raise SystemExit("--serve needs uvicorn: pip install uvicorn") from None
    uvicorn.run(app, host="127.0.0.1", port=8000)


if __name__ == "__main__":
    main()
