"""What the checks of stores do again and again, and how owners die."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from runware_ws.errors import Fenced
from runware_ws.journal.store import Adoption, Entry, EntryState, NewEntry, Store, Transaction

__all__ = [
    "OTHER_TARGET",
    "PATIENCE",
    "TARGET",
    "StoreBench",
    "StoreMaker",
    "adopt_all",
    "all_of",
    "all_of_one",
    "at_once",
    "begin",
    "begin_keyed",
    "end",
    "fences",
    "new",
    "number_of",
    "wait_until",
]

StoreMaker = Callable[[], Store]
"""Returns a new store of the one journal, not open."""

TARGET = "wss://one.test"
OTHER_TARGET = "wss://another.test"

PROBE = "probe"
"""A task of an owner that is to be killed: it can be adopted once the owner counts as dead."""

PATIENCE = 30.0
"""How long a killed owner's lock may take to be freed, and threads to end, in seconds."""


class StoreBench:
    """Stores of one journal, and ways for them to die."""

    def __init__(self, make: StoreMaker, kill: Callable[[Any], None] | None) -> None:
        self.make = make
        self._kill = kill
        self._stores: list[Store] = []
        self._children: list[int] = []

    def open(self, target: str = TARGET) -> Store:
        store = self.make()
        store.open(target, 1.0)
        self._stores.append(store)
        return store

    def dies_after(self, act: Callable[[Store], object], target: str = TARGET) -> None:
        """An owner opens the journal, does ``act``, is killed, and counts as dead by now."""
        watcher = self.open(target)
        if self._kill is not None:
            store, kept = self._live(act, target)
            self._kill(store)
            del kept
        else:
            child, said = self._fork(act, target)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            assert said == b"", f"an owner in a process of its own failed:\n{said.decode()}"
        owner = all_of(watcher)[PROBE].owner
        wait_until(lambda: _adopt(watcher, PROBE, owner), "the killed owner still counts as alive")
        with watcher.transaction() as work:
            work.drop(PROBE)

    def _live(self, act: Callable[[Store], object], target: str) -> tuple[Store, object]:
        store = self.make()
        store.open(target, 1.0)
        begin(store, PROBE)
        return store, act(store)

    def _fork(self, act: Callable[[Store], object], target: str) -> tuple[int, bytes]:
        """A child that does it, and what it says of an error. It waits to be killed."""
        if not hasattr(os, "fork"):
            raise NotImplementedError("this system cannot fork: give kill=")
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Of threads that others started
            child = os.fork()
        if child:
            os.close(write)
            with os.fdopen(read, "rb") as pipe:
                done = pipe.read(1)
                return child, b"" if done == b"." else done + pipe.read()
        try:
            kept = self._live(act, target)
            os.write(write, b".")
            time.sleep(PATIENCE * 10)
            del kept
        except BaseException:
            os.write(write, traceback.format_exc().encode())
        finally:
            os._exit(1)

    def close(self) -> None:
        for store in self._stores:
            store.close()


def _adopt(store: Store, uuid: str, owner: int) -> bool:
    with store.transaction() as work:
        return work.adopt(uuid, owner)


def new(
    uuid: str, key: str | None = None, *, digest: bytes = b"digest", payload: bytes = b"{}"
) -> NewEntry:
    return NewEntry(uuid, key, digest, payload, 2.0)


def begin(store: Store, *uuids: str) -> None:
    """Begin tasks without a key, durably."""
    with store.transaction() as work:
        for uuid in uuids:
            assert work.begin(new(uuid)) is None, f"{uuid} is new, and begin says it is there"


def begin_keyed(store: Store, uuid: str, key: str) -> Entry | None:
    with store.transaction() as work:
        return work.begin(new(uuid, key))


def end(store: Store, uuid: str, state: EntryState = EntryState.DONE, now: float = 3.0) -> bool:
    with store.transaction() as work:
        return work.end(uuid, state, b'"outcome"', now)


def adopt_all(store: Store) -> Adoption:
    with store.transaction() as work:
        return work.adopt_all()


def all_of(store: Store) -> dict[str, Entry]:
    with store.transaction() as work:
        entries = work.entries()
    return {entry.uuid: entry for entry in entries}


def number_of(store: Store) -> int:
    """The owner's number: that of an entry of its own."""
    with store.transaction() as work:
        assert work.begin(new("number", "number")) is None, "a dropped entry is left over"
        entry = work.find("number")
        assert entry is not None, "find does not see what its own transaction began"
        work.drop("number")
    return entry.owner


def fences(store: Store) -> bool:
    """Whether the store's transactions fail with ``Fenced``, before anything is done in them."""
    try:
        with store.transaction():
            return False
    except Fenced:
        return True


def all_of_one(work: Transaction, uuid: str) -> Entry:
    return next(entry for entry in work.entries() if entry.uuid == uuid)


def wait_until(what: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, otherwise
        time.sleep(0.01)


def at_once(actions: Sequence[Callable[[], None]]) -> None:
    """Run them in threads that start together. Each store is used by one of them."""
    together = threading.Barrier(len(actions))
    failed: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            together.wait(PATIENCE)
            action()
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=run, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "stores wait for each other for ever"
    if failed:
        raise failed[0]
