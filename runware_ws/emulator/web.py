"""HTTP on the emulator's port: ``POST`` of task arrays, answered with JSON or with events."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import uuid4

import anyio
import orjson
from anyio.abc import ByteStream

from .engine import Engine
from .exact import load_exact
from .faults import CutOrder
from .sessions import Session
from .spelling import spelled
from .tasks import AcceptedTask
from .units import Envelope, Kind, Unit, pack
from .validation import is_list, task_error
from .written import Written

if TYPE_CHECKING:
    import h11

__all__ = ["HALF_AN_EVENT", "ByteCarrier", "WebSide"]

HALF_AN_EVENT = b'40\r\ndata: {"taskType":"textInfer'
"""What is written of an event, or of anything, before a cut in its middle."""

_NO_H11 = b"The emulator answers HTTP only where h11 is installed: pip install 'runware-ws[sse]'\n"
_JSON = "application/json"
_Headers = Sequence[tuple[str, str]]


class _Exchange:
    """One request: the outlet of a session that nobody can resume."""

    def __init__(self, engine: Engine, key_id: int) -> None:
        self.session = Session(str(uuid4()), key_id, over_http=True)
        self.session.socket = self
        self.streamed = False
        self._engine = engine
        self._records: list[AcceptedTask] = []
        self._units: deque[Unit] = deque()
        self._wake = anyio.Event()

    def perform(self, tasks: Iterable[dict[str, Any]]) -> None:
        """Do what the task objects say."""
        session = self.session
        for task in tasks:
            self._engine.perform(self, session, task)
            record = self._engine.state.tasks.find(session.key_id, task.get("taskUUID"))
            if record is not None and record.session is session and record not in self._records:
                self._records.append(record)
        streamed = [each for each in session.streams if not each.deltas_are_over]
        self.streamed = bool(streamed) or any(unit.stream is not None for unit in self._units)

    def push(self, envelope: Envelope) -> None:
        """Take units for the answer."""
        self._units.extend(envelope.units)
        self._wake.set()

    def detach(self) -> None:
        """The request is over: what comes now stays in the archive."""
        self.session.socket = None
        self.session.forgotten = True
        for stream in list(self.session.streams):
            stream.forget()

    def supersede(self) -> None:
        """Never called: nobody can resume this session."""

    async def next(self) -> Unit | None:
        """The next unit of the answer; ``None`` when it is complete."""
        while not self._units:
            if all(each.done or each.method == "async" for each in self._records):
                return None
            self._wake = anyio.Event()
            await self._wake.wait()
        return self._units.popleft()


class ByteCarrier(Protocol):
    """The TCP connection, as its HTTP requests see it."""

    written: Written

    async def healed(self, *, robbed: bool) -> None:
        """Wait for the end of a blackhole, which may have taken bytes that were read."""
        ...

    def cut(self, order: CutOrder, *, half_written: bool = False) -> bool:
        """Cut by order of a fault."""
        ...


class WebSide:
    """The HTTP requests of one TCP connection."""

    def __init__(self, engine: Engine, carrier: ByteCarrier, stream: ByteStream) -> None:
        self._engine = engine
        self._state = engine.state
        self._carrier = carrier
        self._stream = stream
        self._http: h11.Connection | None = None

    async def run(self, data: bytes) -> None:
        """Serve the connection, whose first bytes these are, until it ends."""
        data = await self._heard(data)
        try:
            import h11
        except ImportError:
            head = f"HTTP/1.1 501 Not Implemented\r\nContent-Length: {len(_NO_H11)}\r\n"
            await self._write(head.encode() + b"Connection: close\r\n\r\n" + _NO_H11)
            return
        self._http = http = h11.Connection(h11.SERVER)
        http.receive_data(data)
        try:
            while (request := await self._request(http)) is not None:
                await self._serve(*request)
                if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                    return
                http.start_next_cycle()
        except h11.RemoteProtocolError as problem:
            if http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._refuse(problem.error_status_hint, "invalidRequest", "This is no HTTP.")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    # -- bytes ---------------------------------------------------------------------------

    async def _heard(self, data: bytes) -> bytes:
        while (hole := self._state.faults.hole) is not None:
            await self._carrier.healed(robbed=hole == "drop")
        return data

    async def _read(self) -> bytes:
        try:
            data = await self._stream.receive(65536)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""
        self._state.stats.bytes_in += len(data)
        return await self._heard(data)

    async def _write(self, data: bytes) -> None:
        while self._state.faults.hole is not None:
            await self._carrier.healed(robbed=False)
        await self._stream.send(data)
        self._state.stats.bytes_out += len(data)

    async def _request(self, http: h11.Connection) -> tuple[h11.Request, bytes] | None:
        import h11

        request: h11.Request | None = None
        body = bytearray()
        limit = self._state.options.max_frame_bytes
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                if http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                http.receive_data(await self._read())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if limit is not None and len(body) > limit:
                    await self._refuse(413, "invalidRequest", "The request is too large.")
                    return None
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                return None

    async def _send(self, *events: h11.Event) -> None:
        assert self._http is not None
        await self._write(b"".join(self._http.send(event) or b"" for event in events))

    async def _reply(
        self, status: int, body: bytes, kind: str = _JSON, headers: _Headers = ()
    ) -> None:
        import h11

        fields = [("Content-Type", kind), ("Content-Length", str(len(body))), *headers]
        head = h11.Response(status_code=status, headers=fields)
        await self._send(head, h11.Data(data=body), h11.EndOfMessage())

    async def _refuse(
        self, status: int, code: str, message: str, *headers: tuple[str, str]
    ) -> None:
        error = Unit(Kind.CONTROL, task_error(code, message), is_error=True)
        body = pack([error], self._state.options)
        await self._reply(status, body, headers=headers)

    # -- requests ------------------------------------------------------------------------

    async def _serve(self, request: h11.Request, body: bytes) -> None:
        state = self._state
        if request.target.partition(b"?")[0].rstrip(b"/") != state.path.rstrip("/").encode():
            await self._refuse(404, "notFound", "There is nothing here.")
        elif request.method != b"POST":
            await self._refuse(405, "invalidRequest", "Post an array.", ("Allow", "GET, POST"))
        elif state.faults.post_rejections.take():
            state.stats.posts_rejected += 1
            after = state.faults.post_retry_after
            headers = [] if after is None else [("Retry-After", f"{after:g}")]
            message = "The emulator refuses this request."
            await self._refuse(state.faults.post_status, "serviceUnavailable", message, *headers)
        else:
            await self._tasks(dict(request.headers), body)

    async def _tasks(self, headers: dict[bytes, bytes], body: bytes) -> None:
        state = self._state
        tasks = _task_objects(body)
        if tasks is None:
            state.stats.invalid_messages += 1
            message = "The body must be a JSON array of task objects."
            await self._refuse(400, "invalidRequest", message)
            return
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        given: object = key.strip().decode("latin-1") if scheme.lower() == b"bearer" else None
        if tasks and tasks[0].get("taskType") == "authentication":
            first = tasks.pop(0).get("apiKey")
            given = first if given is None else given
        key_id = state.keys.check(given)
        if key_id is None:
            state.stats.refused += 1
            await self._reply(401, self._engine.refusal())
            return
        state.stats.posts += 1
        exchange = _Exchange(self._engine, key_id)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, group.cancel_scope)
                exchange.perform(tasks)
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await (self._events(exchange) if exchange.streamed else self._whole(exchange))
                group.cancel_scope.cancel()
        finally:
            exchange.detach()

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """Notice that the client went away; keep what it sends ahead."""
        assert self._http is not None
        while data := await self._read():
            self._http.receive_data(data)
        self._http.receive_data(b"")
        scope.cancel()

    async def _whole(self, exchange: _Exchange) -> None:
        units: list[Unit] = []
        while (unit := await exchange.next()) is not None:
            units.append(unit)
        self._carrier.written.count(units, replay=False)
        failed = bool(units) and all(unit.is_error for unit in units)
        options = self._state.options
        status = options.http_error_status if failed else 200
        headers: list[tuple[str, str]] = []
        overloads = [unit.overload for unit in units if unit.overload is not None]
        if failed and len(overloads) == len(units):
            # PROTOCOL: 429 for the rate (the published schema) and for the queue (documented).
            status = 429
            waits = [each.retry_after for each in overloads if each.retry_after is not None]
            # Whole seconds, RFC 9110 section 10.2.3.
            headers = [("Retry-After", str(math.ceil(max(waits))))] if waits else []
        body = pack(units, options) if units else b'{"data":[]}'
        await self._reply(status, body, headers=headers)

    async def _events(self, exchange: _Exchange) -> None:
        import h11

        assert self._http is not None
        fields = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
        await self._send(h11.Response(status_code=200, headers=fields))
        while (unit := await exchange.next()) is not None:
            event = h11.Data(data=b"data: " + self._event(unit) + b"\n\n")
            self._carrier.written.count([unit], replay=False)
            order = self._carrier.written.cut_due()
            if order is not None and order.mid_frame:
                chunk = self._http.send(event) or b""
                await self._write(chunk[: len(chunk) // 2])
            else:
                await self._send(event)
            if order is not None:
                self._carrier.cut(order, half_written=order.mid_frame)
                await anyio.sleep_forever()
        end = [h11.Data(data=b"data: [DONE]\n\n")] if self._state.options.sse_done else []
        await self._send(*end, h11.EndOfMessage())

    def _event(self, unit: Unit) -> bytes:
        options = self._state.options
        if unit.is_error or options.sse_framing == "enveloped":
            return pack([unit], options)
        return spelled(unit.body, options)


def _task_objects(body: bytes) -> list[dict[str, Any]] | None:
    try:
        message: Any = load_exact(body)
    except orjson.JSONDecodeError:
        return None
    if not is_list(message) or not all(isinstance(task, dict) for task in message):
        return None
    return cast("list[dict[str, Any]]", message)
