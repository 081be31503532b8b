"""Tasks that are handed over in one turn of the loop are entered in the journal together."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import anyio
import pytest

from runware_ws import Client, TextInference
from runware_ws.emulator import Emulator
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.sqlite_transaction import SqliteTransaction

pytestmark = pytest.mark.anyio


class Quick(TypedDict):
    """Options of a client."""

    usual_duration: float
    resend_after: float
    poll_first: float


KEY = "key-of-the-turns"
QUICK: Quick = {"usual_duration": 0.2, "resend_after": 0.2, "poll_first": 0.05}


class CountingStore(SqliteStore):
    """Counts its transactions."""

    transactions = 0

    @contextmanager
    def transaction(self) -> Generator[SqliteTransaction]:
        with super().transaction() as work:
            yield work
        self.transactions += 1


async def test_they_share_a_transaction(tmp_path: Path) -> None:
    store = CountingStore(tmp_path / "journal.db", synchronous="NORMAL")
    async with (
        Emulator(api_key=KEY, latency="1000s") as emulator,
        Client(emulator.url, api_key=KEY, journal=store) as client,
    ):
        await client.ready(timeout=10)
        before = store.transactions
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(client.submit, TextInference.prompt(f"Is {number} prime?"))
        # One for them, one for the session, and one for what looks after others.
        assert store.transactions - before <= 3


async def test_who_waits_for_one_that_is_given_up_at_once_takes_its_place(tmp_path: Path) -> None:
    def task() -> TextInference:
        return TextInference.prompt("Why is the sky blue?")

    async with (
        Emulator(api_key=KEY) as emulator,
        Client(emulator.url, api_key=KEY, journal=tmp_path / "journal.db", **QUICK) as client,
    ):
        await client.ready(timeout=10)
        scope = anyio.CancelScope()

        async def given_up() -> None:
            with scope:
                await client.run(task(), key="one")

        async def joined() -> None:
            scope.cancel()
            result = await client.run(task(), key="one")
            assert (result.text or "").endswith("Why is the sky blue?")

        async with anyio.create_task_group() as group:
            group.start_soon(given_up)
            group.start_soon(joined)
        again = await client.run(task(), key="one")
        assert again.recovered_by == "journal"
        assert emulator.stats.executed == 1
