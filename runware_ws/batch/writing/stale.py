"""``OUT.stale``: answers that were paid for and have no place in the output any more."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from runware_ws.batch.writing.entries import cost_of
from runware_ws.batch.writing.files import beside, lines_of, write_whole
from runware_ws.batch.writing.jsontext import loads
from runware_ws.models.jsonable import is_object

__all__ = ["Stale"]


class Stale:
    """The side file of one output. Its lines are records, or the rows of a table as JSON."""

    def __init__(self, output: Path) -> None:
        self.path = beside(output, ".stale")

    def cost(self) -> float:
        """US dollars of all answers in it; a line that stands there twice counts once."""
        seen: set[bytes] = set()
        total = 0.0
        for _, text in lines_of(self.path):
            digest = blake2b(text.strip(), digest_size=16).digest()
            if digest in seen:
                continue
            seen.add(digest)
            try:
                value: object = loads(text)
            except ValueError:
                continue
            if is_object(value):
                total += cost_of(value)
        return total

    def add(self, lines: Iterable[bytes]) -> None:
        """Append whole lines, durably. Raises ``OSError``."""
        fd = -1
        try:
            for line in lines:
                if fd < 0:
                    fd = self._open()
                write_whole(fd, line)
            if fd >= 0:
                os.fsync(fd)
        finally:
            if fd >= 0:
                os.close(fd)

    def _open(self) -> int:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        if os.fstat(fd).st_size:
            os.lseek(fd, -1, os.SEEK_END)
            if os.read(fd, 1) != b"\n":
                write_whole(fd, b"\n")  # A kill cut the last line off.
        return fd
