"""Locks that tell which owners of a journal in a file are alive.

Each owner holds a lock file of its own with ``flock``, in a folder beside the database. The kernel
frees the lock when the process dies, however it dies, and nothing else does: no heartbeat, no
clock, no process number that another process may have by now.

``flock`` belongs to an open file, not to a process, so two owners in one process see each other's
locks (those of ``fcntl`` would not). The other side of it: a forked child has the same open file,
and would keep its dead parent's lock. So children close it, see :mod:`runware_ws.journal.forks`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from runware_ws.errors import ConfigurationError

__all__ = ["OwnerLock", "is_held", "require_locks", "sweep"]


class OwnerLock:
    """A lock file in ``folder``, held from here on. ``name`` is its name there.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        while True:
            self.name = secrets.token_hex(8)
            path = folder / self.name
            self._fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            # Somebody who sweeps may have looked at it, or removed it, before it was locked.
            if _lock(self._fd, shared=False) and _is_at(self._fd, path):
                return
            os.close(self._fd)
            remove(folder, self.name)

    def let_go(self) -> None:
        """Close this process's end. The lock is freed unless the process was forked. Idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def remove(self) -> None:
        """Remove the file; nobody may know its owner any more."""
        remove(self._folder, self.name)


def require_locks() -> None:
    """Refuse a system without ``flock``.

    Raises:
        ConfigurationError: there is none.
    """
    if find_spec("fcntl") is None:
        raise ConfigurationError(
            "journal: a journal in a file needs flock, which this system does not have: "
            "use journal='postgresql://...'"
        )


def is_held(folder: Path, name: str) -> bool:
    """Whether the owner of this lock lives. A file that is not there is held by nobody."""
    try:
        fd = os.open(folder / name, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        # Another user's, or no file can be opened: who cannot ask does not take anything over.
        return True
    try:
        # Shared, so that two who ask at the same time do not take each other for the owner.
        return not _lock(fd, shared=True)
    except OSError:
        return True
    finally:
        os.close(fd)


def remove(folder: Path, name: str) -> None:
    """Remove a lock file, if it can be."""
    with contextlib.suppress(OSError):
        (folder / name).unlink()


def sweep(folder: Path, known: Collection[str]) -> None:
    """Remove lock files that nobody holds and that belong to no owner in ``known``.

    They are of processes that died between two steps.
    """
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name not in known and not is_held(folder, name):
                remove(folder, name)


def _lock(fd: int, *, shared: bool) -> bool:
    import fcntl

    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
