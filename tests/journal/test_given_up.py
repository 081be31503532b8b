"""A key whose caller gave up is not waited for by others: they ask the server themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from runware_ws import RecoveredBy, TaskTimeout
from runware_ws.emulator import Emulator, expected_text
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.sqlite_view import SqliteView
from runware_ws.journal.store import Store
from runware_ws.journal.viewing import OwnerState
from runware_ws.testing.stores import MemoryJournal
from tests.client.support import Gate, ask, bounded, until
from tests.journal.support import keyed_client

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
