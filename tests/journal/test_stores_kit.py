"""The checks of stores: the stores that we bring pass them, and broken ones do not."""

from __future__ import annotations

import itertools
import json
import struct
import unicodedata
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runware_ws.errors import JournalError
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.store import Adoption, Entry, EntryState, NewEntry, Store
from runware_ws.testing.memory_store import MemoryTransaction
from runware_ws.testing.stores import (
    STORE_CHECKS,
    MemoryJournal,
    MemoryStore,
    Operation,
    StoreCheck,
    check_like_memory,
    random_operations,
)

pytestmark = pytest.mark.timeout(120)


COUNTER = itertools.count()


def die(store: MemoryStore) -> None:
    store.die()


@pytest.mark.parametrize("check", STORE_CHECKS, ids=str)
def test_memory(check: StoreCheck) -> None:
    check(MemoryJournal().store, kill=die)


@pytest.mark.parametrize("check", STORE_CHECKS, ids=str)
def test_sqlite(check: StoreCheck, tmp_path: Path) -> None:
    check(lambda: SqliteStore(tmp_path / "agents.db", synchronous="NORMAL"))


def test_stores_are_stores(tmp_path: Path) -> None:
    assert isinstance(MemoryJournal().store(), Store)
    assert isinstance(SqliteStore(tmp_path / "a.db"), Store)


NUMBERS = st.integers(min_value=0, max_value=7)
NAMES = sorted({name for name, *_ in random_operations(1, 1000)})
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 2), NUMBERS, NUMBERS, NUMBERS), max_size=40
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=OPERATIONS)
@example(operations=random_operations(7, 120))
def test_sqlite_does_as_memory(operations: Sequence[Operation], tmp_path: Path) -> None:
    path = tmp_path / f"{next(COUNTER)}.db"
    check_like_memory(lambda: SqliteStore(path, synchronous="NORMAL"), operations)


# Planted breaches: each is one that a plausible store could have.


def told(change: Callable[[pytest.MonkeyPatch], None]) -> set[str]:
    """The checks that fail with a store in memory that is changed so."""
    failed: set[str] = set()
    for check in STORE_CHECKS:
        with pytest.MonkeyPatch.context() as patch:
            change(patch)
            try:
                check(MemoryJournal().store, kill=die)
            except (AssertionError, JournalError):
                failed.add(check.name)
    return failed


def breach(name: str, broken: Callable[..., Any], owner: type = MemoryTransaction) -> Any:
    def change(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(owner, name, broken)

    return change


REAL_END = MemoryTransaction.end
REAL_ADOPT_ALL = MemoryTransaction.adopt_all
REAL_BEGIN = MemoryTransaction.begin
REAL_FIND = MemoryTransaction.find
REAL_AGAIN = MemoryTransaction.again


def keeps_payload(
    self: MemoryTransaction, uuid: str, state: EntryState, outcome: bytes, now: float
) -> bool:
    rows: dict[tuple[str, str], Entry] = self._rows  # pyright: ignore[reportPrivateUsage]
    key = (self._target, uuid)  # pyright: ignore[reportPrivateUsage]
    before = rows.get(key)
    done = REAL_END(self, uuid, state, outcome, now)
    if done and before is not None:
        rows[key] = replace(rows[key], payload=before.payload)
    return done


def ends_others(
    self: MemoryTransaction, uuid: str, state: EntryState, outcome: bytes, now: float
) -> bool:
    rows: dict[tuple[str, str], Entry] = self._rows  # pyright: ignore[reportPrivateUsage]
    entry = rows.get((self._target, uuid))  # pyright: ignore[reportPrivateUsage]
    if entry is not None:
        self = MemoryTransaction(self._work, entry.owner, self._target)  # pyright: ignore
    return REAL_END(self, uuid, state, outcome, now)


def no_session(self: MemoryTransaction) -> Adoption:
    return Adoption(REAL_ADOPT_ALL(self).entries, None)


def any_session(self: MemoryTransaction) -> Adoption:
    sessions = [owner.session for owner in self._owners.values()]  # pyright: ignore
    return Adoption(REAL_ADOPT_ALL(self).entries, next(iter(filter(None, sessions)), None))


def only_keys(self: MemoryTransaction, new: NewEntry) -> Entry | None:
    if new.key is None or self.find(new.key) is not None:
        return REAL_BEGIN(self, new)
    self._set(new.uuid, self._open(new, 1))  # pyright: ignore[reportPrivateUsage]
    return None


def key_in_a_collation(self: MemoryTransaction, key: str) -> Entry | None:
    return REAL_FIND(self, unicodedata.normalize("NFC", key).rstrip())


def short_column(self: MemoryTransaction, new: NewEntry) -> Entry | None:
    return REAL_BEGIN(self, replace(new, payload=new.payload[:65_535]))


def short_float(self: MemoryTransaction, new: NewEntry) -> Entry | None:
    (created,) = struct.unpack("f", struct.pack("f", new.created))
    return REAL_BEGIN(self, replace(new, created=created))


def json_column(
    self: MemoryTransaction, uuid: str, state: EntryState, outcome: bytes, now: float
) -> bool:
    with suppress(ValueError):
        outcome = json.dumps(json.loads(outcome)).encode()
    return REAL_END(self, uuid, state, outcome, now)


def uuid_first(self: MemoryTransaction, new: NewEntry) -> Entry | None:
    taken = self._rows.get((self._target, new.uuid))  # pyright: ignore[reportPrivateUsage]
    return taken or REAL_BEGIN(self, new)


def first_page(self: MemoryTransaction) -> Adoption:
    adoption = REAL_ADOPT_ALL(self)
    return Adoption(adoption.entries[:500], adoption.session)


def idle_session(self: MemoryTransaction) -> Adoption:
    owners = self._owners.items()  # pyright: ignore[reportPrivateUsage]
    own = self._owner  # pyright: ignore[reportPrivateUsage]
    found = [owner.session for number, owner in owners if number != own and not owner.alive]
    adoption = REAL_ADOPT_ALL(self)
    return Adoption(adoption.entries, adoption.session or next(filter(None, found), None))


def same_attempt(self: MemoryTransaction, uuid: str, new: NewEntry) -> bool:
    done = REAL_AGAIN(self, uuid, new)
    if done:
        rows = self._rows  # pyright: ignore[reportPrivateUsage]
        key = (self._target, new.uuid)  # pyright: ignore[reportPrivateUsage]
        rows[key] = replace(rows[key], attempt=1)
    return done


@contextmanager
def never_fenced(self: MemoryStore) -> Generator[MemoryTransaction]:
    journal = self._journal  # pyright: ignore[reportPrivateUsage]
    if self.owner in journal.owners:
        journal.owners[self.owner].fenced = False
    with REAL_TRANSACTION(self) as work:
        yield work


REAL_TRANSACTION = MemoryStore.transaction


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "by"),
    [
        (breach("end", keeps_payload), "an_outcome_ends_an_entry_once"),
        (breach("end", ends_others), "only_its_owner_ends_or_drops_an_entry"),
        (breach("begin", only_keys), "a_uuid_is_taken_once"),
        (breach("find", key_in_a_collation), "keys_are_told_apart_to_the_letter"),
        (breach("begin", short_column), "an_entry_is_kept_whole"),
        (breach("begin", short_float), "an_entry_is_kept_whole"),
        (breach("end", json_column), "an_entry_is_kept_whole"),
        (breach("begin", uuid_first), "a_uuid_is_taken_once"),
        (breach("adopt_all", first_page), "however_much_the_dead_leave_is_adopted"),
        (breach("adopt_all", idle_session), "the_session_of_the_idle_is_not_told"),
        (breach("again", same_attempt), "a_failed_entry_gets_another_attempt"),
        (breach("adopt_all", no_session), "what_the_dead_leave_is_adopted"),
        (breach("adopt_all", any_session), "the_session_is_that_of_the_most_open_entries"),
        (breach("_is_dead", lambda *_: True), "the_living_are_left_alone"),
        (breach("_is_dead", lambda *_: False), "what_the_dead_leave_is_adopted"),
        (breach("find", lambda *_: None), "a_key_is_taken_once"),
        (breach("prune", lambda *_: 0), "what_is_old_is_forgotten"),
        (breach("fence", lambda *_: True), "the_fenced_do_nothing_more"),
        (breach("transaction", never_fenced, MemoryStore), "the_fenced_do_nothing_more"),
        (breach("version", lambda *_: 1, MemoryStore), "version_tells_of_others"),
        (breach("version", lambda *_: next(COUNTER), MemoryStore), "version_tells_of_others"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_store_is_told(change: Callable[[pytest.MonkeyPatch], None], by: str) -> None:
    # The check of version waits for a commit to be seen; it need not wait for half a minute here.
    def impatient(patch: pytest.MonkeyPatch) -> None:
        patch.setattr("runware_ws.testing.store_bench.PATIENCE", 0.5)
        change(patch)

    assert by in told(impatient)


def test_a_store_that_keeps_half_a_block_is_told() -> None:
    def change(patch: pytest.MonkeyPatch) -> None:
        patch.setattr("runware_ws.testing.memory_store._Work.undo", forget)

    def forget(self: Any) -> None:
        self.over = True

    assert {
        "a_block_that_raises_leaves_nothing",
        "what_was_committed_outlives_a_kill_and_nothing_else_does",
        "random_operations_do_as_in_memory",
    } <= told(change) | {"random_operations_do_as_in_memory"}


def test_the_kit_says_what_a_killed_owner_could_not_do(tmp_path: Path) -> None:
    class Broken(SqliteStore):
        def fence(self, owner: int) -> bool:
            return super().fence(owner)

        def open(self, target: str, now: float) -> None:
            super().open(target, now)
            if self.owner > 1:
                raise ValueError("planted")

    check = next(each for each in STORE_CHECKS if each.name == "one_entry_of_the_dead_is_adopted")
    with pytest.raises(ValueError, match="planted"):
        check(lambda: Broken(tmp_path / "a.db"))
