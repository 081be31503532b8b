"""A gateway in a process of its own, and a proxy that cuts what goes to it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process, SocketAttribute, SocketStream

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-of-the-tests"
TOO_LONG = 60.0
_CHUNK = 65_536
_BROKEN = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class GatewayProcess:
    """``runware-ws serve``, started and ended as often as one likes. It keeps its port. ``said``: a
    file for what it says on standard error. ``uds``: it has that socket in the place of a port."""

    def __init__(
        self,
        *options: str,
        env: dict[str, str] | None = None,
        said: Path | None = None,
        uds: Path | None = None,
    ) -> None:
        self.options = options
        self._said = said
        self._uds = uds
        self.port = 0
        self._env = env or {}
        self.process: Process | None = None
        self._lines: list[bytes] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        with (self._said or Path(os.devnull)).open("ab") as said:
            place = ("--port", str(self.port)) if self._uds is None else ("--uds", str(self._uds))
            self.process = await anyio.open_process(
                [sys.executable, "-m", "runware_ws", "serve", *place, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "RUNWARE_API_KEY": KEY, "PYTHONPATH": path, **self._env},
            )
        assert self.process.stdout is not None
        line = b""
        with anyio.fail_after(TOO_LONG):
            while not line.endswith(b"\n"):
                line += await self.process.stdout.receive()
        if self._uds is not None:
            assert line == b"listening on unix:%s\n" % os.fsencode(self._uds)
            return
        assert line.startswith(b"listening on http://"), line
        self.port = int(line.rsplit(b":", 1)[1])

    async def end(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """End it, and wait for that; returns its exit code."""
        assert self.process is not None
        with_signal, self.process = self.process, None
        with_signal.send_signal(signum)
        with anyio.fail_after(TOO_LONG):
            code = await with_signal.wait()
        await with_signal.aclose()
        return code

    async def __aenter__(self) -> GatewayProcess:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            if self.process is not None:
                await self.end(signal.SIGKILL)


class Cuts:
    """How the proxy treats a connection: ``decide`` is given the number of the try that the client
    says, and returns after how many bytes of the answer it is cut; ``None``: not at all. Cut after
    0 bytes, it is cut ``delay`` seconds after the request was handed on."""

    def __init__(self, seed: int, share: float = 1.0, delay: float = 0.05) -> None:
        self._random = random.Random(seed)
        self._share = share
        self.delay = delay
        self.made = 0

    def decide(self, tries: int) -> int | None:
        """First tries are cut, and half of the second ones; third tries pass."""
        if tries > 1 or self._random.random() > self._share * (1.0, 0.5)[tries]:
            return None
        self.made += 1
        return self._random.choice((0, 0, 1, 100, 300, 1_000_000))


@asynccontextmanager
async def proxy(port_of: Callable[[], int], cuts: Cuts) -> AsyncGenerator[str]:
    """A proxy for HTTP in front of a port; yields its URL."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(SocketAttribute.local_port)

    async def handle(client: SocketStream) -> None:
        async with client:
            with suppress(*_BROKEN):
                await _pass_on(client, port_of(), cuts)

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{port}"
        group.cancel_scope.cancel()
    await listener.aclose()


async def _pass_on(client: SocketStream, port: int, cuts: Cuts) -> None:
    """One connection, which the clients of these tests use for one request."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += await client.receive(_CHUNK)
    low = head.lower()
    tries = int(low.partition(b"x-stainless-retry-count: ")[2].partition(b"\r\n")[0] or b"0")
    limit = cuts.decide(tries)
    async with await anyio.connect_tcp("127.0.0.1", port) as server:
        await server.send(head)
        async with anyio.create_task_group() as group:
            group.start_soon(_end_with, group.cancel_scope, lambda: _copy(client, server))
            if limit == 0:
                await anyio.sleep(cuts.delay)
                group.cancel_scope.cancel()
            with suppress(*_BROKEN):
                await _answer(client, server, limit)
            group.cancel_scope.cancel()


async def _answer(client: SocketStream, server: SocketStream, limit: int | None) -> None:
    """Hand the answer on, up to ``limit`` bytes; 1,000,000: all of it comes, and none arrives."""
    taken = 0
    while True:
        data = await server.receive(_CHUNK)
        if limit is None:
            await client.send(data)
            continue
        if limit == 1_000_000:
            if _is_whole(data):
                return
            continue
        await client.send(data[: limit - taken])
        taken += len(data)
        if taken >= limit:
            return


def _is_whole(data: bytes) -> bool:
    return data.endswith((b"}", b"0\r\n\r\n"))


async def _copy(source: SocketStream, target: SocketStream) -> None:
    async for data in source:
        await target.send(data)


async def _end_with(scope: anyio.CancelScope, work: Callable[[], Awaitable[None]]) -> None:
    with suppress(*_BROKEN):
        await work()
    scope.cancel()
