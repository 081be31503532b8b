"""Every await of every verb, cancelled: nothing stays behind, and nobody else is harmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest
import tenacity
import trio.testing

from runware_ws import Client, ClientClosed, RunwareError, TextInference
from runware_ws.testing.network import MemoryNetwork
from tests.conftest import ASYNCIO, UVLOOP

from .support import EchoServer, ask, bounded, echoing, memory_client, until

pytestmark = pytest.mark.anyio

STEPS = 24
Verb = Callable[[Client, TextInference], Awaitable[object]]


@pytest.fixture(params=[ASYNCIO, UVLOOP, pytest.param("virtual", id="trio")])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    if request.param == "virtual":
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return request.param


async def run(client: Client, task: TextInference) -> object:
    return await client.run(task)


async def submit(client: Client, task: TextInference) -> object:
    return await client.submit(task)


async def submit_and_wait(client: Client, task: TextInference) -> object:
    return await (await client.submit(task))


async def iterate(client: Client, task: TextInference) -> object:
    return [item async for item in await client.submit(task)]


async def mapped(client: Client, task: TextInference) -> object:
    return [outcome async for outcome in client.map([ask("before"), task, ask("after")])]


async def ready(client: Client, _: TextInference) -> object:
    await client.ready()
    return None


async def drain(client: Client, task: TextInference) -> object:
    await client.submit(task)
    return await client.drain()


VERBS: list[Verb] = [run, submit, submit_and_wait, iterate, mapped, ready, drain]


async def cancelled_after(steps: int, call: Callable[..., Awaitable[object]], *args: Any) -> bool:
    """Run ``call``, cancel it after so many steps of the loop; whether it was cut short."""
    finished = False
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def strike() -> None:
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

            group.start_soon(strike)
            await call(*args)
            finished = True
            group.cancel_scope.cancel()
    return not finished


def pending(client: Client, number: int) -> Callable[[], bool]:
    """Whether so many tasks have not ended."""
    return lambda: client.stats().pending == number


def all_ended(server: EchoServer) -> Callable[[], bool]:
    """Whether the client has left every socket."""
    return lambda: not any(socket.open for socket in server.sockets)


async def settled(client: Client, server: EchoServer, task: TextInference) -> None:
    """Whatever was cut short: the task is not in flight, and an answer that came is kept."""
    await until(pending(client, 0))
    stats = client.stats()
    assert stats.in_flight == 0
    assert stats.submitted == stats.answered + stats.cancelled
    assert server.received.count(task.task_uuid) <= 1


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
@pytest.mark.parametrize("connected", [False, True], ids=["dialing", "connected"])
@bounded
async def test_a_verb_cancelled_at_each_step(verb: Verb, connected: bool) -> None:
    outcomes: set[bool] = set()
    for steps in range(STEPS):
        network = MemoryNetwork()
        async with echoing(network) as server:
            backoff = tenacity.wait_fixed(0)
            async with memory_client(network, max_in_flight=3, backoff=backoff) as client:
                if connected:
                    await client.ready()
                bystander, task = ask("bystander"), ask("task")
                handle = await client.submit(bystander)
                outcomes.add(await cancelled_after(steps, verb, client, task))
                assert (await handle).text == f"to {bystander.task_uuid}"
                await settled(client, server, task)
                if verb is not drain:
                    after = ask("after")
                    assert (await client.run(after)).text == f"to {after.task_uuid}"
                assert client.stats().dials == 1
            assert server.sockets[0].client_left == "closed"
    # The steps went from "at once" to "too late", or the test tests nothing. With nothing
    # to wait for, a verb may be over before it can be cancelled.
    assert False in outcomes
    assert True in outcomes or verb in (ready, submit)


@bounded
async def test_a_cancelled_run_gives_its_answer_or_keeps_it() -> None:
    kept = given = 0
    # Trio shuffles what runs in one step, so that one round could miss the moment.
    for steps in [*range(12)] * 4:
        network = MemoryNetwork()
        async with echoing(network) as server, memory_client(network) as client:
            await client.ready()
            task = ask("task")
            if await cancelled_after(steps, client.run, task):
                if client.stats().frames_out:
                    await until(partial(server.received.count, task.task_uuid))
                    for _ in range(5):
                        await anyio.lowlevel.checkpoint()
                    result = client.claim(task.task_uuid)
                    assert result is not None, "the answer was paid for, arrived, and is gone"
                    assert result.text == f"to {task.task_uuid}"
                    kept += 1
            else:
                assert client.claim(task.task_uuid) is None
                given += 1
    assert kept
    assert given


@pytest.mark.parametrize("phase", ["dialing", "connected", "busy", "full"])
@bounded
async def test_closing_cancelled_at_each_step(phase: str) -> None:
    for steps in range(10):
        network = MemoryNetwork()
        async with echoing(network) as server:
            async with memory_client(network, max_in_flight=2) as client:
                server.mute = True
                if phase != "dialing":
                    await client.ready()
                handles = []
                if phase in ("busy", "full"):
                    handles = [await client.submit(ask()) for _ in range(2)]
                errors: list[RunwareError] = []

                async def wait(client: Client = client, errors: Any = errors) -> None:
                    with pytest.raises(ClientClosed) as caught:
                        await client.run(ask())
                    errors.append(caught.value)

                async with anyio.create_task_group() as group:
                    if phase == "full":
                        group.start_soon(wait)
                        await until(pending(client, 3))
                    await cancelled_after(steps, client.aclose)
                    # Cancelled or not, it is closed: another call has nothing to wait for.
                    with anyio.fail_after(1):
                        await client.aclose()
                assert len(errors) == (phase == "full")
                for handle in handles:
                    with pytest.raises(ClientClosed):
                        await handle
                assert client.stats().pending == 0
                assert client.stats().state == "closed"
            assert all_ended(server)()


@bounded
async def test_a_whole_client_cancelled_at_each_step() -> None:
    for steps in range(STEPS):
        network = MemoryNetwork()
        async with echoing(network) as server:
            clients: list[Client] = []

            async def life(network: MemoryNetwork = network, clients: Any = clients) -> None:
                async with memory_client(network) as client:
                    clients.append(client)
                    await client.run(ask())
                    await client.run(ask())

            await cancelled_after(steps, life)
            for client in clients:
                assert client.stats().pending == 0
                assert client.stats().state == "closed"
            await until(all_ended(server))
