"""Requests and results that end sockets: they end their task, never the session.

A frame that the server refuses (1009) is over its limit. Whichever it was, the
biggest frame written on that socket is over the limit too, unless a frame of its
size went through. If it held several tasks, each is sent alone from then on. A task
that was alone is tried once more, then it fails. So no frame kills a third socket,
unless a question was open both times: its answer may have been too big instead.

A result that is too big, for us or for the server, ends the socket as well, and the
replay would bring it again. After the second time the session is abandoned, so
nothing is replayed, and the open tasks are asked about one at a time: the task whose
question ends the socket twice is the one.

A request that makes the server close with 1002, 1003, 1007 or 1008 does not tell
itself by its size. All that was written on that socket and not answered is suspect.
A suspect that has to be sent again is sent with nothing else in the air: if the
server closes once more, it was this one.
"""

from __future__ import annotations

from runware_ws._core.states import FOREVER

__all__ = ["Culprits"]

SMALLEST_LIMIT = 4096
"""A lower limit is not believed: a server that takes tasks takes this much."""

PROVEN = 4
"""The task in question did it: twice, or four times while results of others might come too."""

PROOF = 0.5
"""Who refuses a frame does it within this time, in seconds, and some round trips."""


class Culprits:
    """Finds the task that ends sockets. It knows tasks only by their taskUUIDs."""

    def __init__(self) -> None:
        # The smallest frame that was too big, and the biggest that went through.
        self.limit: int | None = None
        self._accepted = 0
        self.abandon_session = False
        self._inbound = 0
        self._named: str | None = None
        self._evidence = 0
        self._generation = 0
        # The biggest frame of this socket: its size, and whose tasks it carried.
        self._biggest: tuple[int, tuple[str, ...]] = (0, ())
        # The latest frame of tasks: when it was written and, during a search, whose tasks it had.
        self.latest_at = 0.0
        self.latest: tuple[str, ...] = ()
        self.suspects: set[str] = set()
        # Until when frames are held back, so that a suspect is alone in the air.
        self.held_until = FOREVER

    def is_bigger(self, size: int, generation: int) -> bool:
        """Whether a frame of this size is the biggest of its socket so far."""
        return generation != self._generation or size > self._biggest[0]

    def wrote(self, size: int, uuids: tuple[str, ...], generation: int) -> None:
        """A frame of these tasks is being written."""
        if self.is_bigger(size, generation):
            self._generation = generation
            self._biggest = (size, uuids)
        self.latest = uuids

    # Requests over the server's limit

    def biggest(self, generation: int) -> tuple[str, ...]:
        """The taskUUIDs in the biggest frame of this socket; none if it carried no task."""
        return self._biggest[1] if generation == self._generation else ()

    def went_through(self) -> None:
        """The biggest frame of this socket was answered, so its size is within the limit."""
        self._accepted = max(self._accepted, self._biggest[0])
        if self.limit is not None and self.limit <= self._accepted:
            self.limit = None

    def too_big(self, generation: int) -> tuple[str, ...]:
        """The server closed with 1009: the frame that was too big; none if it was no frame of ours.

        What went through before is not too big: then it was the answer.
        """
        return self.biggest(generation) if self._biggest[0] > self._accepted else ()

    def found_limit(self) -> None:
        """The biggest frame held one task alone, and it was too big for the second time."""
        size, self._biggest = self._biggest[0], (0, ())
        if size >= SMALLEST_LIMIT:
            self.limit = size if self.limit is None else min(self.limit, size)

    # Results over a limit

    def result(self, asked: str | None, *, alone: bool) -> str | None:
        """A result ended the socket. The culprit, if known by now.

        ``asked``: the only task that was asked about. ``alone``: no result of another task could
        come by itself.
        """
        self._inbound += 1
        if self.abandon_session and asked is not None:
            if asked != self._named:
                self._named, self._evidence = asked, 0
            # What nobody waits for may have done it too, so once is not enough.
            self._evidence += 2 if alone else 1
            if self._evidence >= PROVEN:
                self.forgive()
                return asked
        self.abandon_session |= self._inbound >= 2
        return None

    def forgive(self) -> None:
        """The search for a result is over: it was found, or the connection was good for a while."""
        self._inbound = 0
        self._named = None
        self.abandon_session = False

    def question_window(self, usual: int) -> int:
        """How many questions may be in flight: one during the search for a result."""
        return 1 if self.abandon_session else usual

    # Requests that the server breaks the connection over

    def in_the_air(self, now: float, proof: float) -> str | None:
        """The suspect that was written last, if nothing else can have ended the socket by now."""
        alone = len(self.latest) == 1 and self.latest[0] in self.suspects
        return self.latest[0] if alone and now < self.latest_at + 2 * proof else None
