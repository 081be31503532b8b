"""Frames that are too big, either way: they end their task, never the session.

Outbound: a server that closes with 1009 refused one of our frames. Whichever it
was, the biggest frame written on that socket is over the limit too. If that frame
held several tasks, each is sent alone from then on. A task that was alone is tried
once more, then it fails. So no frame kills a third socket.

Inbound: a result over ``max_frame_bytes`` makes us close with 1009, and the
replay would bring it again. After the second time the session is abandoned, so
nothing is replayed, and the open tasks are asked about one at a time: the question
whose answer kills the socket names the task.
"""

from __future__ import annotations

__all__ = ["Oversize"]


class Oversize:
    """Finds the task whose frame is too big. It knows tasks only by their taskUUIDs."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.abandon_session = False
        self._inbound = 0
        self._generation = 0
        # The biggest frame of this socket: its size, and whose tasks it carried.
        self._biggest: tuple[int, tuple[str, ...]] = (0, ())

    def is_bigger(self, size: int, generation: int) -> bool:
        """Whether a frame of this size is the biggest of its socket so far."""
        return generation != self._generation or size > self._biggest[0]

    def wrote(self, size: int, uuids: tuple[str, ...], generation: int) -> None:
        """Remember the biggest frame of its socket, and whose tasks it carries."""
        self._generation = generation
        self._biggest = (size, uuids)

    def outbound(self, generation: int) -> tuple[str, ...]:
        """The server closed with 1009: the taskUUIDs of the frame that was too big for it."""
        return self._biggest[1] if generation == self._generation else ()

    def found(self) -> None:
        """The biggest frame held one task alone, and it was too big for the second time."""
        size = self._biggest[0]
        self.limit = size if self.limit is None else min(self.limit, size)

    def inbound(self, asked: str | None) -> str | None:
        """We closed with 1009. ``asked``: the only task asked about. The task to fail, if known."""
        self._inbound += 1
        if self.abandon_session and asked is not None:
            self._inbound = 0
            self.abandon_session = False
            return asked
        self.abandon_session = self._inbound >= 2
        return None

    def forgive(self) -> None:
        """The connection was good for a while: the search for a culprit is over."""
        self._inbound = 0
        self.abandon_session = False

    def question_window(self, usual: int) -> int:
        """How many questions may be in flight: one during the search for a culprit."""
        return 1 if self.abandon_session else usual
