"""Is the peer still there?

While tasks are in flight a ping goes out after ``busy_ping_after`` of silence, otherwise
after ``ping_after``. The server's answer and any other message are signs of life. The
peer's own pings are not: a gateway sends them by itself, whatever became of the server
behind it. A large message proves life before it is whole, as long as it flows.

A silent peer is not declared dead at once: the loop may have
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

FLOW = 1024.0
"""Bytes per second of a message in the making; a slower one is no sign of life."""

ROUND_TRIPS = 3
"""A far server has so many measured round trips to answer."""


class Pulse(Enum):
    """The state of the peer."""

    FINE = "fine"
    SUSPECT = "suspect"
    DEAD = "dead"


class Liveness:
    """The pings of one socket, and the state of its peer. Times are on the driver's clock.

    ``pending`` always is: whether any task is in flight.
    """

    def __init__(self, out: Context) -> None:
        self._out = out
        options = self._options = out.options
        # The limits of a busy connection are never wider than those of an idle one.
        self._busy_after = min(options.busy_ping_after, options.ping_after)
        self.running = False
        self.last_in = 0.0
        self.last_out = 0.0
        self.ping_due = False
        self.round_trip = 0.0
        self._measured = False
        # When the oldest ping without an answer was written.
        self._unanswered: float | None = None
        # Whether tasks were written, and may be in flight still; and since when.
        self._busy = False
        self._busy_since = 0.0
        self._pinged_at: float | None = None
        self._look_until: float | None = None
        self._looks = 0
        # What has moved since then.
        self._moved = 0
        self._moved_since = 0.0

    def start(self, now: float, took: float) -> None:
        """A socket is ready. ``took``: how long the answer to the authentication took."""
        self.running = True
        self.last_in = self.last_out = now
        self.round_trip = took
        self._measured = False
        self._unanswered = None
        # Tasks may be left from the socket before.
        self._busy = True
        self._busy_since = now
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

    # What happens on the socket

    def heard(self, now: float) -> None:
        """A sign of life came in."""
        self.last_in = now
        if self._pinged_at is not None:
            self._clear()
            # If the ping was not written yet, it is no longer needed.
            self.ping_due = False
            self._out.rearm = True

    def wrote_tasks(self, now: float) -> None:
        """Tasks are being written. If the connection was idle, its next check comes near."""
        if not self._busy:
            self._busy = True
            self._busy_since = now
            self._out.rearm = True

    def pinged(self, now: float) -> None:
        """The ping that was due is being written."""
        self.ping_due = False
        if self._unanswered is None:
            self._unanswered = now

    def ponged(self, now: float) -> None:
        """The server answers a ping."""
        if self._unanswered is None:
            return
        took, self._unanswered = now - self._unanswered, None
        # Up at once, down slowly; the authentication was only a first guess.
        smooth = (3 * self.round_trip + took) / 4 if self._measured else took
        self.round_trip = max(took, smooth)
        self._measured = True

    @property
    def probing(self) -> bool:
        """Whether a ping was sent and no sign of life has come since."""
        return self._pinged_at is not None

    def moving(self, amount: int) -> None:
        """So many bytes of messages in the making came or went."""
        self._moved += amount

    def silent(self, now: float) -> float:
        """For how many seconds no sign of life has come in."""
        return now - self.last_in

    # Its judgment

    def _send_ping(self) -> None:
        if not self.ping_due:
            self.ping_due = True
            self._out.wake = True

    def _measure_flow(self, now: float) -> None:
        self._moved = 0
        self._moved_since = now

    def check(self, now: float, *, pending: bool) -> Pulse:
        """The state of the peer at ``now``; may ask for a ping."""
        if not self.running:
            return Pulse.FINE
        self._busy &= pending
        if self._pinged_at is None:
            if now >= self._ping_at():
                self._pinged_at = now
                self._measure_flow(now)
                self._send_ping()
            elif now >= self.last_out + self._options.keepalive:
                # The server closes idle connections; whose messages it counts is not certain.
                self.last_out = now
                self._send_ping()
            return Pulse.FINE
        due = self._judge_at()
        if now < due:
            return Pulse.FINE
        if self._moved and self._moved >= FLOW * (now - self._moved_since):
            # A large message is on its way, and the answer to the ping is behind it.
            self._clear()
            self._pinged_at = now
            self._measure_flow(now)
            return Pulse.FINE
        late = now - due > LATE
        if self._look_until is None or (late and self._looks < MOST_LOOKS):
            first = self._look_until is None
            self._looks += 1
            self._look_until = now + (max(PROBE, ROUND_TRIPS * self.round_trip) if late else LOOK)
            self._measure_flow(now)
            if late:
                self._send_ping()
            return Pulse.SUSPECT if first else Pulse.FINE
        return Pulse.DEAD

    def _ping_at(self) -> float:
        idle = self.last_in + self._options.ping_after
        if not self._busy:
            return idle
        return min(idle, max(self.last_in, self._busy_since) + self._busy_after)

    def _patience(self) -> float:
        """How long a ping may take while tasks wait."""
        return max(self._options.busy_ping_timeout, ROUND_TRIPS * self.round_trip)

    def _judge_at(self) -> float:
        if self._look_until is not None:
            return self._look_until
        assert self._pinged_at is not None
        idle = self._pinged_at + self._options.ping_timeout
        if not self._busy:
            return idle
        # Before tasks came the ping had its time: nothing is late.
        return min(idle, max(self._pinged_at, self._busy_since) + self._patience())

    def next_deadline(self, *, pending: bool) -> float:
        """When :meth:`check` is due next; infinite without a socket."""
        if not self.running:
            return FOREVER
        self._busy &= pending
        if self._pinged_at is None:
            return min(self._ping_at(), self.last_out + self._options.keepalive)
        return self._judge_at()
