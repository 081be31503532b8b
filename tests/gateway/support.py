"""What the tests of the gateway share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import anthropic
import httpx2
from anthropic._base_client import get_platform

from runware_ws import Client
from runware_ws.emulator import Emulator
from runware_ws.gateway import Callers, Gateway, app, gateway_of
from runware_ws.gateway.in_process import InProcessTransport
from tests import virtual
from tests.client.support import client_of

BASE = "http://gateway"
MODEL = "claude-haiku-4-5"


@dataclass
class Place:
    """A gateway without a port, and everything around it."""

    emulator: Emulator
    client: Client
    gateway: Gateway
    http: httpx2.AsyncClient

    def anthropic(self, **options: Any) -> anthropic.AsyncAnthropic:
        """The published client of this gateway."""
        given: dict[str, Any] = {"api_key": "any", "max_retries": 0, **options}
        return published(self.http, **given)

    async def post(
        self,
        body: Mapping[str, Any] | bytes,
        path: str = "/v1/messages",
        *,
        retry: int | None = None,
        key: str = "any",
        **headers: str,
    ) -> httpx2.Response:
        """A request as any client sends it."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if retry is not None:
            given["x-stainless-retry-count"] = str(retry)
        content = body if isinstance(body, bytes) else None
        json = None if isinstance(body, bytes) else dict(body)
        return await self.http.post(
            path, content=content, json=json, headers={"x-api-key": key, **given}
        )


@asynccontextmanager
async def place(
    callers: Callers | None = None,
    *,
    emulator: Mapping[str, Any] | None = None,
    client: Mapping[str, Any] | None = None,
    around: Callable[[Any], Any] = lambda application: application,
    **options: Any,
) -> AsyncGenerator[Place]:
    """A gateway to an emulator: both in memory where time is virtual. ``around``: what stands
    before the application."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(virtual.serving(api_key=None, **(emulator or {})))
        caller = await stack.enter_async_context(client_of(server, **(client or {})))
        application = app(caller, callers, **options)
        http = await stack.enter_async_context(in_process(around(application)))
        yield Place(server, caller, gateway_of(application), http)


@asynccontextmanager
async def in_process(application: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    """An HTTP client of an application, without a port."""
    http = httpx2.AsyncClient(
        transport=InProcessTransport(application), base_url=BASE, timeout=None
    )
    try:
        yield http
    finally:
        await http.aclose()


def published(http: httpx2.AsyncClient, **options: Any) -> anthropic.AsyncAnthropic:
    """The published client, which may run in virtual time."""
    client = anthropic.AsyncAnthropic(base_url=BASE, http_client=http, **options)
    # It would find this out in a thread, for which virtual time does not wait.
    cast("Any", client)._platform = get_platform()
    return client


def request(text: str = "Why?", **fields: Any) -> dict[str, Any]:
    """A request of the Messages shape."""
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 64, "messages": messages, **fields}


def executions(place: Place) -> int:
    """How many tasks ran; none ran twice."""
    assert place.emulator.stats.executed_twice == []
    return sum(place.emulator.stats.executions.values())
