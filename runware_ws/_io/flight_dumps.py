"""Writes a recording by itself when a task ends as unknown, in a thread, so that nobody waits."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
from anyio import to_thread

from runware_ws._io.wakeups import Waiting, Wakeup
from runware_ws.telemetry.flight import FlightRecorder

__all__ = ["FlightDumps"]

_LOG = logging.getLogger("runware_ws")


class FlightDumps:
    """Waits for tasks that end as unknown. Closing the client waits for the last recording."""

    def __init__(self, flight: FlightRecorder, waiting: Waiting) -> None:
        self._flight = flight
        self._now: Callable[[], float] = waiting.now
        self._wakeup = Wakeup(waiting)
        self._due = False
        flight.on_unknown = self._unknown

    def _unknown(self) -> None:
        if self._flight.wanted(self._now()):
            self._due = True
            self._wakeup.set()

    async def run(self) -> None:
        """Write when it is time, until cancelled."""
        try:
            while True:
                while self._due:
                    await self._write()
                await self._wakeup.wait()
        finally:
            with anyio.CancelScope(shield=True):
                if self._due:
                    await self._write()

    async def _write(self) -> None:
        self._due = False
        assert self._flight.folder is not None
        try:
            path = await to_thread.run_sync(self._flight.dump_into, self._flight.folder)
        except Exception as exc:
            # Whatever is wrong with it, the client goes on.
            _LOG.error("the recording cannot be written: %s", type(exc).__name__)
        else:
            _LOG.warning("a task ended as unknown; what led to it is in %s", path)
