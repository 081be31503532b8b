"""A key stands for one result, whoever asks for it and how often."""

from __future__ import annotations

import sqlite3
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws import (
    ClientClosed,
    ConfigurationError,
    InvalidTask,
    JournalError,
    KeyConflict,
    RecoveredBy,
    Submitted,
    SyncClient,
    TaskCancelled,
    TaskError,
    TaskTimeout,
    TextInference,
)
from runware_ws._core.tasks.record import TaskRecord
from runware_ws.emulator import Emulator, Request, expected_text
from runware_ws.journal.outcomes import outcome_to_record
from runware_ws.journal.store import EntryState
from runware_ws.models import validate_task
from runware_ws.models.content import content_digest
from runware_ws.testing import ScriptedEmulator
from tests.client.support import Gate, ask, assert_answers, bounded, client_of, until
from tests.journal.support import Ledger, begun, keyed_client, rows

pytestmark = pytest.mark.anyio


@bounded
async def test_a_recorded_result_is_returned(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        ledger = Ledger(emulator)
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            task = ask("once")
            first = await client.run(task, key="k")
            assert_answers(first, task)
            again = await client.run(task, key="k")
            other = await client.run(ask("once"), key="k")
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            later = await client.run(ask("once"), key="k")
        for result in (again, other, later):
            assert result.recovered_by is RecoveredBy.JOURNAL
            assert result.task_uuid == first.task_uuid
            assert result.raw == first.raw
        assert ledger.uuids["once"] == [first.task_uuid]
        assert uuid.UUID(first.task_uuid).version == 4


@bounded
async def test_one_task_object_serves_many_keys(tmp_path: Path) -> None:
    async with Emulator() as emulator, keyed_client(emulator, tmp_path / "j.db") as client:
        task = ask("same")
        results = [await client.run(task, key=key) for key in "abc"]
        assert len({result.task_uuid for result in results}) == 3
    async with Emulator() as emulator, keyed_client(emulator, tmp_path / "j.db") as client:
        # Another server: nothing of the first one's is seen.
        assert (await client.run(task, key="a")).recovered_by is not RecoveredBy.JOURNAL


@bounded
async def test_the_uuid_of_another_entry_is_not_taken(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        task = ask("mine")
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            first = await client.run(task, key="a")
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            second = await client.run(task, key="b")
            assert second.task_uuid != first.task_uuid
            with pytest.raises(InvalidTask, match="in the journal"):
                await client.run(task)


@bounded
async def test_uses_at_the_same_time_are_one_task(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            handles = [await client.submit(ask("together"), key="k") for _ in range(5)]
            await until(lambda: gate.running)
            with pytest.raises(KeyConflict):
                await client.run(ask("other"), key="k")
            gate.open()
            results = [await handle for handle in handles]
        assert len({result.task_uuid for result in results}) == 1
        assert {handle.uuid for handle in handles} == {results[0].task_uuid}
        assert gate.seen == ["together"]


@bounded
async def test_who_joined_goes_on_when_the_first_gives_up(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            first = await client.submit(ask("joined"), key="k")
            await until(lambda: gate.running)
            second = await client.submit(ask("joined"), key="k")
            third = await client.submit(ask("joined"), key="k")
            assert first.cancel()
            with pytest.raises(TaskCancelled):
                await first
            third.cancel()
            gate.open()
            result = await second
        assert gate.seen == ["joined"]
        assert result.task_uuid == first.uuid


@bounded
async def test_another_content_is_refused(tmp_path: Path) -> None:
    async with Emulator() as emulator, keyed_client(emulator, tmp_path / "j.db") as client:
        await client.run(ask("this"), key="k")
        task = ask("that")
        with pytest.raises(KeyConflict, match="'k'") as refused:
            await client.run(task, key="k")
        assert refused.value.submitted is Submitted.NO
        assert refused.value.safe_to_resend
        # The task was never used: it can be run under another key.
        assert_answers(await client.run(task, key="k2"), task)


@bounded
@pytest.mark.parametrize("prices", [(None, True), (True, None), (False, True), (True, False)])
async def test_whether_the_price_is_told_is_no_other_content(tmp_path: Path, prices: Any) -> None:
    before, later = prices
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with (
            keyed_client(emulator, tmp_path / "j.db") as client,
            keyed_client(emulator, tmp_path / "j.db") as other,
        ):
            # At once, while it runs, in another process, and after its end.
            handles = [begun(client, ask("this", include_cost=each), key="k") for each in prices]
            await until(lambda: gate.running)
            task = partial(ask, "this", include_cost=later)
            handles += [begun(each, task(), key="k") for each in (client, other)]
            with pytest.raises(KeyConflict):
                await other.run(ask("that", include_cost=before), key="k")
            gate.open()
            uuids = {(await handle).task_uuid for handle in handles}
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            result = await client.run(ask("this", include_cost=later), key="k")
        assert uuids == {result.task_uuid}
        assert (result.cost is None) is (before is not True)
        assert gate.seen == ["this"]


@bounded
async def test_another_content_does_not_take_the_key_from_the_right_one(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        gate = Gate(emulator)
        gate.open()
        for wrong_first in (True, False):
            key = f"k{wrong_first}"
            async with keyed_client(emulator, tmp_path / "j.db") as client:
                first = await client.run(ask("right"), key=key)
            async with keyed_client(emulator, tmp_path / "j.db") as client:
                prompts = ("wrong", "right", "wrong") if wrong_first else ("right", "wrong")
                handles = [begun(client, ask(prompt), key=key) for prompt in prompts]
                for handle, prompt in zip(handles, prompts, strict=True):
                    if prompt == "right":
                        assert (await handle).task_uuid == first.task_uuid
                    else:
                        with pytest.raises(KeyConflict):
                            await handle
        assert gate.seen == ["right", "right"]


@bounded
async def test_of_two_contents_at_once_the_first_has_the_key(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        gate = Gate(emulator)
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            first = begun(client, ask("first"), key="k")
            second = begun(client, ask("second"), key="k")
            with pytest.raises(KeyConflict):
                await second
            assert not first.done
            gate.open()
            await first
        assert gate.seen == ["first"]


@pytest.mark.parametrize("kind", ["getResponse", "getTaskDetails"])
@bounded
async def test_a_question_has_no_key(tmp_path: Path, kind: str) -> None:
    """Its taskUUID says what it asks, and under a key that would be no part of it."""
    async with Emulator() as emulator, keyed_client(emulator, tmp_path / "j.db") as client:
        first = await client.run(ask("asked about", delivery_method="async"))
        question = {"taskType": kind, "taskUUID": first.task_uuid}
        with pytest.raises(InvalidTask, match="can have no key") as refused:
            await client.run(question, key="q")
        assert refused.value.safe_to_resend
        assert (await client.run(question)).task_uuid == first.task_uuid


@pytest.mark.parametrize(
    "outcome", [b"", b"rubbish", b"{}", b"[]", b'{"items": []}', b'{"items": [1], "error": {}}']
)
@pytest.mark.parametrize("state", [1, 2])
@bounded
async def test_an_entry_that_is_damaged_is_the_trouble_of_its_key_alone(
    tmp_path: Path, state: int, outcome: bytes
) -> None:
    path = tmp_path / "j.db"
    async with Emulator() as emulator:
        async with keyed_client(emulator, path) as client:
            first = await client.run(ask("damaged"), key="k")
            await client.run(ask("no key"))
        with sqlite3.connect(path) as db:
            db.execute("UPDATE entries SET state = ?, outcome = ?", (state, outcome))
        async with keyed_client(emulator, path) as client:
            with pytest.raises(JournalError, match="is damaged") as told:
                await client.run(ask("damaged"), key="k")
            assert told.value.task_uuid == first.task_uuid
            assert (told.value.submitted, told.value.safe_to_resend) == (Submitted.YES, False)
            task = ask("whole")
            assert_answers(await client.run(task, key="other"), task)
        assert emulator.stats.tasks_accepted == 3


def test_what_belongs_to_the_content() -> None:
    def digest(**fields: Any) -> bytes:
        task = {
            "taskType": "textInference",
            "model": "a:b@1",
            "messages": [{"role": "user", "content": "x"}],
            **fields,
        }
        return content_digest(validate_task(task).payload)

    one = digest(taskUUID=str(uuid.uuid4()))
    assert one == digest(taskUUID=str(uuid.uuid4()), deliveryMethod="async")
    assert one == digest(deliveryMethod="stream")
    assert one == content_digest(
        validate_task(
            {
                "messages": [{"content": "x", "role": "user"}],
                "model": "a:b@1",
                "taskType": "textInference",
            }
        ).payload
    )
    assert digest(x=7.0) == digest(x=7) == digest(x=70e-1)
    assert digest(x=7.5) != digest(x=7)
    assert digest(x=2.0**53) != digest(x=2**53)  # From there on a float may be of several integers.
    assert one != digest(numberResults=2)
    assert digest(seed=2**63) != digest(seed=2**63 + 1)


@bounded
async def test_a_verdict_that_nothing_ran_ends_the_attempt(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        ledger = Ledger(emulator)
        emulator.faults.inject_error("rateLimitExceeded", times=2)
        task = ask("limited")
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            with pytest.raises(TaskError) as first:
                await client.run(task, key="k")
            assert first.value.safe_to_resend
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            with pytest.raises(TaskError) as second:
                await client.run(task, key="k")
            result = await client.run(task, key="k")
        uuids = [str(first.value.task_uuid), str(second.value.task_uuid), result.task_uuid]
        assert len(set(uuids)) == 3
        assert ledger.uuids["limited"] == [result.task_uuid]
        (entry,) = rows(tmp_path / "j.db", emulator.url)
        assert (entry.attempt, entry.state, entry.payload) == (3, EntryState.DONE, None)


@bounded
async def test_any_other_verdict_is_told_again(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        emulator.faults.inject_error("inferenceError", stage="execute", parameter=["a", "b"])
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            with pytest.raises(TaskError) as first:
                await client.run(ask("broken"), key="k")
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            with pytest.raises(TaskError) as again:
                await client.run(ask("broken"), key="k")
        assert not first.value.safe_to_resend
        for name in ("code", "message", "parameter", "family", "raw", "submitted", "task_uuid"):
            assert getattr(again.value, name) == getattr(first.value, name)
        assert sum(emulator.stats.executions.values()) == 1


@pytest.mark.parametrize("how", ["timeout", "cancel", "close"])
@bounded
async def test_what_is_not_known_stays_open(tmp_path: Path, how: str) -> None:
    async with Emulator() as emulator:
        gate = Gate(emulator)
        path = tmp_path / "j.db"
        result: Any = None
        async with keyed_client(emulator, path) as client:
            if how == "timeout":
                with pytest.raises(TaskTimeout):
                    await client.run(ask("slow"), key="k", timeout=0.3)
            else:
                handle = await client.submit(ask("slow"), key="k")
                await until(lambda: gate.running)
                if how == "cancel":
                    handle.cancel()
                else:
                    await client.aclose()
                with pytest.raises(TaskCancelled if how == "cancel" else ClientClosed):
                    await handle
            if how != "close":
                gate.open()
                result = await client.run(ask("slow"), key="k")
        if result is None:
            assert [entry.state for entry in rows(path, emulator.url)] == [EntryState.OPEN]
            gate.open()
            async with keyed_client(emulator, path) as client:
                result = await client.run(ask("slow"), key="k")
        assert gate.seen == ["slow"]
        assert result.text == expected_text("slow", result.task_uuid, 0)


@bounded
async def test_a_late_answer_is_the_next_uses(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        gate = Gate(emulator)
        task = {
            "taskType": "textInference",
            "model": "a:b@1",
            "messages": [{"role": "user", "content": "late"}],
            "deliveryMethod": "sync",
        }
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            handle = await client.submit(task, key="k")
            await until(lambda: gate.running)
            handle.cancel()
            gate.open()
            await until(lambda: client.stats().strays)
            result = await client.run(task, key="k")
            again = await client.run(task, key="k")
        assert again.recovered_by is RecoveredBy.JOURNAL
        assert again.raw == result.raw
        assert gate.seen == ["late"]


@bounded
async def test_a_second_try_without_a_key(tmp_path: Path) -> None:
    """A taskUUID that was given up may come again, in this process and in the next one."""
    async with Emulator() as emulator:
        gate = Gate(emulator)
        task, other = ask("again"), ask("again, later")
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            for each in (task, other):
                with pytest.raises(TaskTimeout):
                    await client.run(each, timeout=0.2)
            gate.open()
            assert_answers(await client.run(task), task)
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            with anyio.fail_after(10):
                left = [each async for each in client.recovered()]
            assert [each.task_uuid for each in left] == [other.task_uuid]
            assert_answers(left[0].unwrap(), other)
        assert sorted(gate.seen) == ["again", "again, later"]
        assert rows(tmp_path / "j.db", emulator.url) == []


@bounded
async def test_a_stream_that_is_asked_for_again_is_one_delta(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        ledger = Ledger(emulator)
        for _ in range(2):
            async with keyed_client(emulator, tmp_path / "j.db") as client:
                async with client.stream(ask("streamed"), key="k", carrier="socket") as stream:
                    first = [delta.text async for delta in stream]
                    whole = await stream.result()
                async with client.stream(ask("streamed"), key="k") as stream:
                    again = [delta.text async for delta in stream]
                    assert stream.task_uuid == whole.task_uuid
                    assert (await stream.result()).recovered_by is RecoveredBy.JOURNAL
                assert "".join(map(str, first)) == "".join(map(str, again)) == whole.text
                assert len(again) == 1
                assert (await client.run(ask("streamed"), key="k")).text == whole.text
        assert len(ledger.uuids["streamed"]) == 1


@bounded
async def test_map_with_keys(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        ledger = Ledger(emulator)
        tasks = [ask(f"prompt {number % 7}") for number in range(30)]

        def key(task: TextInference) -> str | None:
            text = str(task.messages[-1].content)
            return None if text.endswith("0") else text

        async with keyed_client(emulator, tmp_path / "j.db") as client:
            outcomes = [each async for each in client.map(tasks, key=key, concurrency=9)]
        assert all(each.ok for each in outcomes)
        for each in outcomes:
            prompt = str(each.task.messages[-1].content)
            result = each.unwrap()
            assert result.text == expected_text(prompt, result.task_uuid, 0)
            assert each.task_uuid == result.task_uuid
        assert {prompt: len(uuids) for prompt, uuids in ledger.uuids.items()} == {
            f"prompt {number}": 5 if number == 0 else 1 for number in range(7)
        }


@bounded
async def test_messages_with_a_key(tmp_path: Path) -> None:
    async with Emulator() as emulator:
        request: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            create: Any = client.messages.create
            first = await create(**request, key="m")
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            create = client.messages.create
            again = await create(**request, key="m")
            assert (again.id, again.content) == (first.id, first.content)
            async with await create(**request, key="m", stream=True) as events:
                kinds = [event.type async for event in events]
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        assert sum(emulator.stats.executions.values()) == 1


def test_a_blocking_client(tmp_path: Path) -> None:
    with ScriptedEmulator() as emulator:

        @emulator.reply("textInference")
        def reply(request: Any) -> str:  # pyright: ignore[reportUnusedFunction]
            return f"to {request.prompt}"

        options: dict[str, Any] = {"journal": tmp_path / "j.db", "proxy": None}
        with SyncClient(emulator.url, api_key=emulator.api_key, **options) as client:
            first = client.run(ask("blocking"), key="k")
        with SyncClient(emulator.url, api_key=emulator.api_key, **options) as client:
            again = client.run(ask("blocking"), key="k")
            tasks = [ask("blocking"), ask("blocking")]
            mapped = [each.unwrap() for each in client.map(tasks, key=lambda _: "k")]
            assert list(client.recovered()) == []
        assert {each.task_uuid for each in (first, again, *mapped)} == {first.task_uuid}
        assert again.recovered_by is RecoveredBy.JOURNAL
        assert sum(emulator.stats.executions.values()) == 1


@bounded
async def test_a_key_needs_a_journal() -> None:
    async with Emulator() as emulator, client_of(emulator) as client:
        with pytest.raises(ConfigurationError, match=r"journal=.*makes one"):
            await client.run(ask(), key="k")
        with pytest.raises(ConfigurationError, match="journal="):
            client.stream(ask(), key="k")
        with pytest.raises(ConfigurationError, match="journal="):
            async for _ in client.map([ask()], key=lambda _: "k"):
                pass


@pytest.mark.parametrize("key", ["", "x" * 501, "a\0b", "\ud800", 7, b"k"])
@bounded
async def test_bad_keys(tmp_path: Path, key: Any) -> None:
    async with Emulator() as emulator, keyed_client(emulator, tmp_path / "j.db") as client:
        with pytest.raises(ConfigurationError, match="key"):
            await client.run(ask(), key=key)
    assert not emulator.stats.tasks_accepted


@bounded
async def test_a_task_with_a_key_is_polled_unless_it_says_otherwise(tmp_path: Path) -> None:
    seen: dict[str, str] = {}

    def reply(request: Request) -> str:
        seen[request.prompt] = str(request.task.get("deliveryMethod"))
        return "x"

    async with Emulator() as emulator, keyed_client(emulator, tmp_path / "j.db") as client:
        emulator.reply("textInference")(reply)
        await client.run(ask("model"), key="1")
        await client.run(ask("pushed", delivery_method="sync"), key="2")
        await client.run(ask("without"))
        raw: dict[str, Any] = {
            "taskType": "textInference",
            "model": "a:b@1",
            "messages": [{"role": "user", "content": "dict"}],
        }
        await client.run(raw, key="3")
        assert "taskUUID" not in raw
    assert seen == {"model": "async", "pushed": "sync", "without": "None", "dict": "async"}


@bounded
async def test_long_integers_of_a_result_are_recorded_as_they_came(tmp_path: Path) -> None:
    long = 12345678901234567890123

    def reply(_: Request) -> dict[str, Any]:
        return {"text": "counted", "seed": long}

    async with Emulator() as emulator:
        emulator.reply("textInference")(reply)
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            first = await client.run(ask("count"), key="k")
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            again = await client.run(ask("count"), key="k")
    for result in (first, again):
        (told,) = result.raw
        assert told["seed"] == long
    assert again.recovered_by is RecoveredBy.JOURNAL


@bounded
async def test_a_result_that_cannot_be_written_is_the_trouble_of_its_task_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(record: TaskRecord) -> tuple[EntryState, bytes] | None:
        if record.items[0]["text"] == "dig":
            raise LookupError("a bug")
        return outcome_to_record(record)

    def echo(request: Request) -> str:
        return request.prompt

    monkeypatch.setattr("runware_ws.journal.keeper.outcome_to_record", write)
    async with Emulator() as emulator:
        emulator.reply("textInference")(echo)
        async with keyed_client(emulator, tmp_path / "j.db") as client:
            task = ask("dig")
            dug = await client.submit(task, key="deep")
            walked = await client.submit(ask("walk"), key="flat")
            with pytest.raises(JournalError, match=r"cannot be recorded.*LookupError") as caught:
                await dug
            error = caught.value
            assert (error.submitted, error.safe_to_resend) == (Submitted.YES, False)
            assert (await walked).text == "walk"
            claimed = client.claim(task.task_uuid)
            assert claimed is not None
            assert claimed.text == "dig"
            assert (await client.run(ask("on"))).text == "on"
