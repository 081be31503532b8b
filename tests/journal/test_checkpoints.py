"""SQLite's log is copied into the database beside the commits, which go on whatever happens."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from runware_ws.journal import sqlite_checkpoints
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.sqlite_checkpoints import Checkpoints
from tests.journal.sqlite_support import TARGET, fill, new, opened, run_python

pytestmark = pytest.mark.timeout(120)

NUMBERS = count()
NEVER = 1 << 60


def commit(store: SqliteStore, rows: int = 1, each: int = 2) -> None:
    with store.transaction() as work:
        for _ in range(rows):
            assert work.begin(new(str(next(NUMBERS)), payload=bytes(each))) is None


def copying() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "runware_ws checkpoint"]


def copied() -> None:
    """Wait for what is being copied."""
    for thread in copying():
        thread.join()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def times_begun(path: Path) -> int:
    """How often the log was begun anew."""
    return int.from_bytes(log_of(path).read_bytes()[12:16], "big")


def always(patch: pytest.MonkeyPatch, *, renewed: int = 1) -> None:
    """Copy after each commit."""
    patch.setattr(sqlite_checkpoints, "EVERY", 1)
    patch.setattr(sqlite_checkpoints, "RENEWED", renewed)


def test_those_who_commit_do_not_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "EVERY", NEVER)
    store = opened(path, synchronous="NORMAL")
    before = path.stat().st_size
    for _ in range(60):
        commit(store, rows=10, each=40_000)
    assert log_of(path).stat().st_size > 6_000 * 4096
    assert path.stat().st_size == before
    # But for a log that grows and grows there is still SQLite's own way.
    for _ in range(110):
        commit(store, rows=10, each=40_000)
    assert log_of(path).stat().st_size < 17_000 * 4120
    assert path.stat().st_size > 10_000 * 4096
    store.close()


def only_beside(path: Path) -> SqliteStore:
    """A store that never copies when it commits."""
    store = opened(path, synchronous="NORMAL")
    db = store._db  # pyright: ignore[reportPrivateUsage]
    assert db is not None
    db.execute("PRAGMA wal_autocheckpoint = 0")
    return store


def test_it_is_copied_beside_them(path: Path) -> None:
    store = only_beside(path)
    for number in range(1, 100):
        commit(store, rows=100, each=4_000)
        copied()
        assert times_begun(path) >= (number - 1) // 10
    # Ten commits make 1,000 rows and 1,000 pages for what they carry, and some.
    assert log_of(path).stat().st_size < 3_000 * 4120
    store.close()


def test_a_store_that_is_opened_again_is_copied_too(path: Path) -> None:
    store = opened(path, synchronous="NORMAL")
    commit(store, rows=1_500)
    store.close()
    store.open(TARGET, 1.0)
    before = path.stat().st_size
    commit(store, rows=1_100, each=4_000)
    copied()
    assert path.stat().st_size > before + 1_000 * 4_000
    store.close()


@pytest.mark.parametrize("renewed", [1, NEVER])
def test_a_long_log_is_begun_anew_though_commits_never_pause(
    path: Path, monkeypatch: pytest.MonkeyPatch, renewed: int
) -> None:
    always(monkeypatch, renewed=renewed)
    store = only_beside(path)
    copy: Callable[..., int] = Checkpoints._copy  # pyright: ignore[reportPrivateUsage]

    def copy_a_part(self: Checkpoints, mode: Any) -> int:
        if mode == "FULL":
            return copy(self, mode)
        # What comes while it is being copied is not copied; here that is so for what the reader
        # does not see.
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        commit(store)
        pages = copy(self, mode)
        reader.close()
        return pages

    monkeypatch.setattr(Checkpoints, "_copy", copy_a_part)
    for _ in range(10):
        commit(store)
        copied()
    assert times_begun(path) == (9 if renewed == 1 else 0)
    store.close()


def test_another_process_that_writes_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "EVERY", NEVER)
    store = only_beside(path)
    commit(store, rows=50, each=4_000)
    size = path.stat().st_size
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    always(monkeypatch)
    store._checkpoints.committed(50)  # pyright: ignore[reportPrivateUsage]
    copied()
    assert path.stat().st_size > size
    other.execute("ROLLBACK")
    other.close()
    store.close()


def test_who_reads_keeps_the_log_and_then_it_is_begun_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(monkeypatch)
    store = only_beside(path)
    commit(store)
    copied()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    there = reader.execute("SELECT count(*) FROM entries").fetchone()
    commit(store)
    copied()
    begun = times_begun(path)
    for _ in range(20):
        commit(store)
        copied()
    assert times_begun(path) == begun
    assert reader.execute("SELECT count(*) FROM entries").fetchone() == there
    reader.execute("COMMIT")
    reader.close()
    for _ in range(2):
        commit(store)
        copied()
    assert times_begun(path) > begun
    store.close()


# Trouble


def broken_disk(patch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any, **__: Any) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    patch.setattr("runware_ws.journal.sqlite_checkpoints.sqlite3.connect", connect)


def no_more_threads(patch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    patch.setattr("runware_ws.journal.sqlite_checkpoints.threading.Thread.start", start)


@pytest.mark.parametrize("trouble", [broken_disk, no_more_threads])
def test_where_it_cannot_be_copied_commits_go_on(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: Callable[[pytest.MonkeyPatch], None],
) -> None:
    always(monkeypatch)
    store = only_beside(path)
    with monkeypatch.context() as patch:
        trouble(patch)
        for _ in range(5):
            commit(store)
            copied()
        assert times_begun(path) == 0
    commit(store)
    copied()
    commit(store)
    assert times_begun(path) == 1
    assert caplog.records == []
    with store.transaction() as work:
        assert len(work.entries()) == 7
    store.close()


def test_a_disk_with_no_room_for_the_copy(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_disk / "agents.db"
    always(monkeypatch)
    store = only_beside(path)
    commit(store, rows=60, each=4_000)
    copied()
    commit(store)
    copied()
    size, begun = path.stat().st_size, times_begun(path)
    # The log is long enough for what is committed; the database has no room to grow.
    filler = small_disk / "filler"
    fill(filler)
    for _ in range(3):
        commit(store, rows=5, each=4_000)
        copied()
    assert times_begun(path) == begun + 1
    filler.unlink()
    commit(store)
    copied()
    commit(store)
    copied()
    assert times_begun(path) == begun + 2
    assert path.stat().st_size > size
    with store.transaction() as work:
        assert len(work.entries()) == 78
    store.close()


def test_closed_while_it_is_being_copied_it_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(monkeypatch)
    copy: Callable[..., int] = Checkpoints._copy  # pyright: ignore[reportPrivateUsage]
    close = Checkpoints.close
    closing, in_midst = threading.Event(), threading.Event()
    still_open: set[bool] = set()

    def slow(self: Checkpoints, mode: Any) -> int:
        in_midst.set()
        assert closing.wait(60)
        for _ in range(500):
            copy(self, mode)
            still_open.add(store._db is not None)  # pyright: ignore[reportPrivateUsage]
        return 0

    def close_meanwhile(self: Checkpoints) -> None:
        closing.set()
        close(self)

    monkeypatch.setattr(Checkpoints, "_copy", slow)
    monkeypatch.setattr(Checkpoints, "close", close_meanwhile)
    store = opened(path, synchronous="NORMAL")
    commit(store)
    assert in_midst.wait(60)
    commit(store)
    store.close()
    assert still_open == {True}
    assert copying() == []
    assert not log_of(path).exists()
    assert list(open_files(path.parent)) == []
    store = opened(path)
    with store.transaction() as work:
        assert len(work.adopt_all().entries) == 2
    store.close()


def test_a_fork_waits_for_what_is_being_copied(path: Path) -> None:
    run_python(
        """
        from runware_ws.journal import sqlite_checkpoints
        from runware_ws.journal.sqlite_checkpoints import Checkpoints
        sqlite_checkpoints.EVERY = 1
        in_midst, forking, copied = threading.Event(), threading.Event(), threading.Event()
        copy = Checkpoints._copy

        def slow(self, mode):
            in_midst.set()
            assert forking.wait(30)
            pages = copy(self, mode)
            copied.set()
            return pages

        Checkpoints._copy = slow
        # What is registered last is called first.
        os.register_at_fork(before=forking.set)
        path = Path(sys.argv[1])
        store = opened(path)
        begin(store, "a")
        assert in_midst.wait(30)
        if (child := os.fork()) == 0:
            here = [] if copied.is_set() else ["in its midst"]
            own = opened(path)
            begin(own, "child")
            own.close()
            os._exit(len(here))
        assert os.waitpid(child, 0)[1] == 0
        begin(store, "b")
        store.close()
        """,
        path,
    )
    store = opened(path)
    with store.transaction() as work:
        assert {entry.uuid for entry in work.adopt_all().entries} == {"a", "b", "child"}
    store.close()


def open_files(folder: Path) -> Iterator[str]:
    if not os.path.isdir("/proc/self/fd"):
        return
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            name = os.readlink(f"/proc/self/fd/{each}")
            if name.startswith(str(folder)):
                yield name
