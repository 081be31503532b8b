"""Whole messages as the socket's read brings them, without a queue per frame.

``websockets`` hands each frame through an assembler and a future of its own.
Here all messages of one read of the socket are put down at once, and the
reader is woken once for all of them. It gets so many at a time that other
tasks have their turn, and the socket is not read while too many wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import anyio.lowlevel
from websockets.frames import Frame, Opcode

from runware_ws.waiting import Waiter, Waiting

__all__ = ["Inbox"]

TURN = 128
"""Messages that are handed out before other tasks have their turn."""

FULL = 4 * TURN
"""With more than so many waiting, the socket is not read."""

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class Inbox:
    """Messages that came in and were not read yet. One reader."""

    __slots__ = ("_discard", "_messages", "_parts", "_waiter", "_waiting", "ended", "on_room")

    def __init__(self) -> None:
        self._waiting = Waiting.current()
        self._messages: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self._waiter: Waiter | None = None
        self._discard = False
        self.ended = False
        # Called once when the inbox is not full any more.
        self.on_room: Callable[[], object] | None = None

    @property
    def full(self) -> bool:
        """Whether the socket had better not be read."""
        return len(self._messages) > FULL

    def put(self, frame: Frame) -> bool:
        """Take a frame of a message; False where it is a control frame."""
        if frame.opcode not in _DATA:
            return False
        if self._discard:
            return True
        data = frame.data
        if not frame.fin or self._parts:
            # The library checks the order of fragments and the size of the whole.
            self._parts.append(bytes(data))
            if not frame.fin:
                return True
            data = b"".join(self._parts)
            self._parts.clear()
        self._messages.append(data if isinstance(data, bytes) else bytes(data))
        self._wake()
        return True

    def end(self) -> None:
        """The socket is gone: what came before is still to be read."""
        self.ended = True
        self._wake()

    def discard(self) -> None:
        """Nobody reads any more: what comes is dropped, so that the closing handshake is seen."""
        self._discard = True
        self._messages.clear()
        self._tell_room()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._waiting.wake(waiter)

    def _tell_room(self) -> None:
        on_room, self.on_room = self.on_room, None
        if on_room is not None:
            on_room()

    async def get(self) -> bytes | None:
        """The next message; ``None`` once the socket is gone and all was read. Cancel-safe."""
        if self._messages:
            # The rest of what came in: others first.
            await anyio.lowlevel.checkpoint()
        while not self._messages:
            if self.ended:
                return None
            self._waiter = self._waiting.waiter()
            await self._waiter
        return self._messages.popleft()

    async def room(self) -> None:
        """Wait while the inbox is full. One waiter."""
        while self.full:
            waiter = self._waiting.waiter()
            self.on_room = partial(self._waiting.wake, waiter)
            await waiter

    def take(self) -> list[bytes]:
        """Some more messages that are here already; may be none."""
        messages = self._messages
        taken = [messages.popleft() for _ in range(min(TURN, len(messages)))]
        if self.on_room is not None and len(messages) <= TURN:
            self._tell_room()
        return taken
