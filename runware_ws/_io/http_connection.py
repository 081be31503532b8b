"""One HTTP/1.1 connection: ``h11`` reads and writes the protocol, anyio moves the bytes.

Nothing that leaves this module quotes an error of ``h11``: it may contain the text that it is
about, and that may be the key.
"""

from __future__ import annotations

import math
import select
import ssl
from collections.abc import Callable, Mapping
from typing import Any, cast

import anyio
import h11
from anyio.abc import AnyByteStream, ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSAttribute, TLSStream

from runware_ws._core.effects import Ending, PostEnding
from runware_ws._io.sse import EventReader, EventTooBig
from runware_ws._io.transport.common import CHUNK, forget_unsent
from runware_ws._io.transport.retry_after import retry_after
from runware_ws._io.transport.tls import tls_refusal
from runware_ws.classify import Loss, LossKind

__all__ = ["HttpConnection", "PostFailed", "Watch", "Wire", "failed", "first", "words", "written"]

_REFUSAL_WAIT = 1.0  # seconds to read the body of a refusal
_REST_WAIT = 0.1  # seconds between the end mark and the end of the answer
_REST = 64 * 1024  # bytes allowed after the end mark
_LARGEST_HEAD = 64 * 1024  # bytes of an answer's status and headers
_LARGEST_REFUSAL = 64 * 1024  # bytes read of the body of a refusal
_DONE = b"[DONE]"  # the last event of a stream (documented)


class PostFailed(Exception):
    """A POST failed. Internal; users do not see it."""

    def __init__(self, ending: PostEnding) -> None:
        super().__init__(str(ending.loss))
        self.ending = ending


def failed(
    how: Ending,
    kind: LossKind,
    detail: str = "",
    *,
    status: int | None = None,
    after: float | None = None,
    body: bytes = b"",
) -> PostFailed:
    """The exception for such an ending."""
    return PostFailed(
        PostEnding(how, Loss(kind, status=status, retry_after=after, detail=detail), body)
    )


class Wire(ByteStream):
    """A TCP stream, and whether its last read may have left something above the kernel.

    anyio keeps what a read of the kernel brought beyond ``max_bytes``.
    """

    def __init__(self, socket: SocketStream) -> None:
        self._socket = socket
        self.full = False

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        data = await self._socket.receive(max_bytes)
        self.full = len(data) >= max_bytes
        return data

    async def send(self, item: bytes) -> None:
        await self._socket.send(item)

    async def send_eof(self) -> None:
        await self._socket.send_eof()

    async def aclose(self) -> None:
        await self._socket.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._socket.extra_attributes


class HttpConnection:
    """One connection, for one POST after another.

    ``stream`` carries the bytes, with or without TLS. ``wire`` is the TCP stream below it.
    """

    def __init__(self, stream: ByteStream, wire: Wire) -> None:
        self.idle_until = 0.0
        """When the idle connection becomes too old."""
        self.forward: tuple[tuple[str, str], ...] | None = None
        """Headers for a proxy that takes whole URLs; ``None``: there is no such proxy."""
        self._stream = stream
        self._wire = wire
        self._raw = wire.extra(SocketAttribute.raw_socket)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        self._settled = True  # no request is under way
        self._unsent = ""  # why a request is not sent to its end
        self._sent = anyio.Event()  # it is, or cannot be
        self._answered = False  # the head of the answer has come
        self._ended = False  # the peer sends no more

    async def drop(self) -> None:
        """Close the connection at once, without a closing handshake. Shielded."""
        if not self._settled:
            forget_unsent(self._raw)
        with anyio.CancelScope(shield=True):
            await self._wire.aclose()

    def is_stale(self) -> bool:
        """Whether an idle connection has ended.

        A server that was asked nothing has nothing to send. If something does arrive, the
        connection has ended or is about to, and it must not be taken for the next answer.
        """
        number = self._raw.fileno()
        if number < 0 or self._left_over():
            return True
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([number], [], [], 0)[0])
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))

    def _left_over(self) -> bool:
        """Whether more was read from the kernel than the last answer."""
        stream: AnyByteStream = self._stream
        while isinstance(stream, TLSStream):
            try:
                stream.extra(TLSAttribute.ssl_object).read(1)
            except ssl.SSLWantReadError:
                stream = stream.transport_stream
            except ssl.SSLError:
                return True
            else:
                return True
        return self._wire.full

    def reusable(self) -> bool:
        """Whether another request may go out; if so, prepares the connection for it."""
        http = self._http
        if (
            self._ended
            or not self._settled
            or http.our_state is not h11.DONE
            or http.their_state is not h11.DONE
            or http.trailing_data[0]
        ):
            return False
        http.start_next_cycle()
        return True

    async def post(
        self,
        head: Callable[[], h11.Request],
        payload: bytes,
        take: Callable[[bytes], None],
        watch: Watch,
        largest: int,
    ) -> PostEnding:
        """Send one request and read its answer.

        ``head`` makes the request, without its body. ``largest``: the limit in bytes for an
        event, and for an answer that is not a stream.

        Raises:
            PostFailed: the POST failed.
        """
        self._settled = self._answered = False
        self._sent = anyio.Event()
        data = written(self._http, head(), payload)
        if len(data) <= CHUNK:
            await self._send(data, watch)
            return await self._answer(take, watch, largest)
        failure: Exception | None = None
        ending = PostEnding(Ending.DONE)
        async with anyio.create_task_group() as group:
            group.start_soon(self._send, data, watch)
            try:
                ending = await self._answer(take, watch, largest)
            except Exception as exc:
                failure = exc
            group.cancel_scope.cancel()
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # it holds this frame
        return ending

    # -- bytes ---------------------------------------------------------------------------

    async def _send(self, data: memoryview, watch: Watch) -> None:
        """Send ``data``, or as much of it as can be.

        A server may refuse a request before it has all of it, and then read no further, or hang up.
        Its answer is worth reading, so this does not raise, and a request of some size is sent
        while its answer is awaited (RFC 9112, 9.5).
        """
        self._unsent = "the server did not read all of it"
        try:
            for start in range(0, len(data), CHUNK):
                watch.wait()
                # From here on, some of it may have been sent.
                await self._stream.send(cast("bytes", data[start : start + CHUNK]))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            self._unsent = words(exc)
        else:
            self._unsent = ""
        self._sent.set()

    async def _next(self, watch: Watch) -> Any:
        """The next event of the answer."""
        http = self._http
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                watch.wait()
                try:
                    data = await self._stream.receive(65536)
                except anyio.EndOfStream:
                    data = b""
                    self._ended = True
                http.receive_data(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            self._ended = True
            refused = None if self._answered else tls_refusal(exc)
            if refused is not None:
                raise failed(Ending.REFUSED, LossKind.TLS_FAILED, refused) from None
            raise failed(Ending.CUT, LossKind.CLOSED, words(exc)) from None
        except h11.RemoteProtocolError:
            if not self._ended:
                detail = "the server's answer is not HTTP/1.1"
                raise failed(Ending.CUT, LossKind.PEER_BROKE_PROTOCOL, detail) from None
        else:
            if not isinstance(event, h11.ConnectionClosed):
                return event
        where = "in the middle of" if self._answered else "before"
        raise failed(Ending.CUT, LossKind.CLOSED, f"the connection ended {where} the answer")

    # -- the answer ----------------------------------------------------------------------

    async def _answer(
        self, take: Callable[[bytes], None], watch: Watch, largest: int
    ) -> PostEnding:
        kind = await self._checked(await self._response(watch), watch)
        if kind == "text/event-stream":
            await self._events(take, watch, largest)
        else:
            await self._whole(take, watch, largest)
        self._settled = not self._unsent
        return PostEnding(Ending.DONE)

    async def _response(self, watch: Watch) -> h11.Response:
        try:
            while not isinstance(event := await self._next(watch), h11.Response):
                pass
        except PostFailed as failure:
            if self._unsent and self._ended and failure.ending.how is Ending.CUT:
                detail = f"the request was cut: {self._unsent}"
                raise failed(Ending.CUT, LossKind.CLOSED, detail) from None
            raise
        self._answered = True
        return event

    async def _checked(self, response: h11.Response, watch: Watch) -> str:
        """The type of the answer; raises if the answer is a refusal."""
        fields = response.headers
        status = response.status_code
        if not 200 <= status < 300:
            proxied = self.forward is not None and status == 407
            after = first(fields, b"retry-after")
            raise failed(
                Ending.REFUSED,
                LossKind.PROXY_REFUSED if proxied else LossKind.HTTP_REFUSED,
                "a redirect, which is not followed" if 300 <= status < 400 else "",
                status=status,
                after=retry_after(after),
                body=await self._refusal(watch),
            )
        encoding = first(fields, b"content-encoding") or "identity"
        if encoding.strip().lower() != "identity":
            detail = "the server compressed its answer unasked"
            raise failed(Ending.REFUSED, LossKind.HTTP_REFUSED, detail, status=status)
        kind = (first(fields, b"content-type") or "").partition(";")[0].strip().lower()
        if kind not in ("text/event-stream", "application/json"):
            what = repr(kind[:60]) if "/" in kind else "of no type"
            detail = f"the answer is {what}, neither events nor JSON"
            raise failed(Ending.REFUSED, LossKind.HTTP_REFUSED, detail, status=status)
        return kind

    async def _refusal(self, watch: Watch) -> bytes:
        """The beginning of a refusal's body, as much as comes in time."""
        body = bytearray()
        with anyio.move_on_after(_REFUSAL_WAIT):
            try:
                while len(body) < _LARGEST_REFUSAL:
                    event = await self._next(watch)
                    if isinstance(event, h11.EndOfMessage):
                        if self._http.their_state is h11.DONE:
                            # The server goes on, so it reads the rest of the request.
                            await self._sent.wait()
                        self._settled = not self._unsent
                        break
                    body += event.data
            except PostFailed:
                pass
        return bytes(body[:_LARGEST_REFUSAL])

    async def _events(self, take: Callable[[bytes], None], watch: Watch, largest: int) -> None:
        reader = EventReader(largest)
        while isinstance(event := await self._next(watch), h11.Data):
            try:
                for data in reader.feed(bytes(event.data)):
                    if data.strip() == _DONE:
                        await self._read_out(watch)
                        return
                    take(data)
            except EventTooBig:
                raise too_big(largest) from None
        raise failed(Ending.CUT, LossKind.CLOSED, "the answer ended without its end mark")

    async def _read_out(self, watch: Watch) -> None:
        """Read what follows the end mark, so that the connection can be reused."""
        size = 0
        with anyio.move_on_after(_REST_WAIT):
            try:
                while self._http.our_state is h11.DONE and size <= _REST:
                    event = await self._next(watch)
                    if not isinstance(event, h11.Data):
                        return
                    size += len(event.data)
            except PostFailed:
                return

    async def _whole(self, take: Callable[[bytes], None], watch: Watch, largest: int) -> None:
        """The one answer of a server that does not stream."""
        body = bytearray()
        while isinstance(event := await self._next(watch), h11.Data):
            body += event.data
            if len(body) > largest:
                raise too_big(largest)
        take(bytes(body))


class Watch:
    """Moves the deadline of one POST: a byte must come or go at least every ``idle`` seconds.

    A wait lasts up to a sixteenth longer.
    """

    __slots__ = ("_due", "_idle", "_scope")

    def __init__(self, scope: anyio.CancelScope, idle: float | None) -> None:
        self._scope = scope
        self._idle = math.inf if idle is None else idle
        self._due = -math.inf

    def wait(self) -> None:
        """Call this before each wait."""
        due = anyio.current_time() + self._idle
        if due > self._due:
            # Moving the deadline at every read would cost more than the read. So it is set a
            # little later than necessary, and moved only once that much time has passed.
            self._due = due + self._idle / 16
            self._scope.deadline = self._due


def written(http: h11.Connection, head: h11.Request, payload: bytes = b"") -> memoryview:
    """The bytes of a request. As a view, because they hold secrets and its ``repr`` shows none.

    Tools print the variables of frames that wait or fail, those of libraries as well.
    """
    body = h11.Data(data=payload), h11.EndOfMessage()
    return memoryview(b"".join(http.send(event) or b"" for event in (head, *body)))


def first(fields: Any, name: bytes) -> str | None:
    """The first header with this name."""
    for known, value in fields:
        if known == name:
            return bytes(value).decode("latin-1")
    return None


def too_big(largest: int) -> PostFailed:
    """More came than is allowed."""
    detail = f"the answer exceeded the {largest} byte limit"
    return failed(Ending.REFUSED, LossKind.INBOUND_TOO_BIG, detail)


def words(exc: BaseException) -> str:
    """An exception in words. anyio's own say nothing, but their causes do."""
    while isinstance(exc.__cause__, Exception) and not isinstance(exc.__cause__, ExceptionGroup):
        exc = exc.__cause__
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
