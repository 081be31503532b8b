"""A client lives where its user lives: started in one task, closed in another, nothing left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest
import pytest_asyncio
import trio

from runware_ws import (
    Client,
    ClientClosed,
    Config,
    ConfigurationError,
    TaskStream,
    TextInference,
)
from runware_ws._core.effects import Tell
from runware_ws._core.tasks.record import TaskRecord
from runware_ws._io.transport.base import Transport
from runware_ws.events import Closed, Event
from runware_ws.testing.network import MemoryNetwork
from tests.streams.servers import STREAM, Odd, chunked, event, listening

from .leftovers import aside, nothing_left
from .support import (
    KEY,
    QUICK,
    EchoServer,
    EndlessPost,
    answer,
    ask,
    bounded,
    memory_client,
    rest,
    until,
)

trio_or_asyncio = pytest.mark.anyio


class Deaf:
    """Sockets of ``network`` whose closing handshake never ends."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network

    @asynccontextmanager
    async def dial(self, url: str, config: Config) -> AsyncGenerator[Transport]:
        async with self._network.dial(url, config) as transport:
            transport.aclose = anyio.sleep_forever  # type: ignore[method-assign]
            yield transport


class Ending:
    """Is told of the end of a client."""

    def __init__(self) -> None:
        self.ends = 0

    def event(self, event: Event) -> None:
        """Nothing is noted."""

    def step(self, told: Tell) -> None:
        """Nothing is noted."""

    def ended(self, record: TaskRecord) -> None:
        """Nothing is noted."""

    def close(self) -> None:
        """The end."""
        self.ends += 1


def all_left(server: Odd) -> bool:
    """Whether no connection to it is open."""
    return not server.live


# Opened here, closed there


@trio_or_asyncio
@bounded
async def test_started_in_one_task_and_closed_in_another() -> None:
    async with nothing_left() as server:
        client = memory_client(server.network)

        async def start() -> None:
            assert await client.start() is client

        async with anyio.create_task_group() as group:
            group.start_soon(start)
        task = ask()
        assert (await client.run(task)).text == f"to {task.task_uuid}"
        async with anyio.create_task_group() as group:
            group.start_soon(client.aclose)
        assert client.stats().state == "closed"
        await client.aclose()
        with pytest.raises(ConfigurationError, match="once"):
            await client.start()


@trio_or_asyncio
@bounded
async def test_the_block_entered_in_one_task_and_left_in_another() -> None:
    """As a dependency of a web framework that yields."""

    @asynccontextmanager
    async def dependency(network: MemoryNetwork) -> AsyncGenerator[Client]:
        async with memory_client(network) as client:
            yield client

    async with nothing_left() as server:
        manager = dependency(server.network)
        clients: list[Client] = []

        async def enter() -> None:
            clients.append(await manager.__aenter__())

        async with anyio.create_task_group() as group:
            group.start_soon(enter)
        await clients[0].run(ask())
        async with anyio.create_task_group() as group:
            group.start_soon(manager.__aexit__, None, None, None)
        assert clients[0].stats().state == "closed"


@trio_or_asyncio
@pytest.mark.parametrize("how", ["cancelled", "failed"])
@bounded
async def test_the_end_of_the_opener_is_not_the_end_of_the_client(how: str) -> None:
    async with nothing_left() as server:
        client = memory_client(server.network)
        with suppress(BaseExceptionGroup), anyio.CancelScope():
            async with anyio.create_task_group() as group:
                await client.start()
                if how == "failed":
                    raise LookupError("the opener's own")
                group.cancel_scope.cancel()
                await anyio.sleep_forever()
        task = ask()
        assert (await client.run(task)).text == f"to {task.task_uuid}"
        assert client.stats().dials == 1
        await client.aclose()


@pytest_asyncio.fixture
async def fixture_server() -> AsyncGenerator[EchoServer]:
    async with nothing_left(serve=aside) as server:
        yield server


@pytest_asyncio.fixture
async def fixture_client(fixture_server: EchoServer) -> AsyncGenerator[Client]:
    async with memory_client(fixture_server.network) as client:
        yield client


@pytest.mark.asyncio
async def test_a_fixture_that_yields_a_client(fixture_client: Client) -> None:
    """pytest-asyncio runs the two halves of a fixture, and the test, in tasks of their own."""
    assert (await fixture_client.run(ask())).text


def test_the_cells_of_a_notebook() -> None:
    """One loop that runs now and then; plain code in between."""
    loop = asyncio.new_event_loop()

    def cell(coro: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(asyncio.wait_for(coro, 10))

    async def serve(network: MemoryNetwork) -> EchoServer:
        server = EchoServer(network)
        serving.append(asyncio.create_task(server.serve()))
        return server

    async def start(network: MemoryNetwork) -> Client:
        return await memory_client(network).start()

    serving: list[asyncio.Task[None]] = []
    network = MemoryNetwork()
    server: EchoServer = cell(serve(network))
    client: Client = cell(start(network))
    task = ask()
    assert cell(client.run(task)).text == f"to {task.task_uuid}"
    server.mute = True
    handle = cell(client.submit(ask()))
    events = client.events()
    assert client.claim(task.task_uuid) is None
    assert client.stats().answered == 1
    assert handle.cancel()
    cell(client.aclose())
    assert isinstance(cell(rest(events))[-1], Closed)
    serving[0].cancel()
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(serving[0])
    assert asyncio.all_tasks(loop) == set()
    loop.close()


def test_a_post_that_is_given_up_between_two_cells() -> None:
    """No loop runs there; what has to be done in one is done when it runs again."""
    post = EndlessPost()

    async def start(network: MemoryNetwork) -> tuple[Client, list[TaskStream]]:
        client = await memory_client(network, post=post, max_posts=1).start()
        streams = [client.stream(ask(text), carrier="sse") for text in ("first", "second")]
        for stream in streams:
            await stream.__aenter__()
        await until(lambda: post.begun)
        return client, streams

    async def second_begun() -> None:
        await until(lambda: post.ended and len(post.begun) == 2)

    with asyncio.Runner() as runner:
        client, streams = runner.run(start(MemoryNetwork()))
        first = streams[0].handle
        assert first is not None
        assert first.cancel()
        runner.run(asyncio.wait_for(second_begun(), 10))
        assert post.ended == post.begun[:1]
        runner.run(asyncio.wait_for(client.aclose(), 10))
    assert post.ended == post.begun


# The opener's own cancellations


@pytest.mark.asyncio
async def test_a_failed_task_group_inside_the_block() -> None:
    """Up to Python 3.12 it leaves a count of cancellations behind (cpython#116720)."""

    async def fail() -> None:
        raise LookupError("a part of it")

    async def part() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            # Ends on its own, so that the group fails while its block is left.
            await asyncio.sleep(0)

    async with nothing_left(serve=aside) as server:
        for _ in range(3):
            async with memory_client(server.network) as client:
                await client.run(ask())
                with suppress(BaseExceptionGroup):
                    await part()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_wait_for_around_aclose() -> None:
    async with asyncio.timeout(10), nothing_left() as server:
        client = Client(
            "ws://127.0.0.1:9", api_key=KEY, dial=Deaf(server.network).dial, close_timeout=60
        )
        await client.start()
        await client.ready()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.aclose(), 0.05)
        assert client.stats().state == "closed"
        assert server.sockets[0].client_left == "aborted"
        await asyncio.wait_for(client.aclose(), 1)


@pytest.mark.asyncio
async def test_a_close_that_is_cancelled_again_and_again_closes_all() -> None:
    """Each of its steps is taken, whichever of them a cancellation meets."""
    answer = STREAM + chunked(
        event(b'{"delta":{"text":"a"},"finishReason":"stop"}') + event(b"[DONE]")
    )
    for steps in range(12):
        for again in range(4):
            http, ending = Odd(answer), Ending()
            async with (
                asyncio.timeout(10),
                nothing_left() as server,
                listening(http.handle) as port,
            ):
                url = f"http://127.0.0.1:{port}"
                client = await memory_client(server.network, http_url=url).start()
                async with client.stream(ask(), carrier="sse") as stream:
                    await stream.result()
                client.watchers.add(ending)
                closing = asyncio.create_task(client.aclose())
                await asyncio.sleep(0)
                for count in (steps, again):
                    for _ in range(count):
                        await asyncio.sleep(0)
                    closing.cancel()
                await asyncio.wait({closing})
                assert ending.ends == 1
                await until(partial(all_left, http))


@trio_or_asyncio
@bounded
async def test_closing_at_once_in_many_tasks() -> None:
    async with nothing_left() as server:
        client = await memory_client(server.network).start()
        await client.ready()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(client.aclose)
        assert server.sockets[0].client_left == "closed"


@trio_or_asyncio
@bounded
async def test_closing_before_the_first_step() -> None:
    async with nothing_left() as server:
        client = await memory_client(server.network).start()
        await client.aclose()
        assert client.stats().state == "closed"
        assert server.sockets == []


# User functions


async def read_all(outcomes: AsyncIterable[object], note: Callable[[], object]) -> None:
    async for _ in outcomes:
        note()


def cancels_itself() -> Coroutine[Any, Any, str]:
    async def fetch() -> str:
        raise asyncio.CancelledError

    return fetch()


def awaits_a_cancelled_task() -> Coroutine[Any, Any, str]:
    async def fetch() -> str:
        task = asyncio.create_task(asyncio.sleep(60, "never"))
        task.cancel()
        return await task

    return fetch()


def is_plain() -> str:
    raise asyncio.CancelledError


@pytest.mark.parametrize("broken", [cancels_itself, awaits_a_cancelled_task, is_plain])
@pytest.mark.asyncio
async def test_a_key_function_that_ends_with_a_cancellation_of_its_own(
    broken: Callable[[], Any],
) -> None:
    calls = 0

    def key() -> Any:
        nonlocal calls
        calls += 1
        return broken() if calls < 3 else KEY

    async with asyncio.timeout(10), nothing_left() as server:
        async with memory_client(server.network, api_key=key, **QUICK) as client:
            events = client.events()
            task = ask()
            assert (await client.run(task)).text == f"to {task.task_uuid}"
            assert calls == 3
            assert client.stats().dials == 3
        assert "OwnCancellation" in str(await rest(events))
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0


@trio_or_asyncio
@bounded
async def test_closing_while_the_key_is_fetched() -> None:
    async with nothing_left() as server:
        ended: list[str] = []

        async def key() -> str:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("key")
            return KEY

        async with memory_client(server.network, api_key=key):
            await anyio.wait_all_tasks_blocked()
        assert ended == ["key"]


@trio_or_asyncio
@pytest.mark.parametrize("where", ["key", "source"])
@bounded
async def test_closing_from_inside(where: str) -> None:
    """A function of the user, run by the client, may close it: it cannot wait for itself."""
    async with nothing_left() as server:
        closing: list[str] = []

        async def key() -> str:
            if where == "key":
                closing.append("key")
                await client.aclose()
            return KEY

        async def source() -> AsyncGenerator[TextInference]:
            yield ask()
            closing.append("source")
            await client.aclose()

        client = memory_client(server.network, api_key=key)
        async with client:
            if where == "source":
                with suppress(ClientClosed):
                    async for _ in client.map(source()):
                        pass
            else:
                with pytest.raises(ClientClosed):
                    await client.run(ask())
        assert closing == [where]


@trio_or_asyncio
@bounded
async def test_a_source_does_not_hold_up_closing() -> None:
    async with nothing_left() as server:
        closed: list[str] = []

        async def source() -> AsyncGenerator[TextInference]:
            try:
                yield ask()
                await anyio.sleep_forever()
            finally:
                closed.append("source")

        async def read() -> None:
            with pytest.raises(ClientClosed, match="before all tasks were taken"):
                await read_all(client.map(source()), came.set)

        async with memory_client(server.network) as client:
            came = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await came.wait()
                await client.aclose()
                assert closed == ["source"]


# Waiters


@pytest.mark.slow
@trio_or_asyncio
@bounded
async def test_waits_with_a_short_limit_leave_nothing_behind() -> None:
    async with nothing_left() as server:
        server.mute = True
        async with memory_client(server.network) as client:
            handle = await client.submit(ask())

            def waiters() -> int:
                gc.collect()
                kinds = (asyncio.Future, trio.Event)
                return sum(type(each) in kinds for each in gc.get_objects())

            before = waiters()
            for _ in range(1_000):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await handle
            assert waiters() - before < 20
            waiting = server.sockets[0]

            async def wait() -> None:
                assert (await handle).text

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                answer(waiting, {"taskType": "textInference", "taskUUID": handle.uuid})
