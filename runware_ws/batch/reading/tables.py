"""Tables: CSV and its kin, and Parquet. Each row becomes a JSON object on one line."""

from __future__ import annotations

import base64
import csv
import importlib
import io
import json
import math
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from itertools import chain
from typing import IO, Any, cast

from runware_ws.batch.reading.errors import InputError
from runware_ws.batch.reading.tasks import ID_NAMES
from runware_ws.models.jsonable import is_object

__all__ = ["csv_rows", "header_of", "parquet_rows", "prompt_column_of"]

_DELIMITERS = ",;\t|"
_BATCH = 256


def header_of(line: str, delimiter: str | None = None) -> tuple[list[str], str]:
    """The columns that a header names, and what stands between them.

    ``delimiter`` ``None``: whichever makes the most columns.
    """
    best: tuple[list[str], str] = ([], delimiter or ",")
    for each in delimiter or _DELIMITERS:
        try:
            cells = next(csv.reader([line], delimiter=each), list[str]())
        except csv.Error:
            continue
        if len(cells) > len(best[0]):
            best = [cell.strip() for cell in cells], each
    return best


def prompt_column_of(columns: Sequence[str], wanted: str | None, name: str, hint: str = "") -> str:
    """The column that holds the prompts. ``hint``: what may be wrong if there is none.

    Raises:
        InputError: there is none, or more than one.
    """
    column = "prompt" if wanted is None else wanted
    if columns.count(column) > 1:
        raise InputError(f"{name}: has {columns.count(column)} columns {column!r}: rename them")
    if column in columns:
        return column
    has = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
    raise InputError(
        f"{name}: has no column {column!r}, only {has}: name the one that holds the prompts "
        f"with --prompt-column{hint}"
    )


# CSV


@contextmanager
def _long_fields() -> Generator[None]:
    # The limit is the process's, and shorter than a prompt may be.
    limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def csv_rows(
    file: IO[bytes], name: str, wanted: str | None, delimiter: str | None
) -> tuple[str, Iterator[tuple[int, str]]]:
    """The prompt's column, and the rows: the header is row 1, unless blank lines precede it.

    Raises:
        InputError: it is no such table; where, and what to do.
    """
    lines = _text_lines(file, name)
    blank = 0
    for first in lines:
        if first.strip():
            break
        blank += 1
    else:
        first = ""
    _, delimiter = header_of(first, delimiter)
    rows = _cells(chain([first], lines), delimiter, name, blank)
    columns = [cell.strip() for cell in next(rows, (1, [""]))[1]]
    column = prompt_column_of(columns, wanted, name, "; the first row names the columns")
    return column, _csv_objects(columns, rows)


def _text_lines(file: IO[bytes], name: str) -> Iterator[str]:
    try:
        with io.TextIOWrapper(file, "utf-8-sig", "surrogatepass", newline="") as text:
            yield from text
    except UnicodeDecodeError:
        raise InputError(
            f'{name}: not UTF-8; nothing was run: save the file as UTF-8 (in Excel: "CSV UTF-8")'
        ) from None


def _cells(
    lines: Iterator[str], delimiter: str, name: str, number: int
) -> Iterator[tuple[int, list[str]]]:
    """The rows behind ``number`` others."""
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        while True:
            with _long_fields():
                cells = next(rows, None)
            if cells is None:
                return
            number += 1
            yield number, cells
    except csv.Error as exc:
        raise InputError(
            f"{name}: row {number + 1}: not CSV ({exc}); nothing was run: mend this row"
        ) from None


def _csv_objects(
    columns: list[str], rows: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, str]]:
    for number, cells in rows:
        # Some programs fill rows up with empty cells, behind the last column too.
        if any(cells[len(columns) :]):
            found = f"has {len(cells)} cells, and the header {len(columns)}"
            yield number, "!" + json.dumps(found)
        elif len(columns) > 1 and _is_header(columns, cells):
            yield number, "!" + json.dumps("is the header once more")
        elif any(cells):
            # An empty cell is a null.
            row = {key: cell for key, cell in zip(columns, cells, strict=False) if cell}
            yield number, json.dumps(row)


def _is_header(columns: list[str], cells: list[str]) -> bool:
    """Whether a row is the header of a table that was put behind another one."""
    return [cell.strip().removeprefix("\ufeff") for cell in cells] == columns


# Parquet


def parquet_rows(
    file: IO[bytes], name: str, wanted: str | None
) -> tuple[str | None, Iterator[tuple[int, str]]]:
    """The prompt's column, and the rows, from 1. ``None``: each row is a line of ours as it is.

    Raises:
        InputError: it is no Parquet file, or the extra is missing.
    """
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        broken: Any = importlib.import_module("pyarrow").ArrowException
    except ModuleNotFoundError:
        raise InputError(
            f"{name}: Parquet needs pyarrow: pip install 'runware-ws[table]'"
        ) from None
    try:
        table = parquet.ParquetFile(file)
        columns = list(table.schema_arrow.names)
    except (broken, OSError) as exc:
        raise InputError(f"{name}: cannot be read as Parquet: {_first_line(exc)}") from None
    column = None
    if wanted is not None or not {"messages", "params", "body", "taskType"}.intersection(columns):
        column = prompt_column_of(columns, wanted, name)

    def rows() -> Iterator[tuple[int, str]]:
        number = 0
        try:
            for batch in table.iter_batches(batch_size=_BATCH):
                for row in zip(*map(_cells_of, batch.columns), strict=True):
                    number += 1
                    yield number, _row_text(zip(columns, row, strict=True), column)
        except (broken, OSError) as exc:
            raise InputError(
                f"{name}: cannot be read as Parquet behind row {number}: {_first_line(exc)}"
            ) from None

    return column, rows()


def _cells_of(column: Any) -> list[Any]:
    """The values of an Arrow array."""
    try:
        found: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        # Finer than a microsecond, or behind the year 9999, or a text that is not UTF-8
        return [_cell(each) for each in column]
    return found


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        if hasattr(scalar, "values") and hasattr(scalar.values, "to_pylist"):  # a list
            return _cells_of(scalar.values)
        if hasattr(scalar, "items"):  # a struct
            return {name: _cell(each) for name, each in scalar.items()}
        for kind in ("string", "binary"):  # A text that is not UTF-8 is bytes.
            try:
                return scalar.cast(kind).as_py()
            except ValueError:  # There is no such cast.
                continue
        return repr(scalar)


def _row_text(row: Iterable[tuple[str, Any]], column: str | None) -> str:
    """A row as an object on one line; behind ``!`` why there is none."""
    given: dict[str, Any] = {}
    for name, value in row:
        # A NaN is how the tools that write these files say that nothing is there.
        if value is not None and value == value:
            own = column is not None and name != column and name not in ID_NAMES
            try:
                given[name] = _told(value, own=own)
            except UnicodeDecodeError:
                return "!" + json.dumps(f"{name}: bytes that are not UTF-8: write it as text")
    return json.dumps(given, default=_plain)


def _told(value: Any, *, own: bool) -> Any:
    """A value without what JSON has no word for, where it is the user's own.

    Where it is asked, bytes are a text whose mark is missing, and a NaN is the line's mistake.
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii") if own else value.decode()
    if own and isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if is_object(value):
        return {name: _told(each, own=own) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_told(each, own=own) for each in cast("Sequence[Any]", value)]
    return value


def _plain(value: object) -> object:
    """What JSON has no word for, as text."""
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0].strip().rstrip(".")
