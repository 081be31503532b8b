"""The documented carrier of streams: server-sent events over HTTP.

It needs the extra ``sse``, which is looked for when a carrier is made. The HTTP client is
``httpx2``: it is kept well, runs on both event loops, and reads events with a bound on their size.

Nothing that leaves this module carries the key: the HTTP client's exceptions hold the request with
its headers, so none of them is passed on, not even as a cause or a context.
"""

from __future__ import annotations

import ssl as tls
from codecs import getincrementaldecoder
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast
from urllib.parse import urlsplit

import anyio
import orjson
from pydantic import SecretStr

from runware_ws._io.transport.websocket import retry_after
from runware_ws._version import __version__
from runware_ws.config import DEFAULT_URL, check_url, is_loopback
from runware_ws.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailed,
    ProtocolError,
    RunwareError,
    Submitted,
    TaskError,
)
from runware_ws.models.error_codes import ErrorFamily
from runware_ws.models.jsonable import is_array, is_object
from runware_ws.models.wire_errors import WireError, parse_errors, parse_item_error

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "DEFAULT_HTTP_URL",
    "HttpRefused",
    "SseCarrier",
    "StreamCut",
    "check_http_url",
    "http_url_of",
    "sse_available",
]

DEFAULT_HTTP_URL: Final = "https://api.runware.ai/v1"
"""Where tasks are posted (documented)."""

_DONE = "[DONE]"  # the last event of a stream (documented)
_REDACTED = "[redacted]"
_LARGEST_REFUSAL = 64 * 1024  # bytes read of the body of a refusal
_CLOSE_WAIT = 1.0  # seconds that closing one response, or reading its rest, may take
_REFUSED_UNRUN = frozenset(
    {ErrorFamily.VALIDATION, ErrorFamily.AUTH, ErrorFamily.QUOTA, ErrorFamily.RATE}
)


class StreamCut(Exception):
    """A stream ended before ``[DONE]``. Not for users: the stream makes its own exception of it.

    ``clean``: the server ended the answer in order, it only never said ``[DONE]``. Otherwise the
    connection broke, or nothing came for the time allowed. The message says which.
    """

    def __init__(self, message: str, *, clean: bool = False) -> None:
        super().__init__(message)
        self.clean = clean


class HttpRefused(ConnectionFailed):
    """The server answered a request with a status that is about the connection, not the task.

    ``status`` is that of HTTP. ``retry_after`` is what the server asks to wait, in seconds, and
    ``None`` where it asks nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        retry_after: float | None = None,
        task_uuid: str | None = None,
        submitted: Submitted = Submitted.MAYBE,
        safe_to_resend: bool | None = None,
    ) -> None:
        super().__init__(
            message, task_uuid=task_uuid, submitted=submitted, safe_to_resend=safe_to_resend
        )
        self.status = status
        self.retry_after = retry_after


def http_url_of(url: str) -> str:
    """Where tasks are posted to the server of this socket.

    The service has a host of its own for each (documented); others are taken to
    serve both at one address.
    """
    if url == DEFAULT_URL:
        return DEFAULT_HTTP_URL
    return url.replace("wss://", "https://", 1).replace("ws://", "http://", 1)


def sse_available() -> bool:
    """Whether the extra ``sse`` is installed."""
    try:
        return find_spec("httpx2") is not None
    except (ImportError, ValueError):
        return False


def check_http_url(url: str, *, allow_insecure: bool) -> str:
    """Return ``url`` where the key may travel over it.

    Raises:
        ConfigurationError: not an HTTP URL, credentials in it, or a plain ``http://`` beyond
            loopback without ``allow_insecure=True``.
    """
    return check_url(
        url,
        allow_insecure=allow_insecure,
        schemes=("http", "https"),
        option="http_url",
        example=DEFAULT_HTTP_URL,
    )


class SseCarrier:
    """Posts tasks and reads the events that answer; one pool of connections for all of them.

    Runs on asyncio and trio. Use it with ``async with``, or end it with :meth:`aclose`. A reader
    that is slow holds up its own connection only: nothing is read ahead of it beyond the buffers
    of one socket.

    Args:
        url: where to post.
        open_timeout: seconds for TCP, for TLS, and for each write.
        idle_timeout: seconds in which at least one byte must come, also before the first one.
            ``None``: no limit.
        max_event_bytes: the largest event, and the largest whole result.
        max_connections: streams at once; more wait for a connection.
        allow_insecure: allow ``http://`` beyond loopback.
        ssl: TLS settings; ``None``: the system's trust store, verification on.
        proxy: as in :class:`~runware_ws.Config`.
        user_agent: ``None``: this library's name and version.

    Raises:
        ConfigurationError: the extra is not installed, or the URL is none.
    """

    def __init__(
        self,
        url: str = DEFAULT_HTTP_URL,
        *,
        open_timeout: float = 15.0,
        idle_timeout: float | None = 120.0,
        max_event_bytes: int = 64 * 1024 * 1024,
        max_connections: int = 1_000,
        allow_insecure: bool = False,
        ssl: tls.SSLContext | None = None,
        proxy: str | Literal[True] | None = True,
        user_agent: str | None = None,
    ) -> None:
        try:
            import httpx2
        except ImportError:
            raise ConfigurationError(
                "a stream over HTTP needs an extra: pip install 'runware-ws[sse]'"
            ) from None
        self._url = check_http_url(url, allow_insecure=allow_insecure)
        self._idle_timeout = idle_timeout
        self._max_event_bytes = max_event_bytes
        local = is_loopback(urlsplit(url).hostname or "")
        self._client = httpx2.AsyncClient(
            verify=ssl if ssl is not None else True,
            proxy=proxy if isinstance(proxy, str) else None,
            trust_env=proxy is True and not local,
            follow_redirects=False,  # the key is for this server only
            timeout=httpx2.Timeout(open_timeout, read=idle_timeout, pool=None),
            limits=httpx2.Limits(max_connections=max_connections, max_keepalive_connections=20),
            headers={
                "Accept": "text/event-stream, application/json",
                # A compressed answer could grow past the limits, and events gain nothing.
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": user_agent or f"runware-ws/{__version__}",
            },
        )

    def __repr__(self) -> str:
        return f"<SseCarrier {self._url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Streams that are open end with :class:`StreamCut`."""
        with anyio.move_on_after(_CLOSE_WAIT, shield=True):
            await self._client.aclose()

    @asynccontextmanager
    async def open(
        self, payload: bytes, key: SecretStr
    ) -> AsyncGenerator[AsyncGenerator[dict[str, Any], None], None]:
        """Post ``payload``, a JSON array of task objects; gives the wire items that answer it.

        The items end after ``[DONE]``, or after the only answer of a server that does not stream.
        Leaving early gives the connection up. Cancel safe.

        Raises:
            ConfigurationError: the key cannot stand in a header.
            AuthenticationError: the key is refused.
            HttpRefused: another refusal that is not about the task; see its ``retry_after``.
            ConnectionFailed: the server was not reached, or broke off before it answered.
            TaskError: the server's verdict; also from the items.
            ProtocolError: from the items as well: no event, or one over the limit.
            StreamCut: from the items only: they end too early.
        """
        secret = key.get_secret_value()
        if not (secret.isascii() and secret.isprintable()):
            raise ConfigurationError("api_key holds characters that no HTTP header can carry")
        response = await self._send(payload, secret)
        body = _Body(response)
        try:
            if not response.is_success:
                raise _refusal(response, _scrub(await _head_of(body), secret))
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise ProtocolError(
                    "the server compressed its answer unasked", submitted=Submitted.YES
                )
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind == "text/event-stream":
                items = self._events(body, secret)
            elif kind == "application/json":
                items = self._whole(body, secret)
            else:
                raise ProtocolError(
                    f"the server answers a stream with {kind[:60]!r}", submitted=Submitted.YES
                )
            async with aclosing(items):
                yield items
        finally:
            await body.aclose()

    async def _send(self, payload: bytes, secret: str) -> httpx2.Response:
        import httpx2

        request = self._client.build_request(
            "POST", self._url, content=payload, headers={"Authorization": f"Bearer {secret}"}
        )
        try:
            return await self._client.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as exc:
            failure = _unreached(exc, Submitted.NO)
        except (httpx2.TransportError, httpx2.InvalidURL, RuntimeError) as exc:
            # A RuntimeError: the carrier is closed.
            never = isinstance(exc, (RuntimeError, httpx2.InvalidURL, httpx2.UnsupportedProtocol))
            failure = _unreached(exc, Submitted.NO if never else Submitted.MAYBE)
        # Raised outside of the handler: the context would hold the request, and it the key.
        raise failure

    async def _events(self, body: _Body, secret: str) -> AsyncGenerator[dict[str, Any], None]:
        import httpx2

        events = body.events(self._max_event_bytes)
        while True:
            failure: Exception
            try:
                event = await anext(events)
            except StopAsyncIteration:
                failure = StreamCut("the stream ended without its end mark", clean=True)
            except httpx2.SSEError as exc:
                failure = ProtocolError(_scrub(str(exc), secret), submitted=Submitted.YES)
            except httpx2.ReadTimeout:
                failure = StreamCut(f"nothing came for {self._idle_timeout:g} s")
            except (httpx2.TransportError, httpx2.StreamError) as exc:
                failure = StreamCut(_scrub(_words(exc), secret))
            else:
                if event.data.strip() == _DONE:
                    await _read_out(events)
                    return
                for item in _items(_scrub(event.data, secret)):
                    yield item
                continue
            raise failure

    async def _whole(self, body: _Body, secret: str) -> AsyncGenerator[dict[str, Any], None]:
        """The one answer of a server that does not stream."""
        import httpx2

        pieces: list[str] = []
        size = 0
        failure: Exception | None = None
        try:
            async for piece in body:
                pieces.append(piece)
                size += len(piece)
                if size > self._max_event_bytes:
                    message = f"the answer exceeded the {self._max_event_bytes} byte limit"
                    failure = ProtocolError(message, submitted=Submitted.YES)
                    break
        except httpx2.ReadTimeout:
            failure = StreamCut(f"nothing came for {self._idle_timeout:g} s")
        except (httpx2.TransportError, httpx2.StreamError) as exc:
            failure = StreamCut(_scrub(_words(exc), secret))
        if failure is not None:
            raise failure
        for item in _items(_scrub("".join(pieces), secret)):
            yield item


class _Body:
    """The text of an answer, bounded by its reader.

    The generators of the HTTP client are run to their end: one that is left behind is a warning
    on trio. So it stands in for the response where events are read.
    """

    def __init__(self, response: httpx2.Response) -> None:
        self.headers = response.headers
        self.request = response.request
        self._response = response
        self._chunks = response.aiter_raw()
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._events: AsyncGenerator[httpx2.ServerSentEvent, None] | None = None

    def events(self, largest: int) -> AsyncIterator[httpx2.ServerSentEvent]:
        import httpx2

        source = httpx2.EventSource(cast("httpx2.Response", self), max_event_size=largest)
        events = source.__aiter__()
        self._events = cast("AsyncGenerator[httpx2.ServerSentEvent, None]", events)
        return events

    def aiter_text(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return self._decoder.decode(await anext(self._chunks))

    async def aclose(self) -> None:
        import httpx2

        with anyio.move_on_after(_CLOSE_WAIT, shield=True):
            if self._events is not None:
                await self._events.aclose()
            await self._response.aclose()
            try:
                # Nothing comes from a closed socket but an error, which ends the generators.
                async for _ in self._chunks:
                    pass
            except (httpx2.TransportError, httpx2.StreamError):
                pass


async def _read_out(events: AsyncIterator[object]) -> None:
    """Read what follows the last event, so that the connection can be used again."""
    import httpx2

    with anyio.move_on_after(_CLOSE_WAIT):
        try:
            async for _ in events:
                return
        except (httpx2.TransportError, httpx2.StreamError):
            return


async def _head_of(body: _Body) -> str:
    """The beginning of a refusal's body; what can be had of it."""
    import httpx2

    text = ""
    with anyio.move_on_after(_CLOSE_WAIT):
        try:
            while len(text) < _LARGEST_REFUSAL:
                text += await anext(body)
        except (httpx2.TransportError, httpx2.StreamError, StopAsyncIteration):
            pass
    return text[:_LARGEST_REFUSAL]


def _items(text: str) -> Iterator[dict[str, Any]]:
    """The items of one event, bare (documented) or in an envelope as on the socket."""
    try:
        frame: Any = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise ProtocolError(f"an event is not JSON: {exc.msg}", submitted=Submitted.YES) from None
    if not is_object(frame):
        kind = type(frame).__name__
        raise ProtocolError(f"an event is no JSON object but {kind}", submitted=Submitted.YES)
    data: Any = frame.get("data")
    found = [item for item in data if is_object(item)] if is_array(data) else []
    bare = not is_array(data) and not ("errors" in frame or "error" in frame)
    for item in [frame] if bare else found:
        error = parse_item_error(item)
        if error is not None:
            raise _task_error(error, refused=False)
        yield item
    for error in parse_errors(frame):
        raise _task_error(error, refused=False)


def _task_error(error: WireError, *, refused: bool) -> TaskError:
    return TaskError(
        error.message or "the server gave no message",
        code=error.code,
        parameter=error.parameter,
        documentation=error.documentation,
        family=error.family,
        retryable=error.retryable,
        raw=error.raw,
        task_uuid=error.task_uuid,
        submitted=Submitted.YES,
        safe_to_resend=refused and error.family in _REFUSED_UNRUN,
    )


def _refusal(response: httpx2.Response, text: str) -> RunwareError:
    """The exception for an answer whose status is no success."""
    status = response.status_code
    try:
        frame: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        frame = None
    errors = parse_errors(frame) if is_object(frame) else []
    error = errors[0] if errors else None
    said = f": {error.message}" if error is not None and error.message else ""
    about_key = error is not None and error.family is ErrorFamily.AUTH and error.task_uuid is None
    if status in (401, 403) or (status < 500 and about_key):
        code = error.code if error is not None else None
        return AuthenticationError(
            f"the server refuses the API key (HTTP {status}){said}", code=code
        )
    if error is not None and 400 <= status < 500 and status not in (404, 405, 407, 408, 429):
        return _task_error(error, refused=True)
    unrun = status < 500 and status != 408
    return HttpRefused(
        f"the server answered HTTP {status}{said}",
        status=status,
        retry_after=retry_after(response.headers.get("Retry-After")),
        submitted=Submitted.NO if unrun else Submitted.MAYBE,
    )


def _unreached(exc: Exception, submitted: Submitted) -> ConnectionFailed:
    broke = "was not reached" if submitted is Submitted.NO else "broke off before it answered"
    return ConnectionFailed(f"the server {broke}: {_words(exc)}", submitted=submitted)


def _words(exc: BaseException) -> str:
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _scrub(text: str, secret: str) -> str:
    """``text`` without the key, which a server may repeat."""
    return text.replace(secret, _REDACTED) if secret and secret in text else text
