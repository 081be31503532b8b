"""The journal beside an output: which taskUUID was given to which line before it was sent.

A process that dies leaves tasks behind whose answers it never wrote. The next one finds their
taskUUIDs here, asks the server what became of them, and sends again only under the same
taskUUID, which the server runs once.

Each entry is handed to the operating system before its task is sent. It outlives the death of
the process; it may not outlive the loss of the machine's power.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

import orjson

from runware_ws.cli.exits import ExitCode, Stop

__all__ = ["Journal"]


class Journal:
    """``OUT.journal``: open entries by line key. Also the lock of the output.

    Raises:
        Stop: it cannot be written, or another run holds it.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(output.name + ".journal")
        self.session: str | None = None
        """The session of the run that died."""
        self.entries: dict[int, str] = {}
        """The taskUUID of each line that was in flight."""
        self.blank = True
        """Whether no task stands in it."""
        try:
            self._fd = self._open(output)
            self._read()
        except OSError as exc:
            raise Stop(
                ExitCode.USAGE, f"{self.path}: cannot be written: {exc.strerror or exc}"
            ) from None

    def _open(self, output: Path) -> int:
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                _lock(fd)
            except BlockingIOError:
                os.close(fd)
                raise Stop(
                    ExitCode.USAGE,
                    f"{output}: another run writes it: wait for its end, or choose another output",
                ) from None
            # The run before us may have removed the file between our open and our lock.
            if self.path.exists() and os.path.samestat(os.fstat(fd), self.path.stat()):
                return fd
            os.close(fd)

    def _read(self) -> None:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for text in file:
                try:
                    entry: object = orjson.loads(text)
                except orjson.JSONDecodeError:
                    continue  # Torn: the process died before the task was sent.
                if isinstance(entry, dict):
                    self._take(cast("dict[str, Any]", entry))

    def _take(self, entry: dict[str, Any]) -> None:
        match entry:
            case {"key": str(key), "task_uuid": str(uuid)}:
                try:
                    self.entries[int(key, 16)] = uuid
                    self.blank = False
                except ValueError:
                    return
            case {"session": str(session)}:
                self.session = session
            case _:
                pass

    def sent(self, key: int, task_uuid: str) -> None:
        """Note that a task is about to be sent."""
        self.blank = False
        self._append(orjson.dumps({"key": f"{key:032x}", "task_uuid": task_uuid}) + b"\n")

    def connected(self, session: str | None) -> None:
        """Note the session, so that the next process can take it up."""
        if session is not None and session != self.session:
            self.session = session
            self._append(orjson.dumps({"session": session}) + b"\n")

    def _append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self, *, finished: bool) -> None:
        """Close. ``finished``: nothing is open, so the file goes."""
        finished = finished or self.blank
        if sys.platform == "win32":
            os.close(self._fd)  # An open file cannot be removed there.
        if finished:
            self.path.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(self._fd)


def _lock(fd: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
