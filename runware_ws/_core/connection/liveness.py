"""Is the peer still there?

A ping goes out when nothing has come in for ``ping_after``; any inbound frame
is a sign of life. A silent peer is not declared dead at once: the loop may have
been blocked, or the host suspended, while the answer lies in the kernel's buffer.
So the reader first gets ``LOOK`` more seconds, and if the timer itself was late,
another ping is sent.
"""

from __future__ import annotations

from enum import Enum

from runware_ws._core.context import Context
from runware_ws._core.states import FOREVER

__all__ = ["Liveness", "Pulse"]

LOOK = 0.5
LATE = 0.25
PROBE = 3.0
MOST_LOOKS = 3


class Pulse(Enum):
    """The state of the peer."""

    FINE = "fine"
    SUSPECT = "suspect"
    DEAD = "dead"


class Liveness:
    """The pings of one socket, and the state of its peer. Times are on the driver's clock."""

    def __init__(self, out: Context) -> None:
        self._out = out
        self._options = out.options
        self.running = False
        self.last_in = 0.0
        self.last_out = 0.0
        self.ping_due = False
        self._pinged_at: float | None = None
        self._look_until: float | None = None
        self._looks = 0

    def start(self, now: float) -> None:
        """A socket is ready."""
        self.running = True
        self.last_in = self.last_out = now
        self._clear()
        self._out.rearm = True

    def stop(self) -> None:
        """The socket is gone."""
        self.running = False
        self.ping_due = False
        self._clear()

    def _clear(self) -> None:
        self._pinged_at = None
        self._look_until = None
        self._looks = 0

    def heard(self, now: float) -> None:
        """Something came in."""
        self.last_in = now
        if self._pinged_at is not None:
            self._clear()
            # If the ping was not written yet, it is no longer needed.
            self.ping_due = False
            self._out.rearm = True

    @property
    def probing(self) -> bool:
        """Whether a ping was sent and no whole message has come since."""
        return self._pinged_at is not None

    def moving(self, now: float) -> None:
        """Bytes moved since the ping, but no whole message came: ping again and start over."""
        if self._pinged_at is not None:
            self._clear()
            self._pinged_at = now
            self._send_ping()
            self._out.rearm = True

    def silent(self, now: float) -> float:
        """For how many seconds nothing has come in."""
        return now - self.last_in

    def _send_ping(self) -> None:
        if not self.ping_due:
            self.ping_due = True
            self._out.wake = True

    def check(self, now: float) -> Pulse:
        """The state of the peer at ``now``; may ask for a ping."""
        if not self.running:
            return Pulse.FINE
        if self._pinged_at is None:
            if now >= self.last_in + self._options.ping_after:
                self._pinged_at = now
                self._send_ping()
            elif now >= self.last_out + self._options.keepalive:
                # The server closes idle connections; whose messages it counts is not certain.
                self.last_out = now
                self._send_ping()
            return Pulse.FINE
        due = self._judge_at()
        if now < due:
            return Pulse.FINE
        late = now - due > LATE
        if self._look_until is None or (late and self._looks < MOST_LOOKS):
            first = self._look_until is None
            self._looks += 1
            self._look_until = now + (PROBE if late else LOOK)
            if late:
                self._send_ping()
            return Pulse.SUSPECT if first else Pulse.FINE
        return Pulse.DEAD

    def _judge_at(self) -> float:
        if self._look_until is not None:
            return self._look_until
        assert self._pinged_at is not None
        return self._pinged_at + self._options.ping_timeout

    def next_deadline(self) -> float:
        """When :meth:`check` is due next; infinite without a socket."""
        if not self.running:
            return FOREVER
        if self._pinged_at is None:
            return min(
                self.last_in + self._options.ping_after,
                self.last_out + self._options.keepalive,
            )
        return self._judge_at()
