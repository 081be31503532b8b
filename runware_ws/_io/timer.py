"""The one timer of a driver: it calls the core by its next deadline."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from runware_ws._core.core import SessionCore
from runware_ws._core.states import FOREVER, ConnectionState
from runware_ws._io.transport.base import Transport

__all__ = ["CoreTimer"]

LATE = 0.05
"""A timer that is so late, in seconds, shows that the loop was blocked."""

QUIET = 10
"""If nothing comes in so many turns of the loop after that, all is read that had arrived."""

CATCH_UP = 0.5
"""The most seconds for which deadlines are put off to read what had arrived."""


class CoreTimer:
    """Calls ``core.on_deadline`` when it is due; ``apply`` performs what the core wants then.

    ``transport`` is the open socket, ``None`` without one; ``reads`` counts what it brought.
    """

    def __init__(
        self, core: SessionCore, now: Callable[[], float], apply: Callable[[], object]
    ) -> None:
        self._core = core
        self._now = now
        self._apply = apply
        self.transport: Transport | None = None
        self.reads = 0
        self._activity = 0
        self._last_turn = 0.0
        # When the core's next deadline is, and the time for which the timer is set.
        self._deadline = self._armed = FOREVER
        self._changed = anyio.Event()

    def set(self, deadline: float) -> None:
        """The core's next deadline is this."""
        self._deadline = deadline
        if deadline < self._armed:
            self._changed.set()

    def stop(self) -> None:
        """The core is closed: :meth:`run` ends."""
        self._changed.set()

    async def run(self) -> None:
        """Keep time until the core is closed."""
        core = self._core
        while core.state is not ConnectionState.CLOSED:
            deadline, now = self._deadline, self._now()
            if deadline <= now:
                now = await self._let_reader_catch_up(max(deadline, self._last_turn), now)
                was_probing = core.probing
                if was_probing:
                    core.moving(self._bytes_moved())
                core.on_deadline(now)
                if core.probing and not was_probing:
                    # From here on they count.
                    self._bytes_moved()
                self._apply()
                self._last_turn = self._now()
                await anyio.lowlevel.checkpoint()
                continue
            self._armed = deadline
            self._changed = anyio.Event()
            with anyio.CancelScope(deadline=deadline):
                await self._changed.wait()
            self._armed = FOREVER

    def _bytes_moved(self) -> int:
        """How many bytes of large messages moved since the last call."""
        if self.transport is None:
            return 0
        before, self._activity = self._activity, self.transport.activity()
        return max(0, self._activity - before)

    async def _let_reader_catch_up(self, due: float, now: float) -> float:
        """Read what the kernel holds, if the timer is late; returns the time.

        A loop that was blocked runs its timers before it has read more than a little of what came
        meanwhile. What arrived in time must count, so deadlines are judged after that.
        """
        if now - due > LATE:
            end = now + CATCH_UP
            seen: object = None
            quiet = 0
            while quiet < QUIET and now < end:
                await anyio.lowlevel.checkpoint()
                before, seen = seen, (self.reads, self.transport and self.transport.activity())
                quiet = quiet + 1 if seen == before else 0
                now = self._now()
        self._last_turn = now
        return now
