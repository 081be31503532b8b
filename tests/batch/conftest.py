"""What the tests of outputs share: entries, and outputs read back by other means."""

from __future__ import annotations

import csv
import json
import resource
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from runware_ws import Result, RunwareError, TaskError
from runware_ws.batch.writing import AnswerEntry, Writer, open_output
from runware_ws.batch.writing.base import Order

FORMATS = ("out", "out.jsonl", "out.csv", "out.parquet", "out.sqlite")


def result(text: str = "hello", *, cost: float | None = 0.001, **more: Any) -> Result:
    """A result as the server sends it."""
    usage = {"inputTokens": 7, "outputTokens": 3}
    uuid = more.get("taskUUID", "u-" + text[:20])
    raw = {"taskUUID": uuid, "text": text, "finishReason": "stop", "usage": usage}
    return Result(uuid, [raw | ({} if cost is None else {"cost": cost}) | more])


def entry(number: int, answer: Result | RunwareError | None = None, **more: Any) -> AnswerEntry:
    """The outcome of line ``number``; its key is ``number * 11``."""
    usual: dict[str, Any] = {
        "key": number * 11,
        "id": ("id", f"n{number}"),
        "seconds": 0.25,
        "model": "claude-haiku-4-5",
    }
    return AnswerEntry(number, answer=answer or result(f"text {number}"), **(usual | more))


def passing(code: str = "providerRateLimitExceeded") -> TaskError:
    return TaskError("busy", code=code, retryable=True, task_uuid="e-1")


def definite() -> TaskError:
    return TaskError("bad", code="invalidField", task_uuid="e-2")


@contextmanager
def opened(path: Path | str, **options: Any) -> Generator[Writer]:
    """An output of answers of Runware."""
    usual: dict[str, Any] = {"source": "runware"}
    writer = open_output(path, **(usual | options))
    try:
        yield writer
    finally:
        writer.close()


def write(out: Path, *entries: AnswerEntry, order: Order | None = None, **options: Any) -> None:
    """One whole run, which ends with this ``order`` of the input."""
    with opened(out, **options) as writer:
        writer.known()
        for each in entries:
            writer.write(each)
        writer.finish(order)


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an output, in their order, read by means that are not ours."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".parquet":
        parquet: Any = import_module("pyarrow.parquet")
        return list(parquet.read_table(path).to_pylist())
    if path.suffix == ".sqlite":
        db = sqlite3.connect(path)
        db.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in db.execute("SELECT * FROM answers ORDER BY rowid")]
        finally:
            db.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def text_of(row: dict[str, Any]) -> str | None:
    """The text of a row or of a record."""
    if "result" in row:
        return str(row["result"]["text"])
    return row.get("text") or None


@contextmanager
def disk_of(size: int) -> Generator[None]:
    """No file of this process grows beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
