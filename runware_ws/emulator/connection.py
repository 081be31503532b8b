"""One socket of the emulator: bytes in, bytes out, and its end.

A *cut* happens in two steps. First the socket may be *dying* for a short window: it may
still hear or still speak, but perhaps not both. Then it is *struck*: what was not
delivered goes back to the session, and TCP ends. Anything else that ends a socket (the
client went away, an idle close) goes straight to the second step.
"""

from __future__ import annotations

import socket as sockets
import struct
from collections import deque
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HttpRequest
from websockets.protocol import State
from websockets.server import ServerProtocol

from .engine import Engine
from .faults import CutOrder
from .quiet import QUIET
from .sessions import Session
from .units import PING, Envelope, Kind, Unit, close_frame, data_frame, pack, shuffle, weight
from .web import HALF_AN_EVENT, WebSide
from .written import Written

__all__ = ["ServerConnection"]

_CHUNK = 256 * 1024  # bytes handed to TCP at once
_CLOSE_WAIT = 1.0  # seconds for the client to answer a close frame
_HALF_A_FRAME = data_frame(b'{"data":[{"taskType":"ping","pong":true}]}')[:20]


class ServerConnection:
    """One TCP connection. Lives as long as :meth:`run`."""

    def __init__(self, engine: Engine, stream: ByteStream) -> None:
        self._engine = engine
        self._state = engine.state
        self.session: Session | None = None
        self.waiting = False  # an authentication is under way: messages are held
        self.held: list[list[Any]] = []
        self.ended = False
        self.written = Written(engine.state)
        self._stream = stream
        self._protocol = ServerProtocol(max_size=engine.state.options.max_frame_bytes, logger=QUIET)
        self._scope: anyio.CancelScope | None = None
        self._wake = anyio.Event()
        self._healed = anyio.Event()
        self._outbox: deque[Envelope | bytes | None] = deque()  # None: end of the stream
        self._inflight: list[Unit] = []
        self._recent: deque[tuple[float, list[Unit]]] = deque()
        self._parts: list[bytes] = []
        self._stash = bytearray()  # what came in a blackhole or a stall
        self._robbed = False
        self._torn = False  # a message was begun that never ends
        self._trickle = b""
        self._sending = False
        self._clean_close = False
        self._close_code: int | None = None
        self._close_sent = False
        self._dying = False
        self._lose_results = False
        self._lose_requests = False
        self._order: CutOrder | None = None
        self._then: CutOrder | None = None  # a cut due when the current chunk is written
        self._last_words = b""
        self._reset = False
        self._fresh = True
        self._web: WebSide | None = None  # it began with another method than GET
        self._last_heard = 0.0

    # -- life ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the socket until it ends."""
        self._last_heard = anyio.current_time()
        try:
            async with anyio.create_task_group() as group:
                self._scope = group.cancel_scope
                group.start_soon(self._write_loop, group.cancel_scope)
                await self._read_loop()
                if not self._protocol_done():
                    group.cancel_scope.cancel()
                else:
                    # The writer still has our half of the closing handshake.
                    self._put(None)
                    await anyio.sleep(_CLOSE_WAIT)
                    group.cancel_scope.cancel()
        finally:
            self.ended = True
            self.detach()
            left = self._state.faults.stall_left
            if left > 0 and self._stash:
                self._state.timers.after(left, self._read_on)
            if self._clean_close and self.session is not None:
                self._engine.client_closed(self.session, self._close_code)
            await self._finish()

    def _protocol_done(self) -> bool:
        return self._protocol.close_expected() or self._protocol.state is State.CLOSED

    async def _finish(self) -> None:
        with anyio.move_on_after(_CLOSE_WAIT, shield=True):
            if self._last_words and not self._sending:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await self._stream.send(self._last_words)
        if self._reset:
            raw = self._stream.extra(SocketAttribute.raw_socket, None)
            if raw is not None:
                with suppress(OSError):  # the peer may be faster
                    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(self._stream)

    # -- reading -------------------------------------------------------------------------

    async def _read_loop(self) -> None:
        while True:
            try:
                data = await self._stream.receive(65536)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return
            self._state.stats.bytes_in += len(data)
            if self._is_web(data):
                self._web = WebSide(self._engine, self, self._stream)
                await self._web.run(data)
                return
            hole = self._state.faults.hole
            if hole == "drop":
                self._robbed = True
            elif hole == "hold" or self._stash or self._state.faults.stall_left > 0:
                self._stash += data
            else:
                self._feed(data)
            if self._protocol_done() and hole is None:
                return

    def _is_web(self, data: bytes) -> bool:
        """Whether a connection begins with a request that cannot be a handshake."""
        first, self._fresh = self._fresh, False
        return first and not b"GET ".startswith(data[:4])

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, HttpRequest):
                self._handshake(event)
            elif isinstance(event, Frame):
                self._on_frame(event)
        for chunk in self._protocol.data_to_send():
            if self._close_sent and chunk:
                continue  # our close frame has been sent: nothing may follow it
            self._put(chunk or None)

    def _handshake(self, request: HttpRequest) -> None:
        rejection = self._engine.rejection(request.path)
        if rejection is not None:
            status, retry_after = rejection
            self._state.stats.upgrades_rejected += 1
            response = self._protocol.reject(status, "The emulator refuses this connection.\n")
            if retry_after is not None:
                response.headers["Retry-After"] = f"{retry_after:g}"
        else:
            response = self._protocol.accept(request)
            self._watch_idle()
        self._protocol.send_response(response)

    def _on_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.PING or opcode is Opcode.PONG:
            self._state.stats.protocol_pings += opcode is Opcode.PING
            if self._state.options.pings_are_activity:
                self._last_heard = anyio.current_time()
        elif opcode is Opcode.CLOSE:
            close = self._protocol.close_rcvd
            self._close_code = close.code if close is not None else None
            self._clean_close = not self._close_sent
            # Nobody reads any more: what waits here belongs to the next socket.
            self.detach()
            self._outbox = deque(e for e in self._outbox if not isinstance(e, Envelope))
        else:
            if opcode is not Opcode.CONT:
                self._parts.clear()
            self._parts.append(bytes(frame.data))
            if frame.fin:
                body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts.clear()
                self._last_heard = anyio.current_time()
                self._state.stats.frames_in += 1
                if not self._close_sent or self.ended:
                    self._engine.receive(self, body)

    @property
    def deaf(self) -> bool:
        """Whether what is read must not be executed."""
        return self._dying and self._lose_requests

    def _watch_idle(self) -> None:
        limit = self._state.options.idle_seconds
        if limit is None or self.ended or self._close_sent:
            return
        left = self._last_heard + limit - anyio.current_time()
        if left > 0 or self._state.faults.hole is not None:
            self._state.timers.after(max(left, 0.01), self._watch_idle)
            return
        self._state.stats.idle_closes += 1
        code = self._state.options.idle_close_code
        self._strike(CutOrder(code, "idle"))

    # -- writing -------------------------------------------------------------------------

    def push(self, envelope: Envelope) -> None:
        """Send an envelope. A dying socket may swallow it."""
        if self.ended or self._close_sent:
            return
        if self._dying and self._lose_results:
            self._state.stats.lost_results += weight(envelope.units)
            return
        self._put(envelope)

    def write(self, frame: bytes) -> None:
        """Send ready wire bytes."""
        if not self.ended and not self._close_sent:
            self._put(frame)

    def send_body(self, body: bytes) -> None:
        """Send a ready message body in a text frame."""
        self._state.stats.frames_out += 1
        self.write(data_frame(body))

    def _put(self, entry: Envelope | bytes | None) -> None:
        self._outbox.append(entry)
        self._wake.set()

    def trickle(self, data: bytes) -> None:
        """Send wire bytes even in a blackhole."""
        if not self.ended and not self._close_sent and self._protocol.state is State.OPEN:
            self._trickle += data
            self._torn = self._torn or data != PING
            self._wake.set()

    @property
    def _muted(self) -> bool:
        return self._state.faults.hole is not None or (self._dying and self._lose_results)

    async def _write_loop(self, scope: anyio.CancelScope) -> None:
        while True:
            while not self._trickle and (not self._outbox or self._muted):
                self._wake = anyio.Event()
                await self._wake.wait()
            window = self._state.merge_window
            if window > 0 and not self._trickle:
                await anyio.sleep(window)
                if not self._outbox or self._muted:
                    continue
            chunk, last = self._take()
            self._sending = True
            if chunk:
                try:
                    await self._stream.send(chunk)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    scope.cancel()
                    return
            self._sending = False
            self._note_sent(len(chunk))
            if self._then is not None:
                order, self._then = self._then, None
                self._state.stats.cuts += 1
                self._order = order
                # Half of a frame went out already where the order wants that.
                self._strike(order, half_written=True)
            elif last:
                scope.cancel()
                return

    def _note_sent(self, size: int) -> None:
        self._state.stats.bytes_out += size
        now = anyio.current_time()
        for unit in self._inflight:
            if unit.stream is not None:
                unit.stream.wrote(unit.number)
        if self._inflight:
            self._recent.append((now, self._inflight))
            self._inflight = []
        horizon = now - self._state.dying()[2]
        while self._recent and self._recent[0][0] < horizon:
            self._recent.popleft()

    def _take(self) -> tuple[bytes, bool]:
        """The next bytes for TCP, and whether they are the last."""
        if self._trickle:
            chunk, self._trickle = self._trickle, b""
            return chunk, False
        if self._state.shuffle:
            shuffle(self._outbox, self._state.rng)
        limit = self._state.merge_limit
        chunks: list[bytes] = []
        size = 0
        while self._outbox and size < _CHUNK and self._then is None:
            entry = self._outbox.popleft()
            if entry is None:
                return b"".join(chunks), True
            frame = entry if isinstance(entry, bytes) else self._frame(entry, limit)
            chunks.append(frame)
            size += len(frame)
        return b"".join(chunks), False

    def _frame(self, envelope: Envelope, limit: int) -> bytes:
        units = envelope.units
        if limit > 1:
            merged = list(units)
            while len(merged) < limit and not envelope.then_cut and self._outbox:
                following = self._outbox[0]
                if not isinstance(following, Envelope) or following.replay != envelope.replay:
                    break
                if not following.units or not merged:
                    break  # an empty answer has a frame of its own
                self._outbox.popleft()
                merged.extend(following.units)
                envelope = following
            units = merged
        frame = data_frame(pack(units, self._state.options))
        largest = self._state.options.max_sent_bytes
        if largest is not None and len(frame) > largest:
            self._inflight.extend(unit for unit in units if unit.kind is not Kind.CONTROL)
            self._then = CutOrder(1009, "too big")
            return b""
        self.written.count(units, replay=envelope.replay)
        if envelope.then_cut:
            self._then = CutOrder()
        order = self.written.cut_due()
        half = order is not None and order.mid_frame
        self._inflight.extend(
            unit
            for unit in units
            if unit.kind is not Kind.CONTROL and not (half and unit.stream is not None)
        )
        if order is not None:
            self._then = order
        return frame[: len(frame) // 2] if half else frame

    def restart_count(self) -> None:
        """Count results, frames and deltas from zero again."""
        self.written.restart()

    # -- the end -------------------------------------------------------------------------

    def cut(self, order: CutOrder, *, half_written: bool = False) -> bool:
        """Cut by order of a fault. ``False`` if the socket is ending already."""
        if self.ended or self._order is not None or self._close_sent:
            return False
        self._order = order
        self._state.stats.cuts += 1
        lose_results, lose_requests, window = self._state.dying()
        if self.session is not None and window > 0 and (lose_results or lose_requests):
            self._dying = True
            self._lose_results = lose_results
            self._lose_requests = lose_requests
            self._state.timers.after(window, lambda: self._strike(order))
        else:
            self._strike(order, half_written=half_written)
        return True

    def close(self, code: int | None, reason: str = "") -> None:
        """End after what is in the outbox has been written. ``None``: no close frame."""
        if self.ended or self._close_sent:
            return
        self._close_sent = True
        if code is not None:
            self._put(close_frame(code, reason))
            self._end_after(_CLOSE_WAIT)
        else:
            self._put(None)

    def _end_after(self, seconds: float) -> None:
        if self._scope is not None:
            self._state.timers.after(seconds, self._scope.cancel)

    def _strike(self, order: CutOrder, *, half_written: bool = False) -> None:
        if self.ended or self._close_sent:
            return
        if order.mid_frame and not half_written and self._then is None and not self._sending:
            self._last_words = self._half_frame() if self._web is None else HALF_AN_EVENT
        self.detach()
        self._outbox.clear()
        self._reset = order.reset
        if order.code is not None and self._web is None:
            self._dying = False
            self.close(order.code, order.reason)
        else:
            self._close_sent = True
            if self._scope is not None:
                self._scope.cancel()

    def _half_frame(self) -> bytes:
        for entry in self._outbox:
            if isinstance(entry, Envelope):
                frame = data_frame(pack(entry.units, self._state.options))
                return frame[: max(1, len(frame) // 2)]
        return _HALF_A_FRAME

    def detach(self) -> None:
        """Give the session back what was not delivered, and leave it. Twice is harmless."""
        session = self.session
        if session is None or session.socket is not self:
            return
        session.socket = None
        rewritten: list[Unit] = []
        if not self._clean_close:
            horizon = anyio.current_time() - self._state.dying()[2]
            for moment, units in self._recent:
                if moment >= horizon:
                    rewritten.extend(units)
        rewritten.extend(self._inflight)
        unwritten = [
            unit
            for entry in self._outbox
            if isinstance(entry, Envelope)
            for unit in entry.units
            if unit.kind is not Kind.CONTROL and unit.stream is None
        ]
        lost = 0
        if self._dying and self._lose_results:
            lost = weight(unwritten)
            unwritten = []
        if self._state.dying()[0]:
            lost += weight(self._inflight)
            rewritten = []
        self._recent.clear()
        self._inflight = []
        self._state.stats.lost_results += lost
        self._engine.detached(session, rewritten + unwritten)

    def supersede(self) -> None:
        """Another socket took the session: close this one, unless the client does at once."""

        def judge() -> None:
            if not self.ended and not self._close_sent:
                self._state.stats.session_takeovers += 1
                self._strike(CutOrder(1000, "session resumed elsewhere"))

        self._state.timers.after(self._state.options.takeover_grace, judge)

    async def healed(self, *, robbed: bool) -> None:
        """Wait for the end of a blackhole, which may have taken bytes that were read."""
        self._robbed = self._robbed or robbed
        while self._state.faults.hole is not None:
            await self._healed.wait()

    def end_blackhole(self, *, broken: bool) -> None:
        """A blackhole is over."""
        if self.ended:
            return
        self._healed.set()
        self._healed = anyio.Event()
        if self._torn or (broken and self._robbed):
            self._strike(CutOrder(reset=True))
            return
        self._read_on()
        self._wake.set()

    def end_stall(self) -> None:
        """Read on, unless there is a blackhole."""
        if not self.ended and self._state.faults.hole is None:
            self._read_on()

    def _read_on(self) -> None:
        data = bytes(self._stash)
        self._stash.clear()
        if data:
            self._feed(data)
            if self._protocol_done():
                self._put(None)
