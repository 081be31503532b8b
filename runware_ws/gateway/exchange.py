"""One request over HTTP and its answer: bounded, and told apart from those that look like it."""

from __future__ import annotations

import hashlib
import logging
import re
import traceback
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
from starlette.datastructures import Headers

from runware_ws._checks import shown
from runware_ws._urls import is_loopback
from runware_ws.errors import RunwareError
from runware_ws.gateway.attempts import RequestIdentity
from runware_ws.gateway.error_table import ErrorReply, GatewayRefusal, reply_to
from runware_ws.models.jsonable import encode_json, is_object, load_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from runware_ws.gateway.callers import Callers, GatewayCaller

__all__ = [
    "GONE",
    "LAST_WORDS",
    "ClientGone",
    "Exchange",
    "ReaderTooSlow",
    "answering",
    "new_request_id",
    "note_bug",
]

_LOG = logging.getLogger("runware_ws")

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_PATIENCE = 600.0
_LONGEST_HEADER = 1_000
_MOST_RETRIES = 1_000_000

_UNREAD = 30.0
"""Seconds to take the rest of a body that was refused."""

GONE = "runware_ws.gone"
"""In the state of a request, if its server is ours: tells whether its connection is closed."""

LAST_WORDS = 1.0
"""Seconds to say that the process ends, although everything is cancelled."""


class Exchange:
    """See the top of the module. ``gone``: its client is known to have gone away. ``repeatable``:
    as :class:`~runware_ws.gateway.gateway.Asker` says."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.headers = Headers(scope=scope)
        self.request_id = new_request_id()
        self.gone = False
        self.started = False
        self.repeatable = True
        self._receive = receive
        self._send = send
        self._body: bytes | None = None
        self._more_comes = True
        self._body_read = anyio.Event()
        self._is_gone: Callable[[], bool] | None = scope.get("state", {}).get(GONE)

    @classmethod
    def of(cls, request: Request) -> Exchange:
        """For routes that answer with a response of their own."""

        async def nowhere(_: Message) -> None:
            raise RuntimeError("the route has its own response")

        return cls(request.scope, request.receive, nowhere)

    # What came

    def caller(self, callers: Callers) -> GatewayCaller:
        """Who asks.

        Raises:
            GatewayRefusal: nobody that we know; or a page of another site asks, where any key will
                do. In a service of yours that is for the service to decide.
        """
        ours = self._is_gone is not None
        if ours and callers.anybody and any(map(_is_foreign, self.headers.getlist("origin"))):
            raise GatewayRefusal(
                *(403, "permission_error"),
                "pages of other sites may not ask where any key is taken: start the gateway with "
                "--callers FILE, which says who may",
            )
        key = self.headers.get("x-api-key")
        if key is None:
            scheme, _, token = self.headers.get("authorization", "").partition(" ")
            key = token.strip() if scheme.lower() == "bearer" else None
        found = callers.find(key)
        if found is None:
            raise GatewayRefusal(
                *(401, "authentication_error"),
                "this gateway does not know your key: send the one you were given as x-api-key"
                if key
                else "a key is missing: send the one you were given as x-api-key",
            )
        return found

    async def body(self, most: int, timeout: float) -> bytes:
        """The raw body.

        Raises:
            GatewayRefusal: it is too large, is compressed, or does not come in time.
            ClientGone: the client went away.
        """
        coding = self.headers.get("content-encoding", "").strip()
        if coding.lower() not in ("", "identity"):
            raise GatewayRefusal(
                *(400, "invalid_request_error"),
                f"Content-Encoding: {shown(coding)} is not taken: send the body as it is",
            )
        if self._body is None:
            with anyio.move_on_after(timeout) as limit:
                self._body = await self._read(most)
            if limit.cancelled_caught or self._body is None:
                raise GatewayRefusal(
                    *(408, "timeout_error", f"the request did not come within {timeout:g} s"),
                    should_retry=True,
                )
            self._body_read.set()
            # The end of a connection that came with the request is noticed one turn later. Whoever
            # left so early may have asked another process by now, which cannot know of this one.
            await anyio.lowlevel.checkpoint()
            if await self.look():
                raise ClientGone
        return self._body

    async def _read(self, most: int) -> bytes:
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise ClientGone
            part: bytes = message.get("body", b"")
            self._more_comes = message.get("more_body", False)
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
            if not self._more_comes:
                return b"".join(parts)

    async def json(self, most: int, timeout: float) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            GatewayRefusal: it is none; and what :meth:`body` raises.
        """
        value = await self.any_json(most, timeout)
        if not is_object(value):
            raise GatewayRefusal(400, "invalid_request_error", "the body must be a JSON object")
        return value

    async def any_json(self, most: int, timeout: float) -> Any:
        """The body as any JSON value. Raises as :meth:`json` does."""
        try:
            return load_json(await self.body(most, timeout))
        except ValueError as exc:
            raise GatewayRefusal(
                400, "invalid_request_error", f"the body is not JSON: {exc}"
            ) from None

    def asked(self, caller: GatewayCaller) -> RequestIdentity:
        """What tells which request this is. Only for when the body was read.

        Raises:
            GatewayRefusal: the ``Idempotency-Key`` cannot be one.
        """
        assert self._body is not None
        keys = set(self.headers.getlist("idempotency-key"))
        key = keys.pop() if keys else None
        if keys or (key is not None and _KEY.fullmatch(key) is None):
            raise GatewayRefusal(
                *(400, "invalid_request_error"),
                "Idempotency-Key: must be one, of 1 to 255 visible ASCII characters",
            )
        return RequestIdentity(
            caller.name,
            None if key is None else hashlib.sha256(key.encode()).hexdigest(),
            hashlib.sha256(self._body).hexdigest(),
            self._retry(),
            self._patience(),
        )

    def _retry(self) -> int:
        count = self.headers.get("x-stainless-retry-count", "").strip()
        return min(int(count), _MOST_RETRIES) if count.isdecimal() and len(count) < 8 else 0

    def _patience(self) -> float:
        """How long the client waits, as it says: Python's in seconds, also where it reads."""
        for name in ("x-stainless-read-timeout", "x-stainless-timeout"):
            try:
                seconds = float(self.headers.get(name, ""))
            except ValueError:
                continue
            if 0 < seconds < 1e9:
                return seconds
        return _PATIENCE

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Learn meanwhile that the client goes away."""
        if self._is_gone is not None:
            yield
            return
        # Any server's way, at several times the cost. It has to be waited for: what stands between
        # the server and this may take some turns of the event loop to pass it on.
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen)
            yield
            group.cancel_scope.cancel()

    async def _listen(self) -> None:
        await self._body_read.wait()
        # After a whole body nothing else can come. Whoever sends more is not asked without end.
        message = await self._receive()
        self.gone = self.gone or message["type"] == "http.disconnect"

    async def look(self) -> bool:
        """Whether the client has gone away by now. Only for when the body was read."""
        if not self.gone:
            if self._is_gone is not None:
                self.gone = self._is_gone()
            else:
                await anyio.lowlevel.checkpoint()  # Whoever listens gets its turn.
        return self.gone

    # What goes

    async def send_json(
        self,
        status: int,
        value: Any,
        headers: Mapping[str, str] | None = None,
        *,
        last: bool = True,
    ) -> None:
        """Answer with JSON. ``last``: the connection is free for what comes next."""
        body = encode_json(value)
        kind = {"content-type": "application/json", "content-length": str(len(body))}
        await self.begin(status, {**kind, **(headers or {})})
        await self.more(body, last=last)

    async def send_error(self, reply: ErrorReply) -> None:
        """Answer with an error."""
        headers = reply.headers()
        if reply.status in (408, 413):
            headers["connection"] = "close"  # What comes of the body is not waited for.
        last = reply.status == 408 or self.gone or not self._more_comes
        await self.send_json(reply.status, reply.envelope(self.request_id), headers, last=last)
        if not last:
            await self._take_the_rest()
            await self.more(b"", last=True)

    async def _take_the_rest(self) -> None:
        """Take what comes of a body that is refused. Many clients read when they have sent all, and
        a connection that closes on what nobody has read loses the answer."""
        with anyio.move_on_after(_UNREAD):
            while self._more_comes:
                message = await self._receive()
                self._more_comes = message.get("more_body", False)

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """The status and the headers."""
        self.started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (name.encode("latin-1"), _header(value))
                    for name, value in {"request-id": self.request_id, **headers}.items()
                ],
            }
        )

    async def more(self, body: bytes, *, last: bool = False) -> None:
        """The next part of the body. Waits while the client takes nothing."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    async def fail(self, error: Exception, *, joins: bool = False) -> bool:
        """Answer with what went wrong, if nothing was answered yet. Returns :meth:`settles`."""
        if not isinstance(error, RunwareError | GatewayRefusal):
            note_bug(error)
        reply = reply_to(error, joins=joins)
        if not self.started:
            await self.send_error(reply)
        return self.settles(reply)

    def ending(self) -> ErrorReply:
        """What is told where the process ends before the answer is there."""
        if self.repeatable:
            return ErrorReply(503, "api_error", "this gateway ends: ask again", should_retry=True)
        words = (
            "this gateway ends, and without a journal: what it has begun may run and be paid for"
        )
        return ErrorReply(503, "api_error", words, should_retry=False)

    def settles(self, reply: ErrorReply) -> bool:
        """Whether the request is answered with this: who is told to come again is not."""
        return not reply.should_retry and not self.gone


def new_request_id() -> str:
    """What tells one answer from all others, in its header and in logs."""
    return f"req_{uuid4().hex}"


@asynccontextmanager
async def answering(exchange: Exchange) -> AsyncGenerator[None]:
    """The body of a route: whatever happens in it, the client is told."""
    async with exchange.listening():
        try:
            yield
        except ReaderTooSlow:
            pass  # Without a whole answer, so that the server ends the connection.
        except ClientGone:
            await exchange.send_error(_CLIENT_GONE)
        except Exception as exc:
            await exchange.fail(exc)
        except BaseException:
            if not exchange.started and not exchange.gone:
                with anyio.move_on_after(LAST_WORDS, shield=True):
                    await exchange.send_error(exchange.ending())
            raise


class ReaderTooSlow(Exception):
    """A reader took nothing for too long. The connection ends with this."""


class ClientGone(Exception):
    """The client went away before its request was there."""


_CLIENT_GONE = ErrorReply(499, "invalid_request_error", "the request did not come whole", False)
"""Nobody reads it; but middleware takes a request without an answer for a failure."""


def note_bug(error: Exception) -> None:
    """Log an exception that should not be. Its words are left out: they may hold a request."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
    _LOG.error("the gateway failed at %s: %s", place, type(error).__name__)


def _is_foreign(origin: str) -> bool:
    """Whether a browser asks for a page that is not of this machine. It lets any page post here."""
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
    except ValueError:
        return True
    return origin == "null" or (parts.scheme in ("http", "https") and not is_loopback(host))


def _too_large(most: int) -> GatewayRefusal:
    return GatewayRefusal(
        413, "request_too_large", f"the body is larger than {most} bytes, the most that is taken"
    )


def _header(value: str) -> bytes:
    """A text that may have come from a request, as one that every server takes."""
    text = value if len(value) <= _LONGEST_HEADER else f"{value[:_LONGEST_HEADER]}..."
    return _CONTROL.sub(b" ", text.encode("ascii", "backslashreplace")).strip()
