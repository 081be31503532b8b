"""``client.map`` at the ends of the client, of the source, and of the reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import anyio
import pytest

from runware_ws import (
    AuthenticationError,
    Client,
    ClientClosed,
    ConfigurationError,
    Outcome,
    Submitted,
    TaskCancelled,
    TextInference,
)
from runware_ws.emulator import Emulator
from runware_ws.testing.network import MemoryNetwork
from tests import virtual
from tests.client.maps import as_async, closing
from tests.client.support import KEY, ask, bounded, client_of, echoing, memory_client, until

pytestmark = pytest.mark.anyio


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
