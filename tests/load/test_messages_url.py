"""Any server of the Messages shape may be loaded."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from anyio.abc import SocketStream

from runware_ws.load import (
    Arrivals,
    MessagesTarget,
    MessagesUrl,
    drawn_tasks,
    parse_length,
    parse_rate,
    run_load,
)
from runware_ws.load.messages_url import message_request
from tests.client.support import KEY, bounded
from tests.streams.servers import listening

pytestmark = pytest.mark.anyio
MESSAGE = {"type": "message", "content": [{"type": "text", "text": "because"}],
           "usage": {"input_tokens": 3, "output_tokens": 7}}  # fmt: skip
EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": {}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "be"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "cause"}},
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
)


@dataclass
class Script:
    """What the server says to each request, and what it was sent."""

    status: int = 200
    body: bytes = b""
    url: str = ""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list[Any])


@asynccontextmanager
async def serving(script: Script) -> AsyncGenerator[Script]:
    async def talk(stream: SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith("content-length:"))
        while len(body) < length:
            body += await stream.receive()
        script.requests.append((head.decode(), json.loads(body)))
        answer = f"HTTP/1.1 {script.status} X\r\nconnection: close\r\n"
        answer += f"content-length: {len(script.body)}\r\n\r\n"
        await stream.send(answer.encode() + script.body)

    async with listening(talk) as port:
        script.url = f"http://127.0.0.1:{port}"
        yield script


async def loaded(script: Script, *, stream: bool) -> dict[str, Any]:
    async with serving(script):
        target = MessagesTarget(MessagesUrl(script.url, KEY, stream=stream))
        return await run_load(
            target, drawn_tasks(parse_length("3")), Arrivals(parse_rate("50", 0.2))
        )


def events(*each: dict[str, Any]) -> bytes:
    return b"".join(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n" for event in each)


@bounded
async def test_whole_messages() -> None:
    script = Script(body=json.dumps(MESSAGE).encode())
    report = await loaded(script, stream=False)
    assert (report["answered"], report["tokens"]) == (10, 70)
    assert report["first_delta_ms"]["count"] == 0
    head, body = script.requests[0]
    assert head.startswith("POST /v1/messages ")
    assert KEY in head
    assert body["max_tokens"] == 4096
    assert body["messages"][0]["content"].partition(": ")[0].isdigit()


@bounded
async def test_streamed_messages() -> None:
    script = Script(body=events(*EVENTS))
    report = await loaded(script, stream=True)
    assert (report["answered"], report["tokens"]) == (10, 70)
    assert report["first_delta_ms"]["count"] == 10
    assert script.requests[0][1]["stream"] is True


@pytest.mark.parametrize(
    ("script", "stream", "family", "lost"),
    [
        (Script(status=429), False, "HTTP 429", 0),
        (Script(status=500), False, "HTTP 500", 10),
        (Script(status=302), False, "HTTP 302", 0),
        (Script(body=b"hello"), False, "no message", 10),
        (Script(body=b"[]"), False, "no message", 10),
        (Script(body=events(*EVENTS[:3])), True, "the stream did not end", 10),
        (Script(body=b"data: [1]\n\n"), True, "a broken event", 10),
        (
            Script(body=events({"type": "error", "error": {"type": "overloaded_error"}})),
            True,
            "overloaded_error",
            10,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@bounded
async def test_what_goes_wrong_is_told(
    script: Script, stream: bool, family: str, lost: int
) -> None:
    report = await loaded(script, stream=stream)
    assert report["errors"] == {family: 10}
    assert (report["answered"], report["lost"]) == (0, lost)


@bounded
async def test_nobody_there() -> None:
    target = MessagesTarget(MessagesUrl("http://127.0.0.1:9/v1/messages", KEY))
    model = Arrivals(parse_rate("20", 0.1))
    report = await run_load(target, drawn_tasks(parse_length("3")), model)
    assert report["errors"] == {"ConnectError": 2}
    assert report["lost"] == 0


def test_a_task_as_a_message() -> None:
    task = {
        "messages": [{"role": "user", "content": "Why?"}],
        "settings": {"maxTokens": 9, "systemPrompt": "Be brief.", "stopSequences": ["."]},
    }
    assert message_request(task, stream=False) == {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "system": "Be brief.",
        "stop_sequences": ["."],
        "messages": [{"role": "user", "content": "Why?"}],
    }


def test_the_key_shows_nowhere() -> None:
    assert KEY not in repr(MessagesUrl("http://127.0.0.1:9", KEY))
