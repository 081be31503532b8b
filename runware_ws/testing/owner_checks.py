"""Checks of stores: owners, adoption, fencing; pruning; everything at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from runware_ws.journal.store import EntryState, GiveUpTransaction, HoldTransaction, Store
from runware_ws.testing.store_bench import (
    StoreBench,
    adopt_all,
    all_of,
    all_of_one,
    at_once,
    begin,
    begin_keyed,
    end,
    fences,
    new,
    number_of,
)
from runware_ws.testing.store_likeness import check_like_memory, random_operations

__all__ = ["OWNER_CHECKS"]


# Owners


def the_living_are_left_alone(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    begin(one, "a")
    with two.transaction() as work:
        assert list(work.adopt_all().entries) == [], "a living owner's task was adopted"
        assert not work.adopt("a", all_of_one(work, "a").owner)
    with one.transaction() as work:
        own = all_of_one(work, "a").owner
        assert work.adopt("a", own), "its own open entry"
        assert work.end("a", EntryState.DONE, b"1", 3.0)
        assert not work.adopt("a", own), "an entry that ended was adopted"


def what_the_dead_leave_is_adopted(bench: StoreBench) -> None:
    def act(store: Store) -> None:
        begin(store, "open", "done", "failed")
        for uuid in ("open", "done", "failed"):
            assert begin_keyed(store, f"keyed-{uuid}", uuid) is None
        for prefix in ("", "keyed-"):
            assert end(store, f"{prefix}done")
            assert end(store, f"{prefix}failed", EntryState.FAILED)
        with store.transaction() as work:
            work.session("its session")

    store = bench.open()
    bench.dies_after(act)
    before = all_of(store)
    adoption = adopt_all(store)
    own = number_of(store)
    got = {entry.uuid: entry for entry in adoption.entries}
    assert set(got) == {"open", "done", "keyed-open"}, f"adopted: {sorted(got)}"
    assert adoption.session == "its session"
    after = all_of(store)
    for uuid, entry in before.items():
        assert after[uuid].owner == (own if uuid in got else entry.owner)
        if uuid in got:
            assert got[uuid] == after[uuid], "what was adopted is not told as it is now"
        same = [(e.state, e.payload, e.outcome, e.created, e.ended) for e in (entry, after[uuid])]
        assert same[0] == same[1], "adoption changed more than the owner"
    assert list(adopt_all(store).entries) == [], "a dead owner was not forgotten"
    assert end(store, "open")


def however_much_the_dead_leave_is_adopted(bench: StoreBench) -> None:
    names = [f"{number:05}" for number in range(900)]
    bench.dies_after(lambda store: begin(store, *names))
    store = bench.open()
    assert sorted(entry.uuid for entry in adopt_all(store).entries) == names


def one_entry_of_the_dead_is_adopted(bench: StoreBench) -> None:
    store, third = bench.open(), bench.open()
    bench.dies_after(lambda owner: begin(owner, "a", "b"))
    dead = all_of(store)["a"].owner
    with store.transaction() as work:
        assert not work.adopt("a", dead + 1000), "it belongs to another"
        assert work.adopt("a", dead)
        assert not work.adopt("a", dead), "adopted twice"
    with third.transaction() as work:
        assert not work.adopt("a", dead), "it has another owner by now"
    assert [entry.uuid for entry in adopt_all(third).entries] == ["b"]
    assert end(store, "a")


def what_was_given_up_is_anybodys(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    begin(one, "a", "ended", "kept")
    begin(two, "theirs")
    assert end(one, "ended")
    owner = number_of(one)
    with one.transaction() as work:
        if not isinstance(work, GiveUpTransaction):
            return  # It need not have it.
        work.give_up(["a", "ended", "theirs", "nobody"])
        assert not work.end("a", EntryState.DONE, b"1", 3.0), "it is nobody's"
    after = all_of(two)
    assert after["a"].owner == -owner
    assert after["ended"].owner == after["kept"].owner == owner
    assert after["theirs"].owner == number_of(two)
    assert list(adopt_all(two).entries) == [], "its owner lives: nobody asked for it"
    with two.transaction() as work:
        assert not work.adopt("kept", owner)
        assert work.adopt("a", -owner)
        assert not work.adopt("a", -owner), "adopted twice"
    with one.transaction() as work:
        assert isinstance(work, GiveUpTransaction)
        assert not work.adopt("a", -owner), "it has another owner by now"
        work.give_up(["kept"])
        assert work.adopt("kept", -owner), "its owner may take it up again"
        work.give_up(["kept"])
    one.close()
    left = {entry.uuid for entry in adopt_all(two).entries}
    assert left == {"ended", "kept"}, f"adopted: {sorted(left)}"


def the_session_is_that_of_the_most_open_entries(bench: StoreBench) -> None:
    def owner(session: str | None, *uuids: str, ended: Sequence[str] = ()) -> None:
        def act(store: Store) -> None:
            with store.transaction() as work:
                if session is not None:
                    work.session("an old one")
                    work.session(session)
            begin(store, *uuids, *ended)
            for uuid in ended:
                assert end(store, uuid)

        bench.dies_after(act)

    owner("few", "a")
    owner("most", "b", "c")
    owner("none open", ended=("d", "e", "f"))
    owner(None, "g", "h", "i")
    adoption = adopt_all(bench.open())
    assert adoption.session == "most", f"the session is {adoption.session}"
    assert {entry.uuid for entry in adoption.entries} == set("abcdefghi")


def the_session_of_the_idle_is_not_told(bench: StoreBench) -> None:
    def act(store: Store) -> None:
        with store.transaction() as work:
            work.session("of an idle one")
        begin(store, "done")
        assert end(store, "done")

    bench.dies_after(act)
    bench.dies_after(lambda store: begin(store, "open"))
    adoption = adopt_all(bench.open())
    assert {entry.uuid for entry in adoption.entries} == {"done", "open"}
    assert adoption.session is None, "nothing of what was adopted waits for that session"


def the_closed_count_as_dead(bench: StoreBench) -> None:
    one, two = bench.open(), bench.open()
    begin(one, "a")
    number = all_of(one)["a"].owner
    one.close()
    one.close()
    assert [entry.uuid for entry in adopt_all(two).entries] == ["a"]
    third = bench.open()
    assert number_of(third) != number, "the number of a forgotten owner was given again"


def of_two_adopters_one_wins(bench: StoreBench) -> None:
    uuids = [f"{number:03}" for number in range(50)]
    bench.dies_after(lambda owner: begin(owner, *uuids))
    stores = [bench.open() for _ in range(3)]
    adopted: list[list[str]] = []

    def adopt_them(store: Store) -> None:
        adopted.append([entry.uuid for entry in adopt_all(store).entries])

    at_once([partial(adopt_them, store) for store in stores])
    assert sorted(len(each) for each in adopted) == [0, 0, 50], "two adopters shared or doubled"
    # And of one entry.
    bench.dies_after(lambda owner: begin(owner, "x"))
    dead = all_of(stores[0])["x"].owner
    won: list[bool] = []

    def adopt(store: Store) -> None:
        with store.transaction() as work:
            won.append(work.adopt("x", dead))

    at_once([partial(adopt, store) for store in stores])
    assert sorted(won) == [False, False, True]


def the_fenced_do_nothing_more(bench: StoreBench) -> None:
    frozen, store = bench.open(), bench.open()
    begin(frozen, "a", "b")
    number = all_of(frozen)["a"].owner
    assert not fences(frozen)
    assert not store.fence(number + 1000), "there is no such owner"
    assert store.fence(number)
    assert fences(frozen), "a fenced owner goes on"
    with store.transaction() as work:
        assert work.adopt("a", number)
    assert [entry.uuid for entry in adopt_all(store).entries] == ["b"]
    assert fences(frozen), "a fenced owner that is forgotten goes on"
    assert not store.fence(number), "it is forgotten"
    assert not fences(store)
    frozen.close()
    assert end(store, "a")


def the_adopted_are_fenced(bench: StoreBench) -> None:
    # Its lock was freed, though it lives: the database was gone for a while, a file was removed.
    gone, store = bench.open(), bench.open()
    begin(gone, "a")
    number = all_of(gone)["a"].owner
    store.fence(number)
    adopt_all(store)
    assert fences(gone)
    again = bench.open()
    begin(again, "b")
    assert not fences(again), "a new owner after a fenced one"


# Pruning


def what_is_old_is_forgotten(bench: StoreBench) -> None:
    store = bench.open()
    bench.dies_after(lambda owner: _ended(owner, "theirs", 4.0))
    for number in range(5):
        _ended(store, f"{number}", float(number))
    begin(store, "open")
    assert _prune(store, 3.0, 1 << 30) == 3
    assert list(all_of(store)) == ["3", "4", "open", "theirs"]
    assert _prune(store, 1e12, 1 << 30) == 3
    assert list(all_of(store)) == ["open"]


def the_oldest_go_until_the_rest_has_room(bench: StoreBench) -> None:
    store = bench.open()
    for number in (3, 1, 4, 0, 2):
        _ended(store, f"{number}", float(number), b"x" * 100)
    begin(store, "open")
    assert _prune(store, 0.0, 500) == 0, "they have room"
    assert _prune(store, 0.0, 250) == 3
    assert list(all_of(store)) == ["3", "4", "open"]
    assert _prune(store, 0.0, 0) == 2
    assert list(all_of(store)) == ["open"]


def pruning_many_comes_to_an_end(bench: StoreBench) -> None:
    store = bench.open()
    with store.transaction() as work:
        for number in range(2_500):
            uuid = f"{number:05}"
            assert work.begin(new(uuid, uuid)) is None
            assert work.end(uuid, EntryState.DONE, b"x", float(number))
    assert _prune(store, 1_250.0, 100) == 2_400
    assert list(all_of(store)) == [f"{number:05}" for number in range(2_400, 2_500)]


def what_ends_in_the_future_is_held(bench: StoreBench) -> None:
    store = bench.open()
    for number in range(3):
        _ended(store, f"held/{number}", 9e9, b"x" * 100)
    _ended(store, "other", 1.0)
    assert _prune(store, 2.0, 0) == 1, "only what has ended goes"
    with store.transaction() as work:
        if not isinstance(work, HoldTransaction):
            return
        assert work.release("held/1", 5.0) == 1
        assert work.release("held/", 6.0) == 2, "what has ended keeps its time"
        assert work.release("other", 6.0) == 0
    ends = [entry.ended for entry in all_of(store).values()]
    assert ends == [6.0, 5.0, 6.0]
    assert _prune(store, 0.0, 250) == 1
    assert list(all_of(store)) == ["held/0", "held/2"], "that which ended first goes first"


def _prune(store: Store, before: float, max_bytes: int) -> int:
    total = 0
    while True:
        with store.transaction() as work:
            gone = work.prune(before, max_bytes)
        total += gone
        if not gone:
            return total


def _ended(store: Store, uuid: str, now: float, outcome: bytes = b"1") -> None:
    with store.transaction() as work:
        assert work.begin(new(uuid, uuid)) is None
        assert work.end(uuid, EntryState.DONE, outcome, now)


def random_operations_do_as_in_memory(bench: StoreBench) -> None:
    check_like_memory(bench.make, random_operations(1, 400))


OWNER_CHECKS: Sequence[Callable[[StoreBench], None]] = (
    the_living_are_left_alone,
    what_the_dead_leave_is_adopted,
    however_much_the_dead_leave_is_adopted,
    one_entry_of_the_dead_is_adopted,
    what_was_given_up_is_anybodys,
    the_session_is_that_of_the_most_open_entries,
    the_session_of_the_idle_is_not_told,
    the_closed_count_as_dead,
    of_two_adopters_one_wins,
    the_fenced_do_nothing_more,
    the_adopted_are_fenced,
    what_is_old_is_forgotten,
    the_oldest_go_until_the_rest_has_room,
    pruning_many_comes_to_an_end,
    what_ends_in_the_future_is_held,
    random_operations_do_as_in_memory,
)
