"""SQLite's errors as errors of the journal: what is wrong, where, and what helps."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from runware_ws.errors import JournalError

__all__ = ["explain", "explain_os", "is_hidden", "why_not"]

# Not by name from sqlite3: Python 3.11 has these, and they never change.
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26
_OF_DATA = (18, 19, 20, 25)
"""Too big, a constraint, a type, the number of a parameter."""
_ABOUT_DATA = (sqlite3.DataError, UnicodeError, OverflowError)

# Of the errors of input and output, those of reading: the file is damaged, or the disk is.
_READING = frozenset({266, 522, 8202, 8458})


def explain(
    exc: sqlite3.Error | UnicodeError | OverflowError, path: Path, busy_timeout: float
) -> JournalError:
    """``exc``, which happened to the journal at ``path``."""
    extended = getattr(exc, "sqlite_errorcode", None) or 0
    match extended & 0xFF:
        case code if code in _OF_DATA or isinstance(exc, _ABOUT_DATA):
            return JournalError(
                f"{path}: SQLite does not take what is to be recorded of this task ({exc}): "
                "look at its key and its size",
                about_data=True,
            )
        case code if code in (_BUSY, _LOCKED):
            return JournalError(
                f"{path}: another process has kept the journal locked for {busy_timeout:g} s: "
                "end what holds it (a backup? a shell?), or try again later",
                temporary=True,
            )
        case code if code == _FULL:
            return _no_room(path)
        case code if code == _IOERR and extended not in _READING:
            if _is_full(path):
                return _no_room(path)
            return JournalError(
                f"{path}: the journal cannot be written ({exc}): "
                "look at the disk, its quota and the limit of file sizes, then try again",
                temporary=True,
            )
        case code if code in (_CORRUPT, _IOERR):
            return JournalError(
                f"{path}: the journal is damaged ({exc}): move it away with its -wal and -shm "
                "and keep them; `sqlite3 FILE .recover` can read what is left of it"
            )
        case code if code == _NOTADB:
            return JournalError(f"{path}: this file is not a journal: choose another path")
        case code if code in (_READONLY, _CANTOPEN):
            return JournalError(f"{path}: {why_not(path)}")
        case _:
            return JournalError(f"{path}: the journal cannot be used: {exc}")


def explain_os(exc: OSError, path: Path) -> JournalError:
    """``exc``, which happened to a file of the journal at ``path``, or to its folder."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_room(path)
    return JournalError(f"{path}: {why_not(path)} ({exc.strerror or exc})")


def _no_room(path: Path) -> JournalError:
    return JournalError(
        f"{path}: no room is left on the journal's disk: make room; "
        "`runware-ws journal prune` forgets old results",
        temporary=True,
    )


def _is_full(path: Path) -> bool:
    try:
        room = os.statvfs(path.parent)
    except (OSError, AttributeError):
        return False
    return room.f_bavail * room.f_frsize < 1 << 16


def is_hidden(path: Path) -> bool:
    """Whether this user may not even look whether there is such a file."""
    try:
        os.stat(path)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def why_not(path: Path) -> str:
    """Why the file cannot be opened or written, and the cure."""
    # Not by methods of the path: these raise where one may not look.
    folder, there = path.parent, os.path.exists(path)
    if not is_hidden(path):
        if not os.path.isdir(folder):
            return f"the folder {folder} does not exist: create it, or choose another path"
        if os.path.isdir(path):
            return "this is a folder: name a file in it"
        if there and not os.path.isfile(path):
            return "this is not a regular file: choose another path"
        if not there and os.access(folder, os.W_OK | os.X_OK):
            return "the journal cannot be created or has gone: choose another path"
        if os.access(path, os.R_OK | os.W_OK) and os.access(folder, os.W_OK | os.X_OK):
            return (
                "the journal cannot be opened: look at the limit of open files (ulimit -n), "
                "and whether its -wal and -shm may be written"
            )
    return (
        "the journal cannot be written: "
        "give this user the right to write the file and its folder, or choose another path"
    )
