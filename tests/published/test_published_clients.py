"""Runware's own published clients against the emulator.

They know the real server. What they understand, the emulator speaks rightly.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws.emulator import Emulator, EmulatorOptions, expected_text

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # the first run installs the clients

KEY = "a-key-for-published-clients"
HERE = Path(__file__).parent


class Client:
    """One of the published clients: its script and where it is installed."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    async def run(self, case: str, emulator: Emulator, key: str = KEY) -> dict[str, Any]:
        """Run one case in a process of its own; returns what the script reports."""
        environment = {name: text for name, text in os.environ.items() if "RUNWARE" not in name}
        environment["PYTHONPATH"] = os.pathsep.join([str(self.folder), str(HERE)])
        environment["PYTHONWARNINGS"] = "ignore"
        # The older client sits out this time (milliseconds) after each poll of a running text.
        environment["RUNWARE_VIDEO_INITIAL_TIMEOUT"] = "500"
        command = [sys.executable, str(HERE / f"{self.name}_script.py"), case, emulator.url, key]
        with anyio.fail_after(60):
            done = await anyio.run_process(
                command, env=environment, check=False, stderr=subprocess.PIPE
            )
        assert done.returncode == 0, done.stderr.decode()
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert report["outside"] == []
        return report


@pytest.fixture(params=["sdk", "legacy"])
def client(request: pytest.FixtureRequest) -> Client:
    """Each of the two."""
    folder: Path = request.getfixturevalue(f"{request.param}_folder")
    return Client(request.param, folder)


def texts(report: dict[str, Any], prompts: list[str], same: bool = False) -> None:
    """Each item answers its prompt; ``same``: they are results of one task."""
    assert report["error"] is None, report
    assert len(report["items"]) == len(prompts)
    for index, (item, prompt) in enumerate(zip(report["items"], prompts, strict=True)):
        assert item["text"] == expected_text(prompt, item["taskUUID"], index if same else 0)


async def test_sync(client: Client) -> None:
    async with Emulator(api_key=KEY, latency="50ms") as emulator:
        report = await client.run("sync", emulator)
        texts(report, ["one"])
        assert "totalTokens" in str(report["items"][0]["usage"])
        assert emulator.stats.executed == 1


async def test_async_delivery(client: Client) -> None:
    async with Emulator(api_key=KEY, latency="300ms") as emulator:
        texts(await client.run("async", emulator), ["one"])
        assert emulator.stats.polls >= 1
        assert emulator.stats.executed == 1


@pytest.mark.parametrize("framing", ["separate", "together"])
async def test_three_results(client: Client, framing: Any) -> None:
    options = EmulatorOptions(results_framing=framing)
    async with Emulator(api_key=KEY, options=options) as emulator:
        texts(await client.run("several", emulator), ["one"] * 3, same=True)


async def test_wrong_key(client: Client) -> None:
    # After a refusal with a close frame the older client sleeps for two minutes by itself.
    options = EmulatorOptions(close_after_refusal=client.name == "sdk")
    async with Emulator(api_key=KEY, options=options) as emulator:
        report = await client.run("sync", emulator, key="wrong")
        assert "Invalid API key" in report["error"]
        assert report["seconds"] < 20
        assert emulator.stats.refused >= 1
        assert emulator.stats.executed == 0


async def test_reconnect(client: Client) -> None:
    async with Emulator(api_key=KEY) as emulator:
        emulator.faults.cut_after(results=1)
        texts(await client.run("reconnect", emulator), ["one", "two"])
        assert emulator.stats.cuts == 1
        assert emulator.stats.connections == 2
        assert emulator.stats.executed == 2
        assert emulator.stats.session_takeovers == 0


async def test_async_task_in_flight_across_a_cut(sdk_folder: Path) -> None:
    async with Emulator(api_key=KEY, latency="2.5s") as emulator:
        async with anyio.create_task_group() as group:

            async def cut_once() -> None:
                while emulator.stats.tasks_accepted == 0:  # noqa: ASYNC110 - no event for it
                    await anyio.sleep(0.01)
                await anyio.sleep(0.2)
                emulator.faults.cut()

            group.start_soon(cut_once)
            texts(await Client("sdk", sdk_folder).run("async", emulator), ["one"])
        assert emulator.stats.cuts == 1
        assert emulator.stats.resumes == 1
        assert emulator.stats.executed == 1
        assert emulator.stats.executed_twice == []
