"""JSON lines: appended as lines end; put in order, and rid of doubles, when the run ends."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Container, Iterator, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from runware_ws.batch.writing.base import (
    AnyShape,
    Found,
    Order,
    PriorAnswers,
    check_source,
    foreign,
    read_record,
    unwritable,
)
from runware_ws.batch.writing.entries import (
    BATCH,
    OURS,
    ROW,
    UNNAMED,
    AnswerEntry,
    Bill,
    Shape,
    record_of,
)
from runware_ws.batch.writing.files import (
    Lock,
    lines_of,
    replacing,
    require_same,
    write_whole,
)
from runware_ws.batch.writing.jsontext import dumps, loads
from runware_ws.batch.writing.stale import Stale
from runware_ws.cli.exits import ExitCode, Stop, abandon_stdout

__all__ = ["JsonlWriter", "LineFile", "StreamWriter", "numbered"]

_HEADS: dict[AnyShape, bytes] = {
    OURS: b'{"line":',
    ROW: b'{"line":',
    BATCH: b'{"custom_id":',
}


class _Read(NamedTuple):
    place: int
    found: Found


class LineFile:
    """A file of records, each on a line of its own, whole or not there.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, name: str, shapes: Sequence[AnyShape], source: str) -> None:
        self.path, self.name, self.source = path, name, source
        self._shapes = shapes
        self.torn = False
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def read(self) -> Iterator[_Read]:
        """All records; the first pass mends the end of the file.

        Raises:
            Stop: a line is no record of ours, or not of this shape, or comes from elsewhere.
        """
        for number, (place, text) in enumerate(lines_of(self.path), 1):
            # After a loss of power the end of a file may be zeros.
            bare = text.rstrip(b"\0")
            found = self._found(bare)
            if found is None:
                if not text.endswith(b"\n") and self._is_torn(bare):
                    os.ftruncate(self._fd, place)
                    self.torn = True
                    return
                if text.strip():
                    raise foreign(f"{self.name}:{number}")
                continue
            if found.shape not in self._shapes:
                raise Stop(
                    ExitCode.USAGE,
                    f"{self.name}:{number}: is in the shape {found.shape!r}: "
                    f"give --shape {found.shape}, or choose another output",
                )
            check_source(f"{self.name}:{number}", found.source, self.source)
            if not bare.endswith(b"\n"):
                os.ftruncate(self._fd, place + len(bare))
                write_whole(self._fd, b"\n")
            yield _Read(place, found)

    @staticmethod
    def _found(text: bytes) -> Found | None:
        try:
            return read_record(loads(text))
        except ValueError:
            return None

    def _is_torn(self, text: bytes) -> bool:
        heads = [_HEADS[shape] for shape in self._shapes]
        if not any(text.startswith(head) or head.startswith(text) for head in heads):
            return False
        try:
            loads(text)
        except ValueError:
            return True
        return False  # Whole, and not ours.

    def append(self, data: bytes) -> None:
        """Append whole lines. Raises ``OSError``, and then the file is as it was."""
        require_same(self.path, os.fstat(self._fd))
        write_whole(self._fd, data)

    def sync(self) -> None:
        """Make all lines outlive the loss of power. Raises ``OSError``."""
        require_same(self.path, os.fstat(self._fd))
        os.fsync(self._fd)

    def reopen(self) -> None:
        """Go on with the file that took this one's place."""
        os.close(self._fd)
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class JsonlWriter:
    """Appends to a file of JSON lines; the protocol is :class:`~.base.Writer`."""

    can_resume = True

    def __init__(
        self, path: Path, name: str, *, shape: Shape, sort: bool, source: str, lock: Lock
    ) -> None:
        self.name = name
        self._lines = LineFile(path, name, (shape,), source)
        self._shape: Shape = shape
        self._sort, self._lock = sort, lock
        self._stale = Stale(path, (shape,), source)
        self._prior = PriorAnswers()
        self._aside: set[int] = set()
        self._doubled = False
        self._written = 0

    def known(self, watched: Container[str] = frozenset()) -> PriorAnswers:
        """What earlier runs wrote."""
        prior = PriorAnswers(watched=watched)
        try:
            prior.aside = self._stale.known(watched)
            for each in self._lines.read():
                self._doubled |= prior.note(each.found.key, each.found.error)
                prior.count(each.found.key, each.found.task_uuid, each.found.bill)
            prior.bill = prior.bill.plus(prior.aside.bill)
        except OSError as exc:
            raise unwritable(self.name, exc) from None
        prior.torn = self._lines.torn
        self._prior = prior
        return prior

    def set_aside(self, keys: Set[int]) -> None:
        """Move these to ``OUT.stale`` in the end."""
        self._aside |= keys

    def bring_back(self, keys: Set[int]) -> None:
        """Move these from ``OUT.stale`` to the end of the file."""
        try:
            with self._stale.taking(keys) as lines:
                self._lines.append(b"".join(lines))
                self._lines.sync()
        except OSError as exc:
            raise unwritable(self.name, exc) from None

    def write(self, entry: AnswerEntry) -> None:
        """Append one line, at once."""
        record = record_of(entry, self._lines.source, self._shape)
        try:
            self._lines.append(dumps(record) + b"\n")
        except OSError as exc:
            raise unwritable(self.name, exc, self._written) from None
        self._written += 1
        self._doubled |= entry.key in self._prior.results or entry.key in self._prior.errors

    def finish(self, order: Order | None = None) -> None:
        """Leave one line for each key; with ``sort``, in the order of the input."""
        try:
            wanted = None if order is None or not self._sort else dict(order)
            self._lines.sync()
            if self._doubled or self._aside or wanted is not None:
                self._rewrite(wanted)
        except OSError as exc:
            raise unwritable(self.name, exc, self._written) from None

    def _rewrite(self, wanted: dict[int, int] | None) -> None:
        kept, lost = self._winners()
        if wanted is not None:
            places = [kept[key] for key in wanted if key in kept]
            at = {place: key for key, place in kept.items()}
            placed = set(places)
            places += [place for place in sorted(at) if place not in placed]
            numbers = {kept[key]: number for key, number in wanted.items() if key in kept}
        else:
            places, numbers = sorted(kept.values()), {}
        with self._lines.path.open("rb") as old:
            if not (lost or self._doubled) and _are_in_order(old, places, numbers):
                return
            self._stale.add(_line_at(old, place) for place in sorted(lost))
            with replacing(self._lines.path) as new:
                for place in places:
                    new.write(numbered(_line_at(old, place), numbers.get(place)))
        self._lines.reopen()
        self._doubled = False
        self._aside.clear()

    def _winners(self) -> tuple[dict[int, int], list[int]]:
        """Where the line of each key stands; where those stand that go to ``OUT.stale``."""
        kept: dict[int, int] = {}
        results: set[int] = set()
        bills: dict[int, Bill] = {}
        lost: list[int] = []
        for place, found in self._lines.read():
            if found.key in self._aside:
                lost.append(place)
                continue
            loser: int | None = None
            if found.error is not None and found.key in results:
                loser, bill = place, found.bill
            else:
                loser, bill = kept.get(found.key), bills.get(found.key, Bill())
                kept[found.key], bills[found.key] = place, found.bill
                if found.error is None:
                    results.add(found.key)
            if loser is not None and bill:
                lost.append(loser)  # What was paid for is never thrown away.
        return kept, lost

    def close(self) -> None:
        """Let go of the file and of the lock."""
        self._lines.close()
        self._lock.release()


def _line_at(file: IO[bytes], place: int) -> bytes:
    file.seek(place)
    text = file.readline()
    return text if text.endswith(b"\n") else text + b"\n"


def _are_in_order(file: IO[bytes], places: list[int], numbers: dict[int, int]) -> bool:
    """Whether all lines stand as they should, under their numbers."""
    if places != sorted(places):
        return False
    lines = ((_line_at(file, place), numbers.get(place)) for place in places)
    return all(numbered(text, number) is text for text, number in lines)


def numbered(text: bytes, number: int | None) -> bytes:
    """A line under the number that it has now; ``None``: as it stands."""
    if number is None or text.startswith(b'{"line":%d,' % number):
        return text
    record = loads(text)
    beside = record["runware"] if "custom_id" in record and "runware" in record else record
    if beside.get("line") == number:
        return text
    beside["line"] = number
    if beside.get(UNNAMED):
        record["custom_id"] = f"line-{number}"
    return dumps(record) + b"\n"


_COPY = "the temporary file of --sort"


class StreamWriter:
    """Standard output (``path`` ``None``), a pipe or a device: it cannot be read again.

    With ``sort`` the lines wait in a temporary file until :meth:`finish`.
    """

    can_resume = False

    def __init__(
        self, path: Path | None, name: str, *, shape: Shape, sort: bool, source: str
    ) -> None:
        self.name = name
        self._shape: Shape = shape
        self._source = source
        self._fd = -1
        self._written = 0
        self._broken: Stop | None = None
        self._places: dict[int, int] = {}
        self._waiting: IO[bytes] | None = None
        if path is not None:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        elif sys.stdout is None:
            raise Stop(ExitCode.USAGE, f"{name}: is closed: give -o FILE")
        if sort:
            try:
                self._waiting = tempfile.TemporaryFile()  # noqa: SIM115
            except OSError as exc:
                self.close()
                raise unwritable(_COPY, exc) from None

    def known(self, watched: Container[str] = frozenset()) -> PriorAnswers:
        """Nothing."""
        return PriorAnswers()

    def set_aside(self, keys: Set[int]) -> None:
        """Nothing is there that could be moved."""

    def bring_back(self, keys: Set[int]) -> None:
        """Nothing was."""

    def write(self, entry: AnswerEntry) -> None:
        """Hand one line on, at once; with ``sort``, keep it."""
        data = dumps(record_of(entry, self._source, self._shape)) + b"\n"
        if self._waiting is None:
            self._put(data)
            self._written += 1
            return
        try:
            # Past the buffer, which would tell only in the end that there is no room.
            place = os.lseek(self._waiting.fileno(), 0, os.SEEK_END)
            write_whole(self._waiting.fileno(), data)
        except OSError as exc:
            raise unwritable(_COPY, exc) from None
        self._places[entry.key] = place

    def finish(self, order: Order | None = None) -> None:
        """Hand on what waits for its turn."""
        if self._waiting is None:
            return
        keys = dict.fromkeys(key for key, _ in order or ())
        for key in (*keys, *(key for key in self._places if key not in keys)):
            if key in self._places:
                self._put(_line_at(self._waiting, self._places[key]))
                self._written += 1
        self._places.clear()

    def _put(self, data: bytes) -> None:
        if self._broken is not None:  # Else later lines would go nowhere, and count as written.
            raise self._broken
        try:
            if self._fd < 0:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            else:
                write_whole(self._fd, data, regular=False)
        except ValueError:  # Closed by whoever runs us.
            raise Stop(ExitCode.USAGE, f"{self.name}: is closed: give -o FILE") from None
        except OSError as exc:
            if self._fd < 0:
                _abandon_pipe()
            self._broken = unwritable(self.name, exc, self._written)
            raise self._broken from None

    def close(self) -> None:
        """Close what was opened here."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None


def _abandon_pipe() -> None:
    with suppress(OSError, ValueError):
        if not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            abandon_stdout()
