"""The files of a journal in SQLite: created, made private, and still there.

SQLite finds the log (``-wal``) and its index (``-shm``) by the name of the database. Where two
processes have different files under one name, or one file under two names, neither sees what the
other commits: a key would be run twice, and one log be copied over what the other one brought.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
import sys
from pathlib import Path

from runware_ws.errors import ConfigurationError, JournalError

__all__ = [
    "FileIds",
    "close_without_copy",
    "create_file",
    "ids_of",
    "make_private",
    "require_one_name",
    "resolved",
    "which_is_lost",
]

FileIds = tuple[tuple[int, int] | None, ...]
"""What the kernel knows the database, its log and the log's index by."""

_PARTS = ("", "-wal", "-shm")


def resolved(path: str | os.PathLike[str]) -> Path:
    """The path without links, so that two ways to a file are one name.

    Raises:
        ConfigurationError: it cannot be the path of a file.
    """
    name = os.fspath(path)
    if not name or name == ":memory:" or "\0" in name or not _is_name(name):
        raise ConfigurationError(f"journal={name!r}: must be the path of a file")
    return Path(os.path.realpath(name))


def ids_of(path: Path) -> FileIds:
    """Those of the files that have these names now; ``None`` for one that is not there."""
    return tuple(_id_of(f"{path}{part}") for part in _PARTS)


def which_is_lost(path: Path, ids: FileIds) -> str | None:
    """The name of the first file that is not the one it was; ``None`` if all are."""
    for part, before in zip(_PARTS, ids, strict=True):
        if _id_of(f"{path}{part}") != before:
            return f"{path.name}{part}"
    return None


def close_without_copy(db: sqlite3.Connection) -> None:
    """Close a connection whose files were replaced. The last to close copies its log into the
    database otherwise, over what others have committed there since."""
    if sys.version_info >= (3, 12):
        db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
    else:  # SQLite asks before each page whether it was interrupted.
        db.interrupt()
    db.close()


def require_one_name(path: Path) -> None:
    """Refuse a file that has several names (hard links).

    Raises:
        JournalError: it has.
        OSError: it is not there.
    """
    if path.stat().st_nlink < 2:
        return
    # Who creates the file, or died while doing it: see ``create_file``.
    ours = re.compile(re.escape(f".{path.name}.") + "[0-9a-f]{8}")
    for other in path.parent.iterdir():
        with contextlib.suppress(OSError):
            if ours.fullmatch(other.name) and other.samefile(path):
                other.unlink()
    if path.stat().st_nlink > 1:
        raise JournalError(
            f"{path}: this file has several names (hard links), and clients that come by different "
            "names would not see each other: leave one name, or make the other a symbolic link"
        )


def create_file(path: Path) -> None:
    """An empty file of ours alone, if there is none.

    Raises:
        OSError: it cannot be created.
    """
    if os.path.lexists(path):
        return
    # Not opened under its own name: closing a file frees all locks that this process has on it,
    # so also those of another store here that opened it meanwhile.
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    except OSError:  # A file system without hard links
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    finally:
        new.unlink(missing_ok=True)
    _sync_folder(path.parent)


def make_private(path: Path) -> None:
    """Take from others the right to read it: prompts and answers are in there. Others' files stay
    as they are."""
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if name.stat().st_mode & 0o077:
                name.chmod(0o600)


def _id_of(name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_name(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """So that the file's name outlives a loss of power."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
