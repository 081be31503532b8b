"""A value that the journal's database does not take."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from runware_ws import JournalError, Submitted
from runware_ws.emulator import Emulator, expected_text
from runware_ws.journal.store import EntryState
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import Gate, ask, bounded, until
from tests.journal.support import begun, keyed_client

pytestmark = pytest.mark.anyio


class Picky(MemoryStore):
    """A database that does not take some values. ``of``: of what.

    ``tries``: transactions with a new entry. Others, of results, are as many as the moment has it.
    ``free``: it works only while this is set.
    """

    of = "payload"
    tries = 0

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal)
        self.free = threading.Event()
        self.free.set()

    @contextmanager
    def transaction(self) -> Generator[Any]:
        self.free.wait()
        with super().transaction() as transaction:
            before = len(self._journal.rows)
            yield transaction
            self.tries += len(self._journal.rows) > before
            for entry in self._journal.rows.values():
                if b"poison" in (getattr(entry, self.of) or b""):
                    raise JournalError("memory: it does not take a value", about_data=True)


@bounded
async def test_a_value_that_is_refused_is_its_own_callers_trouble_alone() -> None:
    journal = MemoryJournal()
    store = Picky(journal)
    prompts = [f"{number} poison" if number in (3, 41) else str(number) for number in range(100)]
    async with Emulator() as emulator:
        async with keyed_client(emulator, store) as client:
            store.free.clear()
            handles = [begun(client, ask(prompt)) for prompt in prompts]
            store.free.set()
            for prompt, handle in zip(prompts, handles, strict=True):
                if "poison" not in prompt:
                    assert (await handle).text == expected_text(prompt, handle.uuid, 0)
                    continue
                with pytest.raises(JournalError, match="does not take") as told:
                    await handle
                assert told.value.task_uuid == handle.uuid
                assert (told.value.submitted, told.value.safe_to_resend) == (Submitted.NO, True)
            assert store.tries < 60, "found by halves, not one by one"
            with anyio.fail_after(5):
                await client.drain()
        assert emulator.stats.tasks_accepted == 98
    assert not journal.rows


@bounded
async def test_a_result_that_is_refused_is_its_own_callers_trouble_alone() -> None:
    journal = MemoryJournal()
    store = Picky(journal)
    async with Emulator() as emulator:
        store.of = "outcome"
        gate = Gate(emulator)
        async with keyed_client(emulator, store) as client:
            prompts = ["poison" if number == 7 else str(number) for number in range(20)]
            handles = [begun(client, ask(each), key=each) for each in prompts]
            await until(lambda: gate.running == 20)
            gate.open()
            for prompt, handle in zip(prompts, handles, strict=True):
                if prompt != "poison":
                    assert (await handle).text == expected_text(prompt, handle.uuid, 0)
                    continue
                with pytest.raises(JournalError, match=r"cannot be recorded.*does not take"):
                    await handle
        assert [entry.state for entry in journal.rows.values()].count(EntryState.OPEN) == 1
