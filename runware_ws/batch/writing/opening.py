"""Which writer an output gets: by its suffix, and by what stands there already."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runware_ws.batch.writing.base import Writer, unwritable
from runware_ws.batch.writing.entries import BATCH, OURS, Shape
from runware_ws.batch.writing.files import Lock, beside
from runware_ws.batch.writing.jsonl import JsonlWriter, StreamWriter
from runware_ws.batch.writing.parquet import ParquetTable
from runware_ws.batch.writing.sqlite import SqliteWriter
from runware_ws.batch.writing.tables import CsvTable, TableWriter
from runware_ws.cli.exits import ExitCode, Stop

__all__ = ["FORMATS", "is_begun", "open_output"]

FORMATS: dict[str, str] = {
    "": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}
"""The format of each suffix of an output. No suffix: JSON lines."""

_TABLES = ("csv", "parquet")


def open_output(
    name: str | os.PathLike[str], *, source: str, shape: Shape = OURS, sort: bool = False
) -> Writer:
    """Open an output for one run, and lock it. ``-`` is JSON lines on standard output.

    Args:
        name: a path. Links are followed: the file, its lock and all side files are those of the
            resolved path, so two names of one output are one output.
        source: where this run's answers come from, see :func:`source_name`.
        shape: of the records; all but ours are for JSON lines only.
        sort: put the lines in the order of the input in the end.

    Raises:
        Stop: an unknown suffix, a shape that this format does not have, another run that writes
            it, a file that is not ours, or one that cannot be written.
    """
    name = os.fspath(name)
    if name == "-":
        return StreamWriter(None, "standard output", shape=shape, sort=sort, source=source)
    path, stream, kind = _found(name, shape)
    try:
        if stream:
            return StreamWriter(path, name, shape=shape, sort=sort, source=source)
        return _open_file(path, name, kind, source=source, shape=shape, sort=sort)
    except OSError as exc:
        raise unwritable(name, exc) from None


def is_begun(name: str | os.PathLike[str], *, shape: Shape = OURS) -> bool:
    """Whether an output can be read: it is there, or what a run that was killed left of its table.
    Makes nothing.

    Raises:
        Stop: an unknown suffix, or a shape that this format does not have.
    """
    name = os.fspath(name)
    if name == "-":
        return False
    path, stream, kind = _found(name, shape)
    if stream:
        return False
    return path.exists() or (kind in _TABLES and beside(path, ".rows").exists())


def _found(name: str, shape: Shape) -> tuple[Path, bool, str]:
    """The real path, whether it is no regular file, and the format."""
    path, stream = _resolved(name)
    suffix = (Path(name).suffix or path.suffix).lower()
    kind = "jsonl" if stream else FORMATS.get(suffix)
    if kind is None:
        known = ", ".join(each for each in FORMATS if each)
        raise Stop(
            ExitCode.USAGE, f"{name}: the suffix {suffix!r} of an output is not known: use {known}"
        )
    if shape == BATCH and kind != "jsonl":
        raise Stop(
            ExitCode.USAGE,
            f"{name}: --shape {shape} is for JSON lines: use .jsonl, or leave --shape out",
        )
    return path, stream, kind


def _resolved(name: str) -> tuple[Path, bool]:
    """The real path, and whether it is no regular file (a pipe, a device)."""
    if not name:
        raise Stop(ExitCode.USAGE, "the name of the output is empty: name a file")
    try:
        mode = os.stat(name).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as exc:
        raise unwritable(name, exc) from None
    except ValueError as exc:  # a zero, or half of a surrogate pair
        raise Stop(ExitCode.USAGE, f"{name!r}: cannot be written: {exc}") from None
    if stat.S_ISDIR(mode):
        raise Stop(ExitCode.USAGE, f"{name}: is a directory: name a file")
    if not stat.S_ISREG(mode):
        return Path(name), True
    return Path(os.path.realpath(name)), False


def _open_file(
    path: Path, name: str, kind: str, *, source: str, shape: Shape, sort: bool
) -> Writer:
    # Before the lock, which leaves a file behind where it cannot be removed.
    table = CsvTable() if kind == "csv" else ParquetTable() if kind == "parquet" else None
    lock = Lock(path)
    try:
        if table is not None:
            return TableWriter(path, name, table, sort=sort, source=source, lock=lock)
        if kind == "sqlite":
            return SqliteWriter(path, name, sort=sort, source=source, lock=lock)
        return JsonlWriter(path, name, shape=shape, sort=sort, source=source, lock=lock)
    except BaseException:
        lock.release()
        raise
