"""``client.map``: many tasks, bounded, outcomes as they come."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar, cast

import anyio
import pytest

from runware_ws import (
    AuthenticationError,
    Client,
    ClientClosed,
    ConfigurationError,
    InvalidTask,
    Outcome,
    Submitted,
    TaskCancelled,
    TaskError,
    TaskTimeout,
    TextInference,
)
from runware_ws.client.tasks import Task
from runware_ws.emulator import Emulator, ReplyError, Request
from runware_ws.testing.network import MemoryNetwork
from tests import virtual

from .support import (
    KEY,
    Gate,
    ask,
    assert_answers,
    bounded,
    client_of,
    echoing,
    memory_client,
    until,
)

pytestmark = pytest.mark.anyio

T = TypeVar("T", bound=Task)


async def as_async(tasks: list[TextInference]) -> AsyncGenerator[TextInference]:
    for task in tasks:
        await anyio.lowlevel.checkpoint()
        yield task


def closing(outcomes: AsyncIterator[Outcome[T]]) -> aclosing[AsyncGenerator[Outcome[T]]]:
    """Close a map at the end of the block."""
    return aclosing(cast("AsyncGenerator[Outcome[T]]", outcomes))


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


# Ends of the client, of the source, of the reader


@pytest.mark.parametrize("end", ["left", "closed", "drained", "failed"])
@pytest.mark.parametrize("asynchronous", [False, True])
@bounded
async def test_an_endless_source_ends_with_the_client(end: str, asynchronous: bool) -> None:
    async with Emulator("another key" if end == "failed" else KEY) as emulator:
        taken = 0

        def endless() -> Iterator[TextInference]:
            nonlocal taken
            while True:
                taken += 1
                yield ask(f"{taken}")

        async def endless_async() -> AsyncGenerator[TextInference]:
            for task in endless():
                yield task

        found: list[Outcome[TextInference]] = []

        async def read(client: Client) -> None:
            stream = endless_async()
            source: Any = stream if asynchronous else endless()
            # With room for one task only, nothing may wait for a room that never comes.
            async with aclosing(stream), closing(client.map(source, concurrency=1)) as outcomes:
                async for outcome in outcomes:
                    found.append(outcome)  # noqa: PERF401

        expected = AuthenticationError if end == "failed" else ClientClosed
        async with client_of(emulator) as client:
            if end == "failed":
                with pytest.raises(AuthenticationError):
                    await client.ready()
            elif end == "closed":
                await client.aclose()
            elif end == "drained":
                await client.drain()
            if end != "left":
                with pytest.raises(expected):
                    await read(client)
        if end == "left":
            with pytest.raises(expected):
                await read(client)
        assert len(found) == taken == 2
        assert all(isinstance(outcome.error, expected) for outcome in found)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("refused", [False, True])
@bounded
async def test_others_have_their_turn(asynchronous: bool, refused: bool) -> None:
    network = MemoryNetwork()
    async with echoing(network), memory_client(network) as client:
        await client.ready()
        tasks: list[Any] = [{"taskUUID": "bad"} if refused else ask() for _ in range(1_000)]
        found: list[Outcome[Any]] = []
        at_turn: list[int] = []

        async def look_on() -> None:
            while True:
                at_turn.append(len(found))
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(look_on)
            async for outcome in client.map(
                as_async(tasks) if asynchronous else tasks, concurrency=1_000
            ):
                found.append(outcome)  # noqa: PERF401
            group.cancel_scope.cancel()
        assert len(found) == 1_000
        assert all(outcome.ok is not refused for outcome in found)
        steps = [after - before for before, after in pairwise([0, *at_turn, 1_000])]
        assert max(steps) <= 200


@bounded
async def test_refusals_do_not_pile_up_before_they_are_read() -> None:
    pulled = 0

    def source() -> Iterator[Any]:
        nonlocal pulled
        for _ in range(1_000):
            pulled += 1
            yield {"taskUUID": "bad"}

    network = MemoryNetwork()
    async with (
        echoing(network),
        memory_client(network) as client,
        closing(client.map(source(), concurrency=1_000)) as outcomes,
    ):
        assert not (await anext(outcomes)).ok
        assert pulled <= 100


@bounded
async def test_what_had_come_and_was_not_taken_can_be_claimed() -> None:
    network = MemoryNetwork()
    async with echoing(network), memory_client(network) as client:
        tasks = [ask(f"{n}") for n in range(10)]
        async with closing(client.map(tasks)) as outcomes:
            first = await anext(outcomes)
            await until(lambda: client.stats().answered == 10)
        assert client.claim(first.task.task_uuid) is None
        for task in tasks:
            if task is not first.task:
                result = client.claim(task.task_uuid)
                assert result is not None
                assert result.text == f"to {task.task_uuid}"
        assert client.stats().answered == 10


@pytest.mark.parametrize("asynchronous", [False, True])
@bounded
async def test_a_source_that_ends_with_a_cancellation_of_its_own(
    asynchronous: bool, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("a program cannot make trio's Cancelled")

    def broken() -> Iterator[TextInference]:
        yield ask("0")
        raise asyncio.CancelledError

    async def broken_async() -> AsyncIterator[TextInference]:
        yield ask("0")
        gone = asyncio.create_task(asyncio.sleep(60))
        gone.cancel()
        await gone

    async def read(source: Any) -> None:
        async for outcome in client.map(source):
            found.append(outcome)  # noqa: PERF401

    network = MemoryNetwork()
    found: list[Outcome[TextInference]] = []
    async with echoing(network), memory_client(network) as client:
        other = client.map(as_async([ask() for _ in range(20)]), concurrency=1)
        await anext(other)
        with pytest.raises(RuntimeError, match="a cancellation of its own"):
            await read(broken_async() if asynchronous else broken())
        assert [outcome.ok for outcome in found] == [True]
        # Nobody else was harmed: neither the other map nor the client.
        assert [outcome.ok async for outcome in other] == [True] * 19
        assert (await client.run(ask())).text
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0


def _stops(_: TextInference) -> Any:
    return next(iter(()))


def _stops_async(_: TextInference) -> Any:
    raise StopAsyncIteration


def _cancels(_: TextInference) -> Any:
    raise asyncio.CancelledError


def _fails(_: TextInference) -> Any:
    raise LookupError("no key for this one")


def _is_wrong(_: TextInference) -> Any:
    return 5


_FUNCTIONS: list[tuple[Callable[[TextInference], Any], type[Exception]]] = [
    (_fails, LookupError),
    (_stops, RuntimeError),
    (_stops_async, RuntimeError),
    (_cancels, RuntimeError),
    (_is_wrong, ConfigurationError),
]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", ["key", "metadata"])
@pytest.mark.parametrize(("function", "error"), _FUNCTIONS)
@bounded
async def test_a_function_that_raises_ends_the_map_as_a_source_does(
    function: Callable[[TextInference], Any], error: type[Exception], name: str, asynchronous: bool
) -> None:
    network = MemoryNetwork()
    async with echoing(network), memory_client(network) as client:
        tasks = [ask() for _ in range(5)]

        def ask_of(task: TextInference) -> Any:
            return function(task) if task is tasks[2] else None

        source: Any = as_async(tasks) if asynchronous else iter(tasks)
        functions: dict[str, Any] = {name: ask_of}
        outcomes = client.map(source, **functions)
        # What was started was paid for: its outcomes come first.
        found = [await anext(outcomes), await anext(outcomes)]
        assert [outcome.ok for outcome in found] == [True, True]
        assert {outcome.index for outcome in found} == {0, 1}
        with pytest.raises(error):
            await anext(outcomes)
        assert (await client.run(ask())).text


@pytest.mark.parametrize("name", ["key", "metadata"])
@bounded
async def test_what_is_no_function_is_refused_at_once(name: str) -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        given: Any
        for given in ("order-17", {"caller": "me"}, 5, True):
            functions: dict[str, Any] = {name: given}
            with pytest.raises(ConfigurationError, match=f"^{name} must be a function"):
                client.map([ask()], **functions)


@pytest.mark.parametrize("asynchronous", [False, True])
@virtual.only()
@bounded
async def test_a_map_whose_wait_was_cancelled_does_not_end_in_silence(asynchronous: bool) -> None:
    async with virtual.serving(KEY, latency="100ms") as emulator, client_of(emulator) as client:
        tasks = [ask() for _ in range(10)]
        source: Any = as_async(tasks) if asynchronous else iter(tasks)
        outcomes = client.map(source, concurrency=3)
        await anext(outcomes)
        with anyio.move_on_after(0.03) as scope:
            while True:
                await anext(outcomes)
        assert scope.cancelled_caught
        # As at the end of a loop: what runs is given up, and its answers can be had.
        assert client.stats().pending == 0
        given_up = client.stats().cancelled
        assert given_up
        for _ in range(2):
            with pytest.raises(TaskCancelled, match="a wait for its next outcome") as caught:
                await anext(outcomes)
            assert caught.value.submitted is Submitted.MAYBE
        await outcomes.aclose()
        await anyio.sleep(1)
        assert sum(client.claim(task.task_uuid) is not None for task in tasks) == given_up


@pytest.mark.parametrize("end", ["all", "closed"])
@bounded
async def test_readers_share_the_outcomes_and_all_end(end: str) -> None:
    network = MemoryNetwork()
    async with echoing(network) as server, memory_client(network) as client:
        server.mute = end == "closed"
        outcomes = client.map([ask() for _ in range(40)], concurrency=5)
        found: list[int] = []

        async def read() -> None:
            async for outcome in outcomes:
                found.append(outcome.index)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
            if end == "closed":
                await until(lambda: len(server.received) == 5)
                await outcomes.aclose()
        assert sorted(found) == (list(range(40)) if end == "all" else [])
        assert client.stats().pending == 0


@bounded
async def test_a_source_that_fails_as_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    network = MemoryNetwork()
    async with echoing(network), memory_client(network) as client:

        async def source() -> AsyncIterator[TextInference]:
            try:
                while True:
                    yield ask()
            finally:
                raise LookupError("as it is closed")

        async with closing(client.map(source(), concurrency=2)) as outcomes:
            await anext(outcomes)
        await until(lambda: "LookupError" in caplog.text)
        assert (await client.run(ask())).text
        assert [outcome.ok async for outcome in client.map(as_async([ask()]))] == [True]


@pytest.mark.parametrize("concurrency", [0, -1, 2.5, True, "4", None])
@bounded
async def test_concurrency_is_a_whole_number(concurrency: Any) -> None:
    network = MemoryNetwork()
    async with memory_client(network) as client:
        with pytest.raises(ConfigurationError, match="concurrency"):
            client.map([ask()], concurrency=concurrency)
        with pytest.raises(ConfigurationError, match="timeout"):
            client.map([ask()], timeout=-1)
