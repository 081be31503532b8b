"""A journal that cannot be written, hangs, or is another's by now."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import anyio
import pytest

from runware_ws import (
    ClientClosed,
    ConnectionFailed,
    Fenced,
    JournalError,
    RecoveredBy,
    RunwareError,
    Submitted,
    TaskError,
    TaskTimeout,
)
from runware_ws.client.recovered import Recovered
from runware_ws.emulator import Emulator, expected_text
from runware_ws.journal import delivered, keeper
from runware_ws.journal.store import Entry, EntryState, NewEntry, Store, Transaction
from runware_ws.journal.writer import Job, JournalWriter
from runware_ws.testing.stores import MemoryJournal, MemoryStore
from tests.client.support import Gate, ask, assert_answers, bounded, until
from tests.journal.support import begun, keyed_client

pytestmark = pytest.mark.anyio

AWAY = JournalError("memory: away", temporary=True)
BROKEN = JournalError("memory: broken; mend it")


class Seen:
    """A transaction, and how many tasks it enters."""

    def __init__(self, inner: Transaction) -> None:
        self._inner = inner
        self.begun = 0

    def begin(self, new: NewEntry) -> Entry | None:
        self.begun += 1
        return self._inner.begin(new)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class HangingStore:
    """A store whose commits hang while :attr:`hangs`."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._free = threading.Event()
        self._free.set()
        self.waiting = threading.Event()
        # What waits has a task that is being entered.
        self.entering = threading.Event()

    @property
    def place(self) -> str:
        return "hanging"

    def hang(self) -> None:
        self._free.clear()

    def go_on(self) -> None:
        self._free.set()

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        with self._inner.transaction() as transaction:
            seen = Seen(transaction)
            yield cast("Transaction", seen)
            if not self._free.is_set():
                self.waiting.set()
                if seen.begun:
                    self.entering.set()
            self._free.wait()

    def open(self, target: str, now: float) -> None:
        self._inner.open(target, now)

    def version(self) -> int:
        return self._inner.version()

    def fence(self, owner: int) -> bool:
        return self._inner.fence(owner)

    def close(self) -> None:
        self._inner.close()


def states(journal: MemoryJournal) -> list[EntryState]:
    return [entry.state for entry in journal.rows.values()]


@bounded
async def test_nothing_is_sent_while_the_journal_is_away() -> None:
    journal = MemoryJournal()
    store = journal.store()
    async with Emulator() as emulator, keyed_client(emulator, store) as client:
        await client.run(ask("before"))
        store.trouble = AWAY
        task = ask("waits")
        handle = begun(client, task)
        with pytest.raises(TaskTimeout, match="waits for the journal") as late:
            await client.run(ask("late"), timeout=0.3)
        assert late.value.submitted is Submitted.NO
        assert emulator.stats.tasks_accepted == 1
        store.trouble = None
        await handle.wait()
        assert_answers(handle.outcome(), task)
        await client.run(ask("after"))
        assert emulator.stats.tasks_accepted == 3
    assert journal.rows == {}


@bounded
async def test_a_broken_journal_is_an_error_and_nothing_was_sent() -> None:
    store = MemoryJournal().store()
    async with Emulator() as emulator, keyed_client(emulator, store) as client:
        await client.ready(5)
        store.trouble = BROKEN
        task = ask("refused")
        for key in (None, "k"):
            with pytest.raises(JournalError, match="mend it") as refused:
                await client.run(task, key=key)
            assert (refused.value.submitted, refused.value.safe_to_resend) == (Submitted.NO, True)
            assert refused.value.task_uuid is not None
        assert not emulator.stats.tasks_accepted
        store.trouble = None
        assert_answers(await client.run(task), task)
        assert (await client.run(task, key="k")).recovered_by is not RecoveredBy.JOURNAL


@bounded
async def test_a_result_that_cannot_be_recorded_is_not_told() -> None:
    journal = MemoryJournal()
    store = journal.store()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, store) as client:
            handles = [
                await client.submit(ask("keyed"), key="k"),
                await client.submit(ask("pushed", delivery_method="sync"), key="p"),
                await client.submit(ask("unkeyed")),
            ]
            await until(lambda: gate.running == 3)
            store.trouble = BROKEN
            gate.open()
            for handle in handles:
                with pytest.raises(JournalError, match=r"cannot be recorded.*mend it") as told:
                    await handle
                assert told.value.submitted is Submitted.YES
                assert not told.value.safe_to_resend
            store.trouble = None
            assert states(journal) == [EntryState.OPEN] * 3
            # It is the next use's.
            results = [
                await client.run(ask("keyed"), key="k"),
                await client.run(ask("pushed", delivery_method="sync"), key="p"),
            ]
        assert [result.text for result in results] == [
            expected_text(prompt, result.task_uuid, 0)
            for prompt, result in zip(("keyed", "pushed"), results, strict=True)
        ]
        async with keyed_client(emulator, journal.store()) as client:
            (left,) = [each async for each in client.recovered()]
            assert left.task_uuid == handles[2].uuid
            assert left.unwrap().text == expected_text("unkeyed", handles[2].uuid, 0)
        assert len(gate.seen) == 3


@bounded
async def test_a_result_that_waits_for_the_journal_does_not_outlive_its_deadline() -> None:
    journal = MemoryJournal()
    store = journal.store()
    async with Emulator() as emulator, keyed_client(emulator, store) as client:
        gate = Gate(emulator)
        handle = await client.submit(ask("in time"), key="k", timeout=0.5)
        await until(lambda: gate.running)
        store.trouble = AWAY
        gate.open()
        with anyio.fail_after(5), pytest.raises(JournalError, match=r"not told.*away") as told:
            await handle
        assert told.value.submitted is Submitted.YES
        store.trouble = None
        result = await client.run(ask("in time"), key="k")
        assert result.task_uuid == handle.uuid
        assert gate.seen == ["in time"]


@bounded
async def test_that_a_task_was_never_sent_is_told_once_it_is_forgotten() -> None:
    """Otherwise whoever takes over would send it."""
    journal = MemoryJournal()
    store = HangingStore(journal.store())
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, store, max_in_flight=1, close_timeout=1.0) as client:
            await client.submit(ask("first"))
            await until(lambda: gate.running)
            waits = begun(client, ask("waits for room"))
            surely = begun(client, ask("waits for room, too"))
            await until(lambda: len(journal.rows) == 3)
            store.hang()
            waits.cancel()
            await until(store.waiting.is_set)
            assert not waits.done
            with anyio.fail_after(8):
                await waits.wait()
            assert waits.error is not None
            assert waits.error.submitted is Submitted.MAYBE
            store.go_on()
            surely.cancel()
            await surely.wait()
            assert surely.error is not None
            assert surely.error.submitted is Submitted.NO
            assert len(journal.rows) == 1


@bounded
async def test_what_ends_while_it_is_entered_is_not_left_behind() -> None:
    journal = MemoryJournal()
    store = HangingStore(journal.store())
    async with Emulator() as emulator:
        async with keyed_client(emulator, store) as client:
            # What is written about the session is behind us then.
            await client.run(ask("before"))
            store.hang()
            one = begun(client, ask("in the transaction"))
            await until(store.entering.is_set)
            two = begun(client, ask("behind it"), key="k")
            for handle in (one, two):
                handle.cancel()
            assert two.done
            assert not one.done
            store.go_on()
            await one.wait()
            assert one.error is not None
            assert one.error.submitted is Submitted.NO
            await client.run(ask("another"))
        assert journal.rows == {}
        assert emulator.stats.tasks_accepted == 2


@pytest.mark.parametrize("how", ["away", "broken", "hangs"])
@bounded
async def test_closing_is_bounded(how: str) -> None:
    journal = MemoryJournal()
    inner = journal.store()
    store = HangingStore(inner)
    async with Emulator() as emulator:
        gate = Gate(emulator)
        client = await keyed_client(emulator, store, close_timeout=0.5).start()
        sent = await client.submit(ask("sent"), key="k")
        held = await client.submit(ask("done"), key="h")
        await until(lambda: gate.running == 2)
        if how == "hangs":
            store.hang()
        else:
            inner.trouble = AWAY if how == "away" else BROKEN
        unsent = begun(client, ask("unsent"))
        gate.open()
        await anyio.sleep(0.1)
        begin = anyio.current_time()
        await client.aclose()
        assert anyio.current_time() - begin < 3.0
        for handle in (sent, held, unsent):
            assert handle.done
            with pytest.raises((JournalError, ClientClosed)):
                await handle
        store.go_on()
        inner.trouble = None
        await until(lambda: not any(owner.alive for owner in journal.owners.values()))
        # What is there is there for others.
        async with keyed_client(emulator, journal.store()) as client:
            result = await client.run(ask("sent"), key="k")
            assert result.text == expected_text("sent", sent.uuid, 0)
        assert gate.seen.count("sent") == 1


@bounded
async def test_a_fenced_client_ends_its_tasks_and_sends_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "VERIFIED_FOR", 0.2)
    monkeypatch.setattr(keeper, "ADOPT_EVERY", 0.2)
    journal = MemoryJournal()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, journal.store()) as old:
            keyed = await old.submit(ask("keyed"), key="k")
            unkeyed = await old.submit(ask("unkeyed"))
            await until(lambda: gate.running == 2)
            (owner,) = journal.owners
            other = journal.store()
            async with keyed_client(emulator, other) as new:
                assert other.fence(owner)
                fresh = begun(old, ask("fresh"))
                for handle in (keyed, unkeyed, fresh):
                    with pytest.raises(Fenced, match="declared dead") as told:
                        await handle
                    assert (told.value.submitted is Submitted.NO) is (handle is fresh)
                with pytest.raises(Fenced):
                    await old.run(ask("more"))
                gate.open()
                assert_answers_text(await new.run(ask("keyed"), key="k"), "keyed", keyed.uuid)
                left: list[Recovered] = []
                for _ in range(300):
                    left += [each async for each in new.recovered()]
                    await anyio.sleep(0 if left else 0.1)
                (found,) = left
                assert_answers_text(found.unwrap(), "unkeyed", unkeyed.uuid)
        assert sorted(gate.seen) == ["keyed", "unkeyed"]


def assert_answers_text(result: Any, prompt: str, uuid: str) -> None:
    assert (result.task_uuid, result.text) == (uuid, expected_text(prompt, uuid, 0))


@bounded
async def test_an_unsent_task_of_a_fenced_client_may_be_sent_by_others() -> None:
    journal = MemoryJournal()
    store = journal.store()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, store, max_in_flight=1) as client:
            await client.submit(ask("first"))
            await until(lambda: gate.running)
            waits = begun(client, ask("waits"), key="k")
            await until(lambda: len(journal.rows) == 2)
            other = journal.store()
            other.open(emulator.url, 0.0)
            other.fence(store.owner)
            with pytest.raises(Fenced):
                await client.run(ask("third"))
            with pytest.raises(Fenced) as told:
                await waits
            assert told.value.submitted is Submitted.MAYBE
            assert not told.value.safe_to_resend


class Unsure(MemoryStore):
    """A database whose connection breaks each time after a commit, before that is heard."""

    deaf = False

    @contextmanager
    def transaction(self) -> Generator[Any]:
        with super().transaction() as transaction:
            yield transaction
        self.deaf = not self.deaf
        if self.deaf:
            raise JournalError("memory: away", temporary=True, in_doubt=True)


@bounded
async def test_what_is_written_twice_is_written_once() -> None:
    journal = MemoryJournal()
    store = Unsure(journal)
    store.deaf = True
    async with Emulator() as emulator, keyed_client(emulator, store) as client:
        for key in (None, "k"):
            task = ask("twice?")
            assert_answers(await client.run(task, key=key), task)
        emulator.faults.inject_error("inferenceError", stage="execute")
        with pytest.raises(TaskError, match="Injected"):
            await client.run(ask("fails"), key="f")
        assert set(emulator.stats.executions.values()) == {1}
        assert len(emulator.stats.executions) == 3
    assert sorted(str(entry.key) for entry in journal.rows.values()) == ["f", "k"]


class Failing(MemoryStore):
    """A database whose connection breaks in a commit, which then is refused for good."""

    broke = breaks = False
    back = True

    @contextmanager
    def transaction(self) -> Generator[Any]:
        if self.broke:
            raise AWAY if self.back else BROKEN
        with super().transaction() as transaction:
            yield transaction
        # In that of a task, not in one that looks after the journal meanwhile.
        if self.breaks and self._journal.rows:
            self.broke = True
            raise JournalError("memory: broke in the commit", temporary=True, in_doubt=True)


@pytest.mark.parametrize("how", ["refused", "cancelled", "closed"])
@bounded
async def test_what_a_broken_commit_may_have_entered_is_not_told_to_be_unsent(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes over finds it, and sends it."""
    monkeypatch.setattr(keeper, "ADOPT_EVERY", 0.05)  # What was read is forgotten then, too.
    monkeypatch.setattr(keeper, "RELEASE_EVERY", 0.05)
    monkeypatch.setattr(delivered, "KEPT", 0.05)
    journal = MemoryJournal()
    store = Failing(journal)
    async with Emulator() as emulator:
        client = await keyed_client(emulator, store, close_timeout=0.5).start()
        await client.run(ask("before"))
        await until(lambda: not journal.rows)
        store.back = how != "refused"
        store.breaks = True
        handle = begun(client, ask("perhaps"))
        await until(lambda: store.broke)
        if how == "cancelled":
            handle.cancel()
            with anyio.fail_after(5):
                await handle.wait()
        elif how == "closed":
            await client.aclose()
        with pytest.raises(RunwareError) as told:
            await handle
        assert (told.value.submitted, told.value.safe_to_resend) == (Submitted.MAYBE, False)
        await client.aclose()
        assert emulator.stats.tasks_accepted == 1
        async with keyed_client(emulator, journal.store()) as client:
            (left,) = [each async for each in client.recovered()]
            assert_answers_text(left.unwrap(), "perhaps", handle.uuid)


class Bug(MemoryStore):
    """A store that breaks its contract."""

    broken = False

    def version(self) -> int:
        raise ZeroDivisionError

    @contextmanager
    def transaction(self) -> Generator[Any]:
        if self.broken:
            raise ZeroDivisionError("a bug")
        with super().transaction() as transaction:
            yield transaction


@bounded
async def test_a_store_with_a_bug_ends_the_client_and_leaves_nobody_waiting() -> None:
    store = Bug(MemoryJournal())
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, store) as client:
            running = await client.submit(ask("running"))
            await until(lambda: gate.running)
            store.broken = True
            with pytest.raises(JournalError, match="ZeroDivisionError"):
                await client.run(ask("next"))
            with pytest.raises(JournalError, match="ZeroDivisionError"):
                await running
            with pytest.raises(JournalError):
                await client.run(ask("after"))


@pytest.mark.parametrize("inside", [False, True])
@bounded
async def test_closing_at_once_in_many_tasks_waits_for_what_is_written_only(
    inside: bool,
) -> None:
    async with Emulator() as emulator:
        client = await keyed_client(emulator, MemoryJournal().store(), close_timeout=60).start()
        handle = await client.submit(ask())
        await handle.wait()
        begin = anyio.current_time()
        async with anyio.create_task_group() as group:
            if inside:
                cast("Any", client)._supervisor.start_soon(client.aclose, name="inside")
                await until(lambda: client.stats().state == "closed")
            for _ in range(3):
                group.start_soon(client.aclose)
        assert anyio.current_time() - begin < 5


@bounded
async def test_a_crash_does_not_wait_for_a_journal_that_is_away() -> None:
    inner = MemoryJournal().store()
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, inner, close_timeout=0.5, timeout=60) as client:
            handle = await client.submit(ask("running"))
            await until(lambda: gate.running)
            inner.trouble = AWAY
            gate.open()
            await until(lambda: client.stats().answered)
            assert not handle.done
            cast("Any", client)._supervisor.start_soon(crash, name="a bug")
            with anyio.fail_after(5):
                await handle.wait()
            assert isinstance(handle.error, JournalError)


async def test_a_bug_of_one_who_is_told_keeps_nothing_from_the_others() -> None:
    store = MemoryJournal().store()
    told: list[object] = []

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    def heard(*answer: object) -> None:
        told.append(answer)

    writer = JournalWriter(store, lambda: None, on_change=lambda: None)
    for done in (broken, heard):
        writer.put(Job(lambda _: 1, done))
    writer.start(lambda: store.open("target", 0.0), lambda *_: None)
    writer.stop()
    await writer.join(10)
    with pytest.raises(ZeroDivisionError):
        writer.deliver()
    writer.deliver()
    assert told == [(1, None)]
    assert not writer.busy


async def crash() -> None:
    raise ZeroDivisionError("a bug")


@bounded
async def test_a_crash_of_the_client_leaves_nobody_waiting() -> None:
    store = HangingStore(MemoryJournal().store())
    async with Emulator() as emulator:
        gate = Gate(emulator)
        client = await keyed_client(emulator, store, close_timeout=0.5).start()
        handle = await client.submit(ask("running"))
        await until(lambda: gate.running)
        store.hang()
        gate.open()
        await until(store.waiting.is_set)
        cast("Any", client)._supervisor.start_soon(crash, name="a bug")
        with pytest.raises(ConnectionFailed, match="ZeroDivisionError"):
            await client.run(ask("after"))
        store.go_on()
        with anyio.fail_after(5):
            await handle.wait()
        await client.aclose()
