"""The emulator as a listener: an async context manager with a URL."""

from __future__ import annotations

import ipaddress
import secrets
import socket as sockets
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskGroup
from anyio.streams.stapled import MultiListener

from .connection import ServerConnection
from .control import Commands
from .control_http import NEEDS_H11, ControlServer, has_h11
from .engine import Engine
from .faults import Faults
from .keys import KeyRing
from .latency import Latency, parse_latency
from .options import EmulatorOptions
from .questions import tellable
from .replies import Reply
from .script_file import EmulatorScript, load_script
from .state import ServerState
from .stats import Stats

__all__ = ["Emulator"]

ReplyT = TypeVar("ReplyT", bound=Reply)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Emulator:
    """A local server that speaks Runware's WebSocket protocol, and HTTP on the same port.

    Use it with ``async with``: it listens inside the block, and leaves no task behind. It runs
    on asyncio and on trio. Call its methods, and those of :attr:`faults`, from the event
    loop that it runs on.

    Args:
        api_key: the accepted key, several of them, or ``None`` for any non-empty one.
        host: address to listen on. Anything but loopback needs ``allow_remote``.
        port: 0 picks a free one.
        options: how the server behaves where nobody can know.
        latency: duration of each generation; see :func:`parse_latency`.
        seed: all choices come from it. Session UUIDs do not.
        path: the path of the WebSocket and of HTTP; others get HTTP 404.
        allow_remote: permit other hosts. The key travels in clear.
        script: orders and answers for certain moments and tasks: a file, see
            :mod:`~runware_ws.emulator.script_file`, or what :func:`read_script` made. Its times
            count from entering.
        control_port: take commands over HTTP on this port of 127.0.0.1, see
            :mod:`~runware_ws.emulator.control_http`; 0 picks a free one, ``None``: do not. Needs
            ``h11``.
        control_token: what such requests must bring. ``None``: one is made.

    Raises:
        ValueError: a remote host without ``allow_remote``, an empty key, a bad latency, a bad
            script, an empty token, no ``h11`` for ``control_port``.
        OSError: on entering, when a port is taken.
    """

    def __init__(
        self,
        api_key: str | Iterable[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        options: EmulatorOptions | None = None,
        latency: str | float | Latency = 0.0,
        seed: int = 0,
        path: str = "/v1",
        allow_remote: bool = False,
        script: str | Path | EmulatorScript | None = None,
        control_port: int | None = None,
        control_token: str | None = None,
    ) -> None:
        if not allow_remote and not _is_loopback(host):
            raise ValueError(f"host {host!r} is not loopback; say allow_remote=True to permit it")
        self._host = host
        self._port = port
        self._path = path if path.startswith("/") else f"/{path}"
        self._state = ServerState(
            KeyRing(api_key), options or EmulatorOptions(), parse_latency(latency), seed, self._path
        )
        self._script = load_script(script) if isinstance(script, str | Path) else script
        self._control = Commands(self._state)
        if control_port is not None and not has_h11():
            raise ValueError(NEEDS_H11)
        if control_token == "":
            raise ValueError("control_token must not be empty")
        self._control_port = control_port
        self._control_token = control_token or secrets.token_urlsafe(18)
        self._engine = Engine(self._state)
        self._group: TaskGroup | None = None
        self._listeners: list[MultiListener[SocketStream]] = []

    def __repr__(self) -> str:
        state = self.url if self._group is not None else "not listening"
        return f"<Emulator {state}, {len(self._state.sockets)} sockets>"

    @property
    def port(self) -> int:
        """The port that it listens on; before entering, the one asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where a client connects."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"ws://{host}:{self._port}{self._path}"

    @property
    def http_url(self) -> str:
        """Where a client posts, which needs ``h11``."""
        return self.url.replace("ws://", "http://", 1)

    @property
    def control_url(self) -> str | None:
        """Where commands are posted; ``None``: nowhere. Of use once it listens."""
        port = self._control_port
        return None if port is None else f"http://127.0.0.1:{port}/"

    @property
    def control_token(self) -> str:
        """What requests to :attr:`control_url` must bring, as ``Authorization: Bearer``."""
        return self._control_token

    @property
    def script(self) -> EmulatorScript | None:
        """The script that it was made with."""
        return self._script

    @property
    def stats(self) -> Stats:
        """What happened so far."""
        return self._state.stats

    @property
    def faults(self) -> Faults:
        """Orders for things to go wrong."""
        return self._state.faults

    @property
    def options(self) -> EmulatorOptions:
        """How the server behaves. A new record takes effect at once."""
        return self._state.options

    @options.setter
    def options(self, options: EmulatorOptions) -> None:
        self._state.change(options)

    @property
    def latency(self) -> Latency:
        """How long generations take. May be replaced, also by text or seconds."""
        return self._state.latency

    @latency.setter
    def latency(self, latency: str | float | Latency) -> None:
        self._state.latency = parse_latency(latency)

    @property
    def live_sockets(self) -> int:
        """How many TCP connections are open."""
        return len(self._state.sockets)

    @property
    def live_sessions(self) -> int:
        """How many sessions can be resumed or are in use."""
        return len(self._state.sessions)

    @property
    def running(self) -> int:
        """How many tasks run."""
        return self._state.admission.running

    @property
    def waiting(self) -> int:
        """How many tasks wait in the queue, which there is only with a ``capacity``."""
        return self._state.admission.waiting

    def control(self, command: dict[str, Any]) -> Any:
        """Do a command, as HTTP and :class:`EmulatorProcess` do: see :mod:`~.control`.

        Raises:
            ValueError: it is unknown, or something in it makes no sense.
        """
        return self._control.do(command)

    def play(self, script: str | Path | EmulatorScript) -> None:
        """Play a script from now on, in place of an earlier one.

        Raises:
            ValueError: the file cannot be read, or something in it is wrong.
        """
        self._state.player.play(
            script if isinstance(script, EmulatorScript) else load_script(script)
        )

    def tellable(self, task_uuids: Iterable[str]) -> dict[str, bool]:
        """Whether some question about each of these tasks would get its whole answer, now."""
        return tellable(self._state, task_uuids)

    def reply(self, task_type: str) -> Callable[[ReplyT], ReplyT]:
        """Decorator: answer tasks of this type with a function, sync or async.

        It is called once for each generation, after the latency. It returns fields of the
        result item, or text; it raises :class:`ReplyError` for a server error. ``"*"``
        answers every type that has no reply of its own.

        A streamed task gets the answer cut into deltas. An iterator, sync or async, scripts them
        instead: text, fields of a delta (``text``, ``reasoningContent``, ``toolCalls``), or
        ``{"delta": …, "finishReason": …}``.
        """

        def register(reply: ReplyT) -> ReplyT:
            self._state.replies[task_type] = reply
            return reply

        return register

    async def __aenter__(self) -> Self:
        listener = await self._listen(self._host, self._port, backlog=4096)
        self._port = listener.extra(SocketAttribute.local_port)
        commands: MultiListener[SocketStream] | None = None
        if self._control_port is not None:
            try:
                commands = await self._listen("127.0.0.1", self._control_port, backlog=16)
            except BaseException:
                await self._stop_listening()
                raise
            self._control_port = commands.extra(SocketAttribute.local_port)
        group = await self._start()
        group.start_soon(listener.serve, self._serve, group)
        if commands is not None:
            control = ControlServer(self._control, self._control_token)
            group.start_soon(commands.serve, control.serve, group)
        return self

    async def _listen(self, host: str, port: int, backlog: int) -> MultiListener[SocketStream]:
        listener = await anyio.create_tcp_listener(
            local_host=host, local_port=port, backlog=backlog
        )
        self._listeners.append(listener)
        return listener

    async def _stop_listening(self) -> None:
        listeners, self._listeners = self._listeners, []
        with anyio.CancelScope(shield=True):
            for listener in listeners:
                await listener.aclose()

    async def _start(self) -> TaskGroup:
        """Begin the time of this server: its tasks, its appointments, its script."""
        self._group = self._state.group = group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(self._state.timers.run)
        if self._script is not None:
            self._state.player.play(self._script)
        return group

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        group, self._group = self._group, None
        self._state.timers.clear()
        if group is None:
            return None
        group.cancel_scope.cancel()
        try:
            if isinstance(exc, Exception):
                # The body's own error must not come out wrapped in a group.
                await group.__aexit__(None, None, None)
                return None
            return await group.__aexit__(exc_type, exc, traceback)
        finally:
            self._state.group = None
            self._state.timers.clear()
            await self._stop_listening()

    async def _serve(self, stream: SocketStream) -> None:
        raw = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        await self._attend(stream)

    async def _attend(self, stream: ByteStream) -> None:
        connection = ServerConnection(self._engine, stream)
        self._engine.opened(connection)
        try:
            await connection.run()
        finally:
            self._engine.closed(connection)
