"""Notes in a journal: the first of a key stays, and what is held is not pruned."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runware_ws import Client, KeyConflict
from runware_ws.emulator import Emulator
from runware_ws.journal.notes import Note, Notes
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.testing.stores import MemoryJournal
from tests.client.support import ask, bounded
from tests.journal.support import Ledger, Unsure, keyed_client, prune

pytestmark = pytest.mark.anyio

FAR = time.time() + 1e6


def notes_of(client: Client) -> Notes:
    assert client.journal is not None
    return client.journal.notes


@bounded
async def test_the_first_note_of_a_key_stays_and_the_others_go_with_it(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        for life in ("first", "second"):
            async with keyed_client(emulator, tmp_path / "j.db") as client:
                notes = notes_of(client)
                is_first = life == "first"
                assert await notes.put(Note("a", life.encode()), Note("b", b"b")) is is_first
                assert await notes.put(Note("a", b"x"), Note(f"c {life}", b"c")) is False
                found = await notes.read(["a", "b", "c first", "c second", "d"])
                assert found == {"a": b"first", "b": b"b"}


@bounded
async def test_no_task_is_sent_under_the_key_of_a_note(tmp_path: Path) -> None:
    async with Emulator() as emulator, keyed_client(emulator, tmp_path / "j.db") as client:
        ledger = Ledger(emulator)
        await notes_of(client).put(Note("k", b"closed"))
        with pytest.raises(KeyConflict):
            await client.run(ask("never"), key="k")
        await client.run(ask("once"), key="task")
        assert await notes_of(client).put(Note("task", b"closed")) is False
        assert list(ledger.uuids) == ["once"]


@bounded
async def test_what_is_held_is_not_pruned_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with Emulator() as emulator, keyed_client(emulator, path) as client:
        notes = notes_of(client)
        await notes.put(Note("a/1", b"1", FAR), Note("a/2", b"2", FAR), Note("b", b"b"))
        assert prune(SqliteStore(path), emulator.url, time.time()) == 1
        keys = ["a/1", "a/2", "b", "c"]
        assert set(await notes.read(keys)) == {"a/1", "a/2"}
        assert await notes.put(Note("c", b"c"), release={"a/1": time.time()})
        assert set(await notes.read(keys)) == {"a/1", "a/2", "c"}
        assert prune(SqliteStore(path), emulator.url) == 2
        assert set(await notes.read(keys)) == {"a/2"}
        assert await notes.release({"a/": 0.0})
        assert await notes.read(keys) == {}


@bounded
async def test_a_note_whose_commit_was_in_doubt_is_there_once() -> None:
    async with Emulator() as emulator, keyed_client(emulator, Unsure(MemoryJournal())) as client:
        notes = notes_of(client)
        for number in range(4):
            assert await notes.put(Note(f"a{number}", b"a"), Note(f"b{number}", b"b", FAR))
            assert not await notes.put(Note(f"a{number}", b"other"))
            assert len(await notes.read([f"a{number}", f"b{number}"])) == 2
