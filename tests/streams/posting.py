"""What the tests of the HTTP carrier share."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from pydantic import SecretStr

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._io.http_carrier import HttpCarrier
from runware_ws.classify import Loss, LossKind
from runware_ws.emulator import expected_text

from .servers import STREAM, Odd, chunked, event, listening

KEY = "a-key-that-must-not-show"
SECRET = SecretStr(KEY)
OK = PostEnding(Ending.DONE)
WHOLE = STREAM + chunked(event(b'{"a":1}'), event(b'{"b":2}') + event(b"[DONE]"))
A, B = b'{"a":1}', b'{"b":2}'


def stream_task(prompt: str = "hello streams", **fields: Any) -> dict[str, Any]:
    return {
        "taskType": "textInference",
        "taskUUID": str(uuid.uuid4()),
        "model": "anthropic:claude@haiku-4.5",
        "messages": [{"role": "user", "content": prompt}],
        "deliveryMethod": "stream",
        **fields,
    }


def expected(task: dict[str, Any]) -> str:
    return expected_text(task["messages"][-1]["content"], task["taskUUID"])


def text_of(events: list[bytes]) -> str:
    return "".join(json.loads(each)["delta"].get("text", "") for each in events)


async def post(
    carrier: HttpCarrier, task: Any = None, key: SecretStr = SECRET
) -> tuple[PostEnding, list[bytes]]:
    """One POST: how it ended, and what came."""
    found: list[bytes] = []
    with anyio.fail_after(10):
        payload = json.dumps([task or stream_task()]).encode()
        ending = await carrier(payload, key, lambda: True, found.append)
    assert KEY not in repr(ending.loss)
    return ending, found


@asynccontextmanager
async def carrying(url: str, **options: Any) -> AsyncGenerator[HttpCarrier]:
    """A carrier, closed at the end."""
    carrier = HttpCarrier(url, **options)
    try:
        yield carrier
    finally:
        await carrier.aclose()


@asynccontextmanager
async def odd(*steps: Any, deaf: bool = False, **options: Any) -> AsyncGenerator[Any]:
    """A server that does these steps, and a carrier that posts to it."""
    server = Odd(*steps, deaf=deaf)
    async with (
        listening(server.handle) as port,
        carrying(f"http://127.0.0.1:{port}/v1?a=b", **options) as carrier,
    ):
        yield server, carrier


async def ends(*steps: Any, **options: Any) -> tuple[PostEnding, list[bytes]]:
    """One POST to a server that does these steps."""
    async with odd(*steps, **options) as (_, carrier):
        return await post(carrier)


async def until_closed(server: Odd) -> None:
    with anyio.fail_after(5):
        await server.closed.wait()
        # Its end is on the way to this side of the loopback.
        await anyio.sleep(0.01)


def loss_of(ending: PostEnding, how: Ending, kind: LossKind, status: int | None = None) -> Loss:
    """The loss of an ending, which is to be this one."""
    assert ending.how is how
    assert ending.loss is not None
    assert (ending.loss.kind, ending.loss.status) == (kind, status)
    return ending.loss
