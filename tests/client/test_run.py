"""One task: its result, its items, its errors."""

from __future__ import annotations

import gc
import warnings
from typing import Any, Literal

import anyio
import pytest

from runware_ws import (
    Client,
    ConfigurationError,
    ErrorFamily,
    InvalidTask,
    RecoveredBy,
    ResultItem,
    Submitted,
    TaskError,
    TaskState,
)
from runware_ws.emulator import Emulator, EmulatorOptions, ReplyError, Request

from .support import KEY, NOWHERE, ask, assert_answers, bounded, client_of, texts_of

pytestmark = pytest.mark.anyio


@bounded
async def test_run() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        task = ask("why?", include_usage=True, include_cost=True)
        result = await client.run(task)
        assert_answers(result, task)
        assert result.text == result.items[0].text
        assert result.finish_reason == "stop"
        assert result.usage is not None
        assert result.usage.total_tokens == result.raw[0]["usage"]["totalTokens"] > 0
        assert result.cost == pytest.approx(result.raw[0]["cost"])
        assert result.recovered_by is RecoveredBy.LIVE
        stats = client.stats()
        assert (stats.submitted, stats.answered, stats.pending, stats.in_flight) == (1, 1, 0, 0)
        assert client.connected
        assert client.session_uuid == stats.session_uuid
    assert emulator.stats.executions == {task.task_uuid: 1}


@bounded
async def test_submit_awaited_twice_and_by_many() -> None:
    async with Emulator(KEY, latency="20ms") as emulator, client_of(emulator) as client:
        task = ask()
        handle = await client.submit(task)
        assert handle.uuid == task.task_uuid
        assert not handle.done
        with pytest.raises(RuntimeError, match="not ended"):
            handle.outcome()
        found: list[Any] = []

        async def wait() -> None:
            found.append(await handle)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(wait)
        assert [await handle, handle.outcome()] == found[:2] == [found[2], found[2]]
        assert_answers(found[0], task)
        assert handle.state is TaskState.DONE
        assert handle.cancel() is False


@pytest.mark.parametrize("framing", ["separate", "together"])
@pytest.mark.parametrize("index", ["many", "never"])
@bounded
async def test_three_results(
    framing: Literal["separate", "together"], index: Literal["many", "never"]
) -> None:
    options = EmulatorOptions(results_framing=framing, result_index=index)
    async with (
        Emulator(KEY, options=options, latency="1ms-20ms") as emulator,
        client_of(emulator) as client,
    ):
        task = ask(number_results=3)
        handle = await client.submit(task)
        items = [item async for item in handle]
        assert sorted(str(item.text) for item in items) == texts_of(task)
        result = await handle
        # A handle yields them as they come; the result has them in order, if there is one.
        if index == "many":
            ordered = sorted(items, key=lambda item: item.result_index or 0)
            assert [item.result_index for item in ordered] == [0, 1, 2]
            assert list(result.items) == ordered
        else:
            assert list(result.items) == items
        assert_answers(result, task)
        assert [item async for item in handle] == items
        again = ask(number_results=3)
        assert_answers(await client.run(again), again)


@bounded
async def test_items_come_before_the_task_ends() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        second = anyio.Event()

        @emulator.reply("textInference")
        async def _(request: Request) -> str:
            if request.index:
                await second.wait()
            return f"number {request.index}"

        handle = await client.submit(ask(number_results=2))
        texts: list[str | None] = []
        async for item in handle:
            texts.append(item.text)
            if len(texts) == 1:
                assert not handle.done
                second.set()
        assert texts == ["number 0", "number 1"]


@bounded
async def test_leaving_the_iteration_early_leaves_nothing_behind() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        task = ask(number_results=3)
        handle = await client.submit(task)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            async for item in handle:
                assert item.text in texts_of(task)
                break
            gc.collect()
        assert_answers(await handle, task)
        assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("delivery", ["sync", "async"])
@bounded
async def test_deliveries(delivery: str) -> None:
    async with (
        Emulator(KEY, latency="10ms") as emulator,
        client_of(emulator, poll_first=0.02) as client,
    ):
        tasks = [ask(f"q{n}", delivery_method=delivery, number_results=2) for n in range(5)]
        for task in tasks:
            result = await client.run(task)
            assert_answers(result, task)
            want = RecoveredBy.LIVE if delivery == "sync" else RecoveredBy.POLL
            assert result.recovered_by is want
        assert (client.stats().polls > 0) == (delivery == "async")
    assert emulator.stats.executed_twice == []
    assert emulator.stats.executed == 5


@bounded
async def test_progress_of_an_async_task() -> None:
    async with (
        Emulator(KEY, latency="120ms") as emulator,
        client_of(emulator, poll_first=0.02) as client,
    ):
        task = ask(delivery_method="async")
        handle = await client.submit(task)
        assert handle.progress is None
        items: list[ResultItem] = [item async for item in handle]
        *notes, last = items
        assert last.text == texts_of(task)[0]
        assert notes
        assert all(note.status == "processing" and note.text is None for note in notes)
        seen = [note.progress for note in notes if note.progress is not None]
        assert seen == sorted(seen)
        assert handle.progress == seen[-1]
        assert len((await handle).items) == 1


@pytest.mark.parametrize("delivery", ["sync", "async"])
@bounded
async def test_dict_of_another_task_type(delivery: str) -> None:
    async with Emulator(KEY) as emulator, client_of(emulator, poll_first=0.02) as client:

        @emulator.reply("imageInference")
        def _(request: Request) -> dict[str, Any]:
            return {
                "imageUUID": f"00000000-0000-4000-8000-00000000000{request.index}",
                "imageURL": f"https://images.example/{request.prompt}",
                "extra": {"kept": [1, None]},
            }

        task = {
            "taskType": "imageInference",
            "positivePrompt": "cat",
            "numberResults": 2,
            "deliveryMethod": delivery,
        }
        before = dict(task)
        result = await client.run(task)
        assert task == before
        assert {item["imageURL"] for item in result.items} == {"https://images.example/cat"}
        assert all(item["extra"] == {"kept": [1, None]} for item in result.items)
        assert len(result.items) == 2
        assert result.text is None
        assert emulator.stats.executions[result.task_uuid] == 1


@pytest.mark.parametrize(
    ("task", "place"),
    [
        ({"taskType": "textInference", "model": "anthropic:claude@haiku-4.5"}, "messages"),
        ({"taskType": "imageInference", "numberResults": 0}, "numberResults"),
        ({"taskType": "imageInference", "taskUUID": "no"}, "taskUUID"),
        ({"taskType": "authentication"}, "taskType"),
        ({"taskType": "getResponse"}, "taskUUID"),
        ({}, "taskType"),
    ],
)
@bounded
async def test_refused_before_the_wire(task: dict[str, Any], place: str) -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        await client.ready()
        frames = emulator.stats.frames_in
        for verb in (client.run, client.submit):
            with pytest.raises(InvalidTask) as caught:
                await verb(task)
            assert any(problem.startswith(place) for problem in caught.value.problems)
            assert caught.value.submitted is Submitted.NO
            assert caught.value.safe_to_resend
        await client.run(ask())
        assert emulator.stats.frames_in == frames + 1
        assert client.stats().submitted == 1


@bounded
async def test_a_task_uuid_twice_is_refused_and_harms_nobody() -> None:
    async with Emulator(KEY, latency="20ms") as emulator, client_of(emulator) as client:
        task = ask()
        handle = await client.submit(task)
        with pytest.raises(InvalidTask, match="used before"):
            await client.run(task)
        assert_answers(await handle, task)
        with pytest.raises(InvalidTask, match="used before"):
            await client.submit(task)
        assert emulator.stats.executions == {task.task_uuid: 1}


@bounded
async def test_error_of_the_server_with_all_fields() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        emulator.faults.inject_error(
            "providerRateLimitExceeded",
            "Slow down.",
            parameter=["settings.maxTokens", "messages"],
            documentation="https://docs.example/slow",
            retryAfterSeconds=3,
        )
        task = ask()
        with pytest.raises(TaskError) as caught:
            await client.run(task)
        error = caught.value
        assert error.code == "providerRateLimitExceeded"
        assert error.message == "Slow down."
        assert str(error) == "providerRateLimitExceeded: Slow down."
        assert error.parameter == ("settings.maxTokens", "messages")
        assert error.documentation == "https://docs.example/slow"
        assert error.task_uuid == task.task_uuid
        assert error.family is ErrorFamily.RATE
        assert error.retryable
        assert error.raw["retryAfterSeconds"] == 3
        assert error.raw["taskType"] == "textInference"
        assert error.submitted is Submitted.YES
        assert error.items == ()
        assert client.stats().failed == 1
        assert_answers(await client.run(other := ask()), other)


@pytest.mark.parametrize("spelling", ["errors", "error", "error-list"])
@pytest.mark.parametrize("delivery", ["sync", "async"])
@bounded
async def test_one_of_two_results_fails(
    spelling: Literal["errors", "error", "error-list"], delivery: str
) -> None:
    options = EmulatorOptions(error_spelling=spelling, results_framing="together")
    async with (
        Emulator(KEY, options=options) as emulator,
        client_of(emulator, poll_first=0.02) as client,
    ):

        @emulator.reply("textInference")
        def _(request: Request) -> str:
            if request.index == 1:
                raise ReplyError("contentPolicyViolation", "No.", parameter="messages")
            return "fine"

        task = ask(number_results=2, delivery_method=delivery)
        with pytest.raises(TaskError) as caught:
            await client.run(task)
        error = caught.value
        assert (error.code, error.message) == ("contentPolicyViolation", "No.")
        assert error.parameter == "messages"
        assert error.family is ErrorFamily.SAFETY
        assert not error.retryable
        assert [item["text"] for item in error.items] == ["fine"]


@bounded
async def test_an_error_without_a_task_is_given_to_nobody() -> None:
    async with Emulator(KEY, latency="40ms") as emulator, client_of(emulator) as client:
        tasks = [ask(f"{n}") for n in range(3)]
        handles = [await client.submit(task) for task in tasks]
        await client.ready()
        emulator.faults.send_error("internalServerError", "Something broke.")
        for handle, task in zip(handles, tasks, strict=True):
            assert_answers(await handle, task)
        assert client.stats().notices == 1


@pytest.mark.parametrize("timeout", [0, -1.0])
@bounded
async def test_bad_timeout(timeout: float) -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        with pytest.raises(ConfigurationError, match="timeout"):
            await client.run(ask(), timeout=timeout)
        assert client.stats().submitted == 0


@bounded
async def test_a_client_is_entered_first_and_once() -> None:
    client = Client(NOWHERE, api_key=KEY)
    with pytest.raises(ConfigurationError, match="async with"):
        await client.run(ask())
    with pytest.raises(ConfigurationError, match="async with"):
        client.stats()
    async with Emulator(KEY) as emulator:
        client = client_of(emulator)
        async with client:
            with pytest.raises(ConfigurationError, match="started only once"):
                async with client:
                    pass
        with pytest.raises(ConfigurationError, match="started only once"):
            await client.__aenter__()


def test_options_are_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    misspelt: Any = {"max_inflight": 3}
    with pytest.raises(ConfigurationError, match="max_inflight"):
        Client(NOWHERE, api_key=KEY, **misspelt)
    with pytest.raises(ConfigurationError, match="max_in_flight"):
        Client(NOWHERE, api_key=KEY, max_in_flight=0)
    monkeypatch.delenv("RUNWARE_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="RUNWARE_API_KEY"):
        Client(NOWHERE)
