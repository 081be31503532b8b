"""The command line against an emulator that runs in a thread, where tests can look into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from typer.testing import CliRunner

from runware_ws.cli.app import app
from runware_ws.emulator import Emulator, Request, expected_text
from tests.batch.support import asks_soon

KEY = "a-key-of-the-tests"
ROOT = Path(__file__).parents[2]
TOO_LONG = 60.0
"""Seconds until a test that hangs is given up. No test comes near it when it passes."""


@dataclass
class Server:
    """The emulator, seen from the thread of the test.

    Prompts that begin with ``hold`` are answered only after :meth:`release`.
    """

    emulator: Emulator
    portal: BlockingPortal
    held: int = 0
    let_go: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    over: bool = False

    @property
    def url(self) -> str:
        return self.emulator.url

    def release(self) -> None:
        self.released.set()

    def fault(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Order a fault, in the emulator's own loop."""
        self.portal.call(lambda: getattr(self.emulator.faults, name)(*args, **kwargs))

    async def when(self, true: Callable[[], bool]) -> None:
        """Wait, in the emulator's loop, for what happens in another thread or process."""
        while not (true() or self.over):  # noqa: ASYNC110 (an event of this loop cannot be set from there)
            await anyio.sleep(0.01)

    async def answer(self, request: Request) -> str:
        if request.prompt.startswith("hold"):
            self.held += 1
            await self.when(self.released.is_set)
            self.let_go += 1
        return expected_text(request.prompt, request.task_uuid, request.index)


@pytest.fixture
def server() -> Iterator[Server]:
    emulator = Emulator(KEY)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(emulator):
        server = Server(emulator, portal)
        emulator.reply("textInference")(server.answer)
        try:
            yield server
        finally:
            server.release()
            server.over = True


@dataclass(frozen=True)
class Ended:
    """How a command ended. ``said``: standard error."""

    code: int
    out: str
    said: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ended]:
    """Runs a command in this process, in an empty folder, with the key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNWARE_API_KEY", KEY)
    asks_soon(monkeypatch)

    def invoke(*args: str, stdin: str | None = None) -> Ended:
        result = CliRunner().invoke(app, list(args), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return invoke


def start(*args: str, cwd: Path, **more: Any) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "runware_ws", *args],
        cwd=cwd,
        env={**os.environ, "RUNWARE_API_KEY": KEY, "PYTHONPATH": path, "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something outside this process happened."""
    deadline = time.monotonic() + TOO_LONG
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def write_lines(path: Path, *lines: Any) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def texts(path: Path) -> dict[int, str]:
    """The texts of the results by line number; each line must stand there once."""
    entries = [entry for entry in read_lines(path) if "result" in entry]
    found = {entry["line"]: entry["result"]["text"].partition(": ")[2] for entry in entries}
    assert len(found) == len(entries)
    return found
