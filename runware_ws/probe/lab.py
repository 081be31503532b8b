"""Raw sockets for questions to a server: what was sent, what came, and when.

The client's core is not used, because it would hide what the probe wants to see:
which frame carried what, in which order, how a socket ended. Nothing here
decides or recovers; a lost socket is a fact that is written down.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from uuid import uuid4

import anyio
import orjson

from runware_ws._core import wire
from runware_ws._io.keys import KeySource
from runware_ws._io.transport import Dial, Transport, TransportLost, dial
from runware_ws.classify import Loss, LossKind
from runware_ws.config import Config
from runware_ws.models import HAIKU_MODEL, WireError, parse_errors

__all__ = ["Bench", "Greeting", "Muddle", "Pace", "Seen", "Socket", "long_task", "short_task"]

SHORT_TOKENS = 24
LONG_TOKENS = 300


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait, in seconds. The defaults suit the live service.

    ``answer``: for what should come at once. ``task``: for a task's result. ``away``: so long
    stays a socket away for a short task to end meanwhile. ``quiet``: nothing for so long means
    that nothing more comes. ``buffer``, ``idle``: what the server promises (documented: 120);
    ``margin``: so much longer is waited before it is judged. ``step``: between two looks at
    something that may change.
    """

    answer: float = 10.0
    task: float = 60.0
    away: float = 10.0
    quiet: float = 2.0
    buffer: float = 120.0
    idle: float = 120.0
    margin: float = 15.0
    step: float = 0.1


class Muddle(Exception):
    """An experiment went in a way that answers nothing. The message says what happened."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame that came in. ``at``: seconds since the experiment began."""

    at: float
    frame: dict[str, Any]

    @property
    def items(self) -> list[dict[str, Any]]:
        """The objects of ``data`` as they are meant: a null is nothing, and UUIDs have no case."""
        found = [{k: v for k, v in item.items() if v is not None} for item in self.written]
        for item in found:
            if isinstance(item.get("taskUUID"), str):
                item["taskUUID"] = item["taskUUID"].lower()
        return found

    @property
    def written(self) -> list[dict[str, Any]]:
        """The objects of ``data`` as they came."""
        data: object = self.frame.get("data")
        if not isinstance(data, list):
            return []
        found = cast("list[object]", data)
        return [cast("dict[str, Any]", each) for each in found if isinstance(each, dict)]

    @property
    def errors(self) -> list[WireError]:
        """The errors, in any spelling."""
        return parse_errors(self.frame)

    @property
    def is_empty(self) -> bool:
        """Whether it is an answer that has nothing in it, and names nobody."""
        return "data" in self.frame and not self.items and not self.errors

    def of(self, uuid: str) -> list[dict[str, Any]]:
        """The items of one task."""
        return [item for item in self.items if item.get("taskUUID") == uuid]

    def error_of(self, uuid: str) -> WireError | None:
        """The error of one task. One that names no task counts too: little else runs."""
        return next((e for e in self.errors if e.task_uuid in (uuid, None)), None)


@dataclass(frozen=True, slots=True)
class Greeting:
    """The reply to an authentication.

    ``session``: the UUID in it, ``None`` where it has none. ``error``: the refusal. ``place``: the
    index of the reply among the frames of its socket; -1 where none came.
    """

    session: str | None = None
    error: WireError | None = None
    place: int = -1

    @property
    def accepted(self) -> bool:
        """Whether the socket is authenticated."""
        return self.place >= 0 and self.error is None

    def against(self, asked: str) -> str:
        """What became of the wish to resume ``asked``."""
        if self.error is not None:
            return "error"
        if self.session is None:
            return "nameless" if self.accepted else "silence"
        return "same" if self.session == asked else "new"


class _Pinging(Protocol):
    """The seam of the transports has no word for it, since the client needs none."""

    async def ping(self) -> None: ...


def has_output(item: dict[str, Any]) -> bool:
    """Whether an item is a result, and not an acknowledgement, a status or a delta."""
    return "text" in item


class Socket:
    """One open socket. Its methods note a loss in ``loss`` and never raise it."""

    def __init__(self, bench: Bench, number: int, transport: Transport) -> None:
        self._bench = bench
        self._transport = transport
        self.number = number
        self.frames: list[Seen] = []
        self.loss: Loss | None = None
        self.lost_at = math.nan
        self.said_at = math.nan  # the last message of ours
        self.before_greeting: list[str] = []  # codes of errors before the greeting
        self._greeted = 0

    async def send(self, *tasks: dict[str, Any]) -> bool:
        """Send tasks in one message; ``False`` where the socket had ended."""
        self._bench.note(self.number, "sent", tasks=list(tasks))
        return await self._send(orjson.dumps(tasks))

    async def _send(self, data: bytes) -> bool:
        self.said_at = self._bench.now()
        try:
            await self._transport.send(data)
        except TransportLost as exc:
            self._lost(exc.loss)
            return False
        return True

    async def listen(self, limit: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Read until ``until()``, for ``limit`` seconds at most, or to the socket's end."""
        with anyio.move_on_after(limit):
            while not until() and self.loss is None:
                try:
                    data = await self._transport.receive()
                except TransportLost as exc:
                    self._lost(exc.loss)
                else:
                    self.frames.append(self._bench.saw(self.number, data))
        return until()

    async def authenticate(
        self, session: str | None = None, *, api_key: str | None = None
    ) -> Greeting:
        """Send the authentication, and wait for its reply."""
        key = api_key or (await self._bench.keys.fetch()).get_secret_value()
        note: dict[str, Any] = {"taskType": "authentication", "apiKey": "[not shown]"}
        if session is not None:
            note["connectionSessionUUID"] = session
        self._bench.note(self.number, "sent", tasks=[note])
        start = len(self.frames)
        await self._send(wire.authentication(key, session))
        await self.listen(self._bench.pace.answer, lambda: self._greeting(start).place >= 0)
        error = self._greeting(start).error
        if error is not None and error.task_type != "authentication":
            # It may be about something else, with the reply behind it.
            await self.listen(self._bench.pace.quiet, lambda: self._greeting(start).accepted)
        greeting = self._greeting(start)
        early = self.frames[start : max(start, greeting.place)] if greeting.accepted else []
        self.before_greeting = [error.code for seen in early for error in seen.errors]
        self._greeted = max(start, greeting.place + 1)
        return greeting

    def _greeting(self, start: int) -> Greeting:
        for place, seen in enumerate(self.frames[start:], start):
            for item in seen.items:
                uuid = item.get("connectionSessionUUID")
                if item.get("taskType") == "authentication":
                    return Greeting(session=uuid if isinstance(uuid, str) else None, place=place)
        for place, seen in enumerate(self.frames[start:], start):
            for error in seen.errors:
                if error.task_type == "authentication" or error.task_uuid is None:
                    return Greeting(error=error, place=place)
        return Greeting()

    async def ping(self) -> float | None:
        """The application's ping; seconds until its answer, ``None`` without one."""
        start, began = len(self.frames), anyio.current_time()
        self._bench.note(self.number, "sent", tasks=[{"taskType": "ping", "ping": True}])
        await self._send(wire.join([wire.PING]))
        answered = await self.listen(
            self._bench.pace.answer,
            lambda: any(
                item.get("taskType") == "ping"
                for seen in self.frames[start:]
                for item in seen.items
            ),
        )
        return anyio.current_time() - began if answered else None

    async def protocol_ping(self) -> None:
        """A ping frame of the WebSocket protocol. Its answer is not waited for."""
        self._bench.note(self.number, "sent a protocol ping")
        try:
            await cast(_Pinging, self._transport).ping()
        except Exception as exc:
            if self.loss is None:
                self._lost(Loss(LossKind.CLOSED, detail=type(exc).__name__))

    async def close(self) -> None:
        """Close with code 1000. To leave without a word, leave the socket's context."""
        self._bench.note(self.number, "closed with 1000")
        with anyio.move_on_after(self._bench.pace.answer):
            await self._transport.aclose()

    def _lost(self, loss: Loss) -> None:
        if self.loss is None:
            self.loss = loss
            self.lost_at = self._bench.now()
            self._bench.note(self.number, "ended", how=str(loss), code=loss.code)

    def results(self, uuid: str, start: int = 0) -> list[dict[str, Any]]:
        """All results of a task that came in, from the frame ``start`` on."""
        found = [item for seen in self.frames[start:] for item in seen.of(uuid)]
        return [item for item in found if has_output(item)]

    def error_of(self, uuid: str, start: int = 0) -> WireError | None:
        """The first error of a task that came in; behind the greeting also one of no task."""
        for place, seen in enumerate(self.frames[start:], start):
            error = seen.error_of(uuid)
            if error is not None and (error.task_uuid is not None or place >= self._greeted):
                return error
        return None

    def settled(self, *uuids: str, start: int = 0) -> bool:
        """Whether each of these tasks has a result or an error."""
        return all(self.results(u, start) or self.error_of(u, start) for u in uuids)


@dataclass(slots=True)
class Bench:
    """Where one experiment works: its sockets, its clock, its log.

    ``costs`` holds what the server said each result cost, by task and text.
    """

    url: str
    keys: KeySource
    config: Config
    pace: Pace
    dial: Dial = dial
    log: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    costs: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    _sockets: int = 0
    _began: float = field(default_factory=anyio.current_time)

    def now(self) -> float:
        """Seconds since the experiment began."""
        return anyio.current_time() - self._began

    def note(self, socket: int, event: str, **facts: Any) -> None:
        """Write down what happened."""
        self.log.append({"at": round(self.now(), 3), "socket": socket, "event": event, **facts})

    def saw(self, socket: int, data: bytes | str) -> Seen:
        """Write down a frame. A key that the server echoes is taken out first."""
        clean = self.keys.redact(data.encode() if isinstance(data, str) else data)
        try:
            frame = wire.decode(clean)
        except wire.MalformedFrameError as exc:
            self.note(socket, "received", malformed=str(exc))
            return Seen(self.now(), {})
        self.note(socket, "received", frame=frame)
        seen = Seen(self.now(), frame)
        for item in seen.items:
            cost = item.get("cost")
            if isinstance(cost, int | float):
                self.costs[str(item.get("taskUUID")), str(item.get("text"))] = float(cost)
        return seen

    @asynccontextmanager
    async def socket(self) -> AsyncGenerator[Socket]:
        """Open a socket. It is dropped, without a closing handshake, when the context is left.

        Raises:
            TransportLost: it cannot be opened.
        """
        self._sockets += 1
        number = self._sockets
        self.note(number, "dial")
        opened = False
        limit = anyio.current_time() + self.config.open_timeout
        with anyio.CancelScope(deadline=limit) as scope:
            async with self.dial(self.url, self.config) as transport:
                opened = True
                scope.deadline = math.inf
                self.note(number, "opened")
                yield Socket(self, number, transport)
                self.note(number, "left")
        if not opened:
            raise TransportLost(Loss(LossKind.OPEN_TIMEOUT))

    @asynccontextmanager
    async def signed_in(self) -> AsyncGenerator[tuple[Socket, str]]:
        """A socket with a session of its own, and the session's UUID.

        Raises:
            TransportLost: it cannot be opened.
            Muddle: the server did not accept the key this time.
        """
        async with self.socket() as socket:
            greeting = await socket.authenticate()
            if greeting.session is None:
                raise Muddle("a fresh authentication was not accepted")
            yield socket, greeting.session

    async def result(self, socket: Socket, uuid: str, *, start: int = 0, copies: int = 1) -> None:
        """Wait for a task's result. An error for each of so many ``copies`` of it ends that.

        One before the frame ``start`` does not count.

        Raises:
            Muddle: none came.
        """

        def refused() -> str | None:
            found = [seen.error_of(uuid) for seen in socket.frames[start:]]
            codes = [error.code for error in found if error is not None]
            return codes[0] if len(codes) >= copies else None

        await socket.listen(self.pace.task, lambda: bool(socket.results(uuid) or refused()))
        if not socket.results(uuid):
            raise Muddle(f"the task has no result: {refused() or socket.loss or 'none in time'}")

    async def leave_behind(self, *tasks: dict[str, Any], close: bool = False) -> str:
        """Send tasks, make sure that they arrived, and go; returns the session's UUID.

        A socket keeps the order: once the ping behind the tasks is answered, they are there.

        Raises:
            TransportLost: the socket cannot be opened.
            Muddle: they ended too soon, or nothing proves that they arrived.
        """
        async with self.signed_in() as (socket, session):
            await socket.send(*tasks)
            if await socket.ping() is None:
                raise Muddle("nothing proves that the task arrived: the ping behind it got no pong")
            for task in tasks:
                error = socket.error_of(task["taskUUID"])
                if error is not None:
                    raise Muddle(f"the server refuses the task: {error.code}")
                if socket.results(task["taskUUID"]):
                    raise Muddle("the result came before the socket could be left")
            if close:
                await socket.close()
            return session

    async def listen_to(
        self, sockets: Iterable[Socket], limit: float, until: Callable[[], bool]
    ) -> None:
        """Read from several sockets at once, until ``until()`` or for ``limit`` seconds."""
        async with anyio.create_task_group() as group:

            async def read(socket: Socket) -> None:
                if await socket.listen(limit, until):
                    group.cancel_scope.cancel()

            for socket in sockets:
                group.start_soon(read, socket)


def _task(prompt: str, tokens: int, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "taskType": "textInference",
        "taskUUID": str(uuid4()),
        "model": HAIKU_MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "settings": {"maxTokens": tokens},
        "includeCost": True,
        **fields,
    }


def short_task(**fields: Any) -> dict[str, Any]:
    """The cheapest task. Two executions are told apart by their text."""
    # A word of ours in the prompt, so that no cache can answer for the model.
    prompt = f"{secrets.token_hex(2)}: reply with a random 12-digit number, nothing else."
    return _task(prompt, SHORT_TOKENS, fields)


def long_task(**fields: Any) -> dict[str, Any]:
    """A task that runs for a few seconds."""
    prompt = f"{secrets.token_hex(2)}: count from 1 to 200, in digits, with spaces."
    return _task(prompt, LONG_TOKENS, fields)
