"""A loop that was blocked: what had arrived in time counts."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from runware_ws import TaskTimeout

from .raw import Peer, quick, result_of, serving
from .support import ask, bounded, until

pytestmark = pytest.mark.anyio

TASKS = 100


@pytest.mark.parametrize("size", [10, 20_000])
@bounded
async def test_answers_in_the_kernel_come_before_deadlines(size: int) -> None:
    """The server is in this loop as well, so it answers before the loop is blocked."""
    tasks: list[dict[str, Any]] = []
    answer = anyio.Event()

    async def serve(peer: Peer) -> None:
        await peer.greet()
        while len(tasks) < TASKS:
            tasks.append(await peer.task())
        await answer.wait()
        sent = 0
        # The kernel's buffers hold less than all of the large ones.
        for task in tasks[: TASKS if size < 100 else 20]:
            await peer.send(result_of(task, "x" * size))
            sent += 1
        # From here until the block ends nobody else runs.
        time.sleep(1.2)  # noqa: ASYNC251
        for task in tasks[sent:]:
            await peer.send(result_of(task, "x" * size))
        await anyio.sleep_forever()

    async with (
        serving(serve) as (url, _),
        quick(url) as client,
    ):
        await client.ready()
        answered: list[str] = []

        async def run() -> None:
            answered.append(str((await client.run(ask(), timeout=1.0)).text))

        async with anyio.create_task_group() as group:
            for _ in range(TASKS):
                group.start_soon(run)
            await until(lambda: len(tasks) == TASKS)
            answer.set()
        assert len(answered) == TASKS


@bounded
async def test_what_did_not_arrive_is_timed_out_soon_after_the_block() -> None:
    async def serve(peer: Peer) -> None:
        await peer.greet()
        await anyio.sleep_forever()

    async with (
        serving(serve) as (url, _),
        quick(url) as client,
    ):
        await client.ready()
        handle = await client.submit(ask(), timeout=0.1)
        await anyio.sleep(0.02)
        time.sleep(0.3)  # noqa: ASYNC251
        start = time.monotonic()
        with pytest.raises(TaskTimeout):
            await handle
        assert time.monotonic() - start < 2.0
