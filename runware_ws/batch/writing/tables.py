"""CSV and Parquet: rows are collected in a side file, and the table is written in one step.

Neither format can be appended to so that a kill at any moment leaves it whole: a cell of CSV may
hold line ends, and a Parquet file without its footer is none. So each line that ends goes to
``OUT.rows`` (JSON lines, the records of :mod:`.entries`), and at the end of the run the table is
made of the old one and these, and takes the old one's place.
"""

from __future__ import annotations

import csv
import io
import sys
import tempfile
import threading
from collections.abc import Container, Generator, Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from runware_ws.batch.writing.base import (
    Order,
    PriorAnswers,
    Row,
    check_source,
    foreign,
    key_of,
    row_error,
    unwritable,
)
from runware_ws.batch.writing.entries import (
    COLUMNS,
    OURS,
    ROW,
    AnswerEntry,
    bill_of,
    record_of,
    row_of,
)
from runware_ws.batch.writing.files import GONE, Lock, beside, replacing
from runware_ws.batch.writing.jsonl import LineFile
from runware_ws.batch.writing.jsontext import dumps, loads
from runware_ws.batch.writing.stale import Stale
from runware_ws.cli.exits import ExitCode, Stop

__all__ = ["CsvTable", "Table", "TableWriter"]


class Table(Protocol):
    """A format: reads a whole table and writes one, row by row."""

    def read(self, path: Path, name: str) -> Iterator[Row]:
        """The rows of a table that this command wrote.

        Raises:
            Stop: it did not write this one.
        """
        ...

    def write(self, file: IO[bytes], rows: Iterable[Row]) -> None:
        """Write a whole table. Raises ``OSError``."""
        ...


class _Side(NamedTuple):
    """What ``OUT.rows`` has of a line: where the better answer stands."""

    place: int
    is_result: bool


class TableWriter:
    """A table that is written at the end; the protocol is :class:`~.base.Writer`."""

    can_resume = True

    def __init__(
        self, path: Path, name: str, table: Table, *, sort: bool, source: str, lock: Lock
    ) -> None:
        self.name = name
        self._path, self._table, self._source = path, table, source
        self._sort, self._lock = sort, lock
        self._side = beside(path, ".rows")
        self._lines = LineFile(self._side, str(self._side), (OURS, ROW), source)
        self._stale = Stale(path, (OURS, ROW), source)
        self._aside: set[int] = set()
        self._written = 0

    def known(self, watched: Container[str] = frozenset()) -> PriorAnswers:
        """What the table holds, and what a run that was killed left beside it."""
        prior = PriorAnswers(watched=watched)
        try:
            prior.aside = self._stale.known(watched)
            for number, row in enumerate(self._old_rows(), 1):
                key = key_of(row["key"])
                if key is None:
                    raise foreign(f"{self.name}: row {number}")
                check_source(f"{self.name}: row {number}", row["source"], self._source)
                prior.note(key, row_error(row))
                prior.count(key, row["task_uuid"], bill_of(row))
            for each in self._lines.read():
                # A kill right after the table was written leaves its rows here as well.
                if each.found.key not in prior.results:
                    prior.note(each.found.key, each.found.error)
                    prior.count(each.found.key, each.found.task_uuid, each.found.bill)
            prior.bill = prior.bill.plus(prior.aside.bill)
        except OSError as exc:
            raise unwritable(self.name, exc) from None
        prior.torn = self._lines.torn
        return prior

    def _old_rows(self) -> Iterator[Row]:
        if self._path.exists() and self._path.stat().st_size:
            yield from self._table.read(self._path, self.name)

    def set_aside(self, keys: Set[int]) -> None:
        """Move these to ``OUT.stale`` in the end."""
        self._aside |= keys

    def bring_back(self, keys: Set[int]) -> None:
        """Move these from ``OUT.stale`` to the side file."""
        try:
            with self._stale.taking(keys) as lines:
                self._lines.append(b"".join(lines))
                self._lines.sync()
        except OSError as exc:
            raise unwritable(str(self._side), exc) from None

    def write(self, entry: AnswerEntry) -> None:
        """Add a row to the side file, at once."""
        try:
            self._lines.append(dumps(record_of(entry, self._source, OURS)) + b"\n")
        except OSError as exc:
            raise unwritable(str(self._side), exc, self._written) from None
        self._written += 1

    def finish(self, order: Order | None = None) -> None:
        """Write the table anew."""
        wanted = None if order is None or not self._sort else dict(order)
        try:
            self._lines.sync()
            side = self._side_places()
            if side or self._aside or wanted is not None or not self._path.exists():
                lost: list[bytes] = []
                with self._rows(side, lost) as rows, replacing(self._path) as new:
                    if wanted is None:
                        self._table.write(new, rows)
                    else:
                        with tempfile.TemporaryFile(dir=self._path.parent) as spool:
                            self._table.write(new, _in_order(rows, wanted, spool))
                    self._stale.add(lost)
            self._lines.close()
            self._side.unlink(missing_ok=True)
        except OSError as exc:
            if exc.errno == GONE:
                raise unwritable(str(self._side), exc) from None
            kept = f"{self._path}: cannot be written: {exc.strerror or exc}"
            cure = f"all answers are kept in {self._side}: make room, then run it again"
            raise Stop(ExitCode.USAGE, f"{kept}; {cure}") from None

    def _side_places(self) -> dict[int, _Side]:
        places: dict[int, _Side] = {}
        for place, found in self._lines.read():
            old = places.get(found.key)
            if found.error is None or old is None or not old.is_result:
                places[found.key] = _Side(place, found.error is None)
        return places

    @contextmanager
    def _rows(self, side: dict[int, _Side], lost: list[bytes]) -> Generator[Iterator[Row]]:
        """All rows of the new table; ``lost`` gets those that go to ``OUT.stale``."""
        with self._side.open("rb") as file:

            def kept() -> Iterator[Row]:
                for row in self._old_rows():
                    key = key_of(row["key"])
                    assert key is not None  # known() has looked.
                    ours = side.get(key)
                    if key in self._aside:
                        lost.append(dumps(row) + b"\n")
                    elif ours is None or row["error_type"] is None:
                        side.pop(key, None)
                        yield row
                    elif bill_of(row):
                        lost.append(dumps(row) + b"\n")
                for key, ours in side.items():
                    file.seek(ours.place)
                    text = file.readline()
                    if key in self._aside:
                        lost.append(text)
                    else:
                        yield row_of(loads(text))

            yield kept()

    def close(self) -> None:
        """Let go of the side file and of the lock. An empty side file goes."""
        self._lines.close()
        if self._side.exists() and not self._side.stat().st_size:
            self._side.unlink(missing_ok=True)
        self._lock.release()


def _in_order(rows: Iterable[Row], wanted: dict[int, int], spool: IO[bytes]) -> Iterator[Row]:
    places: dict[int, int] = {}
    for row in rows:
        key = key_of(row["key"])
        assert key is not None
        places[key] = spool.tell()
        spool.write(dumps(row) + b"\n")
    for key in (*wanted, *(key for key in places if key not in wanted)):
        if key in places:
            spool.seek(places[key])
            row = loads(spool.readline())
            row["line"] = wanted.get(key, row["line"])
            yield row


# CSV

_FIELD_LIMIT = threading.Lock()


class CsvTable:
    """Comma, double quotes, UTF-8, a header. An empty cell is null, and so is an empty text."""

    def read(self, path: Path, name: str) -> Iterator[Row]:
        """The rows, with the types of their columns."""
        with path.open(encoding="utf-8-sig", newline="") as file, _long_fields():
            reader = csv.reader(file)
            try:
                if next(reader, None) != list(COLUMNS):
                    raise foreign(name)
                for number, cells in enumerate(reader, 1):
                    yield _typed(cells, f"{name}: row {number}")
            except (csv.Error, UnicodeDecodeError):
                raise foreign(name) from None

    def write(self, file: IO[bytes], rows: Iterable[Row]) -> None:
        """Write header and rows."""
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        try:
            writer = csv.writer(_UnixEnds(text), lineterminator="\r\n")
            writer.writerow(COLUMNS)
            for row in rows:
                writer.writerow([_cell(row[name]) for name in COLUMNS])
        finally:
            text.detach()


@contextmanager
def _long_fields() -> Generator[None]:
    """Let cells be as long as answers are: the module's limit is for all of the process."""
    with _FIELD_LIMIT:
        before = csv.field_size_limit(sys.maxsize if sys.platform != "win32" else 2**31 - 1)
        try:
            yield
        finally:
            csv.field_size_limit(before)


class _UnixEnds:
    """Where rows end with a line feed, though their writer is told otherwise: up to Python 3.12 it
    quotes a carriage return in a cell only where that is part of a row's end."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _cell(value: object) -> object:
    return ("true" if value else "false") if isinstance(value, bool) else value


def _typed(cells: list[str], place: str) -> Row:
    if len(cells) != len(COLUMNS):
        raise foreign(place)
    row: Row = {}
    try:
        for (column, kind), cell in zip(COLUMNS.items(), cells, strict=True):
            if cell == "":
                row[column] = None
            elif kind is bool:
                row[column] = cell.lower() == "true"  # Spreadsheets write it in their own way.
            else:
                row[column] = kind(cell)
    except ValueError:
        raise foreign(place) from None
    return row
