"""Simulated sockets: latency, order, cuts at any byte, silence, stalls, close frames.

Messages are the real bytes. A direction is a queue of bytes in flight; a cut
lets a random number of those bytes through, so whole messages before that
point arrive and the one that holds it is dropped. Nothing arrives at the
server after a cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import anyio

from runware_ws._io.transport.base import NotSent, Transport, TransportLost
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config
from tests.simulation.loop import VirtualLoop
from tests.simulation.story import Story
from tests.simulation.weather import Weather

__all__ = ["Peer", "Push", "Socket", "Wire"]

RECENT = 2.0


@dataclass(frozen=True, slots=True)
class Push:
    """What the server wants back where it does not arrive: opaque to the wire.

    ``work``: the stream that it is a delta of.
    """

    content: Any
    work: Any = None


@dataclass(frozen=True, slots=True)
class _Message:
    data: bytes | str
    push: Push | None = None
    code: int | None = None
    last: bool = False


class Peer(Protocol):
    """The server, seen from the wire."""

    def opened(self, socket: Socket) -> None: ...

    def heard(self, socket: Socket, data: bytes) -> None: ...

    def ended(self, socket: Socket) -> None: ...


class Socket:
    """One connection: the client's transport and the server's end of it."""

    def __init__(self, wire: Wire, number: int, config: Config) -> None:
        self.wire = wire
        self.number = number
        self._limit = config.max_frame_bytes
        self._up: deque[_Message] = deque()
        self._down: deque[_Message] = deque()
        self._up_at = self._down_at = 0.0
        self._arrivals = 0
        self._crumbs = 0
        self.inbox: deque[bytes | str] = deque()
        self.recent: deque[tuple[float, Push]] = deque()
        self.loss: Loss | None = None
        self.client_left = False
        self.server_left = False
        self.cut_at: float | None = None
        self.frozen_up = self.frozen_down = False
        self.frozen_at: float | None = None
        self._wake = anyio.Event()

    def _changed(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()

    # The client's side

    async def send(self, data: bytes) -> None:
        """As the seam has it."""
        await anyio.lowlevel.checkpoint()
        if self.loss is not None:
            raise NotSent(self.loss)
        wire = self.wire
        wire.happened("send", self)
        if self.cut_at is None and not self.server_left:
            self._up.append(_Message(data))
            if not wire.weather.stalled:
                self._fly_up()
        while wire.weather.stalled:
            await wire.wait_unstalled(self)
            if self.loss is not None:
                raise TransportLost(self.loss)

    async def receive(self) -> bytes | str:
        """As the seam has it."""
        while not self.inbox:
            if self.loss is not None:
                raise TransportLost(self.loss)
            await self._wake.wait()
        data = self.inbox.popleft()
        if len(data) > self._limit:
            self.wire.story.count("fault: oversize in")
            self._end(Loss(LossKind.INBOUND_TOO_BIG, detail="frame over the limit"))
            self.inbox.clear()
            self._server_sees_end()
            raise TransportLost(Loss(LossKind.INBOUND_TOO_BIG, detail="frame over the limit"))
        return data

    def take_ready(self) -> Iterable[bytes | str]:
        """One message at a time: each is an event of its own."""
        return ()

    async def aclose(self) -> None:
        """Close with a handshake; a dead peer never answers."""
        if self.loss is None and self.cut_at is None and not self.server_left:
            self._up.append(_Message(b"", code=1000, last=True))
            if not self.wire.weather.stalled:
                self._fly_up()
        while self.loss is None:
            await self._wake.wait()

    def activity(self) -> int:
        """Grows with every message that comes in, and with bytes that are none yet."""
        return self._arrivals + self._crumbs

    def leave(self) -> None:
        """The client drops its end; bytes in flight may or may not arrive."""
        if self.client_left:
            return
        self.client_left = True
        self.wire.client_left(self)
        if self.loss is None:
            self._end(Loss(LossKind.CLOSED, detail="left"))
        if not self.server_left and self.cut_at is None:
            self.cut_at = self.wire.now
            blind = self.frozen_up
            self._spill_up()
            if not blind:
                self._server_sees_end()

    # The server's side

    @property
    def alive(self) -> bool:
        """Whether the server believes that the socket is open."""
        return not self.server_left

    def say(self, data: bytes | str, push: Push | None = None) -> None:
        """The server says something."""
        if self.server_left:
            return
        self._down.append(_Message(data, push))
        self._fly_down()

    def hang_up(self, code: int) -> None:
        """The server closes; what it said before still arrives."""
        if self.server_left:
            return
        self.server_left = True
        self._up.clear()
        self._down.append(_Message(b"", code=code, last=True))
        self._fly_down()

    def forget(self) -> None:
        """The server drops its end without a word that arrives."""
        self.server_left = True
        self._up.clear()

    def not_arrived(self) -> list[Push]:
        """What the server said on this socket and the client's end never got."""
        return [m.push for m in self._down if m.push is not None]

    def just_arrived(self) -> list[Push]:
        """What arrived a moment ago: the server cannot be sure of it."""
        since = (self.cut_at if self.cut_at is not None else self.wire.now) - RECENT
        return [push for at, push in self.recent if at >= since]

    # Faults

    def cut(self, client_sees: float = 0.0, server_sees: float = 0.0) -> None:
        """The wire is cut at any byte, both ways. Who sees it when: seconds from now."""
        if self.cut_at is not None or self.client_left or self.loss is not None:
            return
        wire = self.wire
        self.cut_at = wire.now
        wire.story.count("fault: cut")
        self._spill_up()
        self._spill_down()
        wire.loop.call_later(client_sees, self._end, Loss(LossKind.CLOSED, detail="cut"))
        if not self.server_left:
            wire.loop.call_later(server_sees, self._server_sees_end)

    def freeze(self, *, up: bool, down: bool) -> None:
        """Nothing arrives any more, and nobody is told."""
        self.wire.freezes.append(self.wire.now)
        self.frozen_up |= up
        self.frozen_down |= down
        if down and self.frozen_at is None:
            self.frozen_at = self.wire.now

    def dribble(self, size: int, every: float) -> None:
        """Nothing arrives but so many bytes now and then: control frames, or parts of a message."""
        if self.loss is None and self.cut_at is None:
            self._crumbs += size
            self.wire.loop.call_later(every, self.dribble, size, every)

    # In flight

    def _fly_up(self) -> None:
        wire = self.wire
        self._up_at = max(self._up_at, wire.now + wire.latency() + wire.weather.lag_up)
        wire.loop.call_at(self._up_at, self._arrive_up)

    def _fly_down(self) -> None:
        wire = self.wire
        self._down_at = max(self._down_at, wire.now + wire.latency() + wire.weather.lag_down)
        wire.loop.call_at(self._down_at, self._arrive_down)

    def unstalled(self) -> None:
        """What was held back gets away."""
        for _ in self._up:
            self._fly_up()
        self._changed()

    def _arrive_up(self) -> None:
        if self.cut_at is not None or self.frozen_up or not self._up or self.server_left:
            return
        if self.wire.weather.stalled:
            return
        self._hand_up(self._up.popleft())

    def _hand_up(self, message: _Message) -> None:
        if self.server_left:
            return
        if message.last:
            self.wire.peer.ended(self)
            self.server_left = True
            self._down.append(_Message(b"", code=message.code, last=True))
            self._fly_down()
        else:
            assert isinstance(message.data, bytes)
            self.wire.peer.heard(self, message.data)

    def _arrive_down(self) -> None:
        if self.cut_at is not None or self.frozen_down or not self._down:
            return
        self._hand_down(self._down.popleft())

    def _hand_down(self, message: _Message) -> None:
        if message.last:
            self._end(Loss(LossKind.CLOSED, code=message.code, detail=self.wire.reason()))
            return
        if message.push is not None:
            self.recent.append((self.wire.now, message.push))
        if self.loss is None:
            self.inbox.append(message.data)
            self._arrivals += 1
            self._changed()

    def _spill_up(self) -> None:
        for message in self._through(self._up, self.frozen_up):
            if not message.last:
                self._hand_up(message)
        self._up.clear()

    def _spill_down(self) -> None:
        through = self._through(self._down, self.frozen_down)
        for message in through:
            self._down.popleft()
            if message.last:
                return
            self._hand_down(message)

    def _through(self, queue: deque[_Message], frozen: bool) -> list[_Message]:
        if frozen or not queue:
            return []
        left = self.wire.rng.randint(0, sum(len(message.data) + 2 for message in queue))
        through: list[_Message] = []
        for message in queue:
            left -= len(message.data) + 2
            if left < 0:
                break
            through.append(message)
        return through

    def _end(self, loss: Loss) -> None:
        if self.loss is None:
            self.loss = loss
            if not self.client_left:
                self.wire.story.tell("wire", f"socket {self.number} ends at the client: {loss}")
            self._changed()

    def _server_sees_end(self) -> None:
        if not self.server_left:
            self.wire.peer.ended(self)
            self.server_left = True


class Wire:
    """Where the client dials. ``secret``: what a close reason may echo."""

    def __init__(
        self, loop: VirtualLoop, rng: Random, weather: Weather, story: Story, *, latency: float
    ) -> None:
        self.freezes: list[float] = []
        self.loop = loop
        self.rng = rng
        self.weather = weather
        self.story = story
        self.peer: Peer
        self._latency = latency
        self.echo: str | None = None
        self.sockets: list[Socket] = []
        self.dialing = 0
        self.problems: list[str] = []
        self.unstalled_at = 0.0

    @property
    def now(self) -> float:
        return self.loop.now

    def latency(self) -> float:
        """How long a message takes now."""
        return self._latency * (0.5 + self.rng.random())

    def reason(self) -> str:
        """What a close frame gives as its reason: it may echo the key."""
        return self.echo or ""

    def delay_this(self) -> None:
        """What is written now takes long, and so does all that comes behind it."""
        weather = self.weather
        weather.lag_up, weather.lag_resend = weather.lag_resend, 0.0
        self.loop.call_later(0.001, setattr, weather, "lag_up", 0.0)

    @property
    def current(self) -> Socket | None:
        """The newest socket, while the client holds it."""
        if self.sockets and not self.sockets[-1].client_left:
            return self.sockets[-1]
        return None

    async def wait_unstalled(self, socket: Socket) -> None:
        """Until the stall is over, or the socket ended."""
        await socket._wake.wait()  # pyright: ignore[reportPrivateUsage]

    def happened(self, what: str, socket: Socket) -> None:
        """Spring the trap that waits for this, if there is one."""
        traps = self.weather.traps
        if what in traps:
            traps.remove(what)
            self.story.tell("fault", f"cut at the next {what}: socket {socket.number}")
            self.story.count(f"fault: cut during {what}")
            delay = 2 * self._latency * self.rng.random()
            self.loop.call_later(delay, socket.cut, self.rng.random() * 0.2, self.rng.random())

    def client_left(self, socket: Socket) -> None:
        """The client dropped a socket."""
        self.story.tell("wire", f"the client left socket {socket.number}")

    @asynccontextmanager
    async def dial(self, url: str, config: Config) -> AsyncGenerator[Transport]:
        """The client's side."""
        if self.dialing or self.current is not None:
            self.problems.append("I6: a dial while another socket is open or being opened")
        self.dialing += 1
        try:
            await anyio.sleep(2 * self.latency())
            if self.weather.hanging:
                self.story.count("fault: dial hangs")
                await anyio.sleep_forever()
            if self.weather.refusal is not None:
                loss = self.weather.refusal
                if loss.status not in (429, 500, 503) and loss.kind is not LossKind.DIAL_FAILED:
                    self.weather.causes.append(str(loss))
                self.story.tell("wire", f"dial refused: {loss}")
                self.story.count(f"fault: dial refused, {loss.status or loss.kind.value}")
                raise TransportLost(loss)
        finally:
            self.dialing -= 1
        socket = Socket(self, len(self.sockets) + 1, config)
        self.sockets.append(socket)
        self.story.tell("wire", f"socket {socket.number} is open")
        self.peer.opened(socket)
        try:
            yield socket
        finally:
            socket.leave()
