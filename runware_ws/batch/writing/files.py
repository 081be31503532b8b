"""Files that are never torn: appended line by line, replaced in one step, locked by one run."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from runware_ws.cli.exits import ExitCode, Stop

__all__ = ["GONE", "Lock", "beside", "lines_of", "replacing", "require_same", "write_whole"]

GONE = errno.ESTALE
"""The number of the error that a file is not ours any more."""


def beside(path: Path, suffix: str) -> Path:
    """The side file of an output: ``OUT`` + ``suffix``. ``path`` is resolved already."""
    return path.with_name(path.name + suffix)


class Lock:
    """The right to write one output: a lock on ``OUT.lock``, which the kernel frees.

    Raises:
        Stop: another run holds it.
        OSError: the lock's file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = beside(path, ".lock")
        while True:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _lock(self._fd)
                # The run before us may have removed the file between our open and our lock.
                if os.path.samestat(os.fstat(self._fd), os.stat(self._path)):
                    return
            except BlockingIOError:
                os.close(self._fd)
                raise Stop(
                    ExitCode.USAGE,
                    f"{path}: another run writes it: wait for its end, or choose another output",
                ) from None
            except FileNotFoundError:
                pass
            except OSError:
                os.close(self._fd)
                raise
            os.close(self._fd)

    def release(self) -> None:
        """Free the output. Idempotent."""
        if self._fd < 0:
            return
        if sys.platform == "win32":
            os.close(self._fd)  # An open file cannot be removed there.
        with suppress(OSError):
            self._path.unlink()
        if sys.platform != "win32":
            os.close(self._fd)
        self._fd = -1


def _lock(fd: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def require_same(path: Path, held: os.stat_result) -> None:
    """Look whether the file that we hold is still the one at ``path``.

    Raises:
        OSError: it is not. What is written to it nobody finds.
    """
    with suppress(FileNotFoundError):
        if os.path.samestat(os.stat(path), held):
            return
    raise OSError(GONE, "it was removed or replaced while this run wrote it")


def write_whole(fd: int, data: bytes, *, regular: bool = True) -> None:
    """Append ``data`` whole or not at all.

    Raises:
        OSError: it does not fit; a regular file is as it was.
    """
    size = os.fstat(fd).st_size if regular else 0
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        if regular:
            os.ftruncate(fd, size)  # A full disk took half of the line.
        raise


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Where each line of a file begins, and its bytes with the line's end; nothing if absent."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        place = 0
        for text in file:
            yield place, text
            place += len(text)


@contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """A new file that takes the place of ``path`` in one step when the block ends.

    It is made in the same folder, because a rename works on one file system only. If the block
    raises, ``path`` is untouched and the new file is gone.
    """
    new = beside(path, ".new")
    try:
        with new.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(new, stat.S_IMODE(path.stat().st_mode))
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename outlive the loss of power, where folders can be synced."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
