"""A scripted server without sockets, which also runs in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from runware_ws import Client
from runware_ws._io.transport.base import Transport
from runware_ws.emulator import Emulator, Faults, Stats
from runware_ws.emulator.quiet import QUIET
from runware_ws.testing.pipes import MemoryTransport, stream_pair
from runware_ws.testing.scripted import Scripted

if TYPE_CHECKING:
    from anyio.abc import ByteStream

    from runware_ws.config import Config

__all__ = ["MemoryServer", "virtual_time"]

URL = "ws://localhost/v1"


class MemoryServer(Scripted):
    """The emulator on streams in memory: ``async with MemoryServer() as server``.

    It speaks the same protocol, bytes and frames included, and obeys the same fault orders, in the
    event loop of the test. All waiting is the loop's, so under trio's ``MockClock`` an outage of
    ten minutes takes milliseconds. Leaving the block without an error calls :meth:`verify`. The
    arguments are those of :class:`Scripted`.
    """

    _emulator: SocketlessEmulator

    def _make(self, **options: Any) -> Emulator:
        return SocketlessEmulator(**options)

    def client(self, **options: Any) -> Client:
        """A client of this server, for ``async with``, with the default options.

        ``options`` are those of :class:`~runware_ws.Client`.
        """
        key = options.pop("api_key", self.api_key)
        return Client(URL, api_key=key, dial=self.dial, **options)

    @asynccontextmanager
    async def dial(self, url: str, config: Config) -> AsyncGenerator[Transport]:
        """Connect: pass it as ``Client(dial=server.dial)`` where the code makes its own client.

        Raises:
            TransportLost: the server refuses the upgrade.
        """
        async with self._emulator.dial(url, config) as transport:
            yield transport

    @property
    def faults(self) -> Faults:
        """All fault orders of the emulator."""
        return self._emulator.faults

    @property
    def stats(self) -> Stats:
        """What the server counted so far."""
        return self._emulator.stats

    async def __aenter__(self) -> Self:
        await self._emulator.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        swallowed = await self._emulator.__aexit__(exc_type, exc, traceback)
        if exc_type is None:
            self.verify()
        return swallowed


class SocketlessEmulator(Emulator):
    """An emulator that is handed its connections."""

    @property
    def url(self) -> str:
        return URL

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    def accept(self, stream: ByteStream) -> None:
        """Serve a new connection."""
        if self._group is None:
            raise RuntimeError("the server does not run: use async with MemoryServer()")
        self._group.start_soon(self._attend, stream)

    @asynccontextmanager
    async def dial(self, url: str, config: Config) -> AsyncGenerator[Transport]:
        """See :meth:`MemoryServer.dial`."""
        protocol = ClientProtocol(parse_uri(url), max_size=config.max_frame_bytes, logger=QUIET)
        ours, theirs = stream_pair()
        transport = MemoryTransport(ours, protocol)
        try:
            self.accept(theirs)
            await transport.handshake()
            yield transport
        finally:
            transport.drop()


def virtual_time() -> tuple[str, dict[str, Any]]:
    """A back-end for the ``anyio_backend`` fixture: trio, with a clock that jumps.

    Whenever every task waits, the clock goes to the next deadline at once. Nothing in the test
    may wait for the outer world then: no sockets, no threads. Make one for each test.

    Raises:
        ImportError: trio is not installed.
    """
    from trio.testing import MockClock

    return "trio", {"clock": MockClock(autojump_threshold=0)}
