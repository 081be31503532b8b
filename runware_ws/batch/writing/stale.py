"""``OUT.stale``: answers that were paid for and have no place in the output any more.

If the line of one is in the input again, it goes back, so that nobody pays for it twice.
"""

from __future__ import annotations

import os
from collections.abc import Container, Generator, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from runware_ws.batch.writing.base import AnyShape, Found, PriorAnswers, read_record
from runware_ws.batch.writing.entries import Bill, bill_of
from runware_ws.batch.writing.files import beside, lines_of, replacing, write_whole
from runware_ws.batch.writing.jsontext import loads
from runware_ws.models.jsonable import is_object

__all__ = ["Stale"]


class Stale:
    """The side file of one output. Its lines are records, or the rows of a table as JSON.

    ``shapes`` and ``source``: of those that can go back.
    """

    def __init__(self, output: Path, shapes: Sequence[AnyShape], source: str) -> None:
        self.path = beside(output, ".stale")
        self._shapes, self._source = shapes, source

    def known(self, watched: Container[str]) -> PriorAnswers:
        """What can go back, and the cost of all that stands here."""
        prior = PriorAnswers(watched=watched)
        for _, found, bill in self._lines():
            if found is None:
                prior.bill = prior.bill.plus(bill)
                continue
            prior.note(found.key, found.error)
            prior.count(found.key, found.task_uuid, bill)
            if bill and isinstance(found.task_uuid, str):
                prior.paid.add((found.key, found.task_uuid))
        return prior

    def _lines(self) -> Iterator[tuple[bytes, Found | None, Bill]]:
        """Each line, what it says if it can go back, and its bill. A line that stands here twice
        counts once."""
        seen: set[bytes] = set()
        for _, text in lines_of(self.path):
            digest = blake2b(text.strip(), digest_size=16).digest()
            if digest in seen:
                continue
            seen.add(digest)
            try:
                value: object = loads(text)
            except ValueError:
                continue
            found = read_record(value)
            if found is not None and not (
                found.shape in self._shapes and found.source == self._source
            ):
                found = None
            yield text, found, bill_of(value) if is_object(value) else Bill()

    @contextmanager
    def taking(self, keys: Set[int]) -> Generator[list[bytes]]:
        """The answers of these, one for each; they are forgotten here if the block ends well.

        Raises:
            OSError: the file cannot be read or replaced.
        """
        taken: dict[int, tuple[bytes, Found]] = {}
        for text, found, _ in self._lines():
            if found is None or found.key not in keys:
                continue
            old = taken.get(found.key)
            if found.error is None or old is None or old[1].error is not None:
                taken[found.key] = text, found
        gone = dict.fromkeys(text.strip() for text, _ in taken.values())
        yield [text + b"\n" for text in gone]
        if not gone:
            return
        with replacing(self.path) as new:
            new.writelines(text for _, text in lines_of(self.path) if text.strip() not in gone)
        if not self.path.stat().st_size:
            self.path.unlink()

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
