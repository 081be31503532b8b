"""The head of an HTTP answer that is no upgrade: its status, and its Retry-After.

It is read leniently. A refusal counts in whatever form an old server, a gateway or a proxy writes
it: in HTTP/1.0, without a reason, with headers that cannot be read, or cut behind its status line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Head", "NotHttp", "head_of"]

_LARGEST = 64 * 1024  # bytes of a head that are waited for
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? ([1-5]\d\d)(?: [^\n]*)?\r?\n")
_END = re.compile(rb"\r?\n\r?\n")
_RETRY_AFTER = re.compile(rb"\nretry-after:[ \t]*([ -~]*)\r?\n", re.IGNORECASE)


class NotHttp(Exception):
    """It does not begin with a status line."""


@dataclass(frozen=True, slots=True)
class Head:
    """``retry_after``: the header's value. ``size``: how many bytes the head takes."""

    status: int
    retry_after: str | None
    size: int


def head_of(data: bytes | bytearray, *, ended: bool) -> Head | None:
    """The head that ``data`` begins with; ``None`` if more must come. ``ended``: none will.

    Raises:
        NotHttp: there is none.
    """
    ended = ended or len(data) > _LARGEST
    status = _STATUS.match(data)
    if status is None:
        if b"\n" in data or ended:
            raise NotHttp
        return None
    end = _END.search(data)
    if end is None and not ended:
        return None
    size = end.end() if end is not None else len(data)
    wait = _RETRY_AFTER.search(data, 0, size)
    return Head(int(status[1]), wait[1].decode() if wait is not None else None, size)
