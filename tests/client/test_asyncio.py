"""The client in a plain asyncio program: its own tasks, cancellations and timeouts."""

from __future__ import annotations

import asyncio

import pytest

from runware_ws import Client, ClientClosed
from runware_ws.emulator import Emulator
from runware_ws.testing.network import MemoryNetwork

from .support import (
    KEY,
    SESSION,
    Gate,
    answer,
    ask,
    assert_answers,
    client_of,
    memory_client,
    until,
)


@pytest.mark.asyncio
async def test_gather_wait_for_and_cancel() -> None:
    async with asyncio.timeout(10), Emulator(KEY) as emulator:
        gate = Gate(emulator)
        async with client_of(emulator) as client:
            tasks = [ask(f"{n}") for n in range(20)]
            running = [asyncio.create_task(client.run(task)) for task in tasks]
            await until(lambda: gate.running == 20)
            running[3].cancel("given up")
            with pytest.raises(asyncio.CancelledError):
                await running[3]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.run(ask("slow")), 0.05)
            gate.open()
            rest = [number for number in range(20) if number != 3]
            results = await asyncio.gather(*(running[number] for number in rest))
            for number, result in zip(rest, results, strict=True):
                assert_answers(result, tasks[number])
            assert client.stats().pending == 0
            assert client.stats().cancelled == 2
            assert client.stats().connections == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_a_client_shared_with_tasks_that_outlive_it() -> None:
    async with asyncio.timeout(10), Emulator(KEY) as emulator:
        Gate(emulator)
        async with client_of(emulator) as client:
            late = asyncio.create_task(client.run(ask()))
            await client.ready()
        with pytest.raises(ClientClosed):
            await late


@pytest.mark.asyncio
async def test_entered_and_left_by_hand() -> None:
    """A web framework enters at start-up and leaves at shutdown, in one task."""
    async with asyncio.timeout(10), Emulator(KEY) as emulator:
        client: Client = client_of(emulator)
        await client.__aenter__()
        handle = await client.submit(task := ask())
        assert_answers(await handle, task)
        await client.__aexit__(None, None, None)


@pytest.mark.asyncio
async def test_a_result_that_comes_with_the_cancellation_is_not_lost() -> None:
    async with asyncio.timeout(10):
        network = MemoryNetwork()
        async with memory_client(network) as client:
            task = ask()
            running = asyncio.create_task(client.run(task))
            socket = await network.accept()
            await socket.authenticate(SESSION)
            (wire,) = await socket.receive()
            answer(socket, wire)
            while client.stats().pending:  # noqa: ASYNC110 - to the very step
                await asyncio.sleep(0)
            running.cancel()
            try:
                result = await running
            except asyncio.CancelledError:
                claimed = client.claim(task.task_uuid)
                assert claimed is not None, "the answer was paid for, arrived, and is gone"
            else:
                assert result.task_uuid == task.task_uuid


@pytest.mark.asyncio
async def test_a_submit_cancelled_as_its_task_is_admitted_and_answered_keeps_the_answer() -> None:
    network = MemoryNetwork()
    async with asyncio.timeout(10), memory_client(network, max_in_flight=1) as client:
        socket = await network.accept()
        await socket.authenticate(SESSION)
        await client.ready()
        first, second = ask("first"), ask("second")
        running = asyncio.create_task(client.run(first))
        await until(lambda: client.stats().in_flight == 1)
        waiting = asyncio.create_task(client.submit(second))
        await until(lambda: client.stats().pending == 2)

        async def cancel() -> None:
            while client.stats().answered < 2:  # noqa: ASYNC110 - the very moment matters
                await asyncio.sleep(0)
            waiting.cancel()

        # In one read: room for the second one, and what the server had kept for it.
        for task in (first, second):
            answer(socket, {"taskType": "textInference", "taskUUID": task.task_uuid})
        await asyncio.gather(running, *(cancel() for _ in range(3)))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        found = client.claim(second.task_uuid)
        assert found is not None
        assert found.text == f"to {second.task_uuid}"
