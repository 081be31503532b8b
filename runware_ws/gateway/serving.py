"""Serves a gateway over HTTP with uvicorn: sockets, bounds, signals, and an end in good order."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import uvicorn

from runware_ws.gateway.asgi import batches_of_app, gateway_of
from runware_ws.gateway.protocols import HEAD_BYTES, http_protocol

if TYPE_CHECKING:
    import socket

    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

    from runware_ws import Client

__all__ = ["ServeOptions", "serve_gateway"]

_LOG = logging.getLogger("runware_ws")

_ENDS = (signal.SIGTERM, signal.SIGINT)

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


async def serve_gateway(
    application: Starlette,
    client: Client,
    sock: socket.socket,
    options: ServeOptions,
    on_ready: Callable[[], None],
    on_hangup: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, or until the client has ended for good. On asyncio.

    ``on_ready`` is called once requests are taken, ``on_hangup`` at each SIGHUP; without it that is
    as SIGTERM, unless it is ignored. At the end it is said that the gateway is not
    ready, no connection is accepted any more, and what runs gets ``drain`` seconds. What is left
    then stands in the journal, if there is one.

    Raises:
        AuthenticationError, ConnectionFailed, ProtocolError, JournalError: the client has ended.
    """
    server = _server(application, options)
    gateway = gateway_of(application)
    batches = batches_of_app(application)
    failures: list[Exception] = []

    async def end_at_signals(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*_signals(on_hangup is not None)) as signals:
            task_status.started()
            async for signum in signals:
                if on_hangup is not None and signum not in _ENDS:
                    await on_hangup()
                else:
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


def _server(application: Starlette, options: ServeOptions) -> _Server:
    return _Server(
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


def _signals(hangup: bool) -> Sequence[signal.Signals]:
    """Those to listen to. ``hangup``: to SIGHUP also where ``nohup`` has it ignored."""
    number = getattr(signal, "SIGHUP", None)
    if number is None or (not hangup and signal.getsignal(number) is signal.SIG_IGN):
        return _ENDS
    return (*_ENDS, number)


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
