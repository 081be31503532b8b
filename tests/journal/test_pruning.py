"""What is forgotten while somebody still waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from runware_ws.client.tasks import Task
from runware_ws.emulator import Emulator, expected_text
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import Gate, ask, bounded, until
from tests.journal.support import keyed_client, prune

pytestmark = pytest.mark.anyio


class Freezing(MemoryStore):
    """Its process can be made to stand still."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal)
        self.running = threading.Event()
        self.running.set()

    @contextmanager
    def transaction(self) -> Generator[Any]:
        self.running.wait(30)
        with super().transaction() as transaction:
            yield transaction


@pytest.mark.parametrize("delivery", [None, "sync"])
@pytest.mark.parametrize("own_uuid", [False, True])
@bounded
async def test_a_result_that_is_pruned_before_who_waits_for_it_looks(
    *, own_uuid: bool, delivery: Any
) -> None:
    """It was paid for, so who waited asks the server for it and runs nothing of its own."""
    journal = MemoryJournal()
    frozen = Freezing(journal)
    task: Task = ask("slow", delivery_method=delivery)
    same: Task = task if own_uuid else ask("slow")
    async with (
        Emulator() as emulator,
        keyed_client(emulator, journal.store()) as one,
        keyed_client(emulator, frozen) as other,
    ):
        gate = Gate(emulator)
        first = await one.submit(task, key="k")
        await until(lambda: gate.running)
        second = await other.submit(same, key="k")
        frozen.running.clear()
        gate.open()
        await first
        assert prune(journal.store(), emulator.url, time.time() + 1) == 1
        frozen.running.set()
        result = await second
        assert result.task_uuid == first.uuid
        assert result.text == expected_text("slow", first.uuid, 0)
        assert gate.seen == ["slow"]


@bounded
async def test_a_stream_that_is_pruned_before_who_waits_for_it_looks() -> None:
    journal = MemoryJournal()
    frozen = Freezing(journal)
    async with (
        Emulator() as emulator,
        keyed_client(emulator, journal.store()) as one,
        keyed_client(emulator, frozen) as other,
    ):
        gate = Gate(emulator)
        async with one.stream(ask("slow"), key="k", carrier="socket") as stream:
            await until(lambda: gate.running)
            second = await other.submit(ask("slow"), key="k")
            frozen.running.clear()
            gate.open()
            whole = await stream.result()
        assert prune(journal.store(), emulator.url, time.time() + 1) == 1
        frozen.running.set()
        result = await second
        assert (result.task_uuid, result.text) == (whole.task_uuid, whole.text)
        assert gate.seen == ["slow"]


@bounded
async def test_who_joined_one_that_gave_up_waiting_asks_as_well() -> None:
    journal = MemoryJournal()
    frozen = Freezing(journal)
    async with (
        Emulator() as emulator,
        keyed_client(emulator, journal.store()) as one,
        keyed_client(emulator, frozen) as other,
    ):
        gate = Gate(emulator)
        first = await one.submit(ask("slow"), key="k")
        await until(lambda: gate.running)
        second = await other.submit(ask("slow"), key="k")
        third = await other.submit(ask("slow"), key="k")
        frozen.running.clear()
        gate.open()
        await first
        assert prune(journal.store(), emulator.url, time.time() + 1) == 1
        second.cancel()
        frozen.running.set()
        assert (await third).text == expected_text("slow", first.uuid, 0)
        assert gate.seen == ["slow"]
