"""The output of ``run``: one line for each line of the input, written whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson

from runware_ws import Submitted
from runware_ws.batch.reading import Line
from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.models.jsonable import encode_json

__all__ = ["Output", "Prior", "head"]


def head(line: Line) -> dict[str, Any]:
    """What every output line begins with."""
    start: dict[str, Any] = {"line": line.number, "key": f"{line.key:032x}"}
    if line.id is not None:
        name, value = line.id
        start[name] = value
    return start


@dataclass(slots=True)
class Prior:
    """What an output held when the run began, by line key.

    ``again``: lines with an error that are to be tried once more. ``judged``: of these, the ones
    on which the server gave its verdict, so that their taskUUIDs are used up. ``ask``: taskUUIDs
    of those whose task may have been run, but whose outcome is not known.
    """

    results: set[int] = field(default_factory=set[int])
    kept_errors: set[int] = field(default_factory=set[int])
    again: set[int] = field(default_factory=set[int])
    judged: set[int] = field(default_factory=set[int])
    ask: dict[int, str] = field(default_factory=dict[int, str])
    torn: bool = False
    untidy: bool = False

    def done(self, key: int) -> bool:
        """Whether this line needs nothing."""
        return key in self.results or key in self.kept_errors


class Output:
    """Appends to a file, or to standard output (``-``).

    Raises:
        Stop: it cannot be written.
    """

    def __init__(self, name: str) -> None:
        self.path = None if name == "-" else Path(name)
        self.name = "standard output" if self.path is None else name
        self.written = 0
        self._fd = -1
        try:
            if self.path is None:
                self._regular = False
            else:
                self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        except OSError as exc:
            raise self._unwritable(exc) from None

    @property
    def can_resume(self) -> bool:
        """Whether it is a real file, which can be read again."""
        return self._regular

    def _unwritable(self, exc: OSError) -> Stop:
        tail = f"; the {self.written} lines before are kept" if self.written else ""
        return Stop(ExitCode.USAGE, f"{self.name}: cannot be written: {exc.strerror or exc}{tail}")

    # What it holds

    def read(self, *, retry_errors: bool) -> Prior:
        """Look at what an earlier run wrote.

        Raises:
            Stop: it holds something that no run wrote.
        """
        prior = Prior()
        if self._regular:
            for number, text in enumerate(self._texts(), 1):
                entry = _entry(text)
                if entry is not None:
                    self._note(prior, entry, retry_errors)
                elif not text.endswith(b"\n"):
                    prior.torn = True
                elif text.strip():
                    raise Stop(
                        ExitCode.USAGE,
                        f"{self.name}:{number}: was not written by this command: "
                        "choose another output, or delete this line",
                    )
                if not text.endswith(b"\n"):
                    prior.untidy = True
        again = prior.again - prior.results - prior.kept_errors
        prior.untidy |= again != prior.again
        prior.again = again
        prior.ask = {key: uuid for key, uuid in prior.ask.items() if key in again}
        return prior

    def _texts(self) -> Iterator[bytes]:
        assert self.path is not None
        try:
            with self.path.open("rb") as file:
                yield from file
        except OSError as exc:
            raise self._unwritable(exc) from None

    @staticmethod
    def _note(prior: Prior, entry: dict[str, Any], retry_errors: bool) -> None:
        key = int(entry["key"], 16)
        if key in prior.results or key in prior.kept_errors or key in prior.again:
            prior.untidy = True
        if "result" in entry:
            prior.results.add(key)
            return
        error = entry["error"]
        if not retry_errors and error.get("retryable") is not True:
            prior.kept_errors.add(key)
            return
        prior.again.add(key)
        uuid = error.get("task_uuid")
        if error.get("type") == "TaskError":
            prior.judged.add(key)
        elif error.get("submitted") != Submitted.NO.value and isinstance(uuid, str):
            prior.ask[key] = uuid

    def tidy(self, prior: Prior, stale: set[int]) -> None:
        """Leave one line for each line that is done; ``stale`` ones go to ``OUT.stale``.

        The new file takes the old one's place in one step.
        """
        if not (prior.untidy or prior.again or stale):
            return
        assert self.path is not None
        temporary = self.path.with_name(self.path.name + ".new")
        aside = self.path.with_name(self.path.name + ".stale")
        left = {*prior.results, *prior.kept_errors}
        try:
            with temporary.open("wb") as new:
                for text in self._texts():
                    entry = _entry(text)
                    key = -1 if entry is None else int(entry["key"], 16)
                    if entry is None or key not in left:
                        continue
                    if key in prior.results and "result" not in entry:
                        continue
                    left.discard(key)
                    whole = text if text.endswith(b"\n") else text + b"\n"
                    if key in stale:
                        with aside.open("ab") as old:
                            old.write(whole)
                    else:
                        new.write(whole)
                new.flush()
                os.fsync(new.fileno())
            os.chmod(temporary, stat.S_IMODE(os.fstat(self._fd).st_mode))
            # A link is followed: what it points to is the output.
            temporary.replace(self.path.resolve())
            os.close(self._fd)
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND)
        except OSError as exc:
            raise self._unwritable(exc) from None

    # Writing

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line, at once."""
        data = encode_json(entry) + b"\n"
        try:
            if self.path is None:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            else:
                self._append(data)
        except OSError as exc:
            raise self._unwritable(exc) from None
        self.written += 1

    def _append(self, data: bytes) -> None:
        size = os.fstat(self._fd).st_size if self._regular else 0
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            if self._regular:
                os.ftruncate(self._fd, size)  # A full disk took half of the line.
            raise

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _entry(text: bytes) -> dict[str, Any] | None:
    """A line of ours, decoded; ``None`` where it is none."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    entry = cast("dict[str, Any]", value)
    key = entry.get("key")
    try:
        int(key if isinstance(key, str) else "", 16)
    except ValueError:
        return None
    if isinstance(entry.get("result"), dict) or isinstance(entry.get("error"), dict):
        return entry
    return None
