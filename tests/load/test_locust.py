"""Locust's own master and two workers, over a wire that is cut."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from runware_ws.emulator import EmulatorProcess
from tests.client.support import KEY

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,  # to import Locust three times takes longer than the load
    # Not imported here: Locust makes the whole process cooperative.
    pytest.mark.skipif(
        importlib.util.find_spec("locust") is None, reason="the extra locust is not installed"
    ),
]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def locust(url: str, folder: Path, *arguments: str) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = await anyio.run_process(
        [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "tests/load/locustfile.py")),
            *("--headless", "--host", url, *arguments),
        ],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "LOAD_TEST_KEY": KEY,
            "LOAD_TEST_FOLDER": str(folder),
        },
        check=False,
    )
    told = (done.stdout + done.stderr).decode()
    # 1 would be failed requests, 2 an exception of a user: a wrong answer.
    assert done.returncode == 0, told
    assert KEY not in told


USERS = 10


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_master_and_two_workers_lose_nothing(tmp_path: Path, anyio_backend: str) -> None:
    port = str(free_port())
    notes = tmp_path / "notes"
    notes.mkdir()
    async with EmulatorProcess(KEY, latency="20ms-60ms") as emulator:
        await emulator.order("cut-every=700ms")
        run = partial(locust, emulator.url, notes)
        with anyio.fail_after(90):
            async with anyio.create_task_group() as group:
                group.start_soon(
                    run,
                    *("--master", "--master-bind-port", port, "--expect-workers", "2"),
                    *("-u", str(USERS), "-r", str(USERS), "-t", "3s", "--stop-timeout", "10"),
                    *("--json-file", str(tmp_path / "told")),
                )
                for _ in range(2):
                    group.start_soon(run, "--worker", "--master-port", port)
        stats = await emulator.stats()
    rows: list[dict[str, Any]] = json.loads((tmp_path / "told.json").read_text())
    assert {row["method"] for row in rows} == {"task", "stream", "first delta"}
    assert {row["name"] for row in rows} == {"why"}
    assert sum(row["num_failures"] for row in rows) == 0
    told: Counter[str] = Counter()
    for note in notes.iterdir():
        told.update(json.loads(note.read_text()))
    assert stats["cuts"] >= 2
    # One client a process, not one a user: its sockets are those, and one more for each cut.
    assert stats["authentications"] <= 2 + stats["cuts"]
    assert stats["executed_twice"] == 0
    assert told["failed"] == 0
    # The last task of each user may be cut short by the end of the load.
    events = told["task"] + told["stream"]
    assert 30 < events <= stats["tasks_accepted"] <= events + USERS
    assert told["first delta"] == told["stream"]
    (tasks,) = (row for row in rows if row["method"] == "task")
    assert tasks["total_content_length"] > 100 * tasks["num_requests"]
    assert min(row["min_response_time"] for row in rows) > 15


LIMITED = """
import gevent
from locust.env import Environment
from runware_ws import TextInference
from runware_ws.load import locust

class Agent(locust.RunwareUser):
    host, api_key = URL, KEY

environment = Environment(user_classes=[Agent])
user = Agent(environment)
try:
    with gevent.Timeout(1):
        user.client.run(TextInference.prompt("why"))
except gevent.Timeout:
    (bridge,) = locust._bridges.values()
    with gevent.Timeout(5):
        while bridge._client.stats().pending:
            gevent.sleep(0.01)
    print(bridge._client.stats().cancelled)
environment.events.quitting.fire(environment=environment)
"""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_limit_of_gevents_gives_the_task_up(anyio_backend: str) -> None:
    async with EmulatorProcess(KEY, latency="30s") as emulator:
        program = f"URL, KEY = {emulator.url!r}, {KEY!r}\n{LIMITED}"
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        with anyio.fail_after(60):
            done = await anyio.run_process(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONPATH": path},
                check=False,
            )
    assert (done.stdout, done.returncode) == (b"1\n", 0), done.stderr.decode()
