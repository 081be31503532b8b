"""A key whose caller gave up is not waited for by others: they ask the server themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws import RecoveredBy, TaskTimeout
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.emulator import Emulator, expected_text
from runware_ws.journal.keeper import JournalKeeper
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.sqlite_view import SqliteView
from runware_ws.journal.store import Adoption, EntryState, Store
from runware_ws.journal.viewing import OwnerState
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import Gate, ask, bounded, until
from tests.journal.support import begun, keyed_client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
@pytest.mark.parametrize("how", ["timeout", "cancel", "left stream"])
@bounded
async def test_another_process_asks_for_it_while_its_owner_lives(
    tmp_path: Path, how: str, kind: str
) -> None:
    make: Callable[[], Store]
    make = (lambda: SqliteStore(tmp_path / "j.db")) if kind == "sqlite" else MemoryJournal().store
    async with (
        Emulator() as emulator,
        keyed_client(emulator, make()) as one,
        keyed_client(emulator, make()) as other,
    ):
        gate = Gate(emulator)
        if how == "timeout":
            with pytest.raises(TaskTimeout):
                await one.run(ask("slow"), key="k", timeout=0.3)
        elif how == "cancel":
            handle = await one.submit(ask("slow"), key="k")
            await until(lambda: gate.running)
            handle.cancel()
        else:
            async with one.stream(ask("slow"), key="k"):
                await until(lambda: gate.running)
        gate.open()
        with anyio.fail_after(30):
            result = await other.run(ask("slow"), key="k", timeout=None)
        assert result.text == expected_text("slow", result.task_uuid, 0)
        again = await one.run(ask("slow"), key="k")
        assert (again.raw, again.recovered_by) == (result.raw, RecoveredBy.JOURNAL)
        assert gate.seen == ["slow"]


@bounded
async def test_a_stream_that_is_run_by_its_key_is_known_to_be_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its pieces may still come, and the last of them is not the whole."""
    records: list[TaskRecord] = []
    rebind = TaskRecord.rebind

    def spied(self: TaskRecord, uuid: str, payload: bytes) -> None:
        rebind(self, uuid, payload)
        records.append(self)

    journal = MemoryJournal()
    async with (
        Emulator() as emulator,
        keyed_client(emulator, journal.store()) as one,
        keyed_client(emulator, journal.store()) as other,
    ):
        gate = Gate(emulator)
        async with one.stream(ask("slow"), key="k", carrier="socket"):
            await until(lambda: gate.running)
        monkeypatch.setattr(TaskRecord, "rebind", spied)
        handle = await other.submit(ask("slow"), key="k", timeout=None)
        await until(lambda: bool(records))
        assert records[0].deltas is not None
        gate.open()
        assert (await handle).text == expected_text("slow", handle.uuid, 0)


@bounded
async def test_who_waited_for_it_elsewhere_takes_it_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with (
        Emulator() as emulator,
        keyed_client(emulator, path) as one,
        keyed_client(emulator, path) as other,
    ):
        gate = Gate(emulator)
        handle = await one.submit(ask("slow"), key="k")
        await until(lambda: gate.running)
        waiting = await other.submit(ask("slow"), key="k")
        handle.cancel()
        gate.open()
        result = await waiting
        assert result.text == expected_text("slow", handle.uuid, 0)
        assert gate.seen == ["slow"]


@bounded
async def test_nobody_asks_for_it_unasked_until_its_owner_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, path) as one:
            handle = await one.submit(ask("slow"), key="k")
            await until(lambda: gate.running)
            handle.cancel()
            gate.open()
            view = SqliteView(path)
            (listed,) = view.newest(9, only_open=True)
            view.close()
            assert (listed.key, listed.owner_state) == ("k", OwnerState.ALIVE)
            async with keyed_client(emulator, path) as other:
                assert [each async for each in other.recovered()] == []
        async with keyed_client(emulator, path) as third:
            (left,) = [each async for each in third.recovered()]
        assert (left.key, left.unwrap().text) == ("k", expected_text("slow", handle.uuid, 0))
        assert gate.seen == ["slow"]


class Late(MemoryStore):
    """Hangs in the commit with which it gets the key."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal)
        self.has_it = threading.Event()
        self.go_on = threading.Event()

    @contextmanager
    def transaction(self) -> Generator[Any]:
        with super().transaction() as work:
            yield work
            entry = work.find("k")
            if entry is not None and entry.owner == self.owner:
                self.has_it.set()
                self.go_on.wait(30)


@bounded
async def test_who_waited_and_gives_up_while_it_gets_the_key_leaves_no_entry() -> None:
    """Nobody would answer for it while its owner lives, and the next owner would send it."""
    journal = MemoryJournal()
    store = Late(journal)
    async with (
        Emulator() as emulator,
        keyed_client(emulator, journal.store(), max_in_flight=1) as one,
        keyed_client(emulator, store) as other,
    ):
        gate = Gate(emulator)
        await one.submit(ask("first"))
        await until(lambda: gate.running)
        unsent = begun(one, ask("unsent"), key="k")
        await until(lambda: any(entry.key == "k" for entry in journal.rows.values()))
        waiting = await other.submit(ask("unsent"), key="k")
        unsent.cancel()
        await until(store.has_it.is_set)
        waiting.cancel()
        store.go_on.set()
        await waiting.wait()
        await until(lambda: not any(entry.key == "k" for entry in journal.rows.values()))
        assert gate.seen == ["first"]
        gate.open()
        await one.run(ask("another"), key="k")
        assert gate.seen == ["first", "another"]


@bounded
async def test_what_is_given_up_while_it_is_taken_over_is_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """We hear late that it was ours, and have left it since: nobody owns it."""
    taken_over, go_on = anyio.Event(), anyio.Event()
    do = JournalKeeper._do  # pyright: ignore[reportPrivateUsage]

    async def late(self: JournalKeeper, work: Callable[[Any], Any]) -> Any:
        answer = await do(self, work)
        if isinstance(answer, Adoption) and answer.entries:
            taken_over.set()
            await go_on.wait()
        return answer

    monkeypatch.setattr(JournalKeeper, "_do", late)
    monkeypatch.setattr("runware_ws.journal.keeper.ADOPT_EVERY", 0.01)
    journal = MemoryJournal()
    store = journal.store()
    async with Emulator() as emulator, keyed_client(emulator, store) as other:
        gate = Gate(emulator)
        async with keyed_client(emulator, journal.store()) as one:
            await one.submit(ask("slow"), key="k")
            await until(lambda: gate.running)
        await taken_over.wait()
        handle = await other.submit(ask("slow"), key="k")
        handle.cancel()
        await other.submit(ask("another"), key="l")
        await until(lambda: gate.running == 2)
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert other.stats().pending == 1
        gate.open()
        await until(lambda: other.stats().pending == 0)
        owners = {entry.key: entry.owner for entry in journal.rows.values()}
        assert owners == {"k": -store.owner, "l": store.owner}
        # Whoever asks for it has it.
        again = await other.run(ask("slow"), key="k")
        assert again.text == expected_text("slow", again.task_uuid, 0)
        assert {entry.state for entry in journal.rows.values()} == {EntryState.DONE}
        assert gate.seen == ["slow", "another"]


@bounded
async def test_all_who_share_it_give_up_at_once(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with (
        Emulator() as emulator,
        keyed_client(emulator, path) as one,
        keyed_client(emulator, path) as other,
    ):
        gate = Gate(emulator)
        handles = [await one.submit(ask("slow"), key="k")]
        await until(lambda: gate.running)
        handles += [begun(one, ask("slow"), key="k") for _ in range(2)]
        for handle in handles:
            handle.cancel()
        gate.open()
        result = await other.run(ask("slow"), key="k")
        assert result.text == expected_text("slow", handles[0].uuid, 0)
        assert gate.seen == ["slow"]
