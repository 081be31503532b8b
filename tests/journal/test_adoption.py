"""What a dead process left is taken over: once, whole, and by whoever asks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from runware_ws import ClientClosed, JournalError, RecoveredBy, SyncClient
from runware_ws.client.recovered import Recovered
from runware_ws.emulator import Emulator, Request, expected_text
from runware_ws.journal import delivered
from runware_ws.journal.keeper import OPENING_TRIES
from runware_ws.journal.store import Collided, EntryState, NewEntry
from runware_ws.testing import ScriptedEmulator
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import Gate, ask, bounded, client_of, until
from tests.journal.support import begun, keyed_client, rows

pytestmark = pytest.mark.anyio

DOOMED = """
import sys, anyio
from runware_ws import Client, TextInference

async def main():
    url, key, journal = sys.argv[1:]
    async with Client(url, api_key=key, journal=journal, proxy=None) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.run(TextInference.prompt("keyed"), key="k"))
            group.start_soon(lambda: client.run(TextInference.prompt("unkeyed")))
            group.start_soon(lambda: client.run(
                TextInference.prompt("pushed", delivery_method="sync"), key="p"))
            async with client.stream(TextInference.prompt("streamed"), key="s",
                                     carrier="socket") as stream:
                print("streaming", flush=True)
                await stream.result()

anyio.run(main)
"""

PROMPTS = {"k": "keyed", "p": "pushed", "s": "streamed", None: "unkeyed"}


@pytest.mark.slow
def test_a_process_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    opened = threading.Event()
    with ScriptedEmulator() as emulator:

        async def reply(request: Request) -> Any:
            await anyio.to_thread.run_sync(opened.wait)
            return expected_text(request.prompt, request.task_uuid, request.index)

        emulator.reply("textInference")(cast("Any", reply))
        doomed = subprocess.Popen(
            [sys.executable, "-c", DOOMED, emulator.url, emulator.api_key, str(path)],
            stdout=subprocess.PIPE,
        )
        assert doomed.stdout is not None
        assert doomed.stdout.readline() == b"streaming\n"
        while emulator.stats.tasks_accepted < 4:
            time.sleep(0.01)
        os.kill(doomed.pid, signal.SIGKILL)
        doomed.wait()
        doomed.stdout.close()
        options: dict[str, Any] = {
            "journal": path,
            "proxy": None,
            "poll_first": 0.05,
            "replay_grace": 0.5,
        }
        with SyncClient(emulator.url, api_key=emulator.api_key, **options) as client:
            client.ready(10)
            # The session of the dead process, in the first dial.
            assert client.stats().resumes == 1
            opened.set()
            keyed = client.run(ask("keyed"), key="k")
            left = {each.key: each for each in client.recovered()}
            again = {key: client.run(ask(PROMPTS[key]), key=key) for key in ("k", "p", "s")}
        assert left.keys() >= {None, "p", "s"}
        for key, found in left.items():
            result = found.unwrap()
            assert result.text == expected_text(PROMPTS[key], found.task_uuid, 0)
            assert found.task is not None
            assert found.task["messages"][0]["content"] == PROMPTS[key]
            if key is not None:
                assert again[key].task_uuid == found.task_uuid
        assert again["k"].raw == keyed.raw
        assert max(emulator.stats.executions.values()) == 1
        assert sum(emulator.stats.executions.values()) == 4
        assert emulator.stats.resumes == 1
        assert [entry.key for entry in rows(path, emulator.url) if entry.key is None] == []


@bounded
async def test_a_session_is_handed_on_from_one_to_the_next(tmp_path: Path) -> None:
    """Who adopts may die too, and the server keeps what it pushes for the first session only."""
    path = tmp_path / "j.db"
    async with Emulator() as emulator:
        gate = Gate(emulator)
        sessions: list[str | None] = []
        for life in range(3):
            async with keyed_client(emulator, path) as client:
                if not life:
                    await client.submit(ask("pushed", delivery_method="sync"))
                    await until(lambda: gate.running)
                await client.ready(10)
                sessions.append(client.session_uuid)
                if life == 2:
                    gate.open()
                    (left,) = [each async for each in client.recovered()]
                    assert left.ok
        assert len(set(sessions)) == 1
        assert emulator.stats.resumes == 2


def sessions(journal: MemoryJournal) -> list[str | None]:
    return [owner.session for owner in journal.owners.values()]


@bounded
async def test_a_session_that_the_server_renames_is_recorded() -> None:
    journal = MemoryJournal()
    renamed = "6b2f0f5e-27a4-4f5c-9d8e-0a1b2c3d4e5f"
    reply = {"taskType": "authentication", "connectionSessionUUID": renamed}
    async with Emulator() as emulator, keyed_client(emulator, journal.store()) as client:
        await client.ready(10)
        await until(lambda: sessions(journal) == [client.session_uuid])
        assert emulator.faults.send_raw(json.dumps({"data": [reply]})) == 1
        await until(lambda: sessions(journal) == [renamed])
        assert client.session_uuid == renamed


@bounded
async def test_a_session_that_the_caller_gave_is_recorded() -> None:
    async with Emulator() as emulator:
        async with client_of(emulator) as first:
            await first.ready(10)
            session = first.session_uuid
            emulator.faults.cut()
        journal = MemoryJournal()
        async with keyed_client(emulator, journal.store(), session_uuid=session) as client:
            await client.ready(10)
            assert client.session_uuid == session
            await until(lambda: sessions(journal) == [session])


def dead(journal: MemoryJournal) -> None:
    for owner in journal.owners.values():
        owner.alive = False


@bounded
@pytest.mark.parametrize("later", [False, True], ids=["just-told", "long-told"])
async def test_a_result_that_was_told_and_perhaps_not_used(
    later: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if later:
        monkeypatch.setattr(delivered, "KEPT", 0.0)
    journal = MemoryJournal()
    async with Emulator() as emulator, keyed_client(emulator, journal.store()) as doomed:
        told = await doomed.run(ask("told"))
        for number in range(3):  # What is written of them could take the first one away.
            await doomed.run(ask("another"), key=f"{number}")
        dead(journal)
        async with keyed_client(emulator, journal.store()) as client:
            left = [each async for each in client.recovered() if each.key is None]
            assert [each.unwrap().raw for each in left] == ([] if later else [told.raw])
            for each in left:
                assert each.unwrap().recovered_by is RecoveredBy.JOURNAL
                assert (each.task, each.ok) == (None, True)
            assert [each async for each in client.recovered() if each.key is None] == []
        assert sorted(entry.key or "" for entry in journal.rows.values()) == ["0", "1", "2"]


@bounded
async def test_closed_in_order_leaves_no_result_to_tell_again() -> None:
    journal = MemoryJournal()
    async with Emulator() as emulator:
        async with keyed_client(emulator, journal.store()) as client:
            await client.run(ask("told"))
            assert len(journal.rows) == 1
        assert journal.rows == {}


@bounded
async def test_two_adopters_and_one_wins() -> None:
    journal = MemoryJournal()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, journal.store()) as doomed:
            await doomed.ready(5)
            for number in range(20):
                begun(doomed, ask(f"task {number}"), key=f"{number}" if number % 2 else None)
            await until(lambda: gate.running == 20)
            dead(journal)
            found: list[Recovered] = []
            again = 0

            async def adopt() -> None:
                nonlocal again
                async with keyed_client(emulator, journal.store()) as client:
                    await client.ready(5)
                    gate.open()
                    found.extend([each async for each in client.recovered()])
                    again += client.stats().reconnects

            async with anyio.create_task_group() as group:
                group.start_soon(adopt)
                group.start_soon(adopt)
        assert sorted(each.unwrap().text or "" for each in found) == sorted(
            expected_text((each.task or {})["messages"][0]["content"], each.task_uuid, 0)
            for each in found
        )
        assert len({each.task_uuid for each in found}) == len(found) == 20
        assert set(emulator.stats.executions.values()) == {1}
        # One of them took up the session of the dead one; whatever came later is its own.
        assert emulator.stats.resumes == 1 + again


@bounded
async def test_a_living_owner_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, path) as owner, keyed_client(emulator, path) as other:
            first = await owner.submit(ask("shared"), key="k")
            await until(lambda: gate.running)
            with anyio.fail_after(10):
                second = await other.submit(ask("shared"), key="k")
                third = await other.submit(ask("shared"), key="k")
            before = time.process_time()
            frames = emulator.stats.frames_in
            await anyio.sleep(1.0)
            assert time.process_time() - before < 0.5
            assert emulator.stats.frames_in - frames < 40
            gate.open()
            results = [await handle for handle in (first, second, third)]
            assert len({result.task_uuid for result in results}) == 1
            assert results[1].recovered_by is RecoveredBy.JOURNAL
        assert gate.seen == ["shared"]


@bounded
async def test_the_owner_dies_while_others_wait() -> None:
    journal = MemoryJournal()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with (
            keyed_client(emulator, journal.store()) as owner,
            keyed_client(emulator, journal.store()) as other,
        ):
            first = await owner.submit(ask("shared"), key="k")
            await until(lambda: gate.running)
            second = await other.submit(ask("shared"), key="k")
            late = begun(other, ask("shared"), key="k", timeout=0.2)
            await late.wait()
            journal.owners[1].alive = False
            gate.open()
            with anyio.fail_after(10):
                result = await second
        assert result.task_uuid == first.uuid
        assert gate.seen == ["shared"]


@bounded
async def test_what_closing_leaves_is_adopted(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, path, max_in_flight=2) as client:
            handles = [begun(client, ask(f"{number}"), key=f"{number}") for number in range(4)]
            await until(lambda: gate.running == 2)
        open_still = [entry.uuid for entry in rows(path, emulator.url)]
        assert sorted(open_still) == sorted(handle.uuid for handle in handles[:2])
        gate.open()
        async with keyed_client(emulator, path) as client:
            left = [each async for each in client.recovered()]
            assert sorted(each.task_uuid for each in left) == sorted(open_still)
            for number in range(4):
                await client.run(ask(f"{number}"), key=f"{number}")
        assert sorted(gate.seen) == ["0", "1", "2", "3"]


@bounded
async def test_a_living_client_adopts_what_dies_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runware_ws.journal.keeper.ADOPT_EVERY", 0.05)
    journal = MemoryJournal()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with (
            keyed_client(emulator, journal.store()) as doomed,
            keyed_client(emulator, journal.store()) as other,
        ):
            handle = await doomed.submit(ask("beside"))
            await until(lambda: gate.running)
            assert [each async for each in other.recovered()] == []
            journal.owners[1].alive = False
            await until(lambda: other.stats().pending)
            got: list[str] = []

            async def read() -> None:
                got.extend([each.task_uuid async for each in other.recovered()])

            async with anyio.create_task_group() as group:
                group.start_soon(read)
                group.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                gate.open()
            assert got == [handle.uuid]


@bounded
@pytest.mark.parametrize("turns", range(12))
async def test_who_is_cancelled_while_waiting_for_what_was_left_loses_nothing(turns: int) -> None:
    journal = MemoryJournal()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, journal.store()) as doomed:
            handle = await doomed.submit(ask("left"))
            await until(lambda: gate.running)
            journal.owners[1].alive = False
            async with keyed_client(emulator, journal.store()) as client:
                await until(lambda: client.stats().pending)
                got: list[str] = []

                async def read() -> None:
                    async for each in client.recovered():
                        got.append(each.task_uuid)  # noqa: PERF401 - what came is not lost

                async with anyio.create_task_group() as group:
                    group.start_soon(read)
                    await anyio.wait_all_tasks_blocked()
                    gate.open()
                    # The cancellation meets the answer at one or another step of its way.
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
                if not got:
                    await read()
                assert got == [handle.uuid]


@bounded
async def test_a_task_that_nobody_understands_is_left_alone() -> None:
    journal = MemoryJournal()
    async with Emulator() as emulator:
        doomed = journal.store()
        doomed.open(emulator.url, 0.0)
        with doomed.transaction() as transaction:
            for uuid, payload in (
                ("u1", b"{}"),
                ("u2", b'{"taskType":"x","taskUUID":"'),
                ("u3", b"[]"),
            ):
                transaction.begin(NewEntry(uuid, None, b"", payload, 0.0))
        doomed.die()
        async with keyed_client(emulator, journal.store()) as client:
            await client.run(ask("fine"))
            assert [each async for each in client.recovered()] == []
        assert {entry.state for entry in journal.rows.values()} == {EntryState.OPEN}
        assert len(journal.rows) == 3


class SlowToOpen(MemoryStore):
    """Is open, and does not say so until it may go on."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal)
        self.opening, self.go_on = threading.Event(), threading.Event()

    def open(self, target: str, now: float) -> None:
        super().open(target, now)
        self.opening.set()
        self.go_on.wait()


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})])
@bounded
async def test_a_start_that_is_cancelled_leaves_no_owner(
    anyio_backend: Any,
) -> None:
    journal = MemoryJournal()
    store = SlowToOpen(journal)
    async with Emulator() as emulator:
        client = keyed_client(emulator, store)
        start = asyncio.ensure_future(client.start())
        await until(store.opening.is_set)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        store.go_on.set()
        await until(lambda: not journal.owners)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})])
@bounded
async def test_a_client_that_is_closed_while_it_starts_leaves_no_owner(
    anyio_backend: Any,
) -> None:
    journal = MemoryJournal()
    store = SlowToOpen(journal)
    async with Emulator() as emulator:
        client = keyed_client(emulator, store)
        start = asyncio.ensure_future(client.start())
        await until(store.opening.is_set)
        await client.aclose()
        store.go_on.set()
        with pytest.raises(ClientClosed):
            await start
        await until(lambda: not journal.owners)


class Collides(MemoryStore):
    """Its first transactions collide with somebody else's."""

    def __init__(self, times: int, error: Callable[..., JournalError] = Collided) -> None:
        super().__init__(MemoryJournal())
        self.times, self.error, self.tries = times, error, 0

    @contextmanager
    def transaction(self) -> Generator[Any]:
        with super().transaction() as transaction:
            yield transaction
            self.tries += 1
            if self.tries <= self.times:
                raise self.error("trouble", temporary=True)


@bounded
async def test_a_start_whose_transaction_collides_is_tried_again() -> None:
    async with Emulator() as emulator, keyed_client(emulator, Collides(2)) as client:
        assert await client.run(ask("x"), key="k")


@pytest.mark.parametrize(
    ("error", "tries"),
    [(Collided, OPENING_TRIES), (JournalError, 1), (partial(JournalError, in_doubt=True), 1)],
)
@bounded
async def test_a_start_in_vain_is_told_soon(error: Callable[..., JournalError], tries: int) -> None:
    """A store that is locked has waited for long itself."""
    store = Collides(1_000, error)
    async with Emulator() as emulator:
        client = keyed_client(emulator, store)
        with pytest.raises(JournalError, match="trouble"):
            await client.start()
        await client.aclose()
    assert store.tries == tries


@bounded
async def test_closing_after_a_start_in_vain_does_not_hide_why() -> None:
    class Broken(MemoryStore):
        def open(self, target: str, now: float) -> None:
            raise JournalError("no room")

    async with Emulator() as emulator:
        client = keyed_client(emulator, Broken(MemoryJournal()))

        async def life() -> None:
            try:
                await client.start()
            finally:
                await client.aclose()

        with pytest.raises(JournalError, match="no room"):
            await life()
        await client.aclose()
        for verb in (client.start, client.ready, client.drain):
            with pytest.raises(ClientClosed):
                await verb()
