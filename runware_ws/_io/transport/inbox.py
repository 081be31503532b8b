"""Whole messages, as a read of the socket brings them, without a queue per frame.

``websockets`` passes each frame through an assembler and a future of its own.
Here all messages of one read are stored at once, and the reader is woken once
for all of them.
"""

from __future__ import annotations

from collections import deque

from websockets.frames import Frame, Opcode

from runware_ws._io.wakeups import Waiting, Wakeup

__all__ = ["Inbox"]

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class Inbox:
    """Messages that came in and are not read yet. For one reader."""

    __slots__ = ("_messages", "_parts", "_wakeup", "arrived", "ended")

    def __init__(self) -> None:
        self._wakeup = Wakeup(Waiting.current())
        self._messages: deque[bytes] = deque()
        self._parts: bytearray | None = None
        self.ended = False
        # How many bytes of messages came.
        self.arrived = 0

    def put(self, frame: Frame) -> bool:
        """Take a frame of a message; False if it is a control frame."""
        if frame.opcode not in _DATA:
            return False
        data = frame.data
        self.arrived += len(data)
        if not frame.fin or self._parts is not None:
            # The library checks the order of fragments and their total size, but not their
            # number, so they are joined as they come.
            parts = self._parts = bytearray() if self._parts is None else self._parts
            parts += data
            if not frame.fin:
                return True
            data, self._parts = bytes(parts), None
        self._messages.append(data if isinstance(data, bytes) else bytes(data))
        self._wakeup.set()
        return True

    def end(self) -> None:
        """The socket is gone; what came before can still be read."""
        self.ended = True
        self._wakeup.set()

    async def get(self) -> bytes | None:
        """The next message; ``None`` once the socket is gone and all is read. Cancel-safe."""
        while not self._messages:
            if self.ended:
                return None
            await self._wakeup.wait()
        return self._messages.popleft()

    def take(self) -> deque[bytes]:
        """All messages that are already here; may be empty."""
        messages, self._messages = self._messages, deque()
        return messages
