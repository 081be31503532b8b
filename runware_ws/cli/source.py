"""The input of ``run``: a file of lines, read several times and never held in memory."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.cli.lines import Line, find_id, id_digest, read_line

__all__ = ["Facts", "Source"]

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first pass found. ``last``: number of the last line; ``repeated``: see lines."""

    count: int
    last: int
    repeated: frozenset[int]


class Source:
    """JSON lines from a file; standard input (``-``) is copied to a temporary file first.

    Close it, or use it as a context manager.

    Raises:
        Stop: the file cannot be read.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            if name == "-":
                self.name = "standard input"
                # All passes need the same lines, and a pipe can be read once only.
                self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
                shutil.copyfileobj(sys.stdin.buffer, self._file)
            else:
                self._file = Path(name).open("rb")  # noqa: SIM115
        except OSError as exc:
            raise self._unreadable(exc) from None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _unreadable(self, exc: OSError) -> Stop:
        return Stop(ExitCode.USAGE, f"{self.name}: cannot be read: {exc.strerror or exc}")

    def is_file(self, path: Path) -> bool:
        """Whether ``path`` is this very file."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), path.stat())
        except OSError:
            return False

    @contextmanager
    def _from_start(self) -> Generator[Iterator[tuple[int, bytes]]]:
        self._file.seek(0)
        yield self._numbered()

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        """Number (from 1) and text of each line that is not blank."""
        try:
            for number, text in enumerate(self._file, 1):
                if number == 1:
                    text = text.removeprefix(_BOM)
                stripped = text.strip()
                if stripped:
                    yield number, stripped
        except OSError as exc:
            raise self._unreadable(exc) from None

    def check(self) -> Facts:
        """The first pass: every line must be JSON, because a broken file is broken by mistake.

        Raises:
            Stop: a line is not JSON, or there is none.
        """
        count = last = 0
        seen: set[int] = set()
        repeated: set[int] = set()
        with self._from_start() as lines:
            for number, text in lines:
                try:
                    line_id = find_id(orjson.loads(text))
                except orjson.JSONDecodeError as exc:
                    why = exc.msg.partition(": line 1 column")[0]
                    raise Stop(
                        ExitCode.USAGE,
                        f"{self.name}:{number}: not JSON ({why}, at column {exc.colno}); "
                        "nothing was run: mend or delete this line",
                    ) from None
                if line_id is not None:
                    digest = id_digest(line_id)
                    (repeated if digest in seen else seen).add(digest)
                count, last = count + 1, number
        if not count:
            raise Stop(ExitCode.USAGE, f"{self.name}: is empty: give one JSON object on each line")
        return Facts(count, last, frozenset(repeated))

    def lines(self, facts: Facts) -> Iterator[Line]:
        """The lines as the first pass saw them. One reader at a time."""
        with self._from_start() as lines:
            for number, text in lines:
                if number > facts.last:
                    return
                yield read_line(number, text, facts.repeated)
