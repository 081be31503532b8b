"""A client used where it does not live, and ends that nobody asked for."""

from __future__ import annotations

import asyncio
import gc
import logging
import uuid
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from runware_ws import (
    Client,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    EventStream,
    Outcome,
    RunwareError,
    Submitted,
    TaskHandle,
    TextInference,
)
from runware_ws.emulator import Emulator
from runware_ws.events import Closed, Event
from runware_ws.messages.params import MessageParam
from runware_ws.testing.network import MemoryNetwork

from .leftovers import nothing_left
from .raw import Peer, quick, result_of, serving
from .support import KEY, SESSION, ask, bounded, memory_client, only, rest, until

trio_or_asyncio = pytest.mark.anyio


@dataclass(frozen=True)
class Lent:
    """What the other thread got hold of."""

    client: Client
    handle: TaskHandle
    events: EventStream
    outcomes: AsyncIterator[Outcome[TextInference]]


Verb = Callable[[Lent], Awaitable[object]]


async def read(source: AsyncIterable[object]) -> object:
    return [item async for item in source]


async def wait(handle: TaskHandle) -> object:
    return await handle


async def stream(client: Client) -> object:
    async with client.stream(ask(), carrier="socket") as deltas:
        return await deltas.result()


async def message(client: Client) -> object:
    user: MessageParam = {"role": "user", "content": "x"}
    return await client.messages.create(max_tokens=1, messages=[user])


async def call(func: Callable[[], object]) -> object:
    return func()


VERBS: dict[str, Verb] = {
    "run": lambda lent: lent.client.run(ask()),
    "submit": lambda lent: lent.client.submit(ask()),
    "map": lambda lent: read(lent.client.map([ask()])),
    "map begun": lambda lent: read(lent.outcomes),
    "stream": lambda lent: stream(lent.client),
    "messages": lambda lent: message(lent.client),
    "ready": lambda lent: lent.client.ready(),
    "drain": lambda lent: lent.client.drain(),
    "aclose": lambda lent: lent.client.aclose(),
    "claim": lambda lent: call(lambda: lent.client.claim(ask().task_uuid)),
    "events": lambda lent: read(lent.client.events()),
    "events begun": lambda lent: read(lent.events),
    "handle": lambda lent: wait(lent.handle),
    "handle items": lambda lent: read(lent.handle),
    "handle cancel": lambda lent: call(lent.handle.cancel),
}


@trio_or_asyncio
@pytest.mark.parametrize("verb", VERBS)
@bounded
async def test_every_verb_in_another_thread_is_refused_at_once(
    verb: str, anyio_backend_name: str
) -> None:
    async with nothing_left() as server:
        server.mute = True
        async with memory_client(server.network) as client:
            handle = await client.submit(ask())
            await until(lambda: server.received)
            outcomes = client.map([ask()])
            lent = Lent(client, handle, client.events(), outcomes)

            async def elsewhere() -> None:
                with anyio.fail_after(5), pytest.raises(ConfigurationError, match="another event"):
                    await VERBS[verb](lent)
                assert client.stats().pending == 1
                assert client.connected
                assert handle.state.name == "WRITTEN"

            def thread() -> None:
                anyio.run(elsewhere, backend=anyio_backend_name)

            await anyio.to_thread.run_sync(thread)
            await outcomes.aclose()
            assert client.stats().submitted == 1
            assert len(server.received) == 1


def test_a_second_loop_of_the_same_thread() -> None:
    async def start(network: MemoryNetwork) -> Client:
        return await memory_client(network).start()

    async def misuse(client: Client) -> None:
        for verb in (client.run, client.submit):
            with pytest.raises(ConfigurationError, match="another event loop"):
                await verb(ask())
        with pytest.raises(ConfigurationError, match="another event loop"):
            await client.aclose()

    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    client = first.run_until_complete(start(MemoryNetwork()))
    second.run_until_complete(misuse(client))
    first.run_until_complete(client.aclose())
    second.close()
    assert asyncio.all_tasks(first) == set()
    first.close()


# Ends that nobody asked for


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_loop_ends_with_the_client_open(backend: str) -> None:
    clients: list[Client] = []

    async def main() -> None:
        network = MemoryNetwork()
        clients.append(await memory_client(network).start())
        await clients[0].submit(ask())
        socket = await network.accept()
        await socket.authenticate(SESSION)
        await clients[0].ready()

    async def again() -> None:
        # There is nothing left to close, so it does no harm in another loop.
        await clients[0].aclose()

    with pytest.warns(ResourceWarning, match="still open"):
        anyio.run(main, backend=backend)
    stats = clients[0].stats()
    assert (stats.state, stats.pending, stats.closed) == ("closed", 0, 1)
    anyio.run(again, backend=backend)
    gc.collect()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_loop_ends_with_an_idle_connection(backend: str) -> None:
    """The end is told once, not once more for each connection."""

    async def main() -> None:
        async with Emulator(KEY) as emulator:
            client = await Client(emulator.url, api_key=KEY).start()
            async with client.stream(ask(), carrier="sse") as stream:
                await stream.result()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        anyio.run(main, backend=backend)
        gc.collect()
    assert [str(warning.message).partition(":")[0] for warning in told] == [
        "a client was still open when its event loop ended"
    ]


@pytest.mark.parametrize("steps", [0, 30])
@pytest.mark.asyncio
async def test_its_tasks_are_cancelled_by_a_stranger(steps: int) -> None:
    """As ``asyncio.run`` does at its end, and some test runners in between."""
    async with asyncio.timeout(10), nothing_left() as server:
        server.mute = True
        client = await memory_client(server.network).start()
        running = asyncio.create_task(client.run(ask()))
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            if task.get_name().startswith("runware_ws"):
                task.cancel()
        with pytest.warns(ResourceWarning, match="still open"):
            await asyncio.wait({running})
        with pytest.raises(ClientClosed):
            await running
        await client.aclose()
        with pytest.raises(ClientClosed):
            await client.run(ask())


def break_down(client: Client) -> None:
    """Let the client fail as a bug of its own would do it."""

    def fail(*_: Any) -> Any:
        raise LookupError(f"in the midst of {KEY}")

    driver: Any = vars(client)["_driver"]
    driver.core.next_frame = fail
    driver._sockets.writer.set()


@trio_or_asyncio
@bounded
async def test_a_crash_ends_every_task_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    network = MemoryNetwork()
    async with nothing_left(network) as server:
        server.mute = True
        client = Client(
            "ws://127.0.0.1:9", api_key=KEY, dial=network.dial, max_in_flight=1, timeout=60
        )
        errors: list[RunwareError] = []

        async def wait() -> None:
            with pytest.raises(ConnectionFailed) as caught:
                await client.run(ask())
            errors.append(caught.value)

        async with client:
            events = client.events()
            handle = await client.submit(ask())
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await until(lambda: server.received and client.stats().pending == 2)
                break_down(client)
            with pytest.raises(ConnectionFailed, match="LookupError: in the midst") as caught:
                await handle
            assert caught.value.submitted is Submitted.MAYBE
            assert [error.submitted for error in errors] == [Submitted.NO]
            for verb in (client.run, client.submit):
                with pytest.raises(ConnectionFailed, match="LookupError"):
                    await verb(ask())
            with pytest.raises(ConnectionFailed, match="LookupError"):
                await client.ready()
            assert client.stats().pending == 0
            assert client.stats().state == "failed"
        found = await rest(events)
        assert "LookupError" in only(found, Closed)[0].reason
    assert "Traceback" in caplog.text
    told = f"{caplog.text} {found} {caught.value!r} {client!r}"
    assert KEY not in told
    told_of = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [(record.name, record.levelno) for record in told_of] == [
        ("runware_ws", logging.ERROR),  # the crash itself
        ("runware_ws", logging.WARNING),  # the socket
        ("runware_ws", logging.ERROR),  # the end of the client
    ]


@trio_or_asyncio
@bounded
async def test_a_crash_between_two_results_of_a_frame_loses_neither() -> None:
    async def handle(peer: Peer) -> None:
        await peer.greet()
        asked = [await peer.task(), await peer.task()]
        first, second = (result_of(task)["data"][0] for task in asked)
        stray = {**first, "taskUUID": str(uuid.uuid4())}
        await peer.send({"data": [first, stray, second]})
        await anyio.sleep_forever()

    async def run(client: Client) -> None:
        told.append((await client.run(ask())).text)

    told: list[str | None] = []
    async with serving(handle) as (url, _), quick(url) as client:
        feed = vars(client)["_driver"].feed
        publish = feed.publish

        def fail(_: Event) -> None:
            feed.publish = publish
            raise LookupError("a bug")

        await client.ready()
        feed.publish = fail
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(run, client)
        assert told == ["done", "done"]
