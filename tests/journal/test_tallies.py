"""Tallies in a journal: each result is added once, whoever records it, and none is left out."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from runware_ws import Client, TaskError
from runware_ws.emulator import Emulator, Request
from runware_ws.journal.binding import EntryEnd, add_up, end
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.store import EntryState, NewEntry
from runware_ws.journal.writer import Job, JournalWriter
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import ask, bounded
from tests.journal.support import Unsure, keyed_client, prune

pytestmark = pytest.mark.anyio

NAME = "spent/ann"


def priced(text: str) -> dict[str, object]:
    return {**ask(text).to_wire(), "includeCost": True}


def count(client: Client) -> None:
    assert client.journal is not None
    client.journal.tallies.count({"work/ann/": NAME})


async def tally(client: Client) -> float:
    assert client.journal is not None
    return await client.journal.tallies.read(NAME)


@bounded
async def test_each_result_is_added_once(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with Emulator() as emulator:
        async with keyed_client(emulator, path) as client:
            count(client)
            assert await tally(client) == 0
            costs: list[float] = []
            for key in ("work/ann/1", "work/ann/deep/2", "work/bob/1", "work/ann", "other"):
                result = await client.run(priced("Why?"), key=key)
                assert (await client.run(priced("Why?"), key=key)).raw == result.raw
                assert result.cost
                if key.startswith("work/ann/"):
                    costs.append(result.cost)
            assert await tally(client) == pytest.approx(sum(costs))
            emulator.faults.inject_error("invalidModel", "No such model.")
            with pytest.raises(TaskError):
                await client.run(priced("Why not?"), key="work/ann/3")
            assert await tally(client) == pytest.approx(sum(costs))
        # It is there when all that it was made of has gone.
        assert prune(SqliteStore(path), emulator.url, time.time())
        async with keyed_client(emulator, path) as client:
            assert await tally(client) == pytest.approx(sum(costs))


@bounded
async def test_what_many_add_at_one_time_is_all_there(tmp_path: Path) -> None:
    costs: list[float] = []
    async with (
        Emulator() as emulator,
        keyed_client(emulator, tmp_path / "j.db") as one,
        keyed_client(emulator, tmp_path / "j.db") as other,
    ):
        count(one)
        count(other)

        async def run(number: int) -> None:
            client = (one, other)[number % 2]
            result = await client.run(priced(f"question {number}"), key=f"work/ann/{number}")
            costs.append(result.cost or 0.0)

        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(run, number)
        assert await tally(one) == await tally(other) == pytest.approx(sum(costs))
        assert len(costs) == 40


@bounded
async def test_what_is_in_doubt_is_added_once() -> None:
    async with Emulator() as emulator, keyed_client(emulator, Unsure(MemoryJournal())) as client:
        count(client)
        spent = 0.0
        for number in range(6):
            result = await client.run(priced("Why?"), key=f"work/ann/{number}")
            spent += result.cost or 0.0
            assert await tally(client) == pytest.approx(spent)


@pytest.mark.parametrize("state", EntryState)
@bounded
async def test_a_key_that_somebodys_own_work_has_is_left_to_it(state: EntryState) -> None:
    journal = MemoryJournal()
    async with Emulator() as emulator:
        other = journal.store()
        other.open(emulator.url, 0.0)
        with other.transaction() as work:
            assert work.begin(NewEntry("u", NAME, b"digest", b"{}", 1.0)) is None
            if state is not EntryState.OPEN:
                assert work.end("u", state, b'{"items": []}', 2.0)
        async with keyed_client(emulator, journal.store()) as client:
            count(client)
            for number in range(2):
                await client.run(priced("Why?"), key=f"work/ann/{number}")
            assert await tally(client) == 0
        assert journal.rows[emulator.url, "u"].state is state
        other.close()


@pytest.mark.parametrize(
    "costs", [[1e308, 1e308], [1e308], [-1.0]], ids=["sum", "large", "negative"]
)
@bounded
async def test_a_price_that_is_none_is_not_counted(tmp_path: Path, costs: list[float]) -> None:
    async with Emulator() as emulator, keyed_client(emulator, tmp_path / "j.db") as client:

        @emulator.reply("textInference")
        def reply(request: Request) -> dict[str, Any]:
            return {"text": "yes", "finishReason": "stop", "cost": costs[request.index]}

        count(client)
        for number in range(2):
            task = {**priced("Why?"), "numberResults": len(costs)}
            result = await client.run(task, key=f"work/ann/{number}")
            assert [item.text for item in result.items] == ["yes"] * len(costs)
        assert await tally(client) == 0


class Noted(MemoryStore):
    """Notes what ends, in the order in which it does."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal)
        self.ends: list[Sequence[str | None]] = []

    @contextmanager
    def transaction(self) -> Generator[Any]:
        ends: list[str | None] = []
        with super().transaction() as inner:
            whole = inner.end

            def note(uuid: str, state: EntryState, outcome: bytes, now: float) -> bool:
                entry = next(each for each in inner.entries() if each.uuid == uuid)
                ends.append(entry.key)
                return whole(uuid, state, outcome, now)

            cast("Any", inner).end = note
            yield inner
        self.ends.append(ends)


@bounded
async def test_a_transaction_adds_up_last_and_in_one_order() -> None:
    """Others who add to the same tallies wait, and none for one that waits for it."""
    store = Noted(MemoryJournal())

    def opening() -> None:
        store.open("target", 0.0)
        with store.transaction() as work:
            for name in "zay":
                work.begin(NewEntry(name, f"work/{name}", b"digest", b"{}", 1.0))

    writer = JournalWriter(store, lambda: None, on_change=lambda: None)
    for name in "zay":
        ending = EntryEnd(name, f"work/{name}", EntryState.DONE, b"1", (f"spent/{name}", 1.0))
        writer.put(Job(partial(end, [ending]), last=add_up))
    writer.start(opening, lambda *_: None)
    writer.stop()
    await writer.join(10)
    writer.deliver()
    assert store.ends[-1] == [*("work/z", "work/a", "work/y"), *("spent/a", "spent/y", "spent/z")]
