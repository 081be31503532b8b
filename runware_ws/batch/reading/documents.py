"""JSON that is not one value a line: an array, ``{"requests": […]}``, or values in a row.

The text is read bit by bit, so that an array may be larger than the memory.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Literal

from runware_ws.batch.reading.errors import InputError

__all__ = ["REQUESTS", "Documents", "Entries"]

Entries = Literal["line", "row", "array", "requests"]
"""What the numbers of an input count: lines or rows from 1, entries of an array from 0."""

REQUESTS = re.compile(r'\{\s*"requests"\s*:\s*\[')
_CHUNK = 1 << 16
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"[-+.eE]*\Z")
# Such an error this near to the end of what was read may come of its being cut there.
_NEAR = 16
# Only the ends of values are looked for, so numbers stay text.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


class Documents:
    """The entries of a file: an iterator of numbers and JSON texts of one line each.

    Raises:
        InputError: it is not JSON; where, and what to do.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogatepass")
        self._text = ""
        self._at = 0
        self._ended = False
        self._line = 1
        self._column = 1
        self.entries: Entries = "line"

    def __iter__(self) -> Iterator[tuple[int, str]]:
        first = self._peek()
        if first == "[":
            self.entries = "array"
            self._take()
            yield from self._array()
            self._end()
        elif first == "{" and (found := REQUESTS.match(self._text, self._at)) is not None:
            self.entries = "requests"
            self._move(found.end())
            yield from self._array()
            if self._peek() != "}":
                raise self._wrong("the object of requests has more than them, or does not end")
            self._take()
            self._end()
        else:
            while self._peek():
                line = self._line
                yield line, self._value()

    def _array(self) -> Iterator[tuple[int, str]]:
        if self._peek() == "]":
            self._take()
            return
        number = 0
        while True:
            if not self._peek():
                raise self._wrong("the array does not end: the file is cut off")
            yield number, self._value()
            number += 1
            mark = self._peek()
            if mark not in (",", "]"):
                raise self._wrong(
                    "Expecting ',' delimiter" if mark else "the array does not end: it is cut off"
                )
            self._take()
            if mark == "]":
                return

    def _end(self) -> None:
        if self._peek():
            raise self._wrong("more text behind the end")

    # Text

    def _value(self) -> str:
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
                # A number may go on behind what was read: 1|2, 1.|2, 1e+|2.
                if self._ended or _NUMBER.match(self._text, end) is None:
                    break
            except json.JSONDecodeError as exc:
                cut = exc.msg.startswith("Unterminated") or exc.pos >= len(self._text) - _NEAR
                if self._ended or not cut:
                    self._move(exc.pos)
                    raise self._wrong(exc.msg) from None
            except RecursionError:
                raise self._wrong("is nested too deeply") from None
            self._more()
        text = self._text[self._at : end]
        self._move(end)
        # A string of JSON has no line ends, so these stand between its parts.
        return text.replace("\r", " ").replace("\n", " ")

    def _peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._move(space.end())
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more()

    def _take(self) -> None:
        self._move(self._at + 1)

    def _move(self, end: int) -> None:
        lines = self._text.count("\n", self._at, end)
        if lines:
            self._line += lines
            self._column = end - self._text.rindex("\n", self._at, end)
        else:
            self._column += end - self._at
        self._at = end

    def _more(self) -> None:
        """Read as much again as there is, so that a long value is not tried too often."""
        left = self._text[self._at :]
        data = self._file.read(max(_CHUNK, len(left)))
        try:
            self._text = left + self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as exc:
            before = left + data[: exc.start].decode("utf-8", "replace")
            self._text, self._at = before, 0
            self._move(len(before))
            raise self._wrong("not UTF-8", "save the file as UTF-8") from None
        self._at = 0
        self._ended = not data

    def _wrong(self, reason: str, cure: str = "mend the file") -> InputError:
        return InputError(
            f"{self._name}:{self._line}: not JSON ({reason}, at column {self._column}); "
            f"nothing was run: {cure}"
        )
