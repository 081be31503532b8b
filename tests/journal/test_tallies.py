"""Tallies in a journal: each result is added once, whoever records it, and none is left out."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest

from runware_ws import Client, TaskError
from runware_ws.emulator import Emulator
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.testing.stores import MemoryJournal
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
