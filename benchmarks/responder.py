"""The server side: a process of its own that answers as fast as it can, and counts its own CPU.

It speaks as much of the protocol as the contenders need. Orders come over the same port, under the
path ``/control``, as JSON objects with a key ``order``; each is answered with its figures.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,  # pyright: ignore[reportUnknownVariableType]
)

__all__ = ["RESULT_TYPE", "TEXT", "result_text"]

RESULT_TYPE = "textInference"
TEXT = "The sky is blue because air scatters blue light more than red. "

PIECE = 128
"""Frames that are written before the loop may see to other things."""

MAX_FRAME = 64 * 1024 * 1024


def result_text(size: int) -> str:
    """The text of a result whose frame has about ``size`` bytes."""
    length = max(8, size - 190)
    return (TEXT * (length // len(TEXT) + 1))[:length]


@dataclass(slots=True)
class Orders:
    """How the tasks that come next are treated; see ``workloads.Phase``."""

    hold: int = 0
    merge: int = 1
    result_bytes: int = 300
    duration: float = 0.0
    forget: bool = False


@dataclass(slots=True)
class Session:
    """What outlives a socket."""

    uuid: str
    connection: Connection | None = None
    held: list[bytes] = field(default_factory=list[bytes])


class Responder:
    """The state of the server."""

    def __init__(self) -> None:
        self.orders = Orders()
        self.sessions: dict[str, Session] = {}
        self.known: dict[str, float] = {}
        self.stop = asyncio.Event()
        self.arrived = 0
        self.times: dict[str, float] = {}
        self.cpu = _cpu()
        self.head = b""
        self.tail = b""
        self.arm({})

    def arm(self, orders: dict[str, Any]) -> None:
        """Take new orders and count from zero."""
        self.orders = Orders(**orders)
        text = result_text(self.orders.result_bytes)
        self.head = b'{"taskType":"%b","taskUUID":"' % RESULT_TYPE.encode()
        self.tail = b'","status":"success","finishReason":"stop","cost":0.0001,"text":"%b"}' % (
            text.encode()
        )
        self.arrived = 0
        self.known.clear()
        self.times.clear()
        for session in self.sessions.values():
            session.held.clear()
        gc.collect()
        self.cpu = _cpu()

    def status(self) -> dict[str, Any]:
        """The figures since the last orders."""
        return {"arrived": self.arrived, "cpu": _cpu() - self.cpu, **self.times}

    def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Obey."""
        match order.pop("order"):
            case "arm":
                self.arm(order)
            case "release":
                self.orders.hold = 0
                for session in self.sessions.values():
                    self._release(session)
            case "cut":
                self.orders.hold = 0
                self.orders.forget = bool(order["forget"])
                self.times["cut_at"] = time.monotonic()
                for session in self.sessions.values():
                    if session.connection is not None:
                        session.connection.cut()
            case "stop":
                self.stop.set()
            case _:
                pass
        return self.status()

    def _release(self, session: Session) -> None:
        if session.connection is not None:
            held, session.held = session.held, []
            session.connection.results(held)

    # Tasks

    def accept(self, session: Session, task: dict[str, Any]) -> bytes | None:
        """A task came; the item to answer it with at once, where there is one."""
        name: str = task["taskUUID"]
        if name in self.known:
            return _error("conflictTaskUUID", name, RESULT_TYPE)
        self.arrived += 1
        now = time.monotonic()
        self.known[name] = now
        if task.get("deliveryMethod") == "async":
            return b'{"taskType":"%b","taskUUID":"%b"}' % (RESULT_TYPE.encode(), name.encode())
        if self.orders.hold:
            session.held.append(name.encode())
            if self.arrived == self.orders.hold:
                self.times["arrived_at"] = now
            return None
        return self.item(name.encode())

    def item(self, name: bytes) -> bytes:
        """The result of a task."""
        return self.head + name + self.tail

    def poll(self, task: dict[str, Any]) -> bytes:
        """The answer to ``getResponse``."""
        name: str = task["taskUUID"]
        since = self.known.get(name)
        if since is None:
            return _error("taskNotFound", name, "getResponse")
        if time.monotonic() - since < self.orders.duration:
            return b'{"taskType":"%b","taskUUID":"%b","status":"processing"}' % (
                RESULT_TYPE.encode(),
                name.encode(),
            )
        return self.item(name.encode())

    def archive(self, task: dict[str, Any]) -> bytes:
        """The answer to ``getTaskDetails``."""
        name: str = task["taskUUID"]
        if name not in self.known:
            return _error("taskNotFound", name, "getTaskDetails")
        return (
            b'{"taskType":"getTaskDetails","taskUUID":"%b","request":[],"response":{"data":[%b]}}'
            % (name.encode(), self.item(name.encode()))
        )


class Connection(WSListener):
    """One socket of a client."""

    def __init__(self, responder: Responder) -> None:
        super().__init__()
        self._responder = responder
        self._session: Session | None = None
        self._transport: WSTransport | None = None
        self._parts: list[bytes] = []
        # What waits for room in the socket: the names of the results of one frame each.
        self._queue: deque[list[bytes]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._responder.times["accepted_at"] = time.monotonic()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        if self._session is not None and self._session.connection is self:
            self._session.connection = None
        if self._pump is not None:
            self._pump.cancel()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def cut(self) -> None:
        """End the socket without a word."""
        assert self._transport is not None
        self._transport.underlying_transport.abort()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        if kind != WSMsgType.TEXT:
            return
        answers: list[bytes] = []
        for task in orjson.loads(frame.get_payload_as_memoryview()):
            answer = self._task(task)
            if answer is not None:
                answers.append(answer)
        if answers:
            self._send_items(answers)

    def _task(self, task: dict[str, Any]) -> bytes | None:
        responder = self._responder
        match task["taskType"]:
            case "authentication":
                self._authenticate(task)
                return None
            case "ping":
                return b'{"taskType":"ping","pong":true}'
            case "getResponse":
                return responder.poll(task)
            case "getTaskDetails":
                return responder.archive(task)
            case _:
                assert self._session is not None
                return responder.accept(self._session, task)

    def _authenticate(self, task: dict[str, Any]) -> None:
        responder = self._responder
        offered = task.get("connectionSessionUUID")
        if responder.orders.forget:
            responder.sessions.clear()
        session = responder.sessions.get(offered) if isinstance(offered, str) else None
        if session is None:
            session = Session(str(uuid.uuid4()))
            responder.sessions[session.uuid] = session
        session.connection = self
        self._session = session
        self._send(
            b'{"data":[{"taskType":"authentication","connectionSessionUUID":"%b"}]}'
            % session.uuid.encode()
        )
        responder.times["authenticated_at"] = time.monotonic()
        if session.held:
            held, session.held = session.held, []
            self.results(held)

    # Answers

    def _send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.send(WSMsgType.TEXT, data)

    def _send_items(self, items: list[bytes]) -> None:
        merge = self._responder.orders.merge
        for start in range(0, len(items), merge):
            self._send(_frame(items[start : start + merge]))

    def results(self, names: list[bytes]) -> None:
        """Answer all of these, no faster than the socket takes it."""
        merge = self._responder.orders.merge
        self._queue.extend(names[at : at + merge] for at in range(0, len(names), merge))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run_pump())

    async def _run_pump(self) -> None:
        queue = self._queue
        item = self._responder.item
        while queue:
            for _ in range(min(PIECE, len(queue))):
                self._send(_frame([item(name) for name in queue.popleft()]))
                if not self._room.is_set():
                    break
            await asyncio.sleep(0)
            await self._room.wait()


class Control(WSListener):
    """The socket on which orders come."""

    def __init__(self, responder: Responder) -> None:
        super().__init__()
        self._responder = responder

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            order = orjson.loads(frame.get_payload_as_bytes())
            transport.send(WSMsgType.TEXT, orjson.dumps(self._responder.order(order)))
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


def _frame(items: list[bytes]) -> bytes:
    # An item with a code is an error; the contenders read those under another key.
    key = b"errors" if items[0].startswith(b'{"code"') else b"data"
    return b'{"%b":[%b]}' % (key, b",".join(items))


def _error(code: str, name: str, kind: str) -> bytes:
    error = {"code": code, "message": code, "taskUUID": name, "taskType": kind}
    return orjson.dumps(error)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def serve() -> None:
    """Serve on loopback until the order to stop; the port is the first line printed."""
    responder = Responder()

    def listener(request: WSUpgradeRequest) -> WSListener:
        if request.path.startswith(b"/control"):
            return Control(responder)
        return Connection(responder)

    server = await ws_create_server(
        listener,
        "127.0.0.1",
        0,
        max_frame_size=MAX_FRAME,
        enable_auto_ping=False,
        enable_auto_pong=True,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # Nobody may leave it running: without its parent, its standard input ends.
    parent = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    stop = asyncio.create_task(responder.stop.wait())
    await asyncio.wait((parent, stop), return_when=asyncio.FIRST_COMPLETED)
    server.close()


def main() -> None:
    """Run the process."""
    gc.freeze()
    asyncio.run(serve())


if __name__ == "__main__":
    main()
