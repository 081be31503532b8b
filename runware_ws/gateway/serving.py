"""Serves a gateway over HTTP with uvicorn: sockets, bounds, signals, and an end in good order."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import uvicorn

from runware_ws.errors import ConfigurationError
from runware_ws.gateway.asgi import batches_of_app, gateway_of
from runware_ws.gateway.protocols import HEAD_BYTES, http_protocol

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

    from runware_ws import Client

__all__ = ["ServeOptions", "listen", "serve_gateway"]

_LOG = logging.getLogger("runware_ws")

_LAST_WORDS = 2
"""Seconds for what is cancelled at the end, so that streams can say that they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """``drain``: seconds for what runs at a SIGTERM or Ctrl-C; the rest is the journal's.
    ``max_connections``: further ones are told to come again. ``send_timeout``: a peer that takes
    nothing for so many seconds is cut off."""

    drain: float = 30.0
    max_connections: int = 10_000
    send_timeout: float = 60.0


def listen(
    host: str, port: int, *, reuse_port: bool = False, patience: float = 60.0
) -> tuple[socket.socket, str]:
    """A socket that is bound, and its URL. ``port`` 0: any free one. ``reuse_port``: another
    process may listen on the same port, so that one can take over from the other.

    Raises:
        ConfigurationError: it cannot be had. The message says why.
    """
    place = f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        # With the protocol: asyncio sends small answers at once only on such sockets.
        sock = socket.socket(family, kind, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no name of a host"
        raise ConfigurationError(f"cannot listen on {place}: {why}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise ConfigurationError("--reuse-port: this system does not have it")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sys.platform == "linux":
            # Handed down to connections: the kernel ends one whose peer takes nothing more.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1_000))
        sock.bind(address)
    except OSError as exc:
        sock.close()
        cure = "--port, or 0 for a free one" if exc.errno != errno.EADDRNOTAVAIL else "--host"
        raise ConfigurationError(
            f"cannot listen on {place}: {exc.strerror}: choose another {cure}"
        ) from None
    except ConfigurationError:
        sock.close()
        raise
    shown = f"[{host}]" if ":" in host else host
    return sock, f"http://{shown}:{sock.getsockname()[1]}"


async def serve_gateway(
    application: Starlette,
    client: Client,
    sock: socket.socket,
    options: ServeOptions,
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C, or until the client has ended for good. On asyncio.

    ``on_ready`` is called once requests are taken. At the end it is said that the gateway is not
    ready, no connection is accepted any more, and what runs gets ``drain`` seconds. What is left
    then stands in the journal, if there is one.

    Raises:
        AuthenticationError, ConnectionFailed, ProtocolError, JournalError: the client has ended.
    """
    server = _Server(
        uvicorn.Config(
            _ending_quietly(application),
            http=http_protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=options.max_connections + 1,  # From so many on, uvicorn refuses.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(options.drain)),
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
    )
    gateway = gateway_of(application)
    batches = batches_of_app(application)
    failures: list[Exception] = []

    async def end_at_signals(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                server.should_exit = gateway.draining = True

    async def end_with_the_client() -> None:
        events = client.events()
        try:
            await client.ready()
            async for _ in events:
                pass
            await client.ready()
        except Exception as exc:
            if not gateway.draining:
                failures.append(exc)
                server.should_exit = gateway.draining = True

    async def tell_when_ready() -> None:
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await anyio.sleep(0.005)
        on_ready()

    async with anyio.create_task_group() as group:
        await group.start(end_at_signals)
        group.start_soon(end_with_the_client)
        group.start_soon(tell_when_ready)
        batches.start()
        await server.serve(sockets=[sock])
        batches.stop()
        group.cancel_scope.cancel()
    for failure in failures:
        raise failure


def _ending_quietly(application: Starlette) -> ASGIApp:
    """Uvicorn logs a traceback for each request that it cancels at the end."""
    gateway = gateway_of(application)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await application(scope, receive, send)
        except anyio.get_cancelled_exc_class():
            if not gateway.draining:
                raise

    return serve


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # Ours are others: the gateway says first that it is not ready.
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # What was cancelled has some last words to say.
        with anyio.move_on_after(_LAST_WORDS):
            while self.server_state.tasks:  # noqa: ASYNC110 (uvicorn has no event for it)
                await anyio.sleep(0.01)
