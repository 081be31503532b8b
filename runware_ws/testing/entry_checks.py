"""Checks of stores: entries and transactions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from runware_ws.journal.store import (
    BatchTransaction,
    EndedEntry,
    Entry,
    EntryState,
    NewEntry,
    Store,
    Transaction,
)
from runware_ws.testing.store_bench import (
    OTHER_TARGET,
    StoreBench,
    adopt_all,
    all_of,
    at_once,
    begin,
    begin_keyed,
    end,
    new,
    number_of,
    wait_until,
)

__all__ = ["ENTRY_CHECKS"]


# Entries


def an_entry_is_kept_whole(bench: StoreBench) -> None:
    store = bench.open()
    payload = bytes(range(256)) * 8_000  # More than some columns for bytes take
    begun = 1_700_000_012.25
    with store.transaction() as work:
        assert work.begin(NewEntry("a", "Schlüssel 🔑", b"\x00\xff", payload, begun)) is None
        first = work.find("Schlüssel 🔑")
    assert first is not None, "find does not see what its own transaction began"
    expected = Entry(
        *("a", "Schlüssel 🔑", 1, b"\x00\xff", payload, first.owner, EntryState.OPEN),
        *(None, begun, None),
    )
    assert first == expected, "find gives another entry than was begun"
    for seen in (all_of(store), all_of(bench.open())):
        assert seen == {"a": expected}, "another transaction sees another entry"
    outcome = b'{"b":1e2, "a":1.0,\n"a":12345678901234567890123}' + b" " * 2_000_000
    with store.transaction() as work:
        assert work.end("a", EntryState.DONE, outcome, begun + 1)
    expected = replace(
        expected, state=EntryState.DONE, payload=None, outcome=outcome, ended=begun + 1
    )
    assert all_of(store) == {"a": expected}, "an outcome is not kept as the bytes that it is"


def nothing_is_there_in_the_beginning(bench: StoreBench) -> None:
    store = bench.open()
    with store.transaction() as work:
        assert list(work.entries()) == []
        assert work.find("key") is None
        assert not work.end("a", EntryState.DONE, b"1", 1.0)
        assert not work.again("a", new("b"))
        assert not work.adopt("a", 1)
        work.drop("a")
        assert work.prune(1e12, 0) == 0
        adoption = work.adopt_all()
    assert (list(adoption.entries), adoption.session) == ([], None)


def a_key_is_taken_once(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    assert begin_keyed(one, "a", "key") is None
    for store in (one, two):
        taken = begin_keyed(store, "b", "key")
        assert taken is not None, "a key was taken twice"
        assert (taken.uuid, taken.key) == ("a", "key")
    assert list(all_of(one)) == ["a"], "begin inserted an entry whose key is taken"
    assert end(one, "a")
    taken = begin_keyed(two, "b", "key")
    assert taken is not None
    assert taken.state is EntryState.DONE, "an outcome does not free the key"
    assert begin_keyed(two, "b", "KEY") is None, "keys differ in case"
    assert begin_keyed(two, "c", "k" * 500) is None, "a key may have 500 characters"
    assert begin_keyed(two, "d", "") is None, "an empty key is a key"


def keys_are_told_apart_to_the_letter(bench: StoreBench) -> None:
    store = bench.open()
    keys = ["\u00e9", "e\u0301", "e", "a", "a ", " a", "a\n", "a_b", "a%b", "axb"]
    keys += ["k" * 499 + "a", "k" * 499 + "b", "\U0001f511", "\U0001f512", "1", "1.0", "01"]
    for number, key in enumerate(keys):
        assert begin_keyed(store, f"u{number}", key) is None, f"{key!r} is taken for another key"
    with store.transaction() as work:
        for number, key in enumerate(keys):
            entry = work.find(key)
            assert entry is not None, f"{key!r} is not found"
            assert (entry.uuid, entry.key) == (f"u{number}", key), f"{key!r} finds another key"


def a_uuid_is_taken_once(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    begin(one, "a")
    taken = begin_keyed(two, "a", "key")
    assert taken is not None, "a taskUUID was taken twice"
    assert (taken.uuid, taken.key) == ("a", None)
    with two.transaction() as work:
        assert work.find("key") is None
    assert begin_keyed(two, "b", "key") is None
    taken = begin_keyed(two, "a", "key")
    assert taken is not None
    assert taken.uuid == "b", "where key and taskUUID are taken, the key counts"
    assert taken.payload == b"{}", "what has a key is not told whole"


def an_outcome_ends_an_entry_once(bench: StoreBench) -> None:
    store = bench.open()
    begin(store, "a", "b")
    with store.transaction() as work:
        assert work.end("a", EntryState.DONE, b'{"x": 1}', 7.5)
        assert work.end("b", EntryState.FAILED, b"[]", 8.5)
        assert not work.end("a", EntryState.FAILED, b"other", 9.0), "an entry ended twice"
    seen = all_of(store)
    for uuid, state, outcome, ended in (
        ("a", EntryState.DONE, b'{"x": 1}', 7.5),
        ("b", EntryState.FAILED, b"[]", 8.5),
    ):
        entry = seen[uuid]
        assert (entry.state, entry.outcome, entry.ended) == (state, outcome, ended)
        assert entry.payload is None, "the payload of an entry that ended is kept"
        assert isinstance(entry.state, EntryState)


def only_its_owner_ends_or_drops_an_entry(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    begin(one, "a", "b")
    with two.transaction() as work:
        assert not work.end("a", EntryState.DONE, b"1", 3.0)
        work.drop("b")
    assert [entry.state for entry in all_of(one).values()] == [EntryState.OPEN] * 2
    with one.transaction() as work:
        work.drop("b")
    assert end(one, "a")
    with one.transaction() as work:
        work.drop("a")
    assert all_of(two) == {}, "drop left an entry of its own owner"


def batches_do_as_one_after_the_other(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    assert begin_keyed(two, "theirs", "taken") is None
    news = [new("a", "k"), new("b"), new("c", "taken"), new("d", "k"), new("b"), new("theirs")]
    ends = [
        EndedEntry(uuid, EntryState.DONE if number % 2 else EntryState.FAILED, b"%d" % number, 4.0)
        for number, uuid in enumerate(("a", "b", "theirs", "a", "nobody"))
    ]
    with one.transaction() as work:
        if not isinstance(work, BatchTransaction):
            return  # It need not have them.
        taken = [None if each is None else each.uuid for each in work.begin_many(news)]
        assert taken == [None, None, "theirs", "a", "b", "theirs"], f"begin_many returns {taken}"
        assert list(work.begin_many([])) == []
    with one.transaction() as work:
        assert isinstance(work, BatchTransaction)
        gave = list(work.end_many(ends))
        assert gave == [True, True, False, False, False], f"end_many returns {gave}"
        assert list(work.end_many([])) == []
    seen = all_of(two)
    assert list(seen) == ["a", "b", "theirs"]
    assert (seen["a"].state, seen["a"].outcome) == (EntryState.FAILED, b"0")
    assert (seen["b"].state, seen["b"].outcome) == (EntryState.DONE, b"1")
    assert (seen["a"].payload, seen["a"].ended, seen["a"].digest) == (None, 4.0, b"digest")


def a_failed_entry_gets_another_attempt(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    assert begin_keyed(one, "a", "key") is None
    second = NewEntry("b", "key", b"other", b"[2]", 5.0)
    for state in (None, EntryState.DONE):
        if state is not None:
            assert begin_keyed(one, "done", "done") is None
            assert end(one, "done", state)
        with two.transaction() as work:
            uuid = "a" if state is None else "done"
            assert not work.again(uuid, second), "again took an entry that had not failed"
    assert end(one, "a", EntryState.FAILED)
    with two.transaction() as work:
        assert work.again("a", second)
        assert not work.again("a", new("c", "key")), "two attempts began after one failure"
    seen = all_of(one)
    owner = number_of(two)
    assert seen["b"] == Entry(
        *("b", "key", 2, b"other", b"[2]", owner, EntryState.OPEN, None, 5.0, None)
    ), f"the next attempt is {seen['b']}"
    assert "a" not in seen, "the failed attempt is still there"
    with two.transaction() as work:
        found = work.find("key")
        assert found is not None
        assert found.uuid == "b"
        assert work.end("b", EntryState.FAILED, b"1", 6.0)
        assert work.again("b", new("c", "key"))
    assert all_of(one)["c"].attempt == 3


def entries_come_in_order_and_in_parts(bench: StoreBench) -> None:
    store = bench.open()
    uuids = [f"{number:04x}" for number in range(0, 300, 3)]
    shuffled = random.Random(1).sample(uuids, len(uuids))
    begin(store, *shuffled)
    got: list[str] = []
    while True:
        with store.transaction() as work:
            part = work.entries(after=got[-1] if got else "", limit=7)
        assert len(part) <= 7
        if not part:
            break
        got += [entry.uuid for entry in part]
    assert got == uuids


def targets_do_not_see_each_other(bench: StoreBench) -> None:
    one, other = bench.open(), bench.open(OTHER_TARGET)
    bench.dies_after(lambda store: begin(store, "x"))
    assert begin_keyed(one, "a", "key") is None
    with other.transaction() as work:
        assert work.find("key") is None
        assert list(work.entries()) == []
        assert not work.again("a", new("b"))
        assert list(work.adopt_all().entries) == [], "tasks of another server were adopted"
        assert work.prune(1e12, 0) == 0
    assert begin_keyed(other, "a", "key") is None, "a key of another target is taken"
    assert end(one, "a")
    assert all_of(other)["a"].state is EntryState.OPEN
    assert [entry.uuid for entry in adopt_all(one).entries] == ["x"]


# Transactions


def a_block_that_raises_leaves_nothing(bench: StoreBench) -> None:
    store = bench.open()
    begin(store, "a", "b")
    assert begin_keyed(store, "f", "key") is None
    assert end(store, "f", EntryState.FAILED)
    bench.dies_after(lambda owner: begin(owner, "x"))
    before = all_of(store)

    def allat_once(work: Transaction) -> None:
        assert work.begin(new("c", "other")) is None
        assert work.end("a", EntryState.DONE, b"1", 3.0)
        assert work.again("f", new("g", "key"))
        assert len(work.adopt_all().entries) == 1
        work.drop("b")
        work.session("s")
        work.prune(1e12, 0)

    class Planned(BaseException):
        pass

    try:
        with store.transaction() as work:
            allat_once(work)
            raise Planned
    except Planned:
        pass
    else:
        raise AssertionError("the block's exception was swallowed")
    assert all_of(store) == before, "a block that raised changed something"
    with store.transaction() as work:
        allat_once(work)


def what_was_committed_outlives_a_kill_and_nothing_else_does(bench: StoreBench) -> None:
    def act(store: Store) -> object:
        for number in range(20):
            begin(store, f"committed-{number:02}")
        assert end(store, "committed-00")
        block = store.transaction()
        work = block.__enter__()
        work.begin(new("open"))
        work.end("committed-01", EntryState.DONE, b"1", 3.0)
        return block

    bench.dies_after(act)
    seen = all_of(bench.open())
    assert list(seen) == [f"committed-{number:02}" for number in range(20)]
    assert seen["committed-00"].outcome == b'"outcome"'
    assert seen["committed-01"].state is EntryState.OPEN, "half a transaction is there"


def version_tells_of_others(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    before = one.version()
    begin(two, "a")
    wait_until(lambda: one.version() != before, "version() does not tell of another's commit")
    # It may change without a cause, but has to come to rest.
    for _ in range(100):
        before = one.version()
        time.sleep(0.01)
        if one.version() == before:
            return
    raise AssertionError("version() changes all the time, so whoever waits for it never rests")


def writers_at_once_lose_nothing(bench: StoreBench) -> None:
    stores = [bench.open() for _ in range(3)]
    winners: list[tuple[int, int]] = []

    def write(which: int) -> None:
        for number in range(30):
            begin(stores[which], f"{which}-{number:02}")
            if begin_keyed(stores[which], f"key-{which}-{number:02}", f"{number}") is None:
                winners.append((number, which))

    at_once([partial(write, which) for which in range(3)])
    seen = all_of(stores[0])
    assert len([uuid for uuid in seen if not uuid.startswith("key")]) == 90
    assert sorted(number for number, _ in winners) == list(range(30)), "a key has two winners"
    assert {f"key-{which}-{number:02}" for number, which in winners} == {
        uuid for uuid in seen if uuid.startswith("key")
    }


ENTRY_CHECKS: Sequence[Callable[[StoreBench], None]] = (
    an_entry_is_kept_whole,
    nothing_is_there_in_the_beginning,
    a_key_is_taken_once,
    keys_are_told_apart_to_the_letter,
    a_uuid_is_taken_once,
    an_outcome_ends_an_entry_once,
    only_its_owner_ends_or_drops_an_entry,
    batches_do_as_one_after_the_other,
    a_failed_entry_gets_another_attempt,
    entries_come_in_order_and_in_parts,
    targets_do_not_see_each_other,
    a_block_that_raises_leaves_nothing,
    what_was_committed_outlives_a_kill_and_nothing_else_does,
    version_tells_of_others,
    writers_at_once_lose_nothing,
)
