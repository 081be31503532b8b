"""``client.map``: many tasks, bounded, outcomes as they come."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio
import pytest

from runware_ws import (
    ClientClosed,
    ConfigurationError,
    InvalidTask,
    Outcome,
    TaskError,
    TaskTimeout,
    TextInference,
)
from runware_ws.emulator import Emulator, ReplyError, Request
from tests import virtual
from tests.client.maps import as_async, closing
from tests.client.support import KEY, Gate, ask, assert_answers, bounded, client_of, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["list", "generator", "async"])
@bounded
async def test_every_task_has_one_outcome(kind: str) -> None:
    async with (
        Emulator(KEY, latency="1ms-10ms") as emulator,
        client_of(emulator) as client,
    ):
        tasks = [ask(f"{n}", number_results=1 + n % 2) for n in range(40)]
        source: Any = tasks
        if kind == "generator":
            source = iter(tasks)
        elif kind == "async":
            source = as_async(tasks)
        seen: dict[int, Outcome[TextInference]] = {}
        async for outcome in client.map(source, concurrency=7):
            assert outcome.index not in seen
            seen[outcome.index] = outcome
            assert client.stats().pending <= 7
        assert sorted(seen) == list(range(40))
        for index, outcome in seen.items():
            assert outcome.ok
            assert outcome.task is tasks[index]
            assert outcome.task_uuid == tasks[index].task_uuid
            assert_answers(outcome.unwrap(), tasks[index])
        assert client.stats().pending == 0
    assert emulator.stats.executed == 40


@bounded
async def test_nothing_to_do() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        assert [outcome async for outcome in client.map(list[TextInference]())] == []
        assert [outcome async for outcome in client.map(as_async([]))] == []
        with pytest.raises(ConfigurationError, match="concurrency"):
            client.map([ask()], concurrency=0)


@virtual.only()
@bounded
async def test_errors_are_outcomes_and_the_others_go_on() -> None:
    async with virtual.serving(KEY) as emulator, client_of(emulator) as client:

        @emulator.reply("textInference")
        async def _(request: Request) -> str:
            if request.prompt == "fails":
                raise ReplyError("inferenceError", "The provider failed.")
            if request.prompt == "hangs":
                await anyio.sleep_forever()
            return "fine"

        tasks: list[Any] = [
            ask("fine"),
            ask("fails"),
            {"taskType": "textInference", "taskUUID": "bad"},
            ask("hangs"),
            ask("fine too"),
        ]
        found = {
            outcome.index: outcome
            async for outcome in client.map(tasks, concurrency=2, timeout=0.15)
        }
        assert {index for index, outcome in found.items() if outcome.ok} == {0, 4}
        assert isinstance(found[1].error, TaskError)
        assert isinstance(found[2].error, InvalidTask)
        assert isinstance(found[3].error, TaskTimeout)
        assert found[2].task_uuid is None
        assert found[1].task_uuid == tasks[1].task_uuid
        with pytest.raises(TaskError, match="provider failed"):
            found[1].unwrap()


@pytest.mark.parametrize("asynchronous", [False, True])
@bounded
async def test_the_input_is_pulled_lazily(asynchronous: bool) -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            pulled = 0

            def endless() -> Iterator[TextInference]:
                nonlocal pulled
                while True:
                    pulled += 1
                    yield ask(f"{pulled}")

            async def endless_async() -> AsyncGenerator[TextInference]:
                for task in endless():
                    yield task

            source: Any = endless()
            stream = endless_async()
            if asynchronous:
                source = stream
            async with aclosing(stream), closing(client.map(source, concurrency=3)) as outcomes:
                taken: list[Outcome[TextInference]] = []
                async with anyio.create_task_group() as group:

                    async def take(count: int) -> None:
                        for _ in range(count):
                            taken.append(await anext(outcomes))  # noqa: PERF401

                    group.start_soon(take, 10)
                    await until(lambda: gate.running == 3)
                    await anyio.sleep(0.02)
                    # One more may lie ready to go.
                    assert pulled <= 4
                    gate.open()
                assert len(taken) == 10
                assert pulled <= 14
                await anyio.sleep(0.02)
                # Nobody reads: what is done and not taken counts as well.
                assert pulled <= 14
            assert gate.most == 3


@bounded
async def test_a_slow_async_source_does_not_hold_back_outcomes() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        answered = anyio.Event()

        async def slow() -> AsyncIterator[TextInference]:
            yield ask("first")
            await answered.wait()
            yield ask("second")

        prompts: list[str] = []
        async for outcome in client.map(slow()):
            prompts.append(outcome.task.messages[0].content)
            answered.set()
        assert prompts == ["first", "second"]


@virtual.only()
@pytest.mark.parametrize("asynchronous", [False, True])
@bounded
async def test_leaving_early_cancels_the_rest(asynchronous: bool) -> None:
    async with virtual.serving(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            bystander = ask("bystander")
            handle = await client.submit(bystander)
            tasks = [ask(f"{n}") for n in range(20)]
            stream = as_async(tasks)
            source: Any = stream if asynchronous else tasks
            async with aclosing(stream), closing(client.map(source, concurrency=5)) as outcomes:
                with anyio.move_on_after(0.1):
                    await anext(outcomes)
            await until(lambda: client.stats().pending == 1)
            assert client.stats().cancelled == 5
            gate.open()
            assert_answers(await handle, bystander)
            # What was sent goes on at the server, and can be claimed.
            for task in tasks[:5]:
                result = await until(partial(client.claim, task.task_uuid))
                assert_answers(result, task)
        assert len(gate.seen) == 6


@bounded
async def test_leaving_early_closes_an_async_source() -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        closed: list[str] = []

        async def source() -> AsyncIterator[TextInference]:
            try:
                while True:
                    yield ask()
            finally:
                closed.append("source")

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            async with closing(client.map(source(), concurrency=2)) as outcomes:
                await anext(outcomes)
            await until(lambda: client.stats().pending == 0)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            gc.collect()
            await anyio.sleep(0.01)
        assert closed == ["source"]
        assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("asynchronous", [False, True])
@bounded
async def test_a_source_that_raises(asynchronous: bool) -> None:
    async with Emulator(KEY, latency="20ms") as emulator, client_of(emulator) as client:
        tasks = [ask("0"), ask("1")]

        def broken() -> Iterator[TextInference]:
            yield from tasks
            raise LookupError("no more")

        async def broken_async() -> AsyncIterator[TextInference]:
            for task in broken():
                yield task

        source: Any = broken_async() if asynchronous else broken()
        seen: list[Outcome[TextInference]] = []

        async def read() -> None:
            async for outcome in client.map(source, concurrency=10):
                seen.append(outcome)  # noqa: PERF401

        with pytest.raises(LookupError, match="no more"):
            await read()
        assert client.stats().pending == 0
        # What was started was paid for: its outcomes come first.
        assert sorted(outcome.index for outcome in seen) == [0, 1]
        for outcome in seen:
            assert_answers(outcome.unwrap(), outcome.task)


@bounded
async def test_two_maps_at_once() -> None:
    async with Emulator(KEY, latency="1ms-5ms") as emulator, client_of(emulator) as client:
        done: list[int] = []

        async def one(count: int) -> None:
            tasks = [ask(f"{n}") for n in range(count)]
            outcomes = [outcome async for outcome in client.map(tasks, concurrency=3)]
            for outcome in outcomes:
                assert_answers(outcome.unwrap(), outcome.task)
            done.append(len(outcomes))

        async with anyio.create_task_group() as group:
            group.start_soon(one, 15)
            group.start_soon(one, 25)
        assert sorted(done) == [15, 25]


@bounded
async def test_closing_the_client_ends_a_map() -> None:
    async with Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            found: list[Outcome[TextInference]] = []

            async def read() -> None:
                async for outcome in client.map([ask(f"{n}") for n in range(6)], concurrency=2):
                    found.append(outcome)  # noqa: PERF401

            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await until(lambda: gate.running == 2)
                await client.aclose()
            assert len(found) == 6
            assert all(isinstance(outcome.error, ClientClosed) for outcome in found)


@bounded
async def test_map_after_the_end() -> None:
    async with Emulator(KEY) as emulator:
        async with client_of(emulator) as client:
            await client.ready()
        outcomes = [outcome async for outcome in client.map([ask()])]
        assert [type(outcome.error) for outcome in outcomes] == [ClientClosed]
        stream = as_async([ask()])
        async with aclosing(stream):
            outcomes = [outcome async for outcome in client.map(stream)]
        assert [type(outcome.error) for outcome in outcomes] == [ClientClosed]
