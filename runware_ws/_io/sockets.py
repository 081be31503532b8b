"""Runs sockets: dials, hands to the core what comes, writes its frames, reports each end.

It decides nothing. One socket is open at a time: the next dial begins only when the last socket is
gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

import anyio
from pydantic import SecretStr

from runware_ws._core import wire
from runware_ws._core.core import SessionCore
from runware_ws._core.effects import Authenticate, Close, Frame
from runware_ws._core.states import ConnectionState
from runware_ws._io.keys import KeySource
from runware_ws._io.timer import CoreTimer
from runware_ws._io.transport.base import Dial, NotSent, Transport, unforeseen
from runware_ws._io.wakeups import Waiting, Wakeup
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config
from runware_ws.events import LONGEST_TEXT

__all__ = ["SocketRunner"]

BACKLOG_GRACE = 0.5
"""How long a socket that can no longer be written may still be read, in seconds."""

MESSAGES_IN_A_ROW = 512
"""How many messages are handed to the core in one go, before other tasks get a turn.

More, where more came in the last turn: reading is never paused.
"""

FRAMES_IN_A_ROW = 16
"""How many frames are written in one go, before other tasks get a turn."""


class SocketRunner:
    """The sockets of one driver. ``apply`` performs what the core wants done after an input, and
    returns whether there was anything.

    ``timer`` is told of the open socket. ``verify``: returns once it is certain that the tasks are
    still ours to send. ``writer`` is to be set when there may be something to write.
    """

    def __init__(
        self,
        url: str,
        keys: KeySource,
        config: Config,
        dial: Dial,
        core: SessionCore,
        timer: CoreTimer,
        waiting: Waiting,
        apply: Callable[[], bool],
        *,
        verify: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._url = url
        self._keys = keys
        self._config = config
        self._dial = dial
        self._core = core
        self._timer = timer
        self._now = waiting.now
        self._apply = apply
        self._verify = verify
        self.writer = Wakeup(waiting)
        self._opening: deque[int] = deque()
        self._changed = anyio.Event()
        self._authenticate: Authenticate | None = None
        # The first spans a socket from its dial to its end, the second only its use, because a
        # closing handshake must not be cancelled along with the use.
        self._socket_scope: anyio.CancelScope | None = None
        self._use_scope: anyio.CancelScope | None = None
        self._farewell: anyio.CancelScope | None = None
        self._graceful = False
        self._given_up = 0

    def open(self, generation: int) -> None:
        """Open a socket once the last one is gone."""
        self._opening.append(generation)
        self._changed.set()

    def authenticate(self, wanted: Authenticate) -> None:
        """Send the first message."""
        self._authenticate = wanted
        self.writer.set()

    def end(self, close: Close) -> None:
        """End a socket."""
        self._graceful = close.graceful
        # It may not even be open yet, because the last one may still be closing.
        self._given_up = close.generation
        scope = self._use_scope or self._socket_scope
        if scope is not None:
            scope.cancel()

    def abort(self) -> None:
        """Skip the closing handshake, or stop waiting for it."""
        self._graceful = False
        if self._farewell is not None:
            self._farewell.cancel()

    def stop(self) -> None:
        """The core is closed: :meth:`run` ends, once the socket is gone."""
        self._changed.set()

    async def run(self) -> None:
        """Open what is to be opened, and use it, until the core is closed."""
        while self._core.state is not ConnectionState.CLOSED:
            if not self._opening:
                self._changed = anyio.Event()
                await self._changed.wait()
                continue
            await self._socket(self._opening.popleft())

    async def _socket(self, generation: int) -> None:
        """One socket from the dial to its end."""
        self._graceful = False
        self._authenticate = None
        loss: Loss | None = None
        with anyio.CancelScope() as scope:
            self._socket_scope = scope
            if generation <= self._given_up:
                return
            loss = await self._open_and_run(generation)
        self._socket_scope = self._timer.transport = None
        # If the core itself ended the socket, this report has an old generation and is ignored.
        if loss is not None:
            self._core.lost(generation, self._told(loss), self._now())
            self._apply()

    def _told(self, loss: Loss) -> Loss:
        """``loss`` without secrets. Cut only then: half a secret would not be recognised."""
        detail = self._keys.redact_text(loss.detail)
        if len(detail) > LONGEST_TEXT:
            detail = f"{detail[:LONGEST_TEXT]}..."
        return Loss(loss.kind, loss.code, loss.status, loss.retry_after, detail)

    async def _open_and_run(self, generation: int) -> Loss | None:
        """Open a socket and use it. Whatever a dial raises is the end of that socket only."""
        try:
            key = await self._keys.fetch()
        except Exception as exc:
            # Its text could contain the key, so only its type is shown.
            return Loss(LossKind.KEY_UNAVAILABLE, detail=f"api_key() raised {type(exc).__name__}")
        kind = LossKind.DIAL_FAILED
        loss: Loss | None = None
        bug: Exception | None = None
        try:
            async with self._dial(self._url, self._config) as transport:
                kind = LossKind.CLOSED
                try:
                    loss = await self._use(generation, transport, key)
                except Exception as exc:
                    bug = exc
        except (Exception, asyncio.CancelledError) as exc:
            loss = loss or unforeseen(exc, kind)
        if bug is not None:
            try:
                raise bug
            finally:
                del bug  # it holds this frame
        return loss

    async def _use(self, generation: int, transport: Transport, key: SecretStr) -> Loss | None:
        self._timer.transport = transport
        try:
            with anyio.CancelScope() as self._use_scope:
                self._core.connected(generation, self._now())
                self._apply()
                return await self._run_socket(
                    generation,
                    transport,
                    lambda session: wire.authentication(key.get_secret_value(), session),
                )
            return None
        finally:
            self._use_scope = None
            if self._graceful:
                with anyio.move_on_after(self._config.close_timeout, shield=True) as scope:
                    self._farewell = scope
                    with suppress(Exception):  # it is over anyway
                        await transport.aclose()

    async def _run_socket(
        self,
        generation: int,
        transport: Transport,
        authentication: Callable[[str | None], bytes],
    ) -> Loss | None:
        loss: Loss | None = None

        async def write() -> None:
            nonlocal loss
            ended = await self._write(generation, transport, authentication)
            # What the peer sent before it closed must still be read; then the reader finds
            # out how the socket ended. But a peer may send a close and never hang up.
            await anyio.sleep(BACKLOG_GRACE)
            loss = ended
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, name="runware_ws writer")
            loss = await self._read(generation, transport)
            tasks.cancel_scope.cancel()
        return loss

    async def _read(self, generation: int, transport: Transport) -> Loss:
        """Hand what comes to the core until the socket ends; return how it ended."""
        core, now, apply = self._core, self._now, self._apply
        receiving = True
        try:
            while True:
                receiving = True
                data = await transport.receive()
                ready = deque(transport.take_ready())
                receiving = False
                self._timer.reads += 1
                at = now()
                core.receive(generation, data, at)
                lot, last = MESSAGES_IN_A_ROW, False
                while ready:
                    for _ in range(min(lot, len(ready))):
                        core.receive(generation, ready.popleft(), at)
                    if ready:
                        apply()
                        # Shielded: what was read must not be lost with the socket.
                        await anyio.lowlevel.cancel_shielded_checkpoint()
                        self._timer.reads += 1
                        at = now()
                        waiting = len(ready)
                        if not last:
                            last = _is_cancelled()
                            ready.extend(transport.take_ready())
                        # As many as came meanwhile, or they would become ever more.
                        lot = max(MESSAGES_IN_A_ROW, len(ready) - waiting)
                apply()
                if last:
                    # Of a peer that sends on and on, to receive never waits, and so never ends.
                    receiving = True
                    await anyio.lowlevel.checkpoint()
        except (Exception, asyncio.CancelledError) as exc:
            if not receiving:
                raise
            return unforeseen(exc, LossKind.CLOSED)

    async def _write(
        self,
        generation: int,
        transport: Transport,
        authentication: Callable[[str | None], bytes],
    ) -> Loss:
        """Write the core's frames until the socket takes no more; return how it ended."""
        frame: Frame | None = None
        in_a_row = 0
        sending = False
        try:
            while True:
                sending = False
                if self._verify is not None:
                    # A process that was frozen, and replaced meanwhile, sends nothing more.
                    await self._verify()
                wanted, self._authenticate = self._authenticate, None
                if wanted is not None and wanted.generation == generation:
                    sending, frame = True, None
                    # No name for these bytes: tools print the variables of frames that wait.
                    await transport.send(authentication(wanted.session_uuid))
                    continue
                frame = self._core.next_frame(self._now())
                done = self._apply()
                if frame is None:
                    in_a_row = 0
                    if not done:
                        await self.writer.wait()
                    # Otherwise those effects may have led to a new frame: look again.
                    continue
                sending = True
                await transport.send(frame.data)
                in_a_row += 1
                if in_a_row % FRAMES_IN_A_ROW == 0:
                    # A send to a socket with room does not wait, so give other tasks a turn.
                    await anyio.lowlevel.checkpoint()
        except NotSent as exc:
            if frame is not None:
                self._core.not_written(generation, frame)
            return exc.loss
        except (Exception, asyncio.CancelledError) as exc:
            if not sending:
                raise
            return unforeseen(exc, LossKind.CLOSED)


def _is_cancelled() -> bool:
    """Whether the next wait would be cancelled."""
    return anyio.current_effective_deadline() == -inf
