"""Another task under the taskUUID of one whose end is not recorded is no second try of it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from runware_ws import (
    InvalidTask,
    JournalError,
    ProtocolError,
    RecoveredBy,
    Submitted,
    TextInference,
)
from runware_ws.emulator import Emulator, EmulatorOptions, Request
from runware_ws.journal.binding import Begun, bind
from runware_ws.journal.store import EntryState, NewEntry
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import ask, bounded
from tests.core.bench import uuid_of
from tests.journal.support import keyed_client

pytestmark = pytest.mark.anyio


class Losing(MemoryStore):
    """A database that loses one commit of a result, or whether there was one."""

    loses: bool | None = None

    @contextmanager
    def transaction(self) -> Generator[Any]:
        with super().transaction() as transaction:
            yield transaction
            # Others, as that of the session, may come at any time.
            ends = any(entry.state is not EntryState.OPEN for entry in self._journal.rows.values())
            if ends and self.loses:
                self.loses = None
                raise JournalError("memory: refused")
        if ends and self.loses is False:
            self.loses = None
            raise JournalError("memory: broke in the commit", in_doubt=True)


@pytest.mark.parametrize("loses", [True, False], ids=["lost", "in doubt"])
@bounded
async def test_a_result_that_was_not_recorded_is_no_answer_to_another_task(*, loses: bool) -> None:
    store = Losing(MemoryJournal())
    async with Emulator() as emulator, keyed_client(emulator, store) as client:

        @emulator.reply("textInference")
        def _(request: Request) -> str:
            store.loses = loses
            return request.prompt

        first, other = (
            TextInference.prompt(text, task_uuid=uuid_of(1)) for text in ("first", "other")
        )
        with pytest.raises(JournalError, match="cannot be recorded"):
            await client.run(first)
        with pytest.raises(InvalidTask, match="used before for another task"):
            await client.run(other)
        again = await client.run(first)
        assert again.text == "first"
        assert again.recovered_by is (RecoveredBy.REPLAY if loses else RecoveredBy.JOURNAL)
        assert emulator.stats.tasks_accepted == 1


def test_an_open_task_without_a_key_is_not_taken_over_by_another() -> None:
    """Also when the client has long forgotten that it was given up."""
    store = MemoryJournal().store()
    store.open("target", 0.0)

    def begin(**fields: object) -> Begun | None:
        payload = orjson.dumps({"taskUUID": uuid_of(1), "model": "m", **fields})
        new = NewEntry(uuid_of(1), None, b"", payload, 0.0)
        with store.transaction() as work:
            entry = work.begin(new)
            return None if entry is None else bind(work, new, entry)

    assert begin(prompt="first") is None
    other = begin(prompt="other")
    assert other is not None
    assert not other.ours
    again = begin(deliveryMethod="async", prompt="first")
    assert again is not None
    assert again.ours
    store.close()


@bounded
async def test_what_the_journal_refused_leaves_no_trace() -> None:
    """The client forgot the first one, but the journal did not: what it asked for may be asked."""
    store = MemoryJournal().store()
    async with Emulator() as emulator, keyed_client(emulator, store) as client:
        payload = orjson.dumps({"taskUUID": uuid_of(1), "prompt": "of an earlier process"})
        with store.transaction() as work:
            assert work.begin(NewEntry(uuid_of(1), None, b"", payload, 0.0)) is None
        task = TextInference.prompt("mine", task_uuid=uuid_of(1))
        with pytest.raises(InvalidTask, match="another task in the journal"):
            await client.run(task)
        with store.transaction() as work:
            work.drop(uuid_of(1))
        assert (await client.run(task)).task_uuid == uuid_of(1)


@bounded
async def test_a_key_whose_task_failed_without_a_verdict_of_the_server_is_asked_for_again() -> None:
    """Here its result was too big for a frame; then the server's limit is raised."""
    async with (
        Emulator(options=EmulatorOptions(max_sent_bytes=100_000)) as emulator,
        keyed_client(emulator, MemoryJournal().store()) as client,
    ):
        emulator.faults.giant_result(200_000)
        for _ in range(2):
            with pytest.raises(ProtocolError, match="too big") as told:
                await client.run(ask("much"), key="k")
            assert told.value.submitted is not Submitted.NO
        emulator.options = replace(emulator.options, max_sent_bytes=None)
        result = await client.run(ask("much"), key="k")
        assert len(result.text or "") >= 200_000
        assert emulator.stats.executed_twice == []
        assert emulator.stats.tasks_accepted == 1
