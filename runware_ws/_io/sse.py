"""Server-sent events, read from bytes as they arrive (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["EventReader", "EventTooBig"]

_BOM = b"\xef\xbb\xbf"
_NAME = 8
"""Bytes that a data line may have besides its data: the name, a space, a line end."""


class EventTooBig(Exception):
    """An event has more data than is allowed."""


class EventReader:
    """Takes the bytes of a stream and returns the data of each event.

    ``largest``: the limit for the data of one event, in bytes; other lines may be as long. Names,
    ids and comments are skipped. Data stays bytes: a character that was cut in half does no harm,
    because an event without its end is never returned.
    """

    __slots__ = ("_after_cr", "_data", "_first", "_largest", "_line")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._line = bytearray()  # the line whose end has not come yet
        # The data of the event whose end has not come yet, an LF behind each line. No list: a line
        # of two letters would take twenty times its size.
        self._data = bytearray()
        self._first = True  # no line has been read yet
        self._after_cr = False  # the last byte was a CR, so that an LF belongs to it

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of the events that end in ``chunk``, their lines joined by LF.

        Events without data are left out. Iterate to the end before you feed more.

        Raises:
            EventTooBig: an event is over the limit, whether its end has come or not.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        lines = chunk.splitlines()
        if not lines:
            return
        rest = b""
        if chunk.endswith(b"\r"):
            self._after_cr = True
        elif not chunk.endswith(b"\n"):
            rest = lines.pop()
        if lines and self._line:
            lines[0] = bytes(self._line + lines[0])
            self._line.clear()
        if lines and self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if line.startswith(b"data:"):
                self._add(line[6:] if line.startswith(b" ", 5) else line[5:])
            elif line == b"data":
                self._add(b"")
            elif not line and self._data:
                data = bytes(self._data[:-1])
                self._data.clear()
                if data:
                    yield data
        self._line += rest
        if len(self._data) + len(self._line) > self._largest + _NAME:
            raise EventTooBig

    def _add(self, data: bytes) -> None:
        self._data += data
        self._data += b"\n"
        if len(self._data) > self._largest + 1:  # the last LF is not part of the data
            raise EventTooBig
