"""The same operations on a store and on one in memory: what is seen must be the same."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from runware_ws.errors import Fenced
from runware_ws.journal.store import Entry, EntryState, NewEntry, Store, Transaction
from runware_ws.testing.memory_store import MemoryJournal
from runware_ws.testing.store_bench import TARGET, StoreMaker, number_of

__all__ = ["Operation", "check_like_memory", "random_operations"]

Operation = tuple[Any, ...]
"""A name of ``_OPERATIONS``, which owner (0 to 2), and up to three small numbers."""

_OPERATIONS = (
    *("begin", "begin", "begin", "end", "end", "again", "adopt", "adopt_all", "drop", "session"),
    *("find", "prune", "fence", "reopen", "undone"),
)


def random_operations(seed: int, count: int = 60) -> list[Operation]:
    """Operations for :func:`check_like_memory`, the same for the same seed."""
    draw = random.Random(seed)
    return [
        (draw.choice(_OPERATIONS), *(draw.randrange(n) for n in (3, 8, 8, 8))) for _ in range(count)
    ]


def check_like_memory(make: StoreMaker, operations: Sequence[Operation]) -> None:
    """Do the same with a store and with one in memory; all that is seen must be the same.

    Raises:
        AssertionError: something is not.
    """
    memory = MemoryJournal()
    with _several(make) as real, _several(memory.store) as model:
        for number, operation in enumerate(operations):
            seen = [side.do(operation, float(number)) for side in (real, model)]
            assert seen[0] == seen[1], (
                f"after {operations[:number]}, {operation} gives {seen[0]}, not {seen[1]}"
            )


@contextmanager
def _several(make: StoreMaker) -> Generator[_Several]:
    several = _Several(make)
    try:
        yield several
    finally:
        several.close()


class _Several:
    """Three owners of one journal, whose numbers are told as 0, 1, 2, and so on."""

    def __init__(self, make: StoreMaker) -> None:
        self._make = make
        self._numbers: dict[int, int] = {}
        self._watcher = make()
        self._watcher.open(TARGET, 1.0)
        self._stores: list[Store] = [self._new() for _ in range(3)]

    def _new(self) -> Store:
        store = self._make()
        store.open(TARGET, 1.0)
        self._numbers[number_of(store)] = len(self._numbers)
        return store

    def close(self) -> None:
        for store in (*self._stores, self._watcher):
            store.close()

    def do(self, operation: Operation, now: float) -> object:
        """What the operation gives, and what is there afterwards."""
        name: str = operation[0]
        which: int = operation[1]
        values: tuple[int, ...] = operation[2:]
        store = self._stores[which]
        if name == "reopen":
            store.close()
            self._stores[which] = self._new()
            return self._look()
        if name == "fence":
            numbers = {told: number for number, told in self._numbers.items()}
            return self._fence(store, numbers[values[0] % len(numbers)]), self._look()
        try:
            with store.transaction() as work:
                gave = self._told(_do(work, name, values, now, self._numbers))
                if name == "undone":
                    raise _Undone
        except Fenced:
            store.close()
            self._stores[which] = self._new()
            return "fenced", self._look()
        except _Undone:
            gave = "undone"
        return gave, self._look()

    def _fence(self, store: Store, owner: int) -> object:
        try:
            return store.fence(owner)
        except Fenced:
            return "fenced"

    def _look(self) -> object:
        with self._watcher.transaction() as work:
            return self._told(list(work.entries()))

    def _told(self, value: object) -> object:
        if isinstance(value, Entry):
            return tuple(
                self._numbers.get(value.owner) if name == "owner" else getattr(value, name)
                for name in Entry.__slots__
            )
        if isinstance(value, list):
            return [self._told(each) for each in cast("list[object]", value)]
        return value


class _Undone(Exception):
    pass


def _do(
    work: Transaction, name: str, values: Sequence[int], now: float, numbers: dict[int, int]
) -> object:
    a, b, c = values
    uuid, key = f"{a:08}", None if b > 5 else f"key {b}"
    match name:
        case "begin" | "undone":
            return work.begin(NewEntry(uuid, key, b"%d" % c, b"payload %d" % a, now))
        case "end":
            state = EntryState.DONE if b % 2 else EntryState.FAILED
            return work.end(uuid, state, b"x" * (c + 1), now)
        case "again":
            return _again(work, uuid, NewEntry(f"{a:08}-{int(now)}", key, b"again", b"{}", now))
        case "adopt":
            owners = {told: number for number, told in numbers.items()}
            return work.adopt(uuid, owners[b % len(owners)])
        case "adopt_all":
            adoption = work.adopt_all()
            entries: object = sorted(adoption.entries, key=lambda entry: entry.uuid)
            return [entries, adoption.session]
        case "drop":
            work.drop(uuid)
            return None
        case "session":
            work.session("the session")
            return None
        case "find":
            return work.find(f"key {b}")
        case "prune":
            return work.prune(now - 4.0 * a, c)
        case _:
            raise ValueError(name)


def _again(work: Transaction, uuid: str, new_entry: NewEntry) -> bool:
    """The next attempt of an entry, which has the key of the last."""
    entry = next((each for each in work.entries() if each.uuid.startswith(uuid)), None)
    if entry is None:
        return work.again(uuid, new_entry)
    attempt = NewEntry(new_entry.uuid, entry.key, b"again", b"{}", new_entry.created)
    return work.again(entry.uuid, attempt)
