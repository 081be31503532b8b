"""Simulated HTTP: posts that are refused, hang, are cut at any event, and are given up.

It shares the model server with the sockets, so the archive and used taskUUIDs
are the same. A request arrives whole or not at all; events of its answer are
in flight, in order. Nothing arrives after a cut, either way.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import anyio
from pydantic import SecretStr

from runware_ws._core.effects import Ending, PostEnding
from runware_ws.classify import Loss, LossKind
from tests.simulation.loop import VirtualLoop
from tests.simulation.server import Server
from tests.simulation.story import Story, short
from tests.simulation.weather import Weather
from tests.simulation.works import error_frame

__all__ = ["Exchange", "Http", "Posts"]

LOOK = 0.5
"""Whether a silent server speaks again is looked at so often, in seconds."""

CODES = {
    401: "invalidApiKey",
    429: "rateLimitExceeded",
    500: "internalServerError",
    501: "notImplemented",
    503: "serviceUnavailable",
}


class Posts(Protocol):
    """Who watches posts."""

    def begins(self, uuid: str) -> None: ...

    def leaves(self, uuid: str) -> None: ...

    def ends(self, uuid: str, ending: PostEnding) -> None: ...

    def over(self, uuid: str) -> None: ...


class _Unwatched:
    """Nobody watches."""

    def begins(self, uuid: str) -> None:
        pass

    def leaves(self, uuid: str) -> None:
        pass

    def ends(self, uuid: str, ending: PostEnding) -> None:
        pass

    def over(self, uuid: str) -> None:
        pass


class Exchange:
    """One post: the request on its way, and its answer."""

    def __init__(self, http: Http, task: dict[str, Any], key: str) -> None:
        self.http = http
        self.task = task
        self.uuid: str = task["taskUUID"]
        self._key = key
        self.flying = self.arrived = self.left = False
        self._down: deque[dict[str, Any] | PostEnding] = deque()
        self._down_at = 0.0
        self.inbox: deque[dict[str, Any]] = deque()
        self.ending: PostEnding | None = None
        self._wake = anyio.Event()

    async def wait(self) -> None:
        """Until something came, or it ended."""
        if not self.inbox and self.ending is None:
            await self._wake.wait()

    # The request

    def fly(self) -> None:
        """The request is on its way."""
        http = self.http
        self.flying = True
        http.loop.call_later(http.wire_latency() + http.weather.lag_up, self._arrive)

    def _arrive(self) -> None:
        """All of it is at the server's door, which may keep it waiting."""
        http = self.http
        if self.arrived or self.ending is not None or self.left:
            return
        if http.weather.silent and http.rng.random() < 0.5:
            http.story.count("http: hangs before it is read")
            http.loop.call_later(LOOK, self._arrive)
            return
        self._hand_over()

    def _hand_over(self, *, dead: bool = False) -> None:
        self.arrived = True
        self.http.server.reading.delivered(
            self, self._read, lambda: dead or self.left or self.ending is not None
        )

    def _read(self) -> None:
        http, weather = self.http, self.http.weather
        status = weather.status
        if not http.server.takes(self._key):
            status = 401
        if status == 401:
            weather.causes.append("HTTP 401")
        if status is not None:
            ran = status == 500 and http.rng.random() < 0.4
            if ran:
                http.story.count("http: refused, and run")
                http.server.take_in(self.task, "", _Nobody())
            error = {"code": CODES[status], "message": f"refused: {status}"}
            self._refuse(status, error, weather.retry_after if status in (429, 503) else None)
            http.refused.setdefault(self.uuid, set()).add(status)
            return
        conflict = http.server.take_in(self.task, "", self)
        if conflict is not None:
            self._refuse(400, conflict, None)

    def _refuse(self, status: int, error: dict[str, Any], retry_after: float | None) -> None:
        http = self.http
        http.story.tell("server", f"HTTP {status} for {short(self.uuid)}")
        http.story.count(f"http: {status}")
        body = json.dumps(error_frame([error], http.server.traits.error_key)).encode()
        loss = Loss(LossKind.HTTP_REFUSED, status=status, retry_after=retry_after)
        self._send(PostEnding(Ending.REFUSED, loss, body))

    # The answer

    def say(self, content: dict[str, Any]) -> None:
        """The server says an event."""
        self._send(content)

    def end(self, *, in_order: bool) -> None:
        """The server ends the answer, with the end mark or without it."""
        if in_order:
            self._send(PostEnding(Ending.DONE))
        else:
            self._send(_cut("the answer ended without its end mark"))

    def _send(self, message: dict[str, Any] | PostEnding) -> None:
        if self.left or self.ending is not None:
            return
        http = self.http
        self._down.append(message)
        at = http.loop.now + http.wire_latency() + http.weather.lag_down
        self._down_at = max(self._down_at, at)
        http.loop.call_at(self._down_at, self._come)

    def _come(self) -> None:
        if self.left or self.ending is not None or not self._down:
            return
        if self.http.weather.silent:
            self.http.story.count("http: hangs before it answers")
            self.http.loop.call_later(LOOK, self._come)
            return
        self._take(self._down.popleft())

    def _take(self, message: dict[str, Any] | PostEnding) -> None:
        if isinstance(message, PostEnding):
            self.ending = message
        else:
            self.inbox.append(message)
        self._wake.set()
        self._wake = anyio.Event()

    # Ends

    def cut(self) -> None:
        """The connection is cut: so many bytes of what is in flight get through."""
        if self.left or self.ending is not None or not self.flying:
            return
        http = self.http
        http.story.count("http: cut" if self.arrived else "http: cut before it arrived")
        if not self.arrived and http.rng.random() < 0.5:
            self._hand_over(dead=True)
        for _ in range(http.rng.randint(0, len(self._down))):
            message = self._down.popleft()
            self._take(message)
            if isinstance(message, PostEnding):
                return
        self._take(_cut("the connection broke"))

    def leave(self) -> None:
        """The client gave it up; a request on its way may still arrive. The server goes on."""
        if self.ending is None and self.flying:
            self.http.story.count("http: given up")
            if not self.arrived and self.http.rng.random() < 0.5:
                self._hand_over(dead=True)
        self.left = True


class _Nobody:
    """Where the answer goes of a task that was refused, and runs."""

    def say(self, content: dict[str, Any]) -> None:
        pass

    def end(self, *, in_order: bool) -> None:
        pass


def _cut(detail: str) -> PostEnding:
    return PostEnding(Ending.CUT, Loss(LossKind.CLOSED, detail=detail))


class Http:
    """Where the client posts. ``refused``: the statuses that tasks were refused with."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        weather: Weather,
        story: Story,
        server: Server,
        *,
        latency: Callable[[], float],
    ) -> None:
        self.loop = loop
        self.rng = rng
        self.weather = weather
        self.story = story
        self.server = server
        self.wire_latency = latency
        self.posts: Posts = _Unwatched()
        self.open: list[Exchange] = []
        self.refused: dict[str, set[int]] = {}
        self.traps = 0

    async def post(
        self,
        payload: bytes,
        key: SecretStr,
        sending: Callable[[], bool],
        take: Callable[[bytes], None],
    ) -> PostEnding:
        """As the seam has it."""
        (task,) = json.loads(payload)
        exchange = Exchange(self, task, key.get_secret_value())
        self.story.tell("http", f"post of {short(exchange.uuid)}")
        self.open.append(exchange)
        self.posts.begins(exchange.uuid)
        try:
            await anyio.sleep(2 * self.wire_latency())
            if self.weather.unreachable:
                self.story.count("http: not reached")
                loss = Loss(LossKind.DIAL_FAILED, detail="connection refused")
                return self._ended(exchange, PostEnding(Ending.UNREACHED, loss))
            if not sending():
                loss = Loss(LossKind.CLOSED, detail="given up")
                return self._ended(exchange, PostEnding(Ending.UNREACHED, loss))
            self.posts.leaves(exchange.uuid)
            exchange.fly()
            if self.traps:
                self.traps -= 1
                after = self.rng.choice((2 * self.wire_latency(), 1.0, 10.0)) * self.rng.random()
                self.loop.call_later(after, exchange.cut)
            while True:
                while exchange.inbox:
                    take(json.dumps(exchange.inbox.popleft()).encode())
                if exchange.ending is not None:
                    return self._ended(exchange, exchange.ending)
                await exchange.wait()
        finally:
            self.open.remove(exchange)
            exchange.leave()
            self.posts.over(exchange.uuid)

    def _ended(self, exchange: Exchange, ending: PostEnding) -> PostEnding:
        self.story.tell("http", f"post of {short(exchange.uuid)} {ending.how.value}: {ending.loss}")
        self.story.count(f"http: post {ending.how.value}")
        self.posts.ends(exchange.uuid, ending)
        return ending

    def cut(self, index: int) -> None:
        """Cut one of the open posts; where there is none, the next one, after a while."""
        if self.open:
            self.open[index % len(self.open)].cut()
        else:
            self.traps += 1

    def cut_all(self) -> None:
        """Cut all of them."""
        for exchange in list(self.open):
            exchange.cut()
