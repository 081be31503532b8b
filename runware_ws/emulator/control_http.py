"""The commands of :mod:`~.control` over HTTP, on a port of their own.

That port is on loopback whatever the emulator listens on, no fault touches it, nothing of it is
counted, and each request must bring the token. ::

    curl -H "Authorization: Bearer TOKEN" http://127.0.0.1:PORT/ \\
         -d '{"do": "order", "orders": ["cut"]}'
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import anyio
import orjson
from anyio.abc import ByteStream

from .control import Commands

if TYPE_CHECKING:
    import h11

__all__ = ["NEEDS_H11", "ControlServer", "has_h11"]

NEEDS_H11 = "the control endpoint needs h11: pip install 'runware-ws[sse]'"
_LARGEST = 16 * 1024 * 1024
_PATIENCE = 60.0  # seconds that a connection may be silent


def has_h11() -> bool:
    """Whether it can be served."""
    return find_spec("h11") is not None


class ControlServer:
    """Answers requests: 200 with ``{"ok": …}``, or ``{"error": …}`` with a status of 4xx."""

    def __init__(self, control: Commands, token: str) -> None:
        self._control = control
        self._token = token.encode()

    async def serve(self, stream: ByteStream) -> None:
        """Serve one connection until it ends."""
        import h11

        http = h11.Connection(h11.SERVER)
        async with stream:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                await self._requests(http, stream)

    async def _requests(self, http: h11.Connection, stream: ByteStream) -> None:
        import h11

        while True:
            try:
                found = await _request(http, stream)
                if found is None:
                    return
                status, answer = self._answer(*found)
            except h11.RemoteProtocolError as problem:
                status, answer = problem.error_status_hint, {"error": "this is no HTTP"}
            body = orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE)
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            if status == 405:
                headers.append(("Allow", "POST"))
            head = h11.Response(status_code=status, headers=headers)
            events = (head, h11.Data(data=body), h11.EndOfMessage())
            await stream.send(b"".join(http.send(event) or b"" for event in events))
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    def _answer(self, request: h11.Request, body: bytes | None) -> tuple[int, dict[str, Any]]:
        scheme, _, token = dict(request.headers).get(b"authorization", b"").partition(b" ")
        right = hmac.compare_digest(token.strip(), self._token)
        if scheme.lower() != b"bearer" or not right:
            return 401, {"error": "send the header Authorization: Bearer TOKEN"}
        if request.target.partition(b"?")[0] != b"/":
            return 404, {"error": "there is nothing here: post commands to /"}
        if request.method != b"POST":
            return 405, {"error": "post a command"}
        if body is None:
            return 413, {"error": "the command is too large"}
        try:
            return 200, {"ok": self._control.do(orjson.loads(body))}
        except ValueError as problem:
            return 400, {"error": str(problem)}


async def _request(
    http: h11.Connection, stream: ByteStream
) -> tuple[h11.Request, bytes | None] | None:
    """The next request and its body; no body where that is too large; ``None`` at the end."""
    import h11

    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await stream.send(http.send(go_on) or b"")
            with anyio.move_on_after(_PATIENCE):
                http.receive_data(await stream.receive())
                continue
            return None
        if isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _LARGEST and request is not None:
                return request, None
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, bytes(body)
        else:
            return None
