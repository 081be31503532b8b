"""The emulator in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from runware_ws import Client, TextInference
from runware_ws.emulator import EmulatorOptions, EmulatorProcess

from .wire import KEY, TOO_LONG

pytestmark = pytest.mark.anyio


async def test_it_serves_and_counts() -> None:
    options = EmulatorOptions(result_index="always")
    async with EmulatorProcess(KEY, options=options, latency="1ms") as emulator:
        async with Client(emulator.url, api_key=KEY) as client:
            task = TextInference.prompt("Why?")
            result = await client.run(task, timeout=TOO_LONG)
        assert result.raw[0]["resultIndex"] == 0
        ran = await emulator.executions([task.task_uuid, "another"])
        assert ran == {task.task_uuid: 1, "another": 0}
        stats = await emulator.stats()
        assert (stats["executed"], stats["executed_twice"], stats["refused"]) == (1, 0, 0)


async def test_its_options_can_be_changed_while_it_runs() -> None:
    async with EmulatorProcess(KEY) as emulator:
        async with Client(emulator.url, api_key=KEY) as client:
            task = TextInference.prompt("Why?")
            await client.run(task, timeout=TOO_LONG)
        uuids = [task.task_uuid, "another"]
        assert await emulator.tellable(uuids) == {task.task_uuid: True, "another": False}
        await emulator.change(poll_sync_tasks=False, archive_lag=1000.0)
        assert await emulator.tellable(uuids) == dict.fromkeys(uuids, False)
        wrongs: list[dict[str, Any]] = [{"archive_lag": -1.0}, {"nonsense": 1}]
        for wrong in wrongs:
            with pytest.raises(ValueError, match=r"archive_lag|nonsense"):
                await emulator.change(**wrong)
        assert not any((await emulator.tellable(uuids)).values())


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(TOO_LONG):
        while not condition():  # noqa: ASYNC110 - it comes true in another process
            await anyio.sleep(0.01)


async def test_it_takes_orders() -> None:
    async with EmulatorProcess(KEY) as emulator, Client(emulator.url, api_key=KEY) as client:
        await client.ready(TOO_LONG)
        await emulator.repeat([["forget-sessions", "cut"], ["shuffle"]], every=0.01, times=2)
        await _until(lambda: client.stats().sessions_lost == 1 and client.connected)
        await emulator.repeat([["cut=1001"]], every=60, first=0)
        await _until(lambda: client.stats().resumes == 1 and client.connected)
        await emulator.rest()
        await emulator.order("shuffle", "heal")
        assert (await emulator.stats())["cuts"] == 2


async def test_mistakes_are_told_and_change_nothing() -> None:
    with pytest.raises(ValueError, match="not a latency"):
        async with EmulatorProcess(latency="soon"):
            pass
    async with EmulatorProcess() as emulator:
        with pytest.raises(ValueError, match="unknown fault 'rain'"):
            await emulator.order("rain")
        with pytest.raises(ValueError, match="unknown fault 'rain'"):
            await emulator.repeat([["cut"], ["rain"]], every=1.0)
        with pytest.raises(ValueError, match="every must be"):
            await emulator.repeat([["cut"]], every=0)
        assert (await emulator.stats())["cuts"] == 0
    with pytest.raises(RuntimeError, match="does not run"):
        await emulator.stats()


async def test_a_cancelled_question_leaves_no_answer_behind() -> None:
    async with EmulatorProcess() as emulator:
        for _ in range(20):
            with anyio.move_on_after(0):
                await emulator.stats()
            assert await emulator.executions(["a"]) == {"a": 0}


async def test_it_ends_with_its_parent() -> None:
    program = (
        "import anyio, os\n"
        "from runware_ws.emulator import EmulatorProcess\n"
        "async def main():\n"
        "    async with EmulatorProcess() as emulator:\n"
        "        print(emulator.url.split(':')[2].split('/')[0], flush=True)\n"
        "        os._exit(0)\n"
        "anyio.run(main)\n"
    )
    done = await anyio.run_process([sys.executable, "-c", program])
    port = int(done.stdout)
    with anyio.fail_after(TOO_LONG):
        while True:
            try:
                stream = await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                return
            with suppress(OSError):
                await stream.aclose()
            await anyio.sleep(0.02)


def test_by_hand() -> None:
    """Whoever starts it without a parent of ours sees the same lines."""
    lines = b'{"api_key": "k"}\nnonsense\n{"do": "dance"}\n{"do": "rest"}\n'
    done = subprocess.run(
        [sys.executable, "-m", "runware_ws.emulator"],
        input=lines,
        capture_output=True,
        timeout=TOO_LONG,
        check=True,
    )
    ready, *answers = done.stdout.decode().splitlines()
    assert ready.startswith("listening on ws://127.0.0.1:")
    assert [answer[:9] for answer in answers] == ['{"error":', '{"error":', '{"ok":nul']
    assert done.stderr == b""
