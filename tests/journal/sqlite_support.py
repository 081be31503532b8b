"""SQLite journals for the tests: what they open, in this process or another, and small disks."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from runware_ws.errors import JournalError
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.store import NewEntry

__all__ = [
    "TARGET",
    "JournalError",
    "Path",
    "begin",
    "fill",
    "new",
    "opened",
    "run_python",
    "small_disk_in",
]

TARGET = "wss://example.test"


def new(uuid: str, key: str | None = None, payload: bytes = b"{}") -> NewEntry:
    return NewEntry(uuid, key, b"digest", payload, 1.0)


def opened(path: Path, **options: Any) -> SqliteStore:
    store = SqliteStore(path, **options)
    store.open(TARGET, 1.0)
    return store


def begin(store: SqliteStore, *uuids: str) -> None:
    with store.transaction() as work:
        for uuid in uuids:
            assert work.begin(new(uuid)) is None


def run_python(code: str, *args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own, with ``opened``, ``begin`` and ``new`` at hand."""
    return subprocess.run(
        [
            *(sys.executable, "-W", "ignore::DeprecationWarning", "-c"),
            "import os, sys, threading\nfrom pathlib import Path\n"
            "from tests.journal.sqlite_support import *\n" + textwrap.dedent(code),
            *map(str, args),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )


@contextlib.contextmanager
def small_disk_in(parent: Path, size: str) -> Generator[Path]:
    """A file system of its own of this size; the test is skipped where one may not mount."""
    folder = parent / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file: Path) -> None:
    """Take all the room that is left."""
    with file.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"x" * 4096)
