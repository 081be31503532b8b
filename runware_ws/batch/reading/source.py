"""The input of ``run``: a file of lines, read several times and never held in memory."""

from __future__ import annotations

import json
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from runware_ws.batch.reading.documents import Documents, Entries
from runware_ws.batch.reading.errors import InputError, LineError, NotJSON
from runware_ws.batch.reading.forms import InputFormat, find_format, format_named
from runware_ws.batch.reading.identity import (
    DigestCounts,
    LineId,
    LineKey,
    TaskUUIDs,
    content_digest,
    line_key,
)
from runware_ws.batch.reading.opening import BOM, open_raw, plain, spooled, unreadable
from runware_ws.batch.reading.tables import csv_rows, parquet_rows
from runware_ws.batch.reading.tasks import LineTask, find_id, make_task
from runware_ws.batch.reading.texts import read_text
from runware_ws.messages.request import Unsupported

__all__ = ["Facts", "Line", "Source"]

_EMPTY: dict[Entries, str] = {
    "line": "give one JSON object on each line",
    "row": "it has no row of values",
    "array": "put a task into its array",
    "requests": "put a task into its array",
}
_INDEX = re.compile(r"\[[0-9]+\]")
_CHANGED = "was changed after the run began: run it again"
_LOW = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the input. ``task`` is ``None`` if there is a ``problem``, which says why.

    ``number`` is for people: of the line in its file or of the row in its table, from 1 (a header
    is row 1), or of the entry in its array, from 0. ``key`` is what the line is known by: it
    stays while the content does. ``dropped`` names what was left out of the task, because Runware
    cannot take it. ``extra`` has the columns that are the user's own.
    """

    number: int
    key: LineKey
    id: LineId
    task: dict[str, Any] | None
    problem: str | None = None
    dropped: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first pass found.

    ``last``: number of the last line. ``problems``: lines that no task can be made of.
    ``dropped``: how many lines had something left out, by its name; ``[]`` for any index.
    ``repeated``: digests of content that stands there more than once. ``task_uuids``: those that
    lines have themselves.
    """

    count: int
    last: int
    problems: int
    dropped: dict[str, int]
    repeated: frozenset[int]
    task_uuids: TaskUUIDs = field(default_factory=TaskUUIDs)


class Source:
    """Lines of tasks from a file, or from standard input (``-``), in any form.

    ``input_format`` ``None``: told by the content, and the suffix. ``prompt_column``: the column
    or field that holds the prompt; ``None``: ``prompt`` in tables, and each line of JSON tells
    itself what it is. ``unsupported``: ``"drop"`` leaves out what Runware cannot take,
    ``"error"`` refuses the line.

    What cannot be read twice as it is goes to a temporary file. Call :meth:`check` once, then
    :meth:`lines` as often as needed. Close it, or use it as a context manager.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        input_format: str | None = None,
        prompt_column: str | None = None,
        unsupported: Unsupported = "error",
    ) -> None:
        told = None if input_format is None else format_named(input_format)
        self._drop = unsupported == "drop"
        self._column = prompt_column
        self._entries: Entries = "line"
        self._numbers_told = False
        # Of what the first pass saw, the low bits of each line's digest.
        self._seen = array("Q")
        raw, self.name = open_raw(os.fspath(name))
        self._origin = os.fstat(raw.fileno())
        self._file = raw
        try:
            self._file = plain(raw, self.name)
            self.format: InputFormat = told or find_format(self._file, self.name, prompt_column)
            if self.format != "jsonl":
                self._unfold()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def is_file(self, path: Path) -> bool:
        """Whether ``path`` is the very file that is read."""
        try:
            return os.path.samestat(self._origin, path.stat())
        except (OSError, ValueError):
            return False

    def place(self, number: int) -> str:
        """A line, row or entry as messages name it: ``in.jsonl:3``."""
        if self._entries == "line":
            return f"{self.name}:{number}"
        if self._entries == "row":
            return f"{self.name}: row {number}"
        if self._entries == "array":
            return f"{self.name}: [{number}]"
        return f"{self.name}: requests[{number}]"

    # Reading

    def _unfold(self) -> None:
        """Write each entry to a line of its own, behind its number."""
        self._file.seek(0)
        documents = None
        entries: Iterator[tuple[int, str]]
        if self.format == "json":
            documents = Documents(self._file, self.name)
            entries = iter(documents)
        elif self.format == "parquet":
            self._column, entries = parquet_rows(self._file, self.name, self._column)
        else:
            delimiter = "\t" if self.format == "tsv" else None
            self._column, entries = csv_rows(self._file, self.name, self._column, delimiter)
        lines = (b"%d %s\n" % (n, text.encode("utf-8", "surrogatepass")) for n, text in entries)
        try:
            spool = spooled(lines, self.name)
        except OSError as exc:
            raise unreadable(self.name, exc) from None
        self._entries = "row" if documents is None else documents.entries
        self._file.close()
        self._file, self._numbers_told = spool, True

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        """Number and text of each line that is not blank."""
        self._file.seek(0)
        try:
            for number, text in enumerate(self._file, 1):
                if self._numbers_told:
                    told, _, text = text.partition(b" ")
                    yield int(told), text.strip()
                    continue
                if number == 1:
                    text = text.removeprefix(BOM)
                stripped = text.strip()
                if stripped:
                    yield number, stripped
        except OSError as exc:
            raise unreadable(self.name, exc) from None

    def check(self) -> Facts:
        """The first pass: every line must be JSON, because a broken file is broken by mistake.

        Raises:
            InputError: a line is not JSON, or there is none.
        """
        count = last = problems = 0
        digests = DigestCounts()
        self._seen = array("Q")
        dropped: Counter[str] = Counter()
        uuids = TaskUUIDs()
        for number, text in self._numbered():
            try:
                line, digest = self._read(number, text)
            except NotJSON as exc:
                cure = (
                    "save the file as UTF-8"
                    if exc.reason == "not UTF-8"
                    else ("mend or delete this line")
                )
                raise InputError(
                    f"{self.place(number)}: not JSON ({exc}); nothing was run: {cure}"
                ) from None
            digests.add(digest)
            self._seen.append(digest & _LOW)
            problems += line.problem is not None
            if line.task is not None and isinstance(own := line.task.get("taskUUID"), str):
                uuids.add(own)
            dropped.update({_INDEX.sub("[]", place) for place in line.dropped})
            count, last = count + 1, number
        if not count:
            raise InputError(f"{self.name}: is empty: {_EMPTY[self._entries]}")
        repeated = frozenset(digests.repeated)
        return Facts(count, last, problems, dict(dropped), repeated, uuids)

    def lines(self, facts: Facts) -> Iterator[Line]:
        """The lines as the first pass saw them. One reader at a time.

        A line that was changed since then has a ``problem``: it is another one, for the next run.
        """
        before: Counter[int] = Counter()
        for (number, text), seen in zip(self._numbered(), self._seen, strict=False):
            if number > facts.last:
                return
            line, digest = self._as_seen(number, text, seen)
            if digest in facts.repeated:
                line = replace(line, key=line_key(digest, before[digest]))
                before[digest] += 1
            yield line

    def _as_seen(self, number: int, text: bytes, seen: int) -> tuple[Line, int]:
        try:
            line, digest = self._read(number, text)
            if digest & _LOW == seen:
                return line, digest
            problem = _CHANGED
        except NotJSON as exc:
            problem = f"not JSON any more: {exc}"
        digest = content_digest(problem, None)
        return Line(number, line_key(digest, number), None, None, problem), digest

    def _read(self, number: int, text: bytes) -> tuple[Line, int]:
        """A line with the key of the first of its kind, and the digest of its content."""
        content: Any
        made: LineTask | None = None
        problem: str | None
        if text.startswith(b"!"):
            content, problem = text.decode(), cast("str", json.loads(text[1:]))
        else:
            content, problem = read_text(text)
        line_id = find_id(content)
        if problem is None:
            try:
                made = make_task(content, prompt_column=self._column, drop=self._drop)
            except LineError as exc:
                problem = str(exc)
            except RecursionError:
                problem = "is nested too deeply"
        if made is None:
            told = text.decode("utf-8", "replace") if content is None else content
            digest = content_digest(told, line_id)
            return Line(number, line_key(digest, 0), line_id, None, problem), digest
        digest = content_digest(made.task, line_id)
        key = line_key(digest, 0)
        return Line(number, key, line_id, made.task, None, made.dropped, made.extra), digest
