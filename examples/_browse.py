"""A browser in a few lines, for services that look at themselves: one GET in this process."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp, Message

__all__ = ["Heard", "browse"]


@dataclass
class Heard:
    """What came, and when."""

    status: int = 0
    body: str = ""
    text: str = ""
    deltas: int = 0
    names: list[str] = field(default_factory=list[str])
    last_id: str = ""
    times: list[float] = field(default_factory=list[float])

    @property
    def seconds(self) -> float:
        """From the first piece to the last."""
        return self.times[-1] - self.times[0] if self.times else 0.0

    def take(self, piece: str) -> None:
        """One piece of the body; the service writes each event in one."""
        self.body += piece
        self.times.append(time.perf_counter())
        lines = [line for line in piece.splitlines() if ": " in line and line[0] != ":"]
        fields = dict(line.split(": ", 1) for line in lines)
        self.last_id = fields.get("id", self.last_id)
        if "event" in fields:
            self.names.append(fields["event"])
            delta: dict[str, Any] = json.loads(fields["data"]).get("delta") or {}
            self.text += delta.get("text", "")
            self.deltas += "text" in delta


async def browse(
    app: ASGIApp,
    question: str,
    *,
    ask: str = "",
    last_event_id: str = "",
    leave_after: int | None = None,
) -> Heard:
    """``GET /stream``; leave after so many pieces. ``None``: hear all of it."""
    heard, gone, asked = Heard(), asyncio.Event(), [True]

    async def receive() -> Message:
        if asked:
            asked.clear()
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            heard.status = message["status"]
            print(f"GET /stream?{query} -> {heard.status}")
        elif message.get("body"):
            heard.take(message["body"].decode())
            if len(heard.times) == leave_after:
                gone.set()

    query = urlencode({"q": question, **({"ask": ask} if ask else {})})
    headers = [(b"host", b"service")]
    if last_event_id:
        headers.append((b"last-event-id", last_event_id.encode()))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/stream",
        "query_string": query.encode(),
        "headers": headers,
    }
    await app(scope, receive, send)
    return heard
