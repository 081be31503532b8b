"""Whose the tasks of a SQLite journal are: owners and their locks, forked children, threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runware_ws.errors import Fenced
from runware_ws.journal.store import EntryState
from tests.journal.sqlite_support import begin, opened, run_python

pytestmark = pytest.mark.timeout(120)


def test_a_lock_that_is_removed_gets_its_owner_fenced_not_doubled(path: Path) -> None:
    first, second = opened(path), opened(path)
    begin(first, "a")
    for lock in (path.parent / "agents.db.owners").iterdir():
        lock.unlink()
    with second.transaction() as work:
        assert [entry.uuid for entry in work.adopt_all().entries] == ["a"]
    with pytest.raises(Fenced), first.transaction() as work:
        work.end("a", EntryState.DONE, b"1", 2.0)
    first.close()
    second.close()


def test_a_forked_child_does_not_keep_its_dead_parent_alive(path: Path) -> None:
    parent = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import os, sys, time\nfrom tests.journal.sqlite_support import *\n"
            "store = opened(Path(sys.argv[1]))\nbegin(store, 'a')\n"
            # The child tells it: by then it has let go of what it inherited.
            "if os.fork() == 0:\n    print(os.getpid(), flush=True)\n"
            "time.sleep(60)\n",
            str(path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    store = opened(path)
    try:
        with store.transaction() as work:
            assert work.adopt_all().entries == []
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # It lives.
        with store.transaction() as work:
            assert [entry.uuid for entry in work.adopt_all().entries] == ["a"]
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()
        store.close()


def test_a_forked_child_cannot_use_its_parents_store(path: Path) -> None:
    said = run_python(
        """
        store = opened(Path(sys.argv[1]))
        if os.fork() == 0:
            try:
                begin(store, "a")
            except JournalError as exc:
                print(exc.message, flush=True)
            os._exit(0)
        os.wait()
        begin(store, "b")
        store.close()
        """,
        path,
    ).stdout
    assert "a store is of one process" in said


@pytest.mark.parametrize("copied_every", [1_000, 1])
def test_forked_children_with_stores_of_their_own_lose_nothing(
    path: Path, copied_every: int
) -> None:
    # While a thread of the parent commits, and also after the parent has closed its own; and while
    # its log is copied.
    run_python(
        """
        from runware_ws.journal import sqlite_checkpoints
        path = Path(sys.argv[1])
        sqlite_checkpoints.EVERY = sqlite_checkpoints.RENEWED = int(sys.argv[2])
        store = opened(path, busy_timeout=30.0)
        stop = threading.Event()

        def work():
            number = 0
            while not stop.is_set():
                begin(store, f"parent-{number}")
                number += 1

        thread = threading.Thread(target=work)
        thread.start()
        children = []
        read, write = os.pipe()
        for child in range(5):
            if (pid := os.fork()) == 0:
                own = opened(path, busy_timeout=30.0)
                begin(own, *(f"{child}-{number}-before" for number in range(20)))
                os.close(write)
                os.read(read, 1)
                for number in range(20):
                    begin(own, f"{child}-{number}-after")
                os._exit(0)
            children.append(pid)
        stop.set()
        thread.join()
        store.close()
        os.close(write)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
        """,
        path,
        copied_every,
    )
    store = opened(path)
    with store.transaction() as work:
        there = {entry.uuid for entry in work.adopt_all().entries}
    assert {each for each in there if not each.startswith("parent")} == {
        f"{child}-{number}-{when}"
        for child in range(5)
        for number in range(20)
        for when in ("before", "after")
    }
    store.close()


def test_many_open_a_new_journal_at_once(path: Path) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            store = opened(path)
            begin(store, str(number))
            store.close()
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    store = opened(path)
    with store.transaction() as work_:
        assert len(work_.adopt_all().entries) == 8
    assert not list(path.parent.glob(".agents.db.*"))
    store.close()
