"""Real processes with a journal: killed at random points, frozen and replaced, on a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws import ClientClosed, JournalError, RunwareError, Submitted
from runware_ws.emulator import Emulator, EmulatorOptions, Request, expected_text
from runware_ws.journal.sqlite import SqliteStore
from tests.client.support import Gate, ask, assert_answers, bounded, until
from tests.journal.kill import kill_workers
from tests.journal.sqlite_support import small_disk_in
from tests.journal.support import keyed_client, rows
from tests.journal.worker import KEY, read_log


@pytest.mark.parametrize(
    "trio",
    [pytest.param(False, id="asyncio"), pytest.param(True, id="trio", marks=pytest.mark.slow)],
)
def test_killed_again_and_again(tmp_path: Path, trio: bool) -> None:
    report = asyncio.run(
        kill_workers(
            tmp_path,
            kills=3,
            in_flight=40,
            workers=2,
            longest=0.6,
            latency="exp:100ms",
            trio=trio,
            seed=7 + trio,
        )
    )
    assert report.problems == []
    assert report.kills == 3
    assert report.told >= report.executed > 0


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", [("asyncio", {})])
@pytest.mark.anyio
async def test_frozen_replaced_and_thawed(tmp_path: Path, anyio_backend: Any) -> None:
    """A process is stopped for longer than its session lives, declared dead, and goes on."""
    path, log = tmp_path / "j.db", tmp_path / "log.jsonl"
    options = EmulatorOptions(buffer_seconds=0.3)
    async with Emulator(KEY, options=options, latency="exp:200ms") as emulator:
        executed: dict[str, list[str]] = {}

        def reply(request: Request) -> str:
            executed.setdefault(request.prompt, []).append(request.task_uuid)
            return expected_text(request.prompt, request.task_uuid, request.index)

        emulator.reply("textInference")(reply)
        command = [sys.executable, "-m", "tests.journal.worker", "--url", emulator.url]
        command += ["--journal", str(path), "--log", str(log), "--in-flight", "15"]
        frozen = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        await until(lambda: len(read_log(log)) > 60)
        frozen.send_signal(signal.SIGSTOP)
        emulator.faults.cut()
        await anyio.sleep(0.5)
        owner = {entry.owner for entry in rows(path, emulator.url)}.pop()
        store = SqliteStore(path)
        await anyio.to_thread.run_sync(store.open, emulator.url, 0.0)
        assert await anyio.to_thread.run_sync(store.fence, owner)
        store.close()
        before = len(read_log(log))
        replacing = await asyncio.create_subprocess_exec(*command, "--last")
        assert await asyncio.wait_for(replacing.wait(), 60) == 0
        sent = {uuid for uuids in executed.values() for uuid in uuids}
        told = len(read_log(log))
        frozen.send_signal(signal.SIGCONT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(frozen.wait(), 3)
        if frozen.returncode is None:
            frozen.kill()
        await frozen.communicate()
        await anyio.sleep(0.3)
        assert {uuid for uuids in executed.values() for uuid in uuids} == sent
        assert set(emulator.stats.executions.values()) == {1}
        assert [prompt for prompt, uuids in executed.items() if len(set(uuids)) > 1] == []
        prompts = {uuid: prompt for prompt, uuids in executed.items() for uuid in uuids}
        lines = read_log(log)
        assert told > before
        late = [line for line in lines[told:] if "begun" not in line]
        # What was recorded before may be told after.
        assert {line.get("error") for line in late} <= {"Fenced", None}
        for line in lines:
            if "text" in line:
                assert line["text"] == expected_text(prompts[line["uuid"]], line["uuid"], 0)
        names = {line["begun"] for line in lines[:told] if "begun" in line}
        answered = {line["name"] for line in lines if "text" in line}
        assert {name for name in names - answered if not name.startswith("once")} == set()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    with small_disk_in(tmp_path, "4m") as folder:
        yield folder


def fill(folder: Path, leave: int) -> Path:
    """A file that leaves so many bytes of room."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, max(0, ballast.stat().st_size - leave))
    return ballast


@pytest.mark.anyio
@bounded
async def test_a_full_disk_at_every_write(small_disk: Path) -> None:
    """Nothing is sent unrecorded and no result told; with room again, all goes on."""
    path = small_disk / "j.db"
    async with Emulator() as emulator:
        gate = Gate(emulator)
        for step in range(0, 120_000, 8192):
            name = f"step {step}"
            task = ask(name + "x" * 3000)
            async with keyed_client(emulator, path, close_timeout=0.3) as client:
                await client.ready(5)
                ballast = fill(small_disk, step)
                with anyio.move_on_after(0.4):
                    await client.run(task, key=name)
                gate.open()
                with anyio.move_on_after(0.2):
                    await client.run(task, key=name)
                ballast.unlink()
                with anyio.fail_after(20):
                    result = await client.run(task, key=name)
                    assert result.text == expected_text(
                        str(task.messages[0].content), result.task_uuid, 0
                    )
            recorded = {entry.key: entry for entry in rows(path, emulator.url)}
            assert recorded[name].uuid == result.task_uuid
        assert set(emulator.stats.executions.values()) == {1}
        assert len(gate.seen) == len(set(gate.seen))


@pytest.mark.anyio
@bounded
async def test_a_full_disk_without_end(small_disk: Path) -> None:
    path = small_disk / "j.db"
    async with Emulator() as emulator:
        async with keyed_client(emulator, path, close_timeout=0.3) as client:
            task = ask("fits")
            assert_answers(await client.run(task, key="k"), task)
            fill(small_disk, 0)
            errors: list[RunwareError] = []

            async def run(number: int) -> None:
                try:
                    await client.run(ask("y" * 9000), key=f"{number}")
                except RunwareError as exc:
                    errors.append(exc)

            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(run, number)
                await anyio.sleep(0.5)
                await client.aclose()
        assert len(errors) == 50
        assert all(isinstance(error, ClientClosed | JournalError) for error in errors)
        assert {error.submitted for error in errors} == {Submitted.NO}
        assert {error.safe_to_resend for error in errors} == {True}
        assert emulator.stats.tasks_accepted == 1
        (small_disk / "ballast").unlink()
        async with keyed_client(emulator, path) as client:
            await client.run(ask("fits"), key="k")
