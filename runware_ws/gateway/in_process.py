"""A gateway without a port: a transport for ``anthropic.AsyncAnthropic(http_client=…)``.

The ASGI transport of ``httpx2`` hands an answer out once it is whole, and ends only when the
application does. So streams would come at once at their end, and nobody could leave one early.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import httpx2
from starlette.types import ASGIApp

from runware_ws._io.supervisor import Supervisor

__all__ = ["InProcessTransport"]


class InProcessTransport(httpx2.AsyncBaseTransport):
    """Calls an ASGI application in this event loop, on asyncio or trio. ::

        http = httpx2.AsyncClient(transport=InProcessTransport(app(client)), base_url="http://here")
        anthropic.AsyncAnthropic(http_client=http, base_url="http://here", api_key="any")

    It behaves as a server does: a part of an answer is sent once the part before it was taken; a
    request that is cancelled, or whose answer is not read to its end, is a client that went away,
    and the application goes on. Closing it cancels what still runs. Of a request's timeouts the one
    for reading holds, for its answer and for each further part.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._supervisor: Supervisor | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.RemoteProtocolError: the application ended without a whole answer.
            httpx2.ReadTimeout: nothing came for too long.
        """
        call = _InProcessCall(self._application, request, await request.aread())
        if self._supervisor is None or self._supervisor.ended:
            self._supervisor = Supervisor("runware_ws gateway in process", lambda _: None)
        self._supervisor.start_soon(call.run, name="runware_ws gateway request")
        try:
            await call.wait_for(call.begun)
        except BaseException:
            call.leave()
            raise
        if call.status is None:
            raise httpx2.RemoteProtocolError("the application ended without an answer")
        return httpx2.Response(call.status, headers=call.headers, stream=_AnswerParts(call))

    async def aclose(self) -> None:
        """Cancel what still runs, and wait for its end."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await self._supervisor.join()


class _AnswerParts(httpx2.AsyncByteStream):
    def __init__(self, call: _InProcessCall) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._call.take()) is not None:
            yield part

    async def aclose(self) -> None:
        self._call.leave()


class _InProcessCall:
    """One request to the application, and its answer, of which one part at most waits here."""

    def __init__(self, application: ASGIApp, request: httpx2.Request, body: bytes) -> None:
        self._application = application
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": None,
            "root_path": "",
        }
        self._body: bytes | None = body
        self.begun = anyio.Event()
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._complete = False
        self._over = False
        self._left = anyio.Event()
        self._news = anyio.Event()
        self._taken = anyio.Event()
        limit = request.extensions.get("timeout", {}).get("read")
        self._patience: float = math.inf if limit is None else limit

    async def run(self) -> None:
        try:
            await self._application(self._scope, self._receive, self._send)
        except Exception:  # As a server does: the connection ends, and the application has told.
            pass
        finally:
            self._over = True
            self.begun.set()
            self._news.set()

    async def wait_for(self, event: anyio.Event) -> None:
        """Wait for the application, but only as long as the client wants to."""
        try:
            with anyio.fail_after(self._patience):
                await event.wait()
        except TimeoutError:
            raise httpx2.ReadTimeout(f"nothing came for {self._patience:g} s") from None

    async def take(self) -> bytes | None:
        """The next part; ``None`` at the end."""
        while not self._parts:
            if self._complete:
                return None
            if self._over:
                raise httpx2.RemoteProtocolError("the application ended within its answer")
            self._news = anyio.Event()
            await self.wait_for(self._news)
        part = self._parts.pop()
        self._taken.set()
        return part

    def leave(self) -> None:
        """The client goes away."""
        self._left.set()
        self._taken.set()

    async def _receive(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        if not self._left.is_set():  # As servers do, who are asked in a scope that is cancelled.
            await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
            self.begun.set()
            return
        if message.get("body"):
            while self._parts and not self._left.is_set():
                self._taken = anyio.Event()
                await self._taken.wait()
            self._parts = [message["body"]]
        if not message.get("more_body", False):
            self._complete = True
        self._news.set()
