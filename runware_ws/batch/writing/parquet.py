"""Parquet, with the extra ``table`` (pyarrow)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import IO, Any

from runware_ws.batch.writing.base import Row, foreign
from runware_ws.batch.writing.entries import COLUMNS
from runware_ws.cli.exits import ExitCode, Stop

__all__ = ["ParquetTable"]

_GROUP = 5_000  # Rows that are held in memory at once.


class ParquetTable:
    """One row group after the other, so that memory stays bounded.

    Raises:
        Stop: pyarrow is not installed.
    """

    def __init__(self) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
            self._parquet: Any = import_module("pyarrow.parquet")
        except ModuleNotFoundError as exc:
            raise Stop(
                ExitCode.USAGE,
                f"a .parquet output needs {exc.name}: pip install 'runware-ws[table]', "
                "or choose .jsonl, .csv or .sqlite",
            ) from None
        types = {
            int: self._arrow.int64(),
            float: self._arrow.float64(),
            bool: self._arrow.bool_(),
            str: self._arrow.string(),
        }
        self._schema: Any = self._arrow.schema(
            [(name, types[kind]) for name, kind in COLUMNS.items()]
        )

    def read(self, path: Path, name: str) -> Iterator[Row]:
        """The rows of a file with exactly our columns."""
        try:
            file = self._parquet.ParquetFile(path)
        except self._arrow.ArrowInvalid:
            raise foreign(name) from None
        with file:
            if not file.schema_arrow.equals(self._schema):
                raise foreign(name)
            for batch in file.iter_batches(batch_size=_GROUP):
                yield from batch.to_pylist()

    def write(self, file: IO[bytes], rows: Iterable[Row]) -> None:
        """Write all rows, and the footer."""
        left = iter(rows)
        with self._parquet.ParquetWriter(file, self._schema, compression="zstd") as writer:
            while group := list(islice(left, _GROUP)):
                writer.write_batch(self._arrow.RecordBatch.from_pylist(group, schema=self._schema))
