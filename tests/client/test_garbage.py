"""Nothing that a task leaves behind needs Python's collector: full collections may be rare."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Generator

import anyio
import pytest

from runware_ws import Client, TaskTimeout, TextInference
from runware_ws.emulator import Emulator

from .support import KEY, Gate, ask, bounded, client_of

pytestmark = pytest.mark.anyio

Work = Callable[[Client], Awaitable[None]]

TASKS = 200
FEW = TASKS // 4
"""What libraries leave behind once, but nobody for each task."""


@pytest.fixture(autouse=True)
def no_collector() -> Generator[None]:
    gc.disable()
    yield
    gc.enable()


async def _run(client: Client) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(TASKS):
            group.start_soon(client.run, ask())


async def _map(client: Client) -> None:
    async for outcome in client.map((ask() for _ in range(TASKS)), concurrency=50):
        outcome.unwrap()


async def _submit(client: Client) -> None:
    for handle in [await client.submit(ask()) for _ in range(TASKS)]:
        await handle


async def _iterate(client: Client) -> None:
    for handle in [await client.submit(ask()) for _ in range(TASKS)]:
        async for item in handle:
            assert item.text


@pytest.mark.slow
@bounded
@pytest.mark.parametrize("work", [_run, _map, _submit, _iterate])
async def test_answered_tasks_leave_no_cycles(work: Work) -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        await client.run(ask())
        gc.collect()
        await work(client)
        assert client.stats().answered == TASKS + 1
        assert gc.collect() <= FEW


async def _run_in_vain(client: Client) -> None:
    async def one(task: TextInference) -> None:
        with pytest.raises(TaskTimeout):
            await client.run(task, timeout=0.05)

    async with anyio.create_task_group() as group:
        for _ in range(TASKS):
            group.start_soon(one, ask())


async def _map_in_vain(client: Client) -> None:
    tasks = (ask() for _ in range(TASKS))
    async for outcome in client.map(tasks, concurrency=TASKS, timeout=0.05):
        assert isinstance(outcome.error, TaskTimeout)
        with pytest.raises(TaskTimeout):
            outcome.unwrap()


async def _submit_in_vain(client: Client) -> None:
    handles = [await client.submit(ask(), timeout=0.05) for _ in range(TASKS)]
    for handle in handles:
        for _ in range(2):
            with pytest.raises(TaskTimeout):
                await handle


@pytest.mark.slow
@bounded
@pytest.mark.parametrize("work", [_run_in_vain, _map_in_vain, _submit_in_vain])
async def test_tasks_without_an_answer_leave_no_cycles(work: Work) -> None:
    async with Emulator(KEY) as emulator, client_of(emulator) as client:
        await client.run(ask())
        Gate(emulator)
        gc.collect()
        await work(client)
        assert client.stats().timed_out == TASKS
        assert gc.collect() <= FEW
